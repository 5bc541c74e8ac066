"""The Calls that resize a tensor: tables of taps, then one or two axes at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir import Call, Extent, Operand, UnsupportedError, View, workspace
from ..ir.data_type import is_float
from ..ir.dim import ceil_divide, maximum, product
from .resize_kernels import (
    blend_elements,
    blend_lines,
    blend_rows,
    fill_outside,
    locate_taps,
    pick_elements,
    pick_lines,
    pick_rows,
)
from .rows import item_count, rows_per_item
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
NEAREST_MODES = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
# More elements for each output element are no real image.
_MOST_TAPS = 2**20


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


@dataclass(frozen=True)
class _Axis:
    """One axis of a tensor that is resized, and the tables of its taps."""

    shape: tuple[Extent, ...]
    axis: int
    count: Extent
    attributes: Mapping[str, Any]

    @property
    def taps(self) -> Extent:
        """Elements that an output element looks at."""
        mode, scale = self.attributes["mode"], self._scale
        if mode == "nearest":
            return 1
        extent = self.shape[self.axis]
        return 2 * _half_taps(mode, self.attributes["antialias"], extent, self.count, scale)

    @property
    def _scale(self) -> float:
        scales = self.attributes["scales"]
        return float(scales[self.axis]) if scales else 0.0

    def places(self) -> View:
        """The elements."""
        return workspace(f"places {self.axis}", "int64", (self.count * self.taps,))

    def weights(self, dtype: str) -> View:
        """Their weights."""
        return workspace(f"weights {self.axis}", dtype, (self.count * self.taps,))

    def outside(self) -> View:
        """1 for output elements that lie outside the input."""
        return workspace(f"outside {self.axis}", "int64", (self.count,))

    def table(self, dtype: str) -> Call:
        """The Call that computes them."""
        attributes, roi = self.attributes, self.attributes["roi"]
        start, end = (0.0, 1.0)
        if roi:
            start, end = roi[self.axis], roi[len(self.shape) + self.axis]
        exact = workspace(f"exact {self.axis}", "float64", (self.count * self.taps,))
        weights = self.weights(dtype if attributes["mode"] != "nearest" else "float64")
        return Call(
            locate_taps,
            (exact, self.places(), weights, self.outside()),
            items=self.count,
            scalars=(
                MODES.index(attributes["mode"]),
                COORDINATES.index(attributes["coordinate_transformation"]),
                NEAREST_MODES.index(attributes["nearest_mode"]),
                *(self.shape[self.axis], self.count, self.taps),
                *(self._scale, float(start), float(end), float(attributes["cubic_coeff_a"])),
                int(attributes["exclude_outside"]),
                int(attributes["antialias"]),
            ),
            error="an empty dimension cannot grow",
        )


def _axis_calls(
    source: View,
    shape: Sequence[Extent],
    axis: int,
    count: Extent,
    target: View,
    attributes: Mapping[str, Any],
) -> list[Call]:
    """Calls that resize the tensor ``source`` of this shape along one axis."""
    resized = _Axis(tuple(shape), axis, count, attributes)
    outer, extent, inner = product(shape[:axis]), shape[axis], product(shape[axis + 1 :])
    flat = inner == 1
    before: tuple[Extent, ...] = (outer, extent) if flat else (outer, extent, inner)
    after: tuple[Extent, ...] = (outer, count) if flat else (outer, count, inner)
    rows = rows_per_item(count if flat else inner)
    seen, into = View(source.source, source.dtype, before), View(target.source, target.dtype, after)
    nearest = attributes["mode"] == "nearest"
    body = (
        (pick_elements if flat else pick_rows)
        if nearest
        else (blend_elements if flat else blend_rows)
    )
    places, weights = resized.places(), resized.weights(source.dtype)
    main = Call(
        body,
        (seen, places, into) if nearest else (seen, places, weights, into),
        items=item_count(outer if flat else outer * count, rows),
        scalars=(rows,) if nearest else (rows, resized.taps),
        chunk=rows * (count if flat else inner),
        reassociate=not nearest,
    )
    table = resized.table(source.dtype)
    if attributes["coordinate_transformation"] != "tf_crop_and_resize":
        return [table, main]
    value = float(attributes["extrapolation_value"])
    fill = Call(
        fill_outside,
        (resized.outside(), View(target.source, target.dtype, (outer, count, inner))),
        items=outer * count,
        scalars=(value if is_float(target.dtype) else int(value),),
    )
    return [table, main, fill]


def _line_calls(
    source: View,
    shape: Sequence[Extent],
    axis: int,
    counts: tuple[Extent, Extent],
    target: View,
    attributes: Mapping[str, Any],
) -> list[Call]:
    """Calls that resize along ``axis`` and the next one at once."""
    outer, inner = product(shape[:axis]), product(shape[axis + 2 :])
    height, width = (
        _Axis(tuple(shape), axis + number, count, attributes) for number, count in enumerate(counts)
    )
    seen = View(source.source, source.dtype, (outer, *shape[axis : axis + 2], inner))
    into = View(target.source, target.dtype, (outer, *counts, inner))
    dtype, lines = source.dtype, rows_per_item(counts[1] * inner)
    tables = [height.table(dtype), width.table(dtype)]
    nearest = attributes["mode"] == "nearest"
    operands: tuple[View, ...] = (height.places(), width.places())
    if not nearest:
        operands = tuple(
            view for one in (height, width) for view in (one.places(), one.weights(dtype))
        )
    main = Call(
        pick_lines if nearest else blend_lines,
        (seen, *operands, into),
        items=item_count(outer * counts[0], lines),
        scalars=(lines,),
        chunk=lines * counts[1] * inner,
        reassociate=not nearest,
    )
    return [*tables, main]


def resize_calls(
    x: Operand, out: Operand, sizes: Sequence[Extent], attributes: Mapping[str, Any]
) -> list[Call]:
    """The Calls that resize ``x`` to ``sizes``."""
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
    while axes:
        taken = axes[: 2 if _at_once(axes, shape, attributes) else 1]
        counts = [sizes[axis] for axis in taken]
        after = [*shape[: taken[0]], *counts, *shape[taken[-1] + 1 :]]
        axes = axes[len(taken) :]
        target = workspace(f"pass {taken[0]}", x.dtype, (product(after),)) if axes else out.flat()
        if len(taken) == 2:
            pair = (counts[0], counts[1])
            calls += _line_calls(source, shape, taken[0], pair, target, attributes)
        else:
            calls += _axis_calls(source, shape, taken[0], counts[0], target, attributes)
        shape, source = after, target
    return calls


def _at_once(axes: Sequence[int], shape: Sequence[Extent], attributes: Mapping[str, Any]) -> bool:
    """True when the last two axes are next to each other and one pass over both is best."""
    if len(axes) != 2 or axes[0] + 1 != axes[1] or product(shape[axes[1] + 1 :]) == 1:
        return False
    few = attributes["mode"] == "nearest" or (
        attributes["mode"] == "linear" and not attributes["antialias"]
    )
    return few and attributes["coordinate_transformation"] != "tf_crop_and_resize"
