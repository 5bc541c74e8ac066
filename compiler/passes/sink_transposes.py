"""Transpositions moved towards the outputs, past operators that do not mind, until they cancel.

A transposition moves down only where nothing else reads what it gives, so that there are never
more of them than before, and where all other operands can be had in the other order for
nothing. Merging and cancelling is left to ``simplify``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Array, Graph, LazyArray, Node, TensorType, Value
from ...ir.node import read_array
from ...ops.matmul import matmul
from ...ops.movement import concat, slice_, transpose
from ...ops.normalization import lp_normalization
from ...ops.pad import pad
from ...ops.reduce import REDUCTIONS
from ...ops.softmax import log_softmax, softmax
from .bodies import everywhere

# One axis attribute, and the output's dimensions are the input's.
_ALONG_AN_AXIS = frozenset({concat, softmax, log_softmax, lp_normalization})


def sink_transposes(graph: Graph) -> int:
    """Move transpositions down; returns how many operators they moved past."""
    changes = 0
    for name in [node.name for node in graph.operators()]:
        if name not in graph:
            continue
        node = graph.node(name)
        new = _product(graph, node) or _sunk(graph, node)
        if new is not None:
            graph.replace(node.outputs[0], new)
            graph.drop(name)
            moved = graph.node(new.node)
            if moved.op is transpose:
                moved = graph.node(moved.operands[0].node)
            if name not in graph:
                graph.rename(moved.name, name)
            changes += 1
    graph.prune()  # parameters in another order for nodes that did not move after all
    return changes


def _permutation(graph: Graph, value: Value | None, reader: Node) -> tuple[int, ...] | None:
    """The permutation of the transposition that gives ``value`` to this reader alone."""
    if value is None:
        return None
    source = graph.node(value.node)
    if source.op is not transpose or graph.use_count(value) != reader.inputs.count(value):
        return None
    permutation: tuple[int, ...] = source.attrs["permutation"]
    return permutation


def _sunk(graph: Graph, node: Node) -> Value | None:
    """The node's result computed before the transposition of its operands."""
    if len(node.types) != 1 or not node.operands:
        return None
    found = {_permutation(graph, value, node) for value in node.operands} - {None}
    if len(found) != 1:
        return None
    (permutation,) = found
    assert permutation is not None
    if "elementwise" in node.op.traits:
        # Where broadcasting makes the result larger, more would have to be moved.
        sizes = {graph.type(value).size for value in node.operands}
        if node.types[0].rank != len(permutation) or node.types[0].size not in sizes:
            return None
        return _rebuilt(graph, node, permutation, {}, permutation)
    if node.op in _ALONG_AN_AXIS:
        axis = node.types[0].axis(node.attrs["axis"])
        return _rebuilt(graph, node, permutation, {"axis": permutation[axis]}, permutation)
    if node.op in REDUCTIONS:
        return _reduction(graph, node, permutation)
    if node.op in (slice_, pad):
        keys = ("starts", "sizes", "steps") if node.op is slice_ else ("before", "after")
        inverse = np.argsort(permutation)
        attrs = {key: tuple(node.attrs[key][axis] for axis in inverse) for key in keys}
        return _rebuilt(graph, node, permutation, attrs, permutation)
    return None


def _rebuilt(
    graph: Graph,
    node: Node,
    permutation: Sequence[int],
    attrs: dict[str, Any],
    after: Sequence[int],
) -> Value | None:
    """The node on what is behind the transpositions, and a transposition after it."""
    inputs = [_behind(graph, value, permutation, node) for value in node.inputs]
    if any(new is None and old is not None for new, old in zip(inputs, node.inputs, strict=True)):
        return None
    new = graph.add_node(node.op, inputs, {**node.attrs, **attrs}, node.name, node.origin)
    result = new.outputs[0]
    if list(after) != sorted(after):
        result = graph.add(transpose, result, permutation=tuple(after), origin=node.origin)
    if graph.type(result) != node.types[0]:
        graph.drop(result.node)  # an assumption about extents chose another name for one
        return None
    return result


def _behind(
    graph: Graph, value: Value | None, permutation: Sequence[int], node: Node
) -> Value | None:
    """What has the elements of ``value`` before the transposition; None if nothing has."""
    if value is None:
        return None
    if _permutation(graph, value, node) is not None:
        return graph.node(value.node).operands[0]
    type_ = graph.type(value)
    if type_.rank == 0 or (node.op is pad and value == node.inputs[1]):
        return value
    if node.op is pad or node.op is concat or not graph.is_param(value) or not type_.is_static:
        return value if type_.size == 1 and "elementwise" in node.op.traits else None
    return _reordered(graph, value, permutation)


def _reordered(graph: Graph, value: Value, permutation: Sequence[int]) -> Value:
    """A parameter in the order of axes before the transposition."""
    type_, held = graph.type(value), graph.params[value.node]
    rank = len(permutation)
    full = (1,) * (rank - type_.rank) + type_.static_shape
    order = [int(axis) for axis in np.argsort(permutation)]
    shape = tuple(full[axis] for axis in order)
    if shape == full and sum(extent != 1 for extent in full) <= 1:
        return value

    def load() -> Array:
        return np.ascontiguousarray(read_array(held).reshape(full).transpose(order))

    type_ = TensorType(type_.dtype, shape)
    small = not isinstance(held, LazyArray)
    return graph.param(load() if small else LazyArray(type_, load), f"{value.node}.transposed")


def _reduction(graph: Graph, node: Node, permutation: Sequence[int]) -> Value | None:
    rank = len(permutation)
    axes = {axis % rank for axis in node.attrs["axes"]}
    sources = tuple(sorted(permutation[axis] for axis in axes))
    after = list(permutation)
    if not node.attrs["keepdims"]:
        kept = [source for axis, source in enumerate(permutation) if axis not in axes]
        after = [sorted(kept).index(source) for source in kept]
    return _rebuilt(graph, node, permutation, {"axes": sources}, after)


def _product(graph: Graph, node: Node) -> Value | None:
    """matmul(x, transpose(y)) -> matmul(x, y, transpose_b=True), and so for the first operand."""
    if node.op is not matmul:
        return None
    inputs, attrs = list(node.operands), dict(node.attrs)
    for position, key in enumerate(("transpose_a", "transpose_b")):
        permutation = _permutation(graph, inputs[position], node)
        if permutation is None or len(permutation) < 2:
            continue
        rank = len(permutation)
        if permutation == (*range(rank - 2), rank - 1, rank - 2):
            inputs[position] = graph.node(inputs[position].node).operands[0]
            attrs[key] = not attrs[key]
    if attrs == dict(node.attrs):
        return None
    new = graph.add_node(matmul, inputs, attrs, node.name, node.origin)
    return new.outputs[0] if new.types == node.types else None


SINK_TRANSPOSES = everywhere("sink_transposes", sink_transposes)
