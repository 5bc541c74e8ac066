"""Functions of single elements for ``construct``: arithmetic, comparisons, activations."""

from __future__ import annotations

import math

from ..ir import ModelError
from ..ir.data_type import is_float
from ..ops import elementwise_activation as activations
from ..ops import elementwise_arithmetic as arithmetic
from ..ops import elementwise_functions as functions
from ..ops import elementwise_logic as logic
from ..ops.cast import cast as _cast
from .initializers import element_type
from .tensor import Expression, Operand, Tensor, apply, binary, in_common

# --- arithmetic --------------------------------------------------------------------------


def add(x: Operand, y: Operand) -> Tensor:
    """``x + y``."""
    return binary(arithmetic.add, x, y)


def sub(x: Operand, y: Operand) -> Tensor:
    """``x - y``."""
    return binary(arithmetic.sub, x, y)


def mul(x: Operand, y: Operand) -> Tensor:
    """``x * y``."""
    return binary(arithmetic.mul, x, y)


def div(x: Expression, y: Operand) -> Tensor:
    """``x / y``, of whole numbers as fractions."""
    return x / y


def floor_divide(x: Operand, y: Operand) -> Tensor:
    """The largest whole number that is not above ``x / y``."""
    return binary(arithmetic.floor_divide, x, y)


def floor_mod(x: Operand, y: Operand) -> Tensor:
    """What is left of ``x`` after :func:`floor_divide`; the sign is that of ``y``."""
    return binary(arithmetic.mod, x, y)


def neg(x: Expression) -> Tensor:
    """``-x``."""
    return -x


def abs(x: Expression) -> Tensor:
    """The distance from 0."""
    return apply(arithmetic.abs_, x)


def sign(x: Expression) -> Tensor:
    """-1, 0 or 1."""
    return apply(arithmetic.sign, x)


def pow(x: Operand, y: Operand) -> Tensor:
    """``x`` to the power ``y``."""
    return binary(arithmetic.pow_, x, y)


def square(x: Expression) -> Tensor:
    """``x * x``."""
    return x * x


def reciprocal(x: Expression) -> Tensor:
    """``1 / x``."""
    return apply(arithmetic.reciprocal, _fractions(x))


def maximum(x: Operand, y: Operand) -> Tensor:
    """The larger of two elements."""
    return binary(arithmetic.maximum, x, y)


def minimum(x: Operand, y: Operand) -> Tensor:
    """The smaller of two elements."""
    return binary(arithmetic.minimum, x, y)


def clip(x: Expression, min: float | None = None, max: float | None = None) -> Tensor:
    """``x`` moved into ``min`` to ``max``; None leaves a side open."""
    low, high = -math.inf if min is None else min, math.inf if max is None else max
    return apply(arithmetic.clip, x, low=float(low), high=float(high))


clamp = clip


def cast(x: Expression, dtype: object) -> Tensor:
    """The elements converted to another type."""
    return apply(_cast, x, to=element_type(dtype))


# --- functions ---------------------------------------------------------------------------


def _fractions(x: Expression) -> Expression:
    """Whole numbers as fractions, as MindSpore takes them."""
    return x if is_float(x.dtype) else x.astype("float32")


def exp(x: Expression) -> Tensor:
    """``e ** x``."""
    return apply(functions.exp, _fractions(x))


def log(x: Expression) -> Tensor:
    """The natural logarithm."""
    return apply(functions.log, _fractions(x))


def sqrt(x: Expression) -> Tensor:
    """The square root."""
    return apply(functions.sqrt, _fractions(x))


def rsqrt(x: Expression) -> Tensor:
    """``1 / sqrt(x)``."""
    return apply(arithmetic.reciprocal, sqrt(x))


def erf(x: Expression) -> Tensor:
    """The error function."""
    return apply(functions.erf, _fractions(x))


def sin(x: Expression) -> Tensor:
    """The sine."""
    return apply(functions.sin, _fractions(x))


def cos(x: Expression) -> Tensor:
    """The cosine."""
    return apply(functions.cos, _fractions(x))


def tanh(x: Expression) -> Tensor:
    """The hyperbolic tangent."""
    return apply(functions.tanh, _fractions(x))


def floor(x: Expression) -> Tensor:
    """The largest whole number that is not above ``x``."""
    return apply(functions.floor, x)


def ceil(x: Expression) -> Tensor:
    """The smallest whole number that is not below ``x``."""
    return apply(functions.ceil, x)


def round(x: Expression) -> Tensor:
    """The nearest whole number, the even one of two."""
    return apply(functions.round_, x)


# --- comparisons and choice --------------------------------------------------------------


def equal(x: Operand, y: Operand) -> Tensor:
    """``x == y``."""
    return binary(logic.equal, x, y)


def not_equal(x: Operand, y: Operand) -> Tensor:
    """``x != y``."""
    return binary(logic.not_equal, x, y)


def less(x: Operand, y: Operand) -> Tensor:
    """``x < y``."""
    return binary(logic.less, x, y)


def less_equal(x: Operand, y: Operand) -> Tensor:
    """``x <= y``."""
    return binary(logic.less_equal, x, y)


def greater(x: Operand, y: Operand) -> Tensor:
    """``x > y``."""
    return binary(logic.greater, x, y)


def greater_equal(x: Operand, y: Operand) -> Tensor:
    """``x >= y``."""
    return binary(logic.greater_equal, x, y)


