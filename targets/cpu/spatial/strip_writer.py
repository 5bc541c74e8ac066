"""Emits chains of row-by-row operators: strips of rows, from the first operator to the last."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from ....ir import Extent, View
from ....ir.dim import Dim
from ..dense.tile import F32, I64, address, constant, intrinsic
from ..emitted import Part
from .lines import POINTER, SMAX, SMIN, choose
from .loops import for_each
from .strip_stages import Stage

_LINE = 16  # floats of a cache line


@dataclass(frozen=True)
class StripPlan:
    """A chain with ``operands`` operands, and the rows of its output in a strip and in an item."""

    stages: Sequence[Stage]
    operands: int
    rows: int
    item_rows: int

    @property
    def items(self) -> int:
        """Work items of one image."""
        return -(-self.stages[-1].rows // self.item_rows)

    @functools.cached_property
    def sizes(self) -> list[int]:
        """Floats of the strips between the stages."""
        return strip_floats(self.stages, self.rows)

    @functools.cached_property
    def extents(self) -> tuple[Dim, ...]:
        """Symbolic extents that the stages' calls mention."""
        mentioned: list[Extent | float | None] = []
        for stage in self.stages:
            mentioned += [extent for view in stage.call.operands for extent in view.shape]
            mentioned += [stage.lines, *stage.call.scalars]
        return tuple(dict.fromkeys(e for e in mentioned if isinstance(e, Dim)))

    @property
    def key(self) -> tuple[object, ...]:
        """Everything that the code depends on, but for the stages' bodies."""
        return (self.operands, self.rows, self.item_rows, *(stage.key for stage in self.stages))

    def write(self, function: ir.Function, parts: Sequence[Part]) -> None:
        """The body: strips of the item's rows."""
        _Writer(self, function, parts).write()


