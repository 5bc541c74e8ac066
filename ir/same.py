"""Equality of graphs: the same computation of the same inputs, whatever its nodes are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .data_type import Array
from .graph import Graph
from .node import INPUT, PARAMETER, Node, Value, mentioned_symbols


def same(graph: Graph, other: Graph) -> bool:
    """True when both graphs compute the same in the same way.

    Inputs and outputs must have the same names, types and order; what the outputs need must
    consist of equal operators with equal attributes, on equal operands, with parameters equal
    byte by byte (single numbers may be held once or more often), and must measure and assume
    the same. Names of nodes inside, names in graphs that are attributes (their inputs and
    outputs are found by position), ``origin`` and nodes that no output needs do not count.
    """
    return graph.output_names == other.output_names and _same(graph, other, named=True)


def _same(graph: Graph, other: Graph, named: bool) -> bool:
    sizes = [(len(held.inputs), len(held.outputs)) for held in (graph, other)]
    if sizes[0] != sizes[1]:
        return False
    partners: dict[str, str] = {}
    pending: list[tuple[Value, Value]] = []
    for mine, theirs in zip(graph.inputs, other.inputs, strict=True):
        if (named and mine.node != theirs.node) or graph.type(mine) != other.type(theirs):
            return False
        partners[mine.node] = theirs.node
    pending += zip(graph.outputs, other.outputs, strict=True)
    while pending:
        value, partner = pending.pop()
        if value.index != partner.index:
            return False
        node, twin = graph.node(value.node), other.node(partner.node)
        single = node.op is PARAMETER and not node.types[0].rank
        if single and _same_nodes(graph, node, other, twin):
            # A number is the same wherever it is held.
            continue
        if value.node in partners:
            if partners[value.node] != partner.node:
                return False
            continue
        if not _same_nodes(graph, node, other, twin):
            return False
        partners[node.name] = twin.name
        pending += [
            (mine, theirs)
            for mine, theirs in zip(node.inputs, twin.inputs, strict=True)
            if mine is not None and theirs is not None
        ]
        for name in mentioned_symbols(node) & set(graph.symbols):
            if name not in other.symbols or graph.symbols[name][1] != other.symbols[name][1]:
                return False
            pending.append((graph.symbols[name][0], other.symbols[name][0]))
    one_to_one = len(set(partners.values())) == len(partners)
    return one_to_one and _assumed(graph, set(partners)) == _assumed(other, set(partners.values()))


def _assumed(graph: Graph, names: set[str]) -> set[frozenset[object]]:
    """Assumptions of nodes that say something, in no order."""
    pairs = [{e.left, e.right} for e in graph.equalities if e.node in names]
    return {frozenset(pair) for pair in pairs if len(pair) == 2}


def _same_nodes(graph: Graph, node: Node, other: Graph, twin: Node) -> bool:
    if node.op is not twin.op or node.types != twin.types or node.op is INPUT:
        return False
    if node.op is PARAMETER:
        arrays = graph.array(Value(node.name)), other.array(Value(twin.name))
        return _bytes(arrays[0]) == _bytes(arrays[1])
    left_out = [value is None for value in node.inputs]
    return left_out == [value is None for value in twin.inputs] and _same_attributes(
        node.attrs, twin.attrs
    )


def _bytes(array: Array) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def _same_attributes(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return set(mine) == set(theirs) and all(_equal(mine[key], theirs[key]) for key in mine)


def _equal(left: Any, right: Any) -> bool:
    """Equality in which 1, 1.0 and True differ, -0.0 is not 0.0, and NaN is NaN."""
    if isinstance(left, Graph) and isinstance(right, Graph):
        return _same(left, right, named=False)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    if type(left) is not type(right):
        return False
    return repr(left) == repr(right) if isinstance(left, float) else bool(left == right)
