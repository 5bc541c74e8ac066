"""The graph of a network while it is built: which one is under way, and its constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from ..ir import Array, Graph, ModelError, Value


class Trace:
    """One graph under construction and what is known about the network it comes from.

    ``cell_names`` and ``parameter_names`` are keyed by ``id``: cells and parameters are
    compared by identity.
    """

    def __init__(
        self, graph: Graph, cell_names: Mapping[int, str], parameter_names: Mapping[int, str]
    ) -> None:
        self.graph = graph
        self.cell_names = cell_names
        self.parameter_names = parameter_names
        self.scope: list[str] = []
        self._constants: dict[tuple[str, str], Value] = {}

    def constant(self, array: Array) -> Value:
        """A parameter that no checkpoint knows; equal numbers are kept once."""
        if array.ndim:
            return self.graph.param(array, "constant")
        key = (array.dtype.name, repr(array.item()))
        if key not in self._constants:
            self._constants[key] = self.graph.param(array, "constant")
        return self._constants[key]


_active: ContextVar[Trace | None] = ContextVar("active trace", default=None)


@contextmanager
def tracing(trace: Trace) -> Iterator[None]:
    """Operators applied inside become nodes of the trace's graph."""
    if _active.get() is not None:
        raise ModelError("a network cannot be traced while another one is; call its cell instead")
    token = _active.set(trace)
    try:
        yield
    finally:
        _active.reset(token)


def current_trace() -> Trace:
    """The trace that is under way here; raises ModelError when there is none."""
    trace = _active.get()
    if trace is None:
        raise ModelError(
            "a network is a definition and computes nothing by itself: compile it "
            "(opweave.compile(network, input_types=...)) or trace it to a graph"
        )
    return trace
