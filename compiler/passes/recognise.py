"""Operators that exporters take apart, put together again: activations and normalisations.

The recognised operator computes the same function, mostly more exactly: it neither overflows
nor cancels where its parts would. Run ``simplify`` first: it brings spellings closer together.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir import Graph, Node, Op, Value
from ...ops.elementwise_activation import (
    gelu,
    hard_sigmoid,
    hard_swish,
    mish,
    sigmoid,
    softplus,
    swish,
)
from ...ops.elementwise_arithmetic import add, clip, div, mul, neg, pow_, reciprocal, sub
from ...ops.elementwise_functions import erf, exp, log, sqrt, tanh
from ...ops.layer_normalization import layer_normalization, rms_normalization
from ...ops.reduce import reduce_max, reduce_mean, reduce_sum
from ...ops.softmax import softmax
from ..rewrite import Match, Operand, Pattern, Rule, apply_rules, pattern, rule
from .bodies import everywhere


def _times(left: Operand, right: Operand) -> Pattern:
    return pattern(mul, left, right, commutes=True)


def _plus(left: Operand, right: Operand, name: str = "") -> Pattern:
    return pattern(add, left, right, commutes=True, name=name)


def _of_x(name: str, op: Op, wanted: Pattern, **attributes: Any) -> Rule:
    """A rule that puts ``op(x)`` in place of a pattern over ``x``."""

    def build(graph: Graph, match: Match) -> Value | None:
        if not match.keeps_type("x"):
            return match.decline("a constant has more dimensions than x")
        return graph.add(op, match["x"], origin=match.root.origin or match.root.name, **attributes)

    return Rule(name, wanted, build)


# --- activations -------------------------------------------------------------------------

_EXPONENTIAL = _plus(pattern(exp, pattern(neg, "x")), 1.0)

_SIGMOIDS = [
    _of_x("sigmoid_from_reciprocal", sigmoid, pattern(reciprocal, _EXPONENTIAL)),
    _of_x("sigmoid_from_quotient", sigmoid, pattern(div, 1.0, _EXPONENTIAL)),
    _of_x("swish_from_quotient", swish, pattern(div, "x", _EXPONENTIAL)),
    _of_x("swish_from_sigmoid", swish, _times("x", pattern(sigmoid, "x"))),
    _of_x("softplus_from_logarithm", softplus, pattern(log, _plus(pattern(exp, "x"), 1.0))),
    _of_x("mish_from_softplus", mish, _times("x", pattern(tanh, pattern(softplus, "x")))),
]


@rule(_times("x", pattern(sigmoid, _times("x", "alpha"))))
def swish_of_scaled(graph: Graph, match: Match) -> Value | None:
    """x * sigmoid(alpha * x) -> swish(x) with that alpha"""
    alpha = match.constant("alpha")
    if alpha is None or not math.isfinite(alpha) or not match.keeps_type("x"):
        return match.decline("alpha is not a number")
    return graph.add(swish, match["x"], alpha=alpha, origin=match.root.origin or match.root.name)


def _gelus() -> list[Rule]:
    """x * (1 + erf(x / sqrt(2))) / 2 in the usual orders, and its approximation by tanh."""
    rules = []
    arguments = [pattern(div, "x", math.sqrt(2)), _times("x", math.sqrt(0.5))]
    for argument in arguments:
        error = pattern(erf, argument)
        rules += _halves("gelu_from_erf", _plus(error, 1.0), approximate=False)
        both = _plus(_times(error, 0.5), 0.5)
        rules.append(_of_x("gelu_from_erf", gelu, _times("x", both), approximate=False))
    cubes = [
        pattern(pow_, "x", 3.0),
        _times("x", _times("x", "x")),
    ]
    cubics = [_times(cube, 0.044715) for cube in cubes]
    cubics.append(_times(_times(_times("x", 0.044715), "x"), "x"))
    inner = [_plus("x", cubic) for cubic in cubics]
    scale = math.sqrt(2 / math.pi)
    lines = [_times(line, scale) for line in inner]
    lines.append(_times(_times("x", scale), _plus(_times(_times("x", "x"), 0.044715), 1.0)))
    lines.append(_times(_times("x", scale), _plus(_times(_times("x", 0.044715), "x"), 1.0)))
    for line in lines:
        rules += _halves("gelu_from_tanh", _plus(pattern(tanh, line), 1.0), approximate=True)
    return rules


def _halves(name: str, double: Pattern, *, approximate: bool) -> list[Rule]:
    """x * double / 2 with the factors in any order."""
    half = [
        _times(_times("x", double), 0.5),
        _times(_times("x", 0.5), double),
        _times("x", _times(double, 0.5)),
    ]
    return [_of_x(name, gelu, wanted, approximate=approximate) for wanted in half]


_RAISED = _plus("x", 3.0)
_CLIPPED = pattern(clip, _RAISED, name="clip")


def _sixth(name: str, op: Op, wanted: Pattern, **attributes: Any) -> Rule:
    """A rule for a pattern with a clip from 0 to 6 in it."""
    inner = _of_x(name, op, wanted, **attributes)

    def build(graph: Graph, match: Match) -> Value | None:
        if (match.attribute("low", "clip"), match.attribute("high", "clip")) != (0, 6):
            return match.decline("the clip is not from 0 to 6")
        return inner.build(graph, match)

    return Rule(name, wanted, build)


_HARD = [
    _sixth(name, op, wanted, **attributes)
    for name, op, part, attributes in (
        ("hard_swish_from_clip", hard_swish, _times("x", _CLIPPED), {}),
        ("hard_sigmoid_from_clip", hard_sigmoid, _CLIPPED, {"alpha": 1 / 6, "beta": 0.5}),
    )
    for wanted in (pattern(div, part, 6.0), _times(part, 1 / 6))
]


@rule(_times("x", pattern(hard_sigmoid, "x", name="inner")))
def hard_swish_from_hard_sigmoid(graph: Graph, match: Match) -> Value | None:
    """x * hard_sigmoid(x) with slope 1/6 and offset 1/2 -> hard_swish(x)"""
    slope, offset = (match.attribute(name, "inner") for name in ("alpha", "beta"))
    if not math.isclose(slope, 1 / 6, rel_tol=1e-6) or offset != 0.5:
        return match.decline("slope and offset are not those of hard_swish")
    return graph.add(hard_swish, match["x"], origin=match.root.origin or match.root.name)


# --- normalisations ----------------------------------------------------------------------


def _inverse_roots(squares: Pattern) -> list[Pattern]:
    """``left / sqrt(squares + epsilon)`` as exporters write it."""
    inside = _plus(squares, "epsilon")
    roots = [pattern(sqrt, inside), pattern(pow_, inside, 0.5)]
    found = []
    for root in roots:
        found += [
            pattern(div, "left", root),
            _times("left", pattern(reciprocal, root)),
            _times("left", pattern(div, 1.0, root)),
        ]
    return [*found, _times("left", pattern(pow_, inside, -0.5))]


_MEAN_SQUARE = pattern(reduce_mean, _times("left", "left"), name="mean")


def _trailing(match: Match, node: Node) -> int | None:
    """The first axis of a reduction over all axes from there on, its extents kept."""
    rank = match.root.types[0].rank
    axes: list[int] = sorted(axis % rank for axis in node.attrs["axes"]) if rank else []
    if not axes or not node.attrs["keepdims"] or axes != list(range(axes[0], rank)):
        return None
    return axes[0]


def _normalised(graph: Graph, match: Match) -> Value | None:
    """A normalisation with scale 1 of what has the mean square that the pattern found."""
    epsilon, axis = match.constant("epsilon"), _trailing(match, match.nodes["mean"])
    if epsilon is None or not epsilon >= 0 or axis is None or not match.keeps_type("left"):
        return match.decline("it is not over the last axes, or epsilon is not a number")
    extents = match.root.types[0].shape[axis:]
    if not all(isinstance(extent, int) for extent in extents):
        return match.decline("the normalised extents are not known")
    ones = np.ones([int(extent) for extent in extents if isinstance(extent, int)])
    x, op = _without_mean(graph, match["left"], match.nodes["mean"])
    scale = graph.param(ones.astype(match.root.types[0].numpy), "ones")
    origin = match.root.origin or match.root.name
    return graph.add(op, x, scale, axis=axis, epsilon=epsilon, origin=origin)


def _without_mean(graph: Graph, value: Value, mean: Node) -> tuple[Value, Op]:
    """What the value is if it is something minus its mean over the axes of ``mean``."""
    node = graph.node(value.node)
    if node.op is sub:
        x, subtracted = node.operands
        inner = graph.node(subtracted.node)
        same = inner.op is reduce_mean and inner.operands == (x,) and inner.attrs == mean.attrs
        if same and graph.type(x) == node.types[0]:
            return x, layer_normalization
    return value, rms_normalization


_NORMALISATIONS = [
    Rule("normalization_from_mean_square", wanted, _normalised)
    for wanted in _inverse_roots(_MEAN_SQUARE)
]


def _has_unit_scale(graph: Graph, node: Node) -> bool:
    value = node.inputs[1]
    assert value is not None, "the scale is never left out"
    return graph.is_param(value) and bool((graph.array(value) == 1).all())


def _vector(graph: Graph, match: Match, name: str, node: Node) -> Value | None:
    """An operand of exactly the normalised shape, after leading extents of 1 are dropped."""
    value = match[name]
    wanted = graph.type(node.operands[1])
    type_ = graph.type(value)
    extra = type_.rank - wanted.rank
    if extra < 0 or match.root.types != node.types:
        return None
    if type_.shape[extra:] != wanted.shape or any(extent != 1 for extent in type_.shape[:extra]):
        return None
    if extra and not graph.is_param(value):
        return None
    return graph.param(graph.array(value).reshape(wanted.static_shape)) if extra else value


@rule(_times(pattern((layer_normalization, rms_normalization), "x", "s", name="norm"), "scale"))
def normalization_with_scale(graph: Graph, match: Match) -> Value | None:
    """A normalisation with scale 1, times a vector -> a normalisation with that scale"""
    node = match.nodes["norm"]
    if len(node.operands) > 2 or not _has_unit_scale(graph, node):
        return match.decline("it has a scale already")
    scale = _vector(graph, match, "scale", node)
    if scale is None:
        return match.decline("the factor has not the normalised shape")
    return graph.add(node.op, match["x"], scale, origin=node.origin or node.name, **node.attrs)


@rule(_plus(pattern(layer_normalization, "x", "scale", name="norm"), "bias"))
def normalization_with_bias(graph: Graph, match: Match) -> Value | None:
    """A layer normalisation without bias, plus a vector -> one with that bias"""
    node = match.nodes["norm"]
    bias = _vector(graph, match, "bias", node) if len(node.operands) == 2 else None
    if bias is None:
        return match.decline("it has a bias, or the sum has not the normalised shape")
    origin = node.origin or node.name
    return graph.add(node.op, match["x"], match["scale"], bias, origin=origin, **node.attrs)


@rule(pattern(div, "powers", pattern(reduce_sum, "powers", name="sum")))
def softmax_from_exponentials(graph: Graph, match: Match) -> Value | None:
    """exp(x - max(x)) / sum(exp(x - max(x))) -> softmax(x), with or without the maximum"""
    powers, axes = graph.node(match["powers"].node), match.attribute("axes", "sum")
    if powers.op is not exp or len(axes) != 1 or not match.attribute("keepdims", "sum"):
        return match.decline("it is not a sum of exponentials over one axis")
    x = powers.operands[0]
    shifted = graph.node(x.node)
    if shifted.op is sub:
        source, greatest = shifted.operands[0], graph.node(shifted.operands[1].node)
        if greatest.op is reduce_max and greatest.operands == (source,):
            rank = graph.type(source).rank
            same = [axis % rank for axis in greatest.attrs["axes"]] == [axes[0] % rank]
            x = source if same and greatest.attrs["keepdims"] else x
    if graph.type(x) != match.root.types[0]:
        return None
    return graph.add(softmax, x, axis=axes[0], origin=match.root.origin or match.root.name)


RULES: tuple[Rule, ...] = (
    *_SIGMOIDS,
    swish_of_scaled,
    *_gelus(),
    *_HARD,
    hard_swish_from_hard_sigmoid,
    *_NORMALISATIONS,
    normalization_with_scale,
    normalization_with_bias,
    softmax_from_exponentials,
)


def recognise(graph: Graph) -> int:
    """Put operators together again that were taken apart."""
    return apply_rules(graph, RULES)


RECOGNISE = everywhere("recognise", recognise)
