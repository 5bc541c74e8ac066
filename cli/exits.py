"""Exit statuses: the one place that says which failure ends the process with which."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any

import click


class Exit(IntEnum):
    """What a verb's process ends with."""

    OK = 0
    NEGATIVE = 1  # the verdict of a comparison or a bound
    USAGE = 2
    MODEL = 3  # unreadable or invalid
    UNSUPPORTED = 4
    LIMIT = 5  # memory, size or time
    FILES = 6  # full, no permission, no such folder
    DEVICE = 7
    BUG = 70
    INTERRUPTED = 130
    TERMINATED = 143


class Terminated(BaseException):
    """SIGTERM arrived; not an Exception, so that only clean-up runs on its way out."""


class EngineError(Exception):
    """A process that runs a model for ``bench`` failed; ``status`` is what it would exit with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def run_command(command: click.Command, arguments: Sequence[str]) -> int:
    """Run the command line and return the exit status; messages go to stderr."""
    _replace_closed_streams()
    try:
        with _terminable(), _plain_warnings():
            result = command.main(list(arguments), prog_name="opweave", standalone_mode=False)
            sys.stdout.flush()
        return int(result or 0)
    except (BrokenPipeError, SystemExit):
        # Whoever read the output has enough of it (click exits by itself on writing to a
        # closed pipe).
        _drop_output()
        return Exit.FILES
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        error.show()
        return Exit.FILES if isinstance(error, click.FileError) else Exit.USAGE
    except BaseException as error:
        status, message = status_of(error)
        if isinstance(error, OSError) and not error.filename and not _drop_output():
            message = f"standard output cannot be written: {message}"
        if status is Exit.BUG:
            traceback.print_exception(error, file=sys.stderr)
        print(f"opweave: {message}", file=sys.stderr)
        return status


def _drop_output() -> bool:
    """Whether all was written to standard output; of what cannot be, Python must not complain."""
    try:
        sys.stdout.flush()
        return True
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False


def status_of(error: BaseException) -> tuple[int, str]:
    """Exit status and message of an exception."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Exit.INTERRUPTED, "interrupted"
    if isinstance(error, Terminated):
        return Exit.TERMINATED, "terminated"
    if isinstance(error, EngineError):
        return error.status, str(error)
    status = _status_of_opweave(error)
    if status is not None:
        return status, str(error)
    if isinstance(error, MemoryError):
        return Exit.LIMIT, f"out of memory: {error}"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Exit.FILES, f"{where}{error.strerror or error}"
    return Exit.BUG, (
        f"{type(error).__name__}: {error}\n"
        "This is a bug in opweave. Please report it with all of the text above, the command, "
        "the model if it can be shared, and what `opweave --version` says."
    )


def _status_of_opweave(error: BaseException) -> int | None:
    from ..api import ModelNotFoundError
    from ..ir import DeviceError, LimitError, ModelError, UnsupportedError

    table: list[tuple[type[Exception], Exit]] = [
        (ModelNotFoundError, Exit.USAGE),
        (UnsupportedError, Exit.UNSUPPORTED),
        (LimitError, Exit.LIMIT),
        (DeviceError, Exit.DEVICE),
        (ModelError, Exit.MODEL),
    ]
    for class_, status in table:
        if isinstance(error, class_):
            return status
    return None


def _replace_closed_streams() -> None:
    """Streams that were closed before the start: files that are opened must not become them.

    Writing to such a standard output stays an error, messages to a closed stderr get lost.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises, so that child processes and temporary files are cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line for a reader of a terminal, not of Python code."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"opweave: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
