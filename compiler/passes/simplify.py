"""Simplification: rewritings that keep every value, bit by bit.

Adding zero is not among them (it turns -0.0 into 0.0), nor is anything that moves a rounding.
"""

from __future__ import annotations

import math

from ...ir import Graph, Value
from ...ir.data_type import is_float, item_size, kind_of
from ...ops.cast import cast
from ...ops.elementwise_activation import relu
from ...ops.elementwise_arithmetic import clip, div, maximum, minimum, mul, neg, sub, where
from ...ops.movement import concat, expand, slice_, tile, transpose
from ...ops.pad import pad
from ...ops.reshape import identity, reshape
from ..rewrite import Match, Rule, apply_rules, pattern, rule
from .bodies import everywhere


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
    if len(match.root.inputs) != 1 or graph.type(match["x"]) != match.root.types[0]:
        return None
    if match.root.op is slice_ and any(step != 1 for step in match.attribute("steps")):
        return None
    return match["x"]


@rule(pattern(pad, "x"))
def pad_by_nothing(graph: Graph, match: Match) -> Value | None:
    """pad(x) by zero everywhere -> x"""
    amounts = (*match.attribute("before"), *match.attribute("after"))
    return match["x"] if all(amount == 0 for amount in amounts) else None


@rule(pattern((mul, div), "x", "one"))
def times_one(graph: Graph, match: Match) -> Value | None:
    """x * 1 -> x and x / 1 -> x"""
    return _if_constant(graph, match, "one", 1)


@rule(pattern(mul, "one", "x"))
def one_times(graph: Graph, match: Match) -> Value | None:
    """1 * x -> x"""
    return _if_constant(graph, match, "one", 1)


@rule(pattern(sub, "x", "zero"))
def minus_zero(graph: Graph, match: Match) -> Value | None:
    """x - 0 -> x (0 being positive zero)"""
    if match.constant("zero") == 0 and math.copysign(1, match.constant("zero") or 0.0) < 0:
        return None
    return _if_constant(graph, match, "zero", 0)


def _if_constant(graph: Graph, match: Match, name: str, number: float) -> Value | None:
    same = graph.type(match["x"]) == match.root.types[0]
    return match["x"] if same and match.constant(name) == number else None


@rule(pattern(neg, pattern(neg, "x")))
def double_negation(graph: Graph, match: Match) -> Value | None:
    """-(-x) -> x"""
    return match["x"]


@rule(pattern(relu, pattern(relu, "x")))
def relu_of_relu(graph: Graph, match: Match) -> Value | None:
    """relu(relu(x)) -> relu(x)"""
    return graph.add(relu, match["x"], origin=match.root.origin)


@rule(pattern(where, "condition", "x", "y"))
def where_of_constant(graph: Graph, match: Match) -> Value | None:
    """where with a constant condition of one element -> the chosen operand"""
    condition = match.constant("condition")
    if condition is None:
        return None
    chosen = match["x"] if condition else match["y"]
    return chosen if graph.type(chosen) == match.root.types[0] else None


@rule(pattern(minimum, pattern(maximum, "x", "low", commutes=True), "high", commutes=True))
def clip_from_extrema(graph: Graph, match: Match) -> Value | None:
    """minimum(maximum(x, low), high) -> clip(x) for constant floats low <= high"""
    low, high = match.constant("low"), match.constant("high")
    dtype = graph.type(match["x"]).dtype
    if low is None or high is None or dtype not in ("float32", "float64") or not low <= high:
        return None
    if graph.type(match["x"]) != match.root.types[0]:
        return None
    return graph.add(clip, match["x"], low=low, high=high, origin=match.root.origin)


RULES: tuple[Rule, ...] = (
    identity_of_x,
    reshape_to_same,
    reshape_of_reshape,
    transpose_that_moves_nothing,
    transpose_of_transpose,
    cast_to_same,
    cast_of_exact_cast,
    movement_that_does_nothing,
    pad_by_nothing,
    times_one,
    one_times,
    minus_zero,
    double_negation,
    relu_of_relu,
    where_of_constant,
    clip_from_extrema,
)


def simplify(graph: Graph) -> int:
    """Apply the rules until none fires."""
    return apply_rules(graph, RULES)


SIMPLIFY = everywhere("simplify", simplify)
