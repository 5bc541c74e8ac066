"""Reading weights ahead: while one kernel computes, those of the next come into the caches.

Networks with more weights than the last cache holds read them from memory in every run. Dense
kernels leave the memory idle, so they fetch the next kernel's weights bit by bit: an operator
gets the next one's packed weights as its operand ``ahead``, and its register tiles touch a
part of them in every step.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....compiler.pass_ import Pass
from ....ir import Graph, Node, Op

# Fewer bytes are not worth it.
_LEAST_BYTES = 64 * 1024


def read_ahead_pass(weights: dict[Op, int], readers: frozenset[Op]) -> Pass:
    """The pass; ``weights`` gives the place of each operator's weights, ``readers`` can do it."""
    return Pass("read_ahead", lambda graph: _read_ahead(graph, weights, readers))


def _read_ahead(graph: Graph, weights: dict[Op, int], readers: frozenset[Op]) -> int:
    nodes = [node for node in graph.operators() if node.op in weights]
    known = [node for node in nodes if graph.is_param(node.operands[weights[node.op]])]
    heavy = [node for node in known if _bytes(graph, node, weights) >= _LEAST_BYTES]
    if sum(_bytes(graph, node, weights) for node in heavy) < _LEAST_BYTES or len(heavy) < 2:
        return 0
    changes = 0
    for node in nodes:
        if node.op not in readers:
            continue
        following = _following(nodes, node, heavy)
        value = following.operands[weights[following.op]]
        now = graph.node(node.name)
        place = [parameter.name for parameter in now.op.parameters].index("ahead")
        inputs = [*now.inputs, *[None] * (place + 1 - len(now.inputs))]
        inputs[place] = value
        new = graph.add_node(node.op, inputs, node.attrs, node.name, node.origin)
        graph.annotate(new.name, node.note)
        graph.take_over(node.name, new.name)
        changes += 1
    return changes


def _following(nodes: Sequence[Node], node: Node, heavy: Sequence[Node]) -> Node:
    """The next node with many weights; after the last, those of the next run's first."""
    names = {other.name for other in heavy}
    later = [other for other in nodes[nodes.index(node) + 1 :] if other.name in names]
    return later[0] if later else heavy[0]


def _bytes(graph: Graph, node: Node, weights: dict[Op, int]) -> int:
    return int(graph.type(node.operands[weights[node.op]]).nbytes)  # type: ignore[arg-type]
