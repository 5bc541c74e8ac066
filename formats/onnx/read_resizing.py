"""Readers of Resize, Upsample and operators that sample images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Extent, ModelError, Value
from ...ir.data_type import is_float
from ...ops.resize import resolve_sizes, scaled_extent
from .context import Context, ops
from .registry import reads


def _numbers(g: Context, value: Value | None, what: str) -> tuple[float, ...] | None:
    """The elements of a float tensor; None when it is left out or empty."""
    if value is None or g.type(value).size == 0:
        return None
    return tuple(float(item) for item in g.known(value, what).reshape(-1))


def _resize(g: Context, x: Value, attributes: dict[str, Any]) -> Value:
    """Interpolation of integers happens in float32."""
    dtype = g.dtype(x)
    if attributes["mode"] != "nearest" and not is_float(dtype):
        return g.cast(g.add(ops.resize, g.cast(x, "float32"), **attributes), dtype)
    return g.add(ops.resize, x, **attributes)


def _by_scales(g: Context, x: Value, scales: Sequence[float], mode: str) -> Value:
    """Upsample, and Resize before opset 11: coordinates divided by the scale.

    Nearest takes the element before the place when an axis grows, the one after it when it
    shrinks; axes are independent, so that growing and shrinking ones take turns.
    """
    if len(scales) != g.rank(x):
        raise ModelError(f"{len(scales)} scales for {g.type(x)}")
    mode = {"bilinear": "linear"}.get(mode, mode)
    if mode not in ("nearest", "linear"):
        g.unsupported(f"mode={mode!r}")
    for grows, rounding in ((True, "floor"), (False, "ceil")):
        chosen = [s if (s >= 1.0) == grows else 1.0 for s in scales]
        if all(scale == 1.0 for scale in chosen):
            continue
        sizes = [scaled_extent(e, s) for e, s in zip(g.shape(x), chosen, strict=True)]
        attributes = {
            "sizes": tuple(sizes),
            "scales": tuple(chosen),
            "mode": mode,
            "coordinate_transformation": "asymmetric",
            "nearest_mode": rounding,
        }
        x = _resize(g, x, attributes)
    return x


@reads("Upsample", since=7)
def _upsample_7(g: Context, x: Value, *, scales: tuple[float, ...], mode: str = "nearest") -> Value:
    return _by_scales(g, x, scales, mode)


@reads("Upsample", since=9)
@reads("Resize", since=10)
def _resize_10(g: Context, x: Value, scales: Value, *, mode: str = "nearest") -> Value:
    known = _numbers(g, scales, "the scales")
    if known is None:
        raise ModelError("the scales are missing")
    return _by_scales(g, x, known, mode)


@reads("Resize", since=(11, 13))
def _resize_11(
    g: Context,
    x: Value,
    roi: Value | None = None,
    scales: Value | None = None,
    sizes: Value | None = None,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Value:
    attributes = {
        "coordinate_transformation": coordinate_transformation_mode,
        "cubic_coeff_a": cubic_coeff_a,
        "exclude_outside": bool(exclude_outside),
        "extrapolation_value": extrapolation_value,
        "mode": mode,
        "nearest_mode": nearest_mode,
    }
    return resize(g, x, roi, scales, sizes, None, "stretch", attributes)


@reads("Resize", since=(18, 19))
def _resize_18(
    g: Context,
    x: Value,
    roi: Value | None = None,
    scales: Value | None = None,
    sizes: Value | None = None,
    *,
    antialias: int = 0,
    axes: tuple[int, ...] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Value:
    attributes = {
        "antialias": bool(antialias),
        "coordinate_transformation": coordinate_transformation_mode,
        "cubic_coeff_a": cubic_coeff_a,
        "exclude_outside": bool(exclude_outside),
        "extrapolation_value": extrapolation_value,
        "mode": mode,
        "nearest_mode": nearest_mode,
    }
    return resize(g, x, roi, scales, sizes, axes, keep_aspect_ratio_policy, attributes)


def resize(
    g: Context,
    x: Value,
    roi: Value | None,
    scales: Value | None,
    sizes: Value | None,
    axes: Sequence[int] | None,
    policy: str,
    attributes: dict[str, Any],
) -> Value:
    """Resize with scales or sizes for the axes named, all where ``axes`` is None."""
    rank = g.rank(x)
    chosen = [g.axis(x, axis) for axis in axes] if axes is not None else list(range(rank))
    if sizes is not None and g.type(sizes).size != 0:
        wanted = g.extents(sizes, "Resize's sizes")
        extents, factors = resolve_sizes(g.shape(x), wanted, chosen, policy)
    else:
        given = _numbers(g, scales, "Resize's scales")
        if given is None or len(given) != len(chosen):
            raise ModelError(f"Resize has neither sizes nor scales that fit {g.type(x)}")
        full = [1.0] * rank
        for axis, scale in zip(chosen, given, strict=True):
            full[axis] = scale
        if any(not (np.isfinite(scale) and scale > 0) for scale in full):
            raise ModelError(f"Resize has the scales {given}")
        result: list[Extent] = [scaled_extent(e, s) for e, s in zip(g.shape(x), full, strict=True)]
        extents, factors = tuple(result), tuple(full)
    region: tuple[float, ...] = ()
    if attributes["coordinate_transformation"] == "tf_crop_and_resize":
        found = _numbers(g, roi, "Resize's roi")
        if found is None or len(found) != 2 * len(chosen):
            raise ModelError("Resize with tf_crop_and_resize needs a roi for each axis")
        borders = [0.0] * rank + [1.0] * rank
        for position, axis in enumerate(chosen):
            borders[axis] = found[position]
            borders[rank + axis] = found[len(chosen) + position]
        region = tuple(borders)
    return _resize(g, x, {**attributes, "sizes": extents, "scales": factors, "roi": region})
