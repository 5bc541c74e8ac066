"""Simplification: rewritings that keep every value.

Adding zero is not among them (it turns -0.0 into 0.0), nor is anything that moves a rounding.
The one liberty taken is the sign of a zero that a maximum or minimum chooses among zeros.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir import Graph, LazyArray, Value
from ...ir.data_type import is_float, item_size, kind_of
from ...ops.cast import cast
from ...ops.elementwise_activation import relu
from ...ops.elementwise_arithmetic import (
    abs_,
    add,
    clip,
    div,
    maximum,
    minimum,
    mul,
    neg,
    pow_,
    sub,
    where,
)
from ...ops.elementwise_logic import logical_not
from ...ops.movement import concat, expand, slice_, tile, transpose
from ...ops.pad import pad
from ...ops.reshape import identity, reshape
from ..rewrite import Match, Rule, apply_rules, pattern, rule
from .bodies import everywhere

_MOST_BYTES_READ = 64 * 2**10  # of a constant, to see whether all its elements are the same


@rule(pattern(identity, "x"))
def identity_of_x(graph: Graph, match: Match) -> Value | None:
    """identity(x) -> x"""
    return match["x"]


@rule(pattern(reshape, "x"))
def reshape_to_same(graph: Graph, match: Match) -> Value | None:
    """reshape(x) of x's own shape -> x"""
    same = graph.type(match["x"]) == match.root.types[0]
    return match["x"] if same else None


@rule(pattern(reshape, pattern(reshape, "x")))
def reshape_of_reshape(graph: Graph, match: Match) -> Value | None:
    """reshape(reshape(x)) -> reshape(x)"""
    return graph.add(reshape, match["x"], shape=match.attribute("shape"), origin=match.root.origin)


@rule(pattern(transpose, "x"))
def transpose_that_moves_nothing(graph: Graph, match: Match) -> Value | None:
    """A transposition that leaves all axes, or all but those of extent 1, in order."""
    permutation = match.attribute("permutation")
    shape = graph.type(match["x"]).shape
    moving = [axis for axis in permutation if shape[axis] != 1]
    if moving != sorted(moving):
        return None
    if list(permutation) == sorted(permutation):
        return match["x"]
    target = match.root.types[0].shape
    return graph.add(reshape, match["x"], shape=target, origin=match.root.origin)


@rule(pattern(transpose, pattern(transpose, "x", name="inner")))
def transpose_of_transpose(graph: Graph, match: Match) -> Value | None:
    """Two transpositions are one."""
    inner = match.attribute("permutation", "inner")
    permutation = tuple(inner[axis] for axis in match.attribute("permutation"))
    return graph.add(transpose, match["x"], permutation=permutation, origin=match.root.origin)


@rule(pattern(cast, "x"))
def cast_to_same(graph: Graph, match: Match) -> Value | None:
    """cast(x) to x's own type -> x"""
    return match["x"] if graph.type(match["x"]).dtype == match.attribute("to") else None


def _is_exact(source: str, target: str) -> bool:
    """True when every value of ``source`` is one of ``target``."""
    if source == target or source == "bool":
        return True
    if is_float(source):
        narrow = source in ("float16", "bfloat16")
        return (
            is_float(target)
            and item_size(target) > item_size(source)
            and (narrow or source == "float32")
        )
    if is_float(target):
        return {"float64": 4, "float32": 2}.get(target, 1) >= item_size(source)
    if kind_of(source) == kind_of(target):
        return item_size(target) >= item_size(source)
    return kind_of(target) == "signed" and item_size(target) > item_size(source)


@rule(pattern(cast, pattern(cast, "x", name="inner")))
def cast_of_exact_cast(graph: Graph, match: Match) -> Value | None:
    """cast(cast(x)) -> cast(x) where the inner cast loses nothing"""
    source = graph.type(match["x"]).dtype
    target = match.attribute("to")
    if not _is_exact(source, match.attribute("to", "inner")) or target == "bool":
        return None
    return graph.add(cast, match["x"], to=target, origin=match.root.origin)


@rule(pattern((expand, tile, slice_, concat), "x"))
def movement_that_does_nothing(graph: Graph, match: Match) -> Value | None:
    """expand, tile, slice or concat of one operand that gives the operand back"""
    if len(match.root.inputs) != 1 or not match.keeps_type("x"):
        return None
    if match.root.op is slice_:
        starts, steps = match.attribute("starts"), match.attribute("steps")
        if any(start != 0 for start in starts) or any(step != 1 for step in steps):
            return None
    return match["x"]


