"""Readers of ONNX operators that move, join and shape elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Array, Dim, Extent, ModelError, Value, broadcast
from ...ir import dim as dims
from ...ir.data_type import is_integer
from ..shape_values import needs_run
from .context import Context, ops
from .element_types import element_type
from .registry import reads


@reads("Shape", since=(1, 13))
def _shape_1(g: Context, x: Value) -> Value:
    return g.symbolic(g.shape(x))


@reads("Shape", since=(15, 19, 21, 23, 24, 25))
def _shape(g: Context, x: Value, *, start: int = 0, end: int | None = None) -> Value:
    rank = g.rank(x)
    first, last, _ = slice(start, end).indices(rank)
    return g.symbolic(g.shape(x)[first : max(first, last)])


@reads("Size", since=(1, 13, 19, 21, 23, 24, 25))
def _size(g: Context, x: Value) -> Value:
    return g.reshape(g.symbolic([g.type(x).size]), ())


@reads("Reshape", since=(5, 13))
def _reshape_5(g: Context, x: Value, shape: Value) -> Value:
    return reshape(g, x, shape, allow_zero=False)


@reads("Reshape", since=(14, 19, 21, 23, 24, 25))
def _reshape(g: Context, x: Value, shape: Value, *, allowzero: int = 0) -> Value:
    return reshape(g, x, shape, allow_zero=bool(allowzero))


def reshape(g: Context, x: Value, shape: Value, allow_zero: bool) -> Value:
    """ONNX Reshape: 0 copies an extent, -1 is what is left over."""
    rank = g.type(shape).size
    if not is_integer(g.dtype(shape)) or g.rank(shape) != 1:
        raise ModelError(f"Reshape to {g.type(shape)}")
    if not isinstance(rank, int):
        g.unsupported("the number of dimensions of the result is computed by the run")
    if rank > 64:
        raise ModelError(f"Reshape to {rank} dimensions; 64 is the most")
    wanted = g.contents(shape)
    items: list[Any] = [None] * rank if wanted is None else wanted.reshape(-1).tolist()
    if any(item is None or needs_run(item) for item in items):
        resolved = g.add(
            ops.resolve_reshape,
            g.shapes.as_int64(shape),
            input_shape=g.shape(x),
            allow_zero=allow_zero,
        )
        return g.reshape(x, g.measured(resolved))
    return g.reshape(x, resolve_shape(g.shape(x), items, allow_zero))


def resolve_shape(
    shape: Sequence[Extent], wanted: Sequence[Extent], allow_zero: bool
) -> list[Extent]:
    """The shape that Reshape's operand means for a tensor of ``shape``."""
    result: list[Extent] = []
    open_axis = None
    for axis, extent in enumerate(wanted):
        if extent == 0 and not allow_zero:
            if axis >= len(shape):
                raise ModelError(f"Reshape copies extent {axis} of the shape {tuple(shape)}")
            extent = shape[axis]
        elif extent == -1:
            if open_axis is not None:
                raise ModelError("Reshape has two extents of -1")
            open_axis, extent = axis, 1
        elif isinstance(extent, int) and extent < 0:
            raise ModelError(f"Reshape has the extent {extent}")
        result.append(extent)
    if open_axis is not None:
        size, rest = dims.product(shape), dims.product(result)
        if rest == 0:
            raise ModelError(f"Reshape to {tuple(wanted)}: -1 cannot be found beside an extent 0")
        if isinstance(size, int) and isinstance(rest, int) and size % rest:
            raise ModelError(f"Reshape: the shape {tuple(shape)} does not fit {tuple(wanted)}")
        result[open_axis] = dims.floor_divide(size, rest)
    return result


@reads("Flatten", since=(1, 9, 11, 13, 21, 23, 24, 25))
def _flatten(g: Context, x: Value, *, axis: int = 1) -> Value:
    return g.flatten2(x, axis)


@reads("Squeeze", since=(1, 11))
def _squeeze_1(g: Context, x: Value, *, axes: tuple[int, ...] | None = None) -> Value:
    return squeeze(g, x, axes)


