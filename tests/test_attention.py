"""Attention in one pass, at three vector widths, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opweave.compiler.driver import compile_graph
from opweave.compiler.session import Session
from opweave.ir import Extent, Graph, TensorType, Value, symbol
from opweave.ir.evaluate import evaluate
from opweave.networks import trace
from opweave.networks.bert import BertCLSModel, BertConfig
from opweave.ops.elementwise_arithmetic import add, div, mul
from opweave.ops.matmul import matmul
from opweave.ops.movement import transpose
from opweave.ops.reshape import reshape
from opweave.ops.softmax import softmax

Array = np.ndarray[Any, Any]
COMPILED = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
Shape = tuple[int, int, int, int, int, int]  # batch, heads, queries, keys, depth, elements


def random(shape: tuple[int, ...], seed: int = 0, dtype: str = "float32") -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def attention_graph(
    shape: Shape, mask: str | None, *, is_open: bool = False, inside: bool = True,
    dtype: str = "float32", divided: bool = False,
) -> Graph:  # fmt: skip
    """Heads inside of rows (and the result brought back), or outside."""
    batch, heads, queries, keys, depth, elements = shape
    rows: Extent = symbol("rows") if is_open else queries
    others: Extent = symbol("others") if is_open else keys
    graph = Graph()

    def operand(name: str, length: Extent, width: int) -> Value:
        if not inside:
            return graph.input(name, TensorType(dtype, (batch, heads, length, width)))
        x = graph.input(name, TensorType(dtype, (batch, length, heads, width)))
        return graph.add(transpose, x, permutation=(0, 2, 1, 3))

    q, k = operand("q", rows, depth), operand("k", others, depth)
    v = operand("v", others, elements)
    scores = graph.add(matmul, q, k, transpose_b=True)
    factor = graph.param(np.asarray(4.0 if divided else 0.25, dtype), "factor")
    scores = graph.add(div if divided else mul, scores, factor)
    if mask is not None:
        known: dict[str, Extent] = dict(zip("bhqk1", (batch, heads, rows, others, 1), strict=True))
        m = graph.input("mask", TensorType(dtype, tuple(known[axis] for axis in mask)))
        scores = graph.add(add, m, scores)
    y = graph.add(matmul, graph.add(softmax, scores), v)
    graph.output(graph.add(transpose, y, permutation=(0, 2, 1, 3)) if inside else y)
    return graph


def operands(shape: Shape, mask: str | None, inside: bool, hidden: float) -> list[Array]:
    batch, heads, queries, keys, depth, elements = shape
    found = [
        random((batch, *((length, heads) if inside else (heads, length)), width), seed)
        for seed, (length, width) in enumerate([(queries, depth), (keys, depth), (keys, elements)])
    ]
    if mask is not None:
        sizes = dict(zip("bhqk1", (batch, heads, queries, keys, 1), strict=True))
        m = random(tuple(sizes[axis] for axis in mask), 3)
        hides = np.random.default_rng(4).random(m.shape) < hidden
        found.append(np.where(hides, -np.inf, m).astype(np.float32))
    return found


def wanted(inputs: list[Array], inside: bool) -> Array:
    q, k, v = (array.astype(np.float64) for array in inputs[:3])
    if inside:
        q, k, v = (array.transpose(0, 2, 1, 3) for array in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) * 0.25
    if len(inputs) > 3:
        scores = scores + inputs[3]
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        result = weights @ v / weights.sum(-1, keepdims=True)
    return result.transpose(0, 2, 1, 3) if inside else result


def operators(session: Session) -> list[str]:
    return [node.op.name for node in session.graph.operators()]


def assert_near(found: Any, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("width", [4, 8, 16])
@COMPILED
@given(
    shape=st.tuples(
        st.integers(1, 2), st.integers(1, 3), st.integers(1, 70), st.integers(1, 90),
        st.integers(1, 40), st.one_of(st.integers(4, 50), st.sampled_from([16, 32, 48])),
    ),
    more_keys=st.sampled_from([0, 0, 200, 500]),
    mask=st.sampled_from([None, "b11k", "11qk", "bhqk", "1h1k", "qk", "b1q1", "k"]),
    hidden=st.sampled_from([0.0, 0.4, 1.0]),
    is_open=st.booleans(),
    inside=st.booleans(),
    divided=st.booleans(),
)  # fmt: skip
def test_shapes_and_masks(
    width: int,
    shape: Shape,
    more_keys: int,
    mask: str | None,
    hidden: float,
    is_open: bool,
    inside: bool,
    divided: bool,
) -> None:
    batch, heads, queries, keys, depth, elements = shape
    shape = (batch, heads, queries, keys + more_keys, depth, elements)
    graph = attention_graph(shape, mask, is_open=is_open, inside=inside, divided=divided)
    session = compile_graph(graph, threads=1, vector_bits=32 * width)
    names = set(operators(session)) - {"reshape"}
    if heads > 1 and queries > 1 and keys > 1:
        assert names == {"cpu_attention"}
    inputs = operands(shape, mask, inside, hidden)
    assert_near(session(*inputs), wanted(inputs, inside))


def test_scores_that_are_not_finite() -> None:
    shape = (1, 2, 40, 300, 16, 16)
    inputs = operands(shape, "11qk", True, 0.0)
    inputs[3][..., 3, :280] = -np.inf  # a whole block of keys is hidden
    inputs[3][..., 4, :] = -np.inf
    inputs[3][..., 5, 7] = np.nan
    inputs[3][..., 6, :] = -1e38
    session = compile_graph(attention_graph(shape, "11qk"), threads=1)
    found = np.asarray(session(*inputs))
    assert np.isnan(found[:, 4:6]).all()
    mean = inputs[2].mean(axis=1)
    assert_near(found[:, 6], mean)  # what is added hides the scores from float32
    expected = wanted(inputs, True)
    expected[:, 6] = mean
    assert_near(found, expected)


def test_no_keys() -> None:
    shape = (1, 2, 20, 0, 16, 16)
    session = compile_graph(attention_graph(shape, "b11k", is_open=True), threads=1)
    assert "cpu_attention" in operators(session)
    found = session(*operands(shape, "b11k", True, 0.0))
    np.testing.assert_array_equal(found, np.zeros((1, 20, 2, 16)))


@pytest.mark.parametrize("threads", [2, 3])
def test_the_same_bits_on_any_threads(threads: int) -> None:
    shape = (2, 4, 100, 130, 32, 32)
    inputs = operands(shape, "b11k", True, 0.1)
    one, more = (
        compile_graph(attention_graph(shape, "b11k"), threads=number) for number in (1, threads)
    )
    np.testing.assert_array_equal(one(*inputs), more(*inputs))


def test_other_types_stay() -> None:
    shape = (1, 2, 20, 30, 16, 16)
    session = compile_graph(attention_graph(shape, None, dtype="float64"), threads=1)
    assert "cpu_attention" not in operators(session)
    inputs = operands(shape, None, True, 0.0)
    found = session(*(array.astype(np.float64) for array in inputs))
    np.testing.assert_allclose(found, wanted(inputs, True), rtol=0, atol=1e-12)


def test_few_elements_stay() -> None:
    shape = (1, 2, 20, 30, 16, 3)
    session = compile_graph(attention_graph(shape, "b11k"), threads=1)
    assert "cpu_attention" not in operators(session)
    inputs = operands(shape, "b11k", True, 0.0)
    assert_near(session(*inputs), wanted(inputs, True))


def test_scores_that_others_read_stay() -> None:
    graph = attention_graph((1, 2, 20, 30, 16, 16), None)
    (weights,) = (node for node in graph.operators() if node.op is softmax)
    graph.output(weights.outputs[0], "weights")
    assert "cpu_attention" not in operators(compile_graph(graph, threads=1))


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_one_product_for_queries_keys_and_values(is_open: bool, transposed: bool) -> None:
    batch, rows, heads, elements = 2, 12, 3, 16
    width = heads * elements
    extent: Extent = symbol("rows") if is_open else rows
    graph = Graph()
    x = graph.input("x", TensorType("float32", (batch, extent, width)))
    weights = [random((width, width), seed) / 4 for seed in range(3)]
    biases = [random((width,), 3 + seed) for seed in range(3)]
    parts = []
    for w, b in zip(weights, biases, strict=True):
        y = graph.add(matmul, x, graph.param(w, "w"), transpose_b=transposed)
        y = graph.add(add, y, graph.param(b, "b"))
        y = graph.add(reshape, y, shape=(batch, extent, heads, elements))
        parts.append(graph.add(transpose, y, permutation=(0, 2, 1, 3)))
    scores = graph.add(matmul, parts[0], parts[1], transpose_b=True)
    scores = graph.add(mul, scores, graph.param(np.float32(0.25), "factor"))
    y = graph.add(matmul, graph.add(softmax, scores), parts[2])
    graph.output(graph.add(transpose, y, permutation=(0, 2, 1, 3)))
    session = compile_graph(graph, threads=1)
    assert operators(session).count("cpu_packed_matmul") == 1
    data = random((batch, rows, width), 9)
    wide = [w.astype(np.float64).T if transposed else w.astype(np.float64) for w in weights]
    inputs = [
        (data @ w + b).reshape(batch, rows, heads, elements)
        for w, b in zip(wide, biases, strict=True)
    ]
    assert_near(session(data), wanted(inputs, True))


def test_bert_with_open_extents() -> None:
    config = BertConfig(50, 96, 1, 3, 40, max_position_embeddings=40)
    network = BertCLSModel(config, 3)
    network.init_parameters_data(0)
    type_ = TensorType("int32", (symbol("n", 1), symbol("t", 1, 40)))
    graph = trace(network, type_, type_, type_)
    session = compile_graph(graph, threads=1)
    assert "cpu_attention" in operators(session)
    for shape in ((1, 40), (3, 12)):
        ids = np.random.default_rng(0).integers(0, 2, shape, np.int32)
        (expected,) = evaluate(graph, [ids, ids, ids])
        assert_near(session(ids, ids, ids), expected)
