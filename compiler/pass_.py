"""The pass contract: a named function from a graph to the number of changes it made."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ir import Graph, ModelError, check


@dataclass(frozen=True, slots=True)
class Pass:
    """One named graph transformation; ``run`` changes the graph and counts its changes."""

    name: str
    run: Callable[[Graph], int]

    def __call__(self, graph: Graph) -> int:
        """Run the pass; with OPWEAVE_CHECK=1 the graph is verified afterwards."""
        changes = self.run(graph)
        if changes and os.environ.get("OPWEAVE_CHECK") == "1":
            try:
                check(graph)
            except ModelError as error:
                raise ModelError(f"pass {self.name!r} broke the graph: {error}") from error
        return changes


def run_passes(graph: Graph, passes: Sequence[Pass]) -> dict[str, int]:
    """Run passes in order; returns the number of changes by pass name."""
    return {pass_.name: pass_(graph) for pass_ in passes}


def until_stable(name: str, passes: Sequence[Pass], rounds: int = 4) -> Pass:
    """A Pass that runs others in order, again and again while they change something.

    It stops after so many ``rounds``: later ones seldom find anything, and what they leave is
    right all the same.
    """

    def run(graph: Graph) -> int:
        total = 0
        for _ in range(rounds):
            changes = sum(run_passes(graph, passes).values())
            total += changes
            if not changes:
                break
        return total

    return Pass(name, run)
