"""Direct convolutions, channels last, against float64 references, compiled for the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opweave.compiler.driver import compile_graph
from opweave.ir import Array, Extent, Graph, TensorType
from opweave.ir.dim import symbol
from opweave.ops.convolution import convolution
from opweave.ops.elementwise_activation import relu
from opweave.ops.elementwise_arithmetic import add
from opweave.targets.cpu.spatial.convolution import spatial_convolution
from opweave.targets.cpu.spatial.geometry import Geometry, balanced, pack_kernels, unpack_kernels

COMPILED = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
WIDTHS = [16, 8, 4]


def random(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes of a convolution that has an output."""
    rank = draw(st.integers(1, 3))
    numbers = {1: 30, 2: 17, 3: 6}[rank]
    kernel = tuple(draw(st.integers(1, 5 if rank < 3 else 3)) for _ in range(rank))
    dilations = tuple(draw(st.integers(1, 2)) for _ in range(rank))
    strides = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    begin = tuple(draw(st.integers(0, 3)) for _ in range(rank))
    end = tuple(draw(st.integers(0, 3)) for _ in range(rank))
    sizes = []
    for axis in range(rank):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        least = max(1, reach - begin[axis] - end[axis])
        sizes.append(draw(st.integers(least, max(least, numbers))))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    return {
        "sizes": tuple(sizes),
        "kernel": kernel,
        "strides": strides,
        "dilations": dilations,
        "pads_begin": begin,
        "pads_end": end,
        "groups": groups,
        "channels": groups * draw(st.integers(1, 9)),
        "maps": groups * draw(st.integers(1, 40)),
    }


def built(
    window: dict[str, Any], width: int, first: bool, types: tuple[Extent, ...]
) -> tuple[Graph, Array, Array, Array]:
    """A graph of convolution, bias, residual and relu; weights, bias and the residual."""
    attrs = {key: window[key] for key in ("kernel", "strides", "dilations")}
    pads = {key: window[key] for key in ("pads_begin", "pads_end")}
    groups, maps = window["groups"], window["maps"]
    channels = window["channels"] // groups
    weights = random((maps, channels, *window["kernel"]), 1)
    bias, residual = random((maps,), 2), random((), 3)
    graph = Graph()
    batch, *sizes = types
    shape = (batch, window["channels"], *sizes) if first else (batch, *sizes, window["channels"])
    x = graph.input("x", TensorType("float32", shape))
    rank = len(sizes)
    output = [
        (window["sizes"][k] + window["pads_begin"][k] + window["pads_end"][k]
         - window["dilations"][k] * (window["kernel"][k] - 1) - 1) // window["strides"][k] + 1
        for k in range(rank)
    ]  # fmt: skip
    line = output[-1] if isinstance(sizes[-1], int) else None
    geometry = Geometry(
        channels, maps // groups, groups, (None,) * rank, (*output[:-1], line), *attrs.values(),
        window["pads_begin"], first, width,
    )  # fmt: skip
    packed = pack_kernels(weights, groups, geometry.columns)
    assert np.array_equal(unpack_kernels(packed, groups, maps, window["kernel"]), weights)
    y = graph.add(
        spatial_convolution, x, graph.param(packed, "w"), maps=maps, groups=groups, **attrs,
        **pads, channels_first=first, width=width,
    )  # fmt: skip
    y = graph.add(add, y, graph.param(bias, "bias"))
    y = graph.add(relu, graph.add(add, y, graph.param(residual, "residual")))
    graph.output(y)
    return graph, weights, bias, residual


def wanted(window: dict[str, Any], x: Array, weights: Array, bias: Array, residual: Array) -> Array:
    keys = ("strides", "dilations", "pads_begin", "pads_end", "groups")
    result = convolution.reference(
        x.astype(np.float64), weights.astype(np.float64), bias.astype(np.float64),
        **{key: window[key] for key in keys},
    )  # fmt: skip
    return np.moveaxis(np.maximum(result + residual, 0), 1, -1)


def assert_near(found: Array, right: Array) -> None:
    assert found.shape == right.shape
    scale = max(float(np.abs(right).max(initial=0)), 1.0)
    assert np.abs(found - right).max(initial=0) <= 2e-5 * scale


@pytest.mark.parametrize("width", WIDTHS)
@COMPILED
@given(windows(), st.booleans(), st.integers(1, 3))
def test_known_sizes(width: int, window: dict[str, Any], first: bool, batch: int) -> None:
    graph, *arrays = built(window, width, first, (batch, *window["sizes"]))
    x = random((batch, window["channels"], *window["sizes"]), 4)
    given_x = x if first else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    assert_near(compile_graph(graph, threads=2)(given_x), wanted(window, x, *arrays))


@pytest.mark.parametrize("width", WIDTHS)
@COMPILED
@given(windows(), st.integers(0, 7))
def test_open_sizes(width: int, window: dict[str, Any], which: int) -> None:
    """Batch, the leading sizes and the length of a line may each be open."""
    sizes = window["sizes"]
    types: list[Extent] = [2, *sizes]
    for bit, axis in enumerate((0, 1, len(sizes))):
        if which & (1 << bit):
            types[axis] = symbol(f"size{axis}")
    graph, *arrays = built(window, width, False, tuple(types))
    session = compile_graph(graph, threads=1)
    x = random((2, window["channels"], *sizes), 4)
    assert_near(session(np.ascontiguousarray(np.moveaxis(x, 1, -1))), wanted(window, x, *arrays))


@given(st.integers(1, 500), st.integers(1, 40))
def test_parts_are_balanced(total: int, most: int) -> None:
    parts = balanced(total, most)
    assert sum(parts) == total
    assert len(parts) == -(-total // most)
    assert max(parts) - min(parts) <= 1
    assert max(parts) <= most
