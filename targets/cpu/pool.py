"""Pools of worker threads: the host's side of ``parallel``.

A pool serves one run at a time. A run that finds all pools of its size in use computes alone,
so that several callers never wait for one another. Workers are made when first needed, sleep
when there is nothing to do, and do not survive a fork: a child makes its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from pathlib import Path

import numpy as np

from .calling import WORKER, Pool, pool_bytes
from .loader import LoadedObject

_lock = threading.Lock()
_idle: dict[int, list[ThreadPool]] = {}
_kept: list[object] = []


class ThreadPool:
    """``threads - 1`` workers, and the memory through which they are given jobs.

    The workers run for ever in ``code``, any program's: they are the same in all.
    """

    def __init__(self, threads: int, code: LoadedObject) -> None:
        size = pool_bytes(threads)
        block = np.zeros(size + 64, np.uint8)
        start = -block.ctypes.data % 64
        self._fields = block[start : start + size].view(np.int64)
        self._fields[Pool.THREADS] = threads
        self.threads = threads
        self.address = int(self._fields.ctypes.data)
        self.process = os.getpid()
        for kept in (code, block):
            _keep_for_ever(kept)
        work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address(WORKER))
        for number in range(1, threads):
            # Daemons: native workers must not keep a finished program alive.
            threading.Thread(
                target=work, args=(self.address,), name=f"opweave-{number}", daemon=True
            ).start()


def _keep_for_ever(thing: object) -> None:
    """Workers run on while the interpreter takes its objects apart, which must leave them this."""
    if hasattr(ctypes, "pythonapi"):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    else:
        _kept.append(thing)


def take_pool(threads: int, code: LoadedObject) -> ThreadPool | None:
    """A pool of ``threads`` threads for one run; None to run alone. To be given back.

    The first time its workers are started, in the program ``code``.
    """
    idle = _idle.get(threads)
    if idle is None:
        with _lock:
            if threads not in _idle:
                _idle[threads] = [ThreadPool(threads, code)]
            idle = _idle[threads]
    try:
        return idle.pop()
    except IndexError:
        return None


def give_back(pool: ThreadPool) -> None:
    """Let another run have the pool."""
    if pool.process == os.getpid():
        _idle[pool.threads].append(pool)


def _after_fork() -> None:
    """The workers stayed with the parent."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def available_threads() -> int:
    """Processors that this process may use: its affinity, and a container's quota."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(allowed, quota) if quota else allowed)


def _cgroup_quota() -> int:
    """Whole processors that a Linux control group grants; 0 without a limit."""
    with contextlib.suppress(OSError, ValueError):
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return 0 if limit == "max" else -(-int(limit) // int(period))
    with contextlib.suppress(OSError, ValueError):
        folder = Path("/sys/fs/cgroup/cpu")
        limit_us = int((folder / "cpu.cfs_quota_us").read_text())
        period_us = int((folder / "cpu.cfs_period_us").read_text())
        return 0 if limit_us < 0 else -(-limit_us // period_us)
    return 0
