"""Compiling and timing: what one process does with one model."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from ..compiler.driver import compile_graph
from ..compiler.session import Session
from ..ir.graph import Graph, LazyArray
from .output import Output
from .subject import Subject

PERCENTILES = (90, 95, 99)


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


def timed_runs(
    run: Callable[[], object], seconds: float | None, count: int | None, least: int = 1
) -> list[float]:
    """Seconds of each of ``count`` runs, or of as many as fit ``seconds`` (``least`` or more)."""
    clock = time.perf_counter
    latencies: list[float] = []
    end = clock() + (seconds if seconds is not None else float("inf"))
    while True:
        start = clock()
        run()
        now = clock()
        latencies.append(now - start)
        enough = len(latencies) >= least and now >= end
        if enough or (count is not None and len(latencies) >= count):
            return latencies


def statistics(latencies: Sequence[float]) -> dict[str, float]:
    """Median, average, extremes and percentiles, in milliseconds."""
    array = np.asarray(latencies) * 1e3
    found = {
        "median": float(np.median(array)),
        "avg": float(array.mean()),
        "min": float(array.min()),
        "max": float(array.max()),
    }
    return found | {f"p{share}": float(np.percentile(array, share)) for share in PERCENTILES}


def peak_memory() -> int:
    """Most bytes of main memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def weight_bytes(graph: Graph) -> int:
    """Bytes of a graph's parameters."""
    total = 0
    for held in graph.params.values():
        size = held.type.nbytes if isinstance(held, LazyArray) else held.nbytes
        total += size if isinstance(size, int) else 0
    return total
