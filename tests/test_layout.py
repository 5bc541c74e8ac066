"""Storing images channels last: the same results, and no more transpositions than need be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from opweave.compiler.options import CompileOptions
from opweave.compiler.passes import CLEAN_UP
from opweave.ir import Array, Graph, TensorType, Value, check
from opweave.ir.dim import symbol
from opweave.ir.evaluate import evaluate
from opweave.ops.convolution import convolution
from opweave.ops.convolution_transpose import convolution_transpose
from opweave.ops.elementwise_activation import relu, sigmoid
from opweave.ops.elementwise_arithmetic import add, mul
from opweave.ops.matmul import matmul
from opweave.ops.max_pool import max_pool
from opweave.ops.movement import concat, slice_, transpose
from opweave.ops.pad import pad
from opweave.ops.pool import average_pool
from opweave.ops.reduce import reduce_max, reduce_mean
from opweave.ops.reshape import reshape
from opweave.ops.resize import resize
from opweave.ops.softmax import softmax
from opweave.targets.cpu.choices import Choices
from opweave.targets.cpu.layout.channels_last import store_channels_last

CHOICES = Choices.of(CompileOptions(threads=1))


def random(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def moved(graph: Graph) -> Graph:
    """A copy of the graph after the pass."""
    result = graph.copy()
    store_channels_last(result, CHOICES)
    CLEAN_UP(result)
    check(result)
    return result


def transpositions(graph: Graph) -> int:
    return sum(node.op is transpose for node in graph.operators())


def convolved(graph: Graph, x: Value, maps: int, size: int = 3, stride: int = 1) -> Value:
    channels = graph.type(x).shape[1]
    weights = graph.param(random((maps, int(channels), size, size), maps + size), "w")  # type: ignore[arg-type]
    pads = (size // 2, size // 2)
    return graph.add(
        convolution, x, weights, strides=(stride, stride), pads_begin=pads, pads_end=pads
    )


def assert_same(graph: Graph, other: Graph, *inputs: Array) -> None:
    for mine, theirs in zip(evaluate(graph, inputs), evaluate(other, inputs), strict=True):
        assert mine.shape == theirs.shape
        scale = max(1.0, float(np.abs(mine).max(initial=0)))
        np.testing.assert_allclose(theirs, mine, rtol=0, atol=1e-5 * scale)


@st.composite
def images(draw: st.DrawFn) -> Graph:
    """A network on images of open batch, of operators that mind their layout and that do not."""
    graph = Graph()
    channels = draw(st.sampled_from([1, 3, 12]))
    first = graph.input("x", TensorType("float32", (symbol("n"), channels, 6, 7)))
    values = [convolved(graph, first, 4) if draw(st.booleans()) else first]
    for _ in range(draw(st.integers(1, 8))):
        x = draw(st.sampled_from(values))
        channels = int(graph.type(x).shape[1])  # type: ignore[arg-type]
        choice = draw(st.sampled_from(sorted(STEPS)))
        values.append(STEPS[choice](graph, x, channels, draw(st.sampled_from(values))))
    for value in values[-2:]:
        graph.output(value)
    return graph


def _joined(graph: Graph, x: Value, channels: int, other: Value) -> Value:
    """Concatenation, where the sizes allow it."""
    if graph.type(x).shape[2:] != graph.type(other).shape[2:]:
        return graph.add(relu, x)
    return graph.add(concat, x, other, axis=1)


def _added(graph: Graph, x: Value, channels: int, other: Value) -> Value:
    if graph.type(x).shape != graph.type(other).shape:
        return graph.add(sigmoid, x)
    return graph.add(add, x, other)


def _gated(graph: Graph, x: Value, channels: int, other: Value) -> Value:
    """Squeeze and excitation."""
    gate = graph.add(reduce_mean, x, axes=(2, 3))
    return graph.add(mul, x, graph.add(sigmoid, convolved(graph, gate, channels, 1)))


def _round_trip(graph: Graph, x: Value, channels: int, other: Value) -> Value:
    """What attention blocks do: pixels as rows of a matrix, and back."""
    n, c, h, w = graph.type(x).shape
    y = graph.add(transpose, graph.add(reshape, x, shape=(n, c, h * w)), permutation=(0, 2, 1))
    y = graph.add(matmul, y, graph.param(random((channels, channels), 5), "m"))
    y = graph.add(transpose, y, permutation=(0, 2, 1))
    return graph.add(reshape, y, shape=(n, c, h, w))


def _sliced(graph: Graph, x: Value, channels: int, other: Value) -> Value:
    n, c, h, w = graph.type(x).shape
    return graph.add(
        slice_, x, starts=(0, channels // 2, 0, 0), sizes=(n, c - channels // 2, h, w),
        steps=(1, 1, 1, 1),
    )  # fmt: skip


def _resized(graph: Graph, x: Value, channels: int, other: Value) -> Value:
    n, c, h, w = graph.type(x).shape
    return graph.add(resize, x, sizes=(n, c, h * 2, w), mode="nearest")


STEPS = {
    "convolution": lambda g, x, c, o: convolved(g, x, 5),
    "strided": lambda g, x, c, o: convolved(g, x, 8, 3, 2),
    "pointwise": lambda g, x, c, o: convolved(g, x, 4, 1),
    "grouped": lambda g, x, c, o: g.add(
        convolution, x, g.param(random((2 * c, 1, 3, 3), 7), "w"), groups=c,
        pads_begin=(1, 1), pads_end=(1, 1),
    ),
    "relu": lambda g, x, c, o: g.add(relu, x),
    "scaled": lambda g, x, c, o: g.add(mul, x, g.param(random((c, 1, 1), 8), "s")),
    "shifted": lambda g, x, c, o: g.add(add, g.param(random((), 9), "t"), x),
    "added": _added,
    "concat": _joined,
    "pool": lambda g, x, c, o: g.add(
        max_pool, x, kernel=(3, 3), strides=(1, 1), pads_begin=(1, 1), pads_end=(1, 1)
    ),
    "gate": _gated,
    "round trip": _round_trip,
    "slice": _sliced,
    "pad": lambda g, x, c, o: g.add(pad, x, before=(0, 0, 1, 0), after=(0, 1, 0, 2)),
    "resize": _resized,
    "softmax": lambda g, x, c, o: g.add(softmax, x, axis=1),
    "largest": lambda g, x, c, o: g.add(reduce_max, x, axes=(1,)),
}  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(images())
def test_results_stay(graph: Graph) -> None:
    shape = graph.type(graph.inputs[0]).shape
    inputs = random((2, *(int(extent) for extent in shape[1:])), 3)  # type: ignore[arg-type]
    assert_same(graph, moved(graph), inputs)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_transposed_convolutions(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3))

    def numbers(low: int, high: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(low, high)) for _ in range(rank))

    kernel, strides, sizes = numbers(1, 5), numbers(1, 3), numbers(1, 5)
    begin, end, padding = numbers(0, 2), numbers(0, 2), numbers(0, 2)
    least = [(sizes[k] - 1) * strides[k] + kernel[k] - begin[k] - end[k] for k in range(rank)]
    assume(min(least) > 0)
    graph = Graph()
    x = graph.input("x", TensorType("float32", (symbol("n"), 3, *sizes)))
    w, bias = graph.param(random((3, 4, *kernel), 1)), graph.param(random((4,), 2))
    padding = tuple(min(p, s - 1) for p, s in zip(padding, strides, strict=True))
    y = graph.add(
        convolution_transpose, x, w, bias, strides=strides, pads_begin=begin, pads_end=end,
        output_padding=padding,
    )  # fmt: skip
    graph.output(graph.add(relu, y))
    result = moved(graph)
    assert not any(node.op is convolution_transpose for node in result.operators())
    assert_same(graph, result, random((2, 3, *sizes), 3))


def test_a_chain_is_transposed_at_its_ends_only() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (symbol("n"), 16, 14, 14)))
    y = graph.add(relu, convolved(graph, x, 24))
    z = graph.add(add, convolved(graph, y, 24), y)
    z = graph.add(concat, z, graph.add(max_pool, y, kernel=(1, 1)), axis=1)
    graph.output(convolved(graph, graph.add(mul, z, graph.param(random((48, 1, 1)), "s")), 8))
    result = moved(graph)
    assert transpositions(result) == 2
    assert_same(graph, result, random((1, 16, 14, 14)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_first_layer_reads_the_image_as_it_is(channels: int) -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (1, channels, 14, 14)))
    y = graph.add(reduce_mean, convolved(graph, x, 8), axes=(2, 3), keepdims=False)
    graph.output(y)
    result = moved(graph)
    assert transpositions(result) == 0
    assert_same(graph, result, random((1, channels, 14, 14)))


def test_attention_on_pixels_needs_no_transposition() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (1, 3, 8, 8)))
    y = _round_trip(graph, convolved(graph, x, 8), 8, x)
    graph.output(graph.add(reduce_mean, convolved(graph, y, 8), axes=(2, 3), keepdims=False))
    result = moved(graph)
    assert transpositions(result) <= 1
    assert_same(graph, result, random((1, 3, 8, 8)))


@pytest.mark.parametrize(("channels", "moves"), [(15, 0), (16, 2), (40, 2)])
def test_pools_with_many_channels_are_worth_transpositions(channels: int, moves: int) -> None:
    graph = Graph("pools")
    x = graph.input("x", TensorType("float32", (2, channels, 9, 8)))
    window = {"kernel": (3, 3), "pads_begin": (1, 1), "pads_end": (1, 1)}
    y = graph.add(average_pool, graph.add(max_pool, x, **window), **window)
    graph.output(graph.add(softmax, y, axis=3))
    new = moved(graph)
    assert transpositions(new) == moves
    assert_same(graph, new, random((2, channels, 9, 8)))


def test_graphs_without_convolutions_stay() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (2, 3, 4, 5)))
    graph.output(graph.add(relu, graph.add(max_pool, x, kernel=(2, 2))))
    assert store_channels_last(graph, CHOICES) == 0
