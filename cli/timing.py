"""Timing runs, and what the times say."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

PERCENTILES = (90, 95, 99)


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
    # getrusage counts what the process was before exec: the one that started it.
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
