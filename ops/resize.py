"""Resizing by interpolation, one axis after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
)
from ..ir.data_type import is_float
from ..ir.dim import Dim, floor_divide
from .define import operator
from .half import widened
from .resize_calls import COORDINATES, MODES, NEAREST_MODES, keeps_axis, resize_calls
from .resize_taps import coordinates, tap_weights
from .samples import sample, tensor


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


@resize.kernel
def _(x: Operand, out: Operand, *, sizes: Sequence[Extent], **attributes: Any) -> list[Call]:
    return resize_calls(x, out, sizes, attributes)


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
_LAST = tensor((2, 4, 5, 3))
resize.samples += [
    *(
        sample(_LAST, sizes=(2, 7, 3, 3), mode=mode, coordinate_transformation=coordinates)
        for mode in MODES
        for coordinates in COORDINATES[:6]
    ),
    sample(_LAST, sizes=(2, 9, 4, 3), mode="linear", exclude_outside=True),
    sample(_LAST, sizes=(2, 2, 3, 3), mode="linear", antialias=True),
    sample(_LAST, sizes=(1, 7, 5, 4), mode="linear"),
    sample(tensor((2, 4, 5, 17), "float64"), sizes=(2, 8, 10, 17), mode="linear"),
    sample(tensor((1, 3, 5, 3), "int8", -9, 9), sizes=(1, 6, 2, 3)),
    sample(tensor((1, 2, 3, 4, 3)), sizes=(1, 3, 5, 6, 3), mode="linear"),
    sample(tensor((1, 4, 5, 2), "bfloat16"), sizes=(1, 8, 10, 2), mode="linear"),
]
