"""From plain-Python bodies to machine code: buffers, literals, status, digests, object code."""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
import operator
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import types

from opweave.compiler.code_digest import digest
from opweave.ir import ModelError
from opweave.targets.cpu import elf, loader, object_code
from opweave.targets.cpu.buffer_type import BufferType
from opweave.targets.cpu.numba_frontend import (
    LoweredFunction,
    LoweringError,
    as_device_function,
    lower,
)
from opweave.targets.cpu.scalar_function import ScalarFunction

Array = np.ndarray[Any, Any]

NUMBERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES = ["bool", *NUMBERS, "float32", "float64", "complex64", "complex128"]


def numba_type(dtype: str) -> types.Type:
    return types.boolean if dtype == "bool" else getattr(types, dtype)


def buffer(dtype: str, rank: int = 1, readonly: bool = False) -> BufferType:
    return BufferType(numba_type(dtype), rank, readonly)


class Running:
    """A lowered function in memory, called with arrays and integers."""

    def __init__(self, lowered: LoweredFunction, level: int = 2) -> None:
        module = object_code.optimise(lowered.ir_text, level=level)
        self.code = loader.load_object(object_code.emit_object(module))
        kinds = {"ptr": ctypes.c_void_p, "i64": ctypes.c_int64, "i8": ctypes.c_int8}
        kinds |= {"float": ctypes.c_float, "double": ctypes.c_double, "i32": ctypes.c_int32}
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *(kinds[k] for k in lowered.parameters))
        self.function = prototype(self.code.address(lowered.name))

    def __call__(self, *arguments: Any) -> int:
        values: list[Any] = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                assert argument.flags.c_contiguous
                values += [argument.ctypes.data, *argument.shape]
            else:
                values.append(argument)
        return int(self.function(*values))


def run(
    function: Callable[..., Any], kinds: Sequence[types.Type], *arguments: Any, **options: Any
) -> int:
    return Running(lower(function, kinds, name="tested", **options))(*arguments)


# Buffers


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


# Literals


def scaled(x: Any, *, slope: float = 0.25) -> Any:
    return x * slope


def weak_body(x: Any, y: Any) -> None:
    count = x.shape[0]
    mean = 0.0
    for i in range(count):
        mean += x[i] * 0.5
    mean = mean / count
    for i in range(count):
        value = max(x[i], 0) - mean + math.pi + 2 * float(i) + scaled(x[i], slope=1.5)
        value = value if value < 1e30 else math.inf
        y[i] = scaled(value) ** 2 + x[i] ** 1.5 + i // 2


def test_float32_bodies_stay_in_float32() -> None:
    kinds = [buffer("float32"), buffer("float32")]
    assert "double" in lower(weak_body, kinds, name="f").ir_text
    text = lower(weak_body, kinds, name="f", literal_type="float32").ir_text
    # The power is computed in float64, on purpose; nothing else is.
    others = [line for line in text.splitlines() if "double" in line and "fmul float" in line]
    assert others == []

    def without_power(x: Any, y: Any) -> None:
        for i in range(x.shape[0]):
            y[i] = x[i] * 0.5 + math.exp(-1.702 * x[i]) / 3 + i + math.tanh(x[i] - math.e)

    assert "double" not in lower(without_power, kinds, name="f", literal_type="float32").ir_text


def test_float32_bodies_compute_what_python_computes() -> None:
    x = np.linspace(0.0, 3.0, 41, dtype=np.float32)
    wanted, found = np.zeros_like(x), np.zeros_like(x)
    weak_body(x.astype(np.float64), wanted)
    run(weak_body, [buffer("float32")] * 2, x, found, literal_type="float32")
    np.testing.assert_allclose(found, wanted, rtol=3e-6)


def test_closure_values_and_defaults_take_the_literal_type() -> None:
    def make(slope: float) -> Callable[..., Any]:
        def body(x: Any, y: Any) -> None:
            for i in range(x.shape[0]):
                y[i] = x[i] * slope + scaled(x[i])

        return body

    kinds = [buffer("float32"), buffer("float32")]
    assert "double" not in lower(make(0.1), kinds, name="f", literal_type="float32").ir_text


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64", "float32", "uint64"])
def test_weak_integers_take_the_computing_type(dtype: str) -> None:
    def clipped(x: Any) -> Any:
        total = x
        for _ in range(2):
            total = total + 1
        return min(max(total * 2, 3), 120) + x**2

    def body(x: Any, y: Any) -> None:
        for i in range(x.shape[0]):
            y[i] = function(x[i])

    function = ScalarFunction(clipped, dtype)
    x = np.arange(6, dtype=dtype)
    found = np.zeros_like(x)
    text = lower(body, [buffer(dtype), buffer(dtype)], name="f").ir_text
    assert "double" not in text
    run(body, [buffer(dtype), buffer(dtype)], x, found)
    np.testing.assert_array_equal(found, [function(value) for value in x.tolist()])


