"""Emits direct convolutions: register tiles of a few pixels of a line times output channels.

One element of the source is broadcast and multiplied with vectors of packed weights.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ..dense.epilogue import Epilogue
from ..dense.fetch import Share, fetch, moved, share_of, upcoming
from ..dense.tile import (
    F32,
    Accumulators,
    Shape,
    address,
    constant,
    intrinsic,
    splat,
    store_tile,
)
from ..emitted import Finish
from .geometry import Geometry
from .lines import POINTER, SMIN, Line, LineWriter, Taps, choose, each_position
from .loops import Values, for_each, repeat

# Multiply-adds of one round of a loop; more make more code and are no faster.
_ROUND = 16


class DirectWriter(LineWriter):
    """Emits one direct convolution; an item's part is a group of panels of weights."""

    def __init__(self, geometry: Geometry, epilogue: Epilogue, ahead: bool = False) -> None:
        super().__init__(geometry, epilogue, ahead)
        self.pixel_floats = self.total_maps  # between neighbouring pixels of an output line
        self.flat_panels = geometry.panels * geometry.groups
        self.parts = -(-self.flat_panels // geometry.item_panels)

    @property
    def line_weights(self) -> int:
        """Floats of weights of the kernel positions of one line, for one panel."""
        return _line_weights(self.geometry)

    def write_line(self, builder: ir.IRBuilder, finish: Finish, line: Line) -> None:
        """Emit all panels of the part."""
        geometry = self.geometry
        first_panel = builder.mul(line.part, constant(geometry.item_panels))
        limit = builder.add(first_panel, constant(geometry.item_panels))
        limit = choose(builder, SMIN, limit, constant(self.flat_panels))

        def panel(number: ir.Value) -> None:
            self.write_panel(builder, finish, line, builder.add(first_panel, number))

        for_each(builder, builder.sub(limit, first_panel), panel)

    def write_panel(
        self, builder: ir.IRBuilder, finish: Finish, line: Line, flat: ir.Value
    ) -> None:
        """All tiles of the line for one panel; the last panel of a group may be narrower."""
        geometry = self.geometry
        b = address(builder, line.weights, builder.mul(flat, constant(geometry.panel_size)))
        group = builder.sdiv(flat, constant(geometry.panels))
        number = builder.srem(flat, constant(geometry.panels))
        plane = geometry.channels * _plane(geometry)
        a = address(builder, line.source, builder.mul(group, constant(plane)))
        column = builder.mul(group, constant(geometry.maps))
        column = builder.add(column, builder.mul(number, constant(geometry.columns)))
        c = address(builder, line.target, column)

        share = self._share(builder, line, flat)

        def tiles(columns: int) -> None:
            def tile(pixel: ir.Value, rows: int, taps: Taps) -> None:
                function = self._tile(builder, rows, taps, columns)
                at_a = address(builder, a, builder.mul(pixel, constant(geometry.pixel_step)))
                at_c = address(builder, c, builder.mul(pixel, constant(self.pixel_floats)))
                more = [] if line.bias is None else [address(builder, line.bias, column)]
                more += [] if share is None else share(pixel).arguments
                builder.call(function, [at_a, b, at_c, *line.extra, *more])
                finish(builder, builder.add(line.row, pixel), rows, column, columns)

            self.each_tile(builder, line.length, tile)

        rest = geometry.maps % geometry.columns
        if not rest or geometry.panels == 1:
            tiles(rest or geometry.columns)
            return
        last = builder.icmp_signed("==", number, constant(geometry.panels - 1))
        with builder.if_else(last) as (narrow, wide):
            with narrow:
                tiles(rest)
            with wide:
                tiles(geometry.columns)

    def _share(
        self, builder: ir.IRBuilder, line: Line, flat: ir.Value
    ) -> Callable[[ir.Value], Share] | None:
        """What the tile at a pixel fetches: shares are counted in pixels of all panels."""
        if line.ahead is None:
            return None
        geometry = self.geometry
        count = geometry.item_panels
        coming = upcoming(
            builder, line.packed, line.part, self.parts, count * geometry.panel_size, line.ahead
        )
        first = builder.mul(builder.srem(flat, constant(count)), line.lines)
        first = builder.mul(builder.add(first, line.number), line.length)
        every = builder.mul(constant(count), builder.mul(line.lines, line.length))
        steps = max(1, geometry.taps * geometry.channels // geometry.most_rows)

        def share(pixel: ir.Value) -> Share:
            return share_of(builder, coming, builder.add(first, pixel), every, steps)

        return share

    def _tile(self, builder: ir.IRBuilder, rows: int, taps: Taps, columns: int) -> ir.Function:
        geometry = self.geometry
        function, is_new = self.tile_function(builder, rows, taps, columns)
        if is_new:
            inside = ir.IRBuilder(function.append_basic_block("entry"))
            shape = Shape(rows, -(-columns // geometry.width), geometry.width)
            a, b, c, *extra = function.args
            share = Share(*extra[-2:]) if self.ahead else None
            extra = extra[:-2] if self.ahead else extra
            bias = extra.pop() if self.epilogue.biased else None
            emitter = _TileEmitter(inside, geometry, shape, taps, extra, share)
            starts = self.epilogue.start(inside, bias, columns, geometry.width)
            acc = self.epilogue.end(inside, emitter.emit(a, b, starts))
            store_tile(inside, acc, c, shape, self.pixel_floats, columns)
            inside.ret_void()
        return function


def _line_weights(geometry: Geometry) -> int:
    return geometry.channels * geometry.columns * geometry.kernel[-1]


def _plane(geometry: Geometry) -> int:
    """Floats between the channels of a source pixel."""
    plane = 1
    if geometry.channels_first:
        for size in geometry.source:
            assert size is not None, "a channels-first source has known sizes"
            plane *= size
    return plane


class _TileEmitter:
    """Emits the loops of one register tile."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        geometry: Geometry,
        shape: Shape,
        taps: Taps,
        extra: list[ir.Value],
        share: Share | None,
    ) -> None:
        self.builder, self.geometry, self.shape = builder, geometry, shape
        self.taps, self.extra = taps, extra
        self.share = share
        self.vector = ir.VectorType(F32, shape.width)
        self.fma = intrinsic(
            builder.module,
            f"llvm.fma.v{shape.width}f32",
            ir.FunctionType(self.vector, [self.vector] * 3),
        )

    def emit(self, a: ir.Value, b: ir.Value, starts: Values) -> Accumulators:
        """All kernel positions and channels; returns the accumulators by row and vector.

        ``starts`` are the first values of the accumulators of each row.
        """
        flat = starts * self.shape.rows
        # The place that is read ahead goes from loop to loop with the accumulators.
        flat += [self.share.pointer] if self.share is not None else []
        weights = _line_weights(self.geometry)
        flat = each_position(
            self.builder, self.geometry, self.extra, weights, a, b, flat, self._line
        )
        vectors = self.shape.vectors
        return [flat[i * vectors : (i + 1) * vectors] for i in range(self.shape.rows)]

    def _line(self, a: ir.Value, b: ir.Value, acc: Values) -> Values:
        """The kernel positions along the line; next to each other they are one longer run."""
        geometry = self.geometry
        everywhere = self.taps == geometry.inside(self.shape.rows)
        joined = not geometry.channels_first and geometry.groups == geometry.dilations[-1] == 1
        if everywhere and joined:
            return self._run(a, b, acc, self.taps[0], geometry.channels * geometry.kernel[-1])
        for tap, pixels in enumerate(self.taps):
            if not pixels:
                continue
            at_a = address(self.builder, a, tap * geometry.dilations[-1] * geometry.column_step)
            at_b = address(self.builder, b, tap * geometry.channels * geometry.columns)
            acc = self._run(at_a, at_b, acc, pixels, geometry.channels)
        return acc

    def _run(
        self, a: ir.Value, b: ir.Value, acc: Values, pixels: tuple[int, ...], length: int
    ) -> Values:
        """``length`` steps of the tile for these pixels."""
        geometry, builder, vectors = self.geometry, self.builder, self.shape.vectors
        a_step = _plane(geometry)
        b_step = geometry.columns
        # Steps of one round must not meet the same elements for neighbouring pixels: LLVM would
        # then keep them in registers and broadcast from there, through the shuffle unit.
        unroll = -(-_ROUND // (len(pixels) * vectors))
        if a_step == 1:
            unroll = max(1, min(unroll, geometry.pixel_step))
        places = [pixel * vectors + j for pixel in pixels for j in range(vectors)]

        def steps(at_a: ir.Value, at_b: ir.Value, values: Values, count: int) -> Values:
            values = list(values)
            for k in range(count):
                if self.share is not None:
                    here = Share(values[-1], self.share.step)
                    fetch(builder, here.pointer)
                    values[-1] = moved(builder, here).pointer
                weights = [
                    builder.load(
                        address(builder, at_b, k * b_step + j * self.shape.width),
                        typ=self.vector,
                        align=4,
                    )
                    for j in range(vectors)
                ]
                for number, pixel in enumerate(pixels):
                    place = address(builder, at_a, pixel * geometry.pixel_step + k * a_step)
                    element = splat(
                        builder, builder.load(place, typ=F32, align=4), self.shape.width
                    )
                    for j in range(vectors):
                        old = values[number * vectors + j]
                        values[number * vectors + j] = builder.call(
                            self.fma, [element, weights[j], old]
                        )
            return values

        def body(_: ir.Value, carried: Values) -> Values:
            at_a, at_b, *values = carried
            values = steps(at_a, at_b, values, unroll)
            moved = address(builder, at_a, unroll * a_step)
            return [moved, address(builder, at_b, unroll * b_step), *values]

        places += [len(acc) - 1] if self.share is not None else []
        used = [acc[place] for place in places]
        rounds, rest = divmod(length, unroll)
        if rounds <= 1:
            # No loop keeps this run apart from the one before it; see above.
            a = _hidden(builder, a)
        if rounds:
            a, b, *used = repeat(builder, rounds, [a, b, *used], body)
        used = steps(a, b, used, rest)
        result = list(acc)
        for place, value in zip(places, used, strict=True):
            result[place] = value
        return result


def _hidden(builder: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    """The same pointer, as one that LLVM knows nothing about."""
    type_ = ir.FunctionType(POINTER, [POINTER])
    return builder.asm(type_, "", "=r,0", [pointer], side_effect=True)
