"""The object cache: content-addressed files, checksummed, written whole or not at all.

Nothing in it is trusted: an entry whose header, key or checksum does not agree is ignored and
made anew. No failure of the cache (full disk, no permission, foreign files) is ever fatal.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import tempfile
import warnings
from pathlib import Path

import platformdirs

_MAGIC = b"opweave-cache-1\n"
_DIGEST = 32
_HEADER = len(_MAGIC) + 2 * _DIGEST + 8


class CacheWarning(UserWarning):
    """Something is wrong with the cache; results are right all the same."""


class Cache:
    """A folder of entries, each named by the digest of its key."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, key: bytes) -> bytes | None:
        """The payload stored under ``key``; None if there is none that is intact."""
        if self.folder is None:
            return None
        name = _digest(key)
        path = self._path(name)
        try:
            with open(path, "rb") as file:
                _refuse_foreign(os.fstat(file.fileno()))
                content = file.read()
        except FileNotFoundError:
            return None
        except (OSError, PermissionError) as error:
            _warn(f"the cache entry {path} cannot be read: {error}")
            return None
        payload = _unpack(content, name)
        if payload is None:
            _warn(f"the cache entry {path} is damaged; it is made anew")
        return payload

    def put(self, key: bytes, payload: bytes) -> None:
        """Store ``payload``; readers see the old state or the whole entry."""
        if self.folder is None:
            return
        name = _digest(key)
        path = self._path(name)
        temporary = ""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
            with open(descriptor, "wb") as file:
                file.write(_pack(name, payload))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            _warn(f"the cache cannot be written, which costs compile time only: {error}")

    def _path(self, name: bytes) -> Path:
        assert self.folder is not None
        text = name.hex()
        return self.folder / text[:2] / text[2:]


@functools.cache
def default_cache() -> Cache:
    """The user's cache folder; ``OPWEAVE_CACHE_DIR`` names another one, empty turns it off."""
    named = os.environ.get("OPWEAVE_CACHE_DIR")
    if named is not None:
        return Cache(Path(named) if named else None)
    return Cache(Path(platformdirs.user_cache_dir("opweave")))


def key_of(*parts: str | bytes) -> bytes:
    """One key from several parts, none of which can run into the next."""
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(len(part).to_bytes(8, "little") + part for part in encoded)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


def _pack(name: bytes, payload: bytes) -> bytes:
    return b"".join([_MAGIC, name, _digest(payload), len(payload).to_bytes(8, "little"), payload])


def _unpack(content: bytes, name: bytes) -> bytes | None:
    start = len(_MAGIC)
    payload = content[_HEADER:]
    intact = (
        content[:start] == _MAGIC
        and content[start : start + _DIGEST] == name
        and content[start + 2 * _DIGEST : _HEADER] == len(payload).to_bytes(8, "little")
        and content[start + _DIGEST : start + 2 * _DIGEST] == _digest(payload)
    )
    return payload if intact else None


def _refuse_foreign(status: os.stat_result) -> None:
    """Machine code that somebody else could have written is not loaded."""
    if not stat.S_ISREG(status.st_mode):
        raise PermissionError("it is not a plain file")
    owner = os.geteuid() if hasattr(os, "geteuid") else status.st_uid
    if status.st_uid != owner or status.st_mode & stat.S_IWOTH:
        raise PermissionError("others can write to it")


def _warn(message: str) -> None:
    warnings.warn(message, CacheWarning, stacklevel=3)
