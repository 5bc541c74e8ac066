"""A saved model as what a verb works on: no graph, no compiler."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from ..compiler.session import Session
from ..ir import Extent, TensorType
from ..ir.dim import symbol_name, symbols_of
from ..targets.cpu.package.container import PackageFile, is_package
from ..targets.cpu.package.load import load_session
from ..targets.cpu.package.metadata import read_variant
from .options import Compilation, Sizes, parsed_dims, parsed_shapes

__all__ = ["PackagedModel", "is_package", "package_facts", "packaged_model"]


@dataclass(frozen=True)
class PackagedModel:
    """A loaded package; its types with the extents that the command line has fixed."""

    name: str
    session: Session
    load_seconds: float
    symbols: Mapping[str, int]

    @property
    def input_types(self) -> dict[str, TensorType]:
        """The inputs' types by name."""
        specs = self.session.inputs
        return {spec.name: spec.type.substitute(dict(self.symbols)) for spec in specs}

    @property
    def open_symbols(self) -> list[str]:
        """Names of the inputs' symbolic extents that are not fixed."""
        shapes = [type_.shape for type_ in self.input_types.values()]
        return sorted({symbol.name for symbol in symbols_of(shapes)})


def package_facts(name: str) -> dict[str, Any]:
    """What there is to say of a package, whatever processor it is for."""
    file = PackageFile(name)
    described = [(item, read_variant(item)) for item in file.metadata["variants"]]
    interface = described[0][1].interface
    facts: dict[str, Any] = {
        "model": file.metadata["name"],
        "format": "package",
        "producer": file.metadata["producer"],
    }
    for key, specs in (("inputs", interface.inputs), ("outputs", interface.outputs)):
        facts[key] = [{"name": spec.name, "type": str(spec.type)} for spec in specs]
    facts["programs"] = [
        {
            "kind": variant.kind,
            "triple": item["triple"],
            "processor": item["processor"],
            "features": list(variant.features),
            "vector_bits": variant.vector_bits,
            "code_bytes": variant.code.nbytes,
            "weight_bytes": variant.weights.nbytes,
        }
        for item, variant in described
    ]
    return facts


def packaged_model(
    name: str, sizes: Sizes, threads: int | None, compilation: Compilation
) -> PackagedModel:
    """The package called ``name``; raises UsageError for options that need its graph."""
    if compilation != Compilation():
        raise click.UsageError(
            f"{name} is compiled already: --target, --accuracy and --vector-bits come too late"
        )
    start = time.perf_counter()
    session = load_session(name, threads=threads)
    seconds = time.perf_counter() - start
    symbols = parsed_dims(sizes.dims)
    declared = {spec.name: spec.shape for spec in session.inputs}
    for input_, shape in parsed_shapes(sizes.shapes, list(declared)).items():
        if input_ not in declared:
            there = ", ".join(declared)
            raise click.UsageError(f"there is no input {input_!r}; there are: {there}")
        if len(shape) != len(declared[input_]):
            raise click.UsageError(f"input {input_!r} has {len(declared[input_])} axes")
        for extent, size in zip(declared[input_], shape, strict=True):
            _fix(input_, extent, size, symbols)
    model = PackagedModel(name, session, seconds, {})
    unknown = [symbol for symbol in symbols if symbol not in model.open_symbols]
    if unknown:
        there = ", ".join(model.open_symbols) or "none"
        raise click.UsageError(f"there is no symbolic extent {unknown[0]!r}; there are: {there}")
    return PackagedModel(name, session, seconds, symbols)


def _fix(name: str, extent: Extent, size: int, symbols: dict[str, int]) -> None:
    symbol = symbol_name(extent)
    wanted = extent if symbol is None else symbols.setdefault(symbol, size)
    if wanted != size:
        raise click.UsageError(f"input {name!r} has an extent {extent}, which cannot be {size}")
