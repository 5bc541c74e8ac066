"""Constants beside convolutions and products, made part of their weights, biases and padding.

What is absorbed is computed in float64 and rounded once. Weights stay lazy: they are scaled
when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ir import Array, Extent, Graph, LazyArray, Node, Value
from ...ir.data_type import INTEGERS, is_float
from ...ir.node import read_array
from ...ops.convolution import convolution
from ...ops.convolution_transpose import convolution_transpose
from ...ops.elementwise_arithmetic import add, mul, sub
from ...ops.matmul import matmul
from ...ops.max_pool import max_pool
from ...ops.pad import pad
from ...ops.pool import average_pool
from ..rewrite import Match, Rule, apply_rules, pattern, rule
from .bodies import everywhere

_CONVOLUTIONS = (convolution, convolution_transpose)
_WIDE = ("float32", "float64")


def channel_vector(graph: Graph, value: Value, node: Node) -> Array | None:
    """A parameter that broadcasts along the channels of a convolution, one number a channel.

    It comes in float64; None for any other value.
    """
    type_, output = graph.type(value), node.types[0]
    channels = output.shape[1]
    if not graph.is_param(value) or not is_float(type_.dtype) or not isinstance(channels, int):
        return None
    shape: tuple[Extent, ...] = (1,) * (output.rank - type_.rank) + type_.shape
    if len(shape) != output.rank or shape[1] not in (1, channels):
        return None
    if any(extent != 1 for axis, extent in enumerate(shape) if axis != 1):
        return None
    vector = graph.array(value).astype(np.float64).reshape(-1)
    return np.broadcast_to(vector, (channels,))


@dataclass(frozen=True, slots=True)
class Scaled:
    """A convolution with constant weights, and what its output is multiplied by and offset."""

    node: Node
    factor: Array
    offset: Array

    def build(self, graph: Graph) -> Value | None:
        """The convolution that computes all of it; None if its weights are not constant."""
        node, bias = self.node, self.node.inputs[2] if len(self.node.inputs) > 2 else None
        x, w = node.operands[:2]
        if not graph.is_param(w) or (bias is not None and not graph.is_param(bias)):
            return None
        if node.types[0].dtype not in _WIDE:
            return None
        offset = self.offset
        if bias is not None:
            offset = offset + self.factor * graph.array(bias).astype(np.float64)
        if not np.isfinite(self.factor).all() or not np.isfinite(offset).all():
            return None
        weights = graph.params[w.node]
        if not (self.factor == 1).all():
            groups = node.attrs["groups"] if node.op is convolution_transpose else 0
            factor, held = self.factor, weights
            weights = LazyArray(graph.type(w), lambda: scaled(read_array(held), factor, groups))
            w = graph.param(weights, f"{w.node}.scaled")
        if bias is not None or offset.any():
            bias = graph.param(offset.astype(node.types[0].numpy), f"{node.name}.offset")
        operands = [x, w] if bias is None else [x, w, bias]
        origin = node.origin or node.name
        return graph.add(node.op, *operands, origin=origin, **node.attrs)


def scaled(weights: Array, factor: Array, transposed_groups: int = 0) -> Array:
    """Weights with output channel ``m`` times ``factor[m]``; channels first, or second by group."""
    spread = (1,) * (weights.ndim - 2)
    if transposed_groups:
        inputs, maps = weights.shape[0] // transposed_groups, weights.shape[1]
        by_group = np.repeat(factor.reshape(transposed_groups, maps), inputs, axis=0)
        factor = by_group.reshape(*by_group.shape, *spread)
    else:
        factor = factor.reshape(-1, 1, *spread)
    # Computed in float64, a few elements at a time.
    result = np.empty_like(weights)
    return np.multiply(weights, factor, out=result, dtype=np.float64, casting="same_kind")


@rule(pattern(add, pattern(_CONVOLUTIONS, "x", name="convolution"), "offset", commutes=True))
def addition_after_convolution(graph: Graph, match: Match) -> Value | None:
    """convolution(x, w, b) + c -> convolution(x, w, b + c) for one c a channel"""
    offset = _of_channels(graph, match, "offset")
    return None if offset is None else _with_bias(graph, match, offset)


@rule(pattern(sub, pattern(_CONVOLUTIONS, "x", name="convolution"), "offset"))
def subtraction_after_convolution(graph: Graph, match: Match) -> Value | None:
    """convolution(x, w, b) - c -> convolution(x, w, b - c) for one c a channel"""
    offset = _of_channels(graph, match, "offset")
    return None if offset is None else _with_bias(graph, match, -offset)


@rule(pattern(mul, pattern(_CONVOLUTIONS, "x", name="convolution"), "factor", commutes=True))
def multiplication_after_convolution(graph: Graph, match: Match) -> Value | None:
    """convolution(x, w, b) * c -> convolution(x, w * c, b * c) for one c a channel"""
    factor = _of_channels(graph, match, "factor")
    if factor is None:
        return None
    found = Scaled(match.nodes["convolution"], factor, np.zeros(len(factor))).build(graph)
    return found or match.decline("the weights are not constant, or no longer finite")


def _of_channels(graph: Graph, match: Match, name: str) -> Array | None:
    node = match.nodes["convolution"]
    same = match.root.types == node.types
    found = channel_vector(graph, match[name], node) if same else None
    if found is None:
        match.decline("the other operand is not one constant a channel")
    return found


def _with_bias(graph: Graph, match: Match, offset: Array) -> Value | None:
    """The convolution with an offset; its weights may be anything."""
    node = match.nodes["convolution"]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None:
        if not graph.is_param(bias):
            return match.decline("it has a bias that is not constant")
        offset = offset + graph.array(bias).astype(np.float64)
    with np.errstate(all="ignore"):
        vector = graph.param(offset.astype(node.types[0].numpy), f"{node.name}.offset")
    origin = node.origin or node.name
    return graph.add(node.op, *node.operands[:2], vector, origin=origin, **node.attrs)


# --- products ----------------------------------------------------------------------------


def column_vector(graph: Graph, value: Value, columns: Extent) -> Array | None:
    """A parameter that is one number a column, as a vector in float64; None for others."""
    type_ = graph.type(value)
    known = graph.is_param(value) and is_float(type_.dtype) and isinstance(columns, int)
    if not known or type_.rank == 0 or type_.shape[-1] != columns or type_.size != columns:
        return None
    return graph.array(value).astype(np.float64).reshape(-1)


def _scaled_product(graph: Graph, match: Match, value: Value) -> Value | None:
    """The product whose weights' columns are multiplied by a constant each."""
    node = match.nodes["product"]
    x, w = node.operands
    type_ = graph.type(w)
    if not graph.is_param(w) or type_.rank != 2 or node.types[0].dtype not in _WIDE:
        return match.decline("the weights are not constant")
    if graph.type(x).rank < 2 or not type_.is_static:
        return None
    transposed = node.attrs["transpose_b"]
    factor = column_vector(graph, value, type_.shape[0 if transposed else 1])
    if factor is None or not np.isfinite(factor).all():
        return match.decline("the other operand is not one finite constant a column")
    held = graph.params[w.node]
    by = factor.reshape(-1, 1) if transposed else factor
    weights = LazyArray(type_, lambda: (read_array(held) * by).astype(type_.numpy))
    scaled_weights = graph.param(weights, f"{w.node}.scaled")
    origin = node.origin or node.name
    return graph.add(matmul, x, scaled_weights, origin=origin, **node.attrs)


