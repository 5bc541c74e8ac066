"""Writing ONNX: every operator's samples through a file, ONNX Runtime and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxruntime.capi.onnxruntime_pybind11_state as engine_errors
import pytest

from opweave.compiler.interpret import run_reference
from opweave.formats.mindir.read import read as read_mindir
from opweave.formats.mindir.write import write as write_mindir
from opweave.formats.onnx.read import read
from opweave.formats.onnx.write import write
from opweave.formats.onnx.writer import find_writer
from opweave.ir import Array, Graph, ModelError, Op, Sample, TensorType, UnsupportedError, symbol
from opweave.ir.evaluate import evaluate
from opweave.ops.control import if_, loop
from opweave.ops.define import elementwise
from opweave.ops.registry import operator_named, operators

from .against_runtime import session_of
from .test_mindir_read import DATA, cases, check

# Operators that ONNX (opset 23) has no words for.
NOT_IN_ONNX = {
    "fused",
    "resolve_reshape",
    "resolve_slice",
    "max_unpool",
}

TOLERANCE = {"float64": 1e-7, "float32": 1e-4, "float16": 4e-3, "bfloat16": 3e-2}

CASES = [
    pytest.param(op, sample, id=f"{op.name}-{number}")
    for op in operators().values()
    if op.name not in NOT_IN_ONNX
    for number, sample in enumerate(op.samples)
]


def graph_of(op: Op, sample: Sample) -> tuple[Graph, list[Array]]:
    """A graph of one node whose present operands are graph inputs."""
    graph = Graph(op.name)
    operands = [
        None if array is None else graph.input(f"x{number}", TensorType.of(array))
        for number, array in enumerate(sample.inputs)
    ]
    node = graph.add_node(op, operands, sample.attributes)
    for number, value in enumerate(node.outputs):
        graph.output(value, f"y{number}")
    return graph, [array for array in sample.inputs if array is not None]


def close(found: Sequence[Array], wanted: Sequence[Array]) -> None:
    """Equal types and shapes, values within the tolerance of the type."""
    for mine, other in zip(found, wanted, strict=True):
        assert mine.dtype == other.dtype
        assert mine.shape == other.shape
        tolerance = TOLERANCE.get(other.dtype.name)
        if tolerance is None:
            np.testing.assert_array_equal(mine, other)
            continue
        left, right = mine.astype(np.float64), other.astype(np.float64)
        largest = float(np.abs(right[np.isfinite(right)]).max(initial=1e-30))
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance * largest)


# What ONNX Runtime raises where it has no kernel for the types, or refuses the numbers.
REFUSALS = (
    engine_errors.NotImplemented,
    engine_errors.Fail,
    engine_errors.RuntimeException,
    engine_errors.InvalidArgument,
)

# How many comparisons with ONNX Runtime were possible, and how many were not.
COMPARED = {True: 0, False: 0}


def run_onnxruntime(data: bytes, graph: Graph, inputs: Sequence[Array]) -> list[Array] | None:
    """Outputs by ONNX Runtime; None where it has no kernel, or refuses these numbers."""
    try:
        session = session_of(data)
        names = [value.name for value in session.get_inputs()]
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(np.array(array, order="C"))
            for name, array in zip(names, inputs, strict=True)
        }
        found = session.run_with_ort_values(None, values)
    except REFUSALS:
        return None
    return [value.numpy() for value in found]


def is_plain(array: Array) -> bool:
    """No empty tensor, no number that engines are known to treat in their own ways."""
    if array.dtype.name == "bfloat16" or array.size == 0:
        return False
    if array.dtype.kind == "f":
        return bool(np.all(np.isfinite(array)))
    return True


def round_trip(
    graph: Graph,
    inputs: Sequence[Array],
    engine: bool = True,
    checked: bool = True,
    **options: Any,
) -> bytes:
    """Write, check, compare with ONNX Runtime, read back, compare again."""
    data = write(graph, **options)
    onnx.checker.check_model(data, full_check=checked)
    wanted = run_reference(graph, inputs)
    if engine and all(map(is_plain, (*inputs, *wanted))):
        found = run_onnxruntime(data, graph, inputs)
        COMPARED[found is not None] += 1
        if found is not None:
            close(found, wanted)
    again = read(data)
    assert [again.type(v) for v in again.inputs] == [graph.type(v) for v in graph.inputs]
    assert again.output_names == graph.output_names
    close(run_reference(again, inputs), wanted)
    return data


def test_every_operator_is_written_or_listed() -> None:
    without = {name for name in operators() if find_writer(name) is None}
    assert without <= NOT_IN_ONNX


def engine_differs(op: Op, sample: Sample) -> bool:
    """Where ONNX Runtime does not do what the operator's text says."""
    attributes = sample.attributes
    if op.name in ("lstm", "gru", "rnn"):
        # A sequence of length 0 gives zeros, not the initial state; GRU's functions are mixed up.
        lengths = sample.inputs[4] if len(sample.inputs) > 4 else None
        return (lengths is not None and not lengths.all()) or bool(attributes.get("activations"))
    if op.name == "column_image":
        return len(attributes["block"]) == 1
    # Integer powers and products go through floats.
    return op.name in ("pow", "reduce_prod") and sample.inputs[0].dtype.kind in "iu"  # type: ignore[union-attr]


