"""Copies between strided blocks, compiled for the CPU, against NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opweave.compiler.driver import compile_graph
from opweave.ir import Extent, Graph, TensorType
from opweave.ir.dim import symbol
from opweave.ops.movement import transpose

COMPILED = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
DTYPES = ("float32", "float16", "int8", "float64")


@st.composite
def transpositions(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape of a few thousand elements and an order of its axes."""
    rank = draw(st.integers(2, 5))
    side = {2: 150, 3: 70, 4: 20, 5: 9}[rank]
    shape = tuple(draw(st.integers(1, draw(st.sampled_from([3, side])))) for _ in range(rank))
    return shape, tuple(draw(st.permutations(range(rank))))


def transposed(
    types: tuple[Extent, ...], x: np.ndarray[Any, Any], order: tuple[int, ...], bits: int
) -> np.ndarray[Any, Any]:
    graph = Graph()
    value = graph.input("x", TensorType(x.dtype.name, types))
    graph.output(graph.add(transpose, value, permutation=order))
    found = compile_graph(graph, threads=2, vector_bits=bits)(x)
    assert isinstance(found, np.ndarray)
    return found


@pytest.mark.parametrize("bits", [512, 256, 128])
@COMPILED
@given(transpositions(), st.sampled_from(DTYPES), st.integers(0, 5))
def test_transpose(
    bits: int, drawn: tuple[tuple[int, ...], tuple[int, ...]], dtype: str, open_axis: int
) -> None:
    """All element sizes and register widths; one axis may be open."""
    shape, order = drawn
    types: list[Extent] = [*shape]
    if open_axis < len(shape):
        types[open_axis] = symbol("open")
    numbers = np.arange(math.prod(shape)) * 7919 % 65521
    x = (numbers % 251 - 125 if dtype == "int8" else numbers).astype(dtype).reshape(shape)
    found = transposed(tuple(types), x, order, bits)
    np.testing.assert_array_equal(found, x.transpose(order))


@pytest.mark.parametrize("bits", [512, 256, 128])
@pytest.mark.parametrize("dtype", DTYPES)
def test_edges(bits: int, dtype: str) -> None:
    """Every number of rows with every number of columns around the sides of tiles."""
    rows = [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 65]
    graph = Graph()
    inputs = []
    for height in rows:
        for width in (2, 3, 5, 16, 19, 64, 67):
            x = np.arange(height * width, dtype=np.int64).astype(dtype).reshape(1, height, width)
            value = graph.input(f"x{len(inputs)}", TensorType(dtype, x.shape))
            graph.output(graph.add(transpose, value, permutation=(0, 2, 1)))
            inputs.append(x)
    found = compile_graph(graph, threads=1, vector_bits=bits)(*inputs)
    for x, y in zip(inputs, found, strict=True):
        np.testing.assert_array_equal(y, x.transpose(0, 2, 1))
