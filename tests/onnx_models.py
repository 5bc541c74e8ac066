"""Small ONNX models, and their comparison with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from opweave.compiler.interpret import run_reference
from opweave.formats.onnx.read import read
from opweave.ir import Array, check

from .against_runtime import session_of

GENERATOR = np.random.default_rng(5)


def floats(*shape: int) -> Array:
    """Random float32 numbers."""
    return GENERATOR.standard_normal(shape).astype(np.float32)


_DTYPES = ("float32", "float64", "float16", "int64", "int32", "int8", "uint8", "bool")


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, tuple[str, Sequence[Any]]],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 21,
    **options: Any,
) -> onnx.ModelProto:
    """A ModelProto; ``inputs`` maps names to (element type, shape)."""
    types = {name: helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in _DTYPES}
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, types[t], list(s)) for n, (t, s) in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *options.pop("imports", [])]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **options)


def agrees(
    proto: onnx.ModelProto, given: Mapping[str, Array], tolerance: float = 1e-5
) -> list[Array]:
    """Read, check, run by reference; compare with ONNX Runtime."""
    graph = read(proto.SerializeToString())
    check(graph)
    found = run_reference(graph, [given[value.node] for value in graph.inputs])
    wanted = session_of(proto.SerializeToString()).run(list(graph.output_names), dict(given))
    for mine, other in zip(found, wanted, strict=True):
        assert mine.dtype == other.dtype
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)
    return found


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """A node from space-separated names; "-" leaves one out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op_type, names, outputs.split(), **attributes)