@reads("Squeeze", since=(13, 21, 23, 24, 25))
def _squeeze(g: Context, x: Value, axes: Value | None = None) -> Value:
    return squeeze(g, x, None if axes is None else g.integers(axes, "Squeeze's axes"))


def squeeze(g: Context, x: Value, axes: Sequence[int] | None) -> Value:
    """``x`` without extents 1, all of them where ``axes`` is None."""
    shape = g.shape(x)
    if axes is None:
        if any(isinstance(extent, Dim) for extent in shape):
            g.unsupported(f"Squeeze without axes of {g.type(x)}")
        return g.reshape(x, [extent for extent in shape if extent != 1])
    dropped = g.axes(x, axes)
    for axis in dropped:
        if isinstance(shape[axis], int) and shape[axis] != 1:
            raise ModelError(f"Squeeze drops axis {axis} of {g.type(x)}, which is not 1")
    return g.reshape(x, [extent for axis, extent in enumerate(shape) if axis not in dropped])


@reads("Unsqueeze", since=(1, 11))
def _unsqueeze_1(g: Context, x: Value, *, axes: tuple[int, ...]) -> Value:
    return unsqueeze(g, x, axes)


@reads("Unsqueeze", since=(13, 21, 23, 24, 25))
def _unsqueeze(g: Context, x: Value, axes: Value) -> Value:
    return unsqueeze(g, x, g.integers(axes, "Unsqueeze's axes"))


def unsqueeze(g: Context, x: Value, axes: Sequence[int]) -> Value:
    """``x`` with extents 1 at ``axes`` of the result."""
    rank = g.rank(x) + len(axes)
    if any(not -rank <= axis < rank for axis in axes) or len({a % rank for a in axes}) < len(axes):
        raise ModelError(f"Unsqueeze of {g.type(x)} cannot have the axes {tuple(axes)}")
    return g.unsqueeze(x, *axes)


@reads("Transpose", since=(1, 13, 21, 23, 24, 25))
def _transpose(g: Context, x: Value, *, perm: tuple[int, ...] | None = None) -> Value:
    rank = g.rank(x)
    order = tuple(range(rank))[::-1] if perm is None else perm
    if sorted(order) != list(range(rank)):
        raise ModelError(f"Transpose of {g.type(x)} cannot have perm {order}")
    return g.transpose(x, order)


@reads("Expand", since=(8, 13))
def _expand(g: Context, x: Value, shape: Value) -> Value:
    wanted = g.extents(shape, "Expand's shape")
    if any(isinstance(extent, int) and extent < 0 for extent in wanted):
        raise ModelError(f"Expand to the shape {wanted}")
    return expand(g, x, wanted)


def expand(g: Context, x: Value, wanted: Sequence[Extent]) -> Value:
    """``x`` broadcast with the shape ``wanted``."""
    shape = broadcast(g.shape(x), wanted, what="Expand")
    return x if shape == g.shape(x) else g.add(ops.expand, x, shape=shape)


@reads("Tile", since=(6, 13))
def _tile(g: Context, x: Value, repeats: Value) -> Value:
    return g.add(ops.tile, x, repeats=g.extents(repeats, "Tile's repeats"))


@reads("Concat", since=(4, 11, 13))
def _concat(g: Context, *inputs: Value, axis: int) -> Value:
    if not inputs:
        raise ModelError("Concat has no inputs")
    return g.add(ops.concat, *inputs, axis=g.axis(inputs[0], axis))


@reads("DepthToSpace", since=1)
def _depth_to_space_1(g: Context, x: Value, *, blocksize: int) -> Value:
    return g.add(ops.depth_to_space, x, block_size=blocksize, mode="DCR")


