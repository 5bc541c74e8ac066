"""Readers of primitives that make new tensors."""

from __future__ import annotations

import math

import numpy as np

from ...ir import Extent, ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops, scalar_type
from .convert import ElementType, Extents
from .items import Item
from .registry import reads


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
