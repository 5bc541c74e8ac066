"""What a caller of several threads does when another program takes one of its processors.

A thread whose processor is given to another program in the middle of a chunk holds up all others
until it is back. If it is a worker's, the caller waits; if it is the caller's, the workers have
nothing to do, and their processor could be the caller's. In both cases the caller computes alone
for a while, the longer the sooner it happens again: sharing a processor costs more than it gives,
and the system gives the processor of a worker that sleeps to a caller that shares its own.
"""

from __future__ import annotations

from llvmlite import ir

from .calling import Pool
from .extents import I64

# Nanoseconds: a shorter wait is no sign that a thread lost its processor, and how long the caller
# then computes alone, at first and at most.
_STALL, _SHORTEST_ALONE, _LONGEST_ALONE = 200_000, 2_000_000, 32_000_000


def note_stall(
    builder: ir.IRBuilder, clock: ir.Function, pool: ir.Value, start: ir.Value, since: ir.Value
) -> None:
    """At the end of a job: compute alone for a while if one thread was waited for too long.

    ``start`` is when the job began, ``since`` when the caller began to wait, 0 if it did not.
    """
    now = builder.call(clock, [])
    helped = builder.load(pool_field(builder, pool, Pool.HELPED), typ=I64)
    # Without a wait of the caller, it is the workers who had done all they could.
    waits = builder.icmp_signed("!=", since, _c(0))
    before = builder.select(waits, since, helped)
    worked, waited = builder.sub(before, start), builder.sub(now, before)
    # Workers that did nothing for this job had not begun when it ended.
    longer = builder.icmp_signed(">", waited, builder.add(worked, worked))
    begun = builder.icmp_signed(">", worked, _c(0))
    stalled = builder.and_(longer, builder.icmp_signed(">", waited, _c(_STALL)))
    with builder.if_then(builder.and_(begun, stalled), likely=False):
        until, length = (
            pool_field(builder, pool, field) for field in (Pool.ALONE_UNTIL, Pool.ALONE_LENGTH)
        )
        last = builder.load(length, typ=I64)
        passed = builder.sub(now, builder.load(until, typ=I64))
        again = builder.icmp_signed("<", passed, builder.shl(last, _c(2)))
        twice = builder.shl(last, _c(1))
        most = builder.icmp_signed("<", twice, _c(_LONGEST_ALONE))
        twice = builder.select(most, twice, _c(_LONGEST_ALONE))
        alone = builder.select(again, twice, _c(_SHORTEST_ALONE))
        builder.store(alone, length)
        builder.store(builder.add(now, alone), until)


def pool_field(builder: ir.IRBuilder, pool: ir.Value, field: Pool) -> ir.Value:
    """Where a field of the pool is."""
    return builder.gep(pool, [_c(int(field))], source_etype=I64)


def _c(value: int) -> ir.Constant:
    return ir.Constant(I64, value)