@pytest.mark.parametrize(("op", "sample"), CASES)
def test_samples(op: Op, sample: Sample) -> None:
    graph, inputs = graph_of(op, sample)
    if op.name.startswith("convolution") and inputs[0].dtype in (np.int32, np.int64):
        with pytest.raises(UnsupportedError, match="convolutions of int"):
            write(graph)
        return
    # The inference of the onnx package does not know ellipses of different ranks.
    ellipsis = "..." in sample.attributes.get("equation", "")
    round_trip(graph, inputs, engine=not engine_differs(op, sample), checked=not ellipsis)


def test_most_samples_were_compared() -> None:
    if sum(COMPARED.values()) < 500:
        pytest.skip("only some tests were chosen")
    assert COMPARED[True] > 0.8 * sum(COMPARED.values())


def test_symbolic_extents_are_computed_by_the_model() -> None:
    graph = Graph("symbolic")
    n, m = symbol("n"), symbol("m")
    x = graph.input("x", TensorType("float32", (n, m, 4)))
    flat = graph.add(operator_named("reshape"), x, shape=(n * m, 4))
    part = graph.add(
        operator_named("slice"),
        flat,
        starts=(m, 0),
        sizes=((n - 1) * m // 2, 4),
        steps=(2, 1),
    )
    graph.output(part, "part")
    graph.output(graph.add(operator_named("extents"), values=(n * m - 3, (n - 8) // 3, 7)), "sizes")
    array = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    round_trip(graph, [array])


def test_measured_extents() -> None:
    graph = Graph("measured")
    x = graph.input("x", TensorType("float32", (3, 4)))
    found, count = graph.add_node(operator_named("nonzero"), (x,), {}).outputs
    size = graph.measure(count, 0)
    cut = graph.add(operator_named("slice"), found, starts=(0, 0), sizes=(2, size), steps=(1, 1))
    graph.output(cut, "where")
    round_trip(graph, [np.eye(3, 4, dtype=np.float32)])


def test_control_flow() -> None:
    add = operator_named("add")
    kind = TensorType("float32", (2,))
    branches = []
    for number in range(2):
        branch = Graph(f"branch{number}")
        value = branch.input("x", kind)
        bias = branch.param(np.full(2, number, np.float32))
        branch.output(branch.add(add, value, bias), "y")
        branches.append(branch)
    body = Graph("body")
    body.input("i", TensorType("int64"))
    going = body.input("go", TensorType("bool"))
    state, captured = body.input("s", kind), body.input("c", kind)
    total = body.add(add, state, captured)
    body.output(going, "go_on")
    body.output(total, "s2")
    body.output(total, "row")
    graph = Graph("control")
    flag = graph.input("flag", TensorType("bool"))
    count = graph.input("count", TensorType("int64"))
    x = graph.input("x", kind)
    chosen = graph.add(if_, flag, x, then_branch=branches[0], else_branch=branches[1])
    node = graph.add_node(
        loop, (count, None, chosen, x), {"body": body, "carried": 1, "trip_limit": 5}
    )
    for number, value in enumerate(node.outputs):
        graph.output(value, f"y{number}")
    for number in (0, 3, 5):
        values = [np.array(number % 2 == 1), np.array(number), np.array([1, 2], np.float32)]
        round_trip(graph, values)


def test_outputs_that_are_inputs_parameters_or_twice() -> None:
    graph = Graph("passed")
    x = graph.input("x", TensorType("float32", (2,)))
    weight = graph.param(np.ones(3, np.float32), "w")
    y = graph.add(operator_named("relu"), x)
    for value, name in ((x, "same"), (weight, "constant"), (y, "first"), (y, "second")):
        graph.output(value, name)
    round_trip(graph, [np.array([-1, 2], np.float32)])


@elementwise
def strange(x: Any) -> Any:
    """Not in ONNX."""
    return x + x


def test_everything_that_cannot_be_written_is_listed() -> None:
    graph = Graph("strange")
    x = graph.input("x", TensorType("float32", (2,)))
    graph.output(graph.add(strange, graph.add(strange, graph.add(operator_named("relu"), x))), "y")
    with pytest.raises(UnsupportedError) as caught:
        write(graph)
    assert len(caught.value.items) == 2


# --- files ---------------------------------------------------------------------------------


def weighted() -> Graph:
    """A graph with 12 kB of parameters."""
    graph = Graph("weighted")
    x = graph.input("x", TensorType("float32", (symbol("n"), 30)))
    weight = graph.param(np.arange(3000, dtype=np.float32).reshape(30, 100), "weight")
    graph.output(graph.add(operator_named("matmul"), x, weight), "y")
    return graph


def test_external_data(tmp_path: Path) -> None:
    graph = weighted()
    path = tmp_path / "model.onnx"
    write(graph, path, external=True)
    assert path.stat().st_size < 1000
    assert sum(file.stat().st_size for file in tmp_path.glob("*.data")) == 12_000
    onnx.checker.check_model(str(path))
    again = read(path)
    x = np.ones((2, 30), np.float32)
    close(run_reference(again, [x]), run_reference(graph, [x]))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    close(session.run(None, {"x": x}), run_reference(graph, [x]))
    with pytest.raises(ModelError, match="path"):
        write(graph, external=True)


def test_writing_twice_gives_the_same_bytes() -> None:
    assert write(weighted()) == write(weighted())


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(weighted(), path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_opsets() -> None:
    round_trip(weighted(), [np.ones((1, 30), np.float32)], opset=21)
    with pytest.raises(UnsupportedError, match="opset"):
        write(weighted(), opset=3)


def test_a_custom_operator_with_a_built_in_name_is_refused() -> None:
    @elementwise(name="relu")
    def bent(x: float) -> float:
        """Not ONNX's Relu."""
        return x if x > 1 else 0.5 * x

    graph = Graph()
    x = graph.input("x", TensorType("float32", (3,)))
    graph.output(graph.add(bent, x), "y")
    with pytest.raises(UnsupportedError, match="relu"):
        write(graph, None)


def test_an_output_with_an_input_s_name_gets_another() -> None:
    graph = Graph("names")
    x = graph.input("x", TensorType("float32", (2,)))
    graph.output(graph.add(operator_named("neg"), x), "x")
    graph.output(graph.add(operator_named("abs"), x), "x_output")
    model = read(write(graph))
    assert [value.node for value in model.inputs] == ["x"]
    first, second = model.output_names
    assert first not in ("x", "x_output")
    assert second == "x_output"


@pytest.mark.parametrize("name", ["11_detection", "14_dynamic_shape"])
def test_networks_of_mindspore(name: str) -> None:
    """Suppressed boxes, and padding "same" for images of any size: there and back."""
    graph = read_mindir(DATA / f"2.10/{name}.mindir")
    data = write(graph)  # of opset 21: ONNX Runtime has no RoiAlign of opset 22
    for inputs, wanted in cases(name):
        found = run_onnxruntime(data, graph, inputs)
        assert found is not None
        check(found, wanted)
    again = read_mindir(write_mindir(read(data)))
    for inputs, wanted in cases(name):
        check(evaluate(again, inputs), wanted)
