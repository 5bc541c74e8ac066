"""The CPU target: groups, places, control flow, extents measured in the run, threads."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest

from opweave.compiler.interface import Interface
from opweave.compiler.options import CompileOptions
from opweave.compiler.session import Session
from opweave.ir import (
    Call,
    Error,
    Graph,
    LimitError,
    ModelError,
    Op,
    Operand,
    TensorType,
    check,
    symbol,
)
from opweave.ir.data_type import numpy_type
from opweave.ir.evaluate import evaluate
from opweave.ops.control import if_, loop
from opweave.ops.define import elementwise, operator
from opweave.ops.fused import fused
from opweave.ops.movement import expand
from opweave.ops.softmax import softmax
from opweave.targets.cpu.build import lower

Array = np.ndarray[Any, Any]


@elementwise(name="test_add")
def plus(left: float, right: float) -> float:
    """Sum."""
    return left + right


@elementwise(name="test_swish")
def swish(x: float, *, beta: float = 1.0) -> float:
    """x * sigmoid(beta * x)."""
    return x / (1.0 + math.exp(-beta * x))


@elementwise(name="test_less", result="bool")
def less(left: float, right: float) -> bool:
    """Comparison."""
    return left < right


@elementwise(name="test_where", operand_types={"condition": "bool"}, like=1)
def where(condition: bool, x: float, y: float) -> float:
    """Choice."""
    return x if condition else y


@operator(name="test_first")
def first(x: Array, *, count: Any) -> Array:
    """The first ``count`` elements."""
    return x[:count]


@first.infer
def _(x: TensorType, *, count: Any) -> TensorType:
    return x.with_shape((count,))


def _copy(item, x, out):  # type: ignore[no-untyped-def]
    out[item] = x[item]


@first.kernel
def _(x: Operand, out: Operand, *, count: Any) -> Call:
    return Call(_copy, (x.whole(), out.whole()), items=count)


@operator(name="test_checked")
def checked(x: Array) -> Array:
    """The input, if no element is negative."""
    return x


@checked.infer
def _(x: TensorType) -> TensorType:
    return x


def _refuse_negative(item, x, out):  # type: ignore[no-untyped-def]
    if x[item] < 0:
        return 1 + item
    out[item] = x[item]
    return 0


@checked.kernel
def _(x: Operand, out: Operand) -> Call:
    return Call(_refuse_negative, (x.flat(), out.flat()), items=x.size, error="it is negative")


def random(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> Array:
    """Seeded normal values."""
    values = np.random.default_rng(seed).normal(0, 3, shape)
    return np.asarray(values).astype(numpy_type(dtype))


def compiled(graph: Graph) -> Session:
    """The graph compiled as it is, without passes."""
    check(graph)
    return Session(Interface.of(graph), lower(graph), "cpu")


def assert_agrees(graph: Graph, *inputs: Array, tolerance: float = 1e-6) -> Session:
    """The compiled graph gives what the references give."""
    session = compiled(graph)
    feed = {spec.name: array for spec, array in zip(session.inputs, inputs, strict=True)}
    for found, wanted in zip(session.run(None, feed), evaluate(graph, inputs), strict=True):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        np.testing.assert_allclose(
            found.astype(np.float64), wanted.astype(np.float64), rtol=tolerance, atol=tolerance
        )
    return session


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int8", "uint64"])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_a_chain_with_broadcasting_and_an_open_extent(dtype: str, batch: int) -> None:
    graph = Graph()
    x = graph.input("x", TensorType(dtype, (symbol("n"), 4, 7)))
    b = graph.input("b", TensorType(dtype, (4, 1)))
    y = graph.add(plus, x, b)
    if "int" not in dtype:
        y = graph.add(swish, y, beta=1.5)
    chosen = graph.add(where, graph.add(less, y, x), y, b)
    graph.output(graph.add(plus, chosen, chosen))
    tolerance = {"float16": 5e-3, "bfloat16": 4e-2}.get(dtype, 1e-6)
    magnitudes = [np.abs(random((batch, 4, 7), dtype)), np.abs(random((4, 1), dtype, 1))]
    assert_agrees(graph, *magnitudes, tolerance=tolerance)


def softmax_group(shape: tuple[Any, ...], bias: tuple[int, ...], axis: int) -> Graph:
    """softmax, then an addition, a swish and a residual, as one fused group."""
    group = Graph("group")
    a = group.input("x0", TensorType("float32", shape))
    b = group.input("x1", TensorType("float32", bias))
    y = group.add(plus, group.add(softmax, a, axis=axis), b)
    group.output(group.add(plus, group.add(swish, y, beta=2.0), a))
    return group


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("bias", [(7,), (4, 1), (1,), (4, 7)])
def test_an_anchor_with_an_epilogue(axis: int, bias: tuple[int, ...]) -> None:
    shape = (symbol("n"), 4, 7)
    graph = Graph()
    x = graph.input("x", TensorType("float32", shape))
    b = graph.input("b", TensorType("float32", bias))
    graph.output(graph.add(fused, x, b, group=softmax_group(shape, bias, axis)))
    assert_agrees(graph, random((3, 4, 7)), random(bias))


def test_results_take_over_dying_memory_and_inputs_stay() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (1000,)))
    value = x
    for _ in range(5):
        value = graph.add(swish, value)
    graph.output(graph.add(softmax, value))
    data = random((1000,))
    session = assert_agrees(graph, data)
    np.testing.assert_array_equal(data, random((1000,)))
    assert session.executable.arena_bytes({}) == 4032  # one buffer of 4000 bytes, aligned


def test_outputs_that_are_inputs_parameters_or_given_twice() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (3,)))
    p = graph.param(np.arange(3, dtype=np.float32))
    y = graph.add(plus, x, p)
    for number, value in enumerate((x, p, y, y)):
        graph.output(value, f"out{number}")
    assert_agrees(graph, random((3,)))


def doubling_body() -> Graph:
    """Loop body: x + k while the condition stays what it is; scans a swish."""
    body = Graph("body")
    body.input("iteration", TensorType("int64"))
    going = body.input("going", TensorType("bool"))
    x = body.input("x", TensorType("float32", (symbol("n"),)))
    k = body.input("k", TensorType("float32", (symbol("n"),)))
    y = body.add(plus, x, k)
    body.output(going, "again")
    body.output(y, "y")
    body.output(body.add(swish, y), "scan")
    return body


@pytest.mark.parametrize("trips", [0, 1, 4, 6])
def test_a_loop_with_carried_and_scanned_values(trips: int) -> None:
    graph = Graph()
    count = graph.input("count", TensorType("int64"))
    x = graph.input("x", TensorType("float32", (symbol("n"),)))
    start = graph.add(plus, x, x)
    node = graph.add_node(
        loop, [count, None, start, x], {"body": doubling_body(), "carried": 1, "trip_limit": 6}
    )
    for value in node.outputs:
        graph.output(value)
    assert_agrees(graph, np.array(trips), random((5,)))


def test_a_loop_that_ends_by_its_condition() -> None:
    body = Graph("body")
    body.input("iteration", TensorType("int64"))
    body.input("going", TensorType("bool"))
    x = body.input("x", TensorType("float32"))
    limit = body.input("limit", TensorType("float32"))
    y = body.add(plus, x, x)
    body.output(body.add(less, y, limit), "again")
    body.output(y, "y")
    graph = Graph()
    x = graph.input("x", TensorType("float32"))
    limit = graph.input("limit", TensorType("float32"))
    node = graph.add_node(loop, [None, None, x, limit], {"body": body, "carried": 1})
    for value in node.outputs:
        graph.output(value)
    assert_agrees(graph, np.float32(1), np.float32(100))


@pytest.mark.parametrize("condition", [True, False])
def test_a_choice(condition: bool) -> None:
    branches = []
    for name in ("then", "else"):
        branch = Graph(name)
        x = branch.input("x", TensorType("float32", (symbol("n"),)))
        branch.output(branch.add(swish, x) if name == "then" else x)
        branches.append(branch)
    graph = Graph()
    c = graph.input("c", TensorType("bool"))
    x = graph.input("x", TensorType("float32", (symbol("n"),)))
    graph.output(graph.add(if_, c, x, then_branch=branches[0], else_branch=branches[1]))
    assert_agrees(graph, np.array(condition), random((9,)))


def measured_graph() -> Graph:
    """Twice ``count`` elements of ``x`` go through a swish; their number comes up in the run."""
    graph = Graph()
    count = graph.input("count", TensorType("int64", (1,)))
    x = graph.input("x", TensorType("float32", (symbol("n"),)))
    extent = graph.measure(graph.add(plus, count, count), 0)
    y = graph.add(first, x, count=extent)
    graph.output(y, "part")
    graph.output(graph.add(swish, y), "result")
    return graph


@pytest.mark.parametrize("count", [0, 1, 15])
def test_an_extent_measured_in_the_run(count: int) -> None:
    assert_agrees(measured_graph(), np.array([count]), random((30,)))


@pytest.mark.parametrize("count", [-1, -(2**50), 2**50])
def test_an_absurd_measured_extent_is_an_error(count: int) -> None:
    session = compiled(measured_graph())
    with pytest.raises(ModelError, match="negative or too large"):
        session(np.array([count]), random((30,)))


def test_a_kernel_that_refuses_its_input_names_the_node() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (4,)))
    graph.output(graph.add(checked, x, name="guard"))
    session = compiled(graph)
    np.testing.assert_array_equal(session(np.ones(4, np.float32)), np.ones(4, np.float32))
    with pytest.raises(Error, match=r"guard.*it is negative"):
        session(np.array([1, 2, -3, 4], np.float32))


def test_unequal_extents_that_inference_assumed_equal_are_an_error() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (symbol("n"),)))
    y = graph.input("y", TensorType("float32", (symbol("m"),)))
    graph.output(graph.add(plus, x, y))
    session = compiled(graph)
    np.testing.assert_array_equal(session(random((3,)), random((3,))), 2 * random((3,)))
    with pytest.raises(ModelError, match="to be equal"):
        session(random((3,)), random((5,)))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((np.zeros((2, 3), np.float64),), "is float64"),
        ((np.zeros((2, 4), np.float32),), "has the shape"),
        ((np.zeros(3, np.float32),), "has the shape"),
        ((), "missing"),
        ((np.zeros((2, 3), np.float32), 1), "no input number 2"),
    ],
)
def test_wrong_inputs_are_refused(inputs: tuple[Any, ...], message: str) -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (symbol("n"), 3)))
    graph.output(graph.add(swish, x))
    with pytest.raises(ModelError, match=message):
        compiled(graph)(*inputs)


def test_many_threads_on_one_session_give_the_same_bits() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (symbol("n"), 64)))
    value = x
    for _ in range(4):
        value = graph.add(softmax, graph.add(swish, value))
    graph.output(value)
    session = compiled(graph)
    inputs = [random((10 + number, 64), seed=number) for number in range(8)]
    wanted = [session(array) for array in inputs]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            if not np.array_equal(session(inputs[number]), wanted[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_custom_operators_are_operators() -> None:
    assert isinstance(swish, Op)
    assert swish.attributes == {"beta": 1.0}


def test_thread_counts_give_the_same_bits() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (symbol("n"), 96)))
    value = x
    for _ in range(3):
        value = graph.add(softmax, graph.add(swish, value))
    graph.output(value)
    data = random((500, 96))
    results = [
        Session(Interface.of(graph), lower(graph, CompileOptions(threads)), "cpu")(data)
        for threads in (1, 2, 3, 8)
    ]
    for result in results:
        np.testing.assert_array_equal(result, results[0])


def test_a_failing_item_on_several_threads_is_reported() -> None:
    graph = Graph()
    x = graph.input("x", TensorType("float32", (100_000,)))
    graph.output(graph.add(checked, x, name="guard"))
    data = np.ones(100_000, np.float32)
    data[77_777] = -1
    session = Session(Interface.of(graph), lower(graph, CompileOptions(4)), "cpu")
    with pytest.raises(ModelError, match=r"guard.*status 77778"):
        session(data)


def choice_between(x_type: TensorType, z_type: TensorType) -> Graph:
    """The first element of the sum of two captures, or of the first capture alone."""
    branches = []
    for name in ("then", "else"):
        branch = Graph(name)
        x, z = branch.input("x", x_type), branch.input("z", z_type)
        value = branch.add(plus, x, z) if name == "then" else x
        branch.output(branch.add(first, value, count=1))
        branches.append(branch)
    graph = Graph()
    c = graph.input("c", TensorType("bool"))
    x, z = graph.input("x", x_type), graph.input("z", z_type)
    graph.output(graph.add(if_, c, x, z, then_branch=branches[0], else_branch=branches[1]))
    return graph


def test_a_branch_checks_what_its_inference_assumed() -> None:
    graph = choice_between(
        TensorType("float32", (symbol("n"),)), TensorType("float32", (symbol("m"),))
    )
    session = compiled(graph)
    x = random((3,))
    np.testing.assert_array_equal(session(np.array(True), x, x), 2 * x[:1])
    np.testing.assert_array_equal(session(np.array(False), x, random((5,))), x[:1])
    with pytest.raises(ModelError, match="differ in this run"):
        session(np.array(True), random((3,)), random((5,)))


def test_a_size_that_does_not_fit_64_bits_is_an_error() -> None:
    graph = Graph()
    count = graph.input("count", TensorType("int64", (1,)))
    x = graph.input("x", TensorType("float32", (1, 1)))
    extent = graph.measure(count, 0)
    graph.output(graph.add(expand, x, shape=(extent, extent)))
    session = compiled(graph)
    assert session(np.array([3]), np.ones((1, 1), np.float32)).shape == (3, 3)
    with pytest.raises(LimitError):
        session(np.array([2**39]), np.ones((1, 1), np.float32))
