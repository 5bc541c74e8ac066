"""safetensors files: a length, a JSON header, and the arrays' bytes one behind the other.

Written as MindSpore 2.10 does, which says ``format: ms`` and leaves the order of the arrays to the
safetensors library. The layout is https://github.com/huggingface/safetensors, version 0.4 and
newer: a header of at most 100 MB, no overlaps, no gaps.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...compiler.atomic import write_atomically
from ...ir import FormatError, LimitError, ModelError
from ..limits import DEFAULT_LIMITS, Limits
from .entries import (
    INT4,
    Checkpoint,
    Entry,
    StoredArray,
    StoredMap,
    StoredText,
    check_sizes,
)
from .read import Source, mapped

_MOST_HEADER = 100_000_000
_ALIGNMENT = 8
# MindSpore cannot sum up larger or negative whole numbers, or takes long.
_MOST_ZEROS = 1 << 26
_TYPES = {
    "F64": "Float64", "F32": "Float32", "F16": "Float16", "BF16": "BFloat16",
    "I64": "Int64", "I32": "Int32", "I16": "Int16", "I8": "Int8",
    "U64": "UInt64", "U32": "UInt32", "U16": "UInt16", "U8": "UInt8",
    "BOOL": "Bool", "C64": "Complex64",
}  # fmt: skip
_NAMES = {type_: name for name, type_ in _TYPES.items()}
# The order in which the library writes arrays, by type, then name: what is wide comes first.
_ORDER = (
    "U64", "I64", "F64", "C64", "F32", "U32", "I32",
    "BF16", "F16", "U16", "I16", "I8", "U8", "BOOL",
)  # fmt: skip


def read_safetensors(
    source: Source, *, crc_check: bool = False, limits: Limits = DEFAULT_LIMITS
) -> Checkpoint:
    """The arrays of a safetensors file, looked at where they are.

    Raises FormatError for what is no such file or a broken one, LimitError beyond ``limits``.
    """
    data = mapped(source, limits)
    if len(data) < 8:
        raise FormatError("not a safetensors file: it has no header")
    length = int.from_bytes(data[:8], "little")
    if length > _MOST_HEADER:
        raise LimitError(f"not a safetensors file, or its header of {length} bytes is too long")
    if 8 + length > len(data):
        raise FormatError("the safetensors file is cut off in its header")
    try:
        raw = bytes(data[8 : 8 + length])
        _check_parts(raw, limits)
        header = json.loads(raw.decode(), object_pairs_hook=_each_once)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise FormatError("not a safetensors file: its header is not JSON") from None
    if not isinstance(header, dict):
        raise FormatError("not a safetensors file: its header is no table")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError("the safetensors file is broken: its metadata are not texts")
    if len(header) > limits.records:
        raise LimitError(f"the file has more than {limits.records} arrays; raise limits")
    content = data[8 + length :]
    entries = sorted(
        (_entry(name, said, content, metadata) for name, said in header.items()),
        key=lambda found: found[0],
    )
    position = 0
    for start, entry in entries:
        if start != position:
            raise FormatError(f"the safetensors file is broken: a gap or overlap at {entry.name}")
        position += entry.nbytes
    if position != len(content):
        raise FormatError("the safetensors file is broken: bytes that belong to no array")
    named = {entry.name: entry for _, entry in entries}
    result = Checkpoint([named[name] for name in header], metadata)
    if crc_check and "crc_num" in metadata and metadata["crc_num"] != str(_checksum(named)):
        raise FormatError("the file's checksum does not fit: it was changed or damaged")
    return result


def _check_parts(header: bytes, limits: Limits) -> None:
    """Raise LimitError where the JSON would take much more memory than it has bytes."""
    if (
        header.count(b"{") > limits.records + 2
        or header.count(b"[") > 2 * limits.records
        or header.count(b",") > limits.elements
    ):
        raise LimitError("the header of the safetensors file has too many parts; raise limits")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _entry(
    name: str, said: Any, content: memoryview, metadata: dict[str, str]
) -> tuple[int, StoredArray]:
    broken = FormatError(f"the safetensors file is broken: what it says about {name!r}")
    if not isinstance(said, dict):
        raise broken
    shape: Any = said.get("shape")
    ends: Any = said.get("data_offsets")
    type_: Any = said.get("dtype")
    if not isinstance(type_, str) or type_ not in _TYPES:
        raise FormatError(
            f"{name} has elements of type {str(type_)[:40]!r}; known: {', '.join(_TYPES)}"
        )
    for numbers in (shape, ends):
        if not isinstance(numbers, list) or len(numbers) > 64:
            raise broken
        if not all(type(number) is int and 0 <= number < 1 << 48 for number in numbers):
            raise broken
    if len(ends) != 2 or not ends[0] <= ends[1] <= len(content):
        raise broken
    stored_type = INT4 if metadata.get(name) == INT4 and type_ == "I8" else _TYPES[type_]
    piece = content[ends[0] : ends[1]]
    return ends[0], check_sizes(StoredArray(name, stored_type, tuple(shape), (piece,)))


def _checksum(entries: dict[str, StoredArray]) -> int:
    """MindSpore's: names and contents in the order of the names."""
    crc = 0
    for name in sorted(entries):
        crc = zlib.crc32(name.encode(), crc)
        for piece in _summed(entries[name]):
            crc = zlib.crc32(piece, crc)
    return crc


def _summed(entry: StoredArray) -> Iterable[bytes | memoryview]:
    """What MindSpore sums up of an array: Python's ``bytes`` of it.

    These are its bytes, but as many zeros as it says for a single whole number.
    """
    if entry.shape == () and entry.dtype.kind in "iu":
        number = int(entry.array())
        if 0 <= number <= _MOST_ZEROS:
            return [bytes(number)]
    return entry.pieces


def write_safetensors(
    entries: Iterable[Entry],
    path: str | os.PathLike[str],
    *,
    crc_check: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays as a safetensors file, complete or not at all; ``metadata`` are free texts.

    Raises ModelError for entries the format cannot hold: texts, hash tables.
    """
    arrays: dict[str, StoredArray] = {}
    for entry in entries:
        if isinstance(entry, (StoredText, StoredMap)):
            raise ModelError(f"{entry.name} is not an array; safetensors files hold only arrays")
        if entry.type != INT4 and entry.type not in _NAMES:
            raise ModelError(f"{entry.name} is {entry.type}, which safetensors files cannot hold")
        arrays[entry.name] = entry
    metadata = {"format": "ms", **(metadata or {})}
    metadata.update({name: INT4 for name, entry in arrays.items() if entry.type == INT4})
    if crc_check:
        metadata["crc_num"] = str(_checksum(arrays))
    header: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    order = sorted(arrays.values(), key=lambda entry: (_ORDER.index(_type(entry)), entry.name))
    for entry in order:
        ends = [position, position + entry.nbytes]
        shape = list(entry.shape)
        header[entry.name] = {"dtype": _type(entry), "shape": shape, "data_offsets": ends}
        position = ends[1]
    write_atomically(Path(path), _pieces(header, order))


def _type(entry: StoredArray) -> str:
    return "I8" if entry.type == INT4 else _NAMES[entry.type]


def _pieces(header: dict[str, Any], order: list[StoredArray]) -> Iterator[bytes | memoryview]:
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    yield len(text).to_bytes(8, "little") + text
    for entry in order:
        yield from entry.pieces
