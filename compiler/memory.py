"""The memory plan: where in one arena every intermediate tensor lives.

With all sizes known, buffers are placed largest first into the lowest gap that is free during
their lifetime. With symbolic sizes, buffers whose lifetimes do not meet share a slot, and
slots follow one another; a slot is as large as the largest of its buffers.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from ..ir import Extent
from ..ir.dim import ceil_divide, maximum

# Buffers start on cache lines, which are also the widest vectors.
ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Buffer:
    """``nbytes`` that must be kept from step ``first`` to step ``last``, both included."""

    key: Hashable
    nbytes: Extent
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        """True when the lifetimes overlap."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Byte offsets into the arena, and the arena's size in bytes."""

    offsets: Mapping[Hashable, Extent]
    nbytes: Extent


def plan_memory(buffers: Sequence[Buffer]) -> MemoryPlan:
    """Place buffers so that no two that are alive together overlap."""
    known = all(isinstance(buffer.nbytes, int) for buffer in buffers)
    return _place_known(buffers) if known else _place_symbolic(buffers)


def _aligned(nbytes: Extent) -> Extent:
    return ceil_divide(nbytes, ALIGNMENT) * ALIGNMENT


def _place_known(buffers: Sequence[Buffer]) -> MemoryPlan:
    placed: list[tuple[int, int, Buffer]] = []  # offset, end, buffer; sorted by offset
    offsets: dict[Hashable, Extent] = {}
    total = 0
    for buffer in sorted(buffers, key=lambda b: (-_number(b.nbytes), b.first)):
        size = _number(_aligned(buffer.nbytes))
        offset = 0
        for start, end, other in placed:
            if not buffer.meets(other):
                continue
            if start - offset >= size:
                break
            offset = max(offset, end)
        offsets[buffer.key] = offset
        placed.append((offset, offset + size, buffer))
        placed.sort(key=lambda entry: entry[:2])
        total = max(total, offset + size)
    return MemoryPlan(offsets, total)


def _number(extent: Extent) -> int:
    assert isinstance(extent, int)
    return extent


def _place_symbolic(buffers: Sequence[Buffer]) -> MemoryPlan:
    slots: list[tuple[Extent, list[Buffer]]] = []
    for buffer in sorted(buffers, key=lambda b: (b.first, b.last)):
        size = _aligned(buffer.nbytes)
        # A slot of this very size wastes nothing; failing that, any free one will do.
        free = [
            number
            for number, (_, held) in enumerate(slots)
            if not any(buffer.meets(other) for other in held)
        ]
        exact = [number for number in free if slots[number][0] == size]
        if exact or free:
            number = (exact or free)[0]
            slots[number] = (maximum(slots[number][0], size), [*slots[number][1], buffer])
        else:
            slots.append((size, [buffer]))
    offsets: dict[Hashable, Extent] = {}
    start: Extent = 0
    for size, held in slots:
        offsets.update((buffer.key, start) for buffer in held)
        start = start + size
    return MemoryPlan(offsets, start)
