"""The functions that compiled bodies get for ``math``: accuracy, special values, vectorisation."""

from __future__ import annotations

import ctypes
import functools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba.core import types

from opweave.targets.cpu import loader, math_library, object_code
from opweave.targets.cpu.buffer_type import BufferType
from opweave.targets.cpu.numba_frontend import LoweringError, lower

Array = np.ndarray[Any, Any]


class Elementwise:
    """``out[i] = math.name(a[i], ...)`` compiled for an element type."""

    def __init__(self, name: str, count: int, source: str, result: str) -> None:
        parameters = [f"a{k}" for k in range(count)]
        arguments = ", ".join(f"{parameter}[i]" for parameter in parameters)
        text = (
            f"def body({', '.join(parameters)}, out):\n"
            "    for i in range(out.shape[0]):\n"
            f"        out[i] = math.{name}({arguments})\n"
        )
        namespace: dict[str, Any] = {"math": math}
        exec(text, namespace)
        buffers = [BufferType(getattr(types, source), 1) for _ in parameters]
        out = BufferType(getattr(types, "boolean" if result == "bool" else result), 1)
        lowered = lower(namespace["body"], [*buffers, out], name="loop", literal_type=source)
        module = object_code.optimise(lowered.ir_text)
        self.assembly = object_code.emit_assembly(module)
        self.externals = lowered.externals
        self._code = loader.load_object(object_code.emit_object(module))
        prototype = ctypes.CFUNCTYPE(
            ctypes.c_int64, *[ctypes.c_void_p, ctypes.c_int64] * (count + 1)
        )
        self._function = prototype(self._code.address("loop"))
        self._source, self._result = np.dtype(source), np.dtype(result)

    def __call__(self, *arrays: Array) -> Array:
        """Apply it to arrays of one dimension."""
        held = [np.ascontiguousarray(array, self._source) for array in arrays]
        out = np.empty(held[0].shape, self._result)
        arguments: list[int] = []
        for array in (*held, out):
            arguments += [array.ctypes.data, array.size]
        assert self._function(*arguments) == 0
        return out


@functools.cache
def compiled(name: str, count: int = 1, source: str = "float32", result: str = "") -> Elementwise:
    """Compiled once for all tests."""
    return Elementwise(name, count, source, result or source)


def units(found: Array, exact: Array) -> Array:
    """Errors in units in the last place of the float32 nearest to the exact result."""
    with np.errstate(all="ignore"):
        found = found.astype(np.float64)
        exponent = np.where(exact == 0, -126, np.floor(np.log2(np.abs(exact))))
        unit = np.exp2(np.clip(exponent, -126, 127) - 23)
        error = np.abs(found - exact) / unit
        rounded = exact.astype(np.float32).astype(np.float64)
    agree = (found == rounded) | (np.isnan(found) & np.isnan(exact))
    return np.where(agree, 0.0, np.where(np.isnan(error), np.inf, error))


def vectorised(function: Callable[[float], float]) -> Callable[[Array], Array]:
    """A function of Python floats for arrays; what Python refuses is NaN."""

    def one(value: float) -> float:
        try:
            return function(value)
        except (ValueError, OverflowError):
            return math.nan

    return lambda array: np.array([one(value) for value in array.tolist()])


# Largest error accepted, and the exact function in float64. Bounds are what was found over a
# hundred million arguments, rounded up.
UNARY: dict[str, tuple[float, Callable[[Array], Array]]] = {
    "exp": (1.1, np.exp),
    "exp2": (0.9, np.exp2),
    "expm1": (1.5, np.expm1),
    "log": (0.9, np.log),
    "log1p": (1.5, np.log1p),
    "log2": (0.95, np.log2),
    "log10": (0.95, np.log10),
    "tanh": (1.4, np.tanh),
    "sinh": (1.7, np.sinh),
    "cosh": (1.5, np.cosh),
    "asinh": (0.51, np.arcsinh),
    "acosh": (0.51, np.arccosh),
    "atanh": (0.51, np.arctanh),
    "sin": (0.51, np.sin),
    "cos": (0.51, np.cos),
    "tan": (0.51, np.tan),
    "asin": (1.9, np.arcsin),
    "acos": (1.3, np.arccos),
    "atan": (1.4, np.arctan),
    "cbrt": (0.51, np.cbrt),
    "sqrt": (0.5, np.sqrt),
    "rsqrt": (1.5, lambda x: 1.0 / np.sqrt(x)),
    "floor": (0.0, np.floor),
    "ceil": (0.0, np.ceil),
    "trunc": (0.0, np.trunc),
    "rint": (0.0, np.rint),
    "fabs": (0.0, np.abs),
    "degrees": (1.0, np.degrees),
    "radians": (1.0, np.radians),
}
SLOWLY_CHECKED: dict[str, tuple[float, Callable[[float], float]]] = {
    "erf": (1.1, math.erf),
    "erfc": (0.55, math.erfc),
}

