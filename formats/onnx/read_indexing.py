"""Readers of ONNX operators that pick and place elements by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Extent, ModelError, Value
from .context import Context, ops
from .registry import reads


def _index(g: Context, indices: Value) -> Value:
    """Indices as int32 or int64."""
    return indices if g.dtype(indices) in ("int32", "int64") else g.cast(indices, "int64")


@reads("Gather", since=(1, 11, 13))
def _gather(g: Context, x: Value, indices: Value, *, axis: int = 0) -> Value:
    return g.add(ops.gather, x, _index(g, indices), axis=g.axis(x, axis))


@reads("GatherElements", since=(11, 13))
def _gather_elements(g: Context, x: Value, indices: Value, *, axis: int = 0) -> Value:
    return g.add(ops.gather_elements, x, _index(g, indices), axis=g.axis(x, axis))


@reads("GatherND", since=11)
def _gather_nd_11(g: Context, x: Value, indices: Value) -> Value:
    return g.add(ops.gather_nd, x, indices, batch_dims=0)


@reads("GatherND", since=(12, 13))
def _gather_nd(g: Context, x: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    return g.add(ops.gather_nd, x, indices, batch_dims=batch_dims)


@reads("Scatter", since=(9, 11))
@reads("ScatterElements", since=(11, 13))
def _scatter_elements_11(
    g: Context, x: Value, indices: Value, updates: Value, *, axis: int = 0
) -> Value:
    return g.add(
        ops.scatter_elements, x, _index(g, indices), updates, axis=g.axis(x, axis), reduction="none"
    )


@reads("ScatterElements", since=(16, 18))
def _scatter_elements(
    g: Context,
    x: Value,
    indices: Value,
    updates: Value,
    *,
    axis: int = 0,
    reduction: str = "none",
) -> Value:
    return g.add(
        ops.scatter_elements,
        x,
        _index(g, indices),
        updates,
        axis=g.axis(x, axis),
        reduction=reduction,
    )


@reads("ScatterND", since=(11, 13))
def _scatter_nd_11(g: Context, x: Value, indices: Value, updates: Value) -> Value:
    return g.add(ops.scatter_nd, x, indices, updates, reduction="none")


@reads("ScatterND", since=(16, 18))
def _scatter_nd(
    g: Context, x: Value, indices: Value, updates: Value, *, reduction: str = "none"
) -> Value:
    return g.add(ops.scatter_nd, x, indices, updates, reduction=reduction)


@reads("OneHot", since=(9, 11, 28))
def _one_hot(g: Context, indices: Value, depth: Value, values: Value, *, axis: int = -1) -> Value:
    if g.type(depth).size != 1:
        raise ModelError(f"OneHot's depth is {g.type(depth)}, not one number")
    held = g.numbers(depth)
    if held is not None:
        if not np.isfinite(held.astype(np.float64)).all():
            raise ModelError("OneHot's depth is not a number")
        count: Any = int(held.reshape(-1)[0])
    else:
        whole = g.reshape(g.cast(depth, "int64"), (1,))
        count = g.extent(whole, "OneHot's depth")
    if g.dtype(indices) not in ("int32", "int64"):
        indices = g.cast(indices, "int64")
    return g.add(ops.one_hot, indices, values, depth=count, axis=axis)


@reads("NonZero", since=(9, 13))
def _non_zero(g: Context, x: Value) -> Value:
    found, count = g.add_node(ops.nonzero, (x,), {}).outputs
    size = g.shapes.measure(count, 0)
    return g.slice_axis(found, 1, 0, size)


@reads("Compress", since=9)
def _compress_9(g: Context, x: Value, condition: Value, *, axis: int | None = None) -> Value:
    return compress(g, x, condition, axis)


@reads("Compress", since=(11, 28))
def _compress(g: Context, x: Value, condition: Value, *, axis: int | None = None) -> Value:
    return compress(g, x, condition, axis)


def compress(g: Context, x: Value, condition: Value, axis: int | None) -> Value:
    """The slices of ``x`` (elements where ``axis`` is None) whose condition holds."""
    place = None if axis is None else g.axis(x, axis)
    kept, count = g.add_node(ops.compress, (x, condition), {"axis": place}).outputs
    return g.slice_axis(kept, place or 0, 0, g.shapes.measure(count, 0))


@reads("Unique", since=(11, 28))
def _unique(g: Context, x: Value, *, axis: int | None = None, sorted: int = 1) -> Any:
    if axis is not None and (g.rank(x) != 1 or g.axis(x, axis) != 0):
        g.unsupported(f"Unique along axis {axis} of {g.type(x)}")
    found = g.add_node(ops.unique, (x,), {"sorted": bool(sorted)}).outputs
    size = g.shapes.measure(found[4], 0)
    items, first, counts = (g.slice_axis(found[k], 0, 0, size) for k in (0, 1, 3))
    return items, first, found[2], counts


@reads("TopK", since=1)
def _top_k_1(g: Context, x: Value, *, k: int, axis: int = -1) -> Any:
    return g.add_node(ops.top_k, (x,), _top_k_attributes(g, x, k, axis, 1, 1)).outputs


@reads("TopK", since=10)
def _top_k_10(g: Context, x: Value, k: Value, *, axis: int = -1) -> Any:
    count = g.extent(k, "TopK's k")
    return g.add_node(ops.top_k, (x,), _top_k_attributes(g, x, count, axis, 1, 1)).outputs


@reads("TopK", since=(11, 24))
def _top_k(
    g: Context, x: Value, k: Value, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> Any:
    count = g.extent(k, "TopK's k")
    attributes = _top_k_attributes(g, x, count, axis, largest, sorted)
    return g.add_node(ops.top_k, (x,), attributes).outputs


def _top_k_attributes(
    g: Context, x: Value, count: Any, axis: int, largest: int, sorted_: int
) -> dict[str, Any]:
    return {
        "k": count,
        "axis": g.axis(x, axis),
        "largest": bool(largest),
        "sorted": bool(sorted_),
    }


@reads("TensorScatter", since=24)
def _tensor_scatter(
    g: Context,
    past: Value,
    update: Value,
    write_indices: Value | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Value:
    axis = g.axis(past, axis)
    if g.rank(update) != g.rank(past):
        raise ModelError(f"TensorScatter of {g.type(update)} into {g.type(past)}")
    if axis == 0:
        raise ModelError("TensorScatter cannot write along the batch axis")
    shape, span = g.shape(past), g.shape(update)[axis]
    batch = shape[0]
    if write_indices is None:
        write_indices = g.add(ops.expand, g.constant(np.array(0, np.int64)), shape=(batch,))
    # Position of each row of the update along the axis, for each batch entry.
    steps = g.add(
        ops.range,
        g.constant(np.array(0, np.int64)),
        g.constant(np.array(1, np.int64)),
        size=span,
    )
    starts = g.reshape(g.cast(write_indices, "int64"), (batch, 1))
    places = g.add(ops.add, starts, g.reshape(steps, (1, span)))
    if mode == "circular":
        places = g.add(ops.mod, places, g.reshape(g.symbolic([shape[axis]]), ()), fmod=False)
    elif mode != "linear":
        g.unsupported(f"TensorScatter with mode={mode!r}")
    spread: list[Extent] = [1] * g.rank(past)
    spread[0], spread[axis] = batch, span
    indices = g.add(ops.expand, g.reshape(places, spread), shape=g.shape(update))
    return g.add(ops.scatter_elements, past, indices, update, axis=axis, reduction="none")
