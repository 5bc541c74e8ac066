"""Readers of interpolation."""

from __future__ import annotations

import math

import numpy as np

from ...ir import Array, Extent, UnsupportedError, Value
from .context import Context, ops
from .convert import Extents, enumerated
from .items import Item
from .registry import reads


def _coordinates(align_corners: bool, half_pixel: bool) -> str:
    if align_corners:
        return "align_corners"
    return "half_pixel" if half_pixel else "asymmetric"


def resized(g: Context, x: Value, size: Extents, **settings: object) -> Value:
    """``x`` with its last axes interpolated to ``size``."""
    sizes = (*g.shape(x)[: g.rank(x) - len(size)], *size)
    return g.add(ops.resize, x, sizes=sizes, **settings)


@reads("ResizeBilinearV2", "ResizeBilinear")
def _bilinear(
    g: Context,
    x: Value,
    size: Extents,
    align_corners: bool = False,
    half_pixel_centers: bool = False,
) -> Value:
    where = _coordinates(align_corners, half_pixel_centers)
    return resized(g, x, size, mode="linear", coordinate_transformation=where)


@reads("ResizeNearestNeighbor", "ResizeNearestNeighborV2")
def _nearest(
    g: Context,
    x: Value,
    size: Extents,
    align_corners: bool = False,
    half_pixel_centers: bool = False,
) -> Value:
    where = _coordinates(align_corners, half_pixel_centers)
    # floor(i in / out), floor((i + 1/2) in / out), or the nearer one, half up.
    rounding = "floor" if where == "asymmetric" else "round_prefer_ceil"
    return resized(
        g, x, size, mode="nearest", coordinate_transformation=where, nearest_mode=rounding
    )


_TABLE = 1024
# Elements of a constant that a reader makes.
_LARGEST = 1 << 22


def cubic_matrix(extent: int, size: int, align_corners: bool, half_pixel: bool) -> Array:
    """The weights [size, extent] of MindSpore's cubic interpolation of an axis.

    Its kernel takes them from a table of 1024 places between two elements, which changes results
    by up to 1e-3 of their magnitude.
    """
    a = -0.5 if half_pixel else -0.75
    one = np.float32
    if align_corners and size > 1:
        step = one(extent - 1) / one(size - 1)
    else:
        step = one(extent) / one(size)
    outputs = np.arange(size, dtype=np.float32)
    places = (outputs + one(0.5)) * step - one(0.5) if half_pixel else outputs * step
    base = np.floor(places)
    between = np.rint((places - base) * one(_TABLE)).astype(np.float64) / _TABLE
    taps = base.astype(np.int64)[:, None] + np.arange(-1, 3)
    distance = np.abs(np.arange(-1, 3) - between[:, None])
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    weights = np.where(distance <= 1, near, far)
    if half_pixel:
        weights = np.where((taps >= 0) & (taps < extent), weights, 0.0)
        weights /= weights.sum(axis=1, keepdims=True)
    found = np.zeros((size, extent))
    rows = np.broadcast_to(np.arange(size)[:, None], taps.shape)
    np.add.at(found, (rows, np.clip(taps, 0, extent - 1)), weights)
    return found


@reads("ResizeBicubic")
def _bicubic(
    g: Context,
    x: Value,
    size: Extents,
    align_corners: bool = False,
    half_pixel_centers: bool = False,
) -> Value:
    """Products with matrices where sizes are known and usual: MindSpore rounds places, see there.

    Others are within 1e-3 of its numbers.
    """
    known = [e for e in (*g.shape(x)[-2:], *size) if isinstance(e, int) and e > 0]
    if len(known) == 4 and all(
        max(a, 8) * b <= _LARGEST for a, b in zip(known[:2], known[2:], strict=True)
    ):
        down, across = (
            g.constant(cubic_matrix(a, b, align_corners, half_pixel_centers), g.dtype(x))
            for a, b in zip(known[:2], known[2:], strict=True)
        )
        rows = g.add(ops.matmul, x, g.transpose(across, (1, 0)))
        return g.add(ops.matmul, down, rows)
    where = _coordinates(align_corners, half_pixel_centers)
    return resized(
        g,
        x,
        size,
        mode="cubic",
        coordinate_transformation=where,
        cubic_coeff_a=-0.5 if half_pixel_centers else -0.75,
        exclude_outside=half_pixel_centers,
    )