def strip_floats(stages: Sequence[Stage], rows: int) -> list[int]:
    """Floats of the strips between the stages, for so many rows of the last one's output."""
    sizes: list[int] = []
    for before, stage in zip(reversed(stages[:-1]), reversed(stages[1:]), strict=True):
        rows = min(stage.window.source_rows(rows), before.rows)
        sizes.insert(0, -(-rows * before.row // _LINE) * _LINE)
    return sizes


class _Writer:
    """Emits one chain."""

    def __init__(self, plan: StripPlan, function: ir.Function, parts: Sequence[Part]) -> None:
        self.plan, self.parts = plan, parts
        self.builder = builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.item, *arguments = function.args
        count = 2 * (plan.operands + 1)  # each pointer has one extent
        self.pointers = arguments[:count:2]
        self.values = dict(zip(plan.extents, arguments[count:], strict=True))
        memory = builder.alloca(F32, size=sum(plan.sizes))
        memory.align, memory.type = 64, POINTER
        self.strips: list[ir.Value] = []
        for size in plan.sizes:
            self.strips.append(memory)
            memory = address(builder, memory, size)
        # The first row that each strip holds, and the one behind the last.
        self.first_held = [self._variable() for _ in plan.sizes]
        self.end_held = [self._variable() for _ in plan.sizes]
        self.image = builder.sdiv(self.item, constant(plan.items))

    def write(self) -> None:
        """All strips of the item, one after the other."""
        builder, plan = self.builder, self.plan
        place = builder.srem(self.item, constant(plan.items))
        first = builder.mul(place, constant(plan.item_rows))
        end = builder.add(first, constant(plan.item_rows))
        end = choose(builder, SMIN, end, constant(plan.stages[-1].rows))
        for number, (low, _) in enumerate(self._needed(first, end)[:-1]):
            builder.store(low, self.first_held[number])
            builder.store(low, self.end_held[number])
        rounded = builder.add(builder.sub(end, first), constant(plan.rows - 1))

        def strip(number: ir.Value) -> None:
            low = builder.add(first, builder.mul(number, constant(plan.rows)))
            high = choose(builder, SMIN, builder.add(low, constant(plan.rows)), end)
            self._strip(low, high)

        for_each(builder, builder.sdiv(rounded, constant(plan.rows)), strip)
        builder.ret(constant(0))

    def _variable(self) -> ir.Value:
        place = self.builder.alloca(I64)
        place.type = POINTER
        return place

    def _needed(self, low: ir.Value, high: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
        """Rows of each stage's output that those from ``low`` up to ``high`` of the last need."""
        builder = self.builder
        found = [(low, high)]
        for stage in reversed(self.plan.stages[1:]):
            window, limit = stage.window, constant(stage.source_rows)
            step, pad = constant(window.stride), constant(window.pad)
            low = builder.sub(builder.mul(low, step), pad)
            high = builder.mul(builder.sub(high, constant(1)), step)
            high = builder.add(builder.sub(high, pad), constant(window.reach))
            low = choose(builder, SMIN, choose(builder, SMAX, low, constant(0)), limit)
            high = choose(builder, SMAX, choose(builder, SMIN, high, limit), low)
            found.insert(0, (low, high))
        return found

    def _strip(self, low: ir.Value, high: ir.Value) -> None:
        """All stages for these rows of the last one's output."""
        source: ir.Value | None = None
        for number, (first, end) in enumerate(self._needed(low, high)):
            if number == len(self.strips):
                self._rows(number, source, self.pointers[-1], first, end)
                break
            missing = self._keep(number, first)
            target = self._whole(number, first)
            self._rows(number, source, target, missing, end)
            self.builder.store(choose(self.builder, SMAX, missing, end), self.end_held[number])
            source = target

    def _keep(self, number: int, first: ir.Value) -> ir.Value:
        """Move rows from ``first`` on to the strip's beginning; the first that is missing."""
        builder, row = self.builder, self.plan.stages[number].row
        begin = builder.load(self.first_held[number], typ=I64)
        end = builder.load(self.end_held[number], typ=I64)
        kept, away = builder.sub(end, first), builder.sub(first, begin)
        moves = builder.and_(
            builder.icmp_signed(">", kept, constant(0)), builder.icmp_signed(">", away, constant(0))
        )
        with builder.if_then(moves):
            type_ = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64, ir.IntType(1)])
            memmove = intrinsic(builder.module, "llvm.memmove.p0.p0.i64", type_)
            source = address(builder, self.strips[number], builder.mul(away, constant(row)))
            size = builder.mul(kept, constant(4 * row))
            no = ir.Constant(ir.IntType(1), 0)
            builder.call(memmove, [self.strips[number], source, size, no])
        builder.store(first, self.first_held[number])
        return choose(builder, SMAX, end, first)

    def _whole(self, number: int, first: ir.Value) -> ir.Value:
        """Where the whole tensor would begin whose rows from ``first`` on are in the strip."""
        builder, stage = self.builder, self.plan.stages[number]
        before = builder.add(builder.mul(self.image, constant(stage.rows)), first)
        return address(builder, self.strips[number], builder.mul(before, constant(-stage.row)))

    def _rows(
        self,
        number: int,
        source: ir.Value | None,
        target: ir.Value,
        first: ir.Value,
        end: ir.Value,
    ) -> None:
        """Compute rows of a stage; ``source`` and ``target`` are where whole tensors begin."""
        builder = self.builder
        stage, part = self.plan.stages[number], self.parts[number]
        start = builder.add(builder.mul(self.image, constant(stage.rows)), first)

        def compute(k: ir.Value) -> None:
            row = builder.add(start, k)

            def pointer(view: View) -> ir.Value:
                assert isinstance(view.source, int), "stages have no workspaces"
                place: ir.Value | None = target
                if view.source < len(stage.operands):
                    operand = stage.operands[view.source]
                    place = source if operand is None else self.pointers[operand]
                step = stage.steps.get(view.source)
                if step is None:
                    return place
                return address(builder, place, builder.mul(row, constant(step)))

            def piece(item: ir.Value) -> None:
                if stage.lines is not None:
                    item = builder.add(builder.mul(item, self._extent(stage.lines)), row)
                part.run(builder, item, pointer, self._extent)

            for_each(builder, stage.pieces, piece)

        for_each(builder, builder.sub(end, first), compute)

    def _extent(self, extent: Extent) -> ir.Value:
        return self.values[extent] if isinstance(extent, Dim) else constant(int(extent))
