"""Matrix products."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ir import (
    Array,
    Call,
    Cost,
    Extent,
    ModelError,
    Operand,
    TensorType,
    UnsupportedError,
    View,
    broadcast,
    unify,
    workspace,
)
from ..ir.dim import ceil_divide, product
from .define import operator, same_type
from .half import widened
from .product_kernels import DEPTH, TILE, add_products, set_dot_products
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


@dataclass(frozen=True, slots=True)
class Batches:
    """Batch dimensions of a product, merged: extents and distances of both operands."""

    extents: tuple[Extent, Extent, Extent, Extent]
    left: tuple[Extent, Extent, Extent, Extent]
    right: tuple[Extent, Extent, Extent, Extent]


def _batches(a: TensorType, b: TensorType) -> Batches:
    batch = broadcast(a.shape[:-2], b.shape[:-2], what="matmul")
    merged: list[tuple[Extent, Extent, Extent]] = []
    left, right = (_batch_strides(type_.shape, len(batch)) for type_ in (a, b))
    for extent, step, other in zip(batch, left, right, strict=True):
        if extent == 1:
            continue
        if merged and merged[-1][1] == extent * step and merged[-1][2] == extent * other:
            merged[-1] = (merged[-1][0] * extent, step, other)
        else:
            merged.append((extent, step, other))
    if len(merged) > 4:
        raise UnsupportedError(f"matmul: {a} and {b} broadcast in more than four ways")
    filled = [(1, 0, 0)] * (4 - len(merged)) + merged
    return Batches(*(tuple(column) for column in zip(*filled, strict=True)))


def _batch_strides(shape: Sequence[Extent], rank: int) -> list[Extent]:
    """Distances between neighbouring matrices along ``rank`` batch dimensions."""
    strides: list[Extent] = []
    step = product(shape[-2:])
    for extent in reversed(shape[:-2]):
        strides.append(0 if extent == 1 else step)
        step = step * extent
    return ([0] * (rank - len(strides))) + strides[::-1]


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _product_block(  # type: ignore[no-untyped-def]
    item, a, b, out, e1, e2, e3, s0, s1, s2, s3, t0, t1, t2, t3,
    rows, inner, columns, row_block, column_block, a_row, a_inner,
):  # fmt: skip
    column_blocks = (columns + column_block - 1) // column_block
    row_blocks = (rows + row_block - 1) // row_block
    rest = item // column_blocks
    first_column = item % column_blocks * column_block
    end_column = min(first_column + column_block, columns)
    batch = rest // row_blocks
    first_row = rest % row_blocks * row_block
    count = min(row_block, rows - first_row)
    i3, rest = batch % e3, batch // e3
    i2, rest = rest % e2, rest // e2
    i1, i0 = rest % e1, rest // e1
    left = i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3 + first_row * a_row
    right = i0 * t0 + i1 * t1 + i2 * t2 + i3 * t3
    into = (batch * rows + first_row) * columns
    zero = out.dtype.type(0)
    for j in range(first_column, end_column, TILE):
        width = min(TILE, end_column - j)
        for i in range(count):
            for k in range(width):
                out[into + i * columns + j + k] = zero
        for p in range(0, inner, DEPTH):
            depth = min(DEPTH, inner - p)
            add_products(
                a, left + p * a_inner, a_row, a_inner, b, right + p * columns + j, columns,
                out, into + j, columns, count, depth, width,
            )  # fmt: skip


def _transposed_product_block(  # type: ignore[no-untyped-def]
    item, a, b, out, e1, e2, e3, s0, s1, s2, s3, t0, t1, t2, t3,
    rows, inner, columns, row_block, column_block,
):  # fmt: skip
    column_blocks = (columns + column_block - 1) // column_block
    row_blocks = (rows + row_block - 1) // row_block
    rest = item // column_blocks
    first_column = item % column_blocks * column_block
    end_column = min(first_column + column_block, columns)
    batch = rest // row_blocks
    first_row = rest % row_blocks * row_block
    count = min(row_block, rows - first_row)
    i3, rest = batch % e3, batch // e3
    i2, rest = rest % e2, rest // e2
    i1, i0 = rest % e1, rest // e1
    left = i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3 + first_row * inner
    right = i0 * t0 + i1 * t1 + i2 * t2 + i3 * t3
    into = (batch * rows + first_row) * columns
    # a strip of b's rows serves all rows of the block while it is in the cache
    for j in range(first_column, end_column, 16):
        set_dot_products(
            a, left, inner, b, right + j * inner, inner, out, into + j, columns,
            count, inner, min(16, end_column - j),
        )  # fmt: skip


def _transpose_matrix(item, x, out):  # type: ignore[no-untyped-def]
    for j in range(x.shape[2]):
        for i in range(x.shape[1]):
            out[item, j, i] = x[item, i, j]


@matmul.kernel
def _(a: Operand, b: Operand, out: Operand, *, transpose_a: bool, transpose_b: bool) -> list[Call]:
    left, right = a.type, b.type
    transpose_a = transpose_a and a.rank > 1
    if a.rank == 1:
        left = left.with_shape((1, *left.shape))
    if b.rank == 1:  # a column is a row of the transposed matrix
        right, transpose_b = right.with_shape((1, *right.shape)), True
    return product_calls(left, a.flat(), transpose_a, right, b.flat(), transpose_b, out.flat())


def product_calls(
    left: TensorType,
    a: View,
    transpose_a: bool,
    right: TensorType,
    b: View,
    transpose_b: bool,
    out: View,
    key: str = "right",
) -> list[Call]:
    """Calls that multiply matrices of the types ``left`` and ``right``, given as flat views.

    Both have rank 2 at least. ``key`` names the workspace that may be needed.
    """
    calls: list[Call] = []
    _, rows, inner, columns = _matrices(left, right, transpose_a, transpose_b)
    if transpose_b and (transpose_a or not _prefers_dots(rows, inner)):
        right, b = _transposed(right, b, key, calls)
        transpose_b = False
    batches = _batches(left, right)
    batch = product(batches.extents)
    if not transpose_a and all(step == 0 for step in batches.right):
        rows, batch = batch * rows, 1
        batches = Batches((1, 1, 1, 1), (0, 0, 0, 0), (0, 0, 0, 0))
    row_block, column_block, chunk = _blocks(batch, rows, columns)
    common = (*batches.extents[1:], *batches.left, *batches.right, rows, inner, columns)
    steps: tuple[Extent, ...] = ()
    if not transpose_b:
        steps = (1, rows) if transpose_a else (inner, 1)
    body = _transposed_product_block if transpose_b else _product_block
    call = Call(
        body,
        (a, b, out),
        items=batch * _count(rows, row_block) * _count(columns, column_block),
        scalars=(*common, row_block, column_block, *steps),
        chunk=chunk,
        reassociate=True,
    )
    return [*calls, call]


def _count(extent: Extent, block: Extent) -> Extent:
    return 1 if extent == block else ceil_divide(extent, block)


def _prefers_dots(rows: Extent, inner: Extent) -> bool:
    """Whether dot products serve a transposed operand better than a transposed copy of it."""
    return (isinstance(rows, int) and rows < 16) or (isinstance(inner, int) and inner >= 256)


def _transposed(
    type_: TensorType, view: View, key: str, calls: list[Call]
) -> tuple[TensorType, View]:
    """A transposed copy of matrices in a workspace."""
    *batch, rows, columns = type_.shape
    result = type_.with_shape((*batch, columns, rows))
    count = product(batch)
    scratch = workspace(key, type_.dtype, (type_.size,))
    calls.append(
        Call(
            _transpose_matrix,
            (
                View(view.source, view.dtype, (count, rows, columns)),
                View(scratch.source, scratch.dtype, (count, columns, rows)),
            ),
            items=count,
        )
    )
    return result, scratch


def _blocks(batch: Extent, rows: Extent, columns: Extent) -> tuple[Extent, Extent, Extent | None]:
    """Rows and columns of an item, and the elements it covers if they are contiguous."""
    if isinstance(rows, int) and rows <= 4:
        block = 128
        whole = batch == 1 or (isinstance(columns, int) and columns % block == 0)
        return max(rows, 1), block, block if rows == 1 and whole else None
    wide: Extent = columns if not isinstance(columns, int) else max(columns, 1)
    known = batch if isinstance(batch, int) else 1
    if not isinstance(rows, int):
        return 16, wide, 16 * wide if batch == 1 else None
    sizes = [size for size in (64, 32, 16, 8) if known * rows >= 32 * size] or [8]
    if batch == 1:
        return sizes[0], wide, sizes[0] * wide
    for size in (*sizes, 4):
        if rows % size == 0:
            return size, wide, size * wide
    return (rows, wide, rows * wide) if rows < 64 else (sizes[0], wide, None)


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
