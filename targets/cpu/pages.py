"""Memory in large pages, where the system has them.

Kernels walk through megabytes of weights and activations in long strides. With pages of 4 KiB
most of the steps miss the processor's table of pages; pages of 2 MiB make ResNet-18 an eighth
faster. But a system may take milliseconds to find one, a quarter of a second for the weights of
ResNet-50: these are filled in small pages, which are joined while the program runs already.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import sys
import threading
from collections.abc import Iterable, Sequence

import numpy as np

from ...compiler.memory import ALIGNMENT
from ...ir import Array

LARGE_PAGE = 2 << 20
# Smaller blocks would waste most of a page.
_LEAST = 1 << 20
# Linux joins pages at once when told so (since 6.1; Python has no name for it).
_COLLAPSE = 25


# Where NumPy keeps an array's address, as its C headers publish it: behind the object's head.
_HEAD = object.__basicsize__


def _read_address(array: Array) -> int:
    address: int | None = ctypes.c_void_p.from_address(id(array) + _HEAD).value
    return address or 0


def _ask_address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _can_read() -> bool:
    """True where the field is where it should be (CPython; other interpreters have objects
    that are not C structures)."""
    if sys.implementation.name != "cpython":
        return False
    probes: list[Array] = [np.empty(3), np.empty((2, 2), np.int8)[1:], np.empty(1, np.float32)]
    return all(_read_address(probe) == _ask_address(probe) for probe in probes)


# Asking NumPy for an address takes a microsecond, a tenth of what a small network's run does.
# ``id(array) + ADDRESS_IN_ARRAY`` is where it stands; 0 where that is not known.
ADDRESS_IN_ARRAY = _HEAD if _can_read() else 0
address_of = _read_address if ADDRESS_IN_ARRAY else _ask_address


def block(nbytes: int) -> Array:
    """Uninitialised bytes that start on a cache line, in large pages if they are many."""
    memory = _reserved(nbytes)
    if len(memory) >= _LEAST and hasattr(mmap, "MADV_HUGEPAGE"):
        _advise(address_of(memory), nbytes, mmap.MADV_HUGEPAGE)
    return memory


def _reserved(nbytes: int) -> Array:
    """Uninitialised bytes that start on a cache line, on a large page if they are many."""
    if nbytes < _LEAST or not hasattr(mmap, "MADV_HUGEPAGE"):
        memory = np.empty(nbytes + ALIGNMENT, np.uint8)
        start = -address_of(memory) % ALIGNMENT
        return memory[start : start + nbytes]
    pages = -(-nbytes // LARGE_PAGE)
    try:
        # Shared memory, which Python would map, has no large pages.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        region = mmap.mmap(-1, (pages + 1) * LARGE_PAGE, flags)
    except OSError as error:
        raise MemoryError(f"no memory for {nbytes} bytes") from error
    memory = np.frombuffer(region, np.uint8)  # keeps the region
    start = -address_of(memory) % LARGE_PAGE
    return memory[start : start + nbytes]


def _advise(start: int, nbytes: int, advice: int) -> int:
    """Tell the system about the large pages from ``start`` on; returns an error's number.

    Other threads go on meanwhile.
    """
    size = ctypes.c_size_t(-(-nbytes // LARGE_PAGE) * LARGE_PAGE)
    return ctypes.get_errno() if _system().madvise(ctypes.c_void_p(start), size, advice) else 0


@functools.cache
def _system() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def join_pages(arrays: Sequence[Array]) -> threading.Thread | None:
    """Begin to join the small pages that all arrays of `together` lie in; what they hold stays.

    A thread of its own does it; None where it is not worth it or not possible.
    """
    if not arrays or not sys.platform.startswith("linux"):
        return None
    start, last = address_of(arrays[0]), arrays[-1]
    if address_of(last) + last.nbytes - start < LARGE_PAGE:
        return None
    thread = threading.Thread(target=_join, args=(arrays,), name="opweave-pages", daemon=True)
    thread.start()
    return thread


def _join(arrays: Sequence[Array]) -> None:
    first, last = address_of(arrays[0]), arrays[-1]
    end = address_of(last) + last.nbytes
    for start in range(first, end, LARGE_PAGE):
        if _advise(start, LARGE_PAGE, _COLLAPSE) == errno.EINVAL:
            # Linux before 6.1: it does it by itself, some minutes later.
            _advise(start, end - start, mmap.MADV_HUGEPAGE)
            return


def together(arrays: Iterable[Array], sizes: Sequence[int]) -> list[Array]:
    """Copies of arrays, contiguous and native, in one block; ``sizes`` are their bytes.

    The arrays are taken one by one: no two of the originals need to be there at once. The pages
    are small until they are joined.
    """
    places = [0]
    for size in sizes:
        places.append(places[-1] + -(-size // ALIGNMENT) * ALIGNMENT)
    memory = _reserved(places[-1])
    copies: list[Array] = []
    for place, array in zip(places, arrays, strict=False):
        plain = array.dtype.newbyteorder("=")
        copy = memory[place : place + array.nbytes].view(plain).reshape(array.shape)
        copy[...] = array
        copies.append(copy)
    return copies
