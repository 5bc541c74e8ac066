"""Patterns that exporters write into real models, in files small enough to read.

Each came from a network exported by PyTorch; ONNX Runtime says what it must answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from opweave.compiler.driver import compile_graph
from opweave.formats.onnx.read import read
from opweave.ir import Graph, ModelError, TensorType, symbol
from opweave.ops.registry import operator_named
from opweave.targets.cpu.elementwise import elementwise_call

Array = npt.NDArray[np.generic]
Shape = Sequence[int | str]


def model(
    nodes: Sequence[NodeProto],
    inputs: dict[str, Shape],
    outputs: Sequence[str],
    constants: dict[str, Array] | None = None,
    opset: int = 18,
) -> ModelProto:
    """A model of float32 inputs."""
    graph = helper.make_graph(
        nodes,
        "real",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    for output in graph.output:
        output.ClearField("type")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def agree(proto: ModelProto, runs: Sequence[dict[str, Array]]) -> None:
    """One compiled session must answer all runs as ONNX Runtime does."""
    session = compile_graph(read(proto), threads=1)
    reference = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for feeds in runs:
        for ours, theirs in zip(session.run(None, feeds), reference.run(None, feeds), strict=True):
            assert ours.shape == theirs.shape
            assert ours.dtype == theirs.dtype
            scale = np.abs(theirs).max(initial=0) or 1
            assert np.abs(ours - theirs).max(initial=0) <= 1e-5 * scale


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def halved_less_one(source: str, axis: int, result: str) -> list[NodeProto]:
    """``result`` = [(extent - 1) / 2 + 1], as exporters write the size after a stride of 2."""
    return [
        helper.make_node("Shape", [source], [f"{result}.0"], start=axis, end=axis + 1),
        helper.make_node("Squeeze", [f"{result}.0"], [f"{result}.1"]),
        helper.make_node("Add", [f"{result}.1", "minus_one"], [f"{result}.2"]),
        helper.make_node("Div", [f"{result}.2", "two"], [f"{result}.3"]),
        helper.make_node("Add", [f"{result}.3", "one"], [f"{result}.4"]),
        helper.make_node("Reshape", [f"{result}.4", "row"], [result]),
    ]


SIZES: dict[str, Array] = {
    "minus_one": np.array(-1, np.int64),
    "one": np.array(1, np.int64),
    "two": np.array(2, np.int64),
    "row": np.array([1], np.int64),
}


def test_sizes_after_strides_are_known_while_reading() -> None:
    """Channel shuffle after a convolution of stride 2 at any image size.

    The size is computed with a division of ``height - 1``, whose sign is not certain.
    """
    weights, matrix = normal(6, 3, 3, 3), normal(6, 4)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        *halved_less_one("x", 2, "h"),
        *halved_less_one("x", 3, "v"),
        helper.make_node("Shape", ["x"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "g", "k", "h", "v"], ["apart"], axis=0),
        helper.make_node("Concat", ["batch", "all", "h", "v"], ["together"], axis=0),
        helper.make_node("Reshape", ["c", "apart"], ["r"], allowzero=1),
        helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["t", "together"], ["s"], allowzero=1),
        helper.make_node("ReduceMean", ["s", "planes"], ["m"], keepdims=0),
        helper.make_node("MatMul", ["m", "p"], ["y"]),
    ]
    constants: dict[str, Array] = {
        **SIZES,
        "w": weights,
        "p": matrix,
        "g": np.array([2], np.int64),
        "k": np.array([3], np.int64),
        "all": np.array([6], np.int64),
        "planes": np.array([2, 3], np.int64),
    }
    proto = model(nodes, {"x": ["batch", 3, "height", "width"]}, ["y", "s"], constants)
    assert not read(proto).symbols  # nothing has to be measured
    sizes = [(2, 3, 8, 6), (1, 3, 7, 9), (3, 3, 1, 2)]
    agree(proto, [{"x": normal(*size)} for size in sizes])
    with pytest.raises(ModelError):
        compile_graph(read(proto), threads=1).run(None, {"x": normal(1, 3, 0, 2)})


def test_what_a_group_overwrites_it_reads_at_the_same_place() -> None:
    """The bias behind a convolution of several images is added in vectors.

    LLVM gives that up where it cannot see that a value is read where its result is written.
    """
    group = Graph("group")
    images, channels = symbol("images"), 6
    anchor = group.input("anchor", TensorType("float32", (images, channels, 35)))
    bias = group.input("bias", TensorType("float32", (channels, 1)))
    group.output(group.add(operator_named("add"), anchor, bias))
    call = elementwise_call(group, {anchor: 1, bias: 0}, 1, 1, 35, rectangle=True)
    last = (call.body.__doc__ or "").split("\n")[-2]
    read = next(line for line in (call.body.__doc__ or "").split("\n") if "v0 = " in line)
    assert read.split("[")[1] == last.split("] = ")[0].split("[")[1] + "]"
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    constants: dict[str, Array] = {"w": normal(channels, 9, 1, 1), "b": normal(channels)}
    proto = model(nodes, {"x": ["n", 9, 5, 7]}, ["y"], constants)
    agree(proto, [{"x": normal(count, 9, 5, 7)} for count in (1, 2, 3)])