def test_integers_that_do_not_fit_stay_integers() -> None:
    def shifted(x: Any) -> Any:
        return x + 300

    function = ScalarFunction(shifted, "uint8")

    def body(x: Any, y: Any) -> None:
        y[0] = function(x[0])

    found = np.zeros(1, np.int64)
    run(body, [buffer("uint8"), buffer("int64")], np.array([250], np.uint8), found)
    assert found[0] == 550


@pytest.mark.parametrize("exponent", [-3, 0, 1, 2, 7])
def test_small_constant_powers_are_products(exponent: int) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def body(x, y):\n    y[0] = x[0] ** ({exponent}) + pow(x[0], {exponent})\n", namespace)
    kinds = [buffer("float32"), buffer("float32")]
    text = lower(namespace["body"], kinds, name="f", literal_type="float32").ir_text
    assert text.count("call") == 0
    found = np.zeros(1, np.float32)
    run(namespace["body"], kinds, np.array([1.5], np.float32), found, literal_type="float32")
    assert found[0] == pytest.approx(2 * 1.5**exponent, rel=1e-6)


def test_python_extrema_keep_their_order_with_nan() -> None:
    def body(x: Any, y: Any) -> None:
        y[0] = max(x[0], x[1])
        y[1] = max(x[1], x[0])
        y[2] = min(x[0], x[1], x[2])
        y[3] = max((x[2], x[1]))
        y[4] = round(x[2])

    x = np.array([math.nan, 1.0, 2.5], np.float32)
    found = np.zeros(5, np.float32)
    run(body, [buffer("float32")] * 2, x, found, literal_type="float32")
    np.testing.assert_array_equal(found, [math.nan, 1.0, math.nan, 2.5, 2.0])


@pytest.mark.parametrize(
    ("left", "right"), [("int8", "int64"), ("uint8", "int8"), ("uint32", "int32"), ("bool", "int8")]
)
def test_extrema_of_mixed_integers(left: str, right: str) -> None:
    def body(x: Any, z: Any, y: Any) -> None:
        y[0] = max(x[0], z[0])
        y[1] = min(x[0], z[0])

    found = np.zeros(2, np.int64)
    x, z = np.array([1], left), np.array([-5], right)
    run(body, [buffer(left), buffer(right), buffer("int64")], x, z, found)
    assert found.tolist() == [1, -5]


# Functions that bodies call


def test_keyword_only_parameters_and_defaults() -> None:
    def combined(x: Any, y: Any = 2.0, *, low: float = -1.0, high: float) -> Any:
        return min(max(x * y, low), high)

    def body(x: Any, out: Any, *, scale: Any) -> None:
        for i in range(x.shape[0]):
            out[i] = combined(x[i], scale, high=4.0, low=-2.0) + scaled(x=x[i])

    x = np.array([-3.0, 0.5, 9.0], np.float32)
    found = np.zeros_like(x)
    kinds = [buffer("float32"), buffer("float32"), types.float32]
    run(body, kinds, x, found, 2.0, literal_type="float32")
    np.testing.assert_array_equal(found, [-2.75, 1.125, 6.25])


def test_functions_through_globals_closures_and_imports_see_our_mathematics() -> None:
    from math import exp, sqrt

    def inner(x: Any) -> Any:
        return exp(x) + math.erf(x)

    def body(x: Any, y: Any) -> None:
        for i in range(x.shape[0]):
            y[i] = inner(x[i]) + sqrt(x[i])

    lowered = lower(body, [buffer("float32")] * 2, name="f", literal_type="float32")
    assert lowered.externals == ()
    assert "double" not in lowered.ir_text


def test_equal_functions_are_compiled_once() -> None:
    first = as_device_function(scaled, "float32")
    assert as_device_function(scaled, types.float32) is first
    assert as_device_function(scaled, "float64") is not first
    assert ScalarFunction(scaled, "float32") == ScalarFunction(scaled, "float32")
    assert ScalarFunction(scaled, "float32")(2.0) == 0.5


