"""Generated dense kernels at three vector widths against float64 arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opweave.compiler.driver import compile_graph
from opweave.compiler.options import CompileOptions
from opweave.compiler.session import Session
from opweave.ir import Graph, TensorType, Value, check, symbol
from opweave.ops.convolution import convolution
from opweave.ops.elementwise_activation import relu
from opweave.ops.elementwise_arithmetic import add
from opweave.ops.fused import fused
from opweave.ops.matmul import matmul
from opweave.targets.cpu.build import lower
from opweave.targets.cpu.dense.convolution import Geometry, pack_maps, packed_convolution
from opweave.targets.cpu.dense.depthwise import Planes, depthwise
from opweave.targets.cpu.dense.matmul import pack_columns, packed_matmul, panel_columns
from opweave.targets.cpu.dense.winograd import Tiling, transform_kernels, winograd

Array = np.ndarray[Any, Any]
WIDTHS = [4, 8, 16]  # 128, 256 and 512 bits
COMPILED = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def random(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Seeded values between -1 and 1."""
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape).astype(np.float32)


def with_epilogue(anchor: Graph, result: Value, bias: Array, residual: bool) -> Graph:
    """The anchor's graph with an addition, perhaps a residual, and a relu behind it, fused."""
    group = anchor
    type_ = group.type(result)
    b = group.input("bias", TensorType.of(bias))
    value = group.add(add, result, b)
    if residual:
        value = group.add(add, value, group.input("residual", type_))
    group.output(group.add(relu, value))
    graph = Graph("fused")
    operands = [graph.input(v.node, group.type(v)) for v in group.inputs]
    graph.output(graph.add(fused, *operands, group=group))
    return graph


def run(graph: Graph, *inputs: Array, threads: int = 1) -> Array:
    """The compiled graph's only output."""
    check(graph)
    result = Session(graph, lower(graph, CompileOptions(threads)), "cpu")(*inputs)
    assert isinstance(result, np.ndarray)
    return result


def assert_near(found: Array, wanted: Array, tolerance: float) -> None:
    """Equal shapes; errors relative to the largest magnitude."""
    assert found.shape == wanted.shape
    largest = max(float(np.abs(wanted).max(initial=0)), 1e-30)
    assert float(np.abs(found - wanted).max(initial=0)) <= tolerance * largest


@pytest.mark.parametrize("width", WIDTHS)
@COMPILED
@given(
    rows=st.integers(1, 40),
    inner=st.integers(1, 70),
    columns=st.integers(1, 90),
    is_open=st.booleans(),
    residual=st.booleans(),
)
def test_packed_products(
    width: int, rows: int, inner: int, columns: int, is_open: bool, residual: bool
) -> None:
    x, w, bias = random((rows, inner)), random((inner, columns), 1), random((columns,), 2)
    extent = symbol("m") if is_open else rows
    panel = panel_columns(extent, columns, width)
    packed = pack_columns(w, panel)
    group = Graph("group")
    a = group.input("x", TensorType("float32", (extent, inner)))
    b = group.input("w", TensorType.of(packed))
    product = group.add(packed_matmul, a, b, columns=columns, width=width)
    graph = with_epilogue(group, product, bias, residual)
    extra = [random((rows, columns), 3)] if residual else []
    wanted = x.astype(np.float64) @ w.astype(np.float64) + bias + sum(extra)
    assert_near(run(graph, x, packed, bias, *extra), np.maximum(wanted, 0), 1e-5)


