"""Transposed convolutions, channels last, compiled for the CPU, against float64 references."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from opweave.compiler.driver import compile_graph
from opweave.compiler.session import Session
from opweave.ir import Array, Extent, Graph, TensorType
from opweave.ir.dim import symbol
from opweave.ops.convolution_transpose import convolution_transpose
from opweave.ops.elementwise_activation import relu, sigmoid
from opweave.ops.elementwise_arithmetic import add
from opweave.targets.cpu.spatial import transposed
from opweave.targets.cpu.spatial.transposed_plan import TransposedPlan

COMPILED = settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def random(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes of a transposed convolution that has an output."""
    rank = draw(st.integers(1, 3))
    strides = tuple(draw(st.integers(1, 3 if rank < 3 else 2)) for _ in range(rank))
    window: dict[str, Any] = {
        "strides": strides,
        "dilations": tuple(draw(st.sampled_from([1, 1, 2])) for _ in range(rank)),
        "pads_begin": tuple(draw(st.integers(0, 3)) for _ in range(rank)),
        "pads_end": tuple(draw(st.integers(-2, 3)) for _ in range(rank)),
        "output_padding": tuple(draw(st.integers(0, stride)) for stride in strides),
    }
    kernel = tuple(draw(st.integers(1, 5 if rank < 3 else 3)) for _ in range(rank))
    sizes = tuple(draw(st.integers(1, {1: 40, 2: 17, 3: 5}[rank])) for _ in range(rank))
    for axis in range(rank):
        reach = window["dilations"][axis] * (kernel[axis] - 1) + 1
        output = (sizes[axis] - 1) * strides[axis] + reach + window["output_padding"][axis]
        assume(output - window["pads_begin"][axis] - window["pads_end"][axis] > 0)
    groups = draw(st.sampled_from([1, 1, 2]))
    channels = groups * draw(st.integers(1, 20))
    maps = draw(st.integers(4 if groups > 1 else 1, 40))
    return {
        "window": window,
        "sizes": sizes,
        "groups": groups,
        "weights": (channels, maps, *kernel),
    }


def kernels(session: Session) -> set[str]:
    """Names of the operators that multiply."""
    nodes = [*session.graph.operators()]
    groups = [node.attrs["group"] for node in nodes if "group" in node.attrs]
    nodes += [node for group in groups for node in group.operators()]
    return {node.op.name for node in nodes if "dot" in node.op.traits}


def compared(
    types: tuple[Extent, ...],
    x: Array,
    weights: Array,
    attributes: dict[str, Any],
    bits: int,
    follow: Any = relu,
) -> None:
    """A transposed convolution with bias and what follows, through all passes."""
    bias = random((weights.shape[1] * attributes["groups"],), 2)
    graph = Graph()
    operands = [graph.input("x", TensorType("float32", types))]
    operands += [graph.param(weights, "w"), graph.param(bias, "b")]
    y = graph.add(convolution_transpose, *operands, **attributes)
    graph.output(graph.add(follow, y))
    with patch.object(transposed, "is_better_as_one", lambda *_: False):
        session = compile_graph(graph, threads=2, vector_bits=bits)
    assert kernels(session) == {"cpu_spatial_transposed_convolution"}
    found = session(x)
    wide = (array.astype(np.float64) for array in (x, weights, bias))
    wanted = follow.reference(convolution_transpose.reference(*wide, **attributes))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max(initial=0) <= 1e-5 * max(1.0, np.abs(wanted).max(initial=0))


@pytest.mark.parametrize("bits", [512, 256, 128])
@COMPILED
@given(windows(), st.booleans(), st.booleans())
def test_transposed(bits: int, drawn: dict[str, Any], is_open: bool, fused: bool) -> None:
    """Batch open; the first spatial extent may be; epilogues in registers or behind a line."""
    sizes, shape = drawn["sizes"], drawn["weights"]
    x, weights = random((2, shape[0], *sizes), 1), random(shape, 3)
    types: list[Extent] = [symbol("n"), shape[0], *sizes]
    if is_open and len(sizes) > 1:
        types[2] = symbol("height")
    attributes = {**drawn["window"], "groups": drawn["groups"]}
    compared(tuple(types), x, weights, attributes, bits, sigmoid if fused else relu)


