"""Fewer collections of garbage while a model is compiled."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Objects between two looks at the young ones, and such looks between two at the middle
# generation. The oldest generation is left alone.
_WHILE_COMPILING: Final = (20_000, 10, 1_000_000_000)
_lock: Final = threading.Lock()
_users = 0
_before: tuple[int, ...] = ()


@contextmanager
def young_collections() -> Iterator[None]:
    """Only young objects are looked at by the garbage collector inside; also a decorator.

    A full collection walks through all that the process holds, which takes a tenth of a second
    once Numba is loaded, and code generation makes objects for several of them. Garbage that
    code generation leaves is young. The collector's settings are the process's: the last of
    several threads puts them back, and a program that turned the collector off keeps it off.
    """
    global _users, _before
    with _lock:
        _users += 1
        if _users == 1:
            _before = gc.get_threshold()
            if _before[0]:
                gc.set_threshold(*_WHILE_COMPILING)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            # A program that changed the settings meanwhile knows better.
            if _users == 0 and gc.get_threshold() == _WHILE_COMPILING:
                gc.set_threshold(*_before)
