"""The file: a header, metadata as JSON, then machine code and weights, each at a page's start.

header (128 bytes, little-endian): 16 bytes of magic; uint32 version of this layout; uint32
version of the calling convention; uint64 offset, uint64 bytes of the metadata; its BLAKE2b
digest (32 bytes); zeros. All numbers are checked before they are used; digests of metadata and
code always, those of weights, which are large and not run, when asked for.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ....compiler.opened import open_plain
from ....ir.errors import FormatError
from ..calling import CALLING_VERSION
from .metadata import Json, Place

MAGIC: Final = b"opweave package\n"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<16sIIQQ32s")
_HEADER_BYTES: Final = 128
_PAGE: Final = 4096
_DIGEST: Final = 32
# Metadata is a few bytes an operator; more is not ours.
_LARGEST_METADATA: Final = 1 << 28

Blob = Sequence[bytes | memoryview]


def digest_of(pieces: Blob) -> str:
    """The digest of bytes that lie one after the other."""
    state = hashlib.blake2b(digest_size=_DIGEST)
    for piece in pieces:
        state.update(piece)
    return state.hexdigest()


def package_pieces(
    head: Json, variants: Sequence[tuple[Json, Blob, Blob]]
) -> Iterator[bytes | memoryview]:
    """The bytes of a package of variants, each with its code and weights; equal ones once."""
    places: dict[tuple[int, str], Place] = {}
    blobs: list[tuple[Place, Blob]] = []
    described = []
    # Metadata comes last, so that offsets in it cannot change its own length.
    end = _HEADER_BYTES
    for content, *both in variants:
        content = dict(content)
        for key, blob in zip(("code", "weights"), both, strict=True):
            size, digest = sum(map(len, blob)), digest_of(blob)
            if (size, digest) not in places:
                place = Place(-(-end // _PAGE) * _PAGE, size, digest)
                places[size, digest] = place
                blobs.append((place, blob))
                end = place.offset + size
            place = places[size, digest]
            content[key] = [place.offset, place.nbytes, place.digest]
        described.append(content)
    metadata = json.dumps({**head, "variants": described}, separators=(",", ":")).encode()
    checksum = hashlib.blake2b(metadata, digest_size=_DIGEST).digest()
    header = _HEADER.pack(MAGIC, _VERSION, CALLING_VERSION, end, len(metadata), checksum)
    yield header.ljust(_HEADER_BYTES, b"\0")
    written = _HEADER_BYTES
    for place, blob in blobs:
        yield bytes(place.offset - written)
        yield from blob
        written = place.offset + place.nbytes
    yield metadata


class PackageFile:
    """A package that is mapped into memory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Map the file and read its metadata.

        Raises FileNotFoundError, FormatError for a file that is no package, is cut off or
        damaged, or was written by a version of opweave that this one does not fit.
        """
        self.path = Path(path)
        with open_plain(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            if size < _HEADER_BYTES:
                raise FormatError(f"{self.path} is no opweave package: it is too short")
            self.memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, version, calling, offset, nbytes, digest = _HEADER.unpack_from(self.memory)
        if magic != MAGIC:
            raise FormatError(f"{self.path} is no opweave package")
        if version != _VERSION or calling != CALLING_VERSION:
            raise FormatError(
                f"{self.path} was compiled by another version of opweave (layout {version}, "
                f"calls {calling}; this one has {_VERSION}, {CALLING_VERSION}): compile it again"
            )
        if nbytes > _LARGEST_METADATA or offset + nbytes != size:
            raise FormatError(f"{self.path} is damaged: its length is not what it says")
        metadata = self.memory[offset : offset + nbytes]
        if hashlib.blake2b(metadata, digest_size=_DIGEST).digest() != digest:
            raise FormatError(f"{self.path} is damaged: its metadata does not have its checksum")
        try:
            self.metadata: dict[str, Any] = json.loads(metadata)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{self.path} is damaged: {error}") from None

    def blob(self, place: Place, *, verify: bool) -> memoryview:
        """The bytes at a place; raises FormatError where there are none or others."""
        if place.offset % _PAGE or place.offset + place.nbytes > len(self.memory):
            raise FormatError(f"{self.path} is damaged: a part of it lies outside")
        view = memoryview(self.memory)[place.offset : place.offset + place.nbytes]
        if verify and digest_of([view]) != place.digest:
            raise FormatError(f"{self.path} is damaged: a part does not have its checksum")
        return view


def is_package(path: str | os.PathLike[str]) -> bool:
    """True for a file that starts as a package does."""
    try:
        with open_plain(path) as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, FormatError):
        return False
