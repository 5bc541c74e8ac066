"""Products with a constant matrix in seven eighths of the multiplications.

Both matrices are cut in quarters, and seven products of sums of quarters give what eight
products of quarters give (V. Strassen, "Gaussian Elimination is not Optimal", 1969, in the form
of S. Winograd with fewest sums). Rounding errors are bounded relative to the largest elements
of the matrices, not element by element; with matrices of like elements they are hardly larger.
"""

from __future__ import annotations

import math

import numpy as np

from ....ir import Array, Call, Cost, ModelError, Operand, TensorType, workspace
from ....ir.dim import product
from ....ops.define import operator
from ..emitted import EmittedBody
from ..spatial.scratch import Scratch
from .epilogue import Epilogue, applied
from .strassen_plan import PRODUCTS, QUARTERS, StrassenPlan, unpack_quarters
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
    threads: int = 1,
    low: float = -math.inf,
    high: float = math.inf,
) -> Array:
    """``x`` [..., K] times a matrix [K, columns] packed by ``pack_quarters``.

    ``bias``, ``residual``, ``low`` and ``high`` are the epilogue (see :mod:`.epilogue`),
    ``ahead`` weights that are needed next (see :mod:`.read_ahead`). The work is cut for
    ``threads``; what is computed is the same for any number of them.
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
    threads: int,
    low: float,
    high: float,
) -> TensorType:
    if x.rank < 1 or packed.rank != 6:
        raise ModelError(f"strassen product of {x} and {packed}")
    stages, chunks, pairs, quarters, depth, panel = packed.static_shape
    if stages not in (1, PRODUCTS) or quarters != QUARTERS or panel % width:
        raise ModelError(f"strassen product of {x} and {packed}")
    parts = 2 if stages == 1 else 4
    if x.shape[-1] != parts * chunks * depth:
        raise ModelError(f"strassen product of {x} and {packed}")
    most = parts * pairs * panel
    if not (most - panel < columns <= most if stages == 1 else columns == most):
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
    threads: int,
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
    threads: int,
    low: float,
    high: float,
) -> list[Call] | None:
    rows = product(x.shape[:-1])
    stages, chunks, pairs, _, depth, panel = packed.type.static_shape
    levels = 1 if stages == 1 else 2
    if not isinstance(rows, int) or rows % (1 << levels) or rows == 0:
        return None
    inner = chunks * depth << levels
    plan = StrassenPlan(rows, inner, columns, levels, pairs, chunks, depth, panel, width, threads)
    items = plan.groups * plan.parts
    scratch = Scratch(plan.row_factors, items)
    sums = workspace("sums", x.dtype, (plan.sums,))
    matrix = x.view(rows, inner)
    added = (bias, ahead, residual)
    more = tuple(operand.flat() for operand in added if operand is not None)
    epilogue = Epilogue(bias is not None, low, high)
    writer = StrassenWriter(plan, epilogue, ahead is not None, residual is not None, scratch)
    operands = (matrix, packed.flat(), out.view(rows, columns), sums, *scratch.views, *more)
    body = EmittedBody("strassen_matmul", writer.key, len(operands), columns, writer.write)
    return [scratch.clear(), Call(body, operands, items=items)]
