"""Determinants of square matrices."""

from __future__ import annotations

import numpy as np

from ..ir import Array, Call, Cost, ModelError, Operand, TensorType, unify, workspace
from ..ir.data_type import is_float
from ..ir.dim import product
from .define import operator
from .half import widened
from .samples import sample, tensor, values


@operator
def det(x: Array) -> Array:
    """The determinant of each matrix in the last two dimensions (ONNX Det-22)."""
    return np.asarray(np.linalg.det(widened(x))).astype(x.dtype)


@det.infer
def _(x: TensorType) -> TensorType:
    if not is_float(x.dtype):
        raise ModelError(f"det takes floating-point tensors, not {x.dtype}")
    if x.rank < 2:
        raise ModelError(f"det: {x} is no matrix")
    unify(x.shape[-1], x.shape[-2], f"det: {x} is not square")
    return x.with_shape(x.shape[:-2])


@det.cost
def _(x: TensorType) -> Cost:
    return Cost(x.size * x.shape[-1], x.nbytes)


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _eliminate(item, x, work, out):  # type: ignore[no-untyped-def]
    # Gaussian elimination; the largest element of a column becomes its pivot
    size = x.shape[1]
    for i in range(size):
        for j in range(size):
            work[item, i, j] = x[item, i, j]
    result = out.dtype.type(1)
    for k in range(size):
        pivot = k
        for i in range(k + 1, size):
            if abs(work[item, i, k]) > abs(work[item, pivot, k]):
                pivot = i
        if pivot != k:
            result = -result
            for j in range(size):
                kept = work[item, k, j]
                work[item, k, j] = work[item, pivot, j]
                work[item, pivot, j] = kept
        divisor = work[item, k, k]
        result = result * divisor
        if divisor != out.dtype.type(0):
            for i in range(k + 1, size):
                factor = work[item, i, k] / divisor
                for j in range(k, size):
                    work[item, i, j] -= factor * work[item, k, j]
    out[item] = result


@det.kernel
def _(x: Operand, out: Operand) -> Call:
    batch, size = product(x.shape[:-2]), x.shape[-1]
    work = workspace("work", x.dtype, (batch, size, size))
    return Call(_eliminate, (x.view(batch, size, size), work, out.flat()), items=batch, chunk=1)


det.samples = [
    sample(tensor((3, 3))),
    sample(tensor((2, 3, 5, 5)), tolerance=1e-4),
    sample(tensor((2, 1, 1))),
    sample(values([[1.0, 2.0], [2.0, 4.0]])),
    sample(values([[0.0, 1.0], [1.0, 0.0]])),
    sample(values([[0.0, 0.0], [0.0, 0.0]])),
    sample(tensor((0, 2, 2))),
    sample(tensor((2, 0, 0))),
    sample(tensor((4, 4), "float64")),
]
