"""Winograd convolution block by block: what is between the steps stays in a nearby cache."""

from __future__ import annotations

from llvmlite import ir

from ..dense.tile import address, constant
from ..emitted import Finish
from .loops import for_each
from .winograd_inputs import InputTransform
from .winograd_products import Products, fetch_part
from .winograd_region import Region, stack
from .winograd_writer import WinogradWriter


class BlockWriter(WinogradWriter):
    """Emits a body whose items are blocks of tiles, from the source to the output."""

    def write(self, function: ir.Function, finish: Finish) -> None:
        """One block of one image."""
        plan = self.plan
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, x = function.args[:2]
        packed, out = function.args[6], function.args[8]
        inputs, products = stack(builder, plan.input_size), stack(builder, plan.product_size)
        image = builder.sdiv(item, constant(plan.blocks))
        block = builder.srem(item, constant(plan.blocks))
        region = self._region(builder, block)
        source = self.image_of(builder, x, image)
        InputTransform(plan, builder).emit(source, inputs, region)
        sizes = sorted({r * c for r in plan.cuts(0) for c in plan.cuts(1)})
        tiles = builder.mul(region[1], region[3])
        multiply = Products(plan, builder)

        def group(maps: int, first: ir.Value) -> None:
            column = builder.mul(first, constant(plan.columns))

            def point(p: ir.Value, count: int) -> None:
                a = address(builder, inputs, builder.mul(p, constant(plan.input_step)))
                b = builder.add(builder.mul(p, constant(plan.panels)), first)
                b = address(builder, packed, builder.mul(b, constant(plan.panel_size)))
                c = address(builder, products, builder.mul(p, constant(plan.product_step)))
                if plan.fetches_images:
                    self._fetch_source(builder, source, block, first, p)
                    self._fetch_output(builder, out, image, region, column, maps, p)

                def panel(k: ir.Value, columns: int) -> None:
                    at_b = address(builder, b, builder.mul(k, constant(plan.panel_size)))
                    at_c = address(builder, c, builder.mul(k, constant(plan.columns)))
                    multiply.panel((a, at_b, at_c), count, columns)

                self.each_panel(builder, maps, panel)

            for size in sizes:
                with builder.if_then(builder.icmp_signed("==", tiles, constant(size))):
                    for_each(builder, plan.points, lambda p, size=size: point(p, size))
            self.finish_outputs(builder, finish, (products, out), image, region, column, maps)

        self.each_group(builder, group)
        builder.ret(constant(0))

    def _region(self, builder: ir.IRBuilder, block: ir.Value) -> Region:
        cuts = self.plan.cuts(0), self.plan.cuts(1)
        across = constant(len(cuts[1]))
        first_row, rows = _cut(builder, builder.sdiv(block, across), cuts[0])
        first_column, columns = _cut(builder, builder.srem(block, across), cuts[1])
        return first_row, rows, first_column, columns

    def _fetch_source(
        self,
        builder: ir.IRBuilder,
        source: ir.Value,
        block: ir.Value,
        first: ir.Value,
        point: ir.Value,
    ) -> None:
        """Fetch a part of what the next block reads (behind the last one, of anything)."""
        plan = self.plan
        region = self._region(builder, builder.add(block, constant(1)))
        y = builder.sub(builder.mul(region[0], constant(plan.tile)), constant(plan.pads[0]))
        x = builder.sub(builder.mul(region[2], constant(plan.tile)), constant(plan.pads[1]))
        pixel = builder.add(builder.mul(y, constant(plan.source[1])), x)
        place = address(builder, source, builder.mul(pixel, constant(plan.channels)))
        more = plan.filtering.inputs - plan.tile
        rows, columns = (max(plan.cuts(axis)) * plan.tile + more for axis in (0, 1))
        step = plan.source[1] * plan.channels
        rectangle = (place, rows, columns * plan.channels, step)
        number = builder.mul(builder.sdiv(first, constant(plan.group)), constant(plan.points))
        number = builder.add(number, point)
        fetch_part(builder, rectangle, number, plan.points * plan.groups, write=False)

    def _fetch_output(
        self,
        builder: ir.IRBuilder,
        out: ir.Value,
        image: ir.Value,
        region: Region,
        column: ir.Value,
        maps: int,
        point: ir.Value,
    ) -> None:
        """Fetch a part of what this block will write; stores would wait for it."""
        plan = self.plan
        y = builder.mul(image, constant(plan.output[0]))
        y = builder.add(y, builder.mul(region[0], constant(plan.tile)))
        x = builder.mul(region[2], constant(plan.tile))
        pixel = builder.add(builder.mul(y, constant(plan.output[1])), x)
        place = address(builder, out, builder.mul(pixel, constant(plan.maps)))
        place = address(builder, place, column)
        rows, pixels = (max(plan.cuts(axis)) * plan.tile for axis in (0, 1))
        line = plan.output[1] * plan.maps
        if maps == plan.maps:
            rectangle = (place, rows, pixels * plan.maps, line)
            fetch_part(builder, rectangle, point, plan.points, write=True)
            return
        for k in range(rows):
            at = address(builder, place, k * line)
            fetch_part(builder, (at, pixels, maps, plan.maps), point, plan.points, write=True)


def _cut(builder: ir.IRBuilder, number: ir.Value, cuts: list[int]) -> tuple[ir.Value, ir.Value]:
    """Start and size of one of the cuts, of which the first ones may be larger by one."""
    small = cuts[-1]
    larger = sum(cut - small for cut in cuts)
    is_larger = builder.icmp_signed("<", number, constant(larger))
    extra = builder.select(is_larger, number, constant(larger))
    start = builder.add(builder.mul(number, constant(small)), extra)
    return start, builder.add(constant(small), builder.zext(is_larger, constant(0).type))
