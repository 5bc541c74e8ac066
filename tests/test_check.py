"""What ``check`` finds, and which graphs are the same."""

from __future__ import annotations

import numpy as np
import pytest

from opweave.ir import Graph, ModelError, Node, TensorType, check
from opweave.ir.same import same
from opweave.ops.elementwise_activation import leaky_relu, relu
from opweave.ops.elementwise_arithmetic import add, mul, neg

from .test_graph import X, chain


def broken(change: str) -> Graph:
    graph, values = chain(3)
    inside = graph._nx
    if change == "cycle":
        inside.add_edge(values[3].node, values[1].node)
    elif change == "edges":
        inside.remove_edge(values[1].node, values[2].node)
    elif change == "types":
        node = graph.node(values[1].node)
        wrong = (TensorType("float32", (1, 3)),)
        inside.nodes[node.name]["node"] = Node(node.name, node.op, node.inputs, {}, wrong)
    elif change == "attributes":
        node = graph.node(values[1].node)
        changed = Node(node.name, node.op, node.inputs, {"alpha": 1}, node.types)
        inside.nodes[node.name]["node"] = changed
    elif change == "array":
        graph.output(graph.param(np.ones(3), "p"))
        graph._params["p"] = np.ones(4)
    elif change == "inputs":
        graph._inputs.clear()
    return graph


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cycle", "has a cycle: relu -> "),
        ("edges", "edges do not agree"),
        ("types", r"inference gives float32\[n, 3\]; the node says float32\[1, 3\]"),
        ("attributes", "attributes are not those"),
        ("array", r"parameter 'p' is float64\[4\], not float64\[3\]"),
        ("inputs", "inputs do not agree"),
    ],
)
def test_check_finds(change: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check(broken(change))


def test_same_looks_at_what_matters() -> None:
    graph, _ = chain(2)
    other = Graph("another name")
    x = other.input("x", X)
    other.add(neg, x)
    other.output(other.add(relu, other.add(relu, x, name="first", origin="here")), "y")
    assert same(graph, other)
    assert not same(graph, chain(3)[0])
    renamed = chain(2)[0]
    renamed._output_names[0] = "z"
    assert not same(graph, renamed)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ({"alpha": 1.0}, {"alpha": 1}, False),
        ({"alpha": 0.0}, {"alpha": -0.0}, False),
        ({"alpha": float("nan")}, {"alpha": float("nan")}, True),
        ({"alpha": 0.5}, {"alpha": 0.5}, True),
    ],
)
def test_same_attributes(left: dict[str, float], right: dict[str, float], equal: bool) -> None:
    graphs = []
    for attributes in (left, right):
        graph = Graph("g")
        graph.output(graph.add(leaky_relu, graph.input("x", X), **attributes), "y")  # type: ignore[arg-type]
        graphs.append(graph)
    assert same(*graphs) == equal


def test_same_parameters_bit_by_bit() -> None:
    graphs = []
    for number in (0.0, -0.0, 0.0):
        graph = Graph("g")
        x = graph.input("x", X)
        graph.output(graph.add(mul, x, graph.param(np.array(number, np.float32))), "y")
        graphs.append(graph)
    assert not same(graphs[0], graphs[1])
    assert same(graphs[0], graphs[2])


def test_same_tells_shared_from_repeated() -> None:
    graphs = []
    for shared in (True, False):
        graph = Graph("g")
        x = graph.input("x", X)
        first = graph.add(relu, x)
        graph.output(graph.add(add, first, first if shared else graph.add(relu, x)), "y")
        graphs.append(graph)
    assert not same(graphs[0], graphs[1])
    assert not same(graphs[1], graphs[0])
