"""Constant folding: nodes whose operands are all parameters, computed by their references."""

from __future__ import annotations

import math
import time

import numpy as np

from ...ir import Array, Error, Graph, LazyArray, Node, TensorType, Value
from ...ir.data_type import item_size
from ...ir.evaluate import by_reference
from ...ir.node import mentioned_symbols, read_array
from ...ops.movement import expand
from ...ops.reshape import identity
from ..rewrite import note
from .bodies import everywhere

# A result may be this large in bytes, and unless it is small, no larger than this many times
# its operands: an expanded scalar stays an instruction.
MAXIMUM_BYTES = 256 * 2**20
# Expansions, and other results that are not small, that become parameters: all together so many
# bytes, and so many times what the graph's own parameters have.
MAXIMUM_ADDED_BYTES = 64 * 2**20
MAXIMUM_ADDED_GROWTH = 2
SMALL_BYTES = 64 * 2**10
_FOLDED = ".folded"  # in the names of parameters that came of folding
MAXIMUM_GROWTH = 2
# One pass computes for this long at the most; references are not made for speed.
MAXIMUM_SECONDS = 20.0
_SELDOM_WORTH_IT = frozenset({"control", "fused", "impure"})


def fold_constants(graph: Graph) -> int:
    """Replace nodes of known value by parameters, within budgets of bytes and time."""
    end = time.monotonic() + MAXIMUM_SECONDS
    changes = 0
    room = _room(graph)
    for name in [node.name for node in graph.operators()]:
        node = graph.node(name)  # as it is now: what it reads may have become a parameter
        if node.op is expand:
            changed, nbytes = _repeat_later(graph, node, room)
            room -= nbytes
            changes += changed
            continue
        if node.op is identity and graph.is_param(node.operands[0]):
            graph.replace(node.outputs[0], node.operands[0])  # shared weights stay shared
            changes += 1
            continue
        if not _is_foldable(graph, node):
            continue
        size = sum(static_bytes(type_) for type_ in node.types)
        if size > max(room, SMALL_BYTES):
            note(f"fold_constants at {node}: folded constants are large enough")
            continue
        room -= size
        if time.monotonic() > end:
            note(f"fold_constants at {node}: {MAXIMUM_SECONDS} seconds are over")
            break
        operands = [None if v is None else graph.array(v) for v in node.inputs]
        try:
            results = by_reference(node, operands, node.types, node.attrs)
        except (Error, ArithmeticError, ValueError, IndexError, MemoryError) as error:
            note(f"fold_constants at {node}: {error}")
            continue  # what cannot be computed now fails, with the node's name, when it runs
        for old, array in zip(node.outputs, results, strict=True):
            if graph.use_count(old):
                graph.replace(old, graph.param(_owned(array), f"{node.name}{_FOLDED}"))
        changes += 1
    if changes:
        graph.prune()
        # A symbol that is measured on a parameter is a number, and makes more shapes known.
        known = {
            name: int(graph.array(source).reshape(-1)[position])
            for name, (source, position) in graph.symbols.items()
            if graph.is_param(source)
        }
        if known:
            graph.fix_symbols(known)
            changes += fold_constants(graph)
    return changes


def _room(graph: Graph) -> int:
    """Bytes that results may have before folded ones are too many."""
    own = folded = 0
    for name in graph.params:
        nbytes = static_bytes(graph.type(Value(name)))
        if _FOLDED in name:
            folded += nbytes
        else:
            own += nbytes
    return MAXIMUM_ADDED_BYTES + MAXIMUM_ADDED_GROWTH * own - folded


def _repeat_later(graph: Graph, node: Node, room: int) -> tuple[int, int]:
    """Fold an expansion of a parameter into one that is made when the program is loaded."""
    (value,) = node.operands
    if not graph.is_param(value) or not node.types[0].is_static:
        return 0, 0
    nbytes = static_bytes(node.types[0])
    if nbytes > min(MAXIMUM_BYTES, room):
        return 0, 0
    source, shape = graph.params[value.node], node.types[0].static_shape

    def repeat() -> Array:
        return np.ascontiguousarray(np.broadcast_to(read_array(source), shape))

    folded = graph.param(LazyArray(node.types[0], repeat), f"{node.name}{_FOLDED}")
    graph.replace(node.outputs[0], folded)
    return 1, nbytes


def _owned(array: Array) -> Array:
    """A contiguous array that is not a view of something larger."""
    return np.ascontiguousarray(array).reshape(array.shape).copy()


def _is_foldable(graph: Graph, node: Node) -> bool:
    known = all(graph.is_param(value) for value in node.operands)
    if not known or node.op.traits & _SELDOM_WORTH_IT:
        return False
    if not all(type_.is_static for type_ in node.types) or mentioned_symbols(node):
        return False
    size = sum(static_bytes(type_) for type_ in node.types)
    given = sum(static_bytes(graph.type(value)) for value in node.operands)
    return size <= SMALL_BYTES or (size <= MAXIMUM_BYTES and size <= MAXIMUM_GROWTH * given)


def static_bytes(type_: TensorType) -> int:
    """Bytes of a tensor whose shape is known."""
    return math.prod(type_.static_shape) * item_size(type_.dtype)


FOLD_CONSTANTS = everywhere("fold_constants", fold_constants)
