"""Emits the transform of a region's products back to outputs.

Tiles of which some outputs do not exist have functions of their own that leave these out.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ..dense.tile import F32, address, constant, masked_store
from .loops import for_each
from .winograd_plan import Plan
from .winograd_region import POINTER, Region, common, local_function
from .winograd_transforms import Combiner


class OutputTransform:
    """Emits the transform of regions of tiles into one body."""

    def __init__(self, plan: Plan, builder: ir.IRBuilder) -> None:
        self.plan, self.builder = plan, builder
        self.vector = ir.VectorType(F32, plan.width)

    def emit(
        self,
        products: ir.Value,
        out: ir.Value,
        region: Region,
        maps: int,
        finished: Callable[[ir.Value, int], None],
    ) -> None:
        """Transform ``products`` [point][tile][map] of a region to ``out``, an image.

        ``finished(tile row, lines)`` emits what follows each row of tiles.
        """
        plan, builder = self.plan, self.builder
        first_row, rows, first_column, columns = region
        line = plan.output[1] * plan.maps
        for vertical in plan.output_runs(0):
            low, count = common(builder, first_row, rows, (vertical.start, vertical.stop))

            def tile_row(k: ir.Value, low: ir.Value = low, lines: int = vertical.count) -> None:
                row = builder.add(low, k)
                number = builder.mul(builder.sub(row, first_row), columns)
                y = builder.mul(row, constant(plan.tile * line))
                for run in plan.output_runs(1):
                    tile = self._output_function(lines, run.count, maps)
                    start, several = common(builder, first_column, columns, (run.start, run.stop))

                    def one(j: ir.Value, start: ir.Value = start, tile: ir.Function = tile) -> None:
                        column = builder.add(start, j)
                        place = builder.add(number, builder.sub(column, first_column))
                        place = builder.mul(place, constant(plan.product_pitch))
                        x = builder.mul(column, constant(plan.tile * plan.maps))
                        to = address(builder, address(builder, out, y), x)
                        builder.call(tile, [address(builder, products, place), to])

                    for_each(builder, several, one)
                finished(row, lines)

            for_each(builder, count, tile_row)

    def _output_function(self, lines: int, pixels: int, maps: int) -> ir.Function:
        """``tile(products, target)``: this many lines and pixels of one tile."""
        plan = self.plan
        function, fresh = local_function(
            self.builder, f"outputs{lines}x{pixels}of{maps}", (POINTER, POINTER)
        )
        if not fresh:
            return function
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        source, target = function.args
        whole, rest = divmod(maps, plan.width)

        def some(start: ir.Value, lanes: int) -> None:
            at, to = address(builder, source, start), address(builder, target, start)
            self._transform_outputs(builder, at, to, lines, pixels, lanes)

        if whole:
            for_each(
                builder, whole, lambda k: some(builder.mul(k, constant(plan.width)), plan.width)
            )
        if rest:
            some(constant(whole * plan.width), rest)
        builder.ret_void()
        return function

    def _transform_outputs(
        self,
        builder: ir.IRBuilder,
        source: ir.Value,
        target: ir.Value,
        lines: int,
        pixels: int,
        lanes: int,
    ) -> None:
        """One vector of maps of a tile."""
        plan = self.plan
        filtering, combiner = plan.filtering, Combiner(builder, plan.width)
        size = filtering.inputs
        half = []
        for j in range(size):
            column = [
                builder.load(
                    address(builder, source, (i * size + j) * plan.product_step),
                    typ=self.vector,
                    align=4,
                )
                for i in range(size)
            ]
            half.append(combiner.outputs(filtering, column, lines))
        for y in range(lines):
            results = combiner.outputs(filtering, [values[y] for values in half], pixels)
            for x, result in enumerate(results):
                place = address(builder, target, (y * plan.output[1] + x) * plan.maps)
                if lanes == plan.width:
                    builder.store(result, place, align=4)
                else:
                    masked_store(builder, result, place, lanes)
