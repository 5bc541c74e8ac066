"""What a package says of its programs, as JSON: all that is not machine code or weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....compiler.interface import Interface
from ....compiler.spec import Spec
from ....ir.dim import Extent
from ....ir.errors import ModelError
from ....ir.tensor_type import TensorType
from ....ir.text_values import extent_text, read_extents
from ..calling import StepInfo
from ..executable import ProgramInfo
from ..processors import CpuDescription, needed_features

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where bytes lie in the file, and their BLAKE2b digest as hexadecimal digits."""

    offset: int
    nbytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Variant:
    """The program for one kind of processor.

    ``features`` are LLVM's names of what the processor must have; ``parameters`` are where the
    parameters start within the weights, and their bytes.
    """

    kind: str
    processor: str
    triple: str
    features: tuple[str, ...]
    vector_bits: int
    interface: Interface
    info: ProgramInfo
    code: Place
    weights: Place
    parameters: tuple[tuple[int, int], ...]


def variant_json(
    kind: str,
    cpu: CpuDescription,
    interface: Interface,
    info: ProgramInfo,
    parameters: Sequence[tuple[int, int]],
) -> Json:
    """A variant without the places of its code and weights, which are added when known."""
    return {
        "kind": kind,
        "processor": cpu.name,
        "triple": cpu.triple,
        "architecture": cpu.architecture,
        "features": [feature.name for feature in needed_features(cpu)],
        "vector_bits": cpu.vector_bits,
        "inputs": [[s.name, s.dtype, _extents(s.shape)] for s in interface.inputs],
        "outputs": [[s.name, s.dtype, _extents(s.shape)] for s in interface.outputs],
        "types": [[node, t.dtype, _extents(t.shape)] for node, t in interface.types],
        "equalities": [[node, *_extents(pair)] for node, *pair in interface.equalities],
        "late_outputs": sorted(info.late_outputs),
        "symbols": list(info.symbols),
        "steps": [[step.node, list(step.errors)] for step in info.steps],
        "checks": list(info.checks),
        "arena": _extents((info.arena,))[0],
        "shares": info.shares,
        "parameters": [list(item) for item in parameters],
    }


def read_variant(content: Mapping[str, Any]) -> Variant:
    """A variant from its JSON; raises ModelError, KeyError, TypeError or ValueError for others."""
    inputs, outputs = (
        tuple(Spec(str(name), str(dtype), _read(shape)) for name, dtype, shape in content[key])
        for key in ("inputs", "outputs")
    )
    interface = Interface(
        inputs,
        outputs,
        tuple((str(n), TensorType(dtype, _read(s))) for n, dtype, s in content["types"]),
        tuple((str(node), *_read(pair)) for node, *pair in content["equalities"]),  # type: ignore[misc]
    )
    info = ProgramInfo(
        inputs=tuple(spec.type for spec in inputs),
        outputs=tuple(spec.type for spec in outputs),
        late_outputs=frozenset(map(int, content["late_outputs"])),
        symbols=tuple(map(str, content["symbols"])),
        steps=tuple(StepInfo(str(node), tuple(errors)) for node, errors in content["steps"]),
        checks=tuple(map(str, content["checks"])),
        arena=_read([content["arena"]])[0],
        shares=bool(content["shares"]),
    )
    code, weights = (
        Place(int(offset), int(nbytes), str(digest))
        for offset, nbytes, digest in (content["code"], content["weights"])
    )
    parameters = tuple((int(place), int(nbytes)) for place, nbytes in content["parameters"])
    for place, nbytes in parameters:
        if place < 0 or nbytes < 0 or place + nbytes > weights.nbytes:
            raise ModelError("a parameter lies outside the weights")
    return Variant(
        kind=str(content["kind"]),
        processor=str(content["processor"]),
        triple=str(content["triple"]),
        features=tuple(map(str, content["features"])),
        vector_bits=int(content["vector_bits"]),
        interface=interface,
        info=info,
        code=code,
        weights=weights,
        parameters=parameters,
    )


def _extents(extents: Sequence[Extent]) -> list[int | str]:
    return [item if isinstance(item, int) else extent_text(item, {}) for item in extents]


def _read(extents: Sequence[int | str]) -> tuple[Extent, ...]:
    read: list[Extent] = []
    for item in extents:
        read += [int(item)] if isinstance(item, int) else read_extents(item, {})
    return tuple(read)
