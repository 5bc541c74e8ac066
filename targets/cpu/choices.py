"""What the choice of kernels depends on besides the graph."""

from __future__ import annotations

from dataclasses import dataclass

from ...compiler.options import CompileOptions
from .object_code import cpu_for
from .pool import available_threads


@dataclass(frozen=True, slots=True)
class Choices:
    """``width``: float32 lanes of a vector; ``exact``: nothing that rounds more than need be."""

    width: int
    exact: bool
    threads: int

    @staticmethod
    def of(options: CompileOptions) -> Choices:
        """The choices for the processor that the options name."""
        width = cpu_for(options).vector_bits // 32
        threads = options.threads or available_threads()
        return Choices(width, options.accuracy == "exact", threads)
