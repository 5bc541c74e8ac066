"""Evaluating a graph by its operators' NumPy references: what the graph means.

Folding constants, control-flow references and tests use it; it is not meant to be fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .binding import bind_symbols
from .data_type import Array
from .errors import ModelError
from .graph import Graph
from .node import INPUT, PARAMETER, Node, Value, substituted
from .tensor_type import TensorType

# Computes the results of one node from its operands, their types and the attributes.
Compute = Callable[
    [Node, Sequence[Array | None], Sequence[TensorType], Mapping[str, Any]], list[Array]
]


def by_reference(
    node: Node,
    operands: Sequence[Array | None],
    types: Sequence[TensorType],
    attrs: Mapping[str, Any],
) -> list[Array]:
    """Results of one node by its reference, of the declared types."""
    with np.errstate(all="ignore"):
        found = node.op.reference(*operands, **attrs)
    results = list(found) if isinstance(found, tuple) else [found]
    if len(results) != len(types):
        raise ModelError(f"{node}: the reference gives {len(results)} results, not {len(types)}")
    arrays = []
    for result, type_ in zip(results, types, strict=True):
        array = np.asarray(result).astype(type_.numpy, copy=False)
        if array.shape != type_.shape:
            raise ModelError(f"{node}: the reference gives {array.shape}, inference {type_}")
        arrays.append(array)
    return arrays


def evaluate(graph: Graph, inputs: Sequence[Array], compute: Compute = by_reference) -> list[Array]:
    """The outputs of ``graph``; raises ModelError when the inputs do not fit it."""
    if len(inputs) != len(graph.inputs):
        raise ModelError(f"graph {graph.name!r} has {len(graph.inputs)} inputs, not {len(inputs)}")
    values: dict[Value, Array] = dict(zip(graph.inputs, map(np.asarray, inputs), strict=True))
    symbols = bind_symbols([graph.type(value) for value in graph.inputs], list(values.values()))
    measured: dict[Value, list[tuple[str, int]]] = {}
    for name, (source, position) in graph.symbols.items():
        measured.setdefault(source, []).append((name, position))
    for node in graph.nodes():
        if node.op is PARAMETER:
            values[node.outputs[0]] = graph.array(node.outputs[0])
        elif node.op is not INPUT:
            types = [type_.substitute(symbols) for type_ in node.types]
            operands = [None if value is None else values[value] for value in node.inputs]
            attrs = {name: substituted(value, symbols) for name, value in node.attrs.items()}
            values.update(zip(node.outputs, compute(node, operands, types, attrs), strict=True))
        for value in node.outputs:
            for name, position in measured.get(value, ()):
                symbols[name] = int(values[value].reshape(-1)[position])
    return [values[value] for value in graph.outputs]
