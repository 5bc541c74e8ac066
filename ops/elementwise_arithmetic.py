"""Arithmetic, element by element.

Integers wrap around as machine integers do, and no division of them can fail: a zero divisor
gives 0. On symbolic extents (object arrays) the references compute exactly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ir import Array, ModelError, TensorType, dim
from ..ir.data_type import is_float, kind_of
from .define import elementwise
from .samples import sample, tensor, values

_BOTH = ("float", "signed", "unsigned")
_WHOLE = ("signed", "unsigned")


def _is_object(*arrays: Array) -> bool:
    return any(array.dtype == object for array in arrays)


def _divisor(y: Array) -> Array:
    """``y`` with 1 in place of 0."""
    return np.where(y == 0, np.ones((), y.dtype), y)


def _zero_where(condition: Array, x: Array) -> Array:
    return np.where(condition, np.zeros((), x.dtype), x)


# --- sums and products -------------------------------------------------------------------


@elementwise(reference=lambda x, y: np.add(x, y), traits=("shape",))
def add(x: Any, y: Any) -> Any:
    """``x + y`` (ONNX Add-14)."""
    return x + y


@elementwise(reference=lambda x, y: np.subtract(x, y), traits=("shape",))
def sub(x: Any, y: Any) -> Any:
    """``x - y`` (ONNX Sub-14)."""
    return x - y


@elementwise(reference=lambda x, y: np.multiply(x, y), traits=("shape",))
def mul(x: Any, y: Any) -> Any:
    """``x * y`` (ONNX Mul-14)."""
    return x * y


@elementwise(reference=lambda x: np.negative(x), kinds=("float", "signed"), traits=("shape",))
def neg(x: Any) -> Any:
    """``-x`` (ONNX Neg-13)."""
    return -x


@elementwise(name="abs", reference=lambda x: np.abs(x))
def abs_(x: Any) -> Any:
    """``|x|`` (ONNX Abs-13); the least integer stays as it is."""
    return -x if x < 0 else abs(x)


@abs_.scalar("unsigned")
def _(x: Any) -> Any:
    return x


@abs_.scalar("float")
def _(x: Any) -> Any:
    return abs(x)


# --- division ----------------------------------------------------------------------------


def _div_reference(x: Array, y: Array) -> Array:
    if _is_object(x, y):
        # Extents divide downwards; that is truncation only where nothing is negative.
        for item in (*np.ravel(x), *np.ravel(y)):
            low, _ = dim.bounds(item)
            if low is None or low < 0:
                raise ModelError(f"div: the sign of {item} is not known")
        return np.asarray(x // y)
    if is_float(x.dtype.name):
        return np.asarray(np.divide(x, y))
    divisor = _divisor(y)
    quotient = np.floor_divide(x, divisor)
    rest = x - quotient * divisor
    inexact = (rest != 0) & ((x < 0) != (divisor < 0))
    return _zero_where(y == 0, quotient + inexact.astype(x.dtype))


@elementwise(reference=_div_reference, traits=("shape",))
def div(x: Any, y: Any) -> Any:
    """``x / y``; integers are divided towards zero, by zero to 0 (ONNX Div-14)."""
    return x / y


@div.scalar("unsigned")
def _(x: Any, y: Any) -> Any:
    divisor = 1 if y == 0 else y
    return 0 if y == 0 else x // divisor


@div.scalar("signed")
def _(x: Any, y: Any) -> Any:
    # Dividing the least integer by -1 would trap: that is a negation, which wraps around.
    divisor = 1 if y == 0 or y == -1 else y
    quotient = x // divisor
    rest = x - quotient * divisor
    towards_zero = quotient + 1 if rest != 0 and (x < 0) != (divisor < 0) else quotient
    result = -x if y == -1 else towards_zero
    return 0 if y == 0 else result


def _floor_divide_reference(x: Array, y: Array) -> Array:
    if _is_object(x, y):
        return np.asarray(x // y)
    return _zero_where(y == 0, np.floor_divide(x, _divisor(y)))


@elementwise(kinds=_WHOLE, reference=_floor_divide_reference, traits=("shape",))
def floor_divide(x: Any, y: Any) -> Any:
    """``x / y`` rounded down, for integers; dividing by zero gives 0."""
    divisor = 1 if y == 0 else y
    return 0 if y == 0 else x // divisor


@floor_divide.scalar("signed")
def _(x: Any, y: Any) -> Any:
    divisor = 1 if y == 0 or y == -1 else y
    quotient = x // divisor
    result = -x if y == -1 else quotient
    return 0 if y == 0 else result


def _mod_reference(x: Array, y: Array, *, fmod: bool) -> Array:
    if _is_object(x, y):
        if fmod:
            raise ModelError("mod: fmod of symbolic extents")
        return np.asarray(x % y)
    function = np.fmod if fmod else np.mod
    if is_float(x.dtype.name):
        return np.asarray(function(x, y))
    # What is left after dividing by -1 is 0; the division itself could trap.
    bad = (y == 0) | (y == -1) if x.dtype.kind == "i" else y == 0
    return _zero_where(bad, function(x, np.where(bad, np.ones((), y.dtype), y)))


@elementwise(reference=_mod_reference, traits=("shape",))
def mod(x: Any, y: Any, *, fmod: bool = False) -> Any:
    """What is left of ``x`` after dividing by ``y`` (ONNX Mod-13).

    It has the sign of the divisor, or that of the dividend with ``fmod`` (C's fmod and %).
    Integers modulo zero give 0.
    """
    rest = math.fmod(x, y)
    if fmod:
        return rest
    return rest + y if rest != 0 and (rest < 0) != (y < 0) else rest


@mod.scalar("unsigned")
def _(x: Any, y: Any, *, fmod: bool) -> Any:
    divisor = 1 if y == 0 else y
    return 0 if y == 0 else x % divisor


@mod.scalar("signed")
def _(x: Any, y: Any, *, fmod: bool) -> Any:
    divisor = 1 if y == 0 or y == -1 else y
    rest = x % divisor
    if fmod:
        return rest - divisor if rest != 0 and (x < 0) != (divisor < 0) else rest
    return rest


@elementwise(reference=lambda x: np.reciprocal(x), kinds=("float",))
def reciprocal(x: Any) -> Any:
    """``1 / x`` (ONNX Reciprocal-13)."""
    return 1.0 / x


# --- powers ------------------------------------------------------------------------------


def _pow_reference(x: Array, y: Array) -> Array:
    if is_float(x.dtype.name):
        return np.asarray(np.power(x, y))
    one = np.ones((), x.dtype)
    result, base = np.broadcast_arrays(one, x, y)[0], x
    left = np.maximum(y, np.zeros((), y.dtype))
    for _ in range(8 * y.dtype.itemsize):
        result = np.where(left & one != 0, result * base, result)
        base, left = base * base, left >> one
    if x.dtype.kind == "i":
        odd = (y & one) != 0
        inverse = np.where(x == 1, one, np.where(x == -1, np.where(odd, -one, one), 0))
        result = np.where(y < 0, inverse.astype(x.dtype), result)
    return np.asarray(result)


@elementwise(name="pow", reference=_pow_reference)
def pow_(x: Any, y: Any) -> Any:
    """``x`` to the power ``y`` (ONNX Pow-15, operands of one type).

    A negative power of an integer is truncated: 0 unless the integer is 1 or -1.
    """
    return x**y


@pow_.scalar("unsigned")
def _(x: Any, y: Any) -> Any:
    result, base, left = x - x + 1, x - x + x, y - y + y
    while left > 0:
        result = result * base if left & 1 else result
        base = base * base
        left = left >> 1
    return result


@pow_.scalar("signed")
def _(x: Any, y: Any) -> Any:
    result, base, left = x - x + 1, x - x + x, y - y + y
    while left > 0:
        result = result * base if left & 1 else result
        base = base * base
        left = left >> 1
    sign = -1 if y & 1 else 1
    inverse = 1 if x == 1 else (sign if x == -1 else 0)
    return inverse if y < 0 else result


# --- choosing ----------------------------------------------------------------------------


def _maximum_reference(x: Array, y: Array) -> Array:
    if _is_object(x, y):
        return np.asarray(np.frompyfunc(dim.maximum, 2, 1)(x, y))
    return np.asarray(np.maximum(x, y))


@elementwise(reference=_maximum_reference, traits=("shape",))
def maximum(x: Any, y: Any) -> Any:
    """The larger of two numbers; NaN if one is NaN (ONNX Max-13 of two operands)."""
    larger = y if y > x else x
    return y if y != y else larger


def _minimum_reference(x: Array, y: Array) -> Array:
    if _is_object(x, y):
        return np.asarray(np.frompyfunc(dim.minimum, 2, 1)(x, y))
    return np.asarray(np.minimum(x, y))


@elementwise(reference=_minimum_reference, traits=("shape",))
def minimum(x: Any, y: Any) -> Any:
    """The smaller of two numbers; NaN if one is NaN (ONNX Min-13 of two operands)."""
    smaller = y if y < x else x
    return y if y != y else smaller


@elementwise(
    like=1,
    operand_types={"condition": "bool"},
    kinds=("float", "signed", "unsigned", "bool"),
    reference=lambda condition, x, y: np.where(np.asarray(condition).astype(bool), x, y),
    traits=("shape",),
)
def where(condition: Any, x: Any, y: Any) -> Any:
    """``x`` where the condition holds, ``y`` elsewhere (ONNX Where-16)."""
    return x if condition else y


def _clip_reference(x: Array, *, low: float, high: float) -> Array:
    kind = x.dtype.type
    return np.asarray(np.minimum(np.maximum(x, kind(low)), kind(high)))


@elementwise(reference=_clip_reference)
def clip(x: Any, *, low: float = -math.inf, high: float = math.inf) -> Any:
    """``x`` moved into ``low`` to ``high``; NaN stays, ``high`` wins (ONNX Clip-13).

    For integers both limits are integers of the element type.
    """
    raised = low if x < low else x
    return high if raised > high else raised


@clip.infer
def _(x: TensorType, *, low: float, high: float) -> TensorType:
    if kind_of(x.dtype) == "bool":
        raise ModelError("clip does not take bool tensors")
    if low != low or high != high:
        raise ModelError("clip: a limit is not a number")
    if not is_float(x.dtype):
        limits = np.iinfo(x.numpy)
        for limit in (low, high):
            if not isinstance(limit, int) or not limits.min <= limit <= limits.max:
                raise ModelError(f"clip: the limit {limit} is no {x.dtype}; give both limits")
    return x


def _sign_reference(x: Array) -> Array:
    return np.asarray(np.sign(x))


@elementwise(reference=_sign_reference)
def sign(x: Any) -> Any:
    """1, 0 or -1 by the sign of ``x``; NaN stays (ONNX Sign-13)."""
    return 1 if x > 0 else (-1 if x < 0 else x)


@sign.scalar("unsigned")
def _(x: Any) -> Any:
    return 1 if x > 0 else x


# --- samples -----------------------------------------------------------------------------

_SPECIAL = values([-np.inf, -1.5, -0.0, 0.0, 2.0, np.inf, np.nan])

for _op in (add, sub, mul, div, maximum, minimum):
    _op.samples = [
        sample(tensor((2, 3, 4)), tensor((3, 1), seed=1)),
        sample(tensor(()), tensor((), seed=1)),
        sample(tensor((0, 3)), tensor((3,))),
        sample(_SPECIAL, _SPECIAL[::-1].copy()),
        sample(tensor((5,), "float64"), tensor((5,), "float64", seed=1)),
        sample(tensor((3, 5), "float16"), tensor((5,), "float16", 0.5, 2.0)),
        sample(tensor((3, 5), "bfloat16"), tensor((5,), "bfloat16", 0.5, 2.0)),
        sample(tensor((3, 5), "int8", -128, 127), tensor((5,), "int8", -128, 127, seed=1)),
        sample(values([200, 100], "uint8"), values([100, 201], "uint8")),
        sample(tensor((7,), "int64", -9, 9), tensor((7,), "int64", -9, 9, seed=1)),
        sample(values([2**64 - 1, 5], "uint64"), values([2, 7], "uint64")),
    ]

_LEAST = [-(2**31), -(2**31), -(2**31), 7, -7, 7, -7, 0, 7]
_DIVISORS = [-1, 0, 3, 2, 2, -2, -2, 5, 0]
_whole_samples = [
    sample(values(_LEAST, "int32"), values(_DIVISORS, "int32")),
    sample(values([-(2**63), -(2**63), 9], "int64"), values([-1, 0, -4], "int64")),
    sample(values([-128, -128, 100], "int8"), values([-1, 0, -3], "int8")),
    sample(values([255, 255, 7], "uint8"), values([255, 0, 2], "uint8")),
    sample(values([2**64 - 1, 2**64 - 1], "uint64"), values([2**64 - 1, 10], "uint64")),
]
div.samples += _whole_samples
floor_divide.samples = list(_whole_samples)
mod.samples = [
    *_whole_samples,
    *(sample(*case.inputs, fmod=True) for case in _whole_samples),
    sample(values([5.5, -5.5, 5.5, -5.5, 4.0]), values([2.0, 2.0, -2.0, -2.0, 2.0]), fmod=True),
    sample(values([5.5, -5.5, 5.5, -5.5, 4.0]), values([2.0, 2.0, -2.0, -2.0, 2.0])),
    sample(values([7.5, -2.5], "float16"), values([2.0, 2.0], "float16"), fmod=True),
]
for _op in (neg, abs_, sign):
    _op.samples = [
        sample(tensor((2, 3))),
        sample(tensor(())),
        sample(tensor((0,))),
        sample(_SPECIAL),
        sample(tensor((5,), "float64")),
        sample(tensor((5,), "float16")),
        sample(tensor((5,), "bfloat16")),
        sample(values([-128, -3, 0, 127], "int8")),
        sample(values([-(2**63), -3, 0, 127], "int64")),
    ]
for _op in (abs_, sign):
    _op.samples.append(sample(values([0, 3, 2**64 - 1], "uint64")))
reciprocal.samples = [
    sample(values([-2.0, 0.5, 3.0, np.inf, 0.0])),
    sample(tensor((2, 3), "float64", 1.0, 2.0)),
    sample(tensor((5,), "float16", 1.0, 2.0)),
]
pow_.samples = [
    sample(tensor((2, 3), low=0.1), values([2.0, -0.5, 0.0])),
    sample(values([-2.0, -2.0, 0.0, 4.0, np.inf]), values([3.0, 0.5, 0.0, 0.5, -1.0])),
    sample(tensor((4,), "float64", 0.1, 3.0), values(2.5, "float64")),
    sample(tensor((4,), "float16", 0.1, 3.0), values(2.0, "float16")),
    sample(tensor((4,), "bfloat16", 0.1, 3.0), values(2.0, "bfloat16")),
    sample(values([-3, 2, 1, -1, -1, 0, 5], "int32"), values([3, 31, -2, -3, -2, 0, -1], "int32")),
    sample(values([3, 10, -7], "int64"), values([39, 19, 2], "int64")),
    sample(values([3, 2, 0], "uint8"), values([5, 9, 0], "uint8")),
]
where.samples = [
    sample(tensor((3, 1), "bool"), tensor((2, 3, 4)), tensor((4,), seed=1)),
    sample(values(True, "bool"), tensor((2,)), tensor((2,), seed=1)),
    sample(tensor((4,), "bool"), tensor((4,), "int64"), values(7, "int64")),
    sample(tensor((4,), "bool"), tensor((4,), "bool", seed=2), tensor((4,), "bool", seed=3)),
    sample(tensor((4,), "bool"), tensor((4,), "float16"), tensor((4,), "float16", seed=1)),
    sample(tensor((4,), "bool"), tensor((4,), "bfloat16"), tensor((4,), "bfloat16", seed=1)),
    sample(tensor((0, 4), "bool"), tensor((4,), "float64"), tensor((4,), "float64")),
]
clip.samples = [
    sample(_SPECIAL, low=-1.0, high=1.0),
    sample(_SPECIAL, low=0.0),
    sample(_SPECIAL, high=0.5),
    sample(_SPECIAL),
    sample(tensor((5,), "float64"), low=1.0, high=-1.0),
    sample(tensor((5,), "float16"), low=0.0, high=6.0),
    sample(tensor((9,), "int8", -128, 127), low=-5, high=100),
    sample(tensor((9,), "uint64", 0, 100), low=5, high=50),
    sample(tensor((9,), "int64", -100, 100), low=-(2**63), high=50),
]