def looping(x: Any) -> Any:
    return looping(x)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def body(x, *rest):\n    pass", "arguments"),
        ("def body(x):\n    yield x[0]", "generators"),
        ("def body(x):\n    return x[0]", "returns float32"),
        ("def body(x):\n    x[0] = x[0].nothing", "nothing"),
        ("def body(x):\n    x[0] = unknown", "unknown"),
        ("def body(x):\n    x[0] = {1: 2}", "setitem"),
        ("def body(x):\n    print(x[0])", "Python interpreter"),
        ("def body(x):\n    x[0] = looping(x[0])", "recursion"),
        ("def body(x):\n    x[0] = math.frexp(x[0])", "frexp"),
        ("def body(x):\n    x[0] = math.exp(x)", "exp"),
    ],
)
def test_what_cannot_be_compiled_is_named(source: str, message: str) -> None:
    namespace: dict[str, Any] = {"looping": looping, "math": math}
    exec(source, namespace)
    with pytest.raises(LoweringError, match=message) as caught:
        lower(namespace["body"], [buffer("float32")], name="f")
    assert "body" in str(caught.value) or "looping" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match="speed"):
        lower(weak_body, [buffer("float32")] * 2, name="f", fastmath=frozenset({"speed"}))
    with pytest.raises(ValueError, match="float31"):
        lower(weak_body, [buffer("float32")] * 2, name="f", literal_type="float31")


# The interface of lowered functions


def test_status() -> None:
    def nothing(x: Any) -> None:
        x[0] = 1.0

    def number(x: Any) -> int:
        return 7 if x[0] > 0 else -3

    def truth(x: Any) -> bool:
        return bool(x[0] > 0)

    def small(x: Any) -> Any:
        return np.int8(-5)

    def raising(x: Any) -> int:
        if x[0] > 0:
            raise ValueError("no")
        return 4

    kinds = [buffer("float32")]
    one, minus = np.ones(1, np.float32), -np.ones(1, np.float32)
    assert not lower(nothing, kinds, name="f").returns_status
    assert lower(number, kinds, name="f").returns_status
    assert run(nothing, kinds, one) == 0
    assert (run(number, kinds, one), run(number, kinds, minus)) == (7, -3)
    assert (run(truth, kinds, one), run(truth, kinds, minus)) == (1, 0)
    assert run(small, kinds, one) == -5
    assert (run(raising, kinds, one), run(raising, kinds, minus)) == (-1, 4)


def copying(x: Any, y: Any, n: Any, flag: Any) -> None:
    for i in range(n):
        y[i] = x[i] if flag else x[0]


def test_parameters_are_flat_and_annotated() -> None:
    kinds = [buffer("float32", 2, readonly=True), buffer("float32"), types.int64, types.boolean]

    def body(x: Any, y: Any, n: Any, flag: Any) -> None:
        for i in range(n):
            y[i] = x[i, 0] if flag else x[0, i]

    lowered = lower(body, kinds, name="named", alignment=64)
    assert lowered.parameters == ("ptr", "i64", "i64", "ptr", "i64", "i64", "i8")
    header = next(line for line in lowered.ir_text.splitlines() if line.startswith("define"))
    assert header.startswith("define i64 @named(")
    assert header.count("noalias") == 2
    assert header.count("align 64") == 2
    assert header.count("readonly") == 1


def test_alignment_reaches_the_code() -> None:
    def body(x: Any) -> None:
        for i in range(1024):
            x[i] = 2.0

    text = lower(body, [buffer("float32")], name="f", literal_type="float32", alignment=64).ir_text
    caller = (
        "define void @caller(ptr %p) {\n  %s = call i64 @f(ptr %p, i64 1024)\n  ret void\n}\n"
        "declare i64 @f(ptr, i64)\n"
    )
    module = object_code.optimise(object_code.link([text, caller], exports=["caller"]))
    assert re.search(r"store <\d+ x float> .*align 64", str(module))


def test_text_is_the_same_each_time() -> None:
    def helper(x: Any) -> Any:
        return table[0] * x

    table = np.arange(4.0)

    def body(x: Any, y: Any) -> None:
        for i in range(x.shape[0]):
            y[i] = helper(x[i]) + table[i % 4]

    texts = {lower(body, [buffer("float32")] * 2, name="f").ir_text for _ in range(3)}
    assert len(texts) == 1
    assert "numba" not in texts.pop().lower()


