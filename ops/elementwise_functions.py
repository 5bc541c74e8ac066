"""Functions of one number, element by element; their names are those of the ONNX operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir import Array
from .define import elementwise, in_float64
from .samples import sample, tensor, values

_FLOAT = ("float",)


@elementwise(kinds=_FLOAT, reference=in_float64(np.sqrt))
def sqrt(x: Any) -> Any:
    """The square root; NaN for negative numbers (ONNX Sqrt-13)."""
    return math.sqrt(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.exp))
def exp(x: Any) -> Any:
    """e to the power ``x`` (ONNX Exp-13)."""
    return math.exp(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.log))
def log(x: Any) -> Any:
    """The natural logarithm; -inf for 0, NaN for negative numbers (ONNX Log-13)."""
    return math.log(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.sin))
def sin(x: Any) -> Any:
    """The sine of ``x`` radians (ONNX Sin-22)."""
    return math.sin(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.cos))
def cos(x: Any) -> Any:
    """The cosine of ``x`` radians (ONNX Cos-22)."""
    return math.cos(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.tan))
def tan(x: Any) -> Any:
    """The tangent of ``x`` radians (ONNX Tan-22)."""
    return math.tan(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.arcsin))
def asin(x: Any) -> Any:
    """The angle in radians whose sine is ``x`` (ONNX Asin-22)."""
    return math.asin(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.arccos))
def acos(x: Any) -> Any:
    """The angle in radians whose cosine is ``x`` (ONNX Acos-22)."""
    return math.acos(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.arctan))
def atan(x: Any) -> Any:
    """The angle in radians whose tangent is ``x`` (ONNX Atan-22)."""
    return math.atan(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.sinh))
def sinh(x: Any) -> Any:
    """The hyperbolic sine (ONNX Sinh-22)."""
    return math.sinh(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.cosh))
def cosh(x: Any) -> Any:
    """The hyperbolic cosine (ONNX Cosh-22)."""
    return math.cosh(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.arcsinh))
def asinh(x: Any) -> Any:
    """The inverse of the hyperbolic sine (ONNX Asinh-22)."""
    return math.asinh(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.arccosh))
def acosh(x: Any) -> Any:
    """The inverse of the hyperbolic cosine; NaN below 1 (ONNX Acosh-22)."""
    return math.acosh(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.arctanh))
def atanh(x: Any) -> Any:
    """The inverse of the hyperbolic tangent; NaN outside -1 to 1 (ONNX Atanh-22)."""
    return math.atanh(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.tanh))
def tanh(x: Any) -> Any:
    """The hyperbolic tangent (ONNX Tanh-13)."""
    return math.tanh(x)


def error_function(x: Array) -> Array:
    """The Gauss error function of float64 numbers (NumPy has none)."""
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


@elementwise(kinds=_FLOAT, reference=in_float64(error_function))
def erf(x: Any) -> Any:
    """The Gauss error function (ONNX Erf-13)."""
    return math.erf(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.floor))
def floor(x: Any) -> Any:
    """The nearest whole number below (ONNX Floor-13)."""
    return math.floor(x)


@elementwise(kinds=_FLOAT, reference=in_float64(np.ceil))
def ceil(x: Any) -> Any:
    """The nearest whole number above (ONNX Ceil-13)."""
    return math.ceil(x)


@elementwise(name="round", kinds=_FLOAT, reference=in_float64(np.rint))
def round_(x: Any) -> Any:
    """The nearest whole number, of two the even one (ONNX Round-22)."""
    return round(x)


# --- samples -----------------------------------------------------------------------------

_EVERYWHERE = [-np.inf, -3.5, -1.0, -0.5, -0.0, 0.0, 0.3, 0.5, 1.0, 1.5, 2.5, np.inf, np.nan]


def _give_samples(op: Any, low: float, high: float, special: list[float]) -> None:
    make: Callable[..., Array] = tensor
    op.samples = [
        sample(make((3, 21), low=low, high=high)),
        sample(make((), low=low, high=high)),
        sample(make((0, 2))),
        sample(values(special)),
        sample(values(special, "float64")),
        sample(make((11,), "float64", low, high)),
        sample(make((11,), "float16", low, high)),
        sample(make((11,), "bfloat16", low, high)),
    ]


for _op in (tanh, atan, asinh, erf, floor, ceil, round_, sin, cos):
    _give_samples(_op, -4.0, 4.0, _EVERYWHERE)
_give_samples(tan, -1.4, 1.4, [-0.0, 0.5, np.inf, np.nan])
for _op in (exp, sinh, cosh):
    _give_samples(_op, -4.0, 4.0, [-np.inf, -200.0, -1.0, 0.0, 1.0, 2.0, np.inf, np.nan])
for _op in (sqrt, log):
    _give_samples(_op, 0.01, 50.0, [0.0, 1e-40, 1.0, 4.0, 1e30, np.inf, np.nan, -1.0])
for _op in (asin, acos, atanh):
    _give_samples(_op, -0.99, 0.99, [-2.0, -1.0, -0.5, 0.0, 1e-5, 0.5, 1.0, np.nan])
_give_samples(acosh, 1.0, 50.0, [0.0, 1.0, 1.0001, 3.0, np.inf, np.nan])
