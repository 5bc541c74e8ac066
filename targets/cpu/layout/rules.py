"""What each operator does when its channels are last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ....ir import Extent, Graph, Node, Op, Value
from ....ops.convolution import convolution
from ....ops.convolution_transpose import convolution_transpose
from ....ops.movement import concat, slice_, transpose
from ....ops.pad import pad
from ....ops.reduce import REDUCTIONS
from ....ops.reshape import reshape
from ....ops.resize import resize
from ....ops.softmax import log_softmax, softmax
from ..choices import Choices
from ..spatial.pool import CHANNELS_LAST
from ..spatial.select import convolve, is_convolvable, reads_channels_first
from ..spatial.transposed import is_transposable, transposed
from .cut import Side, Stance

# So many channels fill a vector.
_POOLED_CHANNELS = 16

FREE = Stance(Side.FREE, Side.FREE)
FIXED = Stance()


class Rewriter(Protocol):
    """What rules may ask of the pass that runs them."""

    graph: Graph
    choices: Choices

    def is_last(self, value: Value) -> bool:
        """True if the channels-last form of ``value`` is there already."""
        ...

    def last(self, value: Value) -> Value:
        """``value`` with its channels last."""
        ...

    def operand(self, value: Value, rank: int) -> Value:
        """A broadcast operand of a node of ``rank`` dimensions, with its channels last."""
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """``stance`` says where a node may be, ``rewrite`` gives its form with channels last."""

    stance: Callable[[Graph, Node], Stance]
    rewrite: Callable[[Rewriter, Node], Value]


def stance_of(graph: Graph, node: Node) -> Stance:
    """Where ``node`` may read and write."""
    rule = rule_of(node)
    return rule.stance(graph, node) if rule is not None and len(node.outputs) == 1 else FIXED


def rule_of(node: Node) -> Rule | None:
    """The rule for a node; None if its operator is always channels first."""
    if "elementwise" in node.op.traits:
        return _ELEMENTWISE
    return RULES.get(node.op)


def last_axis(axis: int, rank: int) -> int:
    """Where an axis is when the channels are last."""
    axis %= rank
    if axis == 0 or rank < 3:
        return axis
    return rank - 1 if axis == 1 else axis - 1


def _same(rewriter: Rewriter, node: Node, inputs: list[Value | None], **attrs: Any) -> Value:
    new = rewriter.graph.add_node(node.op, inputs, {**node.attrs, **attrs}, node.name, node.origin)
    return new.outputs[0]


# --- elementwise -------------------------------------------------------------------------


def _elementwise_stance(graph: Graph, node: Node) -> Stance:
    rank = node.types[0].rank
    if rank < 3 or any(graph.type(value).rank > rank for value in node.operands):
        return FIXED
    return FREE


def _elementwise(rewriter: Rewriter, node: Node) -> Value:
    rank = node.types[0].rank
    inputs = [None if value is None else rewriter.operand(value, rank) for value in node.inputs]
    return _same(rewriter, node, inputs)


# --- along axes --------------------------------------------------------------------------


def _image_stance(graph: Graph, node: Node) -> Stance:
    return FREE if node.types[0].rank >= 3 else FIXED


def _one_axis(rewriter: Rewriter, node: Node) -> Value:
    """Operators with one ``axis`` that keep the shape, and concat."""
    axis = last_axis(node.attrs["axis"], node.types[0].rank)
    return _same(rewriter, node, [rewriter.last(value) for value in node.operands], axis=axis)


def _all_axes(*keys: str) -> Callable[[Rewriter, Node], Value]:
    """Operators with attributes that have an entry for each dimension."""

    def rewrite(rewriter: Rewriter, node: Node) -> Value:
        rank = node.types[0].rank
        order = (0, *range(2, rank), 1)
        attrs = {key: tuple(node.attrs[key][axis] for axis in order) for key in keys}
        first, *others = node.inputs
        assert first is not None, "the tensor itself is there"
        return _same(rewriter, node, [rewriter.last(first), *others], **attrs)

    return rewrite


def _pool_stance(graph: Graph, node: Node) -> Stance:
    """With channels for whole vectors, pools are worth two transpositions."""
    type_ = node.types[0]
    channels = type_.shape[1] if type_.rank >= 3 else 0
    if isinstance(channels, int) and channels >= _POOLED_CHANNELS and type_.dtype == "float32":
        return Stance(Side.LAST, Side.LAST)
    return _image_stance(graph, node)


def _pool(rewriter: Rewriter, node: Node) -> Value:
    op = CHANNELS_LAST[node.op]
    inputs = [rewriter.last(node.operands[0])]
    attrs = {**node.attrs, "width": rewriter.choices.width}
    return rewriter.graph.add_node(op, inputs, attrs, node.name, node.origin).outputs[0]


def _resize_stance(graph: Graph, node: Node) -> Stance:
    return FREE if node.types[0].rank >= 3 and not node.attrs["roi"] else FIXED


def _resize(rewriter: Rewriter, node: Node) -> Value:
    keys = ("sizes", "scales") if node.attrs["scales"] else ("sizes",)
    return _all_axes(*keys)(rewriter, node)


# --- reductions --------------------------------------------------------------------------


def _reduction_stance(graph: Graph, node: Node) -> Stance:
    type_ = graph.type(node.operands[0])
    if type_.rank < 3:
        return FIXED
    if node.attrs["keepdims"]:
        return FREE
    kept = set(range(type_.rank)) - {axis % type_.rank for axis in node.attrs["axes"]}
    return Stance(Side.FREE, Side.FIRST) if sorted(kept) in ([0], [1], [0, 1], []) else FIXED


def _reduction(rewriter: Rewriter, node: Node) -> Value:
    (x,) = node.operands
    rank = rewriter.graph.type(x).rank
    axes = tuple(sorted(last_axis(axis, rank) for axis in node.attrs["axes"]))
    return _same(rewriter, node, [rewriter.last(x)], axes=axes)


# --- views and transpositions ------------------------------------------------------------


def _ones(extents: tuple[Extent, ...]) -> bool:
    return all(extent == 1 for extent in extents)


def _reshape_stance(graph: Graph, node: Node) -> Stance:
    before, after = graph.type(node.operands[0]), node.types[0]
    if before.rank < 2 or after.rank < 2 or before.shape[:2] != after.shape[:2]:
        return FIXED
    if before.rank >= 3 and after.rank >= 3:
        return FREE
    if before.rank >= 3 and _ones(before.shape[2:]):
        return Stance(Side.FREE, Side.FIRST)
    return FIXED


def _reshape(rewriter: Rewriter, node: Node) -> Value:
    shape = node.types[0].shape
    moved = (shape[0], *shape[2:], shape[1])
    return _same(rewriter, node, [rewriter.last(node.operands[0])], shape=moved)


def _transpose_stance(graph: Graph, node: Node) -> Stance:
    """A transposition that a change of layout undoes."""
    permutation: tuple[int, ...] = node.attrs["permutation"]
    rank = len(permutation)
    if rank < 3:
        return FIXED
    if permutation == (0, *range(2, rank), 1):
        return Stance(Side.FREE, Side.FIRST)
    return FIXED


def _transpose(rewriter: Rewriter, node: Node) -> Value:
    return rewriter.last(node.operands[0])


# --- convolutions ------------------------------------------------------------------------


def _convolution_stance(graph: Graph, node: Node) -> Stance:
    if not is_convolvable(graph, node):
        return FIXED
    either = reads_channels_first(graph, node)
    return Stance(Side.EITHER if either else Side.LAST, Side.LAST)


def _convolution(rewriter: Rewriter, node: Node) -> Value:
    x = node.operands[0]
    first = reads_channels_first(rewriter.graph, node) and not rewriter.is_last(x)
    source = x if first else rewriter.last(x)
    return convolve(rewriter.graph, node, source, first, rewriter.choices)


def _transposed_stance(graph: Graph, node: Node) -> Stance:
    return Stance(Side.LAST, Side.LAST) if is_transposable(graph, node) else FIXED


def _transposed(rewriter: Rewriter, node: Node) -> Value:
    source = rewriter.last(node.operands[0])
    return transposed(rewriter.graph, node, source, rewriter.choices)


RULES: dict[Op, Rule] = {
    convolution: Rule(_convolution_stance, _convolution),
    convolution_transpose: Rule(_transposed_stance, _transposed),
    concat: Rule(_image_stance, _one_axis),
    softmax: Rule(_image_stance, _one_axis),
    log_softmax: Rule(_image_stance, _one_axis),
    slice_: Rule(_image_stance, _all_axes("starts", "sizes", "steps")),
    pad: Rule(_image_stance, _all_axes("before", "after")),
    **{op: Rule(_pool_stance, _pool) for op in CHANNELS_LAST},
    resize: Rule(_resize_stance, _resize),
    reshape: Rule(_reshape_stance, _reshape),
    transpose: Rule(_transpose_stance, _transpose),
    **{op: Rule(_reduction_stance, _reduction) for op in REDUCTIONS},
}
_ELEMENTWISE = Rule(_elementwise_stance, _elementwise)
