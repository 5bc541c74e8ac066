"""Winograd convolutions, channels last, against float64 references, compiled for the CPU."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opweave.compiler.driver import compile_graph
from opweave.ir import Array, Graph, ModelError, TensorType, Value
from opweave.ir.dim import symbol
from opweave.ops.convolution import convolution
from opweave.ops.elementwise_activation import relu
from opweave.ops.elementwise_arithmetic import add
from opweave.targets.cpu.spatial import winograd as module
from opweave.targets.cpu.spatial.winograd import spatial_winograd
from opweave.targets.cpu.spatial.winograd_cost import (
    best_tile,
    panel_columns,
    plan_for,
    seconds,
    typical_peaks,
    winograd_seconds,
)
from opweave.targets.cpu.spatial.winograd_plan import Plan
from opweave.targets.cpu.spatial.winograd_transforms import (
    TILES,
    Filtering,
    pack_kernels,
    unpack_kernels,
)

COMPILED = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
WIDTHS = [16, 8, 4]
# Largest error over the largest output, for as many channels as here.
ERRORS = {2: 3e-6, 4: 1e-5, 6: 5e-5}
# Strides with the tiles that there are for them.
STRIDED_TILES = [(stride, tile) for stride, tiles in TILES.items() for tile in tiles]


def random(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes of a convolution that has an output, and how it is to be computed."""
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    stride, tile = draw(st.sampled_from(STRIDED_TILES))
    return {
        "stride": stride,
        "channels": draw(st.integers(1, 70)),
        "maps": draw(st.integers(1, 70)),
        "size": tuple(
            draw(st.integers(max(1, 3 - pads[axis] - pads[axis + 2]), 26)) for axis in range(2)
        ),
        "pads": pads,
        "tile": tile,
        "vectors": draw(st.integers(1, 4)),
        "plan": {
            "group": draw(st.integers(1, 3)),
            "block": (draw(st.integers(1, 3)), draw(st.integers(1, 8))),
            "by_points": draw(st.booleans()),
        },
        "epilogue": draw(st.sampled_from(["none", "bias", "residual"])),
        "ahead": draw(st.booleans()),
        "limits": draw(st.sampled_from([{}, {"low": 0.0}, {"low": -0.5, "high": 0.75}])),
        "own_bias": draw(st.booleans()),
    }


def planned(**changes: Any) -> Any:
    """A stand-in for ``plan_for`` whose plans are changed."""

    def plan(*arguments: Any) -> Plan:
        return dataclasses.replace(plan_for(*arguments), **changes)

    return mock.patch.object(module, "plan_for", plan)


def built(problem: dict[str, Any], width: int, packed: Array, batch: Any) -> Graph:
    graph = Graph()
    maps, epilogue = problem["maps"], problem["epilogue"]
    shape = (batch, *problem["size"], problem["channels"])
    x = graph.input("x", TensorType("float32", shape))
    own = graph.param(random((maps,), 8), "own") if problem.get("own_bias") else None
    ahead = graph.param(random((3000,), 9), "next") if problem.get("ahead") else None
    y: Value = graph.add(
        spatial_winograd, x, graph.param(packed, "w"), own, ahead, maps=maps,
        pads=problem["pads"], tile=problem["tile"], width=width, stride=problem["stride"],
        **problem.get("limits", {}),
    )  # fmt: skip
    if epilogue != "none":
        y = graph.add(add, y, graph.param(random((maps,), 2), "bias"))
    if epilogue == "residual":
        y = graph.add(relu, graph.add(add, y, graph.input("residual", graph.type(y))))
    graph.output(y)
    return graph


def wanted(problem: dict[str, Any], x: Array, weights: Array, residual: Array) -> Array:
    pads, stride = problem["pads"], problem["stride"]
    result = convolution.reference(
        np.moveaxis(x, -1, 1).astype(np.float64), weights.astype(np.float64),
        strides=(stride, stride),
        pads_begin=pads[:2], pads_end=pads[2:],
    )  # fmt: skip
    result = np.moveaxis(result, 1, -1)
    if problem.get("own_bias"):
        result = result + random((problem["maps"],), 8)
    limits = {"low": -np.inf, "high": np.inf, **problem.get("limits", {})}
    result = np.clip(result, limits["low"], limits["high"])
    if problem["epilogue"] != "none":
        result = result + random((problem["maps"],), 2)
    if problem["epilogue"] == "residual":
        result = np.maximum(result + residual, 0)
    return result


