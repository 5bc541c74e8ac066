"""Softmax, log-softmax and hardmax over one axis."""

from __future__ import annotations

import math

import numpy as np

from ..ir import Array, Call, Cost, ModelError, Operand, TensorType
from ..ir.data_type import is_float
from .define import operator
from .half import widened
from .samples import sample, tensor, values


def _infer(x: TensorType, *, axis: int) -> TensorType:
    x.axis(axis)
    if x.rank == 0:
        raise ModelError("softmax: a scalar has no axis")
    if not is_float(x.dtype):
        raise ModelError(f"softmax takes floating-point tensors, not {x.dtype}")
    return x


def _cost(x: TensorType, *, axis: int) -> Cost:
    return Cost(5 * x.size, 2 * x.nbytes)


@operator(traits=("normalization",))
def softmax(x: Array, *, axis: int = -1) -> Array:
    """``exp(x - max) / sum(exp(x - max))`` along ``axis`` (ONNX Softmax-13)."""
    if x.size == 0:
        return x.copy()
    wide = widened(x)
    e = np.exp(wide - wide.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True)).astype(x.dtype, copy=False)


@operator(traits=("normalization",))
def log_softmax(x: Array, *, axis: int = -1) -> Array:
    """``x - max - log(sum(exp(x - max)))`` along ``axis`` (ONNX LogSoftmax-13)."""
    if x.size == 0:
        return x.copy()
    wide = widened(x)
    shifted = wide - wide.max(axis=axis, keepdims=True)
    total = np.exp(shifted).sum(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(total)).astype(x.dtype, copy=False)


@operator(traits=("normalization",))
def hardmax(x: Array, *, axis: int = -1) -> Array:
    """1 at the first largest element along ``axis``, 0 elsewhere (ONNX Hardmax-13).

    The first NaN counts as the largest.
    """
    if x.size == 0:
        return x.copy()
    places = np.expand_dims(widened(x).argmax(axis=axis), axis)
    result = np.zeros(x.shape, np.float32)
    np.put_along_axis(result, places, 1.0, axis)
    return result.astype(x.dtype)


for _op in (softmax, log_softmax, hardmax):
    _op.infer(_infer)
    _op.cost(_cost)


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _softmax_rows(item, x, out):  # type: ignore[no-untyped-def]
    for k in range(x.shape[2]):
        largest = x[item, 0, k]
        for j in range(x.shape[1]):
            largest = max(largest, x[item, j, k])
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            e = math.exp(x[item, j, k] - largest)
            out[item, j, k] = e
            total += e
        scale = x.dtype.type(1) / total
        for j in range(x.shape[1]):
            out[item, j, k] *= scale


@softmax.kernel
def _(x: Operand, out: Operand, *, axis: int) -> Call:
    seen = x.split(axis)
    outer, extent, inner = seen.shape
    return Call(
        _softmax_rows,
        (seen, out.split(axis)),
        items=outer,
        chunk=extent * inner,
        reassociate=True,
    )


softmax.samples = [
    sample(tensor((2, 3, 4)), axis=1),
    sample(tensor((5, 7))),
    sample(tensor((0, 3))),
    sample(tensor((3, 0))),
    sample(values([[1e4, -1e4, 0.0], [-np.inf, 0.0, 1.0]])),
    sample(tensor((5, 9), "float64")),
    sample(tensor((4, 6), "float16")),
    sample(tensor((4, 6), "bfloat16")),
]
log_softmax.samples = [*softmax.samples]
hardmax.samples = [
    *softmax.samples,
    sample(values([[1.0, 3.0, 3.0], [np.nan, 0.0, 1.0], [0.0, np.nan, np.nan]])),
    sample(values([[1.0, 3.0, 3.0], [-np.inf, -np.inf, -np.inf]]), axis=0),
    sample(values([[-np.inf, -np.inf, -np.inf]])),
]
