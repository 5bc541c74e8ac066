"""Softmax and log-softmax over one axis."""

from __future__ import annotations

import math

import numpy as np

from ..ir import Array, Call, Cost, ModelError, Operand, TensorType
from ..ir.data_type import is_float
from .define import operator
from .samples import sample, tensor, values


def _infer(x: TensorType, *, axis: int) -> TensorType:
    x.axis(axis)
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
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


softmax.infer(_infer)
softmax.cost(_cost)


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
