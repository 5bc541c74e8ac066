"""Tensors' bytes that stay in the file's own memory while the rest of the file is parsed.

A parser copies every field, and hands out another copy of it each time it is asked for. A model
is nearly nothing but tensors: what is parsed is the file without them, with a mark in the place
of each, and each is a view into the file's bytes.
"""

from __future__ import annotations

import secrets
from typing import Final

from .varints import varint

# Fields with fewer bytes are parsed as they are.
LEAST: Final = 4096
# No file can hold a mark of its own making.
_SECRET: Final = secrets.token_bytes(16)
_INDEX_BYTES: Final = 8


class Payloads:
    """The tensors' bytes that were taken out of one file."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = memoryview(data)
        self._places: list[tuple[int, int]] = []
        self._changes: list[tuple[int, int, bytes]] = []

    def take(self, length_place: int, start: int, stop: int) -> int:
        """Take out a field whose length stands at ``length_place``, before its bytes.

        Returns by how many bytes the file becomes shorter.
        """
        mark = _SECRET + len(self._places).to_bytes(_INDEX_BYTES, "little")
        self._places.append((start, stop))
        return self._change(length_place, stop, varint(len(mark)) + mark)

    def shorten(self, length_place: int, start: int, length: int) -> int:
        """Write the new length of a message around what was taken out; returns as `take`."""
        return self._change(length_place, start, varint(length))

    def _change(self, start: int, stop: int, text: bytes) -> int:
        self._changes.append((start, stop, text))
        return stop - start - len(text)

    def rest(self) -> bytes:
        """The file with marks in the places of what was taken out."""
        pieces: list[bytes | memoryview] = []
        position = 0
        for start, stop, text in sorted(self._changes):
            pieces += [self._data[position:start], text]
            position = stop
        return b"".join([*pieces, self._data[position:]])

    def bytes_of(self, field: bytes) -> bytes | memoryview:
        """What a field of the parsed file holds: itself, or what its mark stands for."""
        if len(field) != len(_SECRET) + _INDEX_BYTES or not field.startswith(_SECRET):
            return field
        start, stop = self._places[int.from_bytes(field[len(_SECRET) :], "little")]
        return self._data[start:stop]
