"""A softmax and what is computed just before it, in one pass over rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import opweave
from opweave.compiler.driver import prepared_graph
from opweave.compiler.options import CompileOptions
from opweave.ir import Extent, Graph, TensorType, Value, check, symbol
from opweave.ops.elementwise_activation import leaky_relu, relu
from opweave.ops.elementwise_arithmetic import add, mul
from opweave.ops.softmax import log_softmax, softmax
from opweave.targets.cpu.target import TARGET

Array = np.ndarray[Any, Any]


def attention(
    rows: Extent, columns: int, dtype: str, logarithm: bool, tail: bool, kept: bool
) -> Graph:
    """Weights of a graph's attention: leaky_relu(a + b) + mask, a softmax, perhaps a factor."""
    graph = Graph("attention")
    a = graph.input("a", TensorType(dtype, (2, rows, 1)))
    b = graph.input("b", TensorType(dtype, (2, 1, columns)))
    mask = graph.input("mask", TensorType(dtype, (2, rows, columns)))
    scores = graph.add(leaky_relu, graph.add(add, a, b), alpha=0.2)
    scores = graph.add(add, scores, mask)
    result: Value = graph.add(log_softmax if logarithm else softmax, scores, axis=-1)
    if tail:
        factor = graph.param(np.asarray([0.5], dtype), "factor")
        result = graph.add(mul, graph.add(relu, graph.add(mul, result, factor)), b)
    graph.output(result)
    if kept:
        graph.output(scores)
    check(graph)
    return graph


def expected(a: Array, b: Array, mask: Array, logarithm: bool, tail: bool) -> Array:
    """The same in float64."""
    total = a.astype(np.float64) + b
    scores = np.where(total < 0, 0.2 * total, total) + mask
    shifted = scores - scores.max(-1, keepdims=True)
    sums = np.exp(shifted).sum(-1, keepdims=True)
    result = shifted - np.log(sums) if logarithm else np.exp(shifted) / sums
    return np.maximum(result * 0.5, 0) * b if tail else result


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    rows=st.integers(1, 70),
    columns=st.sampled_from([1, 3, 17, 40, 128, 333]),
    dtype=st.sampled_from(["float32", "float64"]),
    flags=st.tuples(*[st.booleans()] * 4),
    threads=st.sampled_from([1, 2]),
)
def test_what_is_before_a_softmax(
    rows: int, columns: int, dtype: str, flags: tuple[bool, ...], threads: int
) -> None:
    """All sizes, with and without members behind it, open and known numbers of rows."""
    logarithm, tail, kept, is_open = flags
    graph = attention(symbol("rows") if is_open else rows, columns, dtype, logarithm, tail, kept)
    random = np.random.default_rng(rows * 1000 + columns)
    a, b, mask = (
        random.uniform(-3, 3, shape).astype(dtype)
        for shape in ((2, rows, 1), (2, 1, columns), (2, rows, columns))
    )
    names = ("a", "b", "mask")
    found = opweave.compile(graph, threads=threads).run(
        None, dict(zip(names, (a, b, mask), strict=True))
    )
    wanted = expected(a, b, mask, logarithm, tail)
    assert np.abs(found[0] - wanted).max() < 2e-5


@pytest.mark.parametrize(("kept", "nodes"), [(False, 1), (True, 2)])
def test_scores_that_others_read_are_written(kept: bool, nodes: int) -> None:
    """One node computes everything, unless the scores are an output too."""
    graph = attention(64, 300, "float32", False, True, kept)
    prepared = prepared_graph(graph, TARGET, None, CompileOptions(threads=1))
    assert len(list(prepared.operators())) == nodes
