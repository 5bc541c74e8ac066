"""Compiling a graph: shapes fixed if asked, passes run, target's code made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir import Extent, Graph, ModelError, check
from ..ir.dim import symbol_name
from .interface import Interface, check_extents
from .options import CompileOptions
from .pass_ import run_passes
from .profile import Profiler
from .session import Session
from .target import Target, target_named


def compile_graph(
    graph: Graph,
    target: str | Target = "cpu",
    shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int | None = None,
    *,
    accuracy: str = "default",
    vector_bits: int | None = None,
    tuned: bool = True,
) -> Session:
    """Compile ``graph`` (which stays as it is) for a target.

    ``shapes`` fixes the shapes of inputs by name; other symbolic extents stay open, and one
    compiled session serves all their values. ``threads``, ``accuracy``, ``vector_bits`` and
    ``tuned`` are those of CompileOptions. Raises ModelError for a graph that is not valid,
    UnsupportedError where the target lacks kernels.
    """
    options = CompileOptions(threads, accuracy, vector_bits, tuned=tuned)
    chosen = target_named(target) if isinstance(target, str) else target
    prepared = prepared_graph(graph, chosen, shapes, options)
    executable = chosen.lower(prepared, options)
    profiler = Profiler(prepared, chosen, options)
    return Session(Interface.of(prepared), executable, chosen.name, prepared, profiler)


def prepared_graph(
    graph: Graph,
    target: Target,
    shapes: Mapping[str, Sequence[int]] | None,
    options: CompileOptions,
) -> Graph:
    """What a target lowers: a checked copy of ``graph``, shapes fixed, its passes run.

    Raises ModelError for a graph that is not valid.
    """
    check(graph)
    prepared = graph.substitute(fixed_symbols(graph, shapes or {}))
    prepared.prune()
    check_extents(prepared)
    declared = [(value, prepared.type(value)) for value in prepared.inputs]
    run_passes(prepared, target.passes(options))
    if [(value, prepared.type(value)) for value in prepared.inputs] != declared:
        raise ModelError(f"the passes of target {target.name!r} changed the graph's inputs")
    return prepared


def fixed_symbols(graph: Graph, shapes: Mapping[str, Sequence[int]]) -> dict[str, Extent]:
    """Values of symbols so that the inputs named in ``shapes`` get these shapes."""
    inputs = {value.node: graph.type(value) for value in graph.inputs}
    symbols: dict[str, Extent] = {}
    for name, shape in shapes.items():
        if name not in inputs:
            known = ", ".join(inputs) or "none"
            raise ModelError(f"a shape is given for {name!r}; the inputs are: {known}")
        declared = inputs[name]
        if len(shape) != declared.rank:
            raise ModelError(f"input {name!r} is {declared}; it cannot have the shape {shape}")
        for extent, size in zip(declared.shape, shape, strict=True):
            symbol = symbol_name(extent)
            wanted = symbols.setdefault(symbol, size) if symbol else extent
            if wanted != size:
                raise ModelError(f"input {name!r} is {declared}; it cannot have the shape {shape}")
    return symbols
