"""Scratch memory for work items under way, which stacks of small threads could not hold.

Items that need much memory while they are computed borrow a *slot* of a workspace. There are
enough slots for all threads that may run at once on all but the largest machines; the first free
one is taken, so that a single thread always meets the same memory, which stays in its cache, and
slots beyond the number of threads are never touched.
"""

from __future__ import annotations

from llvmlite import ir

from ....ir import Call, Extent, View, workspace
from ..dense.tile import F32, I64, constant
from ..parallel import declare_pause

# More threads than slots wait for each other.
_MOST_SLOTS = 64
_FLAG = 8  # eight-byte words from one slot's flag to the next: a cache line


class Scratch:
    """Slots of ``floats`` float32 numbers each for the items of one Call, of which there are
    ``items``."""

    def __init__(self, floats: int, items: Extent) -> None:
        self.floats = -(-floats // 16) * 16
        self.slots = min(items, _MOST_SLOTS) if isinstance(items, int) else _MOST_SLOTS
        self.slots = max(1, self.slots)

    @property
    def views(self) -> tuple[View, View]:
        """The operands of the Call that :meth:`borrow` takes: the memory and the flags."""
        return (
            workspace("scratch", "float32", (self.slots * self.floats,)),
            self._flags,
        )

    @property
    def _flags(self) -> View:
        return workspace("scratch_flags", "int64", (self.slots * _FLAG,))

    def clear(self) -> Call:
        """The Call that has to run before: no slot is taken."""
        return Call(_clear, (self._flags,), items=1)

    def borrow(
        self, builder: ir.IRBuilder, memory: ir.Value, flags: ir.Value
    ) -> tuple[ir.Value, ir.Value]:
        """Take a slot; returns its place and its flag, for :meth:`give_back`."""
        before = builder.block
        look = builder.append_basic_block("look_for_slot")
        taken = builder.append_basic_block("slot_taken")
        wait = builder.append_basic_block("no_slot")
        found = builder.append_basic_block("slot_found")
        builder.branch(look)
        builder.position_at_end(look)
        number = builder.phi(I64)
        number.add_incoming(constant(0), before)
        place = builder.mul(number, constant(_FLAG))
        flag = builder.gep(flags, [place], source_etype=I64)
        old = builder.atomic_rmw("xchg", flag, constant(1), "acquire")
        builder.cbranch(builder.icmp_signed("==", old, constant(0)), found, taken)
        builder.position_at_end(taken)
        following = builder.add(number, constant(1))
        is_end = builder.icmp_signed("==", following, constant(self.slots))
        number.add_incoming(following, taken)
        number.add_incoming(constant(0), wait)
        builder.cbranch(is_end, wait, look)
        builder.position_at_end(wait)
        builder.call(declare_pause(builder.module), [])
        builder.branch(look)
        builder.position_at_end(found)
        start = builder.mul(number, constant(self.floats))
        return builder.gep(memory, [start], source_etype=F32), flag

    def give_back(self, builder: ir.IRBuilder, flag: ir.Value) -> None:
        """Let others take the slot; what was written to it is lost."""
        builder.atomic_rmw("xchg", flag, constant(0), "release")


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _clear(item, flags):  # type: ignore[no-untyped-def]
    for k in range(flags.shape[0]):
        flags[k] = 0
