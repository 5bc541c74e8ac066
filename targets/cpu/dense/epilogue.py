"""What dense kernels do to their results in registers: a bias before, limits after.

Whatever else follows a product or a convolution runs on each finished tile in the cache; a bias
and a clamp are so common, and so cheap beside reading a tile again, that kernels have them as
an operand ``bias`` and attributes ``low`` and ``high``. Some also add a ``residual`` of their
result's shape, between the two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from llvmlite import ir

from ....compiler.pass_ import Pass
from ....ir import Array, Graph, Node, Op, Value
from ....ops.elementwise_activation import relu
from ....ops.elementwise_arithmetic import add, clip
from ..constants import uniform, zeros
from .tile import Accumulators, address, load_lanes


@dataclass(frozen=True, slots=True)
class Epilogue:
    """Whether there is a bias, and the limits."""

    biased: bool = False
    low: float = -math.inf
    high: float = math.inf

    def start(
        self, builder: ir.IRBuilder, bias: ir.Value | None, columns: int, width: int
    ) -> list[ir.Value]:
        """The first value of an accumulator for each vector of ``columns`` columns."""
        zero = zeros(width)
        starts = []
        for first in range(0, columns, width):
            lanes = min(columns - first, width)
            if bias is None:
                starts.append(zero)
            else:
                starts.append(load_lanes(builder, address(builder, bias, first), width, lanes))
        return starts

    def limited(self, builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
        """A vector moved into the limits; NaN stays."""
        if self.low > -math.inf:
            limit = uniform(value.type.count, self.low)
            value = builder.select(builder.fcmp_ordered("<", value, limit), limit, value)
        if self.high < math.inf:
            limit = uniform(value.type.count, self.high)
            value = builder.select(builder.fcmp_ordered(">", value, limit), limit, value)
        return value

    def end(self, builder: ir.IRBuilder, acc: Accumulators) -> Accumulators:
        """All accumulators moved into the limits."""
        return [[self.limited(builder, value) for value in row] for row in acc]


def applied(
    result: Array, bias: Array | None, low: float, high: float, residual: Array | None = None
) -> Array:
    """The reference: ``result`` with the bias along its last axis, moved into the limits.

    ``residual`` is added before that.
    """
    if bias is not None:
        result = result + bias
    if residual is not None:
        result = result + residual
    return np.asarray(np.minimum(np.maximum(result, np.float32(low)), np.float32(high)))


def epilogue_pass(biases: Mapping[Op, int], residuals: Mapping[Op, int]) -> Pass:
    """The pass that gives kernels their epilogues.

    ``biases`` is where each takes its bias, ``residuals`` where some take a residual.
    """
    return Pass("epilogues", lambda graph: _absorb(graph, biases, residuals))


def _absorb(graph: Graph, biases: Mapping[Op, int], residuals: Mapping[Op, int]) -> int:
    changes = 0
    for name in [node.name for node in graph.operators() if node.op in biases]:
        node = graph.node(name)
        limited = node.attrs["low"] > -math.inf or node.attrs["high"] < math.inf
        if limited or len(node.inputs) > biases[node.op]:
            continue  # it has an epilogue, and other operands, that must stay before what follows
        last, bias = node, None
        following = _only_reader(graph, last)
        if following is not None and following.op is add:
            bias = _bias_of(graph, node, following)
            if bias is not None:
                last, following = following, _only_reader(graph, following)
        residual, after = None, following
        if following is not None and following.op is add and node.op in residuals:
            residual, after = _residual_of(graph, last, following), _only_reader(graph, following)
        limits = _limits_of(after)
        if after is not None and limits and (residual is not None or after is following):
            last = after
        else:  # a sum without limits may as well be made where more follows
            residual, limits = None, {}
        if last is node:
            continue
        inputs: list[Value | None] = list(node.inputs[: biases[node.op]])
        inputs += [bias] if bias is not None else []
        if residual is not None:
            inputs += [*[None] * (residuals[node.op] - len(inputs)), residual]
        # What is computed now is all that the nodes computed that were taken in.
        taken = ", ".join(dict.fromkeys(o for o in (node.origin, last.origin) if o))
        new = graph.add_node(node.op, inputs, {**node.attrs, **limits}, last.name, taken)
        graph.annotate(new.name, node.note)
        graph.take_over(last.name, new.name)
        changes += 1
    if changes:
        graph.prune()
    return changes


def _limits_of(node: Node | None) -> dict[str, float]:
    """The limits that a node moves its operand into; none if it does something else."""
    if node is None or node.op not in (relu, clip):
        return {}
    low, high = (0.0, math.inf) if node.op is relu else (node.attrs["low"], node.attrs["high"])
    return {"low": low, "high": high} if low <= high else {}


def _residual_of(graph: Graph, last: Node, addition: Node) -> Value | None:
    """What ``addition`` adds to ``last`` element by element, if that is no parameter."""
    others = [value for value in addition.operands if value.node != last.name]
    if len(others) != 1 or graph.is_param(others[0]):
        return None
    return others[0] if graph.type(others[0]) == last.types[0] else None


def _only_reader(graph: Graph, node: Node) -> Node | None:
    """The one node that reads the result of ``node`` once, if nothing else needs it."""
    (value,) = node.outputs
    if value in graph.outputs or graph.use_count(value) != 1:
        return None
    if node.name in graph.measured_nodes():
        return None
    (reader,) = graph.users(value)
    return reader if reader.types == node.types else None


def _bias_of(graph: Graph, node: Node, addition: Node) -> Value | None:
    """The vector of one number a column that ``addition`` adds to the result of ``node``."""
    others = [value for value in addition.operands if value.node != node.name]
    if len(others) != 1 or not graph.is_param(others[0]):
        return None
    (other,) = others
    type_, columns = graph.type(other), node.types[0].shape[-1]
    return other if type_.shape == (columns,) and type_.dtype == "float32" else None
