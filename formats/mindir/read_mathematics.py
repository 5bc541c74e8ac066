"""Readers of less common mathematics: distances, products of vectors, functions of one element."""

from __future__ import annotations

import math

import numpy as np

from ...ir import ModelError, UnsupportedError, Value
from .context import Context, ops
from .convert import ElementType
from .items import Item
from .registry import reads

_DIMENSION_BY_SIZE = -65530


@reads("Cdist")
def _cdist(g: Context, x: Value, y: Value, p: float = 2.0) -> Value:
    way = g.add(ops.sub, g.unsqueeze(x, g.rank(x) - 1), g.unsqueeze(y, g.rank(y) - 2))
    size = g.add(ops.abs, way)
    axes, keepdims = (g.rank(size) - 1,), False
    if p == math.inf:
        return g.add(ops.reduce_max, size, axes=axes, keepdims=keepdims)
    if p == 1.0:
        return g.add(ops.reduce_sum, size, axes=axes, keepdims=keepdims)
    if p == 2.0:
        return g.add(ops.reduce_l2, size, axes=axes, keepdims=keepdims)
    if p <= 0:
        raise UnsupportedError(f"Cdist with the norm of order {p}")
    power = g.add(ops.pow, size, g.scalar_like(size, p))
    total = g.add(ops.reduce_sum, power, axes=axes, keepdims=keepdims)
    return g.add(ops.pow, total, g.scalar_like(total, 1.0 / p))


@reads("Cross")
def _cross(g: Context, x: Value, y: Value, dim: int = _DIMENSION_BY_SIZE) -> Value:
    threes = [axis for axis, extent in enumerate(g.shape(x)) if extent == 3]
    if dim == _DIMENSION_BY_SIZE and threes:
        dim = threes[0]
    axis = g.axis(x, dim) if dim != _DIMENSION_BY_SIZE else -1
    if axis not in threes:
        raise ModelError(f"Cross: no vectors of three along dimension {dim} of {g.type(x)}")

    def turned(value: Value, places: tuple[int, ...]) -> Value:
        parts = [g.slice_axis(value, axis, place, 1) for place in places]
        return g.add(ops.concat, *parts, axis=axis)

    left = g.add(ops.mul, turned(x, (1, 2, 0)), turned(y, (2, 0, 1)))
    right = g.add(ops.mul, turned(x, (2, 0, 1)), turned(y, (1, 2, 0)))
    return g.add(ops.sub, left, right)


@reads("Fmax", "Fmin")
def _ignoring_nan(g: Context, x: Item, y: Item) -> Value:
    left, right = g.pair(x, y)
    op = ops.maximum if g.primitive == "Fmax" else ops.minimum
    result = g.add(op, left, right)
    if not g.dtype(left).startswith(("float", "bfloat")):
        return result
    result = g.add(ops.where, g.add(ops.is_nan, left), right, result)
    return g.add(ops.where, g.add(ops.is_nan, right), left, result)


@reads("Heaviside")
def _heaviside(g: Context, x: Item, values: Item) -> Value:
    left, right = g.pair(x, values)
    zero = g.scalar_like(left, 0)
    above = g.cast(g.add(ops.greater, left, zero), g.dtype(left))
    return g.add(ops.where, g.add(ops.equal, left, zero), right, above)


@reads("Hypot")
def _hypot(g: Context, x: Item, y: Item) -> Value:
    left, right = (g.add(ops.abs, value) for value in g.pair(x, y))
    # Divided by the larger one, so that squares do not overflow.
    high, low = g.add(ops.maximum, left, right), g.add(ops.minimum, left, right)
    empty = g.add(ops.equal, high, g.scalar_like(high, 0))
    share = g.add(ops.div, low, g.add(ops.where, empty, g.scalar_like(high, 1), high))
    square = g.add(ops.add, g.add(ops.mul, share, share), g.scalar_like(share, 1))
    return g.add(ops.mul, high, g.add(ops.sqrt, square))


@reads("Sinc")
def _sinc(g: Context, x: Value) -> Value:
    angle = g.add(ops.mul, x, g.scalar_like(x, math.pi))
    empty = g.add(ops.equal, angle, g.scalar_like(angle, 0))
    one = g.scalar_like(angle, 1)
    ratio = g.add(ops.div, g.add(ops.sin, angle), g.add(ops.where, empty, one, angle))
    return g.add(ops.where, empty, one, ratio)


