"""Readers of primitives that change shapes, and put tensors together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...ir import Extent, ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops
from .convert import Extents, Ints, Values, enumerated
from .items import Constant, Item, Reference, Shape, Tensor
from .read_padding import pairs
from .registry import reads

# --- what a shape is -------------------------------------------------------------------------


@reads("Shape")
def _shape(g: Context, x: Item) -> Item:
    return Shape(g.sizes(x))


@reads("TensorShape", "DynamicShape")
def _tensor_shape(g: Context, x: Value) -> Value:
    return g.symbolic(g.shape(x))


@reads("Rank")
def _rank(g: Context, x: Value) -> Item:
    return g.rank(x)


@reads("Size")
def _size(g: Context, x: Value) -> Item:
    return g.type(x).size


# --- other shapes ----------------------------------------------------------------------------


@reads("Reshape", "View")
def _reshape(g: Context, x: Value, shape: Item) -> Value:
    known: Any = None
    if isinstance(shape, (Tensor, Constant, Reference)):
        held = g.value(shape)
        if g.contents(held) is None:
            known = g.measured(_resolved(g, x, held))
        else:
            known = g.extents(held, "the new shape")
    else:
        parts = shape if isinstance(shape, tuple) else (shape,)
        known = tuple(g.extent(part, "the new shape") for part in parts)
    return reshaped(g, x, known)


def _resolved(g: Context, x: Value, shape: Value) -> Value:
    """The shape without -1, computed by the run."""
    wide = g.cast(shape, "int64")
    return g.add(ops.resolve_reshape, wide, input_shape=g.shape(x), allow_zero=True)


def reshaped(g: Context, x: Value, shape: Sequence[Extent]) -> Value:
    """``x`` with another shape, in which one extent may be -1."""
    unknown = [k for k, extent in enumerate(shape) if isinstance(extent, int) and extent == -1]
    if len(unknown) > 1:
        raise ModelError(f"the shape {tuple(shape)} has more than one -1")
    found = list(shape)
    if unknown:
        others = dims.product([e for k, e in enumerate(shape) if k != unknown[0]])
        if isinstance(others, int) and others == 0:
            found[unknown[0]] = 0
        else:
            found[unknown[0]] = dims.floor_divide(g.type(x).size, others)
    return g.reshape(x, found)


@reads("Flatten")
def _flatten(g: Context, x: Value) -> Value:
    shape = g.shape(x)
    if not shape:
        return g.reshape(x, (1,))
    return g.reshape(x, (shape[0], dims.product(shape[1:]))) if len(shape) > 1 else x


@reads("FlattenExt")
def _flatten_ext(g: Context, x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    shape = g.shape(x)
    if not shape:
        return g.reshape(x, (1,))
    first, last = g.axis(x, start_dim), g.axis(x, end_dim)
    middle = dims.product(shape[first : last + 1])
    return g.reshape(x, (*shape[:first], middle, *shape[last + 1 :]))


@reads("ExpandDims", "ExpandDimsView")
def _expand_dims(g: Context, x: Value, axis: int) -> Value:
    rank = g.rank(x) + 1
    if not -rank <= axis < rank:
        raise ModelError(f"axis {axis} is out of range for a new axis of {g.type(x)}")
    return g.unsqueeze(x, axis)


@reads("Squeeze")
def _squeeze(g: Context, x: Value, axis: Ints = ()) -> Value:
    shape = g.shape(x)
    if axis:
        gone = {g.axis(x, k) for k in axis}
    else:
        if any(not isinstance(extent, int) for extent in shape):
            raise UnsupportedError(f"Squeeze of all axes of {g.type(x)}")
        gone = {k for k, extent in enumerate(shape) if extent == 1}
    for k in gone:
        if isinstance(shape[k], int) and shape[k] != 1:
            raise ModelError(f"axis {k} of {g.type(x)} is not 1 and cannot be removed")
    return g.reshape(x, [extent for k, extent in enumerate(shape) if k not in gone])


@reads("Transpose", "TransposeView")
def _transpose(g: Context, x: Value, perm: Ints) -> Value:
    if len(perm) != g.rank(x):
        raise ModelError(f"{g.type(x)} cannot be transposed by {perm}")
    order = [g.axis(x, axis) for axis in perm]
    if len(set(order)) != len(order):
        raise ModelError(f"{perm} is no order of axes")
    return g.transpose(x, order)


@reads("TransposeExtView")
def _swap_axes(g: Context, x: Value, dim0: int, dim1: int) -> Value:
    order = list(range(g.rank(x)))
    first, second = g.axis(x, dim0), g.axis(x, dim1)
    order[first], order[second] = order[second], order[first]
    return g.transpose(x, order)


@reads("BroadcastTo", "BroadcastToView", "DynamicBroadcastTo")
def _broadcast_to(g: Context, x: Value, shape: Extents) -> Value:
    own = (1,) * (len(shape) - g.rank(x)) + g.shape(x)
    if len(own) > len(shape):
        raise ModelError(f"{g.type(x)} cannot be broadcast to {shape}")
    wanted = [
        here if isinstance(extent, int) and extent == -1 else extent
        for extent, here in zip(shape, own, strict=True)
    ]
    return x if tuple(wanted) == g.shape(x) else g.add(ops.expand, x, shape=tuple(wanted))


@reads("ExpandAs")
def _expand_as(g: Context, x: Value, other: Value) -> Value:
    return g.add(ops.expand, x, shape=g.shape(other))


@reads("Tile", "Repeat")
def _tile(g: Context, x: Value, multiples: Extents) -> Value:
    rank = max(len(multiples), g.rank(x))
    x = g.broadcast_rank(x, rank)
    repeats = (1,) * (rank - len(multiples)) + tuple(multiples)
    return g.add(ops.tile, x, repeats=repeats)


@reads("RepeatInterleaveInt")
def _repeat_each(
    g: Context, x: Value, repeats: int, dim: int | None = None, output_size: Item = None
) -> Value:
    if dim is None:
        x, dim = g.reshape(x, (g.type(x).size,)), 0
    axis, shape = g.axis(x, dim), list(g.shape(x))
    apart = g.unsqueeze(x, axis + 1)
    wide = [*shape[: axis + 1], repeats, *shape[axis + 1 :]]
    spread = g.add(ops.expand, apart, shape=tuple(wide))
    shape[axis] = shape[axis] * repeats
    return g.reshape(spread, shape)


# --- several tensors -------------------------------------------------------------------------


@reads("Concat", "ConcatV2")
def _concat(g: Context, xs: Values, axis: int = 0) -> Value:
    if not xs:
        raise ModelError("Concat of nothing")
    return g.add(ops.concat, *xs, axis=g.axis(xs[0], axis)) if len(xs) > 1 else xs[0]


@reads("Stack", "StackExt")
def _stack(g: Context, xs: Values, axis: int = 0) -> Value:
    if not xs:
        raise ModelError("Stack of nothing")
    rank = g.rank(xs[0]) + 1
    if not -rank <= axis < rank:
        raise ModelError(f"axis {axis} is out of range for {len(xs)} stacked {g.type(xs[0])}")
    parts = [g.unsqueeze(x, axis) for x in xs]
    return g.add(ops.concat, *parts, axis=axis % rank) if len(parts) > 1 else parts[0]


@reads("Unstack", "UnstackExtView")
def _unstack(g: Context, x: Value, axis: int = 0) -> Item:
    place = g.axis(x, axis)
    shape = g.shape(x)
    count = shape[place]
    if not isinstance(count, int):
        raise UnsupportedError(f"Unstack of {g.type(x)}, whose parts cannot be counted")
    rest = shape[:place] + shape[place + 1 :]
    return tuple(g.reshape(g.slice_axis(x, place, k, 1), rest) for k in range(count))


def parts_along(g: Context, x: Value, axis: int, sizes: Sequence[Extent]) -> tuple[Value, ...]:
    """``x`` cut along ``axis`` into parts of these sizes."""
    found, start = [], 0
    for size in sizes:
        found.append(g.slice_axis(x, axis, start, size))
        start = start + size  # type: ignore[assignment]
    return tuple(found)


@reads("Split", other_names={"output_num": "num_split"})
def _split(g: Context, x: Value, axis: int = 0, output_num: int = 1) -> Item:
    place = g.axis(x, axis)
    size = g.shape(x)[place]
    if output_num < 1 or (isinstance(size, int) and size % output_num):
        raise ModelError(f"axis {axis} of {g.type(x)} cannot be split into {output_num} parts")
    return parts_along(g, x, place, [dims.floor_divide(size, output_num)] * output_num)


@reads("SplitV", other_names={"split_dim": "axis"})
def _split_v(
    g: Context, x: Value, size_splits: Ints, split_dim: int = 0, num_split: int = 0
) -> Item:
    place = g.axis(x, split_dim)
    sizes: list[Extent] = list(size_splits)
    if -1 in sizes:
        known = sum(size for size in size_splits if size != -1)
        sizes[sizes.index(-1)] = g.shape(x)[place] - known
    return parts_along(g, x, place, sizes)


@reads("SplitWithSize", "SplitWithSizeView")
def _split_with_size(g: Context, x: Value, split_size: Ints, dim: int = 0) -> Item:
    return parts_along(g, x, g.axis(x, dim), split_size)


@reads("SplitTensor", "SplitTensorView")
def _split_tensor(g: Context, x: Value, split_size: int, dim: int = 0) -> Item:
    place = g.axis(x, dim)
    size = g.shape(x)[place]
    if not isinstance(size, int) or split_size < 1:
        raise UnsupportedError(f"{g.type(x)} in parts of {split_size}")
    starts = range(0, max(size, 1), split_size)
    return parts_along(g, x, place, [min(split_size, size - start) for start in starts])


@reads("Chunk", "ChunkView")
def _chunk(g: Context, x: Value, chunks: int, dim: int = 0) -> Item:
    size = g.shape(x)[g.axis(x, dim)]
    if not isinstance(size, int) or chunks < 1:
        raise UnsupportedError(f"{g.type(x)} in {chunks} chunks")
    return _split_tensor(g, x, max(1, math.ceil(size / chunks)), dim)


@reads("Meshgrid")
def _meshgrid(g: Context, xs: Values, indexing: Item = "xy") -> Item:
    mode = enumerated(indexing, {0: "ij", 1: "xy"}, "indexing")
    sizes = [g.type(x).size for x in xs]
    order = list(range(len(xs)))
    if mode == "xy" and len(xs) > 1:
        order[0], order[1] = 1, 0
    shape = tuple(sizes[k] for k in order)
    results = []
    for k, x in enumerate(xs):
        extents: list[Extent] = [1] * len(xs)
        extents[order.index(k)] = sizes[k]
        results.append(g.add(ops.expand, g.reshape(x, extents), shape=shape))
    return tuple(results)


# --- blocks ----------------------------------------------------------------------------------


@reads("DepthToSpace")
def _depth_to_space(g: Context, x: Value, block_size: int) -> Value:
    return g.add(ops.depth_to_space, x, block_size=block_size, mode="DCR")


@reads("SpaceToDepth")
def _space_to_depth(g: Context, x: Value, block_size: int) -> Value:
    return g.add(ops.space_to_depth, x, block_size=block_size)


@reads("PixelShuffle")
def _pixel_shuffle(g: Context, x: Value, upscale_factor: int) -> Value:
    return g.add(ops.depth_to_space, x, block_size=upscale_factor, mode="CRD")


@reads("BatchToSpaceND", "BatchToSpace", other_names={"block_shape": "block_size"})
def _batch_to_space(g: Context, x: Value, block_shape: Ints, crops: Item) -> Value:
    shape, rank = g.shape(x), g.rank(x)
    count = rank - 2
    blocks = block_shape * count if len(block_shape) == 1 else block_shape
    total = math.prod(blocks)
    apart = g.reshape(x, (*blocks, dims.floor_divide(shape[0], total), *shape[1:]))
    order = [count, count + 1]
    for k in range(count):
        order += [count + 2 + k, k]
    merged = [e * b for e, b in zip(shape[2:], blocks, strict=True)]
    result = g.reshape(
        g.transpose(apart, order), (dims.floor_divide(shape[0], total), shape[1], *merged)
    )
    before, after = pairs(g, crops, count)
    for k in range(count):
        size = merged[k] - before[k] - after[k]
        if (before[k], after[k]) != (0, 0):
            result = g.slice_axis(result, 2 + k, before[k], size)
    return result


@reads("SpaceToBatchND", "SpaceToBatch", other_names={"block_shape": "block_size"})
def _space_to_batch(g: Context, x: Value, block_shape: Ints, paddings: Item) -> Value:
    rank = g.rank(x)
    count = rank - 2
    blocks = block_shape * count if len(block_shape) == 1 else block_shape
    before, after = pairs(g, paddings, count)
    if any(before) or any(after):
        x = g.add(ops.pad, x, before=(0, 0, *before), after=(0, 0, *after), mode="constant")
    shape = g.shape(x)
    parts: list[Extent] = [shape[0], shape[1]]
    for extent, block in zip(shape[2:], blocks, strict=True):
        parts += [dims.floor_divide(extent, block), block]
    apart = g.reshape(x, parts)
    order = [3 + 2 * k for k in range(count)] + [0, 1] + [2 + 2 * k for k in range(count)]
    return g.reshape(
        g.transpose(apart, order),
        (shape[0] * math.prod(blocks), shape[1], *(parts[2 + 2 * k] for k in range(count))),
    )
