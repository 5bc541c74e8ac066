"""MindSpore's checkpoint files (1.0 to 2.10): a stream of protobuf records, one a tensor slice.

The records are walked, not parsed as one message: names, types and shapes are looked at, the
contents stay where they are. Large tensors come in several consecutive records of one name.
"""

from __future__ import annotations

import mmap
import os
import warnings
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np

from ...compiler.opened import open_plain
from ...ir import Array, FormatError, LimitError
from ..adapter import read_source
from ..limits import DEFAULT_LIMITS, Limits
from ..record_cipher import decrypt, is_encrypted
from ..varints import read_varint
from .entries import ELEMENT_TYPES, TEXT, Checkpoint, Entry, StoredArray, StoredMap, StoredText
from .entries import check_sizes as checked

_TRAILER_MARK = b"crc_num"
TRAILER_BYTES = len(_TRAILER_MARK) + 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LARGEST_EXTENT = 1 << 40
_MOST_DIMENSIONS = 64
# Spellings of 1.0 to 1.5.
_OLD_TYPES = {f"Uint{bits}": f"UInt{bits}" for bits in (8, 16, 32, 64)}
_MAP_TYPES = ("int32", "int64", "float16", "float32", "float64")

Source = str | os.PathLike[str] | bytes | IO[bytes]


