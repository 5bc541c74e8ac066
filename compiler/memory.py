"""The memory plan: where in one arena every intermediate tensor lives.

With all sizes known, buffers are placed largest first into the lowest gap that is free during
their lifetime. With symbolic sizes, buffers whose lifetimes do not meet share a slot, and
slots follow one another; a slot is as large as the largest of its buffers. Sizes of which
nobody knows which is larger are seldom put together, so that expressions stay small.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from ..ir import Extent
from ..ir.dim import ceil_divide, maximum

# Buffers start on cache lines, which are also the widest vectors.
ALIGNMENT = 64
# How many sizes of unknown order a slot may take the maximum of.
MAXIMUM_UNDECIDED = 4


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


@dataclass(slots=True)
class _Slot:
    """Part of the arena that buffers with separate lifetimes share."""

    nbytes: Extent
    buffers: list[Buffer]
    undecided: int = 0  # how often it was not known which of two sizes is the larger

    def is_free(self, buffer: Buffer) -> bool:
        return not any(buffer.meets(other) for other in self.buffers)

    def cost(self, nbytes: Extent) -> int | None:
        """How well a buffer of this size fits, 0 being best; None for not at all."""
        if self.nbytes == nbytes:
            return 0
        larger = maximum(self.nbytes, nbytes)
        if larger == self.nbytes:
            return 1
        if larger == nbytes:
            return 2
        return 3 if self.undecided < MAXIMUM_UNDECIDED else None

    def put(self, buffer: Buffer, nbytes: Extent) -> None:
        larger = maximum(self.nbytes, nbytes)
        self.undecided += larger != self.nbytes and larger != nbytes
        self.nbytes = larger
        self.buffers.append(buffer)


def _place_symbolic(buffers: Sequence[Buffer]) -> MemoryPlan:
    slots: list[_Slot] = []
    for buffer in sorted(buffers, key=lambda b: (b.first, b.last)):
        nbytes = _aligned(buffer.nbytes)
        fits = [(slot.cost(nbytes), k) for k, slot in enumerate(slots) if slot.is_free(buffer)]
        best = min(((cost, k) for cost, k in fits if cost is not None), default=None)
        if best is None:
            slots.append(_Slot(nbytes, [buffer]))
        else:
            slots[best[1]].put(buffer, nbytes)
    offsets: dict[Hashable, Extent] = {}
    start: Extent = 0
    for slot in slots:
        offsets.update((buffer.key, start) for buffer in slot.buffers)
        start = start + slot.nbytes
    return MemoryPlan(offsets, start)
