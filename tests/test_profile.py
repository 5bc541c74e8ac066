"""Profiles: what a run's time goes to."""

import json

import numpy as np
import pytest

import opweave as ow
from opweave.compiler.driver import compile_graph
from opweave.compiler.profile import HEAD, settings_of
from opweave.compiler.roofline import parameter_bytes
from opweave.compiler.session import Session
from opweave.compiler.target import Target, target_named
from opweave.ir import UnsupportedError
from opweave.ops.control import if_
from opweave.ops.elementwise_activation import relu
from opweave.ops.matmul import matmul
from opweave.ops.movement import transpose
from opweave.ops.reduce import reduce_max
from opweave.ops.reshape import reshape
from opweave.ops.softmax import softmax


def layers():
    """A product with a constant, a view, a softmax; rows are symbolic."""
    graph = ow.Graph("layers")
    x = graph.input("x", ow.TensorType("float32", (ow.symbol("rows", 1), 32)))
    w = graph.param(np.random.default_rng(0).standard_normal((32, 48)).astype(np.float32), "w")
    y = graph.add(relu, graph.add(matmul, x, w, origin="layer one"), origin="layer one")
    y = graph.add(reshape, y, shape=(-1 + ow.symbol("rows", 1) + 1, 6, 8))
    graph.output(graph.add(softmax, y, axis=2), "y")
    return graph


@pytest.mark.parametrize("threads", [1, 2])
def test_a_profile_times_each_operator(threads):
    session = compile_graph(layers(), "cpu", threads=threads)
    x = np.random.default_rng(1).standard_normal((64, 32)).astype(np.float32)
    found = session.profile(x, seconds=0.01)
    assert found.threads == threads
    assert found.runs >= 5
    names = [node.name for node in session.graph.operators() if "view" not in node.op.traits]
    assert [item.node for item in found.operators] == names
    assert all(item.seconds > 0 for item in found.operators)
    product = next(item for item in found.operators if "matmul" in item.kernel)
    assert product.work is not None
    assert product.work.flops >= 2 * 64 * 32 * 48
    weights = parameter_bytes(session.graph)
    assert product.work.weight_bytes == weights >= 4 * 32 * 48
    assert product.flops_per_second == pytest.approx(product.work.flops / product.seconds)
    assert product.origin
    assert "width=" in product.settings
    assert found.peaks is not None
    assert found.peaks.threads == threads
    assert product.limit_share == pytest.approx(
        product.work.least_seconds(found.peaks, weights) / product.seconds
    )


def test_the_timed_program_computes_the_same():
    graph = layers()
    session = compile_graph(graph, "cpu", threads=2)
    timed = target_named("cpu").lower_timed
    assert timed is not None
    executable = timed(session.graph, ow.compiler.options.CompileOptions(2))
    for rows in (1, 7, 300):
        x = np.random.default_rng(rows).standard_normal((rows, 32)).astype(np.float32)
        (found,) = executable([x], {"rows": rows})
        np.testing.assert_array_equal(found, session(x))
        assert len(executable.seconds()) == len(executable.nodes)


def test_a_profile_as_text_and_numbers():
    session = compile_graph(layers(), "cpu", threads=1)
    found = session.profile(np.zeros((4, 32), np.float32), seconds=0.01)
    lines = found.table(1).splitlines()
    assert lines[0].split()[0] == HEAD[0]
    assert len(lines) == 3
    assert f"in {len(found.operators)} operators" in lines[-1]
    numbers = json.loads(json.dumps(found.as_dict()))
    shares = [item["share"] for item in numbers["operators"]]
    assert all(share > 0 for share in shares)
    seconds = [kernel["seconds"] for kernel in numbers["kernels"].values()]
    assert seconds == sorted(seconds, reverse=True)
    assert sum(seconds) == pytest.approx(sum(item["seconds"] for item in numbers["operators"]))


def test_control_flow_is_timed_as_one_node():
    def branch(op):
        body = ow.Graph("branch")
        value = body.input("value", ow.TensorType("float32", (8,)))
        body.output(body.add(op, body.add(relu, value), axes=(0,), keepdims=True))
        return body

    graph = ow.Graph("choice")
    condition = graph.input("condition", ow.TensorType("bool", ()))
    x = graph.input("x", ow.TensorType("float32", (8,)))
    chosen = graph.add(
        if_, condition, x, then_branch=branch(reduce_max), else_branch=branch(reduce_max)
    )
    graph.output(chosen)
    session = compile_graph(graph, "cpu")
    found = session.profile(np.array(True), np.arange(8, dtype=np.float32), seconds=0.01)
    assert [item.kernel for item in found.operators if item.work is None] == ["if"]


def test_a_note_survives_fusion():
    graph = ow.Graph("noted")
    x = graph.input("x", ow.TensorType("float32", (4, 5)))
    y = graph.add(softmax, x, axis=1)
    graph.annotate(y.node, "rows are short")
    graph.output(graph.add(relu, y), "y")
    session = compile_graph(graph, "cpu")
    (item,) = session.profile(np.zeros((4, 5), np.float32), seconds=0.01).operators
    assert item.kernel == "softmax+relu"
    assert item.note == "rows are short"


def test_a_graph_that_computes_nothing():
    graph = ow.Graph("through")
    x = graph.input("x", ow.TensorType("float32", (4,)))
    graph.output(x, "y")
    found = compile_graph(graph, "cpu").profile(np.zeros(4, np.float32), seconds=0.01)
    assert found.operators == ()
    assert "0 operators" in found.table()


def test_targets_without_times():
    cpu = target_named("cpu")
    plain = Target("cpu", cpu.passes, cpu.lower)
    with pytest.raises(UnsupportedError, match="does not take the time"):
        compile_graph(layers(), plain).profile(np.zeros((1, 32), np.float32))
    session = compile_graph(layers(), "cpu")
    with pytest.raises(UnsupportedError, match="does not take the time"):
        Session(session.interface, session.executable, "cpu").profile(np.zeros((1, 32), np.float32))


def test_settings():
    graph = ow.Graph("g")
    x = graph.input("x", ow.TensorType("float32", (2, 3)))
    node = graph.node(graph.add(transpose, x, permutation=(1, 0)).node)
    assert settings_of(node) == "permutation=1x0"
