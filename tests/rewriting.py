"""Graphs as text, and what a rewriting makes of them."""

from __future__ import annotations

import numpy as np

from opweave.compiler.pass_ import Pass
from opweave.ir import Array, Graph, check
from opweave.ir.data_type import is_float, numpy_type
from opweave.ir.dim import evaluate as evaluate_extent
from opweave.ir.dim import symbols_of
from opweave.ir.evaluate import evaluate
from opweave.ir.same import same
from opweave.ir.text import parse_graph
from opweave.ops.registry import operators


def graph_of(text: str) -> Graph:
    """A graph from the lines inside its braces; attributes left out have their defaults."""
    return parse_graph(f"graph g {{\n{text}\n}}", operators())


def random_inputs(graph: Graph, seed: int = 0) -> list[Array]:
    """Inputs of the right types; all symbols are small numbers."""
    random = np.random.default_rng(seed)
    types = [graph.type(value) for value in graph.inputs]
    names = sorted({symbol.name for type_ in types for symbol in symbols_of(type_.shape)})
    values = {name: 2 + number for number, name in enumerate(names)}
    arrays = []
    for type_ in types:
        shape = [evaluate_extent(extent, values) for extent in type_.shape]
        if is_float(type_.dtype):
            array: Array = random.uniform(-3, 3, shape)
        else:
            array = random.integers(0, 2, shape)
        arrays.append(np.asarray(array).astype(numpy_type(type_.dtype)))
    return arrays


def assert_close(graph: Graph, other: Graph, tolerance: float = 2e-6) -> None:
    """Both graphs compute the same on random inputs."""
    inputs = random_inputs(graph)
    for mine, theirs in zip(evaluate(graph, inputs), evaluate(other, inputs), strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        wide = mine.astype(np.float64)
        scale = tolerance * max(1.0, float(np.max(np.abs(wide), initial=0.0)))
        np.testing.assert_allclose(theirs.astype(np.float64), wide, rtol=0, atol=scale)


def assert_becomes(pass_: Pass, before: str, after: str, tolerance: float = 2e-6) -> None:
    graph = graph_of(before)
    original = graph.copy()
    pass_(graph)
    check(graph)
    expected = graph_of(after or before)
    assert same(graph, expected), f"{graph}is not\n{expected}"
    assert_close(original, graph, tolerance)


def assert_stays(pass_: Pass, text: str) -> None:
    graph = graph_of(text)
    assert pass_(graph) == 0, str(graph)
    assert same(graph, graph_of(text)), str(graph)


def members(graph: Graph) -> list[str]:
    """The operators of each node, in order; those of groups joined by ``+``."""
    found = []
    for node in graph.operators():
        group = node.attrs.get("group")
        inner = group.operators() if isinstance(group, Graph) else [node]
        found.append("+".join(each.op.name for each in inner))
    return found


X = "input x: float32[n, 4]\n"
Y = "\noutput y = y"
