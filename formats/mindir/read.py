"""MindIR model -> Graph."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from ...ir import (
    Extent,
    FormatError,
    Graph,
    ModelError,
    TensorType,
    UnsupportedError,
    Value,
    symbol,
)
from .. import record_cipher
from ..adapter import LoadedModel, Metadata, check_sizes, of_a_file, read_source
from ..external import ExternalData
from ..limits import DEFAULT_LIMITS, Limits
from ..payloads import Payloads
from ..wire_scan import scan
from . import control, registry
from .element_types import element_type
from .items import Constant, Item, Missing, Monad, Reference, Tensor, leaves
from .machine import Machine, label
from .model import ModelText
from .region import Region
from .schema import OUTPUT_NAMES, message
from .tensors import TensorReader

NEWEST_VERSION = 3
_MONADS = ("UMonadType", "IOMonadType")


def read(
    source: bytes | str | os.PathLike[str] | IO[bytes],
    *,
    folder: str | os.PathLike[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    dec_key: bytes | str | None = None,
    dec_mode: str = "AES-GCM",
) -> Graph:
    """The graph of a MindIR model: a path, the file's bytes or an open file.

    ``folder`` is where data files lie, by default the folder of the path. ``dec_key`` and
    ``dec_mode`` ("AES-GCM", "AES-CBC", "SM4-CBC") open an encrypted file. Tuples of inputs and
    outputs are flattened, as MindSpore does. Parameters that the model writes start each run
    with what the file holds; what a run writes does not outlive it.

    Raises FormatError for a broken file or an inconsistent model, UnsupportedError with all
    ``items`` that opweave does not have, LimitError for what is beyond ``limits``.
    """
    return read_model(
        source, folder=folder, limits=limits, dec_key=dec_key, dec_mode=dec_mode
    ).graph


def read_model(
    source: bytes | str | os.PathLike[str] | IO[bytes],
    *,
    folder: str | os.PathLike[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    dec_key: bytes | str | None = None,
    dec_mode: str = "AES-GCM",
) -> LoadedModel:
    """As :func:`read`, with what the file says about itself."""
    data, place = read_source(source, limits)
    decode: Callable[[memoryview], memoryview] | None = None
    if record_cipher.is_encrypted(data):
        data = record_cipher.decrypt(data, dec_key, dec_mode)

        def decode(stored: memoryview) -> memoryview:
            return memoryview(record_cipher.decrypt(stored, dec_key, dec_mode))

    proto, payloads = _parsed(data, limits)
    where = Path(folder) if folder is not None else place
    external = ExternalData(where, decode)
    with of_a_file():
        graph = _built(proto, TensorReader(limits, external, payloads), limits)
    metadata = Metadata(
        producer=" ".join(filter(None, (proto.producer_name, proto.model_version))),
        versions={"MindIR": proto.mind_ir_version},
        properties={e.key: e.value for e in proto.user_info if e.key != OUTPUT_NAMES},
    )
    return LoadedModel(graph, "MINDIR", metadata)


def _parsed(data: bytes, limits: Limits) -> tuple[Any, Payloads]:
    """The ModelProto and what was taken out of it."""
    from google.protobuf.message import DecodeError

    kind = message("ModelProto")
    payloads = scan(data, kind.DESCRIPTOR, limits)
    try:
        proto = kind.FromString(payloads.rest())
    except DecodeError as error:
        raise FormatError(f"not a MindIR file, or it is cut off: {error}") from None
    if not proto.HasField("graph"):
        raise FormatError("the MindIR file has no graph")
    if proto.mind_ir_version > NEWEST_VERSION:
        raise UnsupportedError(
            f"the file has MindIR version {proto.mind_ir_version}; "
            f"opweave reads up to {NEWEST_VERSION}"
        )
    if proto.HasField("little_endian") and not proto.little_endian:
        raise UnsupportedError("the file is big-endian")
    return proto, payloads


def _built(proto: Any, tensors: TensorReader, limits: Limits) -> Graph:
    model = ModelText(proto)
    unknown = _unknown_primitives(model)
    machine = Machine(model, tensors, limits)
    machine.items += unknown
    region = Region(_plain(proto.graph.name) or "graph")
    symbols = _Symbols()
    prefix = f"{proto.graph.name}:"
    arguments = tuple(
        _argument(machine, region, value, prefix, symbols) for value in proto.graph.input
    )
    if machine.items:
        _refuse(machine.items)
    result = machine.enter(model.main.name, arguments, region)
    if machine.items:
        _refuse(machine.items)
    _hand_out(machine, region, result, _output_names(proto))
    region.graph.prune()
    check_sizes(region.graph)
    return region.graph


def _unknown_primitives(model: ModelText) -> list[str]:
    """The nodes, of all graphs, whose primitive no reader knows."""
    found = []
    for text in model.graphs.values():
        for node in text.nodes:
            kind, name = model.resolve(node)
            if kind == "primitive" and registry.find(name) is None:
                found.append(f"{name} {label(node)!r}: there is no reader for the primitive")
    return found


def _refuse(items: list[str]) -> None:
    if len(items) == 1:
        raise UnsupportedError(f"the model needs what opweave does not have: {items[0]}", items)
    lines = "".join(f"\n  - {item}" for item in items[:50])
    more = f"\n  and {len(items) - 50} more" if len(items) > 50 else ""
    raise UnsupportedError(
        f"the model needs {len(items)} things that opweave does not have:{lines}{more}", items
    )


# --- inputs ----------------------------------------------------------------------------------


class _Symbols:
    """Symbols for the unknown extents of the inputs, named after input and axis."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def fresh(self, name: str, axis: int) -> Extent:
        stem = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "input"
        stem = f"{stem}_{axis}" if not stem[0].isdigit() else f"dim_{stem}_{axis}"
        text, number = stem, 1
        while text in self._used:
            number += 1
            text = f"{stem}_{number}"
        self._used.add(text)
        return symbol(text)


