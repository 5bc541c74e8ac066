"""Tensors made of extents and scalars: ranges, extents, unit matrices, one-hot rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir import Array, Call, Dim, Extent, ModelError, Operand, TensorType, View, workspace
from ..ir.data_type import kind_of, numpy_type
from ..ir.dim import ceil_divide, extents_of, product
from .define import numbers, operator
from .samples import sample, tensor, values

_ITEM_ELEMENTS = 8192

# --- extents -----------------------------------------------------------------------------

_AT_ONCE = 8


def _store_extents(  # type: ignore[no-untyped-def]
    item, out, first, count, v0, v1, v2, v3, v4, v5, v6, v7
):  # fmt: skip
    out[first] = v0
    if count > 1:
        out[first + 1] = v1
    if count > 2:
        out[first + 2] = v2
    if count > 3:
        out[first + 3] = v3
    if count > 4:
        out[first + 4] = v4
    if count > 5:
        out[first + 5] = v5
    if count > 6:
        out[first + 6] = v6
    if count > 7:
        out[first + 7] = v7


def store_extents(target: View, extents: Sequence[Extent]) -> list[Call]:
    """The Calls that write extents into an int64 view."""
    calls = []
    for first in range(0, len(extents), _AT_ONCE):
        part = list(extents[first : first + _AT_ONCE])
        scalars = (first, len(part), *part, *([0] * (_AT_ONCE - len(part))))
        calls.append(Call(_store_extents, (target,), scalars=scalars))
    return calls


def extents_calls(extents: Sequence[Extent], key: str = "extents") -> tuple[list[Call], View]:
    """Extents as an int64 table that a kernel reads, and the Calls that write it."""
    held = workspace(key, "int64", (max(len(extents), 1),))
    return store_extents(held, extents), held


@operator(traits=("shape",))
def extents(*, values: tuple[Extent, ...]) -> Array:
    """The extents as an int64 tensor of one axis (ONNX Shape, and what is computed of it)."""
    if any(isinstance(value, Dim) for value in values):
        return np.array(values, object)
    return np.array(values, np.int64)


@extents.infer
def _(*, values: tuple[Extent, ...]) -> TensorType:
    return TensorType("int64", (len(extents_of(values)),))


@extents.kernel
def _(out: Operand, *, values: tuple[Extent, ...]) -> list[Call]:
    return store_extents(out.flat(), values)


extents.samples = [
    sample(values=(3, 0, 2**40)),
    sample(values=tuple(range(19))),
    sample(values=()),
    sample(values=(-5,)),
]


# --- range -------------------------------------------------------------------------------


@operator(name="range", traits=("shape",))
def range_(start: Array, delta: Array, *, size: Extent) -> Array:
    """``start + k * delta`` for ``k`` from 0 to ``size - 1``, of 0-d tensors (ONNX Range-11)."""
    (count,) = numbers((size,))
    if start.dtype == object or delta.dtype == object:
        first, step = start.item(), delta.item()
        return np.array([first + k * step for k in range(count)], object)
    wide = np.float64 if kind_of(start.dtype.name) == "float" else start.dtype
    counts = np.arange(count, dtype=np.int64).astype(wide)
    result = start.astype(wide) + counts * delta.astype(wide)
    return np.asarray(result.astype(start.dtype))


@range_.infer
def _(start: TensorType, delta: TensorType, *, size: Extent) -> TensorType:
    if start.dtype != delta.dtype or start.rank or delta.rank or kind_of(start.dtype) == "bool":
        raise ModelError(f"range: {start} and {delta} are not numbers of one type")
    return TensorType(start.dtype, (size,))


def _count_up(item, start, delta, out, each):  # type: ignore[no-untyped-def]
    first, step = start[0], delta[0]
    for k in range(item * each, min(item * each + each, out.shape[0])):
        out[k] = first + out.dtype.type(k) * step


@range_.kernel
def _(start: Operand, delta: Operand, out: Operand, *, size: Extent) -> Call:
    return Call(
        _count_up,
        (start.flat(), delta.flat(), out.flat()),
        items=ceil_divide(out.size, _ITEM_ELEMENTS),
        scalars=(_ITEM_ELEMENTS,),
        chunk=_ITEM_ELEMENTS,
    )


range_.samples = [
    sample(values(3, "int64"), values(-2, "int64"), size=5),
    sample(values(0.5), values(0.25), size=9),
    sample(values(1.0, "float64"), values(0.1, "float64"), size=3),
    sample(values(1.0, "float16"), values(0.5, "float16"), size=3),
    sample(values(250, "uint8"), values(3, "uint8"), size=4),
    sample(values(0, "int32"), values(1, "int32"), size=0),
]


# --- eye_like ----------------------------------------------------------------------------


@operator
def eye_like(
    *, rows: Extent, columns: Extent, diagonal: Extent = 0, dtype: str = "float32"
) -> Array:
    """A matrix with ones on one diagonal, 0 being the main one (ONNX EyeLike-22)."""
    height, width, offset = numbers((rows, columns, diagonal))
    return np.eye(height, width, offset, np.float32).astype(numpy_type(dtype))


@eye_like.infer
def _(*, rows: Extent, columns: Extent, diagonal: Extent, dtype: str) -> TensorType:
    return TensorType(dtype, (rows, columns))


def _eye_row(item, out, diagonal):  # type: ignore[no-untyped-def]
    one, nothing = out.dtype.type(1), out.dtype.type(0)
    for j in range(out.shape[1]):
        out[item, j] = one if j - item == diagonal else nothing


@eye_like.kernel
def _(out: Operand, *, rows: Extent, columns: Extent, diagonal: Extent, dtype: str) -> Call:
    return Call(_eye_row, (out.whole(),), items=rows, scalars=(diagonal,), chunk=columns)


eye_like.samples = [
    sample(rows=3, columns=4),
    sample(rows=4, columns=3, diagonal=-1, dtype="float64"),
    sample(rows=3, columns=5, diagonal=2, dtype="int64"),
    sample(rows=3, columns=3, diagonal=9, dtype="bool"),
    sample(rows=2, columns=3, dtype="float16"),
    sample(rows=2, columns=3, dtype="bfloat16"),
    sample(rows=0, columns=3, dtype="uint8"),
]


# --- one_hot -----------------------------------------------------------------------------


@operator(traits=("movement",))
def one_hot(indices: Array, values: Array, *, depth: Extent, axis: int = -1) -> Array:
    """``values[1]`` where the new axis is at the index, ``values[0]`` elsewhere (ONNX OneHot-11).

    The new axis of ``depth`` elements is ``axis`` of the result. Indices are int32 or int64,
    negative ones count from the end; one outside leaves its row without ``values[1]``.
    """
    place = axis % (indices.ndim + 1)
    (count,) = numbers((depth,))
    wide = indices.astype(np.int64)
    wrapped = np.expand_dims(np.where(wide < 0, wide + count, wide), place)
    counts = np.arange(count).reshape([-1 if k == place else 1 for k in range(wrapped.ndim)])
    return np.asarray(np.where(wrapped == counts, values[1], values[0]), values.dtype)


@one_hot.infer
def _(indices: TensorType, values: TensorType, *, depth: Extent, axis: int) -> TensorType:
    if indices.dtype not in ("int32", "int64") or values.shape != (2,):
        raise ModelError(f"one_hot: the indices are {indices}, the values {values}")
    rank = indices.rank + 1
    if not -rank <= axis < rank:
        raise ModelError(f"one_hot: axis {axis} is out of range for rank {rank}")
    place = axis % rank
    return values.with_shape((*indices.shape[:place], depth, *indices.shape[place:]))


def _one_hot_rows(item, indices, values, out, limit, modulus):  # type: ignore[no-untyped-def]
    depth = out.shape[1]
    off, on = values[0], values[1]
    for k in range(out.shape[2]):
        for j in range(depth):
            out[item, j, k] = off
    for k in range(out.shape[2]):
        place = np.int64(indices[item, k])
        place = place - modulus if place > limit else place
        place = place + depth if place < 0 else place
        if place >= 0 and place < depth:
            out[item, place, k] = on


@one_hot.kernel
def _(indices: Operand, values: Operand, out: Operand, *, depth: Extent, axis: int) -> Call:
    place = out.type.axis(axis)
    outer, inner = product(out.shape[:place]), product(out.shape[place + 1 :])
    bounds = (2**31 - 1, 2**32) if indices.dtype == "int32" else (2**63 - 1, 0)
    return Call(
        _one_hot_rows,
        (indices.view(outer, inner), values.flat(), out.view(outer, depth, inner)),
        items=outer,
        scalars=bounds,
        chunk=depth * inner,
    )


_pair: Any = values([-1.0, 5.0])
one_hot.samples = [
    sample(values([0, 2, -1, 7, -9], "int64"), _pair, depth=4),
    sample(values([[0, 2], [-1, 7]], "int32"), values([0, 1], "int64"), depth=3, axis=0),
    sample(values([[0, 2], [-1, 1]], "int32"), values([0, 1], "float16"), depth=3, axis=1),
    sample(values(1, "int64"), values([False, True], "bool"), depth=3),
    sample(values([1, 0], "int64"), _pair, depth=0),
    sample(tensor((0,), "int64"), _pair, depth=3),
]
