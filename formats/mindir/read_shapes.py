"""Readers of primitives that change shapes, put tensors together and make new ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Extent, ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops, scalar_type
from .convert import ElementType, Extents, Ints, Values, enumerated
from .items import Constant, Item, Reference, Shape, Tensor
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


# --- padding ---------------------------------------------------------------------------------


@reads("Pad")
def _pad(g: Context, x: Value, paddings: Item) -> Value:
    before, after = _pairs(g, paddings, g.rank(x))
    return g.add(ops.pad, x, before=before, after=after, mode="constant")


@reads("MirrorPad")
def _mirror_pad(g: Context, x: Value, paddings: Item, mode: Item = "REFLECT") -> Value:
    text = enumerated(mode, {0: "reflect", 1: "symmetric"}, "MirrorPad's mode")
    before, after = _pairs(g, paddings, g.rank(x))
    if text == "reflect":
        return g.add(ops.pad, x, before=before, after=after, mode="reflect")
    if text == "symmetric":
        return _symmetric(g, x, before, after)
    raise UnsupportedError(f"MirrorPad with mode {text!r}")


def _pairs(g: Context, paddings: Item, rank: int) -> tuple[Ints, Ints]:
    """(before, after) of each axis from a tuple of pairs or a tensor [rank, 2]."""
    if isinstance(paddings, tuple):
        rows = [g.whole_numbers(pair, "a padding") for pair in paddings]
    else:
        held = g.known(g.value(paddings), "the padding")
        rows = [tuple(int(item) for item in row) for row in held.reshape(-1, 2)]
    if len(rows) != rank or any(len(row) != 2 for row in rows):
        raise ModelError(f"{len(rows)} paddings are given for {rank} axes")
    return tuple(row[0] for row in rows), tuple(row[1] for row in rows)


def _symmetric(g: Context, x: Value, before: Ints, after: Ints) -> Value:
    """Mirrored at the edges, the edge elements repeated."""
    for axis in range(g.rank(x)):
        size = g.shape(x)[axis]
        if isinstance(size, int) and max(before[axis], after[axis]) > size:
            raise UnsupportedError(f"symmetric padding of {g.type(x)} beyond its size")
        parts = [x]
        if before[axis]:
            parts = [backwards(g, x, axis, before[axis] - 1, before[axis]), *parts]
        if after[axis]:
            parts = [*parts, backwards(g, x, axis, size - 1, after[axis])]
        if len(parts) > 1:
            x = g.add(ops.concat, *parts, axis=axis)
    return x


def backwards(g: Context, x: Value, axis: int, first: Extent, count: Extent) -> Value:
    """``count`` elements along ``axis`` from ``first`` on, in reverse."""
    shape = list(g.shape(x))
    starts: list[Extent] = [0] * len(shape)
    steps = [1] * len(shape)
    starts[axis], shape[axis], steps[axis] = first, count, -1
    return g.add(ops.slice, x, starts=tuple(starts), sizes=tuple(shape), steps=tuple(steps))


@reads("PadV3")
def _pad_v3(
    g: Context,
    x: Value,
    paddings: Ints,
    constant_value: Item = None,
    mode: Item = "constant",
    paddings_contiguous: bool = True,
) -> Value:
    rank = g.rank(x)
    if not paddings_contiguous:
        half = len(paddings) // 2
        paddings = tuple(
            v for pair in zip(paddings[:half], paddings[half:], strict=True) for v in pair
        )
    text = enumerated(mode, {}, "PadV3's mode")
    return padded_from_last(g, x, paddings, constant_value, text, rank)


def padded_from_last(
    g: Context, x: Value, paddings: Ints, fill: Item, mode: str, rank: int
) -> Value:
    """Padding given in pairs for the last axis first, as PyTorch does."""
    if len(paddings) % 2 or len(paddings) > 2 * rank:
        raise ModelError(f"{len(paddings)} paddings are given for {rank} axes")
    before, after = [0] * rank, [0] * rank
    for k in range(len(paddings) // 2):
        before[rank - 1 - k], after[rank - 1 - k] = paddings[2 * k], paddings[2 * k + 1]
    names = {"constant": "constant", "reflect": "reflect", "edge": "edge", "circular": "wrap"}
    names |= {"replicate": "edge", "wrap": "wrap"}
    if mode not in names:
        raise UnsupportedError(f"padding with mode {mode!r}")
    values = []
    if names[mode] == "constant" and fill is not None and not _is_zero(fill):
        values.append(g.reshape(g.value(fill, g.dtype(x)), ()))
    return g.add(ops.pad, x, *values, before=tuple(before), after=tuple(after), mode=names[mode])


def _is_zero(item: Item) -> bool:
    return isinstance(item, (bool, int, float)) and item == 0


@reads("ConstantPadND")
def _constant_pad(g: Context, x: Value, padding: Ints, value: Item = 0.0) -> Value:
    return padded_from_last(g, x, padding, value, "constant", g.rank(x))


@reads("ReflectionPad1D", "ReflectionPad2D", "ReflectionPad3D")
def _reflection_pad(g: Context, x: Value, padding: Ints) -> Value:
    return padded_from_last(g, x, padding, None, "reflect", g.rank(x))


@reads("ReplicationPad1D", "ReplicationPad2D", "ReplicationPad3D")
def _replication_pad(g: Context, x: Value, padding: Ints) -> Value:
    return padded_from_last(g, x, padding, None, "edge", g.rank(x))


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
    before, after = _pairs(g, crops, count)
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
    before, after = _pairs(g, paddings, count)
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


# --- new tensors -----------------------------------------------------------------------------


def _filled(g: Context, shape: Extents, value: Item, dtype: str) -> Value:
    return g.add(ops.expand, g.reshape(g.value(value, dtype), ()), shape=tuple(shape))


@reads("Zeros", "FillZeros")
def _zeros(g: Context, shape: Extents, dtype: ElementType | None = None) -> Value:
    return _filled(g, shape, 0, dtype or "float32")


@reads("NewZeros", "NewOnes")
def _new_filled(g: Context, x: Value, size: Extents, dtype: ElementType | None = None) -> Value:
    return _filled(g, size, int(g.primitive == "NewOnes"), dtype or g.dtype(x))


@reads("Ones")
def _ones(g: Context, shape: Extents, dtype: ElementType | None = None) -> Value:
    return _filled(g, shape, 1, dtype or "float32")


@reads("ZerosLike", "ZerosLikeExt")
def _zeros_like(g: Context, x: Value, dtype: ElementType | None = None) -> Value:
    return _filled(g, g.shape(x), 0, dtype or g.dtype(x))


@reads("OnesLike", "OnesLikeExt")
def _ones_like(g: Context, x: Value, dtype: ElementType | None = None) -> Value:
    return _filled(g, g.shape(x), 1, dtype or g.dtype(x))


@reads("FillV2")
def _fill_v2(g: Context, shape: Extents, value: Item) -> Value:
    return _filled(g, shape, value, g.dtype(g.value(value)))


@reads("FillScalar", "FillTensor")
def _fill_scalar(
    g: Context, shape: Extents, value: Item, dtype: ElementType | None = None
) -> Value:
    plain = isinstance(value, (bool, int, float))
    kind = scalar_type(value) if plain else g.dtype(g.value(value))
    return _filled(g, shape, value, dtype or kind)


@reads("FullLike")
def _full_like(g: Context, x: Value, value: Item, dtype: ElementType | None = None) -> Value:
    return _filled(g, g.shape(x), value, dtype or g.dtype(x))


@reads("Fill")
def _fill(g: Context, dtype: ElementType, shape: Extents, value: Item) -> Value:
    return _filled(g, shape, value, dtype)


@reads("Eye")
def _eye(g: Context, n: int, m: int, dtype: ElementType) -> Value:
    return g.add(ops.eye_like, rows=n, columns=m, dtype=dtype)


@reads("Range")
def _range(g: Context, start: Item, limit: Item, delta: Item, maxlen: int = 0) -> Value:
    return _arange(g, start, limit, delta, None)


@reads("Arange")
def _arange(
    g: Context, start: Item, limit: Item, delta: Item, dtype: ElementType | None = None
) -> Value:
    given = [g.reshape(g.value(item), ()) for item in (start, limit, delta)]
    kind = dtype or max((g.dtype(v) for v in given), key=_range_rank)
    first, last, step = (g.cast(value, kind) for value in given)
    known = [g.numbers(value) for value in (first, last, step)]
    if all(item is not None for item in known):
        a, b, c = (item.item() for item in known if item is not None)
        if c == 0:
            raise ModelError("Range with step 0")
        size: Extent = max(0, math.ceil((b - a) / c))
        return g.add(ops.range, first, step, size=size)
    extents = [g.contents(value) for value in (first, last, step)]
    if any(item is None for item in extents) or kind not in ("int32", "int64"):
        raise UnsupportedError("Range between fractions that only a run tells")
    a, b, c = (g.extent(g.item(value), "Range") for value in (first, last, step))
    if not isinstance(c, int) or c <= 0:
        raise UnsupportedError("Range with a step that is not known or not positive")
    size = dims.maximum(dims.ceil_divide(b - a, c), 0)
    return g.add(ops.range, first, step, size=size)


def _range_rank(dtype: str) -> int:
    order = ("bool", "int32", "int64", "float16", "bfloat16", "float32", "float64")
    return order.index(dtype) if dtype in order else 2


@reads("LinSpace", "LinSpaceExt")
def _linspace(
    g: Context, start: Item, stop: Item, num: int, dtype: ElementType | None = None
) -> Value:
    first = g.reshape(g.value(start), ())
    last = g.reshape(g.value(stop), ())
    kind = dtype or (g.dtype(first) if g.dtype(first).startswith("float") else "float32")
    first, last = g.cast(first, kind), g.cast(last, kind)
    if num < 0:
        raise ModelError(f"{num} places between two numbers")
    g.check_computed(num)
    places = g.constant(np.arange(num) / max(num - 1, 1), kind)
    way = g.add(ops.sub, last, first)
    return g.add(ops.add, first, g.add(ops.mul, places, way))
