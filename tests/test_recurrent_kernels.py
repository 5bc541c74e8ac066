"""Recurrent layers with constant weights: generated kernels against float64 references."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from opweave.compiler.driver import compile_graph
from opweave.compiler.session import Session
from opweave.ir import Array, Graph, Op, TensorType
from opweave.ir.dim import symbol
from opweave.ops.lstm import lstm
from opweave.ops.recurrent import gru, rnn
from opweave.ops.recurrent_common import FUNCTIONS
from opweave.targets.cpu.choices import Choices
from opweave.targets.cpu.recurrent import plan
from opweave.targets.cpu.recurrent.plan import GATES, pack_recurrent, unpack_recurrent
from opweave.targets.cpu.recurrent.recurrence import recurrence
from opweave.targets.cpu.recurrent.select import select_recurrent

COMPILED = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
WIDTHS = [16, 8, 4]
OPERATORS: dict[str, tuple[Op, int, int]] = {
    "lstm": (lstm, 4, 3),
    "gru": (gru, 3, 2),
    "rnn": (rnn, 1, 1),
}
STATES = {"lstm": 2, "gru": 1, "rnn": 1}


def random(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Array:
    return np.random.default_rng(seed).uniform(-scale, scale, shape).astype(np.float32)


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    """One recurrent layer: operator, sizes, which operands it has, attributes."""
    kind = draw(st.sampled_from(["lstm", "gru", "rnn"]))
    functions = OPERATORS[kind][2]
    names = draw(
        st.just([])
        | st.lists(st.sampled_from(sorted(FUNCTIONS)), min_size=functions, max_size=functions)
    )
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    directions = 2 if direction == "bidirectional" else 1
    attributes: dict[str, Any] = {
        "direction": direction,
        "activations": tuple(names) * directions,
        "clip": draw(st.sampled_from([0.0, 0.0, 0.6])),
        "layout": draw(st.integers(0, 1)),
    }
    if kind == "lstm":
        attributes["input_forget"] = draw(st.booleans())
    if kind == "gru":
        attributes["linear_before_reset"] = draw(st.booleans())
    return {
        "kind": kind,
        "directions": directions,
        "time": draw(st.integers(0, 7)),
        "batch": draw(st.sampled_from([1, 1, 2, 3, 5, 9, 31])),
        "inputs": draw(st.integers(1, 9)),
        "hidden": draw(st.integers(1, 70)),
        "bias": draw(st.booleans()),
        "lengths": draw(st.booleans()),
        "states": draw(st.booleans()),
        "peepholes": kind == "lstm" and draw(st.booleans()),
        "attributes": {"hidden_size": 0, **attributes},
    }


def arrays_of(layer: dict[str, Any]) -> list[Array | None]:
    """Operands in the operator's order."""
    kind, hidden, directions = layer["kind"], layer["hidden"], layer["directions"]
    rows = OPERATORS[kind][1] * hidden
    time, batch = layer["time"], layer["batch"]
    first = layer["attributes"]["layout"] == 1
    scale = 1.5 / np.sqrt(hidden)
    state = (batch, directions, hidden) if first else (directions, batch, hidden)
    lengths = np.random.default_rng(7).integers(0, time + 1, batch, np.int32)
    result: list[Array | None] = [
        random((batch, time, layer["inputs"]) if first else (time, batch, layer["inputs"]), 1),
        random((directions, rows, layer["inputs"]), 2),
        random((directions, rows, hidden), 3, scale),
        random((directions, 2 * rows), 4) if layer["bias"] else None,
        lengths if layer["lengths"] else None,
    ]
    for number in range(STATES[kind]):
        result.append(random(state, 5 + number) if layer["states"] else None)
    if kind == "lstm":
        result.append(random((directions, 3 * hidden), 8) if layer["peepholes"] else None)
    return result


_CONSTANT = {1, 2, 3, 7}


def graph_of(layer: dict[str, Any], arrays: list[Array | None], opened: bool) -> Graph:
    """The layer with its weights as parameters, the sizes of batch and time open or known."""
    op = OPERATORS[layer["kind"]][0]
    graph = Graph()
    sizes: dict[int, Any] = {}
    if opened:
        sizes = {layer["batch"]: symbol("batch"), layer["time"]: symbol("time")}
    operands = []
    for position, array in enumerate(arrays):
        if array is None:
            operands.append(None)
        elif position in _CONSTANT:
            operands.append(graph.param(array, f"p{position}"))
        else:
            free = (0, 1) if position in (0, 4) else range(3)
            shape = tuple(
                sizes.get(extent, extent)
                if axis in free and _is_size(layer, position, axis)
                else extent
                for axis, extent in enumerate(array.shape)
            )
            operands.append(graph.input(f"x{position}", TensorType(array.dtype.name, shape)))
    attributes = {**layer["attributes"], "hidden_size": layer["hidden"]}
    for value in graph.add_node(op, operands, attributes).outputs:
        graph.output(value)
    return graph


def _is_size(layer: dict[str, Any], position: int, axis: int) -> bool:
    """True for an axis that is batch or time."""
    if position in (0, 4):
        return axis < 2
    return axis == (0 if layer["attributes"]["layout"] else 1)


def compiled(graph: Graph, width: int, threads: int) -> Session:
    """The graph with the generated kernel, which it must have."""
    assert select_recurrent(graph, Choices(width, False, threads)) == 1
    assert [node.op for node in graph.operators()][-1] is recurrence
    return compile_graph(graph, threads=threads)


def inputs_of(arrays: list[Array | None]) -> list[Array]:
    return [a for k, a in enumerate(arrays) if a is not None and k not in _CONSTANT]


def wanted(layer: dict[str, Any], arrays: list[Array | None]) -> list[Array]:
    wide = [
        None if a is None else a if a.dtype == np.int32 else a.astype(np.float64) for a in arrays
    ]
    attributes = {**layer["attributes"], "hidden_size": layer["hidden"]}
    return list(OPERATORS[layer["kind"]][0].reference(*wide, **attributes))


def assert_near(found: Any, right: list[Array]) -> None:
    assert len(found) == len(right)
    for one, other in zip(found, right, strict=True):
        assert one.shape == other.shape
        scale = max(float(np.abs(other).max(initial=0)), 1.0)
        assert np.abs(one - other).max(initial=0) <= 1e-5 * scale


@pytest.mark.parametrize("width", WIDTHS)
@COMPILED
@given(layers(), st.booleans(), st.integers(1, 3))
def test_layers(width: int, layer: dict[str, Any], opened: bool, threads: int) -> None:
    assume(layer["batch"] != layer["time"] if opened else layer["time"] > 0)
    arrays = arrays_of(layer)
    right = wanted(layer, arrays)
    assume(all(np.abs(value).max(initial=0) < 100 for value in right))  # it may grow with relu
    with mock.patch.object(plan, "_MEMBER_BYTES", 1):  # share even the smallest layers
        session = compiled(graph_of(layer, arrays, opened), width, threads)
    assert_near(session.run(None, dict(zip(
        (value.name for value in session.inputs), inputs_of(arrays), strict=True
    ))), right)  # fmt: skip


@given(
    st.sampled_from(sorted(GATES)), st.integers(1, 2), st.integers(1, 90), st.sampled_from(WIDTHS)
)
def test_weights_are_packed_and_found_again(
    kind: str, directions: int, hidden: int, width: int
) -> None:
    r = random((directions, GATES[kind] * hidden, hidden), 1)
    packed = pack_recurrent(r, kind, width)
    assert np.array_equal(unpack_recurrent(packed, kind, hidden, width), r)
