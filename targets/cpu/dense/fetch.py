"""Instructions that ask for memory before it is needed; see :mod:`.read_ahead`."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

I32, I64, BYTE = ir.IntType(32), ir.IntType(64), ir.IntType(8)
_POINTER = ir.PointerType()
_FLOAT = ir.FloatType()
_LINE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the weights that one register tile fetches: where, and bytes a step."""

    pointer: ir.Value
    step: ir.Value

    @property
    def arguments(self) -> list[ir.Value]:
        """What a tile function takes."""
        return [self.pointer, self.step]


def share_types() -> list[ir.Type]:
    """Types of a Share's arguments."""
    return [_POINTER, I64]


@dataclass(frozen=True, slots=True)
class Upcoming:
    """Weights that the kernel will need after those in use: ``size`` floats at ``pointer``."""

    pointer: ir.Value
    size: ir.Value


def upcoming(
    builder: ir.IRBuilder,
    packed: ir.Value,
    group: ir.Value,
    groups: int,
    group_size: int,
    ahead: tuple[ir.Value, ir.Value],
) -> Upcoming:
    """The group of panels after ``group`` of ``groups``; after the last one what lies ahead."""
    smin = _declared(builder.module, "llvm.smin.i64", ir.FunctionType(I64, [I64, I64]))
    after = builder.add(group, _number(1))
    own = builder.gep(packed, [builder.mul(after, _number(group_size))], source_etype=_FLOAT)
    is_last = builder.icmp_signed("==", after, _number(groups))
    pointer, size = ahead
    size = builder.call(smin, [size, _number(group_size)])
    return Upcoming(
        builder.select(is_last, pointer, own), builder.select(is_last, size, _number(group_size))
    )


def share_of(
    builder: ir.IRBuilder, weights: Upcoming, number: ir.Value, tiles: ir.Value, steps: int
) -> Share:
    """The part that tile ``number`` of ``tiles``, which has so many steps, fetches."""
    smin = _declared(builder.module, "llvm.smin.i64", ir.FunctionType(I64, [I64, I64]))
    part = builder.udiv(builder.mul(weights.size, _number(4)), tiles)
    pointer = builder.gep(weights.pointer, [builder.mul(part, number)], source_etype=BYTE)
    step = builder.add(builder.udiv(part, _number(steps)), _number(1))
    return Share(pointer, builder.call(smin, [step, _number(_LINE_BYTES)]))


def fetch(builder: ir.IRBuilder, pointer: ir.Value) -> None:
    """Ask for the line at ``pointer``, into the second cache."""
    type_ = ir.FunctionType(ir.VoidType(), [_POINTER, I32, I32, I32])
    function = _declared(builder.module, "llvm.prefetch.p0", type_)
    read, nearness, data = (ir.Constant(I32, number) for number in (0, 2, 1))
    builder.call(function, [pointer, read, nearness, data])


def moved(builder: ir.IRBuilder, share: Share) -> Share:
    """The share of the next step."""
    pointer = builder.gep(share.pointer, [share.step], source_etype=BYTE)
    return Share(pointer, share.step)


def _number(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def _declared(module: ir.Module, name: str, type_: ir.FunctionType) -> ir.Function:
    return module.globals.get(name) or ir.Function(module, type_, name)
