"""Emits the transform of a region's products back to outputs.

Tiles of which some outputs do not exist have functions of their own that leave these out.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ..dense.epilogue import Epilogue
from ..dense.tile import F32, address, constant, masked_store
from .loops import for_each
from .winograd_plan import Plan
from .winograd_region import POINTER, Region, choose, common, local_function
from .winograd_transforms import Combiner


class OutputTransform:
    """Emits the transform of regions of tiles into one body."""

    def __init__(self, plan: Plan, epilogue: Epilogue, builder: ir.IRBuilder) -> None:
        self.plan, self.epilogue, self.builder = plan, epilogue, builder
        self.vector = ir.VectorType(F32, plan.width)

    def emit(
        self,
        places: tuple[ir.Value, ir.Value, ir.Value | None],
        region: Region,
        maps: int,
        finished: Callable[[ir.Value, int], None],
    ) -> None:
        """Transform the products [point][tile][map] of a region to outputs of an image.

        ``places`` are the products, the image and the bias, each at the first of the maps.
        ``finished(tile row, lines)`` emits what follows each row of tiles.
        """
        plan, builder = self.plan, self.builder
        products, out, bias = places
        more = [] if bias is None else [bias]
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
                        builder.call(tile, [address(builder, products, place), to, *more])

                    for_each(builder, several, one)
                finished(row, lines)

            for_each(builder, count, tile_row)

    def _output_function(self, lines: int, pixels: int, maps: int) -> ir.Function:
        """``tile(products, target, bias...)``: this many lines and pixels of one tile."""
        plan = self.plan
        name = f"outputs{lines}x{pixels}of{maps}"
        pointers = (POINTER,) * (3 if self.epilogue.biased else 2)
        function, fresh = local_function(self.builder, name, pointers)
        if not fresh:
            return function
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        source, target, *bias = function.args

        def some(start: ir.Value, lanes: int) -> None:
            at, to = address(builder, source, start), address(builder, target, start)
            added = None
            if bias:
                place = address(builder, bias[0], start)
                (added,) = self.epilogue.start(builder, place, lanes, plan.width)
            self._transform_outputs(builder, (at, to, added), lines, pixels, lanes)

        def vector(k: ir.Value) -> None:
            start = builder.mul(k, constant(plan.width))
            if maps % plan.width:
                # The last vector has maps of the one before it: less code than for a part of one.
                start = choose(builder, "smin", start, constant(maps - plan.width))
            some(start, plan.width)

        if maps < plan.width:
            some(constant(0), maps)
        else:
            for_each(builder, -(-maps // plan.width), vector)
        builder.ret_void()
        return function

    def _transform_outputs(
        self,
        builder: ir.IRBuilder,
        places: tuple[ir.Value, ir.Value, ir.Value | None],
        lines: int,
        pixels: int,
        lanes: int,
    ) -> None:
        """One vector of maps of a tile: ``places`` are products, target, and its bias."""
        plan = self.plan
        source, target, bias = places
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
            for x, value in enumerate(results):
                result = value if bias is None else builder.fadd(value, bias)
                result = self.epilogue.limited(builder, result)
                place = address(builder, target, (y * plan.output[1] + x) * plan.maps)
                if lanes == plan.width:
                    builder.store(result, place, align=4)
                else:
                    masked_store(builder, result, place, lanes)
