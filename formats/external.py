"""Tensor data outside the model file: found safely inside the model's folder, memory-mapped."""

from __future__ import annotations

import mmap
import os
import stat
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from ..ir import FormatError, ModelError

_KEYS = {"location", "offset", "length", "checksum"}
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FLAGS = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


class ExternalData:
    """The data files of one model; each is opened once and mapped read-only.

    ``decode`` gives the content of a stored file, where that is not what is stored.
    """

    def __init__(
        self,
        folder: Path | None,
        decode: Callable[[memoryview], memoryview] | None = None,
    ) -> None:
        self._folder = folder
        self._decode = decode
        self._maps: dict[str, memoryview] = {}

    def find(self, entries: Iterable[tuple[str, str]], nbytes: int, what: str) -> memoryview:
        """The ``nbytes`` that the key-value ``entries`` of a tensor point to."""
        given: dict[str, str] = {}
        for key, value in entries:
            if key not in _KEYS:
                raise ModelError(f"{what}: unknown external-data key {key[:40]!r}")
            if key in given:
                raise ModelError(f"{what}: external-data key {key!r} is given twice")
            given[key] = value
        if "location" not in given:
            raise ModelError(f"{what}: its data is external, but no location is given")
        offset = _number(given.get("offset", "0"), f"{what}: external-data offset")
        length = _number(given.get("length", str(nbytes)), f"{what}: external-data length")
        if length != nbytes:
            raise FormatError(f"{what}: {nbytes} bytes are needed, {length} are stored")
        data = self._map(given["location"], what)
        if offset > len(data) or length > len(data) - offset:
            raise FormatError(
                f"{what}: {length} bytes at {offset} are asked of the data file "
                f"{given['location']!r}, which has {len(data)}"
            )
        return data[offset : offset + length]

    def _map(self, location: str, what: str) -> memoryview:
        if location not in self._maps:
            if self._folder is None:
                raise ModelError(
                    f"{what}: its data is in the file {location!r}, but the model was not read "
                    f"from a path; load it by its path, or give the folder"
                )
            descriptor = _open(self._folder, _parts(location, what), what)
            try:
                size = _checked_size(descriptor, self._folder, location, what)
                mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b""
                stored = memoryview(mapped)
                self._maps[location] = self._decode(stored) if self._decode else stored
            finally:
                os.close(descriptor)
        return self._maps[location]


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(f"{what} is {text[:40]!r}, not a number of bytes")
    return int(text)


def _parts(location: str, what: str) -> list[str]:
    """The components of a relative path that stays inside its folder."""
    refused = f"{what}: the external-data location {location[:200]!r} is refused:"
    if not location or "\0" in location or "\\" in location or len(location) > 4096:
        raise ModelError(f"{refused} it is empty or has characters that a path must not have")
    if unicodedata.normalize("NFC", location) != location:
        raise ModelError(f"{refused} it is not in Unicode normal form C")
    if location.startswith("/") or (len(location) > 1 and location[1] == ":"):
        raise ModelError(f"{refused} it must be relative to the model's folder")
    parts = [part for part in location.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise ModelError(f"{refused} it leaves the model's folder")
    return parts


def _open(folder: Path, parts: list[str], what: str) -> int:
    """Open a file below ``folder`` without following any symbolic link."""
    shown = "/".join(parts)
    try:
        if os.open not in os.supports_dir_fd:
            path = folder.joinpath(*parts)
            if path.resolve() != folder.resolve().joinpath(*parts):
                raise ModelError(f"{what}: the external data {shown!r} is behind a link; refused")
            return os.open(path, _FLAGS | getattr(os, "O_BINARY", 0))
        current = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for position, part in enumerate(parts):
            last = position == len(parts) - 1
            flags = _FLAGS if last else _FLAGS | os.O_DIRECTORY
            try:
                following = os.open(part, flags, dir_fd=current)
            finally:
                os.close(current)
            current = following
        return current
    except OSError as error:
        raise ModelError(
            f"{what}: the external data {shown!r} cannot be opened ({error.strerror}); it must be "
            f"a plain file beside the model, reached without symbolic links"
        ) from None


def _checked_size(descriptor: int, folder: Path, location: str, what: str) -> int:
    state = os.fstat(descriptor)
    refused = f"{what}: the external data {location!r} is refused:"
    if not stat.S_ISREG(state.st_mode):
        raise ModelError(f"{refused} it is not a plain file")
    if state.st_nlink != 1:
        raise ModelError(f"{refused} it is a hard link to a file with other names")
    if state.st_dev != os.stat(folder).st_dev:
        raise ModelError(f"{refused} it is on another device than the model")
    return state.st_size