@rule(pattern(mul, pattern(matmul, "x", "w", name="product"), "factor", commutes=True))
def multiplication_after_product(graph: Graph, match: Match) -> Value | None:
    """matmul(x, w) * c -> matmul(x, w * c) for one c a column"""
    if match.root.types != match.nodes["product"].types:
        return None
    return _scaled_product(graph, match, match["factor"])


@rule(
    pattern(
        mul,
        pattern(
            add,
            pattern(matmul, "x", "w", name="product"),
            "offset",
            commutes=True,
        ),
        "factor",
        commutes=True,
    )
)
def multiplication_after_sum(graph: Graph, match: Match) -> Value | None:
    """(matmul(x, w) + b) * c -> matmul(x, w * c) + b * c for one b and c a column"""
    node = match.nodes["product"]
    columns = node.types[0].shape[-1] if node.types[0].rank else 1
    offset = column_vector(graph, match["offset"], columns)
    factor = column_vector(graph, match["factor"], columns)
    if offset is None or factor is None or match.root.types != node.types:
        return match.decline("an operand is not one constant a column")
    product = _scaled_product(graph, match, match["factor"])
    if product is None:
        return None
    moved = (offset * factor).astype(node.types[0].numpy)
    bias = graph.param(moved.reshape(graph.type(match["offset"]).static_shape), "offset")
    return graph.add(add, product, bias, origin=match.root.origin)


