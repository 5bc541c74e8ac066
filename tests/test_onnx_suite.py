"""The test cases that the onnx package brings along, read and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from opweave.compiler.interpret import run_reference
from opweave.formats.onnx.read import read
from opweave.ir import Array, UnsupportedError, check


def suite_cases(*kinds: str) -> list[Any]:
    """Cases of the onnx package's own test suite."""
    from onnx.backend.test import loader

    found = [case for kind in kinds for case in loader.load_model_tests(kind=kind)]
    return [pytest.param(case, id=case.name) for case in sorted(found, key=lambda c: str(c.name))]


@pytest.mark.parametrize("case", suite_cases("simple", "pytorch-converted", "pytorch-operator"))
def test_public_suite(case: Any) -> None:
    if case.model_dir is not None:
        path = Path(case.model_dir)
        proto = onnx.load(path / "model.onnx")
        sets = [_stored(folder, proto) for folder in sorted(path.glob("test_data_set*"))]
    else:
        proto, sets = case.model, case.data_sets
    other = any(word in case.name for word in ("strnorm", "gradient"))
    sequences = any(v.type.WhichOneof("value") != "tensor_type" for v in proto.graph.output)
    if other or sequences:
        with pytest.raises(UnsupportedError):
            read(proto)
        return
    graph = read(proto)
    check(graph)
    for inputs, outputs in sets:
        names = [value.name for value in proto.graph.input]
        given = dict(zip(names, inputs, strict=False))
        found = run_reference(graph, [given[value.node] for value in graph.inputs])
        for mine, other in zip(found, outputs, strict=True):
            assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
            np.testing.assert_allclose(mine, other, rtol=case.rtol, atol=case.atol)


def _stored(folder: Path, proto: onnx.ModelProto) -> tuple[list[Array], list[Array]]:
    def arrays(stem: str, count: int) -> list[Array]:
        paths = [folder / f"{stem}_{number}.pb" for number in range(count)]
        return [
            numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))
            for path in paths
            if path.exists()
        ]

    return arrays("input", len(proto.graph.input)), arrays("output", len(proto.graph.output))
