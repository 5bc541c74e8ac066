"""Readers of Slice and Split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir import Extent, ModelError, Value
from ...ir import dim as dims
from ...ir.data_type import is_integer
from ..shape_values import needs_run
from .context import Context, ops
from .registry import reads


@reads("Slice", since=1)
def _slice_1(
    g: Context,
    x: Value,
    *,
    starts: tuple[int, ...],
    ends: tuple[int, ...],
    axes: tuple[int, ...] | None = None,
) -> Value:
    chosen = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts)
    return slice_(g, x, starts, ends, chosen, steps)


@reads("Slice", since=(10, 11, 13))
def _slice(
    g: Context,
    x: Value,
    starts: Value,
    ends: Value,
    axes: Value | None = None,
    steps: Value | None = None,
) -> Value:
    count = g.type(starts).size
    if not isinstance(count, int) or g.type(ends).size != count:
        g.unsupported(f"starts {g.type(starts)} and ends {g.type(ends)}")
    if not (is_integer(g.dtype(starts)) and is_integer(g.dtype(ends))):
        raise ModelError(f"Slice from {g.type(starts)} to {g.type(ends)}")
    chosen = tuple(range(count)) if axes is None else g.integers(axes, "Slice's axes")
    if len(chosen) != count or (steps is not None and g.type(steps).size != count):
        raise ModelError(f"Slice: {count} starts, {len(chosen)} axes, steps {steps}")
    if steps is not None and g.numbers(steps) is None:
        return _slice_by_run(g, x, starts, ends, chosen, steps)
    strides = (1,) * count if steps is None else g.integers(steps, "Slice's steps")
    first, last = g.contents(starts), g.contents(ends)
    if first is not None and last is not None:
        found = [a.reshape(-1).tolist() for a in (first, last)]
        if all(
            _decided(item, g.shape(x)[g.axis(x, axis)])
            for items in found
            for item, axis in zip(items, chosen, strict=True)
        ):
            return slice_(g, x, found[0], found[1], chosen, strides)
    return _slice_by_run(g, x, starts, ends, chosen, strides)


def _decided(item: Extent, extent: Extent) -> bool:
    """True when it is known whether a start or end counts from the back."""
    if needs_run(item):
        return False
    if item - extent == -1:
        return True  # the last element: for an empty axis both readings are empty
    low, high = dims.bounds(item)
    return (low is not None and low >= 0) or (high is not None and high < 0)


def slice_(
    g: Context,
    x: Value,
    starts: Sequence[Extent],
    ends: Sequence[Extent],
    axes: Sequence[int],
    steps: Sequence[int],
) -> Value:
    """ONNX Slice with the ends known as extents."""
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ModelError("Slice has different numbers of starts, ends, axes and steps")
    places = _places(g, x, axes, steps)
    first: list[Extent] = [0] * g.rank(x)
    sizes: list[Extent] = list(g.shape(x))
    strides = [1] * g.rank(x)
    for axis, start, end, step in zip(places, starts, ends, steps, strict=True):
        extent = g.shape(x)[axis]
        first[axis], sizes[axis] = interval(extent, start, end, step)
        strides[axis] = step
    if tuple(sizes) == g.shape(x) and not any(first) and all(s == 1 for s in strides):
        return x
    return g.add(ops.slice, x, starts=tuple(first), sizes=tuple(sizes), steps=tuple(strides))


def _places(g: Context, x: Value, axes: Sequence[int], steps: Sequence[int]) -> list[int]:
    places = [g.axis(x, axis) for axis in axes]
    if len(set(places)) != len(places):
        raise ModelError(f"Slice names an axis twice: {tuple(axes)}")
    if 0 in steps:
        raise ModelError("Slice has the step 0")
    return places


def interval(extent: Extent, start: Extent, end: Extent, step: int) -> tuple[Extent, Extent]:
    """First element and number of elements of a slice of an axis."""
    least, most = (0, extent) if step > 0 else (-1, extent - 1)
    first = _clamped(start, extent, 0, most)
    last = _clamped(end, extent, least, most)
    span = last - first if step > 0 else first - last
    size = dims.maximum(dims.ceil_divide(span, abs(step)), 0)
    return (0 if size == 0 else first), size


def _clamped(item: Extent, extent: Extent, low: Extent, high: Extent) -> Extent:
    _, item_high = dims.bounds(item)
    if item_high is not None and item_high < 0:
        item = item + extent  # counted from the back
    return dims.maximum(dims.minimum(item, high), low)


def _slice_by_run(
    g: Context,
    x: Value,
    starts: Value,
    ends: Value,
    axes: Sequence[int],
    steps: Sequence[int] | Value,
) -> Value:
    """A slice whose positions (and steps, if they are a Value) only a run tells."""
    places = _places(g, x, axes, () if isinstance(steps, Value) else steps)
    if isinstance(steps, Value):
        by = g.shapes.as_int64(steps)
    else:
        by = g.constant(np.array(steps, np.int64))
    resolved = g.add(
        ops.resolve_slice,
        g.shapes.as_int64(starts),
        g.shapes.as_int64(ends),
        by,
        extents=tuple(g.shape(x)[axis] for axis in places),
    )
    count = len(places)
    first: list[Extent] = [0] * g.rank(x)
    sizes: list[Extent] = list(g.shape(x))
    strides: list[Extent] = [1] * g.rank(x)
    for position, axis in enumerate(places):
        first[axis] = g.shapes.measure(resolved, position)
        sizes[axis] = g.shapes.measure(resolved, count + position)
        if isinstance(steps, Value):
            strides[axis] = g.shapes.measure(resolved, 2 * count + position, lower=-(2**63))
        else:
            strides[axis] = steps[position]
    return g.add(ops.slice, x, starts=tuple(first), sizes=tuple(sizes), steps=tuple(strides))


# --- Split ---------------------------------------------------------------------------------


@reads("Split", since=(2, 11))
def _split_2(
    g: Context, x: Value, *, axis: int = 0, split: tuple[int, ...] | None = None
) -> list[Value]:
    return _split_into(g, x, axis, split)


@reads("Split", since=13)
def _split_13(g: Context, x: Value, split: Value | None = None, *, axis: int = 0) -> list[Value]:
    return _split_into(g, x, axis, None if split is None else g.extents(split, "Split's sizes"))


@reads("Split", since=18)
def _split(
    g: Context,
    x: Value,
    split: Value | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
) -> list[Value]:
    if split is not None:
        return _split_into(g, x, axis, g.extents(split, "Split's sizes"))
    count = g.output_count if num_outputs is None else num_outputs
    if count < 1 or count != g.output_count:
        raise ModelError(f"Split has num_outputs={count} and {g.output_count} outputs")
    extent = g.shape(x)[g.axis(x, axis)]
    piece = dims.ceil_divide(extent, count)
    sizes: list[Extent] = [piece] * (count - 1)
    return _split_into(g, x, axis, [*sizes, extent - piece * (count - 1)])


def _split_into(g: Context, x: Value, axis: int, sizes: Sequence[Extent] | None) -> list[Value]:
    axis = g.axis(x, axis)
    extent = g.shape(x)[axis]
    if sizes is None:
        count = g.output_count
        piece = dims.floor_divide(extent, count)
        if isinstance(extent, int) and extent % count:
            raise ModelError(f"Split: {extent} elements cannot be split evenly into {count}")
        sizes = [piece] * count
    total: Extent = 0
    results = []
    for size in sizes:
        results.append(g.slice_axis(x, axis, total, size))
        total = total + size
    if isinstance(total, int) and isinstance(extent, int) and total != extent:
        raise ModelError(f"Split: the sizes {tuple(sizes)} do not add up to {extent}")
    return results
