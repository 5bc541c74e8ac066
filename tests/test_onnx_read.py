"""Reading ONNX: each construct against ONNX Runtime, through the operators' references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from opweave.compiler.interpret import run_reference
from opweave.formats.adapter import load
from opweave.formats.onnx.read import read, read_model
from opweave.formats.onnx.registry import reads, register_operator
from opweave.ir import ModelError, UnsupportedError
from opweave.ops.define import elementwise

from .onnx_models import agrees, floats, model, node


@pytest.mark.parametrize("opset", [7, 11, 12, 13, 21])
@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax_before_13_sees_a_matrix(op_type: str, opset: int, axis: int) -> None:
    proto = model(
        [node(op_type, "x", "y", axis=axis)], {"x": ("float32", (2, 3, 4))}, ["y"], opset=opset
    )
    agrees(proto, {"x": floats(2, 3, 4)})


def test_clip_bounds_were_attributes() -> None:
    x = {"x": floats(3, 4)}
    inputs = {"x": ("float32", (3, 4))}
    agrees(model([node("Clip", "x", "y", min=-0.5, max=0.5)], inputs, ["y"], opset=9), x)
    constants = {"low": np.float32(-0.25).reshape(()), "high": np.float32(0.5).reshape(())}
    for opset in (11, 12, 13):
        proto = model([node("Clip", "x low high", "y")], inputs, ["y"], constants, opset)
        agrees(proto, x)
        agrees(model([node("Clip", "x - high", "y")], inputs, ["y"], constants, opset), x)


def test_axes_as_attribute_and_as_input() -> None:
    x = {"x": floats(2, 1, 3)}
    inputs = {"x": ("float32", (2, 1, 3))}
    axes = {"axes": np.array([1], np.int64)}
    for op_type, old in (("Squeeze", 11), ("Unsqueeze", 11), ("ReduceSum", 11), ("ReduceMax", 13)):
        agrees(model([node(op_type, "x", "y", axes=[1])], inputs, ["y"], opset=old), x)
        new = 18 if op_type == "ReduceMax" else 13
        agrees(model([node(op_type, "x axes", "y")], inputs, ["y"], axes, opset=new), x)


def test_unknown_version_names_those_that_exist() -> None:
    proto = model([node("Upsample", "x", "y")], {"x": ("float32", (1,))}, ["y"], opset=10)
    with pytest.raises(UnsupportedError, match=r"Upsample \(ai.onnx, since 10; model has opset 10"):
        read(proto)


def test_registry_refuses_a_second_reader() -> None:
    with pytest.raises(ModelError, match="already is a reader"):
        reads("Softmax", since=13)(lambda g, x: x)


def test_old_batch_normalization_and_dropout() -> None:
    constants = {name: np.abs(floats(3)) for name in ("s", "b", "m", "v")}
    for opset in (7, 9, 15):
        nodes = [
            node("BatchNormalization", "x s b m v", "t", epsilon=1e-3),
            node("Dropout", "t", "y"),
        ]
        proto = model(nodes, {"x": ("float32", (2, 3, 4))}, ["y"], constants, opset)
        agrees(proto, {"x": floats(2, 3, 4)})


def test_local_functions_with_attributes() -> None:
    scaled = helper.make_node("LeakyRelu", ["a"], ["c"])
    reference = scaled.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT)
    reference.ref_attr_name = "slope"
    function = helper.make_function(
        "local", "Bent", ["a"], ["c"], [scaled], [helper.make_opsetid("", 21)], ["slope"]
    )
    nodes = [
        helper.make_node("Bent", ["x"], ["t"], domain="local", slope=0.3),
        helper.make_node("Bent", ["t"], ["y"], domain="local"),
    ]
    proto = model(
        nodes,
        {"x": ("float32", (4,))},
        ["y"],
        functions=[function],
        imports=[helper.make_opsetid("local", 1)],
    )
    agrees(proto, {"x": floats(4)})


def test_operators_of_the_standard_that_are_functions() -> None:
    nodes = [node("MeanVarianceNormalization", "x", "y")]
    agrees(model(nodes, {"x": ("float32", (2, 3, 4, 5))}, ["y"]), {"x": floats(2, 3, 4, 5)}, 1e-4)


@elementwise
def wave(x: Any, *, gain: float = 1.0) -> Any:
    """A user's own operator."""
    return x * gain + x


def test_custom_operators_by_name() -> None:
    register_operator("test.domain", "Wave", wave)
    nodes = [helper.make_node("Wave", ["x"], ["y"], domain="test.domain", gain=3.0)]
    imports = [helper.make_opsetid("test.domain", 1)]
    graph = read(model(nodes, {"x": ("float32", (3,))}, ["y"], imports=imports))
    (y,) = run_reference(graph, [np.array([1, 2, 3], np.float32)])
    np.testing.assert_array_equal(y, np.array([4, 8, 12], np.float32))


