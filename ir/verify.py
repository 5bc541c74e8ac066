"""``check``: every invariant of a graph, verified."""

from __future__ import annotations

from .errors import ModelError
from .graph import Graph
from .node import INPUT, PARAMETER, LazyArray, Node
from .tensor_type import TensorType


def check(graph: Graph) -> None:
    """Raise ModelError when the graph breaks an invariant; costs one inference a node."""
    import networkx as nx

    view = graph.nx
    if not nx.is_directed_acyclic_graph(view):
        cycle = " -> ".join(source for source, _ in nx.find_cycle(view))
        raise ModelError(f"graph {graph.name!r} has a cycle: {cycle}")
    for node in graph.nodes():
        if set(view.predecessors(node.name)) != graph.dependencies(node):
            raise ModelError(f"{node}: edges do not agree with its operands")
        if node.op is PARAMETER:
            _check_param(graph, node)
        elif node.op is not INPUT:
            _check_operator(graph, node)
    declared = {value.node for value in graph.inputs}
    if declared != {node.name for node in graph.nodes() if node.op is INPUT}:
        raise ModelError(f"graph {graph.name!r}: inputs do not agree with its input nodes")
    for value in graph.outputs:
        graph.type(value)
    if len(set(graph.output_names)) != len(graph.outputs):
        raise ModelError(f"graph {graph.name!r}: output names are not unique")
    for name, (value, _) in graph.symbols.items():
        if graph.type(value).dtype != "int64":
            raise ModelError(f"symbol {name!r} is measured on {graph.type(value)}")


def _check_param(graph: Graph, node: Node) -> None:
    held = graph.params.get(node.name)
    if held is None:
        raise ModelError(f"parameter {node.name!r} has no array")
    type_ = held.type if isinstance(held, LazyArray) else TensorType.of(held)
    if node.types != (type_,):
        raise ModelError(f"parameter {node.name!r} is {type_}, not {node.types[0]}")


def _check_operator(graph: Graph, node: Node) -> None:
    node.op.check_inputs(node.inputs)
    if set(node.attrs) != set(node.op.attributes):
        raise ModelError(f"{node}: attributes are not those of the operator")
    types = [None if value is None else graph.type(value) for value in node.inputs]
    inferred = node.op.infer_types(types, node.attrs)
    if inferred != node.types:
        expected = ", ".join(map(str, inferred))
        found = ", ".join(map(str, node.types))
        raise ModelError(f"{node}: inference gives {expected}; the node says {found}")