# --- padding -----------------------------------------------------------------------------


def _spatial_pads(match: Match) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Padding of the spatial dimensions alone, by known numbers."""
    node = match.nodes["pad"]
    before, after = node.attrs["before"], node.attrs["after"]
    known = all(isinstance(count, int) and count >= 0 for count in (*before, *after))
    if node.attrs["mode"] != "constant" or not known or any((*before[:2], *after[:2])):
        return None
    return before[2:], after[2:]


def _pad_value(graph: Graph, match: Match) -> float | int | None:
    inputs = match.nodes["pad"].inputs
    value = inputs[1] if len(inputs) > 1 else None
    if value is None:
        return 0
    match.values["value"] = value
    number: float | int | None = match.constant("value")
    return number


@rule(pattern((convolution, max_pool, average_pool), pattern(pad, "x", name="pad")))
def padding_before_window(graph: Graph, match: Match) -> Value | None:
    """Padding in front of a convolution or pool, done by it where it means the same."""
    pads, value = _spatial_pads(match), _pad_value(graph, match)
    attrs = dict(match.root.attrs)
    if pads is None or value is None:
        return match.decline("the padding is not a known number of constants")
    own = [attrs[name] or (0,) * len(pads[0]) for name in ("pads_begin", "pads_end")]
    dtype = match.root.types[0].dtype
    if match.root.op is max_pool:
        lowest = np.iinfo(dtype).min if dtype in INTEGERS else -np.inf
        if value != lowest:
            return match.decline(f"maxima do not ignore {value}")
    elif value != 0:
        return match.decline(f"the window is padded with 0, not with {value}")
    elif match.root.op is average_pool:
        # Padding that came from outside counts; with ceil_mode more than it would not.
        counted = attrs["count_include_pad"] or not any((*own[0], *own[1]))
        if attrs["ceil_mode"] or not counted:
            return match.decline("the mean would be over other elements")
        attrs["count_include_pad"] = True
    if attrs.get("ceil_mode"):
        return match.decline("ceil_mode looks at the padding")
    for name, mine, more in zip(("pads_begin", "pads_end"), own, pads, strict=True):
        attrs[name] = tuple(a + b for a, b in zip(mine, more, strict=True))
    rest = match.root.inputs[1:]
    origin = match.root.origin or match.root.name
    return graph.add(match.root.op, match["x"], *rest, origin=origin, **attrs)


RULES: tuple[Rule, ...] = (
    addition_after_convolution,
    subtraction_after_convolution,
    multiplication_after_convolution,
    multiplication_after_product,
    multiplication_after_sum,
    padding_before_window,
)


def absorb(graph: Graph) -> int:
    """Put constants beside convolutions and products into these."""
    return apply_rules(graph, RULES)


ABSORB = everywhere("absorb", absorb)
