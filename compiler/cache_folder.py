"""The cache as a folder: its entries, their sizes, removing them.

Only files that are named as entries are touched, whatever else lies in the folder. Other
processes may add and remove entries at the same time.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..ir.errors import ModelError

TEMPORARY: Final = ".new-"
DEFAULT_LIMIT: Final = 2 << 30
# When it has outgrown its limit it is brought down to this share, so that it is not done often.
_KEPT_SHARE: Final = 0.8
# A file that is being written is not older; one that is was left by a process that was killed.
_STALE_SECONDS: Final = 3600
_FOLDER: Final = re.compile(r"[0-9a-f]{2}")
_ENTRY: Final = re.compile(r"[0-9a-f]{62}")
_LIMIT: Final = re.compile(r"(\d+)([kmgt]?)(?:i?b)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the cache; ``used`` is when, in seconds since 1970."""

    path: Path
    nbytes: int
    used: float


@dataclass(frozen=True, slots=True)
class Removed:
    """How many files were removed, and their bytes."""

    files: int
    nbytes: int


def shown_limit(text: str | None) -> int:
    """``500M`` or ``2G`` as bytes; the default for nothing. Raises ModelError for other texts."""
    if not text:
        return DEFAULT_LIMIT
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise ModelError(f"{text!r} is no size such as 500M or 2G (OPWEAVE_CACHE_LIMIT)")
    return int(found[1]) << (10 * " kmgt".index(found[2].lower() or " "))


def entries(folder: Path) -> list[Entry]:
    """All entries; none where there is no folder."""
    return list(_files(folder, temporary=False))


def prune(folder: Path, limit: int) -> Removed:
    """Remove leftovers of killed processes and, above ``limit`` bytes, the oldest entries."""
    stale = [
        entry
        for entry in _files(folder, temporary=True)
        if time.time() - entry.used > _STALE_SECONDS
    ]
    kept = sorted(entries(folder), key=lambda entry: entry.used)
    excess = sum(entry.nbytes for entry in kept)
    oldest = []
    if excess > limit:
        excess -= int(limit * _KEPT_SHARE)
        for entry in kept:
            if excess <= 0:
                break
            oldest.append(entry)
            excess -= entry.nbytes
    return remove([*stale, *oldest])


def clear(folder: Path) -> Removed:
    """Remove all entries and leftovers."""
    return remove([*_files(folder, temporary=True), *entries(folder)])


def remove(found: list[Entry]) -> Removed:
    """Remove files; those that others have removed already do not count."""
    files = nbytes = 0
    for entry in found:
        with contextlib.suppress(OSError):
            entry.path.unlink()
            files, nbytes = files + 1, nbytes + entry.nbytes
    return Removed(files, nbytes)


def _files(folder: Path, *, temporary: bool) -> Iterator[Entry]:
    with contextlib.suppress(OSError):
        for inner in folder.iterdir():
            if not _FOLDER.fullmatch(inner.name):
                continue
            with contextlib.suppress(OSError):
                for path in inner.iterdir():
                    is_temporary = path.name.startswith(TEMPORARY)
                    if is_temporary if temporary else _ENTRY.fullmatch(path.name):
                        with contextlib.suppress(OSError):
                            status = path.stat(follow_symlinks=False)
                            yield Entry(path, status.st_size, status.st_mtime)
