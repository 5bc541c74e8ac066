"""Products with a constant matrix in seven eighths of the multiplications.

Both matrices are cut in quarters, and seven products of sums of quarters give what eight
products of quarters give (V. Strassen, "Gaussian Elimination is not Optimal", 1969, in the form
of S. Winograd with fewest sums). Rounding errors are bounded relative to the largest elements
of the matrices, not element by element; with matrices of like elements they are hardly larger.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....ir import Array, Call, Cost, ModelError, Operand, TensorType, workspace
from ....ir.dim import product
from ....ops.define import operator
from ..emitted import EmittedBody
from .epilogue import Epilogue, applied
from .strassen_plan import BLOCK, QUARTERS, StrassenPlan, unpack_quarters
from .strassen_writer import StrassenWriter


@operator(name="cpu_strassen_matmul", traits=("dot",))
def strassen_matmul(
    x: Array,
    packed: Array,
    bias: Array | None = None,
    ahead: Array | None = None,
    residual: Array | None = None,
    *,
    columns: int,
    width: int,
    low: float = -math.inf,
    high: float = math.inf,
) -> Array:
    """``x`` [..., K] times a matrix [K, columns] packed by ``pack_quarters``.

    ``bias``, ``residual``, ``low`` and ``high`` are the epilogue (see :mod:`.epilogue`),
    ``ahead`` weights that are needed next (see :mod:`.read_ahead`).
    """
    result = x.astype(np.float64) @ unpack_quarters(packed, columns)
    return applied(result, bias, low, high, residual).astype(x.dtype)


@strassen_matmul.infer
def _(
    x: TensorType,
    packed: TensorType,
    bias: TensorType | None = None,
    ahead: TensorType | None = None,
    residual: TensorType | None = None,
    *,
    columns: int,
    width: int,
    low: float,
    high: float,
) -> TensorType:
    if x.rank < 1 or packed.rank != 5:
        raise ModelError(f"strassen product of {x} and {packed}")
    pairs, chunks, quarters, depth, panel = packed.static_shape
    if x.shape[-1] != 2 * chunks * depth or quarters != QUARTERS or panel % width:
        raise ModelError(f"strassen product of {x} and {packed}")
    if not (2 * pairs - 1) * panel < columns <= 2 * pairs * panel:
        raise ModelError(f"strassen product of {x} and {packed} with {columns} columns")
    if bias is not None and bias.shape != (columns,):
        raise ModelError(f"strassen product with {columns} columns and a bias {bias}")
    out = x.with_shape((*x.shape[:-1], columns))
    if residual is not None and residual != out:
        raise ModelError(f"strassen product {out} and a residual {residual}")
    return out


@strassen_matmul.cost
def _(
    x: TensorType,
    packed: TensorType,
    bias: TensorType | None = None,
    ahead: TensorType | None = None,
    residual: TensorType | None = None,
    *,
    columns: int,
    width: int,
    low: float,
    high: float,
) -> Cost:
    out = product(x.shape[:-1]) * columns
    added = 0 if residual is None else out
    return Cost(2 * out * x.shape[-1] + added, x.nbytes + packed.nbytes + 4 * (out + added))


@strassen_matmul.kernel
def _(
    x: Operand,
    packed: Operand,
    bias: Operand | None,
    ahead: Operand | None,
    residual: Operand | None,
    out: Operand,
    *,
    columns: int,
    width: int,
    low: float,
    high: float,
) -> list[Call] | None:
    rows = product(x.shape[:-1])
    if not isinstance(rows, int) or rows % 2 or rows == 0:
        return None
    pairs, chunks, _, depth, panel = packed.type.static_shape
    plan = StrassenPlan(rows, 2 * chunks * depth, columns, pairs, chunks, depth, panel, width)
    factors = workspace("factors", x.dtype, (plan.row_factors,))
    matrix = x.view(rows, plan.inner)
    added = (bias, ahead, residual)
    more = tuple(operand.flat() for operand in added if operand is not None)
    epilogue = Epilogue(bias is not None, low, high)
    writer = StrassenWriter(plan, epilogue, ahead is not None, residual is not None)
    body = EmittedBody("strassen_matmul", writer.key, 4 + len(more), columns, writer.write)
    heights = plan.heights
    sizes = (chunks, depth, heights[0], heights.count(heights[0]), len(heights))
    operands = (matrix, packed.flat(), out.view(rows, columns), factors, *more)
    return [
        Call(_row_factors, (matrix, factors), items=rows // 2, scalars=(rows // 2, *sizes)),
        Call(body, operands, items=pairs * plan.groups),
    ]


def _tile_of(row: Any, high: Any, highest: Any) -> Any:
    """The tile that a row is in: the ``highest`` first ones have ``high`` rows, others one less."""
    below = row - highest * high
    return row // high if below < 0 else highest + below // (high - 1)


def _row_of(row: Any, high: Any, highest: Any) -> Any:
    """Which row of its tile a row is."""
    below = row - highest * high
    return row % high if below < 0 else below % (high - 1)


def _row_factors(item, x, factors, half, chunks, depth, high, highest, tiles):  # type: ignore[no-untyped-def]
    """What the products take of one row of the upper half and one of the lower half.

    In the order of the tiles: A11, A12, S2, S3, A22, S1, S4.
    """
    tile, row = _tile_of(item, high, highest), _row_of(item, high, highest)
    blocks = (depth + BLOCK - 1) // BLOCK
    size = blocks * high * BLOCK
    for chunk in range(chunks):
        base = (chunk * tiles + tile) * 7 * size + row * BLOCK
        for block in range(blocks):
            target = base + block * high * BLOCK
            left = 2 * chunk * depth + block * BLOCK
            right = left + depth
            for k in range(min(BLOCK, depth - block * BLOCK)):
                a11 = x[item, left + k]
                a12 = x[item, right + k]
                a21 = x[half + item, left + k]
                a22 = x[half + item, right + k]
                s1 = a21 + a22
                s2 = s1 - a11
                factors[target + k] = a11
                factors[target + size + k] = a12
                factors[target + 2 * size + k] = s2
                factors[target + 3 * size + k] = a11 - a21
                factors[target + 4 * size + k] = a22
                factors[target + 5 * size + k] = s1
                factors[target + 6 * size + k] = a12 - s2
