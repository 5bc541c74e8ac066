"""Resizing by interpolation, one axis after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..ir import (
    Array,
    Call,
    Cost,
    Extent,
    ModelError,
    Operand,
    TensorType,
    UnsupportedError,
    View,
    workspace,
)
from ..ir.data_type import is_float
from ..ir.dim import Dim, ceil_divide, floor_divide, maximum, product
from .define import operator
from .half import widened
from .resize_kernels import (
    blend_elements,
    blend_rows,
    fill_outside,
    locate_taps,
    pick_elements,
    pick_rows,
)
from .resize_taps import coordinates, tap_weights
from .rows import item_count, rows_per_item
from .samples import sample, tensor
from .strided_copy import strided_copy

MODES = ("nearest", "linear", "cubic")
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
# More elements for each output element are no real image.
_MOST_TAPS = 2**20
NEAREST_MODES = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@operator
def resize(
    x: Array,
    *,
    sizes: Sequence[Extent],
    scales: Sequence[float] = (),
    roi: Sequence[float] = (),
    mode: str = "nearest",
    coordinate_transformation: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    exclude_outside: bool = False,
    extrapolation_value: float = 0.0,
    antialias: bool = False,
) -> Array:
    """``x`` interpolated to the shape ``sizes`` (ONNX Resize-19, also Upsample-9).

    ``sizes`` has one extent for each dimension. ``scales`` are output by input extents, one for
    each dimension; empty means ``sizes`` by the shape of ``x``. ``roi`` (starts, then ends, as
    fractions; for tf_crop_and_resize) has two entries for each dimension. Linear and cubic
    interpolation take floating-point tensors. Dimensions of scale 1 that keep their extent (and
    are not cropped) are left alone. Where ONNX's text, its reference and ONNX Runtime differ,
    coordinates are as in ONNX's reference, except that pytorch_half_pixel maps an output of
    extent 1 to coordinate 0 as the text has it.
    """
    result = widened(x).astype(np.float64) if mode != "nearest" else x
    for axis, size in enumerate(sizes):
        extent, count = x.shape[axis], int(size)  # type: ignore[arg-type]
        scale = scales[axis] if scales else None
        ends = (roi[axis], roi[x.ndim + axis]) if roi else (0.0, 1.0)
        if keeps_axis(extent, count, scale, ends, coordinate_transformation):
            continue
        if extent == 0 and count:
            raise ModelError("resize: an empty dimension cannot grow")
        width = count if scale is None else scale * extent
        ratio = count / max(extent, 1) if scale is None else scale
        places = coordinates(coordinate_transformation, count, extent, ratio, width, ends)
        weights, first = tap_weights(mode, places, ratio, nearest_mode, cubic_coeff_a, antialias)
        taps = first[:, None] + np.arange(weights.shape[1])
        if exclude_outside:
            weights = np.where((taps >= 0) & (taps < extent), weights, 0)
            total = weights.sum(axis=1, keepdims=True)
            weights = weights / np.where(total == 0, 1, total)
        taken = np.take(result, np.clip(taps, 0, max(extent - 1, 0)), axis=axis)
        if mode == "nearest":
            result = taken.squeeze(axis + 1)
        else:
            spread = weights.reshape(*weights.shape, *(1,) * (x.ndim - axis - 1))
            result = (taken * spread).sum(axis=axis + 1)
        if coordinate_transformation == "tf_crop_and_resize":
            outside = ((places < 0) | (places > extent - 1)).reshape(
                -1, *(1,) * (x.ndim - axis - 1)
            )
            result = np.where(outside, np.asarray(extrapolation_value, result.dtype), result)
    return np.asarray(result).astype(x.dtype)


def keeps_axis(
    extent: Extent,
    count: Extent,
    scale: float | None,
    ends: tuple[float, float],
    coordinate_transformation: str,
) -> bool:
    """True where a dimension is neither resized nor cropped."""
    cropped = coordinate_transformation == "tf_crop_and_resize" and ends != (0.0, 1.0)
    return extent == count and (scale is None or math.isclose(scale, 1.0)) and not cropped


@resize.infer
def _(
    x: TensorType,
    *,
    sizes: Sequence[Extent],
    scales: Sequence[float],
    roi: Sequence[float],
    mode: str,
    coordinate_transformation: str,
    nearest_mode: str,
    cubic_coeff_a: float,
    exclude_outside: bool,
    extrapolation_value: float,
    antialias: bool,
) -> TensorType:
    for name, value, known in (
        ("mode", mode, MODES),
        ("coordinate_transformation", coordinate_transformation, COORDINATES),
        ("nearest_mode", nearest_mode, NEAREST_MODES),
    ):
        if value not in known:
            raise ModelError(f"resize: {name} {value!r} is none of {', '.join(known)}")
    if len(sizes) != x.rank or len(scales) not in (0, x.rank) or len(roi) not in (0, 2 * x.rank):
        raise ModelError(
            f"resize: sizes {tuple(sizes)}, scales {tuple(scales)}, roi {tuple(roi)} for {x}"
        )
    if not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise ModelError(f"resize: scales {tuple(scales)} must be positive numbers")
    if not all(math.isfinite(number) for number in (*roi, cubic_coeff_a)):
        raise ModelError("resize: roi and cubic_coeff_a must be finite numbers")
    if coordinate_transformation == "tf_crop_and_resize" and not roi:
        raise ModelError("resize: tf_crop_and_resize needs a roi")
    if mode != "nearest" and not is_float(x.dtype):
        raise ModelError(
            f"resize: {mode} interpolation takes floating-point tensors, not {x.dtype}"
        )
    if mode == "nearest" and antialias:
        raise ModelError("resize: antialias needs linear or cubic interpolation")
    for axis, (extent, size) in enumerate(zip(x.shape, sizes, strict=True)):
        if extent == 0 and size != 0:
            raise ModelError(f"resize: {x} cannot become {tuple(sizes)}")
        if scales and isinstance(extent, int) and isinstance(size, int):
            if abs(scales[axis] * extent - size) > 1 or (size and scales[axis] * extent < 0.49):
                raise ModelError(f"resize: {x} to {tuple(sizes)} by the scales {tuple(scales)}")
    return x.with_shape(sizes)


@resize.cost
def _(x: TensorType, *, sizes: Sequence[Extent], mode: str, **others: object) -> Cost:
    out = x.with_shape(sizes)
    taps = {"nearest": 0, "linear": 2, "cubic": 4}[mode]
    moved = sum(extent != size for extent, size in zip(x.shape, sizes, strict=True))
    return Cost(2 * taps * moved * out.size, x.nbytes + out.nbytes)


def _half_taps(mode: str, antialias: bool, extent: Extent, count: Extent, scale: float) -> Extent:
    """Half the taps of an output element; ``scale`` 0 stands for ``count`` by ``extent``."""
    radius = 1 if mode == "linear" else 2
    if not antialias:
        return radius
    if scale == 0.0 and not (isinstance(extent, int) and isinstance(count, int)):
        return maximum(ceil_divide(radius * extent, count), radius)
    ratio = scale or count / extent  # type: ignore[operator]
    half = -math.floor(-radius / min(ratio, 1.0))
    if half > _MOST_TAPS:
        raise UnsupportedError(f"resize: antialias with {2 * half} elements for each output")
    return half


def _axis_calls(
    source: View,
    shape: Sequence[Extent],
    axis: int,
    count: Extent,
    target: View,
    attributes: Mapping[str, Any],
) -> list[Call]:
    """Calls that resize the tensor ``source`` of this shape along one axis."""
    mode, scales, roi = attributes["mode"], attributes["scales"], attributes["roi"]
    outer, extent, inner = product(shape[:axis]), shape[axis], product(shape[axis + 1 :])
    scale = float(scales[axis]) if scales else 0.0
    start, end = (roi[axis], roi[len(shape) + axis]) if roi else (0.0, 1.0)
    taps: Extent = 1
    if mode != "nearest":
        taps = 2 * _half_taps(mode, attributes["antialias"], extent, count, scale)
    places = workspace(f"places {axis}", "int64", (count * taps,))
    outside = workspace(f"outside {axis}", "int64", (count,))
    exact = workspace(f"exact {axis}", "float64", (count * taps,))
    dtype = source.dtype if mode != "nearest" else "float64"
    weights = workspace(f"weights {axis}", dtype, (count * taps,))
    transformation = attributes["coordinate_transformation"]
    table = Call(
        locate_taps,
        (exact, places, weights, outside),
        items=count,
        scalars=(
            MODES.index(mode),
            COORDINATES.index(transformation),
            NEAREST_MODES.index(attributes["nearest_mode"]),
            *(extent, count, taps),
            *(scale, float(start), float(end), float(attributes["cubic_coeff_a"])),
            int(attributes["exclude_outside"]),
            int(attributes["antialias"]),
        ),
        error="an empty dimension cannot grow",
    )
    flat = inner == 1
    before: tuple[Extent, ...] = (outer, extent) if flat else (outer, extent, inner)
    after: tuple[Extent, ...] = (outer, count) if flat else (outer, count, inner)
    rows = rows_per_item(count if flat else inner)
    seen, into = View(source.source, source.dtype, before), View(target.source, target.dtype, after)
    nearest = mode == "nearest"
    body = (
        (pick_elements if flat else pick_rows)
        if nearest
        else (blend_elements if flat else blend_rows)
    )
    main = Call(
        body,
        (seen, places, into) if nearest else (seen, places, weights, into),
        items=item_count(outer if flat else outer * count, rows),
        scalars=(rows,) if nearest else (rows, taps),
        chunk=rows * (count if flat else inner),
        reassociate=not nearest,
    )
    if transformation != "tf_crop_and_resize":
        return [table, main]
    value = float(attributes["extrapolation_value"])
    fill = Call(
        fill_outside,
        (outside, View(target.source, target.dtype, (outer, count, inner))),
        items=outer * count,
        scalars=(value if is_float(target.dtype) else int(value),),
    )
    return [table, main, fill]


@resize.kernel
def _(x: Operand, out: Operand, *, sizes: Sequence[Extent], **attributes: Any) -> list[Call]:
    scales, roi = attributes["scales"], attributes["roi"]
    axes = [
        axis
        for axis, (extent, count) in enumerate(zip(x.shape, sizes, strict=True))
        if not keeps_axis(
            extent,
            count,
            scales[axis] if scales else None,
            (roi[axis], roi[x.rank + axis]) if roi else (0.0, 1.0),
            attributes["coordinate_transformation"],
        )
    ]
    if not axes:
        return [strided_copy(x.flat(), out.flat(), (x.size,), (1,), (1,))]
    calls: list[Call] = []
    shape = list(x.shape)
    source = x.flat()
    for axis in axes:
        count = sizes[axis]
        after = [*shape[:axis], count, *shape[axis + 1 :]]
        last = axis == axes[-1]
        target = out.flat() if last else workspace(f"pass {axis}", x.dtype, (product(after),))
        calls += _axis_calls(source, shape, axis, count, target, attributes)
        shape, source = after, target
    return calls


# --- for format readers ----------------------------------------------------------------------


def scaled_extent(extent: Extent, scale: float) -> Extent:
    """``floor(extent * scale)``, the output extent that ONNX derives from a scale.

    For a symbolic extent the scale must be a simple fraction, else UnsupportedError.
    """
    if isinstance(extent, int):
        return math.floor(extent * scale)
    fraction = Fraction(scale).limit_denominator(1024)
    if abs(float(fraction) - scale) > 1e-6 * scale:
        raise UnsupportedError(f"resize: the symbolic extent {extent} times {scale}")
    return floor_divide(extent * fraction.numerator, fraction.denominator)


def resolve_sizes(
    shape: Sequence[Extent], sizes: Sequence[Extent], axes: Sequence[int], policy: str
) -> tuple[tuple[Extent, ...], tuple[float, ...]]:
    """``(sizes, scales)`` of all dimensions for ONNX's ``sizes``, ``axes`` and aspect policy.

    ``axes`` empty means all. Policies: "stretch", "not_larger" (all scales become the smallest),
    "not_smaller" (the largest), for which the extents must be numbers. Scales are empty where
    they are sizes by extents. Raises ModelError when things do not fit.
    """
    rank = len(shape)
    chosen = [axis % rank if -rank <= axis < rank else rank for axis in axes] or [*range(rank)]
    if len(sizes) != len(chosen) or rank in chosen or len(set(chosen)) != len(chosen):
        raise ModelError(
            f"resize: sizes {tuple(sizes)} for the axes {tuple(axes)} of {tuple(shape)}"
        )
    result = list(shape)
    for axis, size in zip(chosen, sizes, strict=True):
        result[axis] = size
    if policy == "stretch":
        return tuple(result), ()
    if policy not in ("not_larger", "not_smaller"):
        raise ModelError(f"resize: keep_aspect_ratio_policy {policy!r} is not known")
    ratios = []
    known: dict[int, int] = {}
    for axis in chosen:
        extent, size = shape[axis], result[axis]
        if isinstance(extent, Dim) or isinstance(size, Dim):
            raise UnsupportedError(f"resize: {policy} with symbolic extents {tuple(shape)}")
        known[axis] = extent
        ratios.append(size / extent if extent else 1.0)
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    scales = [1.0] * rank
    for axis, extent in known.items():
        scales[axis] = scale
        result[axis] = math.floor(scale * extent + 0.5)
    return tuple(result), tuple(scales)


_IMAGE = tensor((1, 2, 4, 5))
resize.samples = [
    *(
        sample(_IMAGE, sizes=(1, 2, 7, 3), mode=mode, coordinate_transformation=coordinates)
        for mode in MODES
        for coordinates in COORDINATES[:6]
    ),
    *(
        sample(
            _IMAGE, sizes=(1, 2, 7, 9), nearest_mode=rule, coordinate_transformation="asymmetric"
        )
        for rule in NEAREST_MODES
    ),
    sample(_IMAGE, sizes=(1, 2, 8, 10), scales=(1.0, 1.0, 2.0, 2.0)),
    sample(_IMAGE, sizes=(1, 2, 2, 3), scales=(1.0, 1.0, 0.6, 0.6), mode="linear"),
    sample(
        _IMAGE,
        sizes=(1, 2, 2, 3),
        scales=(1.0, 1.0, 0.6, 0.6),
        mode="cubic",
        coordinate_transformation="half_pixel_symmetric",
        exclude_outside=True,
        cubic_coeff_a=-0.5,
    ),
    sample(_IMAGE, sizes=(1, 2, 2, 2), mode="linear", antialias=True),
    sample(_IMAGE, sizes=(1, 2, 3, 9), mode="cubic", antialias=True, exclude_outside=True),
    *(
        sample(
            _IMAGE,
            sizes=(1, 2, 3, 6),
            roi=(0.0, 0.0, 0.4, -0.2, 1.0, 1.0, 0.9, 1.3),
            mode=mode,
            coordinate_transformation="tf_crop_and_resize",
            extrapolation_value=7.5,
        )
        for mode in MODES
    ),
    sample(_IMAGE, sizes=(1, 2, 1, 1), mode="linear", coordinate_transformation="align_corners"),
    sample(tensor((2, 4, 5, 3)), sizes=(2, 8, 2, 3), mode="linear"),
    sample(tensor((3, 2, 3, 4)), sizes=(2, 5, 4, 3), mode="cubic"),
    sample(tensor((4,)), sizes=(9,), mode="linear"),
    sample(_IMAGE, sizes=(1, 2, 4, 5), mode="linear"),
    sample(_IMAGE, sizes=(1, 2, 0, 5)),
    sample(tensor((0, 2, 3)), sizes=(0, 2, 6), mode="linear"),
    sample(tensor((1, 1, 4), "uint8", 0, 255), sizes=(1, 1, 7)),
    sample(tensor((1, 1, 4), "int64", -9, 9), sizes=(2, 1, 7)),
    sample(tensor((1, 1, 4), "bool"), sizes=(1, 1, 7)),
    sample(tensor((1, 3, 4), "float64"), sizes=(1, 3, 7), mode="cubic"),
    sample(tensor((1, 3, 4), "float16"), sizes=(1, 5, 7), mode="linear"),
    sample(tensor((1, 3, 4), "bfloat16"), sizes=(1, 5, 7), mode="linear"),
    sample(tensor((1, 3, 4), "float16"), sizes=(1, 5, 7)),
]
