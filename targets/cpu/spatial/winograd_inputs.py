"""Emits the transform of a region's input tiles, one axis after the other.

First each column of a few neighbouring tiles is transformed along its rows; columns that two
tiles share are transformed once, and the source is read in long runs. The result, which stays
in the nearest cache, is then transformed along its columns. What lies outside the source is
known when code is emitted (rows) or written as zeros between the two steps (columns): no
padding is stored or read. With stride 2 inputs of even and of odd numbers are transformed each
on their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from llvmlite import ir

from ..constants import short, zeros
from ..dense.tile import (
    F32,
    address,
    constant,
    lanes_mask,
    masked_load_function,
)
from .loops import for_each
from .winograd_plan import InputRun, Plan
from .winograd_region import POINTER, Region, choose, common, local_function, stack
from .winograd_transforms import Combiner, MaybeZero

# Channels that are transformed at once, and floats that may lie between the two steps.
_CHANNELS = 64
_BETWEEN = 7168


class InputTransform:
    """Emits the transform of regions of tiles into one body."""

    def __init__(self, plan: Plan, builder: ir.IRBuilder) -> None:
        self.plan, self.builder = plan, builder
        self.size = plan.span
        self.shared = plan.span - plan.advance  # columns of neighbouring tiles
        self.vector = ir.VectorType(F32, plan.width)
        pieces = -(-plan.channels // _CHANNELS)
        vectors = -(-plan.channels // plan.width)
        self.piece = -(-vectors // pieces) * plan.width  # channels at once
        fitting = _BETWEEN // (self.size * self.piece) - self.shared
        self.tiles = max(1, min(plan.tiles[1], fitting // plan.advance))  # tiles at once
        self.most_columns = self.tiles * plan.advance + self.shared
        self.row_step = self.most_columns * self.piece
        with builder.goto_entry_block():
            self.between = stack(builder, self.size * self.row_step)

    def emit(self, image: ir.Value, target: ir.Value, region: Region) -> None:
        """Transform the tiles of a region of ``image``.

        ``target`` is [point][tile][phase and channel].
        """
        plan, builder = self.plan, self.builder
        first_row, rows, _, columns = region
        runs = builder.sdiv(builder.add(columns, constant(self.tiles - 1)), constant(self.tiles))
        for vertical in plan.input_runs(0):
            low, count = common(builder, first_row, rows, (vertical.start, vertical.stop))

            def tile_row(k: ir.Value, low: ir.Value = low, vertical: InputRun = vertical) -> None:
                row = builder.add(low, k)
                number = builder.mul(builder.sub(row, first_row), columns)
                for_each(
                    builder,
                    runs,
                    lambda run: self._run(image, target, region, vertical, (row, number, run)),
                )

            for_each(builder, count, tile_row)

    def _run(
        self,
        image: ir.Value,
        target: ir.Value,
        region: Region,
        vertical: InputRun,
        place: tuple[ir.Value, ir.Value, ir.Value],
    ) -> None:
        """A few neighbouring tiles of one row of tiles, all their channels."""
        plan, builder = self.plan, self.builder
        row, number, run = place
        start = builder.mul(run, constant(self.tiles))
        left = builder.sub(region[3], start)
        tiles = choose(builder, "smin", left, constant(self.tiles))
        columns = builder.mul(tiles, constant(plan.advance))
        columns = builder.add(columns, constant(self.shared))
        # Columns from ``x`` on: some before the source, some inside, some behind.
        x = builder.mul(builder.add(region[2], start), constant(plan.advance))
        x = builder.sub(x, constant(plan.pads[1]))
        zero = constant(0)
        low = choose(builder, "smin", columns, choose(builder, "smax", zero, builder.neg(x)))
        high = choose(builder, "smin", columns, builder.sub(constant(plan.source[1]), x))
        high = choose(builder, "smax", high, low)
        inside = builder.sub(high, low)
        y = builder.mul(row, constant(plan.advance))
        y = builder.sub(y, constant(plan.pads[0]))
        first = builder.add(builder.mul(y, constant(plan.source[1])), builder.add(x, low))
        source = address(builder, image, builder.mul(first, constant(plan.channels)))
        at = builder.mul(builder.add(number, start), constant(plan.input_pitch))
        to = address(builder, target, at)
        middle = address(builder, self.between, builder.mul(low, constant(self.piece)))
        behind = address(builder, self.between, builder.mul(high, constant(self.piece)))

        def piece(channel: ir.Value, channels: int) -> None:
            along_rows = self._row_function(vertical, channels)
            some = builder.icmp_signed(">", inside, zero)
            with builder.if_then(some):
                builder.call(along_rows, [address(builder, source, channel), middle, inside])
            clear, along_columns = self._zero_function(), self._column_function(channels)
            with builder.if_then(builder.icmp_signed(">", low, zero)):
                builder.call(clear, [self.between, low])
            with builder.if_then(builder.icmp_signed(">", columns, high)):
                builder.call(clear, [behind, builder.sub(columns, high)])
            into = address(builder, to, channel)
            builder.call(along_columns, [self.between, into, tiles])

        whole, rest = divmod(plan.channels, self.piece)
        if whole:
            for_each(
                builder, whole, lambda k: piece(builder.mul(k, constant(self.piece)), self.piece)
            )
        if rest:
            piece(constant(whole * self.piece), rest)

    # --- steps ---------------------------------------------------------------------------

    def _row_function(self, vertical: InputRun, channels: int) -> ir.Function:
        """``f(source, between, columns)``: transform columns of the source along their rows."""
        plan = self.plan
        name = f"rows{vertical.low}to{vertical.high}of{channels}"
        function, fresh = local_function(self.builder, name, (POINTER, POINTER, _COUNT))
        if not fresh:
            return function
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        source, between, columns = function.args
        combiner = Combiner(builder, plan.width)
        line = plan.source[1] * plan.channels
        places = [k * self.row_step for k in range(self.size)]
        whole, rest = divmod(channels, plan.width)

        def column(x: ir.Value) -> None:
            at = address(builder, source, builder.mul(x, constant(plan.channels)))
            to = address(builder, between, builder.mul(x, constant(self.piece)))

            def some(start: ir.Value, lanes: int) -> None:
                values: list[MaybeZero] = [None] * self.size
                for y in range(vertical.low, vertical.high):
                    place = address(builder, address(builder, at, start), y * line)
                    values[y] = self._load(builder, place, lanes)
                into = address(builder, to, start)
                self._store(combiner, values, into, places)

            if whole:
                step = constant(plan.width)
                for_each(builder, whole, lambda k: some(builder.mul(k, step), plan.width))
            if rest:
                some(constant(whole * plan.width), rest)

        for_each(builder, columns, column)
        builder.ret_void()
        return function

    def _column_function(self, channels: int) -> ir.Function:
        """``f(between, target, tiles)``: transform rows of tiles along their columns."""
        plan = self.plan
        vectors = -(-channels // plan.width)
        name = f"columns_of{vectors}"
        function, fresh = local_function(self.builder, name, (POINTER, POINTER, _COUNT))
        if not fresh:
            return function
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        between, target, tiles = function.args
        combiner = Combiner(builder, plan.width)

        def tile(number: ir.Value) -> None:
            at = address(builder, between, builder.mul(number, constant(plan.advance * self.piece)))
            to = address(builder, target, builder.mul(number, constant(plan.input_pitch)))

            def row(i: ir.Value, phase: int) -> None:
                inputs = plan.filtering.inputs
                place = builder.add(i, constant(phase * inputs))
                from_ = address(builder, at, builder.mul(place, constant(self.row_step)))
                points = builder.mul(i, constant(inputs * plan.input_step))
                into = address(builder, to, points)
                places = self._places(phase)

                def some(k: ir.Value) -> None:
                    start = builder.mul(k, constant(plan.width))
                    place = address(builder, from_, start)
                    values = [
                        self._load(builder, address(builder, place, x * self.piece), plan.width)
                        for x in range(self.size)
                    ]
                    self._store(combiner, values, address(builder, into, start), places)

                for_each(builder, vectors, some)

            for phase in range(plan.stride):
                for_each(builder, plan.filtering.inputs - phase, partial(row, phase=phase))

        for_each(builder, tiles, tile)
        builder.ret_void()
        return function

    def _zero_function(self) -> ir.Function:
        """``f(between, columns)``: columns outside the source are zeros."""
        function, fresh = local_function(self.builder, "zero_columns", (POINTER, _COUNT))
        if not fresh:
            return function
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        between, columns = function.args
        zero = zeros(self.plan.width)

        def vector(k: ir.Value) -> None:
            at = address(builder, between, builder.mul(k, constant(self.plan.width)))
            for i in range(self.size):
                builder.store(zero, address(builder, at, i * self.row_step), align=4)

        for_each(builder, builder.mul(columns, constant(self.piece // self.plan.width)), vector)
        builder.ret_void()
        return function

    def _places(self, row_phase: int) -> list[int]:
        """Floats from a row of points to what it holds: even columns, then odd ones."""
        plan = self.plan
        last = plan.filtering.inputs - 1
        places = []
        for phase in range(plan.stride):
            for point in range(last + 1 - phase):
                # At infinity there are even numbers only.
                number = row_phase if point == last else row_phase * plan.stride + phase
                places.append(point * plan.input_step + number * plan.channels)
        return places

    def _store(
        self,
        combiner: Combiner,
        values: list[MaybeZero],
        target: ir.Value,
        places: Sequence[int],
    ) -> None:
        """Write the transform of ``values``: the points of one phase after the other.

        Numbers are even in the first phase; in the second they are odd, without infinity.
        """
        plan = self.plan
        for phase in range(plan.stride):
            own = values[phase :: plan.stride]
            for part in plan.filtering.parts[: -1 if phase else None]:
                results = combiner.inputs(part, own)
                for point, result in zip(part.points, results, strict=True):
                    number = phase * plan.filtering.inputs + point
                    place = address(combiner.builder, target, places[number])
                    stored = combiner.zero() if result is None else result
                    combiner.builder.store(stored, place, align=4)

    def _load(self, builder: ir.IRBuilder, place: ir.Value, lanes: int) -> ir.Value:
        if lanes == self.plan.width:
            return builder.load(place, typ=self.vector, align=4)
        load = masked_load_function(builder.module, self.plan.width)
        zero = zeros(self.plan.width)
        mask = lanes_mask(self.plan.width, lanes)
        return builder.call(load, [place, short(4), mask, zero])


_COUNT = ir.IntType(64)
