"""Emits Winograd convolutions: what one work item of each schedule does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from ..dense.tile import F32, Shape, address, constant, emit_tile, store_tile
from ..emitted import Finish
from .geometry import balanced
from .loops import for_each
from .winograd_plan import Plan
from .winograd_regions import POINTER, Region, RegionEmitter, local_function


class WinogradWriter:
    """Emits the bodies of one convolution."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def write_blocks(self, function: ir.Function, finish: Finish) -> None:
        """One block of tiles of one image, from the source to the output."""
        plan = self.plan
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, x = function.args[:2]
        packed, out = function.args[6], function.args[8]
        inputs = _stack(builder, plan.input_size)
        products = _stack(builder, plan.product_size)
        regions = RegionEmitter(plan, builder)
        cuts = plan.cuts(0), plan.cuts(1)
        image = builder.sdiv(item, constant(plan.blocks))
        block = builder.srem(item, constant(plan.blocks))
        across = constant(len(cuts[1]))
        first_row, rows = _cut(builder, builder.sdiv(block, across), cuts[0])
        first_column, columns = _cut(builder, builder.srem(block, across), cuts[1])
        region = (first_row, rows, first_column, columns)
        regions.inputs(self._source(builder, x, image), inputs, region)
        count = builder.mul(rows, columns)

        def group(maps: int, first: ir.Value) -> None:
            start = builder.mul(first, constant(plan.points * plan.point_size))
            kernels = address(builder, packed, start)
            for tiles in sorted({r * c for r in cuts[0] for c in cuts[1]}):
                with builder.if_then(builder.icmp_signed("==", count, constant(tiles))):
                    self._products(builder, (inputs, kernels, products), tiles, maps)
            column = builder.mul(first, constant(plan.columns))
            self._outputs(regions, finish, products, out, image, region, column, maps)

        self._each_group(builder, plan.group, group)
        builder.ret(constant(0))

    def write_inputs(self, function: ir.Function, finish: Finish) -> None:
        """One row of tiles of one image: the source to transformed inputs."""
        plan = self.plan
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, x, inputs = function.args[0], function.args[1], function.args[6]
        image, region = self._tile_row(builder, item)
        target = address(builder, inputs, builder.mul(image, constant(plan.input_size)))
        first = builder.mul(region[0], constant(plan.tiles[1] * plan.input_pitch))
        target = address(builder, target, first)
        RegionEmitter(plan, builder).inputs(self._source(builder, x, image), target, region)
        builder.ret(constant(0))

    def write_products(self, function: ir.Function, finish: Finish) -> None:
        """One point times one group of panels, for all images."""
        plan = self.plan
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, inputs, images = function.args[:3]
        packed, products = function.args[4], function.args[6]
        point = builder.sdiv(item, constant(plan.groups))
        number = builder.srem(item, constant(plan.groups))
        a = address(builder, inputs, builder.mul(point, constant(plan.input_step)))
        b = address(builder, packed, builder.mul(point, constant(plan.point_size)))
        c = address(builder, products, builder.mul(point, constant(plan.product_step)))
        tiles = plan.tiles[0] * plan.tiles[1]

        def panel(which: ir.Value, columns: int) -> None:
            step = builder.mul(which, constant(plan.points * plan.point_size))
            at_b = address(builder, b, step)
            at_c = address(builder, c, builder.mul(which, constant(plan.columns)))

            def image(k: ir.Value) -> None:
                at_a = address(builder, a, builder.mul(k, constant(plan.input_size)))
                to = address(builder, at_c, builder.mul(k, constant(plan.product_size)))
                self._panel(builder, (at_a, at_b, to), tiles, columns)

            for_each(builder, images, image)

        def group(maps: int, first: ir.Value) -> None:
            whole, rest = divmod(maps, plan.columns)
            if whole:
                for_each(builder, whole, lambda k: panel(builder.add(first, k), plan.columns))
            if rest:
                panel(builder.add(first, constant(whole)), rest)

        full = plan.maps // (plan.group * plan.columns)
        first = builder.mul(number, constant(plan.group))
        for maps, is_it in self._group_kinds():
            with builder.if_then(builder.icmp_signed(is_it, number, constant(full))):
                group(maps, first)
        builder.ret(constant(0))

    def write_outputs(self, function: ir.Function, finish: Finish) -> None:
        """One row of tiles of one image: products to the output."""
        plan = self.plan
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, products, out = function.args[0], function.args[1], function.args[4]
        image, region = self._tile_row(builder, item)
        source = address(builder, products, builder.mul(image, constant(plan.product_size)))
        first = builder.mul(region[0], constant(plan.tiles[1] * plan.product_pitch))
        source = address(builder, source, first)
        regions = RegionEmitter(plan, builder)

        def group(maps: int, number: ir.Value) -> None:
            column = builder.mul(number, constant(plan.columns))
            at = address(builder, source, column)
            self._outputs(regions, finish, at, out, image, region, column, maps)

        self._each_group(builder, plan.group, group)
        builder.ret(constant(0))

    # --- pieces --------------------------------------------------------------------------

    def _tile_row(self, builder: ir.IRBuilder, item: ir.Value) -> tuple[ir.Value, Region]:
        rows = constant(self.plan.tiles[0])
        region = (builder.srem(item, rows), constant(1), constant(0), constant(self.plan.tiles[1]))
        return builder.sdiv(item, rows), region

    def _source(self, builder: ir.IRBuilder, x: ir.Value, image: ir.Value) -> ir.Value:
        plan = self.plan
        size = plan.source[0] * plan.source[1] * plan.channels
        return address(builder, x, builder.mul(image, constant(size)))

    def _group_kinds(self) -> list[tuple[int, str]]:
        """Maps of a group, and how its number compares with that of full groups."""
        plan = self.plan
        full = plan.group * plan.columns
        kinds = [(full, "<")] if plan.maps >= full else []
        return [*kinds, (plan.maps % full, "==")] if plan.maps % full else kinds

    def _each_group(
        self, builder: ir.IRBuilder, size: int, body: Callable[[int, ir.Value], None]
    ) -> None:
        """Emit ``body(maps, first panel)`` for all groups of ``size`` panels."""
        plan = self.plan
        whole, rest = divmod(plan.maps, size * plan.columns)
        if whole:
            for_each(
                builder,
                whole,
                lambda k: body(size * plan.columns, builder.mul(k, constant(size))),
            )
        if rest:
            body(rest, constant(whole * size))

    def _products(
        self, builder: ir.IRBuilder, places: Sequence[ir.Value], tiles: int, maps: int
    ) -> None:
        """All points of a block for one group of panels."""
        plan = self.plan
        inputs, kernels, products = places
        whole, rest = divmod(maps, plan.columns)

        def point(p: ir.Value) -> None:
            a = address(builder, inputs, builder.mul(p, constant(plan.input_step)))
            b = address(builder, kernels, builder.mul(p, constant(plan.point_size)))
            c = address(builder, products, builder.mul(p, constant(plan.product_step)))

            def panel(k: ir.Value, columns: int) -> None:
                step = builder.mul(k, constant(plan.points * plan.point_size))
                at_c = address(builder, c, builder.mul(k, constant(plan.columns)))
                self._panel(builder, (a, address(builder, b, step), at_c), tiles, columns)

            if whole:
                for_each(builder, whole, lambda k: panel(k, plan.columns))
            if rest:
                panel(constant(whole), rest)

        for_each(builder, plan.points, point)

    def _panel(
        self, builder: ir.IRBuilder, places: Sequence[ir.Value], tiles: int, columns: int
    ) -> None:
        """One panel of one point times all tiles, by register tiles of about equal height."""
        plan = self.plan
        a, b, c = places
        heights = balanced(tiles, plan.rows)
        start = 0
        for height in sorted(set(heights), reverse=True):
            count = heights.count(height)
            tile = self._tile_function(builder, height, columns)

            def one(
                k: ir.Value, tile: ir.Function = tile, height: int = height, start: int = start
            ) -> None:
                row = builder.add(builder.mul(k, constant(height)), constant(start))
                at_a = address(builder, a, builder.mul(row, constant(plan.input_pitch)))
                at_c = address(builder, c, builder.mul(row, constant(plan.product_pitch)))
                builder.call(tile, [at_a, b, at_c])

            for_each(builder, count, one)
            start += count * height

    def _tile_function(self, builder: ir.IRBuilder, rows: int, columns: int) -> ir.Function:
        """One register tile as a function of its own; inlined tiles are slower."""
        plan = self.plan
        function, fresh = local_function(builder, f"tile{rows}x{columns}", 3)
        if fresh:
            inside = ir.IRBuilder(function.append_basic_block("entry"))
            shape = Shape(rows, -(-columns // plan.width), plan.width)
            a, b, c = function.args
            acc = emit_tile(inside, a, b, plan.channels, shape, plan.input_pitch, 1, plan.columns)
            # Rows of products are whole vectors long.
            store_tile(inside, acc, c, shape, plan.product_pitch, shape.columns)
            inside.ret_void()
        return function

    def _outputs(
        self,
        regions: RegionEmitter,
        finish: Finish,
        products: ir.Value,
        out: ir.Value,
        image: ir.Value,
        region: Region,
        column: ir.Value,
        maps: int,
    ) -> None:
        """Transform and finish the outputs of a region, as many maps from ``column`` on."""
        plan, builder = self.plan, regions.builder
        pixels = plan.output[0] * plan.output[1]
        first = builder.mul(image, constant(pixels))
        target = address(builder, out, builder.mul(first, constant(plan.maps)))
        cuts = [plan.tiles[1]] if plan.by_points else plan.cuts(1)

        def finished(tile_row: ir.Value, lines: int) -> None:
            line = builder.mul(tile_row, constant(plan.tile * plan.output[1]))
            row = builder.add(first, line)
            if len(cuts) == 1:
                finish(builder, row, lines * plan.output[1], column, maps)
                return
            left = builder.mul(region[2], constant(plan.tile))
            row = builder.add(row, left)
            end = builder.add(region[2], region[3])
            for tiles in sorted(set(cuts)):
                rest = plan.output[1] - (plan.tiles[1] - tiles) * plan.tile
                is_last = builder.icmp_signed("==", end, constant(plan.tiles[1]))
                for run, last in ((tiles * plan.tile, False), (rest, True)):
                    if last and tiles != cuts[-1]:
                        continue
                    same = builder.icmp_signed("==", region[3], constant(tiles))
                    where = is_last if last else builder.not_(is_last)
                    with builder.if_then(builder.and_(same, where)):
                        for k in range(lines):
                            at = builder.add(row, constant(k * plan.output[1]))
                            finish(builder, at, run, column, maps)

        regions.outputs(products, address(builder, target, column), region, maps, finished)


def _cut(builder: ir.IRBuilder, number: ir.Value, cuts: list[int]) -> tuple[ir.Value, ir.Value]:
    """Start and size of one of the cuts, of which the first ones may be larger by one."""
    small = cuts[-1]
    larger = sum(cut - small for cut in cuts)
    is_larger = builder.icmp_signed("<", number, constant(larger))
    extra = builder.select(is_larger, number, constant(larger))
    start = builder.add(builder.mul(number, constant(small)), extra)
    return start, builder.add(constant(small), builder.zext(is_larger, constant(0).type))


def _stack(builder: ir.IRBuilder, floats: int) -> ir.Value:
    """Scratch memory of one item on the thread's stack."""
    memory = builder.alloca(F32, size=floats)
    memory.align, memory.type = 64, POINTER
    return memory
