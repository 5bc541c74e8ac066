"""The model a verb works on: found, read, its shapes fixed as the command line says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from ..api import NETWORK, model_of
from ..compiler.driver import fixed_symbols
from ..formats.adapter import Metadata
from ..ir import Extent, Graph, ModelError, TensorType
from ..ir.dim import symbols_of
from ..networks.registry import network_named
from .options import Sizes, parsed_dims, parsed_shapes
from .output import Output

_OPEN = Sizes()


@dataclass(frozen=True)
class Subject:
    """A model with where it came from; ``path`` is None for a built-in network."""

    name: str
    path: Path | None
    graph: Graph
    format: str
    metadata: Metadata
    load_seconds: float
    symbols: Mapping[str, int]  # symbolic extents that the command line has fixed

    @property
    def input_types(self) -> dict[str, TensorType]:
        """The inputs' types by name."""
        return {value.node: self.graph.type(value) for value in self.graph.inputs}

    @property
    def output_types(self) -> dict[str, TensorType]:
        """The outputs' types by name."""
        graph = self.graph
        pairs = zip(graph.output_names, graph.outputs, strict=True)
        return {name: graph.type(value) for name, value in pairs}

    @property
    def open_symbols(self) -> list[str]:
        """Names of the inputs' symbolic extents that are not fixed."""
        shapes = [type_.shape for type_ in self.input_types.values()]
        return sorted({symbol.name for symbol in symbols_of(shapes)})


def subject_of(name: str, output: Output, sizes: Sizes = _OPEN) -> Subject:
    """The model called ``name`` with shapes fixed; raises UsageError for shapes it cannot have."""
    with output.progress(f"reading {name}"):
        start = time.perf_counter()
        model = model_of(name)
        seconds = time.perf_counter() - start
    path = None if model.format == NETWORK else Path(name)
    subject = Subject(name, path, model.graph, model.format, model.metadata, seconds, {})
    wanted = parsed_shapes(sizes.shapes, list(subject.input_types))
    numbers = parsed_dims(sizes.dims)
    try:
        if model.format == NETWORK and (wanted or numbers):
            return _retraced(subject, wanted, numbers)
        symbols = fixed_symbols(subject.graph, wanted)
    except ModelError as error:
        raise click.UsageError(str(error)) from None
    for symbol, size in numbers.items():
        if symbol not in subject.open_symbols:
            there = ", ".join(subject.open_symbols) or "none"
            raise click.UsageError(f"there is no symbolic extent {symbol!r}; there are: {there}")
        if symbols.setdefault(symbol, size) != size:
            raise click.UsageError(f"--shape and --dim want different sizes of {symbol!r}")
    if not symbols:
        return subject
    fixed = {name: size for name, size in symbols.items() if isinstance(size, int)}
    return replace(subject, graph=subject.graph.substitute(symbols), symbols=fixed)


def _retraced(
    subject: Subject, shapes: Mapping[str, Sequence[int]], sizes: Mapping[str, int]
) -> Subject:
    """A built-in network for other input shapes, or another batch and length, than its own."""
    unknown = [name for name in sizes if name not in ("batch", "length")]
    if unknown:
        raise ModelError(f"{subject.name} has the extents batch and length, not {unknown[0]!r}")
    _, declared = network_named(subject.name, **sizes)
    types = []
    for name, type_ in zip(subject.input_types, declared, strict=True):
        shape: Sequence[Extent] = shapes.get(name, type_.shape)
        types.append(type_.with_shape(shape))
    unknown = [name for name in shapes if name not in subject.input_types]
    if unknown:
        known = ", ".join(subject.input_types)
        raise ModelError(f"a shape is given for {unknown[0]!r}; the inputs are: {known}")
    return replace(subject, graph=model_of(subject.name, types).graph)
