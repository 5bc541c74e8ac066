"""What stands for Python's ``math`` module in compiled bodies.

The names are those of ``math``, and some more that kernels need. For float32 arguments the
functions are our own, which are inlined and vectorise; for float64 (and integers,
which are converted to it) they are the C library's, called element by element. Functions of
several arguments compute in float32 if all floats among them are float32.

Differences from Python: nothing raises, the result is an infinity or NaN as in C (log(0) is
-inf); and ``floor``, ``ceil``, ``trunc`` and the builtin ``round`` give a float of the same
type, because a float may be too large for an integer: write ``int(math.floor(x))`` for an
index. Functions on whole numbers (gcd, comb, ...) and those that return tuples are not there.
"""

from __future__ import annotations

import functools
import math as _math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from numba.core import types

from . import float32_exponential as _exponential
from . import float32_hyperbolic as _hyperbolic
from . import float32_trigonometry as _trigonometry
from . import math_primitives as _primitives
from .compiled_function import as_device_function
from .device_function import DeviceFunction, DeviceSignature
from .math_primitives import (
    bfloat16_to_float,
    call_library,
    ceil,
    common_float,
    copysign,
    double_to_bfloat16,
    double_to_half,
    fabs,
    float_to_bfloat16,
    float_to_half,
    floor,
    fma,
    half_to_float,
    isfinite,
    isinf,
    isnan,
    maximum,
    minimum,
    rint,
    sqrt,
    trunc,
)
from .scalar_function import ScalarFunction

__all__ = [
    "BUILTINS",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bfloat16_to_float",
    "cbrt",
    "ceil",
    "copysign",
    "cos",
    "cosh",
    "degrees",
    "double_to_bfloat16",
    "double_to_half",
    "e",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "float_to_bfloat16",
    "float_to_half",
    "floor",
    "fma",
    "fmod",
    "gamma",
    "half_to_float",
    "hypot",
    "inf",
    "isfinite",
    "isinf",
    "isnan",
    "lgamma",
    "log",
    "log1p",
    "log2",
    "log10",
    "maximum",
    "minimum",
    "nan",
    "pi",
    "pow",
    "radians",
    "remainder",
    "rint",
    "rsqrt",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "tau",
    "to_float",
    "trunc",
]

e: Final = _math.e
inf: Final = _math.inf
nan: Final = _math.nan
pi: Final = _math.pi
tau: Final = _math.tau


class MathFunction(DeviceFunction):
    """A function with one implementation for float32 and one for float64.

    Either is a device function or a plain-Python one, whose literals take the type computed in.
    """

    def __init__(
        self,
        name: str,
        count: int,
        single: DeviceFunction | Callable[..., Any],
        double: DeviceFunction | Callable[..., Any],
    ) -> None:
        self.name, self._count = name, count
        self._implementations = {types.float32: single, types.float64: double}

    def resolve(
        self, context: Any, arguments: Sequence[types.Type], keywords: Mapping[str, types.Type]
    ) -> DeviceSignature | None:
        """The call in float32 or float64, None unless so many numbers are given."""
        plain = [types.unliteral(argument) for argument in arguments]
        kind = common_float(*plain)
        if kind is None or keywords or len(plain) != self._count:
            return None
        chosen = self._implementations[kind]
        if isinstance(chosen, ScalarFunction):
            chosen = as_device_function(chosen.function, chosen.computing, chosen.weak_integers)
        elif not isinstance(chosen, DeviceFunction):
            chosen = as_device_function(chosen, kind)
        return chosen.resolve(context, (kind,) * self._count, {})


def _function(single: Any, count: int = 1) -> MathFunction:
    """Written here for float32, the C library's of the same name for float64."""
    name = getattr(single, "function", single).__name__.lstrip("_")
    return MathFunction(name, count, single, call_library(name, count))


def _library(name: str, count: int = 1, symbol: str | None = None) -> MathFunction:
    """Both from the C library: scalar, for what kernels hardly use."""
    called = call_library(symbol or name, count)
    return MathFunction(name, count, called, called)


def _written(function: Callable[..., Any], count: int = 1) -> MathFunction:
    """Both from one Python function."""
    return MathFunction(function.__name__, count, function, function)


exp = _function(_exponential.exp)
exp2 = _function(_exponential.exp2)
expm1 = _function(_exponential.expm1)
_natural_log = _function(_exponential.log)
log1p = _function(_exponential.log1p)
log2 = _function(_exponential.log2)
log10 = _function(_exponential.log10)
pow = _function(_exponential.pow, 2)
erf = _function(_hyperbolic.erf)
erfc = _function(_hyperbolic.erfc)
tanh = _function(_hyperbolic.tanh)
sinh = _function(_hyperbolic.sinh)
cosh = _function(_hyperbolic.cosh)
asinh = _function(_hyperbolic.asinh)
acosh = _function(_hyperbolic.acosh)
atanh = _function(_hyperbolic.atanh)
sin = _function(_trigonometry.sin)
cos = _function(_trigonometry.cos)
tan = _function(_trigonometry.tan)
asin = _function(_trigonometry.asin)
acos = _function(_trigonometry.acos)
atan = _function(_trigonometry.atan)
atan2 = _function(_trigonometry.atan2, 2)
cbrt = _function(_exponential.cbrt)
hypot = _function(_trigonometry.hypot, 2)
# LLVM's own remainder is exact and compiles to the C library's fmod.
fmod = _library("fmod", 2)
remainder = _library("remainder", 2)
gamma = _library("gamma", symbol="tgamma")
lgamma = _library("lgamma")


def _rsqrt(x: Any) -> Any:
    return 1.0 / sqrt(x)


def _degrees(x: Any) -> Any:
    return x * 57.295779513082320877


def _radians(x: Any) -> Any:
    return x * 0.017453292519943295769


def _log_to_base(x: Any, base: Any) -> Any:
    return _natural_log(x) / _natural_log(base)


rsqrt = _written(_rsqrt)
degrees = _written(_degrees)
radians = _written(_radians)


class _Logarithm(DeviceFunction):
    """``log(x)`` and ``log(x, base)``."""

    name = "log"
    _with_base = _written(_log_to_base, 2)

    def resolve(
        self, context: Any, arguments: Sequence[types.Type], keywords: Mapping[str, types.Type]
    ) -> DeviceSignature | None:
        """By the number of arguments."""
        function = self._with_base if len(arguments) == 2 else _natural_log
        return function.resolve(context, arguments, keywords)


log = _Logarithm()


@functools.cache
def to_float(kind: types.Type) -> DeviceFunction:
    """What ``float(x)`` means where floats are computed in the type ``kind``."""
    return _primitives.converter(kind)


# Builtins that are replaced in compiled bodies.
BUILTINS: Final[dict[Any, DeviceFunction]] = {
    max: _primitives.python_max,
    min: _primitives.python_min,
    round: rint,
}
