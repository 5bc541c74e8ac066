"""Constant folding: nodes whose operands are all parameters, computed by their references."""

from __future__ import annotations

import math
import time

import numpy as np

from ...ir import Array, Error, Graph, Node, TensorType
from ...ir.data_type import item_size
from ...ir.evaluate import by_reference
from ...ir.graph import mentioned_symbols
from .bodies import everywhere

# A result may be this large in bytes, and unless it is small, no larger than this many times
# its operands: an expanded scalar stays an instruction.
MAXIMUM_BYTES = 256 * 2**20
SMALL_BYTES = 64 * 2**10
MAXIMUM_GROWTH = 2
# One pass computes for this long at the most; references are not made for speed.
MAXIMUM_SECONDS = 20.0
_SELDOM_WORTH_IT = frozenset({"control", "fused", "impure"})


def fold_constants(graph: Graph) -> int:
    """Replace nodes of known value by parameters, within budgets of bytes and time."""
    end = time.monotonic() + MAXIMUM_SECONDS
    changes = 0
    for node in graph.operators():
        if not _is_foldable(graph, node):
            continue
        if time.monotonic() > end:
            break
        operands = [None if v is None else graph.array(v) for v in node.inputs]
        try:
            results = by_reference(node, operands, node.types, node.attrs)
        except (Error, ArithmeticError, ValueError, IndexError, MemoryError):
            continue  # what cannot be computed now fails, with the node's name, when it runs
        for old, array in zip(node.outputs, results, strict=True):
            if graph.use_count(old):
                graph.replace(old, graph.param(_owned(array), f"{node.name}.folded"))
        changes += 1
    if changes:
        graph.prune()
    return changes


def _owned(array: Array) -> Array:
    """A contiguous array that is not a view of something larger."""
    return np.ascontiguousarray(array).reshape(array.shape).copy()


def _is_foldable(graph: Graph, node: Node) -> bool:
    known = all(graph.is_param(value) for value in node.operands)
    if not known or node.op.traits & _SELDOM_WORTH_IT:
        return False
    if not all(type_.is_static for type_ in node.types) or mentioned_symbols(node):
        return False
    if any(value.node in graph.measured_nodes() for value in node.outputs):
        return False
    size = sum(static_bytes(type_) for type_ in node.types)
    given = sum(static_bytes(graph.type(value)) for value in node.operands)
    return size <= SMALL_BYTES or (size <= MAXIMUM_BYTES and size <= MAXIMUM_GROWTH * given)


def static_bytes(type_: TensorType) -> int:
    """Bytes of a tensor whose shape is known."""
    return math.prod(type_.static_shape) * item_size(type_.dtype)


FOLD_CONSTANTS = everywhere("fold_constants", fold_constants)
