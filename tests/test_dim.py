"""Symbolic extents: arithmetic agrees with numbers, equal extents are equal, bounds hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from opweave.ir import Dim, Extent, LimitError, ModelError, symbol
from opweave.ir.dim import (
    bounds,
    ceil_divide,
    evaluate,
    floor_divide,
    maximum,
    minimum,
    product,
    substitute,
    symbol_name,
    symbols_of,
    text_of,
)

N, M, K = symbol("n"), symbol("m", 1, 9), symbol("k", -4, 4)
SYMBOLS = {"n": (0, 30), "m": (1, 9), "k": (-4, 4)}
VALUES = st.fixed_dictionaries({name: st.integers(*limits) for name, limits in SYMBOLS.items()})

OPERATIONS: dict[str, Callable[[Extent, Extent], Extent]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "max": maximum,
    "min": minimum,
}


def _apply(operation: str, left: Extent, right: Extent) -> Extent:
    if operation == "//":
        # Divisors are never zero where an extent is used: here they are at least 1.
        return floor_divide(left, maximum(right, 1))
    return OPERATIONS[operation](left, right)


EXTENTS = st.recursive(
    st.sampled_from([N, M, K]) | st.integers(-5, 9),
    lambda inner: st.builds(_apply, st.sampled_from([*OPERATIONS, "//"]), inner, inner),
    max_leaves=8,
)
LAWS = settings(max_examples=150, deadline=None)


@given(EXTENTS, EXTENTS, VALUES, st.sampled_from(list(OPERATIONS)))
@LAWS
def test_operations_agree_with_numbers(
    left: Extent, right: Extent, values: dict[str, int], operation: str
) -> None:
    apply = OPERATIONS[operation]
    found = evaluate(apply(left, right), values)
    assert found == apply(evaluate(left, values), evaluate(right, values))


@given(EXTENTS, EXTENTS, VALUES)
@LAWS
def test_divisions_agree_with_numbers(left: Extent, right: Extent, values: dict[str, int]) -> None:
    divisor = evaluate(right, values)
    assume(divisor != 0)
    try:
        quotient = floor_divide(left, right)
        rounded_up = ceil_divide(left, right)
    except ModelError:
        assume(False)
    assert evaluate(quotient, values) == evaluate(left, values) // divisor
    if divisor > 0:
        assert evaluate(rounded_up, values) == -(-evaluate(left, values) // divisor)


@given(EXTENTS, EXTENTS, EXTENTS)
@LAWS
def test_equal_extents_are_equal(a: Extent, b: Extent, c: Extent) -> None:
    pairs = [
        (a + b, b + a),
        (a + b + c, c + (b + a)),
        (a * b, b * a),
        (a * (b + c), c * a + b * a),
        (a - b, -(b - a)),
        (a - a, 0),
        (maximum(a, b), maximum(b, a)),
        (minimum(a, b), minimum(b, a)),
        (floor_divide(6 * a + 4, 2), 3 * a + 2),
    ]
    for left, right in pairs:
        assert left == right
        assert hash(left) == hash(right)
        assert repr(left) == repr(right)
        assert isinstance(left, (int, Dim))


@given(EXTENTS, VALUES)
@LAWS
def test_bounds_hold(extent: Extent, values: dict[str, int]) -> None:
    low, high = bounds(extent)
    value = evaluate(extent, values)
    assert low is None or low <= value
    assert high is None or value <= high


@given(EXTENTS, EXTENTS, VALUES)
@LAWS
def test_substitution_comes_before_or_after(
    extent: Extent, inner: Extent, values: dict[str, int]
) -> None:
    changed = substitute(extent, {"n": inner})
    assert evaluate(changed, values) == evaluate(extent, {**values, "n": evaluate(inner, values)})
    assert substitute(extent, {}) == extent


@given(EXTENTS, VALUES)
@LAWS
def test_text_is_python(extent: Extent, values: dict[str, int]) -> None:
    found = eval(repr(extent), {"max": max, "min": min}, dict(values))
    assert found == evaluate(extent, values)


def test_text() -> None:
    assert repr(2 * (N + 1) - 3 * N * M) == "-3*m*n + 2*n + 2"
    assert repr(floor_divide(N + 1, 2) * 3) == "3*((n + 1)//2)"
    assert repr(floor_divide(N, M)) == "(n//m)"
    assert repr(maximum(N, M)) == "max(m, n)"
    assert text_of(N * 2, lambda symbol_: f"<{symbol_.name}>") == "2*<n>"
    assert text_of(7) == "7"


def test_simplification_by_bounds() -> None:
    assert maximum(M, 1) == M
    assert maximum(M, 20) == 20
    assert minimum(M, 9) == M
    assert maximum(N, N + 1) == N + 1
    assert minimum(2 * M, M) == M
    assert isinstance(maximum(N, 1), Dim)
    assert bounds(floor_divide(K, 2)) == (-2, 2)
    assert bounds(floor_divide(N - 5, 2)) == (-3, None)
    assert bounds(N * M) == (0, None)
    assert bounds(K * M) == (None, None)


def test_exact_division() -> None:
    assert floor_divide(6 * N * M, 2 * N) == 3 * M
    assert floor_divide(4 * N + 8, 4) == N + 2
    assert floor_divide(4 * N + 9, 4) == N + 2
    assert floor_divide(4 * N + 3, 4) == N
    assert floor_divide(N + M, N + M) == 1
    assert (5 * N) % 5 == 0
    assert 0 // N == 0


def test_symbols() -> None:
    assert symbol_name(N) == "n"
    assert symbol_name(N + 1) is None
    assert symbol_name(2 * N) is None
    assert symbol_name(3) is None
    found = symbols_of([{"a": (maximum(N, M), 1)}, 2 * K])
    assert {each.name for each in found} == {"n", "m", "k"}
    assert product([]) == 1
    assert product([2, N, 3]) == 6 * N
    assert symbol("n", 1) != symbol("n")
    first, second = symbol("n", 1) * symbol("n"), symbol("n") * symbol("n", 1)
    assert first == second


def test_errors() -> None:
    with pytest.raises(ModelError, match="below lower bound"):
        symbol("n", 2, 1)
    with pytest.raises(ModelError, match="by zero"):
        floor_divide(N, 0)
    with pytest.raises(ModelError, match="needs values for m, n"):
        evaluate(N + M * 2, {"k": 1})
    with pytest.raises(TypeError):
        N + "a"
    with pytest.raises(LimitError):
        product(symbol(f"a{k}") + symbol(f"b{k}") for k in range(12))
