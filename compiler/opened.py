"""Opening files to read: plain ones, never pipes or devices, which may give no end of bytes."""

from __future__ import annotations

import os
import stat
from typing import IO

from ..ir.errors import FormatError

# Opening a pipe that nothing writes to would wait otherwise.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_plain(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a plain file for reading; raises OSError, and FormatError for whatever else it is."""

    def opener(name: str, _: int) -> int:
        descriptor = os.open(name, _FLAGS | getattr(os, "O_CLOEXEC", 0))
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            kind = next((text for is_it, text in _KINDS if is_it(mode)), "no file")
            raise FormatError(
                f"{os.fspath(path)} is {kind}: give the path of a plain file, or an open file"
            )
        return descriptor

    return open(path, "rb", opener=opener)