@rule(pattern(slice_, pattern(slice_, "x", name="inner")))
def slice_of_slice(graph: Graph, match: Match) -> Value | None:
    """slice(slice(x)) -> slice(x)"""
    first = [match.attribute(key, "inner") for key in ("starts", "steps")]
    starts, sizes, steps = (match.attribute(key) for key in ("starts", "sizes", "steps"))
    return graph.add(
        slice_,
        match["x"],
        starts=tuple(a + b * step for a, b, step in zip(first[0], starts, first[1], strict=True)),
        sizes=sizes,
        steps=tuple(a * b for a, b in zip(first[1], steps, strict=True)),
        origin=match.root.origin,
    )


@rule(pattern(concat))
def concat_of_concat(graph: Graph, match: Match) -> Value | None:
    """concat(concat(x, y), z) -> concat(x, y, z), and operands without elements left out"""
    axis = graph.type(match.root.operands[0]).axis(match.attribute("axis"))
    flat: list[Value] = []
    for value in match.root.operands:
        node = graph.node(value.node)
        inner = node.op is concat and graph.use_count(value) == 1
        if inner and node.types[0].axis(node.attrs["axis"]) == axis:
            flat += node.operands
        elif graph.type(value).shape[axis] != 0:
            flat.append(value)
    if flat == list(match.root.operands) or not flat:
        return None
    return graph.add(concat, *flat, axis=axis, origin=match.root.origin)


@rule(pattern(pad, "x"))
def pad_by_nothing(graph: Graph, match: Match) -> Value | None:
    """pad(x) by zero everywhere -> x"""
    amounts = (*match.attribute("before"), *match.attribute("after"))
    return match["x"] if all(amount == 0 for amount in amounts) else None


# --- arithmetic --------------------------------------------------------------------------


@rule(pattern((mul, div, pow_), "x", "one"))
def times_one(graph: Graph, match: Match) -> Value | None:
    """x * 1 -> x, x / 1 -> x and x ** 1 -> x"""
    return match["x"] if match.constant("one") == 1 and match.keeps_type("x") else None


@rule(pattern(mul, "one", "x"))
def one_times(graph: Graph, match: Match) -> Value | None:
    """1 * x -> x"""
    return match["x"] if match.constant("one") == 1 and match.keeps_type("x") else None


@rule(pattern(sub, "x", "zero"))
def minus_zero(graph: Graph, match: Match) -> Value | None:
    """x - 0 -> x, 0 being positive zero"""
    zero = match.constant("zero")
    neutral = zero == 0 and math.copysign(1, zero) > 0
    return match["x"] if neutral and match.keeps_type("x") else None


@rule(pattern(add, "x", "zero", commutes=True))
def plus_zero(graph: Graph, match: Match) -> Value | None:
    """x + 0 -> x for integers; for floats 0 must be negative zero, which changes nothing"""
    zero = match.constant("zero")
    neutral = zero == 0 and (isinstance(zero, int) or math.copysign(1, zero) < 0)
    return match["x"] if neutral and match.keeps_type("x") else None


@rule(pattern(pow_, "x", 2.0))
def square(graph: Graph, match: Match) -> Value | None:
    """x ** 2 -> x * x"""
    if not match.keeps_type("x"):
        return None
    return graph.add(mul, match["x"], match["x"], origin=match.root.origin)


@rule(pattern(div, "x", "divisor"))
def division_by_power_of_two(graph: Graph, match: Match) -> Value | None:
    """x / 2**k -> x * 2**-k, which is exact and several times faster"""
    divisor = match.constant("divisor")
    if not isinstance(divisor, float) or not math.isfinite(divisor):
        return None
    mantissa, exponent = math.frexp(divisor)
    if abs(mantissa) != 0.5 or abs(exponent) > 12:  # both are normal numbers of all types
        return None
    held = 1 / graph.array(match["divisor"])
    factor = graph.param(held.astype(graph.array(match["divisor"]).dtype), "factor")
    return graph.add(mul, match["x"], factor, origin=match.root.origin)


@rule(pattern(add, "x", pattern(neg, "y"), commutes=True))
def addition_of_negation(graph: Graph, match: Match) -> Value | None:
    """x + (-y) -> x - y"""
    return graph.add(sub, match["x"], match["y"], origin=match.root.origin)


@rule(pattern(sub, "x", pattern(neg, "y")))
def subtraction_of_negation(graph: Graph, match: Match) -> Value | None:
    """x - (-y) -> x + y"""
    return graph.add(add, match["x"], match["y"], origin=match.root.origin)