def test_texts_link_into_one_module() -> None:
    kinds = [buffer("float32"), buffer("float32"), types.int64, types.boolean]
    texts = [lower(copying, kinds, name=name).ir_text for name in ("first", "second")]
    caller = (
        "declare i64 @first(ptr, i64, ptr, i64, i64, i8)\n"
        "declare i64 @second(ptr, i64, ptr, i64, i64, i8)\n"
        "define i64 @both(ptr %x, ptr %y, ptr %z, i64 %n) {\n"
        "  %a = call i64 @first(ptr %x, i64 %n, ptr %y, i64 %n, i64 %n, i8 1)\n"
        "  %b = call i64 @second(ptr %x, i64 %n, ptr %z, i64 %n, i64 %n, i8 0)\n"
        "  %s = add i64 %a, %b\n"
        "  ret i64 %s\n}\n"
    )
    module = object_code.optimise(object_code.link([*texts, caller], exports=["both"]))
    assert [f.name for f in module.functions if not f.is_declaration] == ["both"]
    x = np.arange(5, dtype=np.float32)
    y, z = np.zeros_like(x), np.zeros_like(x)
    with loader.load_object(object_code.emit_object(module)) as code:
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 3, ctypes.c_int64)
        both = prototype(code.address("both"))
        assert both(x.ctypes.data, y.ctypes.data, z.ctypes.data, 5) == 0
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(z, np.zeros(5))


def test_reductions_are_vectorised_when_sums_may_be_reordered() -> None:
    def total(x: Any, y: Any) -> None:
        sum_ = 0.0
        for i in range(x.shape[0]):
            sum_ += x[i]
        y[0] = sum_

    kinds = [buffer("float32")] * 2
    flags = frozenset({"reassoc", "nsz", "contract"})
    text = lower(total, kinds, name="f", literal_type="float32", fastmath=flags).ir_text
    assert "fadd reassoc nsz contract float" in text
    if object_code.host_cpu().vector_bits > 128:
        assembly = object_code.emit_assembly(object_code.optimise(text))
        assert re.search(r"vaddps\s.*%[yz]mm", assembly)


# Object code


def test_object_code_needs_no_numba() -> None:
    script = (
        "import sys\n"
        "from opweave.targets.cpu import loader, object_code as o\n"
        "code = loader.load_object(o.emit_object('define i64 @f() { ret i64 3 }'))\n"
        "assert code.address('f')\n"
        "assert 'numba' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_c_library_is_found() -> None:
    text = (
        "declare double @exp(double)\ndeclare float @expf(float)\ndeclare ptr @malloc(i64)\n"
        "declare void @free(ptr)\ndeclare ptr @memset(ptr, i32, i64)\n"
        "define double @f(double %x) {\n  %p = call ptr @malloc(i64 64)\n"
        "  %q = call ptr @memset(ptr %p, i32 1, i64 64)\n  call void @free(ptr %q)\n"
        "  %e = call double @exp(double %x)\n  %s = fptrunc double %x to float\n"
        "  %g = call float @expf(float %s)\n  %w = fpext float %g to double\n"
        "  %r = fadd double %e, %w\n  ret double %r\n}\n"
    )
    data = object_code.emit_object(text)
    assert {"exp", "expf"} <= set(elf.undefined_symbols(data))
    with loader.load_object(data) as code:
        found = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address("f"))(1.0)
    assert found == pytest.approx(2 * math.e, rel=1e-7)


def test_damaged_object_files_are_refused() -> None:
    data = object_code.emit_object("define i64 @f() { ret i64 3 }")
    for bad in (b"", b"nothing", data[:100], data[:-8], b"\x7fELF" + bytes(200)):
        with pytest.raises(object_code.CodeError, match="cannot be loaded"):
            loader.load_object(bad)
    body = "{\n  call void @no_such_function()\n  ret void\n}\n"
    text = f"declare void @no_such_function()\ndefine void @f() {body}"
    with pytest.raises(object_code.CodeError, match="no_such_function"):
        loader.load_object(object_code.emit_object(text))


def test_defects_of_modules_are_told() -> None:
    good = "define i64 @f() { ret i64 3 }"
    with pytest.raises(object_code.CodeError, match="rejects"):
        object_code.parse("define i64 @f() { ret i32 3 }")
    with pytest.raises(object_code.CodeError, match="fit together"):
        object_code.link([good, good])
    with pytest.raises(object_code.CodeError, match="nothing defines g"):
        object_code.link([good], exports=["g"])
    with pytest.raises(ValueError, match="nothing to link"):
        object_code.link([])


def test_closed_code_has_no_addresses() -> None:
    code = loader.load_object(object_code.emit_object("define i64 @f() { ret i64 3 }"))
    with pytest.raises(object_code.CodeError, match="does not define g"):
        code.address("g")
    code.close()
    code.close()
    with pytest.raises(object_code.CodeError, match="unloaded"):
        code.address("f")


