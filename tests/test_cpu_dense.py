"""Generated dense kernels at three vector widths against float64 arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opweave.compiler.driver import compile_graph
from opweave.compiler.interface import Interface
from opweave.compiler.options import CompileOptions
from opweave.compiler.session import Session
from opweave.ir import Graph, TensorType, Value, check, symbol
from opweave.ops.convolution import convolution
from opweave.ops.elementwise_activation import relu
from opweave.ops.elementwise_arithmetic import add
from opweave.ops.fused import fused
from opweave.ops.matmul import matmul
from opweave.targets.cpu.build import lower
from opweave.targets.cpu.choices import Choices
from opweave.targets.cpu.dense.matmul import pack_columns, packed_matmul, panel_columns
from opweave.targets.cpu.dense.select import select_dense

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
    result = Session(Interface.of(graph), lower(graph, CompileOptions(threads)), "cpu")(*inputs)
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
    rows=st.integers(1, 40),
    inner=st.integers(1, 40),
    columns=st.integers(1, 90),
    is_open=st.booleans(),
    biased=st.booleans(),
    ahead=st.booleans(),
)
def test_a_residual_is_added_in_registers(
    width: int, rows: int, inner: int, columns: int, is_open: bool, biased: bool, ahead: bool
) -> None:
    x, w, bias = random((rows, inner)), random((inner, columns), 1), random((columns,), 2)
    residual, later = random((rows, columns), 3), random((64,), 4)
    extent = symbol("m") if is_open else rows
    packed = pack_columns(w, panel_columns(extent, columns, width))
    graph = Graph("product")
    a = graph.input("x", TensorType("float32", (extent, inner)))
    r = graph.input("r", TensorType("float32", (extent, columns)))
    held = [graph.param(array, name) for array, name in ((bias, "bias"), (later, "later"))]
    operands = [a, graph.param(packed, "w"), held[0] if biased else None]
    operands += [held[1] if ahead else None, r]
    attributes = {"columns": columns, "width": width, "low": -0.5, "high": 2.0}
    node = graph.add_node(packed_matmul, operands, attributes)
    graph.output(node.outputs[0])
    wanted = x.astype(np.float64) @ w.astype(np.float64) + residual + (bias if biased else 0)
    assert_near(run(graph, x, residual), np.clip(wanted, -0.5, 2.0), 1e-5)


@pytest.mark.parametrize("limit", ["relu", "none"])
@pytest.mark.parametrize("swapped", [False, True])
def test_residuals_with_limits_become_operands(limit: str, swapped: bool) -> None:
    """As do those of two branches; a sum without limits is left to what follows."""
    graph = Graph()
    x = graph.input("x", TensorType("float32", (1, 6, 7, 32)))
    w, v = (graph.param(random((32, 32), seed), f"w{seed}") for seed in (1, 2))
    bias = graph.param(random((32,), 3), "bias")
    product = graph.add(add, graph.add(matmul, x, w), bias)
    for other in (x, graph.add(matmul, x, v)):
        product = graph.add(add, *([other, product] if swapped else [product, other]))
        if limit == "relu":
            product = graph.add(relu, product)
        product = graph.add(matmul, product, w)
    graph.output(product)
    session = compile_graph(graph, threads=1)
    taken = [
        node
        for node in session.graph.operators()
        if node.op is packed_matmul and len(node.inputs) > 4
    ]
    assert len(taken) == (2 if limit == "relu" else 0)
    data = random((1, 6, 7, 32), 5)
    one, two, shift = (graph.array(value).astype(np.float64) for value in (w, v, bias))
    cut = (lambda y: np.maximum(y, 0)) if limit == "relu" else (lambda y: y)
    wanted = cut(data @ one + shift + data) @ one
    assert_near(session(data), cut(wanted + data @ two) @ one, 2e-5)


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


def test_a_product_whose_inner_extent_is_only_assumed() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (symbol("n"), symbol("k"))))
    w = graph.param(random((6, 5), 1), "w")
    graph.output(graph.add(matmul, x, w))
    data = random((3, 6), 2)
    assert_near(compile_graph(graph)(data), data.astype(np.float64) @ graph.array(w), 1e-5)


def test_products_with_the_same_weights_share_what_is_packed() -> None:
    """Steps of a loop that was written out read one array; other forms of it are others."""
    graph = Graph("steps")
    x = graph.input("x", TensorType("float32", (1, 24)))
    w = graph.param(random((24, 24)), "w")
    first = graph.add(matmul, x, w)
    second = graph.add(matmul, first, w)
    graph.output(graph.add(matmul, second, w, transpose_b=True))
    assert select_dense(graph, Choices(16, False, 1)) == 3
    assert len(graph.params) == 2
    given, weights = random((1, 24), 1), random((24, 24)).astype(np.float64)
    got = run(graph, given)
    assert np.abs(got - given @ weights @ weights @ weights.T).max() < 1e-4
