"""What shape tensors hold: numbers, symbolic extents, measured symbols."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opweave.formats.shape_values import ShapeValues, is_known
from opweave.ir import Dim, Graph, ModelError, TensorType, UnsupportedError, Value, dim, symbol
from opweave.ops.registry import operator_named


class Made:
    """A graph with an input x[n, m, 4] and ways to add to it by operator name."""

    def __init__(self) -> None:
        self.graph = Graph("shapes")
        self.n, self.m = symbol("n"), symbol("m")
        self.x = self.graph.input("x", TensorType("float32", (self.n, self.m, 4)))
        self.shapes = ShapeValues(self.graph)
        self.shape = self.add("extents", values=(self.n, self.m, 4))

    def add(self, name: str, *inputs: Value, **attributes: Any) -> Value:
        return self.graph.add(operator_named(name), *inputs, **attributes)

    def number(self, value: Any, dtype: str = "int64") -> Value:
        return self.graph.param(np.array(value, dtype))

    def found(self, value: Value) -> tuple[Any, ...]:
        return self.shapes.extents(value, "a shape")


def test_arithmetic_is_symbolic() -> None:
    made = Made()
    both = made.add("mul", made.shape, made.number([2, 1, 1]))
    less = made.add("sub", both, made.number(1))
    assert made.found(less) == (2 * made.n - 1, made.m - 1, 3)
    first = made.add("gather", made.shape, made.number(0), axis=0)
    joined = made.add("concat", made.add("reshape", first, shape=(1,)), made.number([7]), axis=0)
    assert made.found(joined) == (made.n, 7)
    assert not made.graph.symbols


def test_extents_survive_floats_as_long_as_they_are_whole() -> None:
    made = Made()
    floats = made.add("cast", made.shape, to="float32")
    doubled = made.add("floor", made.add("mul", floats, made.number(2.0, "float32")))
    assert made.found(made.add("cast", doubled, to="int64")) == (2 * made.n, 2 * made.m, 8)
    half = made.add("mul", floats, made.number(0.5, "float32"))
    assert made.shapes.contents(half) is None


def test_comparisons_that_bounds_decide() -> None:
    made = Made()
    same = made.add("equal", made.shape, made.number([-1, -1, 4]))
    chosen = made.add("where", same, made.number([9, 9, 9]), made.shape)
    assert made.found(chosen) == (made.n, made.m, 9)
    unclear = made.add("equal", made.shape, made.number([1, 1, 1]))
    assert made.shapes.contents(unclear) is None


def test_numbers_are_folded_whatever_the_operator() -> None:
    made = Made()
    size = made.add("reduce_prod", made.number([2, 3, 4]), axes=(0,), keepdims=True)
    assert made.found(size) == (24,)
    assert made.shapes.numbers(size) is not None
    assert made.shapes.numbers(made.shape) is None
    assert is_known(np.array([1, 2], object))


def test_integer_division_goes_towards_zero() -> None:
    made = Made()
    assert made.found(made.add("div", made.shape, made.number(2))) == (
        made.n // 2,
        made.m // 2,
        2,
    )
    negative = made.add("div", made.add("sub", made.shape, made.number(5)), made.number(2))
    assert made.graph.symbols == {}
    rows, _, third = made.found(negative)
    numbers = [dim.evaluate(rows, {"n": n, "m": 1}) for n in (0, 3, 4, 5, 6, 7)]
    assert (numbers, third) == ([-2, -1, 0, 0, 0, 1], 0)
    by_unknown_sign = made.add("div", made.shape, made.add("sub", made.shape, made.number(2)))
    # The symbol is named after the node, without the number that tells it from others.
    assert any(str(extent).startswith("div.") for extent in made.found(by_unknown_sign))


def test_run_time_elements_are_measured_where_they_matter() -> None:
    made = Made()
    late = made.graph.input("late", TensorType("int32", (2,)))
    joined = made.add("concat", made.shape, made.add("cast", late, to="int64"), axis=0)
    extents = made.found(joined)
    assert extents[:3] == (made.n, made.m, 4)
    assert all(isinstance(extent, Dim) for extent in extents[3:])
    assert sorted(position for _, position in made.graph.symbols.values()) == [3, 4]
    assert made.found(joined) == extents
    assert len(made.graph.symbols) == 2


def test_what_cannot_be_told_is_refused() -> None:
    made = Made()
    with pytest.raises(ModelError, match="does not hold integers"):
        made.found(made.x)
    row = made.graph.input("row", TensorType("int64", (made.n,)))
    with pytest.raises(UnsupportedError, match="computed by the run"):
        made.found(row)
    long = made.graph.input("long", TensorType("int64", (1000,)))
    with pytest.raises(UnsupportedError, match="only a run tells"):
        made.found(long)


def test_a_bad_index_is_left_to_the_run() -> None:
    made = Made()
    bad = made.add("gather", made.number([1, 2]), made.number(7), axis=0)
    assert made.shapes.numbers(bad) is None


def test_long_chains_do_not_recurse() -> None:
    made = Made()
    value = made.shape
    for _ in range(3000):
        value = made.add("add", value, made.number(1))
    assert made.found(value)[2] == 3004
