"""Every operator's samples on every way of computing it, against its NumPy reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opweave.compiler.driver import compile_graph
from opweave.compiler.interpret import run_kernels, run_reference
from opweave.ir import Graph, Op, Sample, TensorType, check
from opweave.ir.data_type import is_float
from opweave.ops.registry import operators

# Relative to the largest magnitude of the reference output.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}

CASES = [
    pytest.param(op, sample, id=f"{op.name}-{number}")
    for op in operators().values()
    for number, sample in enumerate(op.samples)
]


def graph_of(op: Op, sample: Sample) -> tuple[Graph, list[np.ndarray[Any, Any]]]:
    """A graph of one node whose present inputs are graph inputs."""
    graph = Graph(op.name)
    operands = [
        None if array is None else graph.input(f"x{number}", TensorType.of(array))
        for number, array in enumerate(sample.inputs)
    ]
    node = graph.add_node(op, operands, sample.attributes)
    for value in node.outputs:
        graph.output(value)
    check(graph)
    return graph, [array for array in sample.inputs if array is not None]


def assert_close(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], sample: Sample) -> None:
    """Equal type and shape; equal values, floating ones within the tolerance."""
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    if not is_float(wanted.dtype.name):
        np.testing.assert_array_equal(found, wanted)
        return
    tolerance = TOLERANCE[wanted.dtype.name] if sample.tolerance is None else sample.tolerance
    wide, reference = found.astype(np.float64), wanted.astype(np.float64)
    finite = reference[np.isfinite(reference)]
    largest = float(np.abs(finite).max(initial=0.0))
    np.testing.assert_allclose(
        wide, reference, rtol=tolerance, atol=tolerance * max(largest, 1e-30)
    )


def test_every_operator_has_samples() -> None:
    without = [op.name for op in operators().values() if not op.samples]
    assert without == []


@pytest.mark.parametrize(("op", "sample"), CASES)
def test_kernel_bodies_in_plain_python(op: Op, sample: Sample) -> None:
    graph, inputs = graph_of(op, sample)
    before = [array.copy() for array in inputs]
    for found, wanted in zip(run_kernels(graph, inputs), run_reference(graph, inputs), strict=True):
        assert_close(found, wanted, sample)
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("target", ["cpu"])
@pytest.mark.parametrize(("op", "sample"), CASES)
def test_compiled(op: Op, sample: Sample, target: str) -> None:
    graph, inputs = graph_of(op, sample)
    before = [array.copy() for array in inputs]
    session = compile_graph(graph, target)
    feed = {spec.name: array for spec, array in zip(session.inputs, inputs, strict=True)}
    results = session.run(None, feed)
    for found, wanted in zip(results, run_reference(graph, inputs), strict=True):
        assert_close(found, wanted, sample)
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)
