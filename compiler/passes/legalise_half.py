"""Half precision for targets that compute in float32: casts around what needs them.

Elementwise operators load and store 16-bit floats themselves, and movement does not look at
elements; every other operator gets float32 operands, and its results are cast back.
"""

from __future__ import annotations

import numpy as np

from ...ir import Graph, LazyArray, Node, Value
from ...ir.node import read_array
from ...ops.cast import cast
from .bodies import everywhere

_HALVES = ("float16", "bfloat16")
_AS_THEY_ARE = frozenset({"elementwise", "movement", "view", "control", "fused"})


def legalise_half(graph: Graph) -> int:
    """Compute operators on 16-bit floats in float32."""
    changes = 0
    wide_params: dict[Value, Value] = {}
    for name in [node.name for node in graph.operators()]:
        node = graph.node(name)  # as it is now: replacing others has changed its operands
        if node.op.traits & _AS_THEY_ARE:
            continue
        types = [graph.type(value) for value in node.operands]
        if not any(type_.dtype in _HALVES for type_ in (*types, *node.types)):
            continue
        _widen(graph, node, wide_params)
        changes += 1
    if changes:
        graph.prune()
    return changes


def _widen(graph: Graph, node: Node, params: dict[Value, Value]) -> None:
    def wide(value: Value | None) -> Value | None:
        if value is None or graph.type(value).dtype not in _HALVES:
            return value
        if graph.is_param(value):
            if value not in params:
                params[value] = _wide_param(graph, value)
            return params[value]
        return graph.add(cast, value, to="float32", origin=node.origin)

    inputs = [wide(value) for value in node.inputs]
    attrs = {
        name: "float32" if name == "dtype" and value in _HALVES else value
        for name, value in node.attrs.items()
    }
    computed = graph.add_node(node.op, inputs, attrs, node.name, node.origin)
    for old, new, type_ in zip(node.outputs, computed.outputs, node.types, strict=True):
        result = new
        if type_.dtype in _HALVES:
            result = graph.add(cast, new, to=type_.dtype, origin=node.origin)
        graph.replace(old, result)
    graph.drop(node.name)
    if node.name not in graph:
        graph.rename(computed.name, node.name)


def _wide_param(graph: Graph, value: Value) -> Value:
    """The same numbers in float32, made when they are read: operators run faster for it."""
    held = graph.params[value.node]
    type_ = graph.type(value).with_dtype("float32")
    return graph.param(
        LazyArray(type_, lambda: read_array(held).astype(np.float32)), f"{value.node}.wide"
    )


LEGALISE_HALF = everywhere("legalise_half", legalise_half)
