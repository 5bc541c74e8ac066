"""Symbolic extents as LLVM integer arithmetic."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ...ir import Extent
from ...ir.dim import Apply, Dim, Symbol

I64 = ir.IntType(64)


class ExtentEmitter:
    """Emits the 64-bit value of extents; ``load`` gives that of a symbol by name."""

    def __init__(self, load: Callable[[ir.IRBuilder, str], ir.Value]) -> None:
        self._load = load

    def emit(self, builder: ir.IRBuilder, extent: Extent) -> ir.Value:
        """The value of ``extent`` at the builder's place."""
        if not isinstance(extent, Dim):
            return ir.Constant(I64, int(extent))
        total: ir.Value | None = None
        for monomial, factor in extent.terms:
            term: ir.Value | None = None
            for atom, power in monomial:
                value = self._atom(builder, atom)
                for _ in range(power):
                    term = value if term is None else builder.mul(term, value)
            if term is None:
                term = ir.Constant(I64, factor)
            elif factor != 1:
                term = builder.mul(term, ir.Constant(I64, factor))
            total = term if total is None else builder.add(total, term)
        return total

    def _atom(self, builder: ir.IRBuilder, atom: Symbol | Apply) -> ir.Value:
        if isinstance(atom, Symbol):
            return self._load(builder, atom.name)
        left, right = (self.emit(builder, operand) for operand in atom.operands)
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
