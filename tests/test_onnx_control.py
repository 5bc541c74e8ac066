"""Reading ONNX: If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from opweave.formats.onnx.read import read

from .onnx_models import agrees, floats, model, node


def branch(nodes: Sequence[Any], output: str) -> Any:
    """A subgraph with one output and no inputs."""
    return helper.make_graph(list(nodes), output, [], [onnx.ValueInfoProto(name=output)])


@pytest.mark.parametrize("flag", [True, False])
def test_if_by_the_run(flag: bool) -> None:
    then_branch = branch([node("Add", "x x", "t"), node("Mul", "t w", "a")], "a")
    else_branch = branch([node("Sub", "w x", "b")], "b")
    nodes = [node("If", "flag", "y", then_branch=then_branch, else_branch=else_branch)]
    inputs = {"flag": ("bool", ()), "x": ("float32", ("n", 3))}
    proto = model(nodes, inputs, ["y"], {"w": floats(3)})
    agrees(proto, {"flag": np.array(flag), "x": floats(2, 3)})


@pytest.mark.parametrize("flag", [True, False])
def test_if_with_branches_of_different_sizes(flag: bool) -> None:
    then_branch = branch([node("Concat", "x x", "a", axis=0)], "a")
    else_branch = branch([node("Neg", "x", "b")], "b")
    nodes = [
        node("If", "flag", "y", then_branch=then_branch, else_branch=else_branch),
        node("Relu", "y", "z"),
    ]
    proto = model(nodes, {"flag": ("bool", ()), "x": ("float32", ("n", 3))}, ["z"])
    agrees(proto, {"flag": np.array(flag), "x": floats(2, 3)})


def test_if_with_a_known_condition_is_its_branch() -> None:
    branches = {
        "then_branch": branch([node("Relu", "x", "a")], "a"),
        "else_branch": branch([node("Nonsense", "x", "b")], "b"),
    }
    proto = model(
        [node("If", "flag", "y", **branches)],
        {"x": ("float32", (3,))},
        ["y"],
        {"flag": np.array(True)},
    )
    graph = read(proto)
    assert [n.op.name for n in graph.operators()] == ["relu"]


def loop_body(nodes: Sequence[Any], carried: str, results: str) -> Any:
    """A loop body over float32[2] values."""
    info = helper.make_tensor_value_info
    inputs = [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, [])]
    inputs += [info(name, TensorProto.FLOAT, [2]) for name in carried.split()]
    return helper.make_graph(
        list(nodes), "body", inputs, [onnx.ValueInfoProto(name=n) for n in results.split()]
    )


def test_loop_with_a_trip_count_and_scanned_outputs() -> None:
    body = loop_body(
        [node("Identity", "go", "go_on"), node("Add", "s x", "s2"), node("Mul", "s2 s2", "row")],
        "s",
        "go_on s2 row",
    )
    inputs = {"count": ("int64", ()), "x": ("float32", (2,)), "start": ("float32", (2,))}
    proto = model(
        [node("Loop", "count - start", "final rows", body=body)], inputs, ["final", "rows"]
    )
    for count in (0, 1, 4):
        given = {"count": np.array(count, np.int64), "x": floats(2), "start": floats(2)}
        agrees(proto, given)


def test_loop_that_ends_itself() -> None:
    body = loop_body(
        [
            node("Add", "s x", "s2"),
            node("ReduceSum", "s2", "total", keepdims=0),
            node("Less", "total limit", "go_on"),
        ],
        "s",
        "go_on s2 s2",
    )
    constants = {"limit": np.array(6.0, np.float32), "count": np.array(100, np.int64)}
    nodes = [node("Loop", "count start_flag start", "final rows", body=body)]
    inputs = {"start_flag": ("bool", ()), "x": ("float32", (2,)), "start": ("float32", (2,))}
    proto = model(nodes, inputs, ["final", "rows"], constants)
    given = {"x": np.ones(2, np.float32), "start": np.zeros(2, np.float32)}
    agrees(proto, {**given, "start_flag": np.array(True)})
    agrees(proto, {**given, "start_flag": np.array(False)})


def test_scan() -> None:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Add", "s x", "s2"), node("Identity", "s2", "row")],
        "body",
        [info("s", TensorProto.FLOAT, [2]), info("x", TensorProto.FLOAT, [2])],
        [info("s2", TensorProto.FLOAT, [2]), info("row", TensorProto.FLOAT, [2])],
    )
    inputs = {"start": ("float32", (2,)), "xs": ("float32", (2, "time"))}
    options = {"scan_input_axes": [1], "scan_output_axes": [1], "scan_input_directions": [1]}
    nodes = [node("Scan", "start xs", "final rows", body=body, num_scan_inputs=1, **options)]
    agrees(model(nodes, inputs, ["final", "rows"]), {"start": floats(2), "xs": floats(2, 5)})