@reads("ResizeLinear1D", other_names={"mode": "coordinate_transformation_mode"})
def _linear_1d(g: Context, x: Value, size: Extents, mode: Item = "align_corners") -> Value:
    names = {0: "asymmetric", 1: "align_corners", 2: "half_pixel"}
    where = enumerated(mode, names, "coordinate_transformation_mode")
    return resized(g, x, size, mode="linear", coordinate_transformation=where)


def _upsampled_size(g: Context, x: Value, output_size: Extents | None, scales: Item) -> Extents:
    if output_size is not None and (scales is None or scales == ()):
        return output_size
    if not isinstance(scales, tuple):
        raise UnsupportedError("an interpolation with neither sizes nor scales")
    found: list[Extent] = []
    for extent, scale in zip(g.shape(x)[-len(scales) :], scales, strict=True):
        if not isinstance(scale, (int, float)) or scale <= 0:
            raise UnsupportedError(f"an interpolation by {scale}")
        if isinstance(extent, int):
            found.append(int(extent * scale))
        elif int(scale) == scale:
            found.append(extent * int(scale))
        else:
            raise UnsupportedError(f"an interpolation of {g.type(x)} by {scale}")
    return tuple(found)


@reads("UpsampleNearest1D", "UpsampleNearest2D", "UpsampleNearest3D")
def _upsample_nearest(
    g: Context, x: Value, output_size: Extents | None = None, scales: Item = None
) -> Value:
    size = _upsampled_size(g, x, output_size, scales)
    return resized(
        g, x, size, mode="nearest", coordinate_transformation="asymmetric", nearest_mode="floor"
    )


@reads("UpsampleLinear1D", "UpsampleBilinear2D", "UpsampleTrilinear3D", "UpsampleBicubic2D")
def _upsample_linear(
    g: Context,
    x: Value,
    output_size: Extents | None = None,
    scales: Item = None,
    align_corners: bool = False,
) -> Value:
    size = _upsampled_size(g, x, output_size, scales)
    mode = "cubic" if g.primitive == "UpsampleBicubic2D" else "linear"
    return resized(
        g,
        x,
        size,
        mode=mode,
        coordinate_transformation=_coordinates(align_corners, True),
        cubic_coeff_a=-0.75,
    )


@reads("GridSampler2D", "GridSampler3D")
def _grid_sampler(
    g: Context,
    x: Value,
    grid: Value,
    interpolation_mode: Item = "bilinear",
    padding_mode: Item = "zeros",
    align_corners: bool = False,
) -> Value:
    mode = enumerated(interpolation_mode, {0: "bilinear", 1: "nearest"}, "interpolation_mode")
    edges = enumerated(padding_mode, {0: "zeros", 1: "border", 2: "reflection"}, "padding_mode")
    if mode not in ("bilinear", "nearest"):
        raise UnsupportedError(f"GridSampler with interpolation_mode {mode!r}")
    return g.add(
        ops.grid_sample,
        x,
        grid,
        mode="linear" if mode == "bilinear" else "nearest",
        padding=edges,
        align_corners=align_corners,
    )


@reads("AffineGrid")
def _affine_grid(
    g: Context, theta: Value, output_size: Extents, align_corners: bool = False
) -> Value:
    if len(output_size) not in (4, 5) or any(not isinstance(e, int) for e in output_size):
        raise UnsupportedError(f"AffineGrid to {output_size}")
    sizes = [int(extent) for extent in output_size[2:]]  # type: ignore[arg-type]
    if math.prod(sizes) > _LARGEST >> 1:
        raise UnsupportedError(f"AffineGrid to {output_size}: so many places")
    axes = []
    for count in sizes:
        step = 2.0 / max(count - 1, 1) if align_corners else 2.0 / count
        start = (-1.0 if count > 1 else 0.0) if align_corners else -1.0 + step / 2
        axes.append(start + step * np.arange(count))
    # A row for each place: its coordinates, that of the last axis first, and 1.
    places = [part.reshape(-1) for part in np.meshgrid(*axes, indexing="ij")]
    rows = np.stack([*places[::-1], np.ones(places[0].shape)], axis=1)
    points = g.constant(rows, g.dtype(theta))
    turned = g.transpose(theta, (0, 2, 1))
    found = g.add(ops.matmul, points, turned)
    return g.reshape(found, (g.shape(theta)[0], *sizes, len(sizes)))
