"""Winograd convolution step by step for whole images, so that kernels are read only once."""

from __future__ import annotations

from functools import partial

from llvmlite import ir

from ..dense.tile import address, constant
from ..emitted import Finish
from .loops import for_each
from .winograd_inputs import InputTransform
from .winograd_products import Products, next_panel
from .winograd_region import Region
from .winograd_writer import WinogradWriter


class PointWriter(WinogradWriter):
    """Emits three bodies; what is between them lies in workspaces."""

    def write_inputs(self, function: ir.Function, finish: Finish) -> None:
        """One row of tiles of one image: the source to transformed inputs."""
        plan = self.plan
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, x, inputs = function.args[0], function.args[1], function.args[6]
        image, region = self._tile_row(builder, item)
        target = address(builder, inputs, builder.mul(image, constant(plan.input_size)))
        first = builder.mul(region[0], constant(plan.tiles[1] * plan.input_pitch))
        target = address(builder, target, first)
        InputTransform(plan, builder).emit(self.image_of(builder, x, image), target, region)
        builder.ret(constant(0))

    def write_products(self, function: ir.Function, finish: Finish) -> None:
        """One point times one group of panels, for all images."""
        plan = self.plan
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, inputs, images = function.args[:3]
        packed, products = function.args[4], function.args[6]
        others = function.args[9] if self.lines else None
        point = builder.sdiv(item, constant(plan.groups))
        number = builder.srem(item, constant(plan.groups))
        first = builder.mul(number, constant(plan.group))
        a = address(builder, inputs, builder.mul(point, constant(plan.input_step)))
        c = address(builder, products, builder.mul(point, constant(plan.product_step)))
        c = address(builder, c, builder.mul(first, constant(plan.columns)))
        multiply = Products(plan, builder)

        def panel(k: ir.Value, columns: int, depth: int, before: ir.Value) -> None:
            panel_number = builder.add(first, k)
            at_b = self.panel_place(builder, packed, before, panel_number, depth)
            at_c = address(builder, c, builder.mul(k, constant(plan.columns)))
            which = builder.add(builder.mul(point, constant(plan.panels)), panel_number)
            parts = plan.points * plan.panels
            ahead = [
                next_panel(builder, at_b, depth * plan.columns),
                *self.others_ahead(builder, others, which, parts),
            ]

            def image(number: ir.Value) -> None:
                from_ = address(builder, a, builder.mul(number, constant(plan.input_size)))
                to = address(builder, at_c, builder.mul(number, constant(plan.product_size)))
                multiply.panel((from_, at_b, to), plan.block_tiles, depth, columns, ahead)

            for_each(builder, images, image)

        def panels(maps: int, depth: int, before: ir.Value) -> None:
            self.each_panel(builder, maps, partial(panel, depth=depth, before=before))

        whole, rest = divmod(plan.maps, plan.group * plan.columns)
        for maps, comparison in ((plan.group * plan.columns, "<"), (rest, "==")):
            if maps and (whole or comparison == "=="):
                is_it = builder.icmp_signed(comparison, number, constant(whole))
                with builder.if_then(is_it):
                    self.at_point(builder, point, partial(panels, maps))
        builder.ret(constant(0))

    def write_outputs(self, function: ir.Function, finish: Finish) -> None:
        """One row of tiles of one image: products to the output."""
        plan = self.plan
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, products, out = function.args[0], function.args[1], function.args[4]
        bias = function.args[6] if self.epilogue.biased else None
        image, region = self._tile_row(builder, item)
        source = address(builder, products, builder.mul(image, constant(plan.product_size)))
        first = builder.mul(region[0], constant(plan.tiles[1] * plan.product_pitch))
        source = address(builder, source, first)

        def group(maps: int, first_panel: ir.Value) -> None:
            column = builder.mul(first_panel, constant(plan.columns))
            places = address(builder, source, column), out, bias
            self.finish_outputs(builder, finish, places, image, region, column, maps)

        self.each_group(builder, group)
        builder.ret(constant(0))

    def _tile_row(self, builder: ir.IRBuilder, item: ir.Value) -> tuple[ir.Value, Region]:
        rows = constant(self.plan.tiles[0])
        region = (builder.srem(item, rows), constant(1), constant(0), constant(self.plan.tiles[1]))
        return builder.sdiv(item, rows), region
