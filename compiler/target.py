"""Targets: what compiles graphs, found by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol

from ..ir import Array, Graph, ModelError
from .options import CompileOptions
from .pass_ import Pass
from .roofline import MachinePeaks

# Built-in targets are found without reading package metadata, which takes milliseconds.
_BUILT_IN = {"cpu": "targets.cpu.target"}
_GROUP = "opweave.targets"


class Executable(Protocol):
    """A compiled graph. Inputs are contiguous and of the declared types."""

    def __call__(self, inputs: Sequence[Array], symbols: Mapping[str, int]) -> list[Array]:
        """The outputs; ``symbols`` are the values that the inputs' shapes give."""
        ...

    def prepare(self, symbols: Mapping[str, int]) -> Callable[[Sequence[Array]], list[Array]]:
        """The same for inputs of certain shapes, for many calls."""
        ...

    def bind(
        self, inputs: Sequence[Array], outputs: Sequence[Array], symbols: Mapping[str, int]
    ) -> Callable[[], None]:
        """Runs that read and write these arrays, of the right types and shapes, each time.

        Raises UnsupportedError where the run itself decides the shape of an output.
        """
        ...

    def arena_bytes(self, symbols: Mapping[str, int]) -> int:
        """Bytes that one run needs for intermediate tensors."""
        ...


class TimedExecutable(Protocol):
    """A compiled graph that takes the time of each node while it runs."""

    nodes: Sequence[str]

    def __call__(self, inputs: Sequence[Array], symbols: Mapping[str, int]) -> list[Array]:
        """The outputs, as of an Executable."""
        ...

    def seconds(self) -> Sequence[float]:
        """What each of ``nodes`` took in the last run."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """One way to run graphs.

    ``passes`` prepare a graph for it, in order; ``lower`` compiles the result, and raises
    UnsupportedError for nodes it has no kernel for. Both get the options of the compilation.
    For reports, where a target has them: ``peaks`` says what the machine does at best with these
    options; ``lower_timed`` is ``lower`` with the time of each node taken.
    """

    name: str
    passes: Callable[[CompileOptions], Sequence[Pass]]
    lower: Callable[[Graph, CompileOptions], Executable]
    peaks: Callable[[CompileOptions], MachinePeaks] | None = None
    lower_timed: Callable[[Graph, CompileOptions], TimedExecutable] | None = None


def target_named(name: str) -> Target:
    """The target called ``name``; raises ModelError naming the targets that exist."""
    if name in _BUILT_IN:
        package = (__package__ or "").rpartition(".")[0]
        found = importlib.import_module(f"{package}.{_BUILT_IN[name]}").TARGET
    else:
        others = {point.name: point for point in entry_points(group=_GROUP)}
        if name not in others:
            known = ", ".join(sorted({*_BUILT_IN, *others}))
            raise ModelError(f"there is no target {name!r}; there are: {known}")
        found = others[name].load()
    if not isinstance(found, Target) or found.name != name:
        raise ModelError(f"the target {name!r} is not what its package says it is: {found!r}")
    return found
