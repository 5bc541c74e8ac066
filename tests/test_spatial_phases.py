"""Dilated convolutions by phases against float64 arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import opweave
from opweave.compiler.driver import prepared_graph
from opweave.compiler.options import CompileOptions
from opweave.ir import Graph, TensorType
from opweave.ops.convolution import convolution
from opweave.ops.elementwise_activation import relu
from opweave.targets.cpu.spatial import phases
from opweave.targets.cpu.spatial.winograd import spatial_winograd
from opweave.targets.cpu.target import TARGET

Array = np.ndarray[Any, Any]


def random(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Seeded values between -1 and 1."""
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape).astype(np.float32)


def dilated(
    channels: int, maps: int, size: tuple[int, int], dilations: tuple[int, int],
    pads: tuple[int, int, int, int], limited: bool,
) -> Graph:  # fmt: skip
    """A convolution of two images with a bias, perhaps a relu behind it."""
    graph = Graph("dilated")
    x = graph.input("x", TensorType("float32", (2, channels, *size)))
    weights, bias = random((maps, channels, 3, 3)), random((maps,))
    y = graph.add(
        convolution,
        x,
        graph.param(weights, "w"),
        graph.param(bias, "bias"),
        dilations=dilations,
        pads_begin=pads[:2],
        pads_end=pads[2:],
    )
    graph.output(graph.add(relu, y) if limited else y)
    return graph


def expected(
    x: Array, dilations: tuple[int, int], pads: tuple[int, int, int, int], maps: int, limited: bool
) -> Array:
    """Tap by tap, in float64."""
    weights = random((maps, x.shape[1], 3, 3)).astype(np.float64)
    wide = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    rows, columns = (wide.shape[2 + k] - 2 * dilations[k] for k in (0, 1))
    result = random((maps,)).astype(np.float64).reshape(-1, 1, 1)
    for i in range(3):
        for j in range(3):
            first = (i * dilations[0], j * dilations[1])
            part = wide[:, :, first[0] : first[0] + rows, first[1] : first[1] + columns]
            result = result + np.einsum("mc,nchw->nmhw", weights[:, :, i, j], part)
    return np.maximum(result, 0) if limited else result


@pytest.fixture
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "_GAIN", np.inf)


@pytest.mark.usefixtures("_always")
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    size=st.tuples(st.integers(7, 15), st.integers(7, 15)),
    dilations=st.sampled_from([(2, 2), (3, 3), (1, 2), (3, 2)]),
    begin=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    end=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    limited=st.booleans(),
    threads=st.sampled_from([1, 2]),
)
def test_dilated_convolutions_by_phases(
    size: tuple[int, int],
    dilations: tuple[int, int],
    begin: tuple[int, int],
    end: tuple[int, int],
    limited: bool,
    threads: int,
) -> None:
    """Any size and padding that dilations divide; what does not fit is computed directly."""
    pads = (begin[0] * dilations[0], begin[1] * dilations[1], *end)
    graph = dilated(16, 17, size, dilations, pads, limited)
    x = random((2, 16, *size), 1)
    found = opweave.compile(graph, threads=threads)(x)
    wanted = expected(x, dilations, pads, 17, limited)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-5 * max(1.0, np.abs(wanted).max())


def test_large_dilated_convolutions_are_filtered() -> None:
    """Winograd's filtering computes them, with the limit that follows; not if sums are exact."""
    graph = dilated(64, 64, (48, 48), (2, 2), (2, 2, 2, 2), True)
    x = random((2, 64, 48, 48), 1)
    wanted = expected(x, (2, 2), (2, 2, 2, 2), 64, True)
    for accuracy, filtered in (("default", 1), ("exact", 0)):
        options = CompileOptions(threads=1, accuracy=accuracy)
        ops = [node.op for node in prepared_graph(graph, TARGET, None, options).operators()]
        assert ops.count(spatial_winograd) == filtered
        assert not filtered or relu not in ops
        found = opweave.compile(graph, threads=1, accuracy=accuracy)(x)
        assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
