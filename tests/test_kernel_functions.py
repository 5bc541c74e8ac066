"""Scalar functions that have code of their own on the CPU, and softmax, which is made of them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import types

from opweave.compiler.driver import compile_graph
from opweave.ir import Array, Extent, Graph, TensorType
from opweave.ir.dim import symbol
from opweave.ops.kernel_functions import exp_of_negative, larger, reciprocal, smaller
from opweave.ops.softmax import log_softmax, softmax
from opweave.targets.cpu import loader, object_code
from opweave.targets.cpu.buffer_type import BufferType
from opweave.targets.cpu.numba_frontend import lower

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, 3e38]


def _pairs(function: Callable[..., Any]) -> Callable[..., None]:
    def body(x: Any, y: Any, out: Any) -> None:
        for i in range(out.shape[0]):
            out[i] = function(x[i], y[i])

    return body


def _single(function: Callable[..., Any]) -> Callable[..., None]:
    def body(x: Any, out: Any) -> None:
        for i in range(out.shape[0]):
            out[i] = function(x[i])

    return body


def compiled(body: Callable[..., None], *arrays: Array) -> Array:
    """``body`` over arrays of one type."""
    dtype = arrays[0].dtype
    out = np.empty_like(arrays[0])
    kind = BufferType(getattr(types, dtype.name), 1)
    lowered = lower(body, [kind] * (len(arrays) + 1), name="loop", literal_type=dtype.name)
    code = object_code.emit_object(object_code.optimise(lowered.ir_text))
    with loader.load_object(code) as loaded:
        prototype = ctypes.CFUNCTYPE(
            ctypes.c_int64, *[ctypes.c_void_p, ctypes.c_int64] * (len(arrays) + 1)
        )
        arguments: list[int] = []
        for array in (*arrays, out):
            arguments += [array.ctypes.data, array.size]
        assert prototype(loaded.address("loop"))(*arguments) == 0
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8"])
@pytest.mark.parametrize(("function", "reference"), [(larger, np.maximum), (smaller, np.minimum)])
def test_extrema(function: Callable[..., Any], reference: Any, dtype: str) -> None:
    numbers = SPECIAL if dtype.startswith("float") else [0, 1, 2, 127]
    x, y = (grid.ravel() for grid in np.meshgrid(np.array(numbers).astype(dtype), numbers))
    y = y.astype(dtype)
    np.testing.assert_array_equal(compiled(_pairs(function), x, y), reference(x, y))


def test_exp_of_negative() -> None:
    """Within one unit in the last place; 0 below the normal numbers."""
    x = -np.abs(np.random.default_rng(0).standard_normal(200_000).astype(np.float32) * 40)
    x[:6] = [0.0, -np.inf, np.nan, -87.33, -87.4, -1e30]
    found = compiled(_single(exp_of_negative), x)
    exact = np.exp(x.astype(np.float64))
    exact[x < -87.33] = 0.0
    error = np.abs(found - exact) / np.spacing(exact.astype(np.float32))
    assert np.isnan(found[2])
    assert np.nanmax(error) <= 1.1
    assert (found[x < -87.33] == 0).all()


def test_reciprocal() -> None:
    x = np.array(SPECIAL, np.float32)
    with np.errstate(divide="ignore", over="ignore"):
        np.testing.assert_array_equal(compiled(_single(reciprocal), x), np.float32(1) / x)


@settings(max_examples=24, deadline=None, derandomize=True)
@given(
    st.integers(1, 150),
    st.one_of(st.integers(1, 40), st.integers(1, 600)),
    st.sampled_from([softmax, log_softmax]),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
)
def test_softmax(rows: int, extent: int, op: Any, which: int, masked: bool) -> None:
    """Rows of all lengths, also open ones; masked elements have no share, NaN has all."""
    x = np.random.default_rng(rows * extent).standard_normal((rows, extent), np.float32) * 5
    if masked:
        x[:, 1:][np.random.default_rng(1).random((rows, extent - 1)) < 0.3] = -np.inf
        x[rows // 2, extent // 2] = np.nan
    shape: list[Extent] = [rows, extent]
    if which:
        shape[which - 1] = symbol("open")
    graph = Graph()
    graph.output(graph.add(op, graph.input("x", TensorType("float32", tuple(shape))), axis=-1))
    found = compile_graph(graph, threads=2)(x)
    with np.errstate(divide="ignore"):
        wanted = op.reference(x.astype(np.float64), axis=-1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7 if op is softmax else 1e-5)
