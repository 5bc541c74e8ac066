"""Compiling the model a verb works on."""

from __future__ import annotations

import time

from ..compiler.driver import compile_graph
from ..compiler.session import Session
from ..ir.graph import Graph
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
