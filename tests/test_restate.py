"""Operators restated as others: fewer multiplications, the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opweave
from opweave.compiler.passes.restate import restate
from opweave.ir import Graph, TensorType, symbol
from opweave.ir.evaluate import evaluate
from opweave.ops.convolution import convolution
from opweave.ops.elementwise_arithmetic import add, mul
from opweave.ops.elementwise_functions import tanh
from opweave.ops.gather import gather
from opweave.ops.matmul import matmul
from opweave.ops.movement import concat, expand, tile
from opweave.ops.reduce import reduce_sum, reduce_sum_square
from opweave.targets.cpu.choices import Choices
from opweave.targets.cpu.dense.matmul import packed_matmul
from opweave.targets.cpu.dense.select import select_dense

Array = np.ndarray[Any, Any]


def random(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Seeded values between -1 and 1."""
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape).astype(np.float32)


def windows(x: Array, w: Array, stride: int, pad: int, dilation: int) -> Array:
    """Convolution of words [N, 1, T, E] with [M, 1, K, E] in float64, window by window."""
    rows = np.pad(x[:, 0].astype(np.float64), ((0, 0), (pad, pad), (0, 0)))
    taps = w.shape[2]
    count = (rows.shape[1] - dilation * (taps - 1) - 1) // stride + 1
    places = [np.arange(t * stride, t * stride + dilation * (taps - 1) + 1, dilation)
              for t in range(count)]  # fmt: skip
    found = [np.einsum("nke,mke->nm", rows[:, place], w[:, 0].astype(np.float64))
             for place in places]  # fmt: skip
    return np.stack(found, 2)[..., None]


@pytest.mark.parametrize(
    ("stride", "pad", "dilation", "open_rows"),
    [(1, 0, 1, False), (2, 1, 1, False), (1, 2, 2, False), (1, 1, 1, True)],
)
def test_convolutions_of_words(stride: int, pad: int, dilation: int, open_rows: bool) -> None:
    """A kernel over whole rows becomes one over points, in channels-last order."""
    graph, x, w = Graph("words"), random((2, 1, 11, 20)), random((7, 1, 3, 20))
    words = symbol("words") if open_rows else 11
    given = graph.input("x", TensorType("float32", (2, 1, words, 20)))
    bias = random((7,))
    result = graph.add(
        convolution,
        given,
        graph.param(w, "w"),
        graph.param(bias, "bias"),
        strides=(stride, 3),
        dilations=(dilation, 1),
        pads_begin=(pad, 0),
        pads_end=(pad, 0),
    )
    graph.output(result)
    expected = windows(x, w, stride, pad, dilation) + bias.reshape(-1, 1, 1)
    compiled = opweave.compile(graph, threads=1)(x)
    assert restate(graph) == 1
    (found,) = evaluate(graph, [x])
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(compiled - expected).max() < 1e-5


@pytest.mark.parametrize("repeated", ["expand", "tile"])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_of_what_is_repeated(repeated: str, transposed: bool) -> None:
    """Attention over the states of an encoder: the decoder's state is the same for each."""
    graph, w = Graph("attention"), random((5 + 12, 9))
    state = graph.input("state", TensorType("float32", (2, 1, 5)))
    states = graph.input("states", TensorType("float32", (2, 6, 12)))
    weights = graph.param(np.ascontiguousarray(w.T) if transposed else w, "w")
    for _ in range(2):
        if repeated == "expand":
            many = graph.add(expand, state, shape=(2, 6, 5))
        else:
            many = graph.add(tile, state, repeats=(1, 6, 1))
        joined = graph.add(concat, many, states, axis=2)
        graph.output(graph.add(tanh, graph.add(matmul, joined, weights, transpose_b=transposed)))
    a, b = random((2, 1, 5)), random((2, 6, 12))
    expected = np.tanh(np.concatenate([np.repeat(a, 6, 1), b], 2).astype(np.float64) @ w)
    compiled = opweave.compile(graph, threads=1).run(None, {"state": a, "states": b})
    assert restate(graph) >= 1
    assert [node.op for node in graph.operators()].count(matmul) == 2
    for found in (*evaluate(graph, [a, b]), *compiled):
        assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize(("steps", "products"), [(6, 1), (3, 1), (2, 2)])
def test_products_of_steps_that_were_written_out(steps: int, products: int) -> None:
    """Most steps of a sequence times the same weights are one product; few are not."""
    graph, w = Graph("steps"), random((5, 12))
    x = graph.input("x", TensorType("float32", (2, 6, 5)))
    weights = graph.param(w, "w")
    for step in range(steps):
        part = graph.add(gather, x, graph.param(np.asarray(step), f"t{step}"), axis=1)
        graph.output(graph.add(tanh, graph.add(matmul, part, weights)))
    a = random((2, 6, 5))
    compiled = opweave.compile(graph, threads=1).run(None, {"x": a})
    restate(graph)
    assert [node.op for node in graph.operators()].count(matmul) == products
    for step, (mine, theirs) in enumerate(zip(compiled, evaluate(graph, [a]), strict=True)):
        expected = np.tanh(a[:, step].astype(np.float64) @ w)
        assert np.abs(mine - expected).max() < 1e-5
        assert np.abs(theirs - expected).max() < 1e-5


