"""Activation functions, element by element, in forms that neither overflow nor cancel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ir import Array
from .define import elementwise, in_float64
from .elementwise_functions import error_function
from .kernel_functions import exp_of_negative
from .samples import sample, tensor, values

_FLOAT = ("float",)


def _relu_reference(x: Array) -> Array:
    return np.asarray(np.maximum(x, np.zeros((), x.dtype)))


@elementwise(kinds=("float", "signed"), reference=_relu_reference)
def relu(x: Any) -> Any:
    """The larger of ``x`` and 0; NaN stays (ONNX Relu-14)."""
    return 0 if x < 0 else x


@elementwise(kinds=_FLOAT, reference=in_float64(lambda x, alpha: np.where(x < 0, alpha * x, x)))
def leaky_relu(x: Any, *, alpha: float = 0.01) -> Any:
    """``x``, or ``alpha * x`` where it is negative (ONNX LeakyRelu-16)."""
    return alpha * x if x < 0 else x


@elementwise(reference=lambda x, slope: np.where(x < 0, slope * x, x))
def prelu(x: Any, slope: Any) -> Any:
    """``x``, or ``slope * x`` where it is negative (ONNX PRelu-16)."""
    return slope * x if x < 0 else x


def _elu(x: Array, *, alpha: float) -> Array:
    return np.where(x < 0, alpha * np.expm1(x), x)


@elementwise(kinds=_FLOAT, reference=in_float64(_elu))
def elu(x: Any, *, alpha: float = 1.0) -> Any:
    """``x``, or ``alpha * (exp(x) - 1)`` where it is negative (ONNX Elu-22)."""
    below = alpha * math.expm1(x)
    return below if x < 0 else x


def _selu(x: Array, *, alpha: float, gamma: float) -> Array:
    return gamma * np.where(x > 0, x, alpha * np.expm1(x))


@elementwise(kinds=_FLOAT, reference=in_float64(_selu))
def selu(
    x: Any, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875
) -> Any:
    """``gamma * x``, or ``gamma * alpha * (exp(x) - 1)`` up to 0 (ONNX Selu-22)."""
    below = alpha * math.expm1(x)
    return gamma * (x if x > 0 else below)


def _celu(x: Array, *, alpha: float) -> Array:
    return np.where(x < 0, alpha * np.expm1(x / alpha), x)


@elementwise(kinds=_FLOAT, reference=in_float64(_celu))
def celu(x: Any, *, alpha: float = 1.0) -> Any:
    """``x``, or ``alpha * (exp(x / alpha) - 1)`` where it is negative (ONNX Celu-12)."""
    below = alpha * math.expm1(x / alpha)
    return below if x < 0 else x


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


@elementwise(kinds=_FLOAT, reference=in_float64(_sigmoid))
def sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))`` (ONNX Sigmoid-13)."""
    e = math.exp(-abs(x))
    return (e if x < 0 else 1.0) / (1.0 + e)


def _hard_sigmoid(x: Array, *, alpha: float, beta: float) -> Array:
    return np.minimum(np.maximum(alpha * x + beta, 0.0), 1.0)


@elementwise(kinds=_FLOAT, reference=in_float64(_hard_sigmoid))
def hard_sigmoid(x: Any, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    """``alpha * x + beta`` moved into 0 to 1 (ONNX HardSigmoid-22)."""
    line = alpha * x + beta
    raised = 0.0 if line < 0.0 else line
    return 1.0 if raised > 1.0 else raised


def _hard_swish(x: Array) -> Array:
    return x * np.minimum(np.maximum(x / 6.0 + 0.5, 0.0), 1.0)


@elementwise(kinds=_FLOAT, reference=in_float64(_hard_swish))
def hard_swish(x: Any) -> Any:
    """``x * hard_sigmoid(x)`` with slope 1/6 and offset 1/2 (ONNX HardSwish-22)."""
    line = x * (1.0 / 6.0) + 0.5
    raised = 0.0 if line < 0.0 else line
    return x * (1.0 if raised > 1.0 else raised)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


@elementwise(kinds=_FLOAT, reference=in_float64(_softplus))
def softplus(x: Any) -> Any:
    """``log(1 + exp(x))`` (ONNX Softplus-22)."""
    return (0.0 if x < 0.0 else x) + math.log1p(math.exp(-abs(x)))


@elementwise(kinds=_FLOAT, reference=in_float64(lambda x: x / (1.0 + np.abs(x))))
def softsign(x: Any) -> Any:
    """``x / (1 + |x|)`` (ONNX Softsign-22)."""
    return x / (1.0 + abs(x))


@elementwise(kinds=_FLOAT, reference=in_float64(lambda x: x * np.tanh(_softplus(x))))
def mish(x: Any) -> Any:
    """``x * tanh(softplus(x))`` (ONNX Mish-22)."""
    # tanh(log(1 + exp(x))) written with e = exp(-|x|), which is at most 1.
    e = math.exp(-abs(x))
    square = e * e
    above = 1.0 + 2.0 * e
    below = square + 2.0 * e
    top = below if x < 0.0 else above
    return x * (top / (top + (2.0 if x < 0.0 else 2.0 * square)))


def _gelu(x: Array, *, approximate: bool) -> Array:
    if approximate:
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1.0 + error_function(x * math.sqrt(0.5)))


