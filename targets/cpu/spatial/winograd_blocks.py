"""Winograd convolution block by block: what is between the steps stays in a nearby cache."""

from __future__ import annotations

from functools import partial

from llvmlite import ir

from ..dense.epilogue import Epilogue
from ..dense.tile import address, constant
from ..emitted import Finish
from .loops import for_each
from .scratch import Scratch
from .winograd_inputs import InputTransform
from .winograd_plan import Plan
from .winograd_products import Products, next_panel, part_of
from .winograd_region import Region
from .winograd_writer import WinogradWriter


class BlockWriter(WinogradWriter):
    """Emits a body whose items are blocks of tiles, from the source to the output."""

    def __init__(self, plan: Plan, epilogue: Epilogue, lines: int, scratch: Scratch) -> None:
        """What is between the steps lies in ``scratch``; the rest as for all schedules."""
        super().__init__(plan, epilogue, lines)
        self.scratch = scratch

    def write(self, function: ir.Function, finish: Finish) -> None:
        """One block of one image."""
        plan = self.plan
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, x = function.args[:2]
        packed, out = function.args[6], function.args[8]
        bias = function.args[10] if self.epilogue.biased else None
        others = function.args[12 if self.epilogue.biased else 10] if self.lines else None
        # Behind the writer's other operands: each is a place and an extent.
        last = 10 + 2 * self.epilogue.biased + 2 * (self.lines > 0)
        inputs, flag = self.scratch.borrow(builder, function.args[last], function.args[last + 2])
        products = address(builder, inputs, plan.input_size)
        image = builder.sdiv(item, constant(plan.blocks))
        block = builder.srem(item, constant(plan.blocks))
        region = self._region(builder, block)
        source = self.image_of(builder, x, image)
        InputTransform(plan, builder).emit(source, inputs, region)
        sizes = sorted({r * c for r in plan.cuts(0) for c in plan.cuts(1)})
        tiles = builder.mul(region[1], region[3])
        multiply = Products(plan, builder)
        # While panels are multiplied, what comes next is fetched part by part.
        parts = plan.points * plan.panels
        following = self._following(builder, source, block)
        written = self._output(builder, out, image, region)

        def group(maps: int, first: ir.Value) -> None:
            column = builder.mul(first, constant(plan.columns))

            def point(p: ir.Value, count: int) -> None:
                a = address(builder, inputs, builder.mul(p, constant(plan.input_step)))
                c = address(builder, products, builder.mul(p, constant(plan.product_step)))

                def panel(k: ir.Value, columns: int, depth: int, before: ir.Value) -> None:
                    which = builder.add(first, k)
                    at_b = self.panel_place(builder, packed, before, which, depth)
                    at_c = address(builder, c, builder.mul(k, constant(plan.columns)))
                    number = builder.mul(which, constant(plan.points))
                    number = builder.add(number, p)
                    ahead = [
                        next_panel(builder, at_b, depth * plan.columns),
                        part_of(builder, following, number, parts, False),
                        part_of(builder, written, number, parts, True),
                        *self.others_ahead(
                            builder,
                            others,
                            builder.add(builder.mul(block, constant(parts)), number),
                            plan.blocks * parts,
                        ),
                    ]
                    multiply.panel((a, at_b, at_c), count, depth, columns, ahead)

                def panels(depth: int, before: ir.Value) -> None:
                    each = partial(panel, depth=depth, before=before)
                    self.each_panel(builder, maps, each)

                self.at_point(builder, p, panels)

            for size in sizes:
                with builder.if_then(builder.icmp_signed("==", tiles, constant(size))):
                    for_each(builder, plan.points, partial(point, count=size))
            places = products, out, bias
            self.finish_outputs(builder, finish, places, image, region, column, maps)

        self.each_group(builder, group)
        self.scratch.give_back(builder, flag)
        builder.ret(constant(0))

    def _region(self, builder: ir.IRBuilder, block: ir.Value) -> Region:
        cuts = self.plan.cuts(0), self.plan.cuts(1)
        across = constant(len(cuts[1]))
        first_row, rows = _cut(builder, builder.sdiv(block, across), cuts[0])
        first_column, columns = _cut(builder, builder.srem(block, across), cuts[1])
        return first_row, rows, first_column, columns

    def _following(
        self, builder: ir.IRBuilder, source: ir.Value, block: ir.Value
    ) -> tuple[ir.Value, int, int, int]:
        """The source of the next block; behind the last one that is anything."""
        plan = self.plan
        region = self._region(builder, builder.add(block, constant(1)))
        y = builder.sub(builder.mul(region[0], constant(plan.advance)), constant(plan.pads[0]))
        x = builder.sub(builder.mul(region[2], constant(plan.advance)), constant(plan.pads[1]))
        pixel = builder.add(builder.mul(y, constant(plan.source[1])), x)
        place = address(builder, source, builder.mul(pixel, constant(plan.channels)))
        more = plan.span - plan.advance
        rows, columns = (max(plan.cuts(axis)) * plan.advance + more for axis in (0, 1))
        return place, rows, columns * plan.channels, plan.source[1] * plan.channels

    def _output(
        self, builder: ir.IRBuilder, out: ir.Value, image: ir.Value, region: Region
    ) -> tuple[ir.Value, int, int, int]:
        """The output of a block."""
        plan = self.plan
        y = builder.mul(image, constant(plan.output[0]))
        y = builder.add(y, builder.mul(region[0], constant(plan.tile)))
        x = builder.mul(region[2], constant(plan.tile))
        pixel = builder.add(builder.mul(y, constant(plan.output[1])), x)
        place = address(builder, out, builder.mul(pixel, constant(plan.maps)))
        rows, pixels = (max(plan.cuts(axis)) * plan.tile for axis in (0, 1))
        return place, rows, pixels * plan.maps, plan.output[1] * plan.maps


def _cut(builder: ir.IRBuilder, number: ir.Value, cuts: list[int]) -> tuple[ir.Value, ir.Value]:
    """Start and size of one of the cuts, of which the first ones may be larger by one."""
    small = cuts[-1]
    larger = sum(cut - small for cut in cuts)
    is_larger = builder.icmp_signed("<", number, constant(larger))
    extra = builder.select(is_larger, number, constant(larger))
    start = builder.add(builder.mul(number, constant(small)), extra)
    return start, builder.add(constant(small), builder.zext(is_larger, constant(0).type))
