"""Blocks of memory: where they start, what kind of pages they are in, and what they hold."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from opweave.compiler.memory import ALIGNMENT
from opweave.ir import Array
from opweave.targets.cpu.pages import LARGE_PAGE, block, join_pages, together

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")


def mapping_of(memory: Array) -> tuple[str, str]:
    """The permissions of the mapping that an array begins in, and all that is told of it."""
    address = memory.__array_interface__["data"][0]
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.M)
    for part in filter(None, parts):
        first, last = (int(number, 16) for number in part.split()[0].split("-"))
        if first <= address < last:
            return part.split()[1], part
    raise AssertionError("the memory is not mapped")


@pytest.mark.parametrize("nbytes", [1, 1000, (1 << 20) - 1, 1 << 20, 3 * LARGE_PAGE + 5])
def test_blocks_are_aligned_and_as_long_as_asked(nbytes: int) -> None:
    memory = block(nbytes)
    assert memory.nbytes == nbytes
    assert memory.__array_interface__["data"][0] % ALIGNMENT == 0
    memory[...] = 7
    assert (memory == 7).all()


@linux
def test_long_blocks_ask_for_large_pages_and_may_have_them() -> None:
    """Memory that is shared has none, whatever is asked."""
    permissions, told = mapping_of(block(4 * LARGE_PAGE))
    assert permissions == "rw-p"
    assert " hg" in told


@linux
def test_joined_pages_hold_what_they_held() -> None:
    random = np.random.default_rng(0)
    arrays = [
        random.standard_normal((700, 1000)).astype(np.float32),
        random.standard_normal((3, 5)).astype(np.float32).T,
        random.integers(0, 100, LARGE_PAGE + 3).astype(">i2"),
    ]
    copies = together(iter(arrays), [array.nbytes for array in arrays])
    assert mapping_of(copies[0])[0] == "rw-p"
    thread = join_pages(copies)
    assert thread is not None
    thread.join(timeout=60)
    assert not thread.is_alive()
    for array, copy in zip(arrays, copies, strict=True):
        assert copy.flags.c_contiguous
        assert copy.dtype.isnative
        np.testing.assert_array_equal(copy, array)


def test_small_pages_stay() -> None:
    assert join_pages([]) is None
    assert join_pages(together([np.zeros(10)], [80])) is None
