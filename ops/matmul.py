"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import Array, Cost, Extent, ModelError, TensorType, broadcast, unify
from .define import operator, same_type
from .half import widened
from .samples import sample, tensor, values


@operator(traits=("dot",))
def matmul(a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    """Matrix product with NumPy's rules for one-dimensional operands and batches (ONNX MatMul-13).

    ``transpose_a`` and ``transpose_b`` swap the operand's last two dimensions first; they do
    nothing to a one-dimensional operand. Integer products and sums wrap around.
    """
    left, right = widened(a), widened(b)
    left = left.swapaxes(-1, -2) if transpose_a and a.ndim > 1 else left
    right = right.swapaxes(-1, -2) if transpose_b and b.ndim > 1 else right
    return np.asarray(np.matmul(left, right)).astype(a.dtype, copy=False)


def _matrices(
    a: TensorType, b: TensorType, transpose_a: bool, transpose_b: bool
) -> tuple[tuple[Extent, ...], Extent, Extent, Extent]:
    """Batch extents, rows, inner extent and columns of the product."""
    if a.rank == 0 or b.rank == 0:
        raise ModelError(f"matmul: {a} and {b}: a scalar is no matrix")
    rows, inner = (1, *a.shape)[-2:]
    if transpose_a and a.rank > 1:
        rows, inner = inner, rows
    other, columns = b.shape[-2:] if b.rank > 1 else (b.shape[0], 1)
    if transpose_b and b.rank > 1:
        other, columns = columns, other
    inner = unify(inner, other, f"matmul of {a} and {b}")
    return broadcast(a.shape[:-2], b.shape[:-2], what="matmul"), rows, inner, columns


@matmul.infer
def _(a: TensorType, b: TensorType, *, transpose_a: bool, transpose_b: bool) -> TensorType:
    dtype = same_type("matmul", a, b)
    if dtype == "bool":
        raise ModelError("matmul does not take bool tensors")
    batch, rows, _, columns = _matrices(a, b, transpose_a, transpose_b)
    kept: Sequence[Extent] = [*((rows,) if a.rank > 1 else ()), *((columns,) if b.rank > 1 else ())]
    return TensorType(dtype, (*batch, *kept))


@matmul.cost
def _(a: TensorType, b: TensorType, *, transpose_a: bool, transpose_b: bool) -> Cost:
    batch, rows, inner, columns = _matrices(a, b, transpose_a, transpose_b)
    out = TensorType(a.dtype, (*batch, rows, columns))
    return Cost(2 * out.size * inner, a.nbytes + b.nbytes + out.nbytes)


matmul.samples = [
    sample(tensor((3, 4)), tensor((4, 5))),
    sample(tensor((9, 7)), tensor((7, 18))),
    sample(tensor((2, 3, 5, 6)), tensor((2, 3, 6, 4))),
    sample(tensor((2, 1, 5, 6)), tensor((3, 6, 4))),
    sample(tensor((3, 5, 6)), tensor((6, 4))),
    sample(tensor((5, 6)), tensor((3, 6, 4))),
    sample(tensor((6,)), tensor((6,))),
    sample(tensor((6,)), tensor((2, 6, 3))),
    sample(tensor((2, 5, 6)), tensor((6,))),
    sample(tensor((4, 3)), tensor((4, 5)), transpose_a=True),
    sample(tensor((7, 10)), tensor((9, 10)), transpose_b=True),
    sample(tensor((2, 4, 3)), tensor((2, 5, 4)), transpose_a=True, transpose_b=True),
    sample(tensor((2, 1, 4, 3)), tensor((5, 5, 4)), transpose_a=True, transpose_b=True),
    sample(tensor((1, 12)), tensor((12, 33))),
    sample(tensor((0, 4)), tensor((4, 5))),
    sample(tensor((3, 0)), tensor((0, 5))),
    sample(tensor((3, 0)), tensor((5, 0)), transpose_b=True),
    sample(values([[np.inf, 1.0], [np.nan, 0.0]]), values([[1.0, 0.5], [2.0, 0.25]])),
    sample(tensor((5, 6), "float64"), tensor((6, 7), "float64")),
    sample(tensor((5, 6), "float16"), tensor((6, 7), "float16")),
    sample(tensor((5, 6), "bfloat16"), tensor((6, 7), "bfloat16")),
    sample(tensor((5, 6), "int32", -9, 9), tensor((6, 7), "int32", -9, 9)),
    sample(tensor((5, 6), "int8", -128, 127), tensor((6, 7), "int8", -128, 127)),
    sample(tensor((5, 6), "uint64", 0, 9), tensor((7, 6), "uint64", 0, 9), transpose_b=True),
    sample(tensor((5, 6), "int64", -9, 9), tensor((6,), "int64", -9, 9)),
]
