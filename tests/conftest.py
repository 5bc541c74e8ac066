"""What several test files share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture(scope="session")
def small_weight() -> np.ndarray:
    """The weight of ``model_file``."""
    return np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory, small_weight) -> Path:
    """``y = relu(x @ w)`` with a symbolic number of rows, as an ONNX file."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Relu", ["product"], ["y"]),
    ]
    inputs = [value("x", TensorProto.FLOAT, ["rows", 4])]
    outputs = [value("y", TensorProto.FLOAT, ["rows", 3])]
    weights = [numpy_helper.from_array(small_weight, "w")]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 17)]
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path
