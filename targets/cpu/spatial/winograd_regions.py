"""Emits the transforms of a region of tiles of an image, borders included.

A tile whose inputs lie partly outside the source, or whose outputs partly do not exist, has a
function of its own that leaves these out; no padding is stored, read or computed with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ..dense.tile import (
    F32,
    I32,
    I64,
    address,
    constant,
    intrinsic,
    lanes_mask,
    masked_load_function,
    masked_store,
)
from .loops import for_each
from .winograd_plan import Plan
from .winograd_transforms import Combiner, MaybeZero

POINTER = ir.PointerType()
Region = tuple[ir.Value, ir.Value, ir.Value, ir.Value]  # tile row, rows, tile column, columns
Range = tuple[int, int]


class RegionEmitter:
    """Emits transforms of regions into one body."""

    def __init__(self, plan: Plan, builder: ir.IRBuilder) -> None:
        self.plan, self.builder = plan, builder
        self.vector = ir.VectorType(F32, plan.width)

    # --- inputs --------------------------------------------------------------------------

    def inputs(self, image: ir.Value, target: ir.Value, region: Region) -> None:
        """Transform the tiles of a region of ``image`` to ``target`` [point][tile][channel]."""
        plan, builder = self.plan, self.builder
        first_row, _, first_column, columns = region
        line = plan.source[1] * plan.channels
        for vertical in plan.input_runs(0):
            for horizontal in plan.input_runs(1):
                tile = self._input_function(
                    (vertical.low, vertical.high), (horizontal.low, horizontal.high)
                )

                def one(row: ir.Value, column: ir.Value, tile: ir.Function = tile) -> None:
                    y = builder.mul(row, constant(plan.tile))
                    y = builder.sub(y, constant(plan.pads[0]))
                    x = builder.mul(column, constant(plan.tile))
                    x = builder.sub(x, constant(plan.pads[1]))
                    at = address(builder, image, builder.mul(y, constant(line)))
                    at = address(builder, at, builder.mul(x, constant(plan.channels)))
                    number = builder.mul(builder.sub(row, first_row), columns)
                    number = builder.add(number, builder.sub(column, first_column))
                    to = address(builder, target, builder.mul(number, constant(plan.input_pitch)))
                    builder.call(tile, [at, to])

                rows = (vertical.start, vertical.stop)
                self._each_tile(region, rows, (horizontal.start, horizontal.stop), one)

    def _input_function(self, rows: Range, columns: Range) -> ir.Function:
        """``tile(source, target)``: one tile, of which these rows and columns are inside."""
        plan = self.plan
        name = "inputs{}to{}x{}to{}".format(*rows, *columns)
        function, fresh = self._function(name, 2)
        if not fresh:
            return function
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        source, target = function.args
        line = plan.source[1] * plan.channels
        whole, rest = divmod(plan.channels, plan.width)

        def channels(start: ir.Value, lanes: int) -> None:
            at, to = address(builder, source, start), address(builder, target, start)

            def value(y: int, x: int) -> MaybeZero:
                if not (rows[0] <= y < rows[1] and columns[0] <= x < columns[1]):
                    return None
                place = address(builder, at, y * line + x * plan.channels)
                return self._load(builder, place, lanes)

            self._transform_inputs(builder, value, to)

        if whole:
            for_each(
                builder, whole, lambda k: channels(builder.mul(k, constant(plan.width)), plan.width)
            )
        if rest:
            channels(constant(whole * plan.width), rest)
        builder.ret_void()
        return function

    def _transform_inputs(
        self, builder: ir.IRBuilder, value: Callable[[int, int], MaybeZero], target: ir.Value
    ) -> None:
        """One vector of channels of a tile.

        Values are loaded again for each part of the points of a column: more than a dozen
        half-transformed vectors at once would not fit the registers beside what they need.
        """
        filtering, combiner = self.plan.filtering, Combiner(builder, self.plan.width)
        size = filtering.inputs
        for part in filtering.parts:
            needed = {number for number, _ in (*part.even, *part.odd)}
            half: list[list[MaybeZero]] = []
            for x in range(size):
                column = [value(y, x) if y in needed else None for y in range(size)]
                half.append(combiner.inputs(part, column))
            for position, i in enumerate(part.points):
                row = [values[position] for values in half]
                for across in filtering.parts:
                    results = combiner.inputs(across, row)
                    for j, result in zip(across.points, results, strict=True):
                        place = address(builder, target, (i * size + j) * self.plan.input_step)
                        stored = combiner.zero() if result is None else result
                        builder.store(stored, place, align=4)

    # --- outputs -------------------------------------------------------------------------

    def outputs(
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
            low, count = self._common(first_row, rows, (vertical.start, vertical.stop))

            def tile_row(k: ir.Value, low: ir.Value = low, lines: int = vertical.count) -> None:
                row = builder.add(low, k)
                number = builder.mul(builder.sub(row, first_row), columns)
                y = builder.mul(row, constant(plan.tile * line))
                for run in plan.output_runs(1):
                    tile = self._output_function(lines, run.count, maps)
                    start, several = self._common(first_column, columns, (run.start, run.stop))

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
        function, fresh = self._function(f"outputs{lines}x{pixels}of{maps}", 2)
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

    # --- pieces --------------------------------------------------------------------------

    def _each_tile(
        self,
        region: Region,
        rows: Range,
        columns: Range,
        body: Callable[[ir.Value, ir.Value], None],
    ) -> None:
        """Emit ``body(row, column)`` for the tiles of the region within these ranges."""
        builder = self.builder
        low, count = self._common(region[0], region[1], rows)
        left, across = self._common(region[2], region[3], columns)

        def row(k: ir.Value) -> None:
            at = builder.add(low, k)
            for_each(builder, across, lambda j: body(at, builder.add(left, j)))

        for_each(builder, count, row)

    def _common(self, first: ir.Value, count: ir.Value, run: Range) -> tuple[ir.Value, ir.Value]:
        """Start and length of what ``count`` tiles from ``first`` on share with a run of tiles."""
        builder = self.builder
        low = self._choose("smax", first, constant(run[0]))
        high = self._choose("smin", builder.add(first, count), constant(run[1]))
        return low, builder.sub(high, low)

    def _choose(self, name: str, left: ir.Value, right: ir.Value) -> ir.Value:
        type_ = ir.FunctionType(I64, [I64, I64])
        function = intrinsic(self.builder.module, f"llvm.{name}.i64", type_)
        return self.builder.call(function, [left, right])

    def _load(self, builder: ir.IRBuilder, place: ir.Value, lanes: int) -> ir.Value:
        if lanes == self.plan.width:
            return builder.load(place, typ=self.vector, align=4)
        load = masked_load_function(builder.module, self.plan.width)
        zero = ir.Constant(self.vector, None)
        mask = lanes_mask(self.plan.width, lanes)
        return builder.call(load, [place, ir.Constant(I32, 4), mask, zero])

    def _function(self, name: str, pointers: int) -> tuple[ir.Function, bool]:
        """A function of its own beside the body, and whether it has to be written yet."""
        return local_function(self.builder, name, pointers)


def local_function(builder: ir.IRBuilder, name: str, pointers: int) -> tuple[ir.Function, bool]:
    """A function that only the body uses, and whether it has to be written yet."""
    module: Any = builder.module
    full = f"{builder.function.name}.{name}"
    if full in module.globals:
        return module.globals[full], False
    type_ = ir.FunctionType(ir.VoidType(), [POINTER] * pointers)
    function = ir.Function(module, type_, full)
    function.linkage = "internal"
    function.attributes.add("noinline")
    for argument in function.args:
        argument.add_attribute("noalias")
    return function, True