SPECIAL = np.array(
    [
        *(0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 4.0, -4.0),
        *(1e-45, -1e-45, 1.1754944e-38, -1.1754944e-38, 1.1754942e-38, -1.1754942e-38),
        *(3.4028235e38, -3.4028235e38, 2.4061783e38, 88.72283, 88.722839, 88.72284, 89.0, 90.0),
        *(100.0, -87.336548, -87.34, -95.0, -103.27893, -103.97, -104.0, -110.0, 128.0, -126.0),
        *(-149.0, -150.0, -151.0, 127.99999, 10.0, -10.0, 1e5, 1e9, 1e22, 1e38, 16777216.0),
        *(math.pi, math.pi / 2, math.pi / 4, 1e-8, -1e-8),
    ],
    np.float32,
)


def arguments(step: int) -> Array:
    """Float32 numbers of all magnitudes and both signs, evenly spread over the bit patterns."""
    return np.arange(7, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)


def check_unary(name: str, bound: float, exact: Callable[[Array], Array], step: int) -> None:
    """Compare a compiled function with its float64 counterpart."""
    near_one = np.linspace(-12, 12, 40001).astype(np.float32)
    values = np.concatenate([arguments(step), near_one, SPECIAL])
    found = compiled(name)(values)
    with np.errstate(all="ignore"):
        wanted = exact(values.astype(np.float64))
    errors = units(found, wanted)
    worst = int(errors.argmax())
    assert errors[worst] <= bound, (values[worst], found[worst], wanted[worst], errors[worst])
    number = ~np.isnan(wanted)
    assert np.array_equal(np.signbit(found[number]), np.signbit(wanted[number]))


@pytest.mark.parametrize("name", UNARY)
def test_float32_functions_are_accurate(name: str) -> None:
    bound, exact = UNARY[name]
    check_unary(name, bound, exact, 8191)


@pytest.mark.parametrize("name", SLOWLY_CHECKED)
def test_float32_error_functions_are_accurate(name: str) -> None:
    bound, exact = SLOWLY_CHECKED[name]
    check_unary(name, bound, vectorised(exact), 65521)


@pytest.mark.parametrize("name", ["erf", "tanh", "sin", "log1p", "expm1", "asinh", "atanh", "tan"])
def test_odd_functions_keep_tiny_arguments(name: str) -> None:
    tiny = np.array([1e-45, 1e-40, 1.1754944e-38, 1e-30, 1e-12], np.float32)
    values = np.concatenate([tiny, -tiny])
    factor = 2 / math.sqrt(math.pi) if name == "erf" else 1.0
    assert units(compiled(name)(values), values.astype(np.float64) * factor).max() <= 1.0


def test_large_angles_are_reduced_exactly() -> None:
    # The C library reduces float64 arguments exactly. 16367173 * 2**72 is one of the float32
    # numbers nearest to a multiple of pi/2.
    values = np.array([2.0**40, 2.0**80, 2.0**120, 16367173 * 2.0**72, 5.3e36], np.float32)
    for name, exact in (("sin", np.sin), ("cos", np.cos), ("tan", np.tan)):
        assert units(compiled(name)(values), exact(values.astype(np.float64))).max() <= 0.51


def pairs() -> tuple[Array, Array]:
    """All pairs of special values, and random pairs of moderate size."""
    generator = np.random.default_rng(3)
    left, right = np.meshgrid(SPECIAL, SPECIAL)
    one = np.exp(generator.uniform(-80, 80, 200_000)) * generator.choice([-1, 1], 200_000)
    other = generator.uniform(-30, 30, 200_000)
    other[::4] = np.rint(other[::4])
    first = np.concatenate([left.ravel(), one.astype(np.float32)])
    second = np.concatenate([right.ravel(), other.astype(np.float32)])
    return first, second


