"""Buffers in lowered bodies: indices, element types, 16-bit floating point, read-only ones."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import types

from opweave.targets.cpu.buffer_type import BufferType
from opweave.targets.cpu.numba_frontend import LoweringError, lower

from .lowering import DTYPES, NUMBERS, Running, buffer, run


@functools.cache
def indexing(rank: int, dtype: str) -> tuple[Callable[..., Any], Running]:
    """A body that reads, writes and asks for everything a buffer of this rank has."""
    indices = ", ".join(f"i{axis}" for axis in range(rank))
    place = indices if rank > 1 else (indices or "()")
    lines = [
        f"def body({', '.join(['x', 'y', 'facts', *([indices] if rank else [])])}):",
        f"    y[{place}] = x[{place}]",
        "    facts[0] = x.size",
        "    facts[1] = x.ndim",
        *(["    facts[2] = len(x)"] if rank else []),
        *(f"    facts[{3 + axis}] = x.shape[{axis}]" for axis in range(rank)),
        "    product = 1",
        "    for extent in x.shape:" if rank else "    if True:",
        "        product *= extent" if rank else "        product = 1",
        "    facts[8] = product",
        "    facts[9] = len(x.shape)",
    ]
    namespace: dict[str, Any] = {}
    exec("\n".join(lines), namespace)
    kinds = [buffer(dtype, rank), buffer(dtype, rank), buffer("int64"), *[types.int64] * rank]
    return namespace["body"], Running(lower(namespace["body"], kinds, name="body"))


@given(data=st.data(), rank=st.integers(0, 5), dtype=st.sampled_from(DTYPES))
@settings(max_examples=150, deadline=None)
def test_buffers_are_indexed_like_arrays(data: st.DataObject, rank: int, dtype: str) -> None:
    shape = tuple(data.draw(st.integers(1, 5)) for _ in range(rank))
    where = [data.draw(st.integers(0, extent - 1)) for extent in shape]
    values = np.arange(1, 1 + math.prod(shape)).reshape(shape)
    x = np.asarray(values % 2 == 1 if dtype == "bool" else values, dtype)
    body, running = indexing(rank, dtype)
    wanted, found = np.zeros_like(x), np.zeros_like(x)
    wanted_facts, found_facts = np.zeros(10, np.int64), np.zeros(10, np.int64)
    body(x, wanted, wanted_facts, *where)
    assert running(x, found, found_facts, *where) == 0
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(found_facts, wanted_facts)


@pytest.mark.parametrize("index", ["uint8", "int16", "uint32", "int64"])
def test_indices_may_be_any_integer(index: str) -> None:
    def body(x: Any, at: Any, out: Any) -> None:
        for i in range(at.shape[0]):
            out[i] = x[at[i], at[i]]

    x = np.arange(200 * 200, dtype=np.float32).reshape(200, 200)
    at, out = np.array([0, 7, 127 if index == "int16" else 199], index), np.zeros(3, np.float32)
    run(body, [buffer("float32", 2), buffer(index), buffer("float32")], x, at, out)
    np.testing.assert_array_equal(out, x[at, at])


def test_stores_convert_like_assignments() -> None:
    dtypes = ["bool", *NUMBERS, "float32", "float64"]

    def body(x: Any, y: Any) -> None:
        for i in range(x.shape[0]):
            y[i] = x[i]

    for source, target in itertools.product(dtypes, dtypes):
        if source.startswith("float"):
            numbers = [0.0, 1.75, 3.5, 100.25] + ([] if target[0] in "bu" else [-2.75])
            x = np.array(numbers, source)
        else:
            x = np.array([0, 1, 2, 127, 255], np.int64).astype(source)
        found = np.zeros(x.shape, target)
        run(body, [buffer(source), buffer(target)], x, found)
        np.testing.assert_array_equal(found, x.astype(target), err_msg=f"{source} to {target}")


def test_booleans_are_one_byte_and_stored_as_zero_or_one() -> None:
    def body(x: Any, y: Any) -> None:
        for i in range(x.shape[0]):
            y[i] = not x[i] and x[i] != 3

    x, y = np.array([True, False, True]), np.full(3, 7, np.uint8)
    run(body, [buffer("bool"), buffer("bool")], x, y)
    assert y.tolist() == [0, 1, 0]


def test_dtype_makes_typed_scalars() -> None:
    def body(x: Any, y: Any) -> None:
        total = x.dtype.type(0)
        for i in range(x.shape[0]):
            total += x[i]
        y[0] = total

    text = lower(body, [buffer("float32"), buffer("float32")], name="f").ir_text
    assert "double" not in text
    found = np.zeros(1, np.float32)
    run(body, [buffer("float32"), buffer("float32")], np.ones(5, np.float32), found)
    assert found[0] == 5


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
def test_sixteen_bit_floats_are_read_and_written_as_float32(storage: str) -> None:
    def body(x: Any, y: Any) -> None:
        for i in range(x.shape[0]):
            y[i] = x[i] * 3.0 + 0.1

    held = BufferType(types.float32, 1, storage=storage)
    numbers = np.linspace(-100, 100, 999, dtype=np.float32)
    if storage == "float16":
        x = numbers.astype(np.float16)
        wanted = (x.astype(np.float32) * np.float32(3) + np.float32(0.1)).astype(np.float16)
        found = np.zeros_like(x)
        run(body, [held, held], x, found, literal_type=storage)
        np.testing.assert_array_equal(found, wanted)
    else:
        bits = (numbers.view(np.uint32) >> 16).astype(np.uint16)
        result = (bits.astype(np.uint32) << 16).view(np.float32) * np.float32(3) + np.float32(0.1)
        rounded = (result.view(np.uint32) + 0x7FFF + ((result.view(np.uint32) >> 16) & 1)) >> 16
        output = np.zeros_like(bits)
        run(body, [held, held], bits, output, literal_type=storage)
        np.testing.assert_array_equal(output, rounded.astype(np.uint16))


def test_readonly_buffers_cannot_be_written() -> None:
    def body(x: Any) -> None:
        x[0] = 1.0

    with pytest.raises(LoweringError, match="readonly"):
        lower(body, [buffer("float32", 1, readonly=True)], name="f")


@pytest.mark.parametrize("index", ["0", "0, 0, 0", "0.5, 1", "None, 0", "slice(0, 1), 0"])
def test_other_indices_are_refused(index: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def body(x):\n    x[0, 0] = x[{index}]\n", namespace)
    with pytest.raises(LoweringError):
        lower(namespace["body"], [buffer("float32", 2)], name="f")


def test_impossible_buffer_types_are_refused() -> None:
    with pytest.raises(ValueError, match="dimensions"):
        BufferType(types.float32, -1)
    with pytest.raises(ValueError, match="storage"):
        BufferType(types.float64, 1, storage="float16")