def read_checkpoint(
    source: Source,
    *,
    dec_key: bytes | str | None = None,
    dec_mode: str = "AES-GCM",
    crc_check: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Checkpoint:
    """The entries of a checkpoint: a path (mapped, not read), bytes or an open file.

    ``dec_key`` and ``dec_mode`` are those of encrypted files. With ``crc_check`` the checksum
    at the end, if there is one, is verified. Raises FormatError for what is no checkpoint,
    a broken one, and a key that is missing or wrong, LimitError beyond ``limits``.
    """
    data = mapped(source, limits)
    data = _without_trailer(data, crc_check)
    if is_encrypted(data[:4]):
        data = memoryview(decrypt(data, dec_key, dec_mode))
    elif dec_key is not None:
        raise FormatError("a key is given, but the checkpoint is not encrypted: leave dec_key out")
    return Checkpoint(list(_entries(data, limits)))


def mapped(source: Source, limits: Limits) -> memoryview:
    """The bytes of a path (mapped into memory), an open file or bytes, within ``limits``."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = memoryview(source)
    elif isinstance(source, (str, os.PathLike)):
        with open_plain(source) as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                return memoryview(b"")
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    else:
        data = memoryview(read_source(source, limits)[0])
    if len(data) > limits.checkpoint_bytes:
        raise LimitError(f"the file has more than {limits.checkpoint_bytes} bytes; raise limits")
    return data


def _without_trailer(data: memoryview, verify: bool) -> memoryview:
    """The data before the checksum at its end, if it has one."""
    mark = bytes(data[-TRAILER_BYTES : -TRAILER_BYTES + len(_TRAILER_MARK)])
    if len(data) < TRAILER_BYTES or mark != _TRAILER_MARK:
        if verify:
            warnings.warn("the checkpoint has no checksum that could be checked", stacklevel=3)
        return data
    content = data[:-TRAILER_BYTES]
    if verify and zlib.crc32(content) != int.from_bytes(data[-10:], "big"):
        raise FormatError("the checkpoint's checksum does not fit: the file was changed or damaged")
    return content


def trailer(crc: int) -> bytes:
    """What a file with a checksum ends with."""
    return _TRAILER_MARK + crc.to_bytes(10, "big")


# --- the wire format -----------------------------------------------------------------------


def _fields(
    data: memoryview, start: int, end: int
) -> Iterator[tuple[int, int, int | tuple[int, int]]]:
    """Number, wire type, and a number or the ends of a field, for each field of a message."""
    position = start
    while position < end:
        tag, position = read_varint(data, position, end)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = read_varint(data, position, end)
            yield number, kind, value
        elif kind == _BYTES:
            length, position = read_varint(data, position, end)
            if position + length > end:
                raise FormatError(
                    f"the checkpoint is cut off or broken: a field at byte {position} says it has "
                    f"{length} bytes, {end - position} are there"
                )
            yield number, kind, (position, position + length)
            position += length
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
            if position > end:
                raise FormatError("the checkpoint is cut off: a number at its end is incomplete")
            yield number, kind, 0
        else:
            raise FormatError(f"not a checkpoint: wire type {kind} at byte {position}")
        if number == 0:
            raise FormatError(f"not a checkpoint: field 0 at byte {position}")


def _text(data: memoryview, ends: int | tuple[int, int], limits: Limits) -> str:
    if isinstance(ends, int):
        raise FormatError("not a checkpoint: a number stands where a text should be")
    if ends[1] - ends[0] > limits.name_bytes:
        raise LimitError(f"a name in the checkpoint has {ends[1] - ends[0]} bytes")
    try:
        return str(data[ends[0] : ends[1]], "utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"a name at byte {ends[0]} of the checkpoint is not UTF-8") from None


class _Slice:
    """One TensorProto: dims, type and the content's place."""

    def __init__(self, data: memoryview, start: int, end: int, limits: Limits) -> None:
        self.dims: list[int] = []
        self.type = ""
        self.content = memoryview(b"")
        for number, kind, value in _fields(data, start, end):
            if number == 1 and kind == _VARINT:
                assert isinstance(value, int), "a varint is a number"
                self._dim(value)
            elif number == 1 and isinstance(value, tuple):  # packed
                position = value[0]
                while position < value[1]:
                    extent, position = read_varint(data, position, value[1])
                    self._dim(extent)
            elif number == 2:
                self.type = _text(data, value, limits)
            elif number == 3 and isinstance(value, tuple):
                self.content = data[value[0] : value[1]]

    def _dim(self, value: int) -> None:
        if value >= _LARGEST_EXTENT or len(self.dims) >= _MOST_DIMENSIONS:
            raise FormatError("the checkpoint is broken: a tensor has an impossible shape")
        self.dims.append(value)


def _entries(data: memoryview, limits: Limits) -> Iterator[Entry]:
    """The entries; consecutive records of one name are one."""
    name: str | None = None
    tensors: list[_Slice] = []
    maps: list[list[_Slice]] = []
    records = 0
    for number, _, ends in _fields(data, 0, len(data)):
        if number != 1 or isinstance(ends, int):
            raise FormatError(f"not a checkpoint: field {number} at its top")
        records += 1
        if records > limits.records:
            raise LimitError(f"the checkpoint has more than {limits.records} records; raise limits")
        tag, tensor, table = _record(data, ends, limits)
        if tag != name and name is not None:
            yield _joined(name, tensors, maps)
            tensors, maps = [], []
        name = tag
        if table is not None:
            maps.append(table)
        if tensor is not None:
            tensors.append(tensor)
    if name is not None:
        yield _joined(name, tensors, maps)


def _record(
    data: memoryview, ends: tuple[int, int], limits: Limits
) -> tuple[str, _Slice | None, list[_Slice] | None]:
    tag: str | None = None
    tensor: _Slice | None = None
    table: list[_Slice] | None = None
    for number, _, value in _fields(data, *ends):
        if number == 1:
            tag = _text(data, value, limits)
        elif number == 2 and isinstance(value, tuple):
            tensor = _Slice(data, *value, limits)
        elif number == 3 and isinstance(value, tuple):
            parts = [part for k, _, part in _fields(data, *value) if k == 1]
            if len(parts) > 3:
                raise FormatError("the checkpoint is broken: a hash table has three parts")
            table = [_Slice(data, *part, limits) for part in parts if isinstance(part, tuple)]
    if tag is None or (tensor is None and table is None):
        raise FormatError(f"not a checkpoint: a record at byte {ends[0]} lacks a name or a tensor")
    return tag, tensor, table


def _joined(name: str, slices: list[_Slice], maps: list[list[_Slice]]) -> Entry:
    if maps:
        if slices:
            raise FormatError(f"{name} is both a tensor and a hash table")
        return _map(name, maps)
    last = slices[-1]
    pieces = tuple(piece.content for piece in slices)
    if last.type == TEXT:
        return StoredText(name, _stored_text(name, pieces))
    type_ = _OLD_TYPES.get(last.type, last.type)
    if type_ not in ELEMENT_TYPES:
        known = ", ".join((*ELEMENT_TYPES, TEXT))
        raise FormatError(f"{name} has elements of the unknown type {last.type!r}; known: {known}")
    shape = tuple(last.dims)
    if shape == (0,) and any(map(len, pieces)):
        shape = ()  # how scalars were written up to 2.2
    return checked(StoredArray(name, type_, shape, pieces))


def _stored_text(name: str, pieces: tuple[memoryview, ...]) -> str:
    try:
        return b"".join(pieces).decode("utf-32-le").rstrip("\0")
    except UnicodeDecodeError:
        raise FormatError(f"the text {name} is not UTF-32") from None


def _map(name: str, slices: list[list[_Slice]]) -> StoredMap:
    """Tables are cut along their first axis."""
    parts: list[Array] = []
    for position in range(3):
        arrays = []
        for table in slices:
            if len(table) != 3 or table[position].type not in _MAP_TYPES:
                raise FormatError(f"{name}: a hash table is keys, values and status")
            piece = table[position]
            rows_said = piece.dims[0] if piece.dims else 0
            dtype = np.dtype(piece.type)
            rows = np.frombuffer(piece.content, np.uint8)
            try:
                arrays.append(rows.view(dtype).reshape(-1, *piece.dims[1:]))
            except ValueError:
                raise FormatError(f"{name}: a part of the hash table has a wrong size") from None
            if len(arrays[-1]) != rows_said:
                raise FormatError(f"{name}: a part of the hash table has a wrong size")
        parts.append(np.concatenate(arrays))
    if len({len(part) for part in parts}) != 1:
        raise FormatError(f"{name}: keys, values and status of the hash table differ in number")
    return StoredMap(name, *parts)