BINARY: dict[str, tuple[float, Callable[[Array, Array], Array]]] = {
    "pow": (0.51, np.power),
    "atan2": (1.5, np.arctan2),
    "hypot": (0.51, np.hypot),
    "fmod": (0.0, np.fmod),
    "copysign": (0.0, np.copysign),
    "maximum": (0.0, np.maximum),
    "minimum": (0.0, np.minimum),
}


@pytest.mark.parametrize("name", BINARY)
def test_float32_functions_of_two_arguments(name: str) -> None:
    bound, exact = BINARY[name]
    first, second = pairs()
    found = compiled(name, 2)(first, second)
    with np.errstate(all="ignore"):
        wanted = exact(first.astype(np.float64), second.astype(np.float64))
    errors = units(found, wanted)
    worst = int(errors.argmax())
    assert errors[worst] <= bound, (first[worst], second[worst], found[worst], wanted[worst])


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_extrema_order_zeros_and_propagate_nan(name: str) -> None:
    found = compiled(name, 2)(
        np.array([0.0, -0.0, math.nan, 1.0]), np.array([-0.0, 0.0, 1.0, math.nan])
    )
    assert list(np.signbit(found[:2])) == [name == "minimum"] * 2
    assert np.isnan(found[2:]).all()


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite"])
@pytest.mark.parametrize("source", ["float32", "float64"])
def test_classification(name: str, source: str) -> None:
    values = SPECIAL.astype(source)
    assert np.array_equal(compiled(name, 1, source, "bool")(values), getattr(np, name)(values))


@pytest.mark.parametrize("name", ["exp", "tanh", "erf", "sin", "lgamma", "gamma", "log", "asin"])
def test_float64_is_the_c_library(name: str) -> None:
    values = np.concatenate([np.linspace(0.01, 0.99, 99), [1e-300, -0.25]])
    wanted = vectorised(getattr(math, name))(values)
    found = compiled(name, 1, "float64")(values)
    wanted, found = (a[~np.isnan(wanted)] for a in (wanted, found))
    np.testing.assert_allclose(found, wanted, rtol=1e-15, atol=1e-15)


def test_fused_multiply_add_rounds_once() -> None:
    step = np.float32(1 + 2**-12)
    found = compiled("fma", 3)(np.array([step]), np.array([step]), np.array([-1 - 2**-11]))
    assert found[0] == np.float32(2**-24)


@pytest.mark.parametrize("source", ["int8", "int32", "uint8", "int64"])
def test_integers_count_as_float64(source: str) -> None:
    values = np.array([0, 1, 1, 0], source)
    found = compiled("exp", 1, source, "float64")(values)
    np.testing.assert_array_equal(found, np.exp(values.astype(np.float64)))


# 16-bit floats


def test_float16_widens_exactly_for_every_bit_pattern() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    found = compiled("half_to_float", 1, "uint16", "float32")(bits)
    np.testing.assert_array_equal(found, bits.view(np.float16).astype(np.float32))


def test_float16_narrowing_rounds_to_even() -> None:
    exact = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (exact[:31743].astype(np.float64) + exact[1:31744]) / 2
    values = np.concatenate([arguments(16381), exact, ties.astype(np.float32), SPECIAL])
    found = compiled("float_to_half", 1, "float32", "uint16")(values)
    with np.errstate(over="ignore"):
        wanted = values.astype(np.float16)
    number = ~np.isnan(wanted)
    np.testing.assert_array_equal(found[number], wanted[number].view(np.uint16))
    assert np.isnan(found[~number].view(np.float16)).all()


def test_float16_narrowing_from_float64_rounds_once() -> None:
    exact = np.arange(31744, dtype=np.uint16).view(np.float16).astype(np.float64)
    ties = (exact[:-1] + exact[1:]) / 2
    values = np.concatenate(
        [
            np.nextafter(ties, 0),
            ties,
            np.nextafter(ties, np.inf),
            [1e300, 65519.99, 65520.0, 1e-300],
        ]
    )
    values = np.concatenate([values, -values, [math.nan, math.inf, -math.inf, 0.0, -0.0]])
    found = compiled("double_to_half", 1, "float64", "uint16")(values)
    with np.errstate(over="ignore", under="ignore"):
        wanted = values.astype(np.float16)
    number = ~np.isnan(wanted)
    np.testing.assert_array_equal(found[number], wanted[number].view(np.uint16))
    assert np.isnan(found[~number].view(np.float16)).all()


