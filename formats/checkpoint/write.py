"""Writing MindSpore's checkpoint files, byte for byte as MindSpore 2.10 does."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ...compiler.atomic import write_atomically
from ...ir import Array, ModelError
from ..record_cipher import encrypt
from ..varints import varint
from .entries import TEXT, Entry, StoredArray, StoredMap, StoredText, stored
from .read import trailer

# A tensor of more bytes is cut into records of so many.
SLICE_BYTES = 512 << 20


def write_checkpoint(
    entries: Iterable[Entry],
    path: str | os.PathLike[str],
    *,
    enc_key: bytes | str | None = None,
    enc_mode: str = "AES-GCM",
    crc_check: bool = False,
) -> None:
    """Write the entries, encrypted or with a checksum at the end if asked.

    Tensors without elements are left out: the format cannot say them. The file appears
    complete or not at all. Raises ModelError for a key together with a checksum, which
    MindSpore could not read back.
    """
    pieces = encoded(entries)
    if enc_key is not None:
        if crc_check:
            raise ModelError("an encrypted checkpoint cannot have a checksum: leave out crc_check")
        pieces = iter([encrypt(b"".join(pieces), enc_key, enc_mode)])
    write_atomically(Path(path), _with_trailer(pieces) if crc_check else pieces)


def _with_trailer(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
        yield piece
    yield trailer(crc)


def encoded(entries: Iterable[Entry]) -> Iterator[bytes | memoryview]:
    """The bytes of a file without encryption and checksum, in pieces."""
    for entry in entries:
        if isinstance(entry, StoredText):
            text = (entry.text or "\0").encode("utf-32-le")
            yield from _record(entry.name, (0,), TEXT, [memoryview(text)])
        elif isinstance(entry, StoredMap):
            yield _map_record(entry)
        elif entry.size:
            for content in _slices(entry):
                yield from _record(entry.name, entry.shape, entry.type, content)


def _slices(entry: StoredArray) -> Iterator[list[memoryview]]:
    """The contents of the entry's records: pieces of together SLICE_BYTES at most."""
    group: list[memoryview] = []
    room = SLICE_BYTES
    for piece in entry.pieces:
        while len(piece):
            part, piece = piece[:room], piece[room:]
            group.append(part)
            room -= len(part)
            if not room:
                yield group
                group, room = [], SLICE_BYTES
    if group:
        yield group


def _record(
    name: str, shape: tuple[int, ...], type_: str, content: list[memoryview]
) -> Iterator[bytes | memoryview]:
    head = _tensor_head(shape, type_, sum(map(len, content)))
    size = len(head) + sum(map(len, content))
    value = _field(1, name.encode()) + _key(2) + varint(size)
    yield _key(1) + varint(len(value) + size) + value + head
    yield from content


def _tensor_head(shape: tuple[int, ...], type_: str, size: int) -> bytes:
    """A TensorProto up to its content, which has ``size`` bytes."""
    dims = b"".join(b"\x08" + varint(extent) for extent in shape)
    return dims + _field(2, type_.encode()) + _key(3) + varint(size)


def _map_record(entry: StoredMap) -> bytes:
    tensors = b""
    for array in (entry.keys, entry.values, entry.status):
        content = np.ascontiguousarray(array).tobytes()
        tensor = _tensor_head(array.shape, array.dtype.name, len(content)) + content
        tensors += _field(1, tensor)
    return _field(1, _field(1, entry.name.encode()) + _field(3, tensors))


def _key(number: int) -> bytes:
    return bytes([number << 3 | 2])


def _field(number: int, content: bytes) -> bytes:
    return _key(number) + varint(len(content)) + content


def appended(name: str, value: object) -> Entry:
    """A value of ``append_dict`` as MindSpore stores it; raises ModelError for other types."""
    if isinstance(value, str):
        return StoredText(name, str(value))
    if isinstance(value, (np.ndarray, np.generic)):  # also np.float64, which is a float
        array: Array = np.asarray(value)
        return stored(name, array)
    if isinstance(value, bool):
        return stored(name, np.asarray(value))
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise ModelError(f"{name}: {value} does not fit 64 bits")
        return stored(name, np.asarray(value, np.int64 if value < 1 << 63 else np.uint64))
    if isinstance(value, float):
        return stored(name, np.asarray(value, np.float32))
    raise ModelError(f"{name}: a checkpoint cannot hold a {type(value).__name__}")