@pytest.mark.parametrize("width", WIDTHS)
@COMPILED
@given(problems(), st.integers(1, 3), st.booleans(), st.integers(1, 2))
def test_convolutions(
    width: int, problem: dict[str, Any], batch: int, open_batch: bool, threads: int
) -> None:
    maps, channels, tile, pads = (problem[k] for k in ("maps", "channels", "tile", "pads"))
    stride = problem["stride"]
    if stride != 1:
        channels = problem["channels"] = -(-channels // width) * width
    weights = random((maps, channels, 3, 3), 1)
    vectors = min(problem["vectors"], -(-maps // width))
    packed = pack_kernels(weights, tile, vectors * width, stride)
    graph = built(problem, width, packed, symbol("batch") if open_batch else batch)
    with planned(**problem["plan"]):
        session = compile_graph(graph, threads=threads)
    x = random((batch, *problem["size"], channels), 3)
    rows, columns = (
        (problem["size"][k] + pads[k] + pads[k + 2] - 3) // stride + 1 for k in range(2)
    )
    residual = random((batch, rows, columns, maps), 4)
    found = session(x, residual) if problem["epilogue"] == "residual" else session(x)
    right = wanted(problem, x, weights, residual)
    assert found.shape == right.shape
    unlimited = wanted({**problem, "limits": {}}, x, weights, residual)
    scale = float(np.abs(unlimited).max())
    assert np.abs(found - right).max() <= ERRORS[tile] * max(scale, 1.0)


@pytest.mark.parametrize(("stride", "tile"), STRIDED_TILES)
@pytest.mark.parametrize("shape", [(64, 64, 28, 28), (128, 33, 14, 15), (20, 100, 61, 9)])
def test_default_plans(stride: int, tile: int, shape: tuple[int, int, int, int]) -> None:
    """What the cost estimate chooses, with the vectors of this processor's widest registers."""
    channels, maps, *size = shape
    channels = channels if stride == 1 else -(-channels // 16) * 16
    problem = {
        "channels": channels, "maps": maps, "size": tuple(size), "pads": (1, 1, 1, 1),
        "tile": tile, "stride": stride, "epilogue": "bias",
    }  # fmt: skip
    columns = panel_columns(maps, (size[0], size[1]), tile, 16)
    weights = random((maps, channels, 3, 3), 1)
    graph = built(problem, 16, pack_kernels(weights, tile, columns, stride), symbol("batch"))
    x = random((2, *size, channels), 3)
    found, right = compile_graph(graph, threads=2)(x), wanted(problem, x, weights, x)
    assert np.abs(found - right).max() <= ERRORS[tile] * np.abs(right).max()


def test_many_channels_stay_within_the_promised_error() -> None:
    """Within 1e-4 of exact arithmetic, relative to the largest output, also for 1024 channels."""
    x, weights = random((1, 12, 12, 1024), 3), random((32, 1024, 3, 3), 1)
    for stride, tile in STRIDED_TILES:
        problem = {
            "channels": 1024, "maps": 32, "size": (12, 12), "pads": (0, 0, 0, 0), "tile": tile,
            "stride": stride, "epilogue": "none",
        }  # fmt: skip
        packed = pack_kernels(weights, tile, 32, stride)
        session = compile_graph(built(problem, 16, packed, 1), threads=1)
        right = wanted(problem, x, weights, x)
        assert np.abs(session(x) - right).max() <= 1e-4 * np.abs(right).max()


@pytest.mark.parametrize(("stride", "tile"), STRIDED_TILES)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 3))
def test_packed_kernels_are_the_weights(
    stride: int, tile: int, maps: int, channels: int, vectors: int
) -> None:
    weights = random((maps, channels, 3, 3), 1)
    packed = pack_kernels(weights, tile, 4 * vectors, stride)
    slabs = (stride * (tile - 1) + 3) ** 2
    assert packed.shape == (slabs, -(-maps // (4 * vectors)), channels, 4 * vectors)
    assert np.abs(unpack_kernels(packed, maps, tile, stride) - weights).max() < 1e-5


@pytest.mark.parametrize(
    ("tile", "count"), [(tile, 3) for tile in TILES[1]] + [(tile, 2) for tile in TILES[2]]
)
def test_filtering_is_exact_in_rational_points(tile: int, count: int) -> None:
    """The one-dimensional algorithm in float64, step by step as it is emitted."""
    filtering = Filtering(tile, count)
    signal = random((filtering.inputs,), 5).astype(np.float64)
    taps = random((count,), 6).astype(np.float64)
    transformed = np.zeros(filtering.inputs)
    for part in filtering.parts:
        even, odd = (
            sum(factor * signal[k] for k, factor in terms) for terms in (part.even, part.odd)
        )
        for point, sign in zip(part.points, (1, -1), strict=False):
            transformed[point] = even + sign * part.root * odd
    products = transformed * (filtering.kernel_matrix @ taps)
    points = [*[0.0] * filtering.zeros, *(s * root for root in filtering.roots for s in (1, -1))]
    found = [sum(p**k * m for p, m in zip(points, products, strict=False)) for k in range(tile)]
    found[-1] += products[-1]
    assert np.allclose(found, np.convolve(signal, taps[::-1], "valid"), atol=1e-12)


@given(
    st.integers(1, 600), st.integers(1, 600), st.tuples(st.integers(1, 260), st.integers(1, 260)),
    st.sampled_from(STRIDED_TILES), st.sampled_from(WIDTHS),
)  # fmt: skip
def test_plans_cover_all_tiles(
    channels: int, maps: int, output: tuple[int, int], strided: tuple[int, int], width: int
) -> None:
    stride, tile = strided
    columns = panel_columns(maps, output, tile, width)
    assert columns % width == 0
    source = output[0] * stride, output[1] * stride
    plan = plan_for(channels, maps, source, output, (1, 1), tile, width, columns, stride=stride)
    for axis in range(2):
        assert sum(plan.cuts(axis)) == plan.tiles[axis] == -(-output[axis] // tile)
        runs = plan.input_runs(axis)
        assert [run.start for run in runs[1:]] == [run.stop for run in runs[:-1]]
        assert runs[-1].stop == plan.tiles[axis]
        outputs = plan.output_runs(axis)
        assert sum((run.stop - run.start) * run.count for run in outputs) == output[axis]
    assert plan.groups * plan.group >= plan.panels
    assert seconds(plan, typical_peaks(width)) > 0


def test_estimates_choose_as_measured() -> None:
    peaks = typical_peaks(16)
    assert best_tile(512, 512, (7, 7), peaks)[0] == 2
    assert best_tile(256, 256, (14, 14), peaks)[0] == 4
    assert best_tile(64, 64, (224, 224), peaks)[0] == 6
    estimate = winograd_seconds(64, 64, (56, 56), 4, peaks)
    assert 0.2e-3 < estimate < 0.4e-3


def test_operands_that_do_not_fit_are_refused() -> None:
    x = TensorType("float32", (1, 8, 8, 16))
    kernels = TensorType("float32", (36, 1, 16, 32))
    attributes = {
        "maps": 32, "pads": (1, 1, 1, 1), "tile": 4, "width": 16, "stride": 1,
        "low": 0.0, "high": 1.0,
    }  # fmt: skip
    assert spatial_winograd.infer_types([x, kernels], attributes)[0].shape == (1, 8, 8, 32)
    strided, more = TensorType("float32", (81, 1, 16, 32)), {**attributes, "stride": 2}
    assert spatial_winograd.infer_types([x, strided], more)[0].shape == (1, 4, 4, 32)
    with pytest.raises(ModelError):
        spatial_winograd.infer_types([x, kernels, TensorType("float32", (31,))], attributes)
    for changed in ({"tile": 2}, {"tile": 5}, {"maps": 33}, {"width": 24}, {"stride": 2}):
        with pytest.raises(ModelError):
            spatial_winograd.infer_types([x, kernels], {**attributes, **changed})
