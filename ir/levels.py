"""Levels: a number a node, above those of all nodes it depends on, kept while a graph changes.

They tell at once that most values cannot depend on one another, where searching the graph for
a path would take time in proportion to its size. Nodes are vertices of a networkx DiGraph with
the attribute ``level``. There is much room between levels, so that new nodes fit in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx as nx

STEP = 2**40


def level_of(graph: nx.DiGraph[str], name: str) -> int:
    """The level of a node."""
    return int(graph.nodes[name]["level"])


def level_above(graph: nx.DiGraph[str], sources: Iterable[str]) -> int:
    """A level for a new node that depends on ``sources``."""
    return max((level_of(graph, source) for source in sources), default=0) + STEP


def between(graph: nx.DiGraph[str], first: str, last: str) -> set[str]:
    """``last`` and all it depends on, apart from what cannot depend on ``first``.

    Empty where ``last`` itself cannot.
    """
    level = level_of(graph, first)
    found: set[str] = set()
    pending = [last] if first != last else []
    while pending:
        name = pending.pop()
        if name not in found and level_of(graph, name) > level:
            found.add(name)
            pending.extend(graph.predecessors(name))
    return found


def put_below(graph: nx.DiGraph[str], name: str, users: Sequence[str]) -> bool:
    """Lower ``name``, and what it depends on, below ``users``; False if there is no room.

    None of them may depend on one of the users.
    """
    limit = min((level_of(graph, user) for user in users), default=None)
    if limit is None or level_of(graph, name) < limit:
        return True
    lowered: dict[str, int] = {}  # name -> longest way to it from one that stays
    pending = [name]
    while pending:
        here = pending.pop()
        if here not in lowered and level_of(graph, here) >= limit:
            lowered[here] = 1
            pending.extend(graph.predecessors(here))
    floor = limit - STEP
    for here in sorted(lowered, key=lambda each: level_of(graph, each)):
        for source in graph.predecessors(here):
            if source in lowered:
                lowered[here] = max(lowered[here], lowered[source] + 1)
            else:
                floor = max(floor, level_of(graph, source))
    steps = max(lowered.values()) + 1
    if limit - floor < steps:
        return False
    for here, depth in lowered.items():
        graph.nodes[here]["level"] = floor + (limit - floor) * depth // steps
    return True


def set_levels(graph: nx.DiGraph[str]) -> None:
    """Number all nodes anew."""
    import networkx as nx

    for number, name in enumerate(nx.topological_sort(graph)):
        graph.nodes[name]["level"] = number * STEP
