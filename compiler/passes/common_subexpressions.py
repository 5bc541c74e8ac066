"""Common subexpressions: equal nodes on equal operands are computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir import Array, Graph, LazyArray, Node, Value
from .bodies import everywhere

_SMALL_BYTES = 4096  # larger parameters are seldom equal, and reading them costs


def common_subexpressions(graph: Graph) -> int:
    """Merge equal nodes and equal small parameters."""
    changes = 0
    params: dict[object, Value] = {}
    for name, held in graph.params.items():
        if isinstance(held, LazyArray) or held.nbytes > _SMALL_BYTES:
            continue
        first = params.setdefault(_content(held), Value(name))
        if first.node != name:
            graph.replace(Value(name), first)
            changes += 1
    seen: dict[object, str] = {}
    # Producers come first, and replacing rewires readers, so one walk finds chains too.
    for name in [node.name for node in graph.operators()]:
        node = graph.node(name)
        key = _key(node)
        if key is None:
            continue
        first_name = seen.setdefault(key, name)
        if first_name != name:
            for old, new in zip(node.outputs, graph.node(first_name).outputs, strict=True):
                graph.replace(old, new)
            changes += 1
    if changes:
        graph.prune()
    return changes


def _content(array: Array) -> object:
    data = np.ascontiguousarray(array).view(np.uint8) if array.size else array
    return array.dtype.str, array.shape, hashlib.blake2b(data.tobytes()).digest()


def _key(node: Node) -> object | None:
    if "impure" in node.op.traits or any(isinstance(v, Graph) for v in node.attrs.values()):
        return None
    return node.op, node.inputs, _attributes(node.attrs)


def _attributes(attrs: Mapping[str, Any]) -> object:
    # 1, 1.0 and True are equal in Python but not as attributes.
    return tuple((name, type(value).__name__, repr(value)) for name, value in sorted(attrs.items()))


COMMON_SUBEXPRESSIONS = everywhere("common_subexpressions", common_subexpressions)