def _argument(machine: Machine, region: Region, value: Any, prefix: str, symbols: _Symbols) -> Item:
    """An input of the main graph: tensors, nested tuples of tensors, or the first monad."""
    name = str(value.name)
    name = name.removeprefix(prefix) if name.startswith(prefix) else _plain(name)
    if value.denotation in _MONADS:
        return Monad(None)
    what = f"input {name!r}"
    try:
        if len(value.tensor) == 1 and value.denotation not in ("Tuple", "List"):
            return _input(region, value.tensor[0], name, what, symbols)
        if value.HasField("attr_info"):
            return _nested(region, value.attr_info, name, what, symbols)
        if len(value.tensor):
            return tuple(
                _input(region, tensor, f"{name}.{k}", what, symbols)
                for k, tensor in enumerate(value.tensor)
            )
    except UnsupportedError as error:
        machine.refuse(error, what)
        return Missing()
    raise ModelError(f"{what} has no type")


def _nested(region: Region, info: Any, name: str, what: str, symbols: _Symbols) -> Item:
    if len(info.values):
        return tuple(
            _nested(region, inner, f"{name}.{k}", what, symbols)
            for k, inner in enumerate(info.values)
        )
    tensors = [info.t] if info.HasField("t") else list(info.tensors)
    if len(tensors) == 1:
        return _input(region, tensors[0], name, what, symbols)
    return tuple(
        _input(region, tensor, f"{name}.{k}", what, symbols) for k, tensor in enumerate(tensors)
    )


def _input(region: Region, tensor: Any, name: str, what: str, symbols: _Symbols) -> Item:
    dims = list(tensor.dims)
    if dims == [-2]:
        raise UnsupportedError(f"{what}: its number of dimensions must be declared")
    if any(extent < -1 for extent in dims) or len(dims) > 64:
        raise ModelError(f"{what}: its shape {dims[:16]} is not valid")
    shape = [symbols.fresh(name, k) if extent == -1 else extent for k, extent in enumerate(dims)]
    type_ = TensorType(element_type(tensor.data_type, what), tuple(shape))
    if name in region.graph:
        raise ModelError(f"the graph has two inputs {name!r}")
    return Tensor(region, region.graph.input(name, type_))


def _plain(name: str) -> str:
    """A name without the graph's name in front."""
    return str(name).rpartition(":")[2] or str(name)


# --- outputs ---------------------------------------------------------------------------------


def _output_names(proto: Any) -> list[str]:
    """What the file says its outputs are called; MindSpore has no names for them."""
    for entry in proto.user_info:
        if entry.key == OUTPUT_NAMES:
            try:
                names = json.loads(entry.value)
            except (ValueError, RecursionError):
                return []
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                return names
    return []


def _hand_out(machine: Machine, region: Region, result: Item, names: Sequence[str]) -> None:
    graph = region.graph
    found: list[tuple[Item, Value]] = []
    for item in leaves(result, machine.count_parts):
        if isinstance(item, (Monad, type(None))):
            continue
        if isinstance(item, str):
            raise UnsupportedError("the model gives a string")
        if not isinstance(item, (Tensor, Constant, Reference, bool, int, float)):
            control.as_value(machine, item, region)
        found.append((item, control.as_value(machine, item, region)))
    known = list(names) if len(set(names)) == len(names) == len(found) else []
    used: set[str] = set()
    numbers: dict[str, int] = {}
    for position, (item, value) in enumerate(found):
        stem = item.name if isinstance(item, Reference) else value.node
        name, number = known[position] if known else stem, numbers.get(stem, 1)
        while name in used:
            number += 1
            name = f"{stem}_{number}"
        numbers[stem] = number
        used.add(name)
        graph.output(value, name)


def sniff(data: bytes) -> bool:
    """True when the first bytes look like MindIR: encrypted, or a ModelProto with a text first."""
    if record_cipher.is_encrypted(data):
        return True
    # Fields 1 or 2 (ir_version, producer_name), both strings of a few printable characters.
    if len(data) < 4 or data[0] not in (0x0A, 0x12):
        return False
    length = data[1]
    text = data[2 : 2 + length]
    return 0 < length < 64 and len(text) == length and all(32 <= byte < 127 for byte in text)
