"""What the choice of kernels depends on besides the graph."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ...compiler.cache import default_cache
from ...compiler.options import CompileOptions
from .object_code import cpu_for
from .pool import available_threads
from .processors import NATIVE
from .tuning.records import Records, Tuning

_NO_RECORDS = Tuning()


@dataclass(frozen=True, slots=True)
class Choices:
    """``width``: float32 lanes of a vector; ``exact``: nothing that rounds more than need be.

    ``tuning`` is what was measured.
    """

    width: int
    exact: bool
    threads: int
    tuning: Tuning = _NO_RECORDS

    @staticmethod
    def of(options: CompileOptions) -> Choices:
        """The choices for the processor that the options name."""
        width = cpu_for(options).vector_bits // 32
        threads = options.threads or available_threads()
        return Choices(width, options.accuracy == "exact", threads, _tuning(options, threads))


def _tuning(options: CompileOptions, threads: int) -> Tuning:
    """The records of this machine, where the code is for it."""
    is_native = options.cpu == NATIVE and options.system is None
    if not is_native or not options.tuned or os.environ.get("OPWEAVE_TUNE") == "off":
        return _NO_RECORDS
    return records_for(options, threads)


def records_for(options: CompileOptions, threads: int) -> Records:
    """What was measured on this machine with these options."""
    return Records(default_cache(), cpu_for(options), threads, options.accuracy == "exact")
