"""The same bits for any number of threads, of callers, and of sessions at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from opweave.compiler.driver import compile_graph
from opweave.compiler.session import Session
from opweave.ir import Array, Graph, TensorType, Value
from opweave.ops.convolution import convolution
from opweave.ops.elementwise_activation import relu
from opweave.ops.elementwise_arithmetic import add
from opweave.ops.matmul import matmul
from opweave.ops.max_pool import max_pool
from opweave.ops.reduce import reduce_mean
from opweave.ops.softmax import softmax


def image_network() -> Graph:
    """Every kind of convolution kernel, pools and a product, large enough for several threads."""
    random = np.random.default_rng(0)
    graph = Graph()

    def convolved(x: Value, maps: int, size: int, stride: int = 1, groups: int = 1) -> Value:
        channels = int(graph.type(x).shape[1]) // groups  # type: ignore[arg-type]
        scale = np.float32(np.sqrt(2 / (channels * size * size)))
        w = graph.param(random.standard_normal((maps, channels, size, size), np.float32) * scale)
        bias = graph.param(random.standard_normal(maps, np.float32))
        pads = (size // 2, size // 2)
        return graph.add(
            convolution, x, w, bias, strides=(stride, stride), pads_begin=pads, pads_end=pads,
            groups=groups,
        )  # fmt: skip

    x = graph.input("x", TensorType("float32", (1, 3, 96, 96)))
    y = graph.add(relu, convolved(x, 32, 7, 2))
    y = graph.add(relu, convolved(y, 48, 1))
    y = graph.add(relu, convolved(y, 48, 3, 1, 48))
    y = graph.add(add, convolved(y, 48, 1), y)
    y = graph.add(max_pool, y, kernel=(3, 3), strides=(2, 2), pads_begin=(1, 1), pads_end=(1, 1))
    y = graph.add(add, graph.add(relu, convolved(y, 48, 3)), y)
    y = graph.add(relu, convolved(y, 96, 3, 2))
    y = graph.add(reduce_mean, y, axes=(2, 3), keepdims=False)
    y = graph.add(matmul, y, graph.param(random.standard_normal((96, 300), np.float32)))
    graph.output(graph.add(softmax, y))
    return graph


@pytest.fixture(scope="module")
def data() -> list[Array]:
    return [
        np.random.default_rng(seed).standard_normal((1, 3, 96, 96), np.float32) for seed in range(8)
    ]


@pytest.fixture(scope="module")
def right(data: list[Array]) -> list[Array]:
    session = compile_graph(image_network(), threads=1)
    return [session(x) for x in data]


def assert_right(session: Session, x: Array, wanted: Array) -> None:
    for _ in range(5):
        np.testing.assert_array_equal(session(x), wanted)


@pytest.mark.parametrize("threads", [2, 3])
def test_numbers_of_threads(threads: int, data: list[Array], right: list[Array]) -> None:
    session = compile_graph(image_network(), threads=threads)
    for x, wanted in zip(data, right, strict=True):
        assert_right(session, x, wanted)


def test_eight_callers_of_one_session(data: list[Array], right: list[Array]) -> None:
    session = compile_graph(image_network(), threads=2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(assert_right, [session] * 8, data, right))


def test_two_sessions_at_once(data: list[Array], right: list[Array]) -> None:
    sessions = [compile_graph(image_network(), threads=2) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(assert_right, sessions, data, right))
