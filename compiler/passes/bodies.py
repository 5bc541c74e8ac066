"""Running a pass on the bodies of control flow too."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Graph
from ..pass_ import Pass


def everywhere(name: str, run: Callable[[Graph], int]) -> Pass:
    """A Pass that transforms a graph and all graphs in its control-flow nodes' attributes.

    Graphs in attributes are shared and never changed: a changed copy takes their place.
    """

    def transform(graph: Graph) -> int:
        changes = 0
        for name in [n.name for n in graph.operators() if "control" in n.op.traits]:
            node = graph.node(name)
            attrs = dict(node.attrs)
            inside = 0
            for key, value in node.attrs.items():
                if isinstance(value, Graph):
                    attrs[key] = value.copy()
                    inside += transform(attrs[key])
            if inside:
                changed = graph.add_node(node.op, node.inputs, attrs, name, node.origin)
                graph.take_over(name, changed.name)
                changes += inside
        return changes + run(graph)

    return Pass(name, transform)