@reads("Logit")
def _logit(g: Context, x: Value, eps: float = -1.0) -> Value:
    if eps >= 0:
        x = g.add(ops.maximum, x, g.scalar_like(x, eps))
        x = g.add(ops.minimum, x, g.scalar_like(x, 1.0 - eps))
    rest = g.add(ops.sub, g.scalar_like(x, 1), x)
    return g.add(ops.log, g.add(ops.div, x, rest))


@reads("MatrixDeterminant")
def _determinant(g: Context, x: Value) -> Value:
    return g.add(ops.det, x)


@reads("LeftShift", "RightShift")
def _shift(g: Context, x: Value, y: Value) -> Value:
    left = g.primitive == "LeftShift"
    dtype = g.dtype(x)
    if dtype.startswith("uint"):
        op = ops.shift_left if left else ops.shift_right
        return g.add(op, x, g.cast(y, dtype))
    if not dtype.startswith("int"):
        raise UnsupportedError(f"{g.primitive} of {dtype}")
    # Whole numbers with a sign: times or divided by a power of two, in 64 bits.
    wide = g.cast(x, "int64")
    one = g.constant(1, "uint64")
    if left:
        power = g.cast(g.add(ops.shift_left, one, g.cast(y, "uint64")), "int64")
        return g.cast(g.add(ops.mul, wide, power), dtype)
    count = g.add(ops.minimum, g.cast(y, "int64"), g.constant(62, "int64"))
    power = g.cast(g.add(ops.shift_left, one, g.cast(count, "uint64")), "int64")
    return g.cast(g.add(ops.floor_divide, wide, power), dtype)


@reads("IndexAdd")
def _index_add(g: Context, x: Value, indices: Value, y: Value, axis: int = 0) -> Value:
    place = g.axis(x, axis)
    order = (place, *(k for k in range(g.rank(x)) if k != place))
    back = tuple(order.index(k) for k in range(g.rank(x)))
    places = g.unsqueeze(g.cast(indices, "int64"), 1)
    updates = g.transpose(g.cast(y, g.dtype(x)), order)
    result = g.add(ops.scatter_nd, g.transpose(x, order), places, updates, reduction="add")
    return g.transpose(result, back)


@reads("IndexAddExt")
def _index_add_scaled(
    g: Context, x: Value, dim: int, index: Value, source: Value, alpha: Item = 1
) -> Value:
    if alpha != 1:
        source = g.add(ops.mul, source, g.like(alpha, source))
    return _index_add(g, x, index, source, dim)


@reads("IndexFill")
def _index_fill(g: Context, x: Value, dim: Item, indices: Value, value: Item) -> Value:
    place = g.axis(x, g.index_number(dim))
    extent = g.shape(x)[place]
    flat = g.reshape(g.cast(indices, "int64"), (g.type(indices).size,))
    marks = g.add(ops.expand, g.constant(False, "bool"), shape=(extent,))
    seen = g.add(ops.expand, g.constant(True, "bool"), shape=g.shape(flat))
    marks = g.add(ops.scatter_nd, marks, g.unsqueeze(flat, 1), seen)
    marks = g.reshape(marks, (extent, *(1,) * (g.rank(x) - 1 - place)))
    return g.add(ops.where, marks, g.cast(g.like(value, x), g.dtype(x)), x)


@reads("TensorScatterDiv")
def _scatter_div(g: Context, x: Value, indices: Value, updates: Value) -> Value:
    ones = g.add(ops.expand, g.scalar_like(x, 1), shape=g.shape(x))
    places = g.cast(indices, "int64")
    divisor = g.add(ops.scatter_nd, ones, places, updates, reduction="mul")
    return g.add(ops.div, x, divisor)


@reads("TrilIndices", "TriuIndices")
def _triangle(
    g: Context, row: int, col: int, offset: int = 0, dtype: ElementType = "int32"
) -> Value:
    if row < 0 or col < 0:
        raise ModelError(f"{g.primitive} of {row} rows and {col} columns")
    if max(row, col, row * col) > 1 << 20:
        raise UnsupportedError(f"{g.primitive} of {row} rows and {col} columns")
    places = np.tril_indices if g.primitive == "TrilIndices" else np.triu_indices
    return g.constant(np.stack(places(row, offset, col)), dtype)