@pytest.mark.parametrize(("rows", "inner", "columns"), [(40, 33, 7), (16, 130, 50), (64, 5, 16)])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("width", [4, 8, 16])
def test_a_matrix_that_only_a_run_knows(
    rows: int, inner: int, columns: int, transposed: bool, width: int
) -> None:
    """It is packed in every run, where enough rows share it."""
    shape = (1, columns, inner) if transposed else (1, inner, columns)
    graph = Graph("product")
    x = graph.input("x", TensorType("float32", (1, rows, inner)))
    w = graph.input("w", TensorType("float32", shape))
    graph.output(graph.add(matmul, x, w, transpose_b=transposed))
    a, b = random((1, rows, inner)), random(shape, 1)
    expected = a.astype(np.float64) @ (b.transpose(0, 2, 1) if transposed else b)
    if width == 16:
        compiled = opweave.compile(graph, threads=2)(a, b)
        assert np.abs(compiled - expected).max() < 1e-5
    assert select_dense(graph, Choices(width, False, 1)) == 1
    assert packed_matmul in [node.op for node in graph.operators()]
    (found,) = evaluate(graph, [a, b])
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_of_a_joined_column(first: bool, transposed: bool) -> None:
    """One more column beside a wide matrix is not worth a copy of it."""
    graph, w, bias = Graph("column"), random((81, 24)), random((24,), 1)
    x = graph.input("x", TensorType("float32", (symbol("rows"), 80)))
    column = graph.input("column", TensorType("float32", (symbol("rows"), 1)))
    joined = graph.add(concat, *((column, x) if first else (x, column)), axis=1)
    held = graph.param(np.ascontiguousarray(w.T) if transposed else w, "w")
    product = graph.add(matmul, joined, held, transpose_b=transposed)
    graph.output(graph.add(tanh, graph.add(add, product, graph.param(bias, "bias"))))
    a, b = random((10, 80)), random((10, 1))
    both = np.concatenate([b, a] if first else [a, b], 1).astype(np.float64)
    expected = np.tanh(both @ w + bias)
    compiled = opweave.compile(graph, threads=1).run(None, {"x": a, "column": b})
    assert restate(graph) >= 1
    assert concat not in [node.op for node in graph.operators()]
    for found in (*evaluate(graph, [a, b]), *compiled):
        assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("axes", [(1,), (-1,), (0, 2)])
def test_sums_of_squares(axes: tuple[int, ...]) -> None:
    """They are one reduction, unless others need the squares."""
    graph = Graph("squares")
    x = graph.input("x", TensorType("float32", (3, 39, 20)))
    graph.output(graph.add(reduce_sum, graph.add(mul, x, x), axes=axes, keepdims=False))
    a = random((3, 39, 20))
    expected = (a.astype(np.float64) ** 2).sum(axes)
    compiled = opweave.compile(graph, threads=1)(a)
    assert restate(graph) == 1
    assert [node.op for node in graph.operators()] == [reduce_sum_square]
    for found in (*evaluate(graph, [a]), compiled):
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("shared", [False, True])
def test_joined_rows_of_a_table(shared: bool) -> None:
    """Neighbours of two kinds are picked at once, where they are read together."""
    graph, held = Graph("neighbours"), random((50, 8))
    table = graph.param(held, "table")
    near = graph.input("near", TensorType("int64", (6, 4)))
    far = graph.input("far", TensorType("int64", (6, 3)))
    rows = [graph.add(gather, table, index, axis=0) for index in (near, far)]
    graph.output(graph.add(tanh, graph.add(concat, *rows, axis=1)))
    if shared:
        graph.output(graph.add(tanh, rows[0]))
    picked = np.random.default_rng(0)
    i, j = picked.integers(-50, 50, (6, 4)), picked.integers(0, 50, (6, 3))
    expected = [np.tanh(held[np.concatenate([i, j], 1)].astype(np.float64))]
    expected += [np.tanh(held[i].astype(np.float64))] * shared
    compiled = opweave.compile(graph, threads=1).run(None, {"near": i, "far": j})
    assert restate(graph) == 1
    gathers = [node.op for node in graph.operators()].count(gather)
    assert gathers == 1 + shared
    for found in (evaluate(graph, [i, j]), compiled):
        for one, wanted in zip(found, expected, strict=True):
            assert np.abs(one - wanted).max() < 1e-6
