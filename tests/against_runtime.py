"""Single operators against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from hypothesis import settings
from onnx import helper

from opweave.ir import Op

Array = np.ndarray[Any, Any]
QUICK = settings(max_examples=25, deadline=None)


def session_of(model: bytes) -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime that writes nothing; errors are raised anyway."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def runtime(
    name: str,
    inputs: Sequence[Array | None],
    attributes: Mapping[str, Any],
    outputs: int = 1,
    opset: int = 21,
) -> list[Array]:
    """What ONNX Runtime computes for one node."""
    names = ["" if array is None else f"x{number}" for number, array in enumerate(inputs)]
    results = [f"y{number}" for number in range(outputs)]
    node = helper.make_node(name, names, results, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(
                text, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for text, array in zip(names, inputs, strict=True)
            if array is not None
        ],
        [helper.make_empty_tensor_value_info(text) for text in results],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    session = session_of(onnx.shape_inference.infer_shapes(model).SerializeToString())
    feed = {text: a for text, a in zip(names, inputs, strict=True) if a is not None}
    return list(session.run(None, feed))


def compare(
    op: Op, inputs: Sequence[Array | None], wanted: Sequence[Array], **attributes: Any
) -> None:
    """The reference gives what ONNX Runtime gave."""
    with np.errstate(all="ignore"):
        found = op.reference(*inputs, **attributes)
    results = list(found) if isinstance(found, tuple) else [found]
    for got, want in zip(results, wanted, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4)