@reads("DepthToSpace", since=(11, 13, 28))
def _depth_to_space(g: Context, x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    return g.add(ops.depth_to_space, x, block_size=blocksize, mode=mode)


@reads("SpaceToDepth", since=(1, 13))
def _space_to_depth_1(g: Context, x: Value, *, blocksize: int) -> Value:
    return g.add(ops.space_to_depth, x, block_size=blocksize)


@reads("SpaceToDepth", since=28)
def _space_to_depth(g: Context, x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    return g.add(ops.space_to_depth, x, block_size=blocksize, mode=mode)


@reads("ReverseSequence", since=(10, 28))
def _reverse_sequence(
    g: Context, x: Value, lengths: Value, *, batch_axis: int = 1, time_axis: int = 0
) -> Value:
    return g.add(ops.reverse_sequence, x, lengths, batch_axis=batch_axis, time_axis=time_axis)


@reads("Trilu", since=14)
def _trilu(g: Context, x: Value, k: Value | None = None, *, upper: int = 1) -> Value:
    diagonal = 0 if k is None else g.integer(k, "Trilu's k")
    return g.add(ops.trilu, x, diagonal=diagonal, upper=bool(upper))


@reads("EyeLike", since=(9, 22))
def _eye_like(g: Context, x: Value, *, dtype: int | None = None, k: int = 0) -> Value:
    if g.rank(x) != 2:
        raise ModelError(f"EyeLike of {g.type(x)}")
    name = g.dtype(x) if dtype is None else element_type(dtype, "EyeLike")
    rows, columns = g.shape(x)
    return g.add(ops.eye_like, rows=rows, columns=columns, diagonal=k, dtype=name)


# --- Pad -----------------------------------------------------------------------------------


@reads("Pad", since=2)
def _pad_2(
    g: Context, x: Value, *, pads: tuple[int, ...], mode: str = "constant", value: float = 0.0
) -> Value:
    return pad(g, x, pads, mode, g.scalar_like(x, value))


@reads("Pad", since=(11, 13))
def _pad_11(
    g: Context, x: Value, pads: Value, value: Value | None = None, *, mode: str = "constant"
) -> Value:
    return pad(g, x, g.extents(pads, "Pad's pads"), mode, value)


@reads("Pad", since=(18, 19, 21, 23, 24, 25))
def _pad(
    g: Context,
    x: Value,
    pads: Value,
    value: Value | None = None,
    axes: Value | None = None,
    *,
    mode: str = "constant",
) -> Value:
    amounts = g.extents(pads, "Pad's pads")
    if axes is not None:
        chosen = [g.axis(x, axis) for axis in g.integers(axes, "Pad's axes")]
        if len(amounts) != 2 * len(chosen) or len(set(chosen)) != len(chosen):
            raise ModelError(f"Pad: {len(amounts)} pads do not fit the axes {chosen}")
        full: list[Extent] = [0] * (2 * g.rank(x))
        for position, axis in enumerate(chosen):
            full[axis] = amounts[position]
            full[axis + g.rank(x)] = amounts[position + len(chosen)]
        amounts = tuple(full)
    return pad(g, x, amounts, mode, value)


def pad(g: Context, x: Value, pads: Sequence[Extent], mode: str, value: Value | None) -> Value:
    """Pad ``x``; negative amounts cut elements off, before anything is padded."""
    rank = g.rank(x)
    if len(pads) != 2 * rank:
        raise ModelError(f"Pad: {len(pads)} pads for {g.type(x)}")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        g.unsupported(f"Pad with mode={mode!r}")
    if not any(pads):
        return x
    if value is not None:
        value = g.reshape(value, ()) if mode == "constant" else None
    return g.add(ops.pad, x, value, before=tuple(pads[:rank]), after=tuple(pads[rank:]), mode=mode)


# --- constants -----------------------------------------------------------------------------


@reads("Constant", since=(1, 9))
def _constant_1(g: Context, *, value: Array) -> Value:
    return g.lazy(value)


@reads("Constant", since=11)
def _constant_11(
    g: Context, *, value: Array | None = None, sparse_value: Array | None = None
) -> Value:
    return _constant_of(g, value, sparse_value)


@reads("Constant", since=(12, 13, 19, 21, 23, 24, 25))
def _constant(
    g: Context,
    *,
    value: Array | None = None,
    sparse_value: Array | None = None,
    value_float: float | None = None,
    value_floats: tuple[float, ...] | None = None,
    value_int: int | None = None,
    value_ints: tuple[int, ...] | None = None,
    value_string: str | None = None,
    value_strings: tuple[str, ...] | None = None,
) -> Value:
    if value_string is not None or value_strings is not None:
        g.unsupported("text constants")
    floats = value_float if value_float is not None else value_floats
    integers = value_int if value_int is not None else value_ints
    return _constant_of(
        g,
        value,
        sparse_value,
        None if floats is None else np.array(floats, np.float32),
        None if integers is None else np.array(integers, np.int64),
    )


def _constant_of(g: Context, *candidates: Array | None) -> Value:
    given = [array for array in candidates if array is not None]
    if len(given) != 1:
        raise ModelError(f"Constant has {len(given)} values, not one")
    return g.lazy(given[0])


@reads("ConstantOfShape", since=(9, 20, 21, 23, 24, 25))
def _constant_of_shape(g: Context, shape: Value, *, value: Array | None = None) -> Value:
    held = np.zeros((), np.float32) if value is None else value
    if held.size != 1:
        raise ModelError(f"ConstantOfShape has a value of {held.size} elements")
    wanted = g.extents(shape, "ConstantOfShape's shape")
    if any(isinstance(extent, int) and extent < 0 for extent in wanted):
        raise ModelError(f"ConstantOfShape of the shape {wanted}")
    return expand(g, g.constant(held.reshape(())), wanted)


# --- Range ---------------------------------------------------------------------------------


@reads("Range", since=11)
def _range_11(g: Context, start: Value, limit: Value, delta: Value) -> Value:
    return range_(g, start, limit, delta)


@reads("Range", since=27)
def _range(g: Context, start: Value, limit: Value, delta: Value, *, stash_type: int = 1) -> Value:
    return range_(g, start, limit, delta)


def range_(g: Context, start: Value, limit: Value, delta: Value) -> Value:
    """Numbers from ``start`` to before ``limit`` by ``delta``."""
    start, limit, delta = (g.reshape(value, ()) for value in (start, limit, delta))
    size = _range_size(g, start, limit, delta)
    return g.add(ops.range, start, delta, size=size)


def _range_size(g: Context, start: Value, limit: Value, delta: Value) -> Extent:
    found = [g.numbers(value) for value in (start, limit, delta)]
    if all(array is not None for array in found):
        first, last, step = (array.item() for array in found if array is not None)
        if step == 0 or any(number != number for number in (first, last, step)):
            raise ModelError("Range has the step 0, or is not made of numbers")
        if isinstance(step, int):
            return max(0, -int((first - last) // step))
        count = np.ceil((last - first) / step)
        if not np.isfinite(count) or count > 2**40:
            raise ModelError(f"Range from {first} to {last} by {step} is not finite")
        return max(0, int(count))
    if g.dtype(start).startswith("int"):
        symbolic = [g.contents(value) for value in (start, limit, delta)]
        step = None if symbolic[2] is None else symbolic[2].item()
        if isinstance(step, int) and step != 0 and all(array is not None for array in symbolic):
            first, last = (array.item() for array in symbolic[:2] if array is not None)
            count = -dims.floor_divide(first - last, step)
            if not needs_run(count):
                return dims.maximum(count, 0)
        span = g.add(ops.sub, g.cast(start, "int64"), g.cast(limit, "int64"))
        steps = g.add(ops.neg, g.add(ops.floor_divide, span, g.cast(delta, "int64")))
    else:
        span = g.add(ops.sub, g.cast(limit, "float64"), g.cast(start, "float64"))
        exact = g.add(ops.ceil, g.add(ops.div, span, g.cast(delta, "float64")))
        steps = g.cast(exact, "int64")
    count_tensor = g.add(ops.maximum, steps, g.constant(np.array(0, np.int64)))
    return g.shapes.measure(count_tensor, 0)
