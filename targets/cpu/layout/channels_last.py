"""The pass that stores images channels last where that pays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....compiler.pass_ import Pass
from ....ir import Array, Extent, Graph, LazyArray, Node, TensorType, Value
from ....ir.node import read_array
from ....ops.movement import transpose
from ....ops.reshape import reshape
from ..choices import Choices
from .cut import Side, nodes_channels_last
from .rules import Rewriter, rule_of, stance_of


def channels_last_pass(choices: Choices) -> Pass:
    """The pass for these choices."""
    return Pass("channels_last", lambda graph: store_channels_last(graph, choices))


def store_channels_last(graph: Graph, choices: Choices) -> int:
    """Rewrite the nodes that the cut puts channels last; returns how many they are."""
    last = nodes_channels_last(graph, lambda node: stance_of(graph, node))
    if not last:
        return 0
    rewriting = ChannelsLast(graph, last, choices)
    for name in [node.name for node in graph.operators()]:
        if name in last:
            rewriting.rewrite(graph.node(name))
    graph.prune()
    return len(last)


class ChannelsLast(Rewriter):
    """The channels-last forms of values, made once each."""

    def __init__(self, graph: Graph, last: set[str], choices: Choices) -> None:
        self.graph, self.choices = graph, choices
        self.names = last
        self.moved: dict[Value, Value] = {}

    def rewrite(self, node: Node) -> None:
        """Put the node's channels-last form in its place for all its readers."""
        graph, (old,) = self.graph, node.outputs
        rule = rule_of(node)
        assert rule is not None, "the cut moves nodes that have a rule"
        new = rule.rewrite(self, node)
        if stance_of(graph, node).writes is Side.FIRST:
            graph.replace(old, new)
            return
        self.moved[old] = new
        readers = [user for user in graph.users(old) if not self._reads_last(user)]
        if readers or old in graph.outputs:
            back = to_first(graph, new, node)
            graph.replace(old, back)
            self.moved[back] = new

    def _reads_last(self, node: Node) -> bool:
        if node.name not in self.names:
            return False
        reads = stance_of(self.graph, node).reads
        return reads is not Side.FIRST

    def is_last(self, value: Value) -> bool:
        """True if the channels-last form of ``value`` is there without a transposition."""
        return value in self.moved

    def last(self, value: Value) -> Value:
        """``value`` with its channels last."""
        if value not in self.moved:
            type_ = self.graph.type(value)
            if self.graph.is_param(value) and type_.is_static:
                self.moved[value] = self._parameter(value, type_.static_shape)
            else:
                self.moved[value] = to_last(self.graph, value)
        return self.moved[value]

    def operand(self, value: Value, rank: int) -> Value:
        """An operand that is broadcast to ``rank`` dimensions, as it is needed channels last."""
        graph, type_ = self.graph, self.graph.type(value)
        if value in self.moved and type_.rank == rank:
            return self.moved[value]
        if type_.size == 1 or type_.rank == 0:
            return value
        full: tuple[Extent, ...] = (1,) * (rank - type_.rank) + type_.shape
        if graph.is_param(value) and type_.is_static:
            return self._parameter(value, tuple(int(extent) for extent in full))  # type: ignore[arg-type]
        if type_.rank < rank:
            value = graph.add(reshape, value, shape=full)
        return self.last(value)

    def _parameter(self, value: Value, full: tuple[int, ...]) -> Value:
        """A parameter, seen with the shape ``full``, reordered when the program is loaded."""
        held = self.graph.params[value.node]
        order = last_order(len(full))
        shape = tuple(full[axis] for axis in order)

        def load() -> Array:
            return np.ascontiguousarray(read_array(held).reshape(full).transpose(order))

        type_ = TensorType(self.graph.type(value).dtype, shape)
        small = not isinstance(held, LazyArray) and type_.nbytes <= 4096  # type: ignore[operator]
        return self.graph.param(
            load() if small else LazyArray(type_, load), f"{value.node}.channels_last"
        )


def last_order(rank: int) -> tuple[int, ...]:
    """The permutation that moves axis 1 behind all others."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def first_order(rank: int) -> tuple[int, ...]:
    """The permutation that moves the last axis to place 1."""
    return (0, rank - 1, *range(1, rank - 1)) if rank > 2 else tuple(range(rank))


def to_last(graph: Graph, value: Value) -> Value:
    """A node that moves the channels of ``value`` behind the other axes."""
    return _reordered(graph, value, last_order(graph.type(value).rank), graph.node(value.node))


def to_first(graph: Graph, value: Value, origin: Node) -> Value:
    """A node that moves the channels of ``value`` from the end to place 1."""
    return _reordered(graph, value, first_order(graph.type(value).rank), origin)


def _reordered(graph: Graph, value: Value, order: Sequence[int], origin: Node) -> Value:
    shape = graph.type(value).shape
    kept = [axis for axis in order if shape[axis] != 1]
    if kept == sorted(kept):
        if all(axis == place for place, axis in enumerate(order)):
            return value
        new_shape = tuple(shape[axis] for axis in order)
        return graph.add(reshape, value, shape=new_shape, origin=origin.origin)
    return graph.add(transpose, value, permutation=tuple(order), origin=origin.origin)
