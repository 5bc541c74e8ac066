"""The one tree of errors that opweave raises.

Every message says what is wrong, where (file, node, operand) and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence


class Error(Exception):
    """Base of everything that opweave raises on purpose."""


class ModelError(Error, ValueError):
    """A graph, a network definition or an input does not fit what was declared."""


class FormatError(ModelError):
    """A file is not what its format prescribes (truncated, inconsistent, not of this format)."""


class UnsupportedError(Error, NotImplementedError):
    """The model needs something that is not there; ``items`` lists all that was found at once."""

    def __init__(self, message: str, items: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.items: tuple[str, ...] = tuple(items) or (message,)


class NoKernelError(UnsupportedError):
    """A target has no kernel for an operator with these types."""


class LimitError(Error, MemoryError):
    """A size, count, depth or time is beyond the limit set for it."""


class DeviceError(Error, RuntimeError):
    """The asked-for device is missing or failed."""
