"""From plain-Python bodies to LLVM: literals, mathematics, calls, status."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba.core import types

from opweave.targets.cpu.numba_frontend import LoweringError, as_device_function, lower
from opweave.targets.cpu.scalar_function import ScalarFunction

from .lowering import buffer, run


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