@pytest.mark.parametrize("width", WIDTHS)
@COMPILED
@given(
    channels=st.integers(1, 9),
    maps=st.integers(1, 20),
    groups=st.integers(1, 2),
    size=st.tuples(st.integers(4, 21), st.integers(4, 21)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dilation=st.integers(1, 2),
    pad=st.integers(0, 2),
    residual=st.booleans(),
)
def test_packed_convolutions(
    width: int,
    channels: int,
    maps: int,
    groups: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilation: int,
    pad: int,
    residual: bool,
) -> None:
    x = random((2, channels * groups, *size))
    w = random((maps * groups, channels, *kernel), 1)
    attributes: dict[str, Any] = {
        "strides": strides,
        "dilations": (dilation, dilation),
        "pads_begin": (pad, 0),
        "pads_end": (0, pad),
    }
    reach = [dilation * (k - 1) + 1 for k in kernel]
    output = tuple((size[i] + pad - reach[i]) // strides[i] + 1 for i in range(2))
    if min(output) < 1:
        return
    height = Geometry(channels, maps, groups, (1, 1), (1, 1), (1, 1), (1, 1), (1, 1), width).height
    packed = pack_maps(w, groups, height)
    bias = random((maps * groups, 1, 1), 2)
    group = Graph("group")
    a = group.input("x", TensorType("float32", (symbol("n"), *x.shape[1:])))
    b = group.input("w", TensorType.of(packed))
    result = group.add(
        packed_convolution, a, b, maps=maps * groups, kernel=kernel, width=width, **attributes
    )
    graph = with_epilogue(group, result, bias, residual)
    extra = [random((2, maps * groups, *output), 3)] if residual else []
    wanted = convolution.reference(
        x.astype(np.float64), w.astype(np.float64), groups=groups, **attributes
    )
    wanted = np.maximum(wanted + bias + sum(extra), 0)
    assert_near(run(graph, x, packed, bias, *extra), wanted, 1e-5)


def test_more_taps_than_a_panel_holds_add_up() -> None:
    x, w = random((1, 700, 6, 6)), random((5, 700, 3, 3), 1)
    height = Geometry(700, 5, 1, (6, 6), (4, 4), (3, 3), (1, 1), (1, 1), 16).height
    packed = pack_maps(w, 1, height)
    graph = Graph()
    a, b = graph.input("x", TensorType.of(x)), graph.input("w", TensorType.of(packed))
    plain = {"strides": (1, 1), "dilations": (1, 1), "pads_begin": (0, 0), "pads_end": (0, 0)}
    graph.output(graph.add(packed_convolution, a, b, maps=5, kernel=(3, 3), width=16, **plain))
    wanted = convolution.reference(x.astype(np.float64), w.astype(np.float64))
    assert_near(run(graph, x, packed), wanted, 1e-5)


@pytest.mark.parametrize("width", WIDTHS)
@COMPILED
@given(
    channels=st.integers(1, 9),
    maps=st.integers(1, 20),
    size=st.tuples(st.integers(3, 40), st.integers(3, 80)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    residual=st.booleans(),
)
def test_winograd(
    width: int,
    channels: int,
    maps: int,
    size: tuple[int, int],
    pads: tuple[int, int, int, int],
    residual: bool,
) -> None:
    x, w = random((2, channels, *size)), random((maps, channels, 3, 3), 1)
    output = (size[0] + pads[0] + pads[2] - 2, size[1] + pads[1] + pads[3] - 2)
    kernels = transform_kernels(w, Tiling(channels, maps, output, width).height)
    bias = random((maps, 1, 1), 2)
    group = Graph("group")
    a = group.input("x", TensorType("float32", (symbol("n"), *x.shape[1:])))
    b = group.input("w", TensorType.of(kernels))
    result = group.add(winograd, a, b, maps=maps, pads=pads, width=width)
    graph = with_epilogue(group, result, bias, residual)
    extra = [random((2, maps, *output), 3)] if residual else []
    wanted = convolution.reference(
        x.astype(np.float64), w.astype(np.float64), pads_begin=pads[:2], pads_end=pads[2:]
    )
    assert_near(
        run(graph, x, kernels, bias, *extra), np.maximum(wanted + bias + sum(extra), 0), 2e-5
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_the_pipeline_chooses_generated_kernels(threads: int) -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (1, 16, 28, 28)))
    w = graph.param(random((24, 16, 3, 3), 1), "w")
    bias = graph.param(random((24,), 2), "bias")
    y = graph.add(convolution, x, w, bias, pads_begin=(1, 1), pads_end=(1, 1))
    y = graph.add(relu, graph.add(convolution, y, graph.param(random((30, 24, 1, 1), 3), "v")))
    v = graph.param(random((28, 50), 4), "u")
    graph.output(graph.add(matmul, y, v))
    session = compile_graph(graph, threads=threads)
    names = {n.op.name for node in session.graph.operators() for n in (
        node.attrs["group"].operators() if "group" in node.attrs else [node]
    )}  # fmt: skip
    assert {"cpu_spatial_winograd", "cpu_packed_matmul"} <= names
    data = random((1, 16, 28, 28), 5)
    wide = [graph.array(value).astype(np.float64) for value in (w, bias)]
    wanted = convolution.reference(data, *wide, pads_begin=(1, 1), pads_end=(1, 1))
    wanted = np.maximum(convolution.reference(wanted, graph.array(Value("v"))), 0)
    assert_near(session(data), wanted @ graph.array(v), 2e-5)


@pytest.mark.parametrize("width", WIDTHS)
@COMPILED
@given(
    size=st.tuples(st.integers(5, 40), st.integers(5, 40)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    residual=st.booleans(),
)
def test_depthwise_convolutions(
    width: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
    residual: bool,
) -> None:
    output = Planes(size, kernel, strides, dilations, pads, width).output
    if min(output) < 1:
        return
    x, w, bias = random((2, 3, *size)), random((3, 1, *kernel), 1), random((3, 1, 1), 2)
    attributes: dict[str, Any] = {"kernel": kernel, "strides": strides, "dilations": dilations}
    group = Graph("group")
    a = group.input("x", TensorType("float32", (symbol("n"), *x.shape[1:])))
    b = group.input("w", TensorType.of(w))
    result = group.add(depthwise, a, b, pads=pads, width=width, **attributes)
    graph = with_epilogue(group, result, bias, residual)
    extra = [random((2, 3, *output), 3)] if residual else []
    wanted = depthwise.reference(
        x.astype(np.float64), w.astype(np.float64), pads=pads, width=width, **attributes
    )
    wanted = np.maximum(wanted + bias + sum(extra), 0)
    assert_near(run(graph, x, w, bias, *extra), wanted, 1e-5)


def test_a_product_whose_inner_extent_is_only_assumed() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (symbol("n"), symbol("k"))))
    w = graph.param(random((6, 5), 1), "w")
    graph.output(graph.add(matmul, x, w))
    data = random((3, 6), 2)
    assert_near(compile_graph(graph)(data), data.astype(np.float64) @ graph.array(w), 1e-5)
