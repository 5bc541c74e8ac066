"""A fused group: several operators computed in one pass over memory."""

from __future__ import annotations

from typing import Any

from ..ir import Array, Cost, Graph, ModelError, Node, TensorType, unify
from ..ir.evaluate import evaluate
from .define import operator
from .elementwise_activation import relu
from .elementwise_arithmetic import sub
from .samples import sample, tensor
from .softmax import softmax


@operator(traits=("fused",))
def fused(*operands: Array, group: Graph) -> Any:
    """The outputs of ``group``, a closed graph of operators over ``operands``.

    At most one member is an anchor (a product, reduction, norm or pool, with its kernel);
    the others are elementwise on the shape of the output.
    """
    results = evaluate(group, operands)
    return results[0] if len(results) == 1 else tuple(results)


@fused.infer
def _(*operands: TensorType, group: Graph) -> tuple[TensorType, ...]:
    declared = tuple(group.type(value) for value in group.inputs)
    if declared != operands:
        raise ModelError(f"the group takes {declared}; it is given {operands}")
    for equality in group.equalities:  # what members assume of extents, the group assumes
        unify(equality.left, equality.right, f"fused: {equality.node}")
    return tuple(group.type(value) for value in group.outputs)


@fused.cost
def _(*operands: TensorType, group: Graph) -> Cost:
    flops = sum((cost_of_node(group, node).flops for node in group.operators()), start=0)
    outputs = [group.type(value) for value in group.outputs]
    return Cost(flops, sum((type_.nbytes for type_ in (*operands, *outputs)), start=0))


def cost_of_node(graph: Graph, node: Node) -> Cost:
    """The Cost of one node of a graph."""
    types = [None if value is None else graph.type(value) for value in node.inputs]
    return node.op.cost_of(types, node.attrs)


def describe(group: Graph) -> str:
    """The members' names in order, such as ``convolution+add+relu``."""
    return "+".join(node.op.name for node in group.operators())


def _sample_group(shape: tuple[int, ...], anchored: bool) -> Graph:
    """(softmax of) x, plus y, rectified."""
    group = Graph("group")
    x = group.input("x", TensorType("float32", shape))
    y = group.input("y", TensorType("float32", shape[-1:]))
    first = group.add(softmax, x) if anchored else x
    group.output(group.add(relu, group.add(sub, first, y)))
    return group


fused.samples = [
    sample(tensor(shape), tensor(shape[-1:]), group=_sample_group(shape, anchored))
    for shape in ((2, 3, 4), (0, 3), (5,))
    for anchored in (False, True)
]
