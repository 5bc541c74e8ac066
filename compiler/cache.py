"""The object cache: content-addressed files, checksummed, written whole or not at all.

Nothing in it is trusted: an entry whose header, key or checksum does not agree is ignored and
made anew. No failure of the cache (full disk, no permission, foreign files) is ever fatal. When
it outgrows its limit, what was not used for longest goes; ``cache_folder`` looks after that.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import tempfile
import time
import warnings
from pathlib import Path

import platformdirs

from .cache_folder import TEMPORARY, prune, shown_limit

_MAGIC = b"opweave-cache-1\n"
_DIGEST = 32
_HEADER = len(_MAGIC) + 2 * _DIGEST + 8
# The size is looked at when a process first writes, then after this share of the limit.
_LOOK_EVERY = 1 / 16
_USE_SECONDS = 60


class CacheWarning(UserWarning):
    """Something is wrong with the cache; results are right all the same."""


class Cache:
    """A folder of entries, each named by the digest of its key.

    ``limit`` is the bytes that it may grow to; None: any number.
    """

    def __init__(self, folder: Path | None, limit: int | None = None) -> None:
        self.folder, self.limit = folder, limit
        self._written = 0  # bytes since somebody looked at the size
        self._has_looked = False
        self._told: set[str] = set()

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
            self._warn("read", f"the cache entry {path} cannot be read: {error}")
            return None
        payload = _unpack(content, name)
        if payload is None:
            self._warn("damaged", f"the cache entry {path} is damaged; it is made anew")
        else:
            _note_use(path)
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
            descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
            with open(descriptor, "wb") as file:
                # Not synchronised with the disk: what a crash cuts short is found by its checksum.
                file.write(_pack(name, payload))
            os.replace(temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            said = f"the cache cannot be written, which costs compile time only: {error}"
            self._warn("written", said)
        else:
            self._look_after(len(payload))

    def _look_after(self, nbytes: int) -> None:
        """Remove what was not used for longest when the folder may have outgrown its limit."""
        self._written += nbytes
        if self.limit is None or self.folder is None:
            return
        if not self._has_looked or self._written > self.limit * _LOOK_EVERY:
            self._has_looked, self._written = True, 0
            with contextlib.suppress(OSError):
                prune(self.folder, self.limit)

    def _warn(self, kind: str, message: str) -> None:
        """Say what is wrong; what is wrong with many entries is said once."""
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(message, CacheWarning, stacklevel=4)

    def _path(self, name: bytes) -> Path:
        assert self.folder is not None
        text = name.hex()
        return self.folder / text[:2] / text[2:]


@functools.cache
def default_cache() -> Cache:
    """The user's cache folder; ``OPWEAVE_CACHE_DIR`` names another one, empty turns it off.

    It may grow to ``OPWEAVE_CACHE_LIMIT`` bytes (such as 500M or 2G; 2 GiB by default).
    """
    return Cache(default_folder(), shown_limit(os.environ.get("OPWEAVE_CACHE_LIMIT")))


def default_folder() -> Path | None:
    """Where the cache is; None when it is turned off."""
    named = os.environ.get("OPWEAVE_CACHE_DIR")
    if named is not None:
        return Path(named) if named else None
    return Path(platformdirs.user_cache_dir("opweave"))


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


def is_intact(path: Path) -> bool:
    """True for an entry whose name and checksum are those of its content; raises OSError."""
    name = bytes.fromhex(path.parent.name + path.name)
    return _unpack(path.read_bytes(), name) is not None


def _note_use(path: Path) -> None:
    """An entry's time of change is when it was used last, to the minute."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _USE_SECONDS:
            os.utime(path)


def _refuse_foreign(status: os.stat_result) -> None:
    """Machine code that somebody else could have written is not loaded."""
    if not stat.S_ISREG(status.st_mode):
        raise PermissionError("it is not a plain file")
    owner = os.geteuid() if hasattr(os, "geteuid") else status.st_uid
    if status.st_uid != owner or status.st_mode & stat.S_IWOTH:
        raise PermissionError("others can write to it")
