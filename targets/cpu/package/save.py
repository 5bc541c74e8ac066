"""Writing packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....compiler.atomic import write_atomically
from ....compiler.interface import Interface
from ....compiler.memory import ALIGNMENT
from ....ir import Array
from ..executable import CompiledProgram
from .container import package_pieces
from .metadata import variant_json


@dataclass(frozen=True, slots=True)
class NamedProgram:
    """A compiled program, what it takes and gives, and the kind of processor it is for."""

    kind: str
    interface: Interface
    program: CompiledProgram


def save_package(path: Path, name: str, producer: str, programs: Sequence[NamedProgram]) -> None:
    """Write the programs of one model, for several kinds of processors, as one file.

    ``name`` is the model's, ``producer`` what compiled it. The file appears whole or not at all.
    Raises OSError.
    """
    head = {"name": name, "producer": producer}
    variants = []
    for item in programs:
        compiled = item.program
        places = parameter_places(compiled.params)
        content = variant_json(item.kind, compiled.cpu, item.interface, compiled.info, places)
        variants.append((content, [compiled.code], list(weight_pieces(compiled.params))))
    write_atomically(path, package_pieces(head, variants))


def parameter_places(params: Sequence[Array]) -> list[tuple[int, int]]:
    """Where each parameter starts among the weights, and its bytes."""
    places, end = [], 0
    for array in params:
        places.append((end, array.nbytes))
        end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    return places


def weight_pieces(params: Sequence[Array]) -> Iterator[bytes | memoryview]:
    """The bytes of the parameters, each from a multiple of the alignment on."""
    for array in params:
        if array.nbytes:
            yield array.reshape(-1).view(np.uint8).data
        yield bytes(-array.nbytes % ALIGNMENT)