def bfloat16(values: Array) -> Array:
    """float64 to the bits of bfloat16, to nearest even, by exact arithmetic."""
    with np.errstate(all="ignore"):
        exponent = np.floor(np.log2(np.abs(values)))
        unit = np.exp2(np.maximum(np.where(np.isfinite(exponent), exponent, -126), -126) - 7)
        rounded = np.where(np.isfinite(values), np.rint(values / unit) * unit, values)
        return (rounded.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize(
    ("name", "source"), [("float_to_bfloat16", "float32"), ("double_to_bfloat16", "float64")]
)
def test_bfloat16_narrowing_rounds_once_to_even(name: str, source: str) -> None:
    bits = np.arange(0, 0x7F80, dtype=np.uint32)
    exact = (bits << 16).view(np.float32).astype(np.float64)
    ties = (exact[:-1] + exact[1:]) / 2
    spread = arguments(16381)
    values = np.concatenate([exact, ties, spread[~np.isnan(spread)].astype(np.float64)])
    if source == "float64":
        values = np.concatenate([values, np.nextafter(ties, 0), np.nextafter(ties, np.inf)])
    values = np.concatenate([values, -values, [math.inf, -math.inf, 0.0, -0.0]]).astype(source)
    found = compiled(name, 1, source, "uint16")(values)
    np.testing.assert_array_equal(found, bfloat16(values.astype(np.float64)))


def test_bfloat16_keeps_nan_and_widens_exactly() -> None:
    patterns = np.array([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0x7FC00000], np.uint32)
    narrowed = compiled("float_to_bfloat16", 1, "float32", "uint16")(patterns.view(np.float32))
    widened = compiled("bfloat16_to_float", 1, "uint16", "float32")(narrowed)
    assert np.isnan(widened).all()
    assert (narrowed & 0x40 != 0).all()
    bits = np.arange(2**16, dtype=np.uint16)
    found = compiled("bfloat16_to_float", 1, "uint16", "float32")(bits).view(np.uint32)
    np.testing.assert_array_equal(found, bits.astype(np.uint32) << 16)


# Form of the code

INLINED = [name for name in UNARY if name not in ("fabs", "degrees", "radians")]


@pytest.mark.parametrize("name", [*INLINED, *SLOWLY_CHECKED])
def test_float32_loops_are_vectorised_without_calls(name: str) -> None:
    loop = compiled(name)
    assert loop.externals == ()
    assert not re.search(r"^\s+(call|jmp)q?\s+\*?(?!\.L)", loop.assembly, re.MULTILINE)
    if object_code.host_cpu().vector_bits == 128:
        pytest.skip("this processor has no wide vectors")
    packed = r"\sv\w+p[sd]\s.*%[yz]mm"
    assert re.search(packed, loop.assembly)
    if object_code.host_cpu().vector_bits == 512:
        assert re.search(packed.replace("[yz]", "z"), loop.assembly)


@pytest.mark.parametrize("name", ["pow", "atan2", "hypot", "maximum", "minimum"])
def test_float32_loops_of_two_arguments_are_vectorised(name: str) -> None:
    loop = compiled(name, 2)
    assert loop.externals == ()
    if object_code.host_cpu().vector_bits > 128:
        assert re.search(r"\sv\w+p[sd]\s.*%[yz]mm", loop.assembly)


def test_every_name_of_the_module_is_a_function_or_a_constant() -> None:
    for name in math_library.__all__:
        assert hasattr(math_library, name)
    python_names = {name for name in vars(math) if not name.startswith("_")}
    assert set(UNARY) & python_names <= set(math_library.__all__)
    assert (math_library.pi, math_library.e, math_library.tau) == (math.pi, math.e, math.tau)


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(LoweringError, match="frexp"):
        Elementwise("frexp", 1, "float32", "float32")
