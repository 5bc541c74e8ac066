"""Emits the packing of rows for :mod:`.strassen_writer`: the first factors of all products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from ..spatial.loops import for_each
from .strassen_plan import BLOCK, StrassenPlan
from .tile import address, constant, load_lanes

_POINTER = ir.PointerType()
Matrix = Sequence[Sequence[ir.Value]]


class RowPacking:
    """Packs one row of a tile for one chunk, with the rows of other quarters added to it.

    What is packed stands in the order in which a register tile reads it, one cache line of each
    of its rows after the other: [product, block, row, step].
    """

    def __init__(self, plan: StrassenPlan, caller: ir.Function) -> None:
        self.plan, self.caller = plan, caller

    def of_stage(self, builder: ir.IRBuilder, stage: ir.Value) -> ir.Value:
        """The function for a stage; its arguments are where the row and the packed one begin."""
        function: ir.Value = self._function(0)
        for number in range(1, self.plan.stages):
            is_it = builder.icmp_signed("==", stage, constant(number))
            function = builder.select(is_it, self._function(number), function)
        return function

    def _function(self, stage: int) -> ir.Function:
        """The function, of the module of ``caller``, which is the only one that has it."""
        module: Any = self.caller.module
        name = f"{self.caller.name}.rows{stage}"
        if name in module.globals:
            return module.globals[name]
        plan = self.plan
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_POINTER] * 2), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        source, target = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))

        def lines(block: ir.Value, steps: int) -> None:
            """One block of steps: a cache line of each product."""
            here = builder.mul(block, constant(BLOCK))
            there = builder.mul(block, constant(plan.heights[0] * BLOCK))
            for start in range(0, steps, plan.width):
                lanes = min(steps - start, plan.width)
                at = address(builder, source, builder.add(here, constant(start)))
                to = address(builder, target, builder.add(there, constant(start)))
                quarters = self._quarters(builder, at, lanes, stage)
                for product, value in enumerate(_factors(builder, quarters)):
                    place = address(builder, to, product * plan.factor_size)
                    builder.store(value, place, align=4)

        whole, rest = divmod(plan.depth, BLOCK)
        if whole:
            for_each(builder, whole, lambda block: lines(block, BLOCK))
        if rest:
            lines(constant(whole), rest)
        builder.ret_void()
        return function

    def _quarters(self, builder: ir.IRBuilder, at: ir.Value, lanes: int, stage: int) -> Matrix:
        """The quarters of a stage's first factor; of one level it is the matrix itself."""
        plan = self.plan
        # Halves of a chunk are neighbours; those of the matrix lie half the columns apart.
        far = plan.inner // 2

        def element(i: int, j: int) -> ir.Value:
            place = i * plan.half_rows * plan.inner + j // 2 * far + j % 2 * plan.depth
            return load_lanes(builder, address(builder, at, place), plan.width, lanes)

        def quarter(i: int, j: int) -> ir.Value:
            if plan.levels == 1:
                return element(i, j)
            return _factor(builder, lambda r, c: element(i + 2 * r, j + 2 * c), stage)

        return [[quarter(i, j) for j in range(2)] for i in range(2)]


def _factors(builder: ir.IRBuilder, a: Matrix) -> list[ir.Value]:
    """The first factors of the seven products, of quarters; see :mod:`.strassen_writer`."""
    s1 = builder.fadd(a[1][0], a[1][1])
    s2 = builder.fsub(s1, a[0][0])
    s3 = builder.fsub(a[0][0], a[1][0])
    s4 = builder.fsub(a[0][1], s2)
    return [a[0][0], a[0][1], s2, s3, s1, a[1][1], s4]


def _factor(
    builder: ir.IRBuilder, quarter: Callable[[int, int], ir.Value], product: int
) -> ir.Value:
    """One of them; only the quarters that it needs are asked for."""
    copied = {0: (0, 0), 1: (0, 1), 5: (1, 1)}
    if product in copied:
        return quarter(*copied[product])
    if product == 3:
        return builder.fsub(quarter(0, 0), quarter(1, 0))
    s1 = builder.fadd(quarter(1, 0), quarter(1, 1))
    if product == 4:
        return s1
    s2 = builder.fsub(s1, quarter(0, 0))
    return s2 if product == 2 else builder.fsub(quarter(0, 1), s2)
