"""Compiling the model a verb works on."""

from __future__ import annotations

import time

from ..compiler.driver import compile_graph
from ..compiler.session import Session
from ..ir.graph import Graph, LazyArray
from .output import Output
from .subject import Subject


def compiled(
    subject: Subject, target: str, threads: int | None, output: Output
) -> tuple[Session, float]:
    """The compiled model and the seconds that took."""
    with output.progress(f"compiling {subject.name} for {target}"):
        start = time.perf_counter()
        session = compile_graph(subject.graph, target.lower(), None, threads)
        return session, time.perf_counter() - start


def compiled_graph(graph: Graph) -> Session:
    """The graph compiled for the processor at hand."""
    return compile_graph(graph, "cpu")


def weight_bytes(graph: Graph) -> int:
    """Bytes of a graph's parameters."""
    total = 0
    for held in graph.params.values():
        size = held.type.nbytes if isinstance(held, LazyArray) else held.nbytes
        total += size if isinstance(size, int) else 0
    return total
