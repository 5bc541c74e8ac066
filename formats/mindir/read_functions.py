"""Readers of functions of each element: powers, logarithms, rounding, angles."""

from __future__ import annotations

import math

from ...ir import UnsupportedError, Value
from ...ir.data_type import is_float
from .context import Context, ops
from .items import Item
from .read_elementwise import floating, towards_zero
from .registry import reads


@reads("Exp")
def _exp(g: Context, x: Value, base: float = -1.0, scale: float = 1.0, shift: float = 0.0) -> Value:
    x = _affine(g, floating(g, x), scale * (math.log(base) if base > 0 else 1.0), 0.0)
    shift *= math.log(base) if base > 0 else 1.0
    return g.add(ops.exp, _affine(g, x, 1.0, shift))


@reads("Log")
def _log(g: Context, x: Value, base: float = -1.0, scale: float = 1.0, shift: float = 0.0) -> Value:
    result = g.add(ops.log, _affine(g, floating(g, x), scale, shift))
    return _affine(g, result, 1.0 / math.log(base) if base > 0 else 1.0, 0.0)


def _affine(g: Context, x: Value, factor: float, summand: float) -> Value:
    if factor != 1.0:
        x = g.add(ops.mul, x, g.scalar_like(x, factor))
    return g.add(ops.add, x, g.scalar_like(x, summand)) if summand != 0.0 else x


@reads("Exp2")
def _exp2(g: Context, x: Value) -> Value:
    return g.add(ops.exp, _affine(g, floating(g, x), math.log(2.0), 0.0))


@reads("Log2")
def _log2(g: Context, x: Value) -> Value:
    return _affine(g, g.add(ops.log, floating(g, x)), 1.0 / math.log(2.0), 0.0)


@reads("Log10")
def _log10(g: Context, x: Value) -> Value:
    return _affine(g, g.add(ops.log, floating(g, x)), 1.0 / math.log(10.0), 0.0)


@reads("Log1p")
def _log1p(g: Context, x: Value) -> Value:
    # log(1 + x), with the rounding of 1 + x taken out where x is small.
    x = floating(g, x)
    one = g.scalar_like(x, 1)
    total = g.add(ops.add, x, one)
    exact = g.add(ops.equal, total, one)
    rest = g.add(ops.where, exact, one, g.add(ops.sub, total, one))
    logarithm = g.add(ops.log, total)
    corrected = g.add(ops.div, g.add(ops.mul, logarithm, x), rest)
    small = g.add(ops.less, g.add(ops.abs, x), one)
    chosen = g.add(ops.where, small, corrected, logarithm)
    return g.add(ops.where, exact, x, chosen)


@reads("Expm1")
def _expm1(g: Context, x: Value) -> Value:
    # exp(x) - 1 with the rounding of exp(x) taken out where x is small.
    x = floating(g, x)
    one = g.scalar_like(x, 1)
    power = g.add(ops.exp, x)
    exact = g.add(ops.equal, power, one)
    rest = g.add(ops.sub, power, one)
    logarithm = g.add(ops.where, exact, one, g.add(ops.log, power))
    corrected = g.add(ops.div, g.add(ops.mul, rest, x), logarithm)
    small = g.add(ops.less, g.add(ops.abs, x), one)
    chosen = g.add(ops.where, small, corrected, rest)
    return g.add(ops.where, exact, x, chosen)


@reads("Erfc")
def _erfc(g: Context, x: Value) -> Value:
    x = floating(g, x)
    return g.add(ops.sub, g.scalar_like(x, 1), g.add(ops.erf, x))


@reads("Rsqrt")
def _rsqrt(g: Context, x: Value) -> Value:
    return g.add(ops.reciprocal, g.add(ops.sqrt, floating(g, x)))


@reads("Reciprocal", "Inv")
def _reciprocal(g: Context, x: Value) -> Value:
    if not is_float(g.dtype(x)) and g.dtype(x).startswith(("int", "uint")):
        return g.add(ops.div, g.scalar_like(x, 1), x)
    return g.add(ops.reciprocal, x)


@reads("Square")
def _square(g: Context, x: Value) -> Value:
    return g.add(ops.mul, x, x)


@reads("Floor")
def _floor(g: Context, x: Value) -> Value:
    return g.add(ops.floor, x) if is_float(g.dtype(x)) else x


@reads("Ceil")
def _ceil(g: Context, x: Value) -> Value:
    return g.add(ops.ceil, x) if is_float(g.dtype(x)) else x


@reads("Trunc")
def _trunc(g: Context, x: Value) -> Value:
    return towards_zero(g, x) if is_float(g.dtype(x)) else x


@reads("Frac")
def _frac(g: Context, x: Value) -> Value:
    return g.add(ops.sub, x, towards_zero(g, x))


@reads("Round")
def _round(g: Context, x: Value, decimals: int = 0) -> Value:
    if not is_float(g.dtype(x)):
        if decimals >= 0:
            return x
        raise UnsupportedError(f"rounding integers to {decimals} decimals")
    if decimals == 0:
        return g.add(ops.round, x)
    factor = g.scalar_like(x, 10.0 ** abs(decimals))
    wide, narrow = (ops.mul, ops.div) if decimals > 0 else (ops.div, ops.mul)
    return g.add(narrow, g.add(ops.round, g.add(wide, x, factor)), factor)


@reads("Atan2", "Atan2Ext")
def _atan2(g: Context, y: Item, x: Item) -> Value:
    up, right = (floating(g, value) for value in g.pair(y, x))
    zero, pi = g.scalar_like(up, 0), g.scalar_like(up, math.pi)
    half = g.scalar_like(up, math.pi / 2)
    below = g.add(ops.less, up, zero)
    on_axis = g.add(ops.equal, right, zero)
    safe = g.add(ops.where, on_axis, g.scalar_like(up, 1), right)
    angle = g.add(ops.atan, g.add(ops.div, up, safe))
    turn = g.add(ops.where, below, g.add(ops.neg, pi), pi)
    behind = g.add(ops.less, right, zero)
    angle = g.add(ops.where, behind, g.add(ops.add, angle, turn), angle)
    vertical = g.add(ops.where, below, g.add(ops.neg, half), half)
    level = g.add(ops.equal, up, zero)
    vertical = g.add(ops.where, level, zero, vertical)
    return g.add(ops.where, on_axis, vertical, angle)


@reads("Xlogy")
def _xlogy(g: Context, x: Item, y: Item) -> Value:
    left, right = (floating(g, value) for value in g.pair(x, y))
    return g.add(ops.mul, left, g.add(ops.log, right))


@reads("Xdivy")
def _xdivy(g: Context, x: Item, y: Item) -> Value:
    left, right = g.pair(x, y)
    none = g.add(ops.equal, left, g.scalar_like(left, 0))
    return g.add(ops.where, none, g.scalar_like(left, 0), g.add(ops.div, left, right))
