"""Readers of primitives that pick and place elements by index, sort and count."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Extent, UnsupportedError, Value, broadcast
from ...ir import dim as dims
from ...ir.data_type import is_float
from .context import Context, ops
from .convert import ElementType, Extents, Ints, enumerated
from .items import Item
from .read_plumbing import write
from .registry import reads


def _index(g: Context, indices: Value) -> Value:
    """Indices as int32 or int64."""
    return indices if g.dtype(indices) in ("int32", "int64") else g.cast(indices, "int64")


# --- picking ---------------------------------------------------------------------------------


@reads("Gather")
def _gather(g: Context, x: Value, indices: Value, axis: int = 0, batch_dims: int = 0) -> Value:
    place = g.axis(x, axis)
    indices = _index(g, indices)
    if batch_dims < 0:
        batch_dims += g.rank(indices)
    if batch_dims == 0:
        return g.add(ops.gather, x, indices, axis=place)
    # The batch axes are one; the gathered axis follows it.
    shape, places = g.shape(x), g.shape(indices)
    order = [*range(batch_dims), place, *(k for k in range(batch_dims, len(shape)) if k != place)]
    moved = g.transpose(x, order)
    tuples = g.unsqueeze(indices, g.rank(indices))
    found = g.add(ops.gather_nd, moved, tuples, batch_dims=batch_dims)
    # Found: batch axes, index axes, then the rest in order; the rest before ``axis`` goes first.
    ahead = place - batch_dims
    inner = len(places) - batch_dims
    first = list(range(batch_dims + inner, batch_dims + inner + ahead))
    last = list(range(batch_dims + inner + ahead, g.rank(found)))
    middle = list(range(batch_dims, batch_dims + inner))
    return g.transpose(found, [*range(batch_dims), *first, *middle, *last])


@reads("EmbeddingLookup")
def _embedding_lookup(g: Context, x: Value, indices: Value, offset: int = 0) -> Value:
    indices = _index(g, indices)
    if offset:
        indices = g.add(ops.sub, indices, g.scalar_like(indices, offset))
    # Rows outside the table are zero.
    size = g.cast(g.whole(g.shape(x)[0]), g.dtype(indices))
    inside = g.add(
        ops.logical_and,
        g.add(ops.greater_equal, indices, g.scalar_like(indices, 0)),
        g.add(ops.less, indices, size),
    )
    safe = g.add(ops.where, inside, indices, g.scalar_like(indices, 0))
    rows = g.add(ops.gather, x, safe, axis=0)
    mask = g.reshape(inside, (*g.shape(inside), *(1,) * (g.rank(x) - 1)))
    return g.add(ops.where, mask, rows, g.scalar_like(rows, 0))


@reads("Embedding")
def _embedding(
    g: Context,
    indices: Value,
    weight: Value,
    padding_idx: Item = None,
    max_norm: Item = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
) -> Value:
    if max_norm is not None:
        raise UnsupportedError("Embedding that renormalises its table")
    return g.add(ops.gather, weight, _index(g, indices), axis=0)


@reads("IndexSelect")
def _index_select(g: Context, x: Value, dim: int, index: Value) -> Value:
    return g.add(ops.gather, x, _index(g, index), axis=g.axis(x, dim))


@reads("GatherD")
def _gather_d(g: Context, x: Value, dim: int, index: Value) -> Value:
    return g.add(ops.gather_elements, x, _index(g, index), axis=g.axis(x, dim))


@reads("GatherNd", "GatherNdExt")
def _gather_nd(g: Context, x: Value, indices: Value) -> Value:
    return g.add(ops.gather_nd, x, g.cast(indices, "int64"), batch_dims=0)


@reads("MaskedSelect")
def _masked_select(g: Context, x: Value, mask: Value) -> Value:
    shape = broadcast(g.shape(x), g.shape(mask), what="MaskedSelect")
    x, mask = (v if g.shape(v) == shape else g.add(ops.expand, v, shape=shape) for v in (x, mask))
    size = dims.product(shape)
    flat, chosen = g.reshape(x, (size,)), g.reshape(g.cast(mask, "bool"), (size,))
    kept, count = g.add_node(ops.compress, (flat, chosen), {"axis": 0}).outputs
    return g.slice_axis(kept, 0, 0, g.shapes.measure(count, 0))


@reads("NonZero")
def _non_zero(g: Context, x: Value) -> Value:
    found, count = g.add_node(ops.nonzero, (x,), {}).outputs
    rows = g.slice_axis(found, 1, 0, g.shapes.measure(count, 0))
    return g.transpose(rows, (1, 0))


@reads("CountNonZero")
def _count_nonzero(g: Context, x: Value, dim: Ints | None = None) -> Value:
    wanted = g.cast(g.cast(x, "bool"), "int64")
    axes = tuple(range(g.rank(x))) if not dim else g.axes(x, dim)
    return g.add(ops.reduce_sum, wanted, axes=axes, keepdims=False)


# --- placing ---------------------------------------------------------------------------------


@reads("ScatterNd")
def _scatter_nd(g: Context, indices: Value, updates: Value, shape: Extents) -> Value:
    zeros = g.add(ops.expand, g.scalar_like(updates, 0), shape=tuple(shape))
    return _scatter(g, zeros, indices, updates, "add")


def _scatter(g: Context, x: Value, indices: Value, updates: Value, reduction: str) -> Value:
    wide = g.cast(indices, "int64")
    return g.add(ops.scatter_nd, x, wide, g.cast(updates, g.dtype(x)), reduction=reduction)


_REDUCTIONS = {
    "Update": "none",
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Max": "max",
    "Min": "min",
}


def _register_scatter(word: str, reduction: str) -> None:
    def apply(g: Context, x: Value, indices: Value, updates: Value) -> Value:
        if reduction == "sub":
            return _scatter(g, x, indices, g.add(ops.neg, updates), "add")
        return _scatter(g, x, indices, updates, reduction)

    def tensor(g: Context, x: Value, indices: Value, updates: Value) -> Value:
        return apply(g, x, indices, updates)

    def nested(g: Context, x: Item, indices: Value, updates: Value) -> Value:
        return write(g, x, apply(g, g.value(x), indices, updates))

    def rows(g: Context, x: Item, indices: Value, updates: Value) -> Value:
        column = g.unsqueeze(indices, g.rank(indices))
        return write(g, x, apply(g, g.value(x), column, updates))

    reads(f"TensorScatter{word}")(tensor)
    reads(f"ScatterNd{word}")(nested)
    reads(f"Scatter{word}")(rows)


for _word, _reduction in _REDUCTIONS.items():
    _register_scatter(_word, _reduction)


@reads("TensorScatterElements")
def _scatter_elements(
    g: Context, x: Value, indices: Value, updates: Value, axis: int = 0, reduction: Item = "none"
) -> Value:
    mode = enumerated(reduction, {0: "none", 1: "add", 3: "none"}, "reduction")
    return g.add(
        ops.scatter_elements,
        x,
        _index(g, indices),
        g.cast(updates, g.dtype(x)),
        axis=g.axis(x, axis),
        reduction={"update": "none"}.get(mode, mode),
    )


@reads("ScatterAddExt")
def _scatter_add(g: Context, x: Value, dim: int, index: Value, src: Value) -> Value:
    return _scatter_elements(g, x, index, src, dim, "add")


@reads("Scatter")
def _scatter_axis(
    g: Context, x: Value, dim: int, index: Value, src: Value, reduce: Item = "none"
) -> Value:
    return _scatter_elements(g, x, index, src, dim, reduce)


@reads("ScatterValue")
def _scatter_value(
    g: Context, x: Value, dim: int, index: Value, src: Item, reduce: Item = "none"
) -> Value:
    updates = g.add(ops.expand, g.cast(g.like(src, x), g.dtype(x)), shape=g.shape(index))
    return _scatter_elements(g, x, index, updates, dim, reduce)


_SEGMENTS = {
    "Sum": ("add", 0.0),
    "Max": ("max", -np.inf),
    "Min": ("min", np.inf),
    "Prod": ("mul", 1.0),
}


def _register_segment(word: str, reduction: str, start: float) -> None:
    def read(g: Context, x: Value, segment_ids: Value, num_segments: Extents) -> Value:
        (count,) = num_segments
        ids = g.cast(segment_ids, "int64")
        inner = g.shape(x)[g.rank(ids) :]
        # Negative ids are dropped: they go to one more segment, which is cut off.
        limit = g.whole(count)
        dropped = g.add(ops.less, ids, g.scalar_like(ids, 0))
        ids = g.add(ops.where, dropped, limit, ids)
        fill: Any = start
        if not np.isfinite(start):
            limits = np.finfo(np.float32) if is_float(g.dtype(x)) else np.iinfo(g.dtype(x))
            fill = limits.min if start < 0 else limits.max
        empty = g.add(ops.expand, g.scalar_like(x, fill), shape=(count + 1, *inner))
        column = g.unsqueeze(ids, g.rank(ids))
        found = g.add(ops.scatter_nd, empty, column, x, reduction=reduction)
        return g.slice_axis(found, 0, 0, count)

    reads(f"UnsortedSegment{word}")(read)


for _word, (_reduction, _start) in _SEGMENTS.items():
    _register_segment(_word, _reduction, _start)


@reads("OneHot")
def _one_hot(
    g: Context, indices: Value, depth: Extents, on_value: Item, off_value: Item, axis: int = -1
) -> Value:
    on = g.value(on_value)
    dtype = g.dtype(on)
    pair = [g.value(item, dtype) for item in (off_value, on_value)]
    known = [g.numbers(value) for value in pair]
    if known[0] is not None and known[1] is not None:
        values = g.constant(np.stack([known[0].reshape(()), known[1].reshape(())]))
    else:
        values = g.add(ops.concat, *(g.reshape(value, (1,)) for value in pair), axis=0)
    indices = _index(g, indices)
    # Unlike ONNX, a negative index does not count from the end: nothing is on.
    places = g.numbers(indices)
    if places is None or np.any(places < 0):
        negative = g.add(ops.less, indices, g.scalar_like(indices, 0))
        wide = g.cast(indices, "int64")
        beyond = g.whole(depth[0])
        indices = g.add(ops.where, negative, beyond, wide)
    return g.add(ops.one_hot, indices, values, depth=depth[0], axis=axis)


@reads("OneHotExt")
def _one_hot_ext(
    g: Context,
    indices: Value,
    num_classes: Extents,
    on_value: Item = 1,
    off_value: Item = 0,
    axis: int = -1,
) -> Value:
    return _one_hot(g, indices, num_classes, on_value, off_value, axis)


# --- sorting ---------------------------------------------------------------------------------


@reads("TopK")
def _top_k(g: Context, x: Value, k: Extents, sorted: bool = True) -> Item:
    values, places = _sorted(g, x, k[0], g.rank(x) - 1, True)
    return values, g.cast(places, g.declared(1, "int32"))


@reads("TopkExt")
def _top_k_ext(
    g: Context, x: Value, k: Extents, dim: int = -1, largest: bool = True, sorted: bool = True
) -> Item:
    return _sorted(g, x, k[0], g.axis(x, dim), largest)


def _sorted(g: Context, x: Value, k: Extent, axis: int, largest: bool) -> tuple[Value, Value]:
    attributes = {"k": k, "axis": axis, "largest": largest, "sorted": True}
    values, places = g.add_node(ops.top_k, (x,), attributes).outputs
    return values, places


@reads("Sort")
def _sort(g: Context, x: Value, axis: int = -1, descending: bool = False) -> Item:
    place = g.axis(x, axis)
    values, places = _sorted(g, x, g.shape(x)[place], place, descending)
    return values, g.cast(places, g.declared(1, "int32"))


@reads("SortExt")
def _sort_ext(
    g: Context, x: Value, dim: int = -1, descending: bool = False, stable: bool = False
) -> Item:
    place = g.axis(x, dim)
    return _sorted(g, x, g.shape(x)[place], place, descending)


@reads("ArgSort")
def _arg_sort(
    g: Context, x: Value, dim: int = -1, descending: bool = False, stable: bool = False
) -> Value:
    place = g.axis(x, dim)
    return _sorted(g, x, g.shape(x)[place], place, descending)[1]


@reads("SearchSorted")
def _search_sorted(
    g: Context,
    sequence: Value,
    values: Value,
    sorter: Item = None,
    dtype: ElementType = "int64",
    right: bool = False,
) -> Value:
    if sorter is not None:
        raise UnsupportedError("SearchSorted with a sorter")
    # The place is the number of elements that are smaller (or equal).
    rank = g.rank(values)
    apart = g.unsqueeze(values, rank)
    if g.rank(sequence) == 1:
        row = sequence
    else:
        row = g.unsqueeze(sequence, g.rank(sequence) - 1)
    below = g.add(ops.less_equal if right else ops.less, row, apart)
    return g.add(ops.reduce_sum, g.cast(below, dtype), axes=(rank,), keepdims=False)


@reads("SequenceMask")
def _sequence_mask(g: Context, lengths: Value, maxlen: Extents) -> Value:
    wide = g.cast(lengths, "int64")
    zero, one = (g.constant(np.array(k, np.int64)) for k in (0, 1))
    places = g.add(ops.range, zero, one, size=maxlen[0])
    return g.add(ops.less, places, g.unsqueeze(wide, g.rank(wide)))


@reads("InplaceUpdateV2", "InplaceUpdate")
def _inplace_update(g: Context, x: Value, indices: Value, v: Value) -> Value:
    """Rows of ``x`` replaced: the result is another tensor, as everywhere in inference."""
    rows = g.unsqueeze(g.reshape(_index(g, indices), (g.shape(v)[0],)), 1)
    return g.add(ops.scatter_nd, x, rows, v, reduction="none")


@reads("InTopK")
def _in_top_k(g: Context, x: Value, places: Value, k: int) -> Value:
    """Whether fewer than ``k`` numbers of a row exceed the one at its place."""
    chosen = g.unsqueeze(g.cast(places, "int64"), 1)
    own = g.add(ops.gather_elements, x, chosen, axis=1)
    larger = g.cast(g.add(ops.greater, x, own), "int32")
    count = g.add(ops.reduce_sum, larger, axes=(1,), keepdims=False)
    return g.add(ops.less, count, g.scalar_like(count, k))