STORED: list[tuple[int, list[Any], str]] = [
    (TensorProto.FLOAT, [1.5, -2.0], "float32"),
    (TensorProto.DOUBLE, [1.5, -2.0], "float64"),
    (TensorProto.INT64, [2**40, -1], "int64"),
    (TensorProto.INT32, [7, -1], "int32"),
    (TensorProto.INT8, [7, -1], "int8"),
    (TensorProto.UINT8, [7, 255], "uint8"),
    (TensorProto.INT16, [7, -300], "int16"),
    (TensorProto.UINT16, [7, 65535], "uint16"),
    (TensorProto.UINT32, [7, 2**32 - 1], "uint32"),
    (TensorProto.UINT64, [7, 2**64 - 1], "uint64"),
    (TensorProto.BOOL, [True, False], "bool"),
    (TensorProto.FLOAT16, [1.5, -2.0], "float16"),
    (TensorProto.BFLOAT16, [1.5, -2.0], "bfloat16"),
]


@pytest.mark.parametrize(("number", "items", "dtype"), STORED, ids=[s[2] for s in STORED])
def test_typed_fields_and_raw_data(number: int, items: list[Any], dtype: str) -> None:
    typed = helper.make_tensor("c", number, [2], items)
    raw = numpy_helper.from_array(numpy_helper.to_array(typed), "c")
    for tensor in (typed, raw):
        proto = model([node("Identity", "c", "y")], {}, ["y"])
        proto.graph.initializer.append(tensor)
        (found,) = run_reference(read(proto), [])
        assert found.dtype.name == dtype
        np.testing.assert_array_equal(found, numpy_helper.to_array(typed))


def test_sparse_initializers() -> None:
    values = numpy_helper.from_array(np.array([1, 2], np.float32), "c")
    for indices in (np.array([1, 5], np.int64), np.array([[0, 1], [1, 2]], np.int64)):
        sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(indices), [2, 3])
        proto = model([node("Identity", "c", "y")], {}, ["y"])
        proto.graph.sparse_initializer.append(sparse)
        (found,) = run_reference(read(proto), [])
        np.testing.assert_array_equal(found, np.array([[0, 1, 0], [0, 0, 2]], np.float32))


def test_names_and_order_of_the_file() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"], name="first/MatMul"),
        helper.make_node("Add", ["t", "b"], ["y"], name="first/Add"),
    ]
    inputs = {"x": ("float32", (2, 3)), "b": ("float32", (4,))}
    proto = model(nodes, inputs, ["y", "t"], {"w": floats(3, 4)})
    proto.producer_name = "maker"
    found = read_model(proto)
    assert [value.node for value in found.graph.inputs] == ["x", "b"]
    assert found.graph.output_names == ("y", "t")
    assert {n.name for n in found.graph.operators()} == {"first/MatMul", "first/Add"}
    assert found.metadata.producer == "maker"
    assert found.metadata.versions["ai.onnx"] == 21


def test_load_decides_by_content(tmp_path: Path) -> None:
    proto = model([node("Relu", "x", "y")], {"x": ("float32", (2,))}, ["y"])
    path = tmp_path / "model.anything"
    path.write_bytes(proto.SerializeToString())
    assert load(path).format == "ONNX"
    with path.open("rb") as file:
        assert load(file).format == "ONNX"
    (tmp_path / "text.onnx").write_text("no model at all")
    with pytest.raises(ModelError):
        load(tmp_path / "text.onnx")
    (tmp_path / "text.txt").write_text("no model at all")
    with pytest.raises(ModelError, match="tried"):
        load(tmp_path / "text.txt")


def test_inputs_can_be_fixed() -> None:
    inputs = {"x": ("float32", (2, 3)), "axis": ("int64", ())}
    proto = model([node("CumSum", "x axis", "y")], inputs, ["y"])
    with pytest.raises(UnsupportedError, match="must be known"):
        read(proto)
    graph = read(proto, constants={"axis": np.array(1, np.int64)})
    x = floats(2, 3)
    (y,) = run_reference(graph, [x])
    np.testing.assert_allclose(y, np.cumsum(x, axis=1), rtol=1e-6)


@pytest.mark.parametrize("inverse", [0, 1])
@pytest.mark.parametrize("length", [5, 8, 11])
def test_fourier_transforms(length: int, inverse: int) -> None:
    constants = {"length": np.array(length, np.int64), "axis": np.array(1, np.int64)}
    nodes = [node("DFT", "x length axis", "y", inverse=inverse)]
    proto = model(nodes, {"x": ("float32", ("n", 8, 3, 2))}, ["y"], constants)
    agrees(proto, {"x": floats(2, 8, 3, 2)}, 1e-4)


def test_short_time_fourier_transform() -> None:
    constants = {"step": np.array(4, np.int64), "window": np.hanning(10).astype(np.float32)}
    proto = model(
        [node("STFT", "x step window", "y")], {"x": ("float32", ("n", 40, 1))}, ["y"], constants
    )
    agrees(proto, {"x": floats(2, 40, 1)}, 1e-4)
