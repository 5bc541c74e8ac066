"""Chains of operators that work row by row, computed a strip of rows at a time.

What lies between two of them never leaves the second cache: a strip of each is kept on the
thread's stack, and rows that the next strip needs again move to its beginning. Expansion,
depthwise convolution and projection of an inverted residual are such a chain.
"""

from __future__ import annotations

from typing import Any

from ....ir import Array, Call, Cost, Graph, ModelError, Operand, TensorType
from ....ir.evaluate import evaluate
from ....ops.define import operator
from ....ops.fused import cost_of_node
from ..emitted import ComposedBody
from .strip_stages import stages_of
from .strip_writer import StripPlan


@operator(name="cpu_strips", traits=("dot",))
def strips(*operands: Array, chain: Graph, rows: int, item_rows: int) -> Any:
    """The output of ``chain``: operators that each read the one before, [N, H, W, C] all.

    ``rows`` are those of a strip of the output, ``item_rows`` those of a work item.
    """
    return evaluate(chain, operands)[0]


@strips.infer
def _(*operands: TensorType, chain: Graph, rows: int, item_rows: int) -> TensorType:
    declared = tuple(chain.type(value) for value in chain.inputs)
    if declared != operands:
        raise ModelError(f"the chain takes {declared}; it is given {operands}")
    return chain.type(chain.outputs[0])


@strips.cost
def _(*operands: TensorType, chain: Graph, rows: int, item_rows: int) -> Cost:
    flops = sum((cost_of_node(chain, node).flops for node in chain.operators()), start=0)
    out = chain.type(chain.outputs[0])
    return Cost(flops, sum((type_.nbytes for type_ in (*operands, out)), start=0))


@strips.kernel
def _(
    operands: tuple[Operand, ...], out: Operand, *, chain: Graph, rows: int, item_rows: int
) -> Call:
    plan = StripPlan(stages_of(chain), len(operands), rows, item_rows)
    parts = tuple(stage.call for stage in plan.stages)
    views = tuple(operand.flat() for operand in (*operands, out))
    return Call(
        ComposedBody("strips", plan.key, parts, plan.write),
        views,
        items=out.shape[0] * plan.items,
        scalars=plan.extents,
    )
