"""Depthwise convolutions, channels last, against float64 references, compiled for the CPU."""

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
from opweave.targets.cpu.spatial.depthwise import pack_channels, spatial_depthwise

COMPILED = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def random(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes of a convolution that has an output."""
    rank = draw(st.integers(1, 3))
    window: dict[str, Any] = {
        "kernel": tuple(draw(st.integers(1, 7 if rank < 3 else 3)) for _ in range(rank)),
        "dilations": tuple(draw(st.integers(1, 2)) for _ in range(rank)),
        "strides": tuple(draw(st.integers(1, 3)) for _ in range(rank)),
        "pads_begin": tuple(draw(st.integers(0, 3)) for _ in range(rank)),
        "pads_end": tuple(draw(st.integers(0, 3)) for _ in range(rank)),
    }
    sizes = []
    for axis in range(rank):
        reach = window["dilations"][axis] * (window["kernel"][axis] - 1) + 1
        least = max(1, reach - window["pads_begin"][axis] - window["pads_end"][axis])
        sizes.append(draw(st.integers(least, max(least, {1: 40, 2: 20, 3: 6}[rank]))))
    return {"window": window, "sizes": tuple(sizes), "channels": draw(st.integers(1, 70))}


@pytest.mark.parametrize("width", [16, 8, 4])
@COMPILED
@given(windows(), st.integers(1, 2), st.sampled_from([0, 0, 1, 2, 3]))
def test_depthwise(width: int, drawn: dict[str, Any], batch: int, which: int) -> None:
    """The leading sizes and the length of a line may each be open."""
    sizes, channels, window = drawn["sizes"], drawn["channels"], drawn["window"]
    types: list[Extent] = [symbol("n"), *sizes]
    if which & 1:
        types[1] = symbol("first")
    if which & 2:
        types[-1] = symbol("last")
    weights, bias = random((channels, 1, *window["kernel"]), 1), random((channels,), 2)
    graph = Graph()
    x = graph.input("x", TensorType("float32", (*types, channels)))
    y = graph.add(
        spatial_depthwise, x, graph.param(pack_channels(weights), "w"), **window, width=width
    )
    y = graph.add(relu, graph.add(add, y, graph.param(bias, "bias")))
    graph.output(y)
    data = random((batch, channels, *sizes), 3)
    keys = {key: value for key, value in window.items() if key != "kernel"}
    wanted = convolution.reference(
        *(array.astype(np.float64) for array in (data, weights, bias)), **keys, groups=channels
    )
    wanted = np.moveaxis(np.maximum(wanted, 0), 1, -1)
    found = compile_graph(graph, threads=2)(np.ascontiguousarray(np.moveaxis(data, 1, -1)))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max(initial=0) <= 1e-5 * max(1.0, np.abs(wanted).max(initial=0))