@pytest.mark.parametrize("bits", [512, 256, 128])
@pytest.mark.parametrize(
    ("channels", "maps", "height", "width", "kernel", "stride"),
    [(32, 16, 7, 9, 2, 2), (5, 33, 4, 20, 3, 3), (8, 70, 3, 3, 1, 2), (3, 5, 6, 1, 2, 3)],
)
def test_open_sizes(
    bits: int, channels: int, maps: int, height: int, width: int, kernel: int, stride: int
) -> None:
    """Where windows do not overlap, lines of any length are computed."""
    x, weights = (
        random((2, channels, height, width), 1),
        random((channels, maps, kernel, kernel), 3),
    )
    types = (symbol("n"), channels, symbol("h"), symbol("w"))
    attributes: dict[str, Any] = {"strides": (stride, stride), "groups": 1}
    compared(types, x, weights, attributes, bits, sigmoid if kernel == 2 else relu)


@pytest.mark.parametrize("strides", [(2, 3), (1, 2), (4, 1)])
def test_packing(strides: tuple[int, int]) -> None:
    """Packed weights are the weights, phase by phase."""
    plan = TransposedPlan(3, 20, 2, (4, 5), (9, 12), (3, 4), strides, (1, 2), (1, 0), 8)
    weights = random((6, 20, 3, 4), 0)
    packed = plan.pack(weights)
    assert packed.shape == (plan.size,)
    np.testing.assert_array_equal(plan.unpack(packed), weights)


def test_addition_behind_a_line() -> None:
    """What is added to the result, as where a network has a connection past some layers."""
    x, weights, other = (
        random((1, 16, 6, 5), 1),
        random((16, 24, 2, 2), 2),
        random((1, 24, 12, 10), 3),
    )
    graph = Graph()
    operand = graph.input("x", TensorType("float32", x.shape))
    second = graph.input("other", TensorType("float32", other.shape))
    y = graph.add(convolution_transpose, operand, graph.param(weights, "w"), strides=(2, 2))
    graph.output(graph.add(relu, graph.add(add, y, second)))
    found = compile_graph(graph, threads=1)(x, other)
    wanted = np.maximum(convolution_transpose.reference(x, weights, strides=(2, 2)) + other, 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("maps", "kernel", "stride", "accuracy", "wanted"),
    [
        (64, 2, 2, "default", "cpu_spatial_transposed_convolution"),
        (64, 6, 2, "default", "cpu_spatial_winograd"),
        (64, 6, 2, "exact", "cpu_spatial_transposed_convolution"),
        (64, 3, 1, "default", "cpu_spatial_winograd"),
        (2, 4, 2, "default", "cpu_spatial_convolution"),
    ],
)
def test_choice(maps: int, kernel: int, stride: int, accuracy: str, wanted: str) -> None:
    """All phases as one convolution where that is faster."""
    x, weights = random((1, 64, 28, 28), 1), random((64, maps, kernel, kernel), 2) / 64
    attributes: dict[str, Any] = {"strides": (stride, stride), "pads_begin": (1, 1)}
    graph = Graph()
    operand = graph.input("x", TensorType("float32", x.shape))
    graph.output(graph.add(convolution_transpose, operand, graph.param(weights, "w"), **attributes))
    session = compile_graph(graph, threads=1, accuracy=accuracy, vector_bits=256)
    assert kernels(session) == {wanted}
    exact = convolution_transpose.reference(
        x.astype(np.float64), weights.astype(np.float64), **attributes
    )
    np.testing.assert_allclose(session(x), exact, atol=1e-3)