def logical_and(x: Expression, y: Expression) -> Tensor:
    """True where both are."""
    return apply(logic.logical_and, cast(x, "bool"), cast(y, "bool"))


def logical_or(x: Expression, y: Expression) -> Tensor:
    """True where one is."""
    return apply(logic.logical_or, cast(x, "bool"), cast(y, "bool"))


def logical_not(x: Expression) -> Tensor:
    """True where ``x`` is false."""
    return apply(logic.logical_not, cast(x, "bool"))


def where(condition: Expression, x: Operand, y: Operand) -> Tensor:
    """``x`` where the condition is true, ``y`` elsewhere."""
    return apply(arithmetic.where, cast(condition, "bool"), *in_common(x, y))


def masked_fill(x: Expression, mask: Expression, value: float) -> Tensor:
    """``value`` where the mask is true, ``x`` elsewhere."""
    return where(mask, value, x)


# --- activations -------------------------------------------------------------------------


def relu(x: Expression) -> Tensor:
    """The larger of ``x`` and 0."""
    return apply(activations.relu, x)


def relu6(x: Expression) -> Tensor:
    """``x`` moved into 0 to 6."""
    return apply(arithmetic.clip, x, low=0.0, high=6.0)


def hardtanh(x: Expression, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``x`` moved into ``min_val`` to ``max_val``."""
    return clip(x, min_val, max_val)


def leaky_relu(x: Expression, alpha: float = 0.2) -> Tensor:
    """``x``, or ``alpha * x`` where it is negative."""
    return apply(activations.leaky_relu, x, alpha=float(alpha))


def prelu(x: Expression, weight: Expression) -> Tensor:
    """``x``, or ``weight * x`` where it is negative; one weight, or one a channel (axis 1)."""
    slope = weight.reshape(-1, *(1,) * (x.ndim - 2)) if x.ndim > 2 else weight
    return apply(activations.prelu, x, cast(slope, x.dtype) if slope.dtype != x.dtype else slope)


def elu(x: Expression, alpha: float = 1.0) -> Tensor:
    """``x``, or ``alpha * (exp(x) - 1)`` where it is negative."""
    return apply(activations.elu, x, alpha=float(alpha))


def selu(x: Expression) -> Tensor:
    """The self-normalising linear unit (Klambauer 2017)."""
    return apply(activations.selu, x)


def celu(x: Expression, alpha: float = 1.0) -> Tensor:
    """``x``, or ``alpha * (exp(x / alpha) - 1)`` where it is negative."""
    return apply(activations.celu, x, alpha=float(alpha))


def gelu(x: Expression, approximate: str = "none") -> Tensor:
    """``x * P(X <= x)`` for a standard normal X; "tanh" takes the usual approximation."""
    if approximate not in ("none", "tanh"):
        raise ModelError(f"gelu: approximate {approximate!r} is neither 'none' nor 'tanh'")
    return apply(activations.gelu, x, approximate=approximate == "tanh")


def fast_gelu(x: Expression) -> Tensor:
    """``x * sigmoid(1.702 * x)``, which is near to :func:`gelu`."""
    return apply(activations.swish, x, alpha=1.702)


def silu(x: Expression) -> Tensor:
    """``x * sigmoid(x)``."""
    return apply(activations.swish, x)


def mish(x: Expression) -> Tensor:
    """``x * tanh(log(1 + exp(x)))``."""
    return apply(activations.mish, x)


def sigmoid(x: Expression) -> Tensor:
    """``1 / (1 + exp(-x))``."""
    return apply(activations.sigmoid, _fractions(x))


def logsigmoid(x: Expression) -> Tensor:
    """The logarithm of :func:`sigmoid`."""
    return -softplus(-x)


def softplus(x: Expression) -> Tensor:
    """``log(1 + exp(x))``."""
    return apply(activations.softplus, x)


def softsign(x: Expression) -> Tensor:
    """``x / (1 + |x|)``."""
    return apply(activations.softsign, x)


def hardsigmoid(x: Expression) -> Tensor:
    """``relu6(x + 3) / 6``."""
    return apply(activations.hard_sigmoid, x, alpha=1.0 / 6.0, beta=0.5)


def hardswish(x: Expression) -> Tensor:
    """``x * relu6(x + 3) / 6``."""
    return apply(activations.hard_swish, x)


def tanhshrink(x: Expression) -> Tensor:
    """``x - tanh(x)``."""
    return x - tanh(x)


def softshrink(x: Expression, lambd: float = 0.5) -> Tensor:
    """``x`` moved towards 0 by ``lambd``, and 0 where that goes past it."""
    return apply(activations.shrink, x, lambd=float(lambd), bias=float(lambd))


def hardshrink(x: Expression, lambd: float = 0.5) -> Tensor:
    """``x``, or 0 where it is no further than ``lambd`` from 0."""
    return apply(activations.shrink, x, lambd=float(lambd), bias=0.0)


def threshold(x: Expression, thr: float, value: float) -> Tensor:
    """``x`` where it is above ``thr``, ``value`` elsewhere."""
    return where(greater(x, thr), x, value)


def glu(x: Expression, axis: int = -1) -> Tensor:
    """The first half along ``axis`` times the sigmoid of the second."""
    place = x.type.axis(axis)
    half = x.shape[place]
    if not isinstance(half, int) or half % 2:
        raise ModelError(f"glu: an axis of {half} has no halves")
    front = (slice(None),) * place
    return x[(*front, slice(0, half // 2))] * sigmoid(x[(*front, slice(half // 2, half))])
