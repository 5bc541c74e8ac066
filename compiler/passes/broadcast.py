"""Expansions in front of elementwise operators, which broadcast by themselves."""

from __future__ import annotations

from ...ir import Graph, ModelError, Node, Value
from ...ops.movement import expand
from .bodies import everywhere


def absorb_expansions(graph: Graph) -> int:
    """elementwise(expand(x), y) -> elementwise(x, y) where the result's type stays the same."""
    changes = 0
    for name in [node.name for node in graph.operators()]:
        if name not in graph:
            continue
        node = graph.node(name)  # as it is now: replacing others has changed its operands
        if "elementwise" not in node.op.traits or not any(
            _expanded(graph, value) for value in node.operands
        ):
            continue
        inputs = list(node.inputs)
        for position, value in enumerate(node.inputs):
            source = _expanded(graph, value)
            if source is None:
                continue
            attempt = [*inputs[:position], source, *inputs[position + 1 :]]
            if _same_types(graph, node, attempt):
                inputs = attempt
        if inputs != list(node.inputs):
            new = graph.add_node(node.op, inputs, node.attrs, node.name, node.origin)
            graph.take_over(name, new.name)
            changes += 1
    return changes


def _expanded(graph: Graph, value: Value | None) -> Value | None:
    """What an expansion expands."""
    if value is None:
        return None
    node = graph.node(value.node)
    return node.operands[0] if node.op is expand else None


def _same_types(graph: Graph, node: Node, inputs: list[Value | None]) -> bool:
    types = [None if value is None else graph.type(value) for value in inputs]
    try:
        return node.op.infer_types(types, node.attrs) == node.types
    except ModelError:
        return False


ABSORB_EXPANSIONS = everywhere("absorb_expansions", absorb_expansions)
