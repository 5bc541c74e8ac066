"""Compiling the model a verb works on."""

from __future__ import annotations

import time

from ..compiler.driver import compile_graph
from ..compiler.session import Session
from ..ir.graph import Graph
from .options import Compilation
from .output import Output
from .subject import Subject


def compiled(
    subject: Subject, how: Compilation, threads: int | None, output: Output
) -> tuple[Session, float]:
    """The compiled model and the seconds that took."""
    with output.progress(f"compiling {subject.name} for {how.target}"):
        start = time.perf_counter()
        session = compile_with(subject.graph, how, threads)
        return session, time.perf_counter() - start


def compile_with(graph: Graph, how: Compilation, threads: int | None) -> Session:
    """The graph compiled as the command line says."""
    return compile_graph(
        graph, how.target, None, threads, accuracy=how.accuracy, vector_bits=how.vector_bits
    )


def compiled_graph(graph: Graph) -> Session:
    """The graph compiled for the processor at hand."""
    return compile_graph(graph, "cpu")
