"""A graph as a picture, in the language of Graphviz: ``dot -Tsvg graph.dot``."""

from __future__ import annotations

from collections.abc import Iterator

from .graph import Graph
from .node import INPUT, PARAMETER, Node


def to_dot(graph: Graph) -> str:
    """``graph`` in Graphviz' language; graphs in attributes are boxes inside the picture."""
    lines = [f"digraph {_quoted(graph.name)} {{", '  node [shape=box, fontname="sans-serif"];']
    lines += [f"  {line}" for line in _lines(graph, "")]
    return "\n".join([*lines, "}"]) + "\n"


def _lines(graph: Graph, prefix: str) -> Iterator[str]:
    for node in graph.nodes():
        here = prefix + node.name
        yield f"{_quoted(here)} [{_style(node)}];"
        for position, value in enumerate(node.inputs):
            if value is not None:
                label = f"{value.index} to {position}" if value.index else str(position)
                edge = f"{_quoted(prefix + value.node)} -> {_quoted(here)}"
                yield f"{edge} [label={_quoted(label)}];" if len(node.inputs) > 1 else f"{edge};"
        for name in sorted(_measured(graph, node)):
            yield f"{_quoted(prefix + name)} -> {_quoted(here)} [style=dashed];"
        for key, value in node.attrs.items():
            if isinstance(value, Graph):
                yield f"subgraph {_quoted(f'cluster {here} {key}')} {{"
                yield f"  label={_quoted(f'{node.name}: {key}')};"
                yield from (f"  {line}" for line in _lines(value, f"{here}/{key}/"))
                yield "}"
    for value, name in zip(graph.outputs, graph.output_names, strict=True):
        here = _quoted(f"{prefix}output {name}")
        yield f"{here} [label={_quoted(name)}, shape=ellipse];"
        yield f"{_quoted(prefix + value.node)} -> {here};"


def _measured(graph: Graph, node: Node) -> set[str]:
    """Nodes that give symbols which ``node`` mentions."""
    return graph.dependencies(node) - {value.node for value in node.operands}


def _style(node: Node) -> str:
    given = node.op is INPUT or node.op is PARAMETER
    title = node.name if given else f"{node.op.name} {node.name}"
    label = _quoted("\n".join((title, *map(str, node.types))))
    shape = ", shape=ellipse" if node.op is INPUT else ""
    return f"label={label}{shape}{', style=dotted' if node.op is PARAMETER else ''}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