@rule(pattern((neg, logical_not), pattern((neg, logical_not), "x", name="inner")))
def done_twice(graph: Graph, match: Match) -> Value | None:
    """-(-x) -> x and not not x -> x"""
    return match["x"] if match.nodes["inner"].op is match.root.op else None


@rule(pattern((relu, abs_), pattern((relu, abs_), "x", name="inner")))
def done_before(graph: Graph, match: Match) -> Value | None:
    """relu(relu(x)) -> relu(x), abs(abs(x)) -> abs(x) and relu(abs(x)) -> abs(x)"""
    inner = match.nodes["inner"]
    if match.root.op is abs_ and inner.op is relu:
        return inner.outputs[0]
    if match.root.op is relu and inner.op is abs_ and not is_float(inner.types[0].dtype):
        return None  # the least integer has no absolute value
    return inner.outputs[0]


# --- choosing ----------------------------------------------------------------------------


@rule(pattern(where, "condition", "x", "y"))
def where_of_constant(graph: Graph, match: Match) -> Value | None:
    """where with a constant condition that is the same everywhere -> the chosen operand"""
    condition = match["condition"]
    held = graph.params.get(condition.node)
    size = graph.type(condition).nbytes
    if held is None or isinstance(held, LazyArray) or not isinstance(size, int):
        return None
    if not 0 < size <= _MOST_BYTES_READ or bool(held.all()) != bool(held.any()):
        return None
    chosen = "x" if held.all() else "y"
    return match[chosen] if match.keeps_type(chosen) else None


def _limits(dtype: str) -> tuple[Any, Any]:
    """What clip's limits are where there is none."""
    if is_float(dtype):
        return -math.inf, math.inf
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


@rule(pattern((maximum, minimum), "x", "limit", commutes=True))
def clip_from_extremum(graph: Graph, match: Match) -> Value | None:
    """maximum(x, c) -> clip(x, low=c) and minimum(x, c) -> clip(x, high=c) for a number c"""
    limit = match.constant("limit")
    if limit is None or limit != limit or not match.keeps_type("x") or graph.is_param(match["x"]):
        return None
    low, high = _limits(graph.type(match["x"]).dtype)
    low, high = (limit, high) if match.root.op is maximum else (low, limit)
    return graph.add(clip, match["x"], low=low, high=high, origin=match.root.origin)


@rule(pattern((clip, relu), pattern((clip, relu), "x", name="inner")))
def clip_of_clip(graph: Graph, match: Match) -> Value | None:
    """Two clips, or a clip and a relu, are one clip."""
    dtype = match.root.types[0].dtype
    (first, last), (low, high) = (_interval(n, dtype) for n in (match.nodes["inner"], match.root))
    # What the second one makes of the ends of the first one's interval.
    low, high = min(max(first, low), high), min(max(last, low), high)
    return graph.add(clip, match["x"], low=low, high=high, origin=match.root.origin)


def _interval(node: Any, dtype: str) -> tuple[Any, Any]:
    if node.op is clip:
        low, high = node.attrs["low"], node.attrs["high"]
        return min(low, high), high  # clip lets the high limit win
    return (0.0 if is_float(dtype) else 0), _limits(dtype)[1]


@rule(pattern(clip, "x"))
def clip_that_is_simpler(graph: Graph, match: Match) -> Value | None:
    """clip without limits -> x, clip from 0 on -> relu"""
    dtype = match.root.types[0].dtype
    interval = (match.attribute("low"), match.attribute("high"))
    limits = _limits(dtype)
    if interval == limits:
        return match["x"]
    if interval == (0, limits[1]) and kind_of(dtype) in ("float", "signed"):
        return graph.add(relu, match["x"], origin=match.root.origin)
    return None


RULES: tuple[Rule, ...] = (
    identity_of_x,
    reshape_to_same,
    reshape_of_reshape,
    transpose_that_moves_nothing,
    transpose_of_transpose,
    cast_to_same,
    cast_of_exact_cast,
    movement_that_does_nothing,
    slice_of_slice,
    concat_of_concat,
    pad_by_nothing,
    times_one,
    one_times,
    minus_zero,
    plus_zero,
    square,
    division_by_power_of_two,
    addition_of_negation,
    subtraction_of_negation,
    done_twice,
    done_before,
    where_of_constant,
    clip_from_extremum,
    clip_of_clip,
    clip_that_is_simpler,
)


def simplify(graph: Graph) -> int:
    """Apply the rules until none fires."""
    return apply_rules(graph, RULES)


SIMPLIFY = everywhere("simplify", simplify)