@elementwise(kinds=_FLOAT, reference=in_float64(_gelu))
def gelu(x: Any, *, approximate: bool = False) -> Any:
    """``x * P(X <= x)`` for a standard normal X, or its tanh approximation (ONNX Gelu-20)."""
    if approximate:
        # (1 + tanh(y / 2)) / 2 is the logistic function of y.
        y = x * (1.5957691216057308 + 0.07135481627260025 * x * x)
        e = exp_of_negative(-abs(y))
        return x * ((e if y < 0.0 else 1.0) / (1.0 + e))
    return 0.5 * x * (1.0 + math.erf(x * 0.7071067811865476))


@elementwise(kinds=_FLOAT, reference=in_float64(lambda x, alpha: x * _sigmoid(alpha * x)))
def swish(x: Any, *, alpha: float = 1.0) -> Any:
    """``x * sigmoid(alpha * x)`` (ONNX Swish-24)."""
    scaled = alpha * x
    e = math.exp(-abs(scaled))
    return x * ((e if scaled < 0.0 else 1.0) / (1.0 + e))


@elementwise(kinds=_FLOAT, reference=in_float64(lambda x, alpha: np.where(x > alpha, x, 0.0)))
def thresholded_relu(x: Any, *, alpha: float = 1.0) -> Any:
    """``x`` where it is above ``alpha``, else 0 (ONNX ThresholdedRelu-22)."""
    return x if x > alpha else 0.0


def _shrink(x: Array, *, lambd: float, bias: float) -> Array:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0.0))


@elementwise(kinds=_FLOAT, reference=in_float64(_shrink))
def shrink(x: Any, *, lambd: float = 0.5, bias: float = 0.0) -> Any:
    """``x`` moved towards 0 by ``bias`` beyond ``lambd``, 0 within it (ONNX Shrink-9)."""
    return x + bias if x < -lambd else (x - bias if x > lambd else 0.0)


# --- samples -----------------------------------------------------------------------------

_SPECIAL = values([-100.0, -20.0, -3.0, -0.5, -0.0, 0.0, 0.5, 3.0, 20.0, 100.0, np.nan])


def _give_samples(op: Any, **attributes: Any) -> None:
    op.samples = [
        sample(tensor((3, 21), low=-5.0, high=5.0)),
        sample(tensor(())),
        sample(tensor((0, 2))),
        sample(_SPECIAL),
        sample(tensor((11,), "float64", -5.0, 5.0)),
        sample(tensor((11,), "float16", -5.0, 5.0)),
        sample(tensor((11,), "bfloat16", -5.0, 5.0)),
    ]
    if attributes:
        op.samples.append(sample(tensor((3, 5), low=-5.0, high=5.0), **attributes))


for _op in (relu, sigmoid, hard_swish, softplus, softsign, mish):
    _give_samples(_op)
relu.samples += [
    sample(values([-np.inf, np.inf, -0.0])),
    sample(values([-128, -1, 0, 127], "int8")),
    sample(values([-5, 5], "int64")),
]
sigmoid.samples.append(sample(values([-np.inf, np.inf])))
_give_samples(leaky_relu, alpha=0.25)
_give_samples(elu, alpha=2.5)
_give_samples(selu, alpha=2.0, gamma=3.0)
_give_samples(celu, alpha=0.5)
_give_samples(hard_sigmoid, alpha=1.0 / 6.0, beta=0.25)
_give_samples(gelu, approximate=True)
_give_samples(swish, alpha=1.702)
_give_samples(thresholded_relu, alpha=0.5)
_give_samples(shrink, lambd=1.5, bias=0.75)
prelu.samples = [
    sample(tensor((2, 3, 4)), tensor((3, 1), seed=1)),
    sample(_SPECIAL, values(0.25)),
    sample(tensor((5,), "float16"), tensor((5,), "float16", seed=1)),
    sample(tensor((5,), "float64"), tensor((1,), "float64", seed=1)),
    sample(tensor((5,), "int32", -9, 9), tensor((5,), "int32", -9, 9, seed=1)),
    sample(tensor((5,), "uint64", 0, 9), tensor((5,), "uint64", 0, 9, seed=1)),
]
