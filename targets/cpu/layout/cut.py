"""The minimum cut between what is stored channels first and what channels last.

Convolutions are fast channels last, inputs, outputs and most other operators are channels
first, and some operators do not mind. Every tensor whose producer and some reader are on
different sides has to be transposed once; a minimum cut of the graph transposes the fewest
bytes (J. C. Picard and H. D. Ratliff, Networks 5, 1975).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import networkx as nx

from ....ir import Extent, Graph, Node, TensorType, Value

_LAST, _FIRST = "channels last", "channels first"  # the terminals
# Extents that only a run knows count as this much.
_OPEN_EXTENT = 8


class Side(Enum):
    """Where a node reads or writes tensors."""

    FIRST = "first"
    LAST = "last"
    FREE = "free"  # as the cut decides
    EITHER = "either"  # reads whatever is there


@dataclass(frozen=True, slots=True)
class Stance:
    """How a node reads and writes; if both are free they go together."""

    reads: Side = Side.FIRST
    writes: Side = Side.FIRST


def moved_bytes(type_: TensorType) -> int:
    """Bytes that a change of layout moves; none if the order of elements stays."""
    if type_.rank < 3:
        return 0
    spatial, channels = [_number(extent) for extent in type_.shape[2:]], _number(type_.shape[1])
    size = math.prod(spatial)
    if size == 1 or channels == 1:
        return 0
    return size * channels * _number(type_.shape[0]) * type_.numpy.itemsize


def _number(extent: Extent) -> int:
    return extent if isinstance(extent, int) else _OPEN_EXTENT


def nodes_channels_last(graph: Graph, stance_of: Callable[[Node], Stance]) -> set[str]:
    """Names of the nodes that work channels last."""
    stances = {node.name: stance_of(node) for node in graph.operators()}
    if not any(stance.writes is Side.LAST for stance in stances.values()):
        return set()
    network = nx.DiGraph()
    network.add_nodes_from((_LAST, _FIRST))

    def vertex(name: str, side: Side) -> str:
        if side is Side.FREE:
            return f"node {name}"
        return _LAST if side is Side.LAST else _FIRST

    outputs = set(graph.outputs)
    for node in graph.nodes():
        for value in node.outputs:
            stance = stances.get(node.name)
            if graph.is_param(value):
                continue
            producer = vertex(node.name, stance.writes) if stance else _FIRST
            readers = {
                vertex(user.name, stances[user.name].reads)
                for user in graph.users(value)
                if user.name in stances and stances[user.name].reads is not Side.EITHER
            }
            if value in outputs:
                readers.add(_FIRST)
            _connect(network, value, producer, readers - {producer}, graph.type(value))
    kept, _ = nx.minimum_cut(network, _FIRST, _LAST)[1]
    result = set()
    for name, stance in stances.items():
        free = Side.FREE in (stance.reads, stance.writes)
        vertex_name = f"node {name}"
        if Side.LAST in (stance.reads, stance.writes) or (
            free and vertex_name in network and vertex_name not in kept
        ):
            result.add(name)
    return result


def _connect(
    network: nx.DiGraph, value: Value, producer: str, readers: set[str], type_: TensorType
) -> None:
    """Edges that cost one transposition if any reader is on the other side than the producer."""
    weight = moved_bytes(type_)
    if not readers:
        return
    # A unit more than nothing: of equal cuts, the one with fewer changes of layout.
    weight = weight + 1
    away, back = f"copy of {value} for readers", f"copy of {value} from readers"
    network.add_edge(producer, away, capacity=weight)
    network.add_edge(back, producer, capacity=weight)
    for reader in readers:
        network.add_edge(away, reader)  # an edge without a capacity cannot be cut
        network.add_edge(reader, back)
