"""Files that are either complete or not there."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_READ_AT_ONCE: Final = 4 << 20


def write_atomically(
    path: Path, pieces: Iterable[bytes | memoryview], *, mode: int = 0o666
) -> None:
    """Write ``pieces`` to ``path``: a temporary file beside it, synced, then renamed.

    The old content or the whole new content is seen at any time; a failed write leaves
    nothing behind. A link stays and what it stands for is written; a device or a pipe is not
    replaced but written to. ``mode`` is less what the process's umask takes away. Raises OSError.
    """
    if _is_special(path):
        # Not followed by a sync, which devices refuse.
        with open(path, "wb") as device:
            for piece in pieces:
                device.write(piece)
        return
    if path.is_symlink():
        path = path.resolve()
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    flags |= getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, mode)
    try:
        with open(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def move_atomically(source: Path, path: Path) -> None:
    """Move a file to ``path`` as `write_atomically` would write it there. Raises OSError."""
    if not _is_special(path) and not path.is_symlink():
        os.replace(source, path)
        return
    with open(source, "rb") as file:
        write_atomically(path, iter(lambda: file.read(_READ_AT_ONCE), b""))
    source.unlink()


def _is_special(path: Path) -> bool:
    """Whether this is there, and neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
