"""Symbolic extents as LLVM integer arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from llvmlite import ir

from ...ir import Extent
from ...ir.dim import Atom, Dim, Monomial, Symbol, symbols_of

I64 = ir.IntType(64)
# What has one value in a run.
Key: TypeAlias = Dim | Monomial | Atom


class ExtentEmitter:
    """Emits the 64-bit value of extents; ``load`` gives that of a symbol by name.

    An extent of symbols that are known when the function starts is computed once, in its
    first block. Those of ``late`` symbols, which the function itself measures, are computed
    where they are asked for.
    """

    def __init__(
        self, load: Callable[[ir.IRBuilder, str], ir.Value], late: frozenset[str] = frozenset()
    ) -> None:
        self._load = load
        self._late = late
        self._known: dict[Key, ir.Value] = {}

    def emit(self, builder: ir.IRBuilder, extent: Extent) -> ir.Value:
        """The value of ``extent`` at the builder's place."""
        if not isinstance(extent, Dim):
            return ir.Constant(I64, int(extent))
        if extent in self._known:
            return self._known[extent]
        if any(symbol.name in self._late for symbol in symbols_of(extent)):
            return self._sum(builder, extent, early=False)
        with builder.goto_entry_block():
            return self._early(builder, extent)

    def _early(self, builder: ir.IRBuilder, extent: Extent) -> ir.Value:
        """The value of an extent of early symbols; the builder is in the first block."""
        if not isinstance(extent, Dim):
            return ir.Constant(I64, int(extent))
        return self._kept(extent, True, lambda: self._sum(builder, extent, early=True))

    def _kept(self, key: Key, early: bool, emit: Callable[[], ir.Value]) -> ir.Value:
        """What ``emit`` gives; early values are emitted once."""
        if not early:
            return emit()
        if key not in self._known:
            self._known[key] = emit()
        return self._known[key]

    def _sum(self, builder: ir.IRBuilder, extent: Dim, early: bool) -> ir.Value:
        total: ir.Value | None = None
        for monomial, factor in extent.terms:
            if not monomial:
                term = ir.Constant(I64, factor)
            else:
                term = self._kept(monomial, early, partial(self._power, builder, monomial, early))
                if factor != 1:
                    term = builder.mul(term, ir.Constant(I64, factor))
            total = term if total is None else builder.add(total, term)
        return total

    def _power(self, builder: ir.IRBuilder, monomial: Monomial, early: bool) -> ir.Value:
        result: ir.Value | None = None
        for atom, power in monomial:
            value = self._kept(atom, early, partial(self._atom, builder, atom, early))
            for _ in range(power):
                result = value if result is None else builder.mul(result, value)
        return result

    def _atom(self, builder: ir.IRBuilder, atom: Atom, early: bool) -> ir.Value:
        if isinstance(atom, Symbol):
            return self._load(builder, atom.name)
        operand = self._early if early else self.emit
        left, right = (operand(builder, extent) for extent in atom.operands)
        if atom.function == "floordiv":
            return _floor_divide(builder, left, right)
        predicate = ">=" if atom.function == "max" else "<="
        return builder.select(builder.icmp_signed(predicate, left, right), left, right)


def _floor_divide(builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
    """Floor division that never traps: a zero divisor gives 0, which no check lets pass."""
    zero, one = ir.Constant(I64, 0), ir.Constant(I64, 1)
    is_zero = builder.icmp_signed("==", right, zero)
    divisor = builder.select(is_zero, one, right)
    quotient = builder.sdiv(left, divisor)
    remainder = builder.sub(left, builder.mul(quotient, divisor))
    opposite = builder.icmp_signed("<", builder.xor(remainder, divisor), zero)
    inexact = builder.icmp_signed("!=", remainder, zero)
    adjusted = builder.sub(quotient, one)
    floor = builder.select(builder.and_(opposite, inexact), adjusted, quotient)
    return builder.select(is_zero, zero, floor)
