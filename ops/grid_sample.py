"""Sampling an image at given places."""

from __future__ import annotations

import math
from itertools import product as choices

import numpy as np

from ..ir import Array, Call, Cost, ModelError, Operand, TensorType, UnsupportedError, unify
from ..ir.data_type import is_float
from ..ir.dim import product
from .correlation import triple
from .define import operator, same_type
from .grid_sample_kernels import sample_row
from .half import widened
from .samples import sample, tensor, values

MODES = ("nearest", "linear", "cubic")
PADDINGS = ("zeros", "border", "reflection")


@operator
def grid_sample(
    x: Array,
    grid: Array,
    *,
    mode: str = "linear",
    padding: str = "zeros",
    align_corners: bool = False,
) -> Array:
    """``x`` [N, C, (D,) H, W] at the places ``grid`` [N, ..., 2 or 3] (ONNX GridSample-22).

    Places are x, y(, z) from -1 to 1: from the first to the last pixel's centre with
    ``align_corners``, else from edge to edge. ``padding`` says what lies outside: zeros, the
    nearest pixel or the image reflected. Cubic interpolation is for two dimensions; it looks up
    each of its pixels by itself, as PyTorch and ONNX Runtime do (ONNX's reference moves a place
    outside to the border first). NaN counts as the first pixel.
    """
    wide, places = widened(x), widened(grid)
    rank = x.ndim - 2
    kind = wide.dtype.type
    counts = {"nearest": 1, "linear": 2, "cubic": 4}[mode]
    indices, weights = [], []
    for axis in range(rank):
        extent = x.shape[2 + axis]
        low, high = (0.0, extent - 1.0) if align_corners else (-0.5, extent - 0.5)
        g = places[..., rank - 1 - axis]
        if align_corners:
            place = (g + kind(1)) / kind(2) * kind(extent - 1)
        else:
            place = ((g + kind(1)) * kind(extent) - kind(1)) / kind(2)
        place = np.where(np.isnan(place), kind(0), place)
        place = np.rint(place) if mode == "nearest" else place
        outside = (place < kind(low)) | (place > kind(high))
        if padding == "border" and mode != "cubic":
            place = np.where(outside, np.clip(place, 0, kind(extent - 1)), place)
        elif padding == "reflection":
            place = np.where(outside, _reflected(place, kind(low), kind(high)), place)
        place = np.clip(place, kind(-8), kind(extent + 8))
        base = np.floor(place)
        share = (place - base).astype(wide.dtype)
        first = base.astype(np.int64) - (mode == "cubic")
        taps = first[..., None] + np.arange(counts)
        weight = _tap_weights(mode, share)
        if padding == "zeros":
            weight = np.where((taps >= 0) & (taps < extent), weight, kind(0))
        elif padding == "reflection":
            beyond = (taps < low) | (taps > high)
            reflected = _reflected(taps.astype(wide.dtype), kind(low), kind(high))
            taps = np.where(beyond, reflected.astype(np.int64), taps)
        indices.append(np.clip(taps, 0, extent - 1))
        weights.append(weight)
    result = np.zeros((x.shape[0], x.shape[1], *grid.shape[1:-1]), wide.dtype)
    images = np.arange(x.shape[0]).reshape(-1, *(1,) * (grid.ndim - 2))
    for tap in choices(range(counts), repeat=rank):
        factors = [weight[..., k] for weight, k in zip(weights, tap, strict=True)]
        share = np.asarray(math.prod(factors))
        place = tuple(index[..., k] for index, k in zip(indices, tap, strict=True))
        result += np.moveaxis(wide[(images, slice(None), *place)], -1, 1) * share[:, None]
    return result.astype(x.dtype)


def _reflected(place: Array, low: float, high: float) -> Array:
    """``place`` reflected at both ends until it is between them."""
    span = high - low
    if span <= 0:
        return np.full_like(place, low)
    beyond = np.where(place < low, low - place, place - high)
    turns = np.floor(beyond / span)
    rest = beyond - turns * span
    even = turns - 2 * np.floor(turns / 2) == 0
    from_low = (place < low) == even
    return np.clip(np.where(from_low, low + rest, high - rest), low, high)


