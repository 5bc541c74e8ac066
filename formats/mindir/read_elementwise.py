"""Readers of arithmetic, comparisons, logic and functions of each element."""

from __future__ import annotations

import math

import numpy as np

from ...ir import UnsupportedError, Value
from ...ir.data_type import is_float
from ...ops.registry import operator_named
from .context import Context, ops
from .convert import ElementType, Values, enumerated
from .items import Item
from .registry import reads

_UNARY = {
    "Abs": "abs",
    "Neg": "neg",
    "Sqrt": "sqrt",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Asin": "asin",
    "AsinExt": "asin",
    "ACos": "acos",
    "AcosExt": "acos",
    "Atan": "atan",
    "AtanExt": "atan",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Asinh": "asinh",
    "AsinhExt": "asinh",
    "Acosh": "acosh",
    "AcoshExt": "acosh",
    "Atanh": "atanh",
    "Erf": "erf",
    "Rint": "round",
    "Sign": "sign",
    "Invert": "bitwise_not",
    "BitwiseNot": "bitwise_not",
}
_BINARY = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Muls": "mul",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Pow": "pow",
    "PowTensorScalar": "pow",
    "PowScalarTensor": "pow",
    "Equal": "equal",
    "EqualExt": "equal",
    "EqScalar": "equal",
    "NotEqual": "not_equal",
    "NeScalar": "not_equal",
    "Less": "less",
    "LessScalar": "less",
    "LessEqual": "less_equal",
    "LessEqualScalar": "less_equal",
    "Greater": "greater",
    "GreaterScalar": "greater",
    "GreaterEqual": "greater_equal",
    "GreaterEqualScalar": "greater_equal",
    "BitwiseAnd": "bitwise_and",
    "BitwiseAndTensor": "bitwise_and",
    "BitwiseAndScalar": "bitwise_and",
    "BitwiseOr": "bitwise_or",
    "BitwiseOrTensor": "bitwise_or",
    "BitwiseOrScalar": "bitwise_or",
    "BitwiseXor": "bitwise_xor",
    "BitwiseXorTensor": "bitwise_xor",
    "BitwiseXorScalar": "bitwise_xor",
}
_LOGICAL = {"LogicalAnd": "logical_and", "LogicalOr": "logical_or", "LogicalXor": "logical_xor"}
# On booleans the bitwise operators are the logical ones.
_OF_BOOLEANS = {
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "bitwise_not": "logical_not",
    "add": "logical_or",
    "mul": "logical_and",
    "maximum": "logical_or",
    "minimum": "logical_and",
}
_FUNCTIONS = {"sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "erf"}
_FUNCTIONS |= {"asinh", "acosh", "atanh", "exp", "log"}


def _register_unary(name: str, op: str) -> None:
    def read(g: Context, x: Value) -> Value:
        if op in _FUNCTIONS:
            x = floating(g, x)
        if g.dtype(x) == "bool":
            return g.add(operator_named(_OF_BOOLEANS.get(op, op)), x)
        if op == "round" and not is_float(g.dtype(x)):
            return x
        return g.add(operator_named(op), x)

    reads(name)(read)


def floating(g: Context, x: Value) -> Value:
    """``x`` as floating point: MindSpore computes functions of integers in float32."""
    return x if is_float(g.dtype(x)) else g.cast(x, "float32")


def binary(g: Context, op: str, x: Item, y: Item) -> Value:
    """Arithmetic on two operands, either of which may be a Python number."""
    left, right = g.pair(x, y)
    if g.dtype(left) == "bool":
        op = _OF_BOOLEANS.get(op, op)
        if op in ("less", "less_equal", "greater", "greater_equal"):
            left, right = g.cast(left, "uint8"), g.cast(right, "uint8")
    return g.add(operator_named(op), left, right)


def _register_binary(name: str, op: str) -> None:
    def read(g: Context, x: Item, y: Item) -> Value:
        return binary(g, op, x, y)

    reads(name)(read)


def _register_logical(name: str, op: str) -> None:
    def read(g: Context, x: Item, y: Item) -> Value:
        return g.add(operator_named(op), g.value(x, "bool"), g.value(y, "bool"))

    reads(name)(read)


for _name, _op in _UNARY.items():
    _register_unary(_name, _op)
for _name, _op in _BINARY.items():
    _register_binary(_name, _op)
for _name, _op in _LOGICAL.items():
    _register_logical(_name, _op)


@reads("LogicalNot")
def _logical_not(g: Context, x: Item) -> Value:
    return g.add(ops.logical_not, g.value(x, "bool"))


# --- division --------------------------------------------------------------------------------


@reads("Div", "Divs", "RealDiv")
def _div(g: Context, x: Item, y: Item) -> Value:
    left, right = g.pair(x, y)
    return g.add(ops.div, floating(g, left), floating(g, right))


@reads("DivMod", "DivMods")
def _div_mod(g: Context, x: Item, y: Item, rounding_mode: Item = None) -> Value:
    if rounding_mode is None:
        return _div(g, x, y)
    mode = enumerated(rounding_mode, {0: "none", 1: "trunc", 2: "floor"}, "rounding_mode")
    left, right = g.pair(x, y)
    return floor_divided(g, left, right) if mode == "floor" else truncated(g, left, right)


def floor_divided(g: Context, x: Value, y: Value) -> Value:
    """``x`` by ``y``, rounded down."""
    if is_float(g.dtype(x)):
        return g.add(ops.floor, g.add(ops.div, x, y))
    return g.add(ops.floor_divide, x, y)


def truncated(g: Context, x: Value, y: Value) -> Value:
    """``x`` by ``y``, rounded towards zero."""
    quotient = g.add(ops.div, x, y)
    return towards_zero(g, quotient) if is_float(g.dtype(x)) else quotient


def towards_zero(g: Context, x: Value) -> Value:
    """The whole part of each element."""
    negative = g.add(ops.less, x, g.scalar_like(x, 0))
    return g.add(ops.where, negative, g.add(ops.ceil, x), g.add(ops.floor, x))


@reads("FloorDiv", "FloorDivScalar")
def _floor_div(g: Context, x: Item, y: Item) -> Value:
    return floor_divided(g, *g.pair(x, y))


@reads("TruncateDiv")
def _truncate_div(g: Context, x: Item, y: Item) -> Value:
    return truncated(g, *g.pair(x, y))


@reads("FloorMod", "RemainderTensorScalar", "RemainderTensorTensor", "RemainderScalarTensor")
def _floor_mod(g: Context, x: Item, y: Item) -> Value:
    left, right = g.pair(x, y)
    return g.add(ops.mod, left, right, fmod=False)


@reads("Mod", "TruncateMod", "FmodScalar", "FmodTensor")
def _mod(g: Context, x: Item, y: Item) -> Value:
    left, right = g.pair(x, y)
    return g.add(ops.mod, left, right, fmod=True)


@reads("DivNoNan")
def _div_no_nan(g: Context, x: Item, y: Item) -> Value:
    left, right = g.pair(x, y)
    zero = g.add(ops.equal, right, g.scalar_like(right, 0))
    divisor = g.add(ops.where, zero, g.scalar_like(right, 1), right)
    quotient = g.add(ops.div, left, divisor)
    return g.add(ops.where, zero, g.scalar_like(quotient, 0), quotient)


@reads("MulNoNan")
def _mul_no_nan(g: Context, x: Item, y: Item) -> Value:
    left, right = g.pair(x, y)
    zero = g.add(ops.equal, right, g.scalar_like(right, 0))
    return g.add(ops.where, zero, g.scalar_like(left, 0), g.add(ops.mul, left, right))


# --- sums of several things ------------------------------------------------------------------


def _scaled(g: Context, x: Value, factor: Item) -> Value:
    if isinstance(factor, (int, float)) and factor == 1:
        return x
    return binary(g, "mul", g.item(x), factor)


@reads("AddExt", "AddScalar", "InplaceAddExt", "InplaceAddsExt")
def _add_scaled(g: Context, x: Item, other: Item, alpha: Item = 1) -> Value:
    if not (isinstance(alpha, (int, float)) and alpha == 1):
        left, right = g.pair(x, other)
        return binary(g, "add", g.item(left), g.item(_scaled(g, right, alpha)))
    return binary(g, "add", x, other)


@reads("SubExt", "SubScalar", "InplaceSubExt", "InplaceSubScalar")
def _sub_scaled(g: Context, x: Item, other: Item, alpha: Item = 1) -> Value:
    if not (isinstance(alpha, (int, float)) and alpha == 1):
        left, right = g.pair(x, other)
        return binary(g, "sub", g.item(left), g.item(_scaled(g, right, alpha)))
    return binary(g, "sub", x, other)


@reads("InplaceMul", "InplaceMuls")
def _mul(g: Context, x: Item, other: Item) -> Value:
    return binary(g, "mul", x, other)


@reads("InplaceDiv", "InplaceDivs")
def _div_in_place(g: Context, x: Item, other: Item) -> Value:
    return _div(g, x, other)


@reads("AddN", "AccumulateNV2")
def _add_n(g: Context, xs: Values) -> Value:
    if not xs:
        raise UnsupportedError("a sum of nothing")
    total = xs[0]
    for x in xs[1:]:
        total = g.add(ops.add, total, x)
    return total


@reads("Addcdiv", "AddcdivExt")
def _addcdiv(g: Context, x: Value, x1: Value, x2: Value, value: Item = 1) -> Value:
    return g.add(ops.add, x, _scaled(g, g.add(ops.div, x1, x2), value))


@reads("Addcmul", "AddcmulExt")
def _addcmul(g: Context, x: Value, x1: Value, x2: Value, value: Item = 1) -> Value:
    return g.add(ops.add, x, _scaled(g, g.add(ops.mul, x1, x2), value))


@reads("Lerp", "LerpScalar")
def _lerp(g: Context, start: Value, end: Value, weight: Item) -> Value:
    way = g.add(ops.sub, end, start)
    return g.add(ops.add, start, g.add(ops.mul, way, g.like(weight, way)))


@reads("SquaredDifference")
def _squared_difference(g: Context, x: Item, y: Item) -> Value:
    difference = g.add(ops.sub, *g.pair(x, y))
    return g.add(ops.mul, difference, difference)


# --- conditions ------------------------------------------------------------------------------


@reads("IsNan")
def _is_nan(g: Context, x: Value) -> Value:
    return g.add(ops.is_nan, x) if is_float(g.dtype(x)) else _all_false(g, x)


@reads("IsInf")
def _is_inf(g: Context, x: Value) -> Value:
    return g.add(ops.is_inf, x) if is_float(g.dtype(x)) else _all_false(g, x)


@reads("IsFinite")
def _is_finite(g: Context, x: Value) -> Value:
    if not is_float(g.dtype(x)):
        return g.add(ops.logical_not, _all_false(g, x))
    odd = g.add(ops.logical_or, g.add(ops.is_nan, x), g.add(ops.is_inf, x))
    return g.add(ops.logical_not, odd)


def _all_false(g: Context, x: Value) -> Value:
    return g.add(ops.not_equal, x, x)


@reads("IsClose")
def _is_close(
    g: Context,
    x: Value,
    other: Value,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> Value:
    left, right = floating(g, x), floating(g, other)
    bound = g.add(ops.mul, g.add(ops.abs, right), g.scalar_like(right, rtol))
    bound = g.add(ops.add, bound, g.scalar_like(right, atol))
    near = g.add(ops.less_equal, g.add(ops.abs, g.add(ops.sub, left, right)), bound)
    finite = g.add(ops.logical_not, g.add(ops.is_inf, right))
    near = g.add(ops.logical_and, near, finite)
    result = g.add(ops.logical_or, near, g.add(ops.equal, left, right))
    if equal_nan:
        both = g.add(ops.logical_and, g.add(ops.is_nan, left), g.add(ops.is_nan, right))
        result = g.add(ops.logical_or, result, both)
    return result


@reads("ApproximateEqual")
def _approximately(g: Context, x: Value, y: Value, tolerance: float = 1e-5) -> Value:
    distance = g.add(ops.abs, g.add(ops.sub, x, y))
    return g.add(ops.less, distance, g.scalar_like(distance, tolerance))


@reads("Select", "SelectV2")
def _select(g: Context, condition: Value, x: Item, y: Item) -> Value:
    left, right = g.pair(x, y)
    return g.add(ops.where, g.cast(condition, "bool"), left, right)


@reads("MaskedFill", "MaskedFillScalar")
def _masked_fill(g: Context, x: Value, mask: Value, value: Item) -> Value:
    fill = g.value(value, g.dtype(x))
    return g.add(ops.where, g.cast(mask, "bool"), fill, x)


@reads("Cast", "ToDtype")
def _cast(g: Context, x: Value, dtype: ElementType) -> Value:
    return g.cast(x, dtype)


@reads("ClampScalar")
def _clamp_scalar(
    g: Context, x: Value, min: float | None = None, max: float | None = None
) -> Value:
    return clamped(g, x, min, max)


def clamped(g: Context, x: Value, low: float | None, high: float | None) -> Value:
    """``x`` between two numbers; None is no bound."""
    least, most = -math.inf, math.inf
    if not is_float(g.dtype(x)):
        bounds = np.iinfo(g.dtype(x))
        given = [b for b in (low, high) if b is not None and not math.isinf(b)]
        if any(b != math.floor(b) for b in given):
            x, least, most = g.cast(x, "float32"), -math.inf, math.inf
        else:
            least, most = int(bounds.min), int(bounds.max)
            low, high = (None if b is None else int(min(max(b, least), most)) for b in (low, high))
    low = least if low is None else low
    high = most if high is None else high
    if low > high:
        low = high
    return g.add(ops.clip, x, low=low, high=high)


@reads("ClampTensor")
def _clamp_tensor(
    g: Context, x: Value, min: Value | None = None, max: Value | None = None
) -> Value:
    if min is not None:
        x = g.add(ops.maximum, x, g.cast(min, g.dtype(x)))
    return x if max is None else g.add(ops.minimum, x, g.cast(max, g.dtype(x)))


@reads("NanToNum")
def _nan_to_num(
    g: Context,
    x: Value,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Value:
    limits = np.finfo(g.dtype(x)) if g.dtype(x) != "bfloat16" else np.finfo(np.float32)
    high = g.scalar_like(x, float(limits.max) if posinf is None else posinf)
    low = g.scalar_like(x, float(limits.min) if neginf is None else neginf)
    # MindIR's IsInf detects both.
    above = g.add(ops.equal, x, g.scalar_like(x, np.inf))
    below = g.add(ops.equal, x, g.scalar_like(x, -np.inf))
    x = g.add(ops.where, g.add(ops.is_nan, x), g.scalar_like(x, nan or 0.0), x)
    return g.add(ops.where, below, low, g.add(ops.where, above, high, x))