def test_host_is_described() -> None:
    cpu = object_code.host_cpu()
    assert cpu is object_code.host_cpu()
    assert cpu.name
    assert cpu.triple
    assert cpu.data_layout
    assert cpu.vector_bits in (128, 256, 512)


# Digests


DIGEST_SCRIPT = """
import math
import functools
import numpy as np
from opweave.compiler.code_digest import digest
TABLE = np.arange(6, dtype=np.int16).reshape(2, 3)
def even(n):
    return True if n == 0 else odd(n - 1)
def odd(n):
    return False if n == 0 else even(n - 1)
def make(slope, names):
    def body(x, y, *, beta=1.5):
        for i in range(x.shape[0]):
            y[i] = math.exp(x[i]) * slope + TABLE[0, 1] + even(i) + max(x[i], beta)
        return {a for a in ("p", "q", "r")} == names
    return body
print(digest(make(2.0, frozenset({"x", "y", "z"}))))
print(digest(functools.partial(make(2.0, {"a": 1, "b": (2, np.float32(3))}), 1)))
"""


def test_digests_are_the_same_in_every_process() -> None:
    outputs = set()
    for seed, prefix in (("1", ""), ("2", "\n\n# moved\n")):
        script = prefix + DIGEST_SCRIPT
        environment = {"PYTHONHASHSEED": seed}
        result = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, timeout=60,
            env=environment,
        )  # fmt: skip
        outputs.add(result.stdout)
    assert len(outputs) == 1
    first, second = outputs.pop().split()
    assert first != second


def written(source: str, **names: Any) -> Callable[..., Any]:
    """The function f of a source text."""
    namespace: dict[str, Any] = {"math": math, "np": np, **names}
    exec(source, namespace)
    function: Callable[..., Any] = namespace["f"]
    return function


def test_digests_tell_changes() -> None:
    def helper(x: Any) -> Any:
        return x + 1

    def other(x: Any) -> Any:
        return x + 2

    variants = [
        written("def f(x): return math.exp(x)"),
        written("def f(x): return math.sin(x)"),
        written("def f(x): return x * 2"),
        written("def f(x): return x * 2.0"),
        written("def f(x): return x * -0.0"),
        written("def f(x): return x * 0.0"),
        written("def f(x, a=1): return x * 2"),
        written("def f(x, *, a=1): return x * 2"),
        written("def f(x): return h(x)", h=helper),
        written("def f(x): return h(x)", h=other),
        written("def f(x): return h[0] + x", h=np.array([1, 2])),
        written("def f(x): return h[0] + x", h=np.array([1, 3])),
        written("def f(x): return h[0] + x", h=np.array([1, 2], np.int32)),
        written("def f(x): return h[0] + x", h=(1, 2)),
        written("def f(x): return h[0] + x", h=(1, True)),
        written("def f(x): return h(x)", h=np.float32),
        written("def f(x): return h(x)", h=np.float64),
        written("def f(x): return h(x)", h=ScalarFunction(helper, "float32")),
        written("def f(x): return h(x)", h=ScalarFunction(helper, "float64")),
        written("def f(x): return h(x)", h=ScalarFunction(other, "float64")),
        written("def f(x): return [y for y in x]"),
        written("def f(x): return [y + 1 for y in x]"),
    ]
    assert len({digest(variant) for variant in variants}) == len(variants)


def test_digests_ignore_place_and_name() -> None:
    source = "def f(x):\n    return math.exp(x)"
    moved = written("\n\n\n" + source)
    moved.__name__ = "other"
    assert digest(written(source)) == digest(moved)
    one, two = (written("def f(x): return h(x)", h=written(source)) for _ in range(2))
    assert digest(one) == digest(two)
    unused = written(source, unused=open)
    assert digest(written(source)) == digest(unused)


def test_what_has_no_digest_is_named() -> None:
    for value, message in (
        (open, None),
        (object(), "object"),
        (np.array([None]), "array of Python objects"),
        (operator, None),
        (itertools, "itertools"),
        ([].append, "bound method"),
        (Running, "Running"),
    ):
        function = written("def f(x): return thing(x)", thing=value)
        if message is None:
            assert digest(function)
        else:
            with pytest.raises(ModelError, match=message):
                digest(function)
    with pytest.raises(ModelError, match="thing"):
        digest(written("def f(x): return thing(x)", thing=object()))
