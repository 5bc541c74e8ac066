"""Loops over LLVM values that are carried from round to round in registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from ..dense.tile import I64, constant

Values = list[ir.Value]


def repeat(
    builder: ir.IRBuilder,
    count: int | ir.Value,
    carried: Sequence[ir.Value],
    body: Callable[[ir.Value, Values], Values],
) -> Values:
    """Emit ``for k in range(count): carried = body(k, carried)``; returns the last values.

    A ``count`` that is a number must be positive; one that is a value may be zero or less,
    and then the values stay as they were.
    """
    if count == 1 and isinstance(count, int):
        return body(constant(0), list(carried))
    before = builder.block
    inside = builder.append_basic_block("round")
    after = builder.append_basic_block("rounds_done")
    known = isinstance(count, int)
    if known:
        builder.branch(inside)
    else:
        builder.cbranch(builder.icmp_signed(">", count, constant(0)), inside, after)
    builder.position_at_end(inside)
    number = builder.phi(I64)
    phis = [builder.phi(value.type) for value in carried]
    results = body(number, list(phis))
    following = builder.add(number, constant(1))
    number.add_incoming(constant(0), before)
    number.add_incoming(following, builder.block)
    for phi, first, last in zip(phis, carried, results, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(last, builder.block)
    limit = constant(count) if isinstance(count, int) else count
    end = builder.block
    builder.cbranch(builder.icmp_signed("<", following, limit), inside, after)
    builder.position_at_end(after)
    if known:
        return results
    merged = []
    for first, last in zip(carried, results, strict=True):
        value = builder.phi(first.type)
        value.add_incoming(first, before)
        value.add_incoming(last, end)
        merged.append(value)
    return merged


def for_each(
    builder: ir.IRBuilder, count: int | ir.Value, body: Callable[[ir.Value], None]
) -> None:
    """Emit ``for k in range(count): body(k)``; the count as in :func:`repeat`."""

    def run(number: ir.Value, _: Values) -> Values:
        body(number)
        return []

    repeat(builder, count, [], run)
