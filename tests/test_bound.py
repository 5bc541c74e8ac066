"""Bound sessions: runs that read and write the same arrays, against runs that do not."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import opweave as ow
from opweave.compiler.session import Session
from opweave.ir import Graph, ModelError, TensorType, UnsupportedError
from opweave.ops.elementwise_activation import relu
from opweave.ops.elementwise_arithmetic import add
from opweave.ops.gather import gather
from opweave.ops.matmul import matmul
from opweave.ops.movement import expand
from opweave.targets.cpu import executable

Array = np.ndarray[Any, Any]


def _two_outputs() -> Session:
    """x + y and relu(x + y), of any number of rows."""
    graph = Graph("two")
    type_ = TensorType("float32", (ow.symbol("rows"), 8))
    x, y = graph.input("x", type_), graph.input("y", type_)
    total = graph.add(add, x, y)
    graph.output(total, "total")
    graph.output(graph.add(relu, total), "positive")
    return ow.compile(graph, threads=1)


def _arrays(rows: int, seed: int = 0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    x, y = (random.standard_normal((rows, 8)).astype(np.float32) for _ in range(2))
    return x, y


def test_bound_runs_follow_the_contents_of_their_inputs() -> None:
    session = _two_outputs()
    x, y = _arrays(3)
    bound = session.bind(x, y=y)
    for seed in range(3):
        x[...], y[...] = _arrays(3, seed)
        total, positive = bound()
        assert total is bound.outputs[0]
        assert positive is bound.outputs[1]
        np.testing.assert_array_equal(total, x + y)
        np.testing.assert_array_equal(positive, np.maximum(x + y, 0))


@pytest.mark.parametrize("named", [False, True])
def test_outputs_given_by_the_caller_are_written(named: bool) -> None:
    session = _two_outputs()
    x, y = _arrays(4)
    memory = np.full((2, 4, 8), np.nan, np.float32)
    outputs: Any = {"positive": memory[1], "total": memory[0]} if named else list(memory)
    bound = session.bind(x, y, outputs=outputs)
    bound()
    np.testing.assert_array_equal(memory[0], x + y)
    np.testing.assert_array_equal(memory[1], np.maximum(x + y, 0))


def test_bound_and_other_runs_do_not_disturb_one_another() -> None:
    session = _two_outputs()
    bounds = [session.bind(*_arrays(rows, rows)) for rows in (1, 5, 2)]
    for rows in (7, 1, 5):
        x, y = _arrays(rows, 9)
        np.testing.assert_array_equal(session(x, y)[0], x + y)
        for bound in bounds:
            np.testing.assert_array_equal(bound()[0], bound.inputs[0] + bound.inputs[1])


def test_what_does_not_fit_is_refused() -> None:
    session = _two_outputs()
    x, y = _arrays(4)
    good = [np.empty_like(x), np.empty_like(x)]
    read_only = np.empty_like(x)
    read_only.flags.writeable = False
    wrong: list[tuple[str, Any, Any]] = [
        ("no NumPy array", x.tolist(), good),
        ("float64", x.astype(np.float64), good),
        ("not contiguous", np.asfortranarray(x), good),
        ("shape", x[:, :7].copy(), good),
        ("shape", x, [good[0], np.empty((5, 8), np.float32)]),
        ("float64", x, [good[0], np.empty((4, 8))]),
        ("not contiguous", x, [good[0], np.empty((8, 4), np.float32).T]),
        ("read-only", x, [good[0], read_only]),
        ("overlaps", x, [x, good[0]]),
        ("overlaps", x, [good[0], good[0]]),
        ("outputs are", x, good[:1]),
        ("outputs are", x, good[0]),
        ("outputs are", x, {"total": good[0], "other": good[1]}),
    ]
    for message, first, outputs in wrong:
        with pytest.raises(ModelError, match=message):
            session.bind(first, y, outputs=outputs)


def test_read_only_inputs_can_be_bound_and_run() -> None:
    session = _two_outputs()
    x, y = _arrays(4)
    x.flags.writeable = False
    np.testing.assert_array_equal(session.bind(x, y)()[0], x + y)
    np.testing.assert_array_equal(session(x, y)[0], x + y)


def test_outputs_of_unknown_shape_cannot_be_bound() -> None:
    graph = Graph("late")
    x = graph.input("x", TensorType("float32", (4, 1)))
    count = graph.input("count", TensorType("int64", (1,)))
    columns = graph.measure(graph.add(add, count, count), 0)
    graph.output(graph.add(expand, x, shape=(4, columns)), "y")
    session = ow.compile(graph, threads=1)
    with pytest.raises(UnsupportedError, match="cannot be bound"):
        session.bind(np.ones((4, 1), np.float32), np.array([3]))


def test_failures_are_raised_and_leave_the_session_usable() -> None:
    graph = Graph("rows")
    x = graph.input("x", TensorType("float32", (5, 3)))
    indices = graph.input("indices", TensorType("int64", (2,)))
    graph.output(graph.add(gather, x, indices, axis=0), "y")
    session = ow.compile(graph, threads=1)
    table, places = np.arange(15, dtype=np.float32).reshape(5, 3), np.array([4, 0])
    bound = session.bind(table, places)
    places[1] = 5
    with pytest.raises(ModelError, match="outside"):
        bound()
    places[1] = -5
    np.testing.assert_array_equal(bound(), table[[4, 0]])


def test_callers_of_one_bound_session_take_turns() -> None:
    graph = Graph("products")
    type_ = TensorType("float32", (96, 96))
    x = graph.input("x", type_)
    graph.output(graph.add(matmul, graph.add(matmul, x, x), x), "y")
    session = ow.compile(graph, threads=2)
    x_values = np.random.default_rng(0).standard_normal((96, 96)).astype(np.float32)
    bound = session.bind(x_values)
    expected = bound().copy()

    def call() -> None:
        for _ in range(50):
            bound()

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    np.testing.assert_array_equal(bound.outputs[0], expected)


def test_interpreters_whose_arrays_do_not_show_their_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executable, "ADDRESS_IN_ARRAY", 0)
    session = _two_outputs()
    for rows in (1, 200, 2):
        x, y = _arrays(rows)
        for total, positive in (session(x, y), session.bind(x, y)()):
            np.testing.assert_array_equal(total, x + y)
            np.testing.assert_array_equal(positive, np.maximum(x + y, 0))
