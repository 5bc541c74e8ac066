"""Products in 7/8 or 49/64 of the multiplications, at three vector widths against float64."""

from __future__ import annotations

from dataclasses import replace
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
from opweave.ops.elementwise_activation import relu
from opweave.ops.elementwise_arithmetic import add
from opweave.ops.fused import fused
from opweave.ops.matmul import matmul
from opweave.targets.cpu.build import lower
from opweave.targets.cpu.dense.strassen import strassen_matmul
from opweave.targets.cpu.dense.strassen_plan import (
    StrassenPlan,
    pack_quarters,
    strassen_plan,
    unpack_quarters,
)

Array = np.ndarray[Any, Any]
COMPILED = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def random(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Seeded values between -1 and 1."""
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape).astype(np.float32)


def assert_near(found: Array, wanted: Array) -> None:
    assert found.shape == wanted.shape
    assert float(np.abs(found - wanted).max()) <= 5e-6 * float(np.abs(wanted).max())


@pytest.mark.parametrize("width", [4, 8, 16])
@COMPILED
@given(
    levels=st.integers(1, 2),
    part_rows=st.integers(1, 40),
    chunks=st.integers(1, 4),
    depth=st.integers(1, 40),
    pairs=st.integers(1, 3),
    missing=st.integers(0, 3),
    residual=st.sampled_from(["none", "inside", "behind"]),
    limited=st.booleans(),
)
def test_any_cut(
    width: int,
    levels: int,
    part_rows: int,
    chunks: int,
    depth: int,
    pairs: int,
    missing: int,
    residual: str,
    limited: bool,
) -> None:
    panel = 2 * width
    parts = 1 << levels
    rows, inner, columns = parts * part_rows, parts * chunks * depth, parts * pairs * panel
    if levels == 1:
        columns -= missing * (panel - 1) // 3  # the last panel has at least one column
    plan = StrassenPlan(rows, inner, columns, levels, pairs, chunks, depth, panel, width)
    x, w, bias = random((rows, inner)), random((inner, columns), 1), random((columns,), 2)
    packed = pack_quarters(w, plan)
    np.testing.assert_allclose(unpack_quarters(packed, columns), w, rtol=0, atol=1e-6)
    group = Graph("group")
    operands = [group.input(f"x{k}", TensorType.of(a)) for k, a in enumerate((x, packed, bias))]
    inputs = [x, packed, bias]
    wanted, low = x.astype(np.float64) @ w + bias, -1.0 if limited else -np.inf
    added: list[Value | None] = []
    if residual == "inside":
        inputs.append(random((rows, columns), 3))
        wanted = wanted + inputs[-1]
        added = [None, group.input("r", TensorType("float32", (rows, columns)))]
    attributes = {"columns": columns, "width": width, "low": low}
    (y,) = group.add_node(strassen_matmul, [*operands, *added], attributes).outputs
    wanted = np.maximum(wanted, low)
    graph = group
    if residual == "behind":
        inputs.append(random((rows, columns), 3))
        wanted = np.maximum(wanted + inputs[-1], 0)
        group.output(group.add(relu, group.add(add, y, group.input("r", group.type(y)))))
        graph = Graph("fused")
        outer = [graph.input(v.node, group.type(v)) for v in group.inputs]
        graph.output(graph.add(fused, *outer, group=group))
    else:
        group.output(y)
    check(graph)
    program = lower(graph, CompileOptions(1, vector_bits=32 * width))
    found = Session(Interface.of(graph), program, "cpu")(*inputs)
    assert isinstance(found, np.ndarray)
    assert_near(found, wanted)


@pytest.mark.parametrize("rows", [600, 1200])
def test_more_rows_than_stay_in_the_caches(rows: int) -> None:
    x, w = random((rows, 1560)), random((1560, 448), 1)
    plan = strassen_plan(*x.shape, 448, 16)
    assert plan is not None
    assert plan.groups > 1
    graph = Graph()
    value = graph.input("x", TensorType.of(x))
    graph.output(graph.add(matmul, value, graph.param(w, "w")))
    session = compile_graph(graph, threads=2, vector_bits=512)
    assert "cpu_strassen_matmul" in names(session)
    assert_near(np.asarray(session(x)), x.astype(np.float64) @ w)


def two_products(rows: int | None = 128) -> Graph:
    graph = Graph()
    extent = symbol("rows") if rows is None else rows
    x = graph.input("x", TensorType("float32", (extent, 192)))
    y = graph.add(matmul, x, graph.param(random((624, 192), 1), "v"), transpose_b=True)
    y = graph.add(add, y, graph.param(random((624,), 2), "bias"))
    graph.output(graph.add(matmul, y, graph.param(random((624, 312), 3), "w")))
    return graph


def names(session: Session) -> set[str]:
    return {node.op.name for node in session.graph.operators()}


@pytest.mark.parametrize("threads", [1, 2])
def test_networks_use_it(threads: int) -> None:
    x = random((128, 192))
    wide = [random(shape, k + 1).astype(np.float64) for k, shape in enumerate([(624, 192), (624,)])]
    wanted = (x @ wide[0].T + wide[1]) @ random((624, 312), 3)
    session = compile_graph(two_products(), threads=threads)
    assert "cpu_strassen_matmul" in names(session)
    found = session(x)
    assert isinstance(found, np.ndarray)
    assert_near(found, wanted)
    exact = compile_graph(two_products(), threads=1, accuracy="exact")
    assert "cpu_strassen_matmul" not in names(exact)
    assert_near(np.asarray(exact(x)), wanted)


def test_the_same_bits_on_two_threads() -> None:
    x = random((128, 192))
    one, two = (compile_graph(two_products(), threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one(x), two(x))


@pytest.mark.parametrize(("rows", "inner", "columns"), [(128, 768, 1408), (512, 1536, 1024)])
def test_two_levels_have_the_same_bits_on_two_threads(rows: int, inner: int, columns: int) -> None:
    """The work is cut by columns, or by rows, and the sums are the same."""
    x, w, bias = random((rows, inner)), random((inner, columns), 1), random((columns,), 2)
    found = []
    for threads in (1, 2):
        graph = Graph()
        value = graph.input("x", TensorType.of(x))
        value = graph.add(matmul, value, graph.param(w, "w"))
        graph.output(graph.add(relu, graph.add(add, value, graph.param(bias, "bias"))))
        session = compile_graph(graph, threads=threads, vector_bits=512)
        (node,) = [n for n in session.graph.operators() if n.op is strassen_matmul]
        assert session.graph.type(node.inputs[1]).shape[0] == 7
        found.append(np.asarray(session(x)))
    np.testing.assert_array_equal(*found)
    assert_near(found[0], np.maximum(x.astype(np.float64) @ w + bias, 0))


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("threads", [1, 2, 3, 4, 16])
def test_items_for_threads(levels: int, threads: int) -> None:
    for rows, inner, columns in ((128, 768, 2304), (256, 3120, 1024), (400, 768, 512)):
        plan = strassen_plan(rows, inner, columns, 16, levels)
        assert plan is not None
        cut = replace(plan, threads=threads)
        assert cut.groups * cut.parts >= min(threads, plan.pairs)
        assert sum(cut.heights) == cut.half_rows
        assert (cut.depth, cut.packed_shape) == (plan.depth, plan.packed_shape)


def test_what_it_does_not_do() -> None:
    assert strassen_plan(symbol("n"), 768, 768, 16) is None
    assert strassen_plan(127, 768, 768, 16) is None
    assert strassen_plan(30, 768, 768, 16) is None
    assert strassen_plan(4096, 256, 256, 16) is None  # sums of rows take too long
    assert strassen_plan(128, 2098, 768, 16) is None  # 1049 is prime
    assert strassen_plan(128, 768, 32, 16) is None
    assert strassen_plan(128, 768, 768, 16) is not None
    assert strassen_plan(128, 768, 768, 16, levels=2) is None  # saves next to nothing
    assert "cpu_strassen_matmul" not in names(compile_graph(two_products(None), threads=1))
