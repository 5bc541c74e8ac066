"""Readers of slices."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import Extent, ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops
from .convert import Extents, Ints
from .items import Item
from .read_plumbing import write
from .registry import reads


@reads("StridedSlice")
def _strided_slice(
    g: Context,
    x: Value,
    begin: Extents,
    end: Extents,
    strides: Ints,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> Value:
    count = len(begin)
    if len(end) != count or len(strides) != count:
        raise ModelError(f"StridedSlice has {count} starts, {len(end)} ends, {len(strides)} steps")
    shape = g.shape(x)
    starts: list[Extent] = []
    sizes: list[Extent] = []
    steps: list[int] = []
    result: list[Extent] = []
    # How many axes an ellipsis covers: those that no other entry speaks of.
    ellipsis = next((k for k in range(count) if ellipsis_mask >> k & 1), None)
    named = sum(not new_axis_mask >> k & 1 for k in range(count) if k != ellipsis)
    covered = len(shape) - named
    for k in range(count):
        axis = len(starts)
        if k == ellipsis:
            for _ in range(covered):
                starts.append(0)
                sizes.append(shape[len(sizes)])
                steps.append(1)
                result.append(sizes[-1])
            continue
        if new_axis_mask >> k & 1:
            result.append(1)
            continue
        if axis >= len(shape):
            raise ModelError(f"StridedSlice has more entries than {g.type(x)} has axes")
        extent = shape[axis]
        if shrink_axis_mask >> k & 1:
            first = begin[k]
            if isinstance(first, int) and first < 0:
                first = extent + first
            starts.append(first)
            sizes.append(1)
            steps.append(1)
            continue
        low = None if begin_mask >> k & 1 else begin[k]
        high = None if end_mask >> k & 1 else end[k]
        start, size = bounds(low, high, strides[k], extent)
        starts.append(start)
        sizes.append(size)
        steps.append(strides[k])
        result.append(size)
    for extent in shape[len(starts) :]:
        starts.append(0)
        sizes.append(extent)
        steps.append(1)
        result.append(extent)
    if tuple(sizes) != shape or any(step != 1 for step in steps):
        x = g.add(ops.slice, x, starts=tuple(starts), sizes=tuple(sizes), steps=tuple(steps))
    return g.reshape(x, result)


def bounds(
    start: Extent | None, end: Extent | None, step: int, extent: Extent
) -> tuple[Extent, Extent]:
    """First element and number of elements of Python's ``[start:end:step]``."""
    if step == 0:
        raise ModelError("a slice has step 0")
    if step > 0:
        first = 0 if start is None else _clipped(start, extent, 0, extent)
        last = extent if end is None else _clipped(end, extent, 0, extent)
        count = dims.ceil_divide(last - first, step)
    else:
        first = extent - 1 if start is None else _clipped(start, extent, -1, extent - 1)
        last = -1 if end is None else _clipped(end, extent, -1, extent - 1)
        count = dims.ceil_divide(first - last, -step)
    low, _ = dims.bounds(count)
    count = count if low is not None and low >= 0 else dims.maximum(count, 0)
    return (0 if isinstance(count, int) and count == 0 else first), count


def _clipped(place: Extent, extent: Extent, low: Extent, high: Extent) -> Extent:
    """A place of a slice: negative ones count from the end, all are clipped to the tensor."""
    if isinstance(place, int) and place < 0:
        place = place + extent
    return dims.minimum(dims.maximum(place, low), high)


@reads("Slice")
def _slice(g: Context, x: Value, begin: Extents, size: Extents) -> Value:
    shape = g.shape(x)
    if len(begin) != len(shape) or len(size) != len(shape):
        raise ModelError(f"Slice of {g.type(x)} has {len(begin)} starts and {len(size)} sizes")
    sizes = [
        extent - first if isinstance(count, int) and count == -1 else count
        for first, count, extent in zip(begin, size, shape, strict=True)
    ]
    if tuple(sizes) == shape:
        return x
    return g.add(ops.slice, x, starts=tuple(begin), sizes=tuple(sizes), steps=(1,) * len(shape))


@reads("SliceExt", "SliceExtView")
def _slice_axis(
    g: Context, x: Value, dim: int, start: Extents, end: Extents, step: int = 1
) -> Value:
    axis = g.axis(x, dim)
    first, count = bounds(start[0], end[0], step, g.shape(x)[axis])
    shape = list(g.shape(x))
    starts: list[Extent] = [0] * len(shape)
    steps = [1] * len(shape)
    starts[axis], shape[axis], steps[axis] = first, count, step
    return g.add(ops.slice, x, starts=tuple(starts), sizes=tuple(shape), steps=tuple(steps))


@reads("Narrow", "NarrowView")
def _narrow(g: Context, x: Value, dim: int, start: Extents, length: Extents) -> Value:
    axis = g.axis(x, dim)
    first = start[0]
    if isinstance(first, int) and first < 0:
        first = first + g.shape(x)[axis]
    return g.slice_axis(x, axis, first, length[0])


