"""Packing the columns of a matrix that only a run knows."""

from __future__ import annotations

from ....ir import Array, Call, Cost, ModelError, Operand, TensorType
from ....ir.dim import ceil_divide
from ....ops.define import operator
from ....ops.samples import sample, tensor
from .matmul import pack_columns

# Steps of the inner extent that a work item packs.
_STEPS = 128


@operator(name="cpu_pack_columns")
def packed_columns(matrix: Array, *, panel: int, transposed: bool) -> Array:
    """``matrix`` [K, N], or [N, K] if it is ``transposed``, as panels [panels, K, panel]."""
    return pack_columns(matrix.T if transposed else matrix, panel)


@packed_columns.infer
def _(matrix: TensorType, *, panel: int, transposed: bool) -> TensorType:
    if matrix.rank != 2:
        raise ModelError(f"packing the columns of {matrix}")
    inner, columns = matrix.shape[::-1] if transposed else matrix.shape
    return matrix.with_shape((ceil_divide(columns, panel), inner, panel))


@packed_columns.cost
def _(matrix: TensorType, *, panel: int, transposed: bool) -> Cost:
    return Cost(0, 2 * matrix.nbytes)


@packed_columns.kernel
def _(matrix: Operand, out: Operand, *, panel: int, transposed: bool) -> Call:
    inner, columns = matrix.shape[::-1] if transposed else matrix.shape
    blocks = ceil_divide(inner, _STEPS)
    return Call(
        _pack_rows if transposed else _pack_columns,
        (matrix.view(*matrix.shape), out.view(ceil_divide(columns, panel), inner, panel)),
        items=ceil_divide(columns, panel) * blocks,
        scalars=(inner, columns, panel, blocks, _STEPS),
    )


def _pack_columns(item, w, out, inner, columns, panel, blocks, steps):  # type: ignore[no-untyped-def]
    zero = out.dtype.type(0)
    number, first = item // blocks, item % blocks * steps
    column = number * panel
    count = min(panel, columns - column)
    for k in range(first, min(first + steps, inner)):
        for j in range(count):
            out[number, k, j] = w[k, column + j]
        for j in range(count, panel):
            out[number, k, j] = zero


def _pack_rows(item, w, out, inner, columns, panel, blocks, steps):  # type: ignore[no-untyped-def]
    zero = out.dtype.type(0)
    number, first = item // blocks, item % blocks * steps
    column = number * panel
    count = min(panel, columns - column)
    for k in range(first, min(first + steps, inner)):
        for j in range(count):
            out[number, k, j] = w[column + j, k]
        for j in range(count, panel):
            out[number, k, j] = zero


packed_columns.samples = [
    sample(tensor((5, 7)), panel=4, transposed=False),
    sample(tensor((7, 300)), panel=4, transposed=True),
    sample(tensor((130, 3)), panel=16, transposed=False),
]