def _tap_weights(mode: str, share: Array) -> Array:
    if mode == "nearest":
        return np.ones((*share.shape, 1), share.dtype)
    if mode == "linear":
        return np.stack([1 - share, share], axis=-1)
    a = share.dtype.type(-0.75)
    distance = np.abs(np.arange(-1, 3).astype(share.dtype) - share[..., None])
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.asarray(np.where(distance <= 1, near, far))


@grid_sample.infer
def _(
    x: TensorType, grid: TensorType, *, mode: str, padding: str, align_corners: bool
) -> TensorType:
    if not is_float(same_type("grid_sample", x, grid)):
        raise ModelError(f"grid_sample takes floating-point tensors, not {x.dtype}")
    if mode not in MODES or padding not in PADDINGS:
        raise ModelError(f"grid_sample: mode {mode!r}, padding {padding!r}")
    if x.rank < 4 or grid.rank != x.rank:
        raise ModelError(f"grid_sample: {x} at the places {grid}")
    if x.rank > 5 or (mode == "cubic" and x.rank != 4):
        raise UnsupportedError(f"grid_sample: {mode} interpolation of {x}")
    batch = unify(x.shape[0], grid.shape[0], "grid_sample: images and their places")
    unify(grid.shape[-1], x.rank - 2, "grid_sample: coordinates of a place")
    if 0 in x.shape[2:] and 0 not in grid.shape:
        raise ModelError(f"grid_sample: {x} has no pixels")
    return x.with_shape((batch, x.shape[1], *grid.shape[1:-1]))


@grid_sample.cost
def _(x: TensorType, grid: TensorType, *, mode: str, padding: str, align_corners: bool) -> Cost:
    taps = {"nearest": 1, "linear": 2, "cubic": 4}[mode] ** (x.rank - 2)
    out = x.with_shape((*x.shape[:2], *grid.shape[1:-1]))
    return Cost(2 * taps * out.size, x.nbytes + grid.nbytes + out.nbytes)


@grid_sample.kernel
def _(
    x: Operand, grid: Operand, out: Operand, *, mode: str, padding: str, align_corners: bool
) -> Call:
    rows, columns = product(out.shape[2:-1]), out.shape[-1]
    batch, channels = x.shape[:2]
    return Call(
        sample_row,
        (
            x.view(batch, channels, *triple(x.shape[2:])),
            grid.view(batch, rows, columns, x.rank - 2),
            out.view(batch, channels, rows, columns),
        ),
        items=batch * rows,
        scalars=(MODES.index(mode), PADDINGS.index(padding), int(align_corners)),
        error="the image has no pixels",
    )


_GRID = tensor((2, 3, 4, 2), low=-1.6, high=1.6)
grid_sample.samples = [
    *(
        sample(tensor((2, 3, 5, 4)), _GRID, mode=mode, padding=padding, align_corners=aligned)
        for mode in MODES
        for padding in PADDINGS
        for aligned in (False, True)
    ),
    *(
        sample(tensor((1, 2, 3, 4, 5)), tensor((1, 2, 3, 2, 3), low=-1.3, high=1.3), mode=mode)
        for mode in MODES[:2]
    ),
    sample(tensor((1, 1, 1, 1)), tensor((1, 2, 2, 2)), padding="reflection", align_corners=True),
    sample(tensor((2, 3, 5, 4)), tensor((2, 0, 4, 2))),
    sample(
        tensor((1, 1, 3, 3)),
        values([[[[np.nan, 0.0], [1e30, -1e30], [np.inf, -np.inf]]]]),
        padding="border",
    ),
    sample(tensor((2, 3, 5, 4), "float64"), _GRID.astype(np.float64), mode="cubic"),
    sample(tensor((2, 3, 5, 4), "float16"), tensor((2, 3, 4, 2), "float16", -1, 1)),
]