@reads("SelectExtView")
def _select_one(g: Context, x: Value, dim: int, index: Extents) -> Value:
    axis = g.axis(x, dim)
    first = index[0]
    if isinstance(first, int) and first < 0:
        first = first + g.shape(x)[axis]
    part = g.slice_axis(x, axis, first, 1)
    shape = g.shape(part)
    return g.reshape(part, shape[:axis] + shape[axis + 1 :])


@reads("ReverseV2")
def _reverse(g: Context, x: Value, axis: Ints) -> Value:
    shape = g.shape(x)
    turned = set(g.axes(x, axis))
    starts = tuple(e - 1 if k in turned else 0 for k, e in enumerate(shape))
    steps = tuple(-1 if k in turned else 1 for k in range(len(shape)))
    return g.add(ops.slice, x, starts=starts, sizes=shape, steps=steps)


@reads("ReverseSequence")
def _reverse_sequence(
    g: Context, x: Value, seq_lengths: Value, seq_dim: int, batch_dim: int = 0
) -> Value:
    time, batch = g.axis(x, seq_dim), g.axis(x, batch_dim)
    lengths = g.cast(seq_lengths, "int64")
    rest = [k for k in range(g.rank(x)) if k not in (time, batch)]
    order = [batch, time, *rest]
    moved = g.transpose(x, order)
    result = g.add(ops.reverse_sequence, moved, lengths, batch_axis=0, time_axis=1)
    return g.transpose(result, sorted(range(len(order)), key=order.__getitem__))


@reads("Roll", other_names={"shifts": "shift", "dims": "axis"})
def _roll(g: Context, x: Value, shifts: Ints, dims: Ints | None = None) -> Value:
    shape = g.shape(x)
    if dims is None:
        x, dims = g.reshape(x, (g.type(x).size,)), (0,)
    if len(shifts) != len(dims):
        raise ModelError(f"Roll has {len(shifts)} shifts for {len(dims)} axes")
    for shift, dim in zip(shifts, dims, strict=True):
        axis = g.axis(x, dim)
        size = g.shape(x)[axis]
        if not isinstance(size, int):
            raise UnsupportedError(f"Roll of {g.type(x)}")
        amount = shift % size if size else 0
        if amount:
            head = g.slice_axis(x, axis, 0, size - amount)
            tail = g.slice_axis(x, axis, size - amount, amount)
            x = g.add(ops.concat, tail, head, axis=axis)
    return g.reshape(x, shape)


@reads("TensorCopySlices")
def _copy_slices(g: Context, x: Item, value: Value, begin: Ints, end: Ints, strides: Ints) -> Value:
    held = g.value(x)
    shape = g.shape(held)
    ranges = []
    for first, last, step, extent in zip(begin, end, strides, shape, strict=False):
        if step != 1:
            raise UnsupportedError("TensorCopySlices with steps")
        ranges.append(bounds(first, last, 1, extent))
    sizes = [count for _, count in ranges] + list(shape[len(ranges) :])
    value = g.cast(value, g.dtype(held))
    if g.type(value).size == 1 or g.rank(value) < len(sizes):
        value = g.add(ops.expand, value, shape=tuple(sizes))
    new = g.reshape(value, sizes)
    return write(g, x, _placed(g, held, new, ranges, 0))


def _placed(
    g: Context, x: Value, new: Value, ranges: Sequence[tuple[Extent, Extent]], axis: int
) -> Value:
    """``x`` with ``new`` in the place that ``ranges`` of the axes from ``axis`` on tell."""
    while axis < len(ranges) and ranges[axis][1] == g.shape(x)[axis]:
        axis += 1
    if axis == len(ranges):
        return new
    first, count = ranges[axis]
    inside = _placed(g, g.slice_axis(x, axis, first, count), new, ranges, axis + 1)
    parts = [inside]
    rest = g.shape(x)[axis] - first - count
    if first != 0:
        parts = [g.slice_axis(x, axis, 0, first), *parts]
    if rest != 0:
        parts = [*parts, g.slice_axis(x, axis, first + count, rest)]
    return g.add(ops.concat, *parts, axis=axis)


@reads("ChannelShuffle")
def _channel_shuffle(g: Context, x: Value, group: int) -> Value:
    """Channels of ``group`` groups, one of each in turn."""
    batch, channels, *spatial = g.shape(x)
    if not isinstance(channels, int) or group < 1 or channels % group:
        raise ModelError(f"ChannelShuffle of {g.type(x)} in {group} groups")
    split = g.reshape(x, (batch, group, channels // group, *spatial))
    order = [0, 2, 1, *range(3, 3 + len(spatial))]
    return g.reshape(g.transpose(split, order), g.shape(x))
