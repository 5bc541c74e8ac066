"""Emits direct convolutions: register tiles of a few pixels of a line times output channels.

One element of the source is broadcast and multiplied with vectors of packed weights. Kernel
positions outside the source are skipped: along the line each tile knows at compile time which
of its pixels a position meets, along the other axes the range of positions follows from the
line. So no padding is ever stored, read or multiplied.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ..dense.tile import (
    F32,
    I64,
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
from .loops import Values, for_each, repeat

POINTER = ir.PointerType()
# Multiply-adds of one round of a loop; more make more code and are no faster.
_ROUND = 16
_SMIN, _SMAX = "llvm.smin.i64", "llvm.smax.i64"


class DirectWriter:
    """Emits one direct convolution."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.leading = range(len(geometry.kernel) - 1)
        self.total_maps = geometry.maps * geometry.groups
        self.flat_panels = geometry.panels * geometry.groups
        self.edges: dict[tuple[tuple[int, ...], ...], int] = {}
        self.item_groups = -(-self.flat_panels // geometry.item_panels)

    def write(self, function: ir.Function, finish: Finish) -> None:
        """The body: one output line of one image times some panels of weights."""
        geometry = self.geometry
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        rank = len(geometry.kernel) + 2
        item, x = function.args[:2]
        source_extents = function.args[2 : 2 + rank]
        packed = function.args[2 + rank]
        out = function.args[4 + rank]
        output_extents = function.args[5 + rank : 5 + 2 * rank]
        spatial = slice(2, None) if geometry.channels_first else slice(1, -1)
        source = _sizes(geometry.source, source_extents[spatial])
        output = _sizes(geometry.output, output_extents[1:-1])

        lines = output_extents[0]
        for axis in self.leading:
            lines = builder.mul(lines, output[axis])
        panel_group = builder.sdiv(item, lines)
        line = builder.srem(item, lines)
        image = line
        places: list[ir.Value] = []
        for axis in reversed(self.leading):
            places.insert(0, builder.srem(image, output[axis]))
            image = builder.sdiv(image, output[axis])

        steps = self._source_steps(builder, source)
        image_size = constant(geometry.channels * geometry.groups)
        for size in source:
            image_size = builder.mul(image_size, size)
        base = address(builder, x, builder.mul(image, image_size))
        extra: list[ir.Value] = []
        weights = packed
        kernel_step = geometry.channels * geometry.columns * geometry.kernel[-1]
        kernel_steps: list[int] = []
        for axis in reversed(self.leading):
            kernel_steps.insert(0, kernel_step)
            kernel_step *= geometry.kernel[axis]
        for axis in self.leading:
            low, count = self._range(builder, axis, places[axis], source[axis])
            first = builder.mul(places[axis], constant(geometry.strides[axis]))
            first = builder.sub(first, constant(geometry.pads[axis]))
            first = builder.add(first, builder.mul(low, constant(geometry.dilations[axis])))
            base = address(builder, base, builder.mul(first, steps[axis]))
            weights = address(builder, weights, builder.mul(low, constant(kernel_steps[axis])))
            extra += [count, builder.mul(steps[axis], constant(geometry.dilations[axis]))]
        base = address(builder, base, -geometry.pads[-1] * geometry.column_step)
        row = builder.mul(line, output[-1])
        target = address(builder, out, builder.mul(row, constant(self.total_maps)))

        first_panel = builder.mul(panel_group, constant(geometry.item_panels))
        limit = builder.add(first_panel, constant(geometry.item_panels))
        limit = _choose(builder, _SMIN, limit, constant(self.flat_panels))

        def panel(number: ir.Value) -> None:
            flat = builder.add(first_panel, number)
            self._panel(builder, finish, (base, weights, target), extra, flat, row, output[-1])

        for_each(builder, builder.sub(limit, first_panel), panel)
        builder.ret(constant(0))

    def _source_steps(self, builder: ir.IRBuilder, source: list[ir.Value]) -> list[ir.Value]:
        """Floats between neighbours along each leading axis of the source."""
        steps: list[ir.Value] = []
        step: ir.Value = constant(self.geometry.column_step)
        for axis in reversed(self.leading):
            step = builder.mul(step, source[axis + 1])
            steps.insert(0, step)
        return steps

    def _range(
        self, builder: ir.IRBuilder, axis: int, place: ir.Value, size: ir.Value
    ) -> tuple[ir.Value, ir.Value]:
        """First kernel position along ``axis`` that is inside the source, and how many are."""
        geometry = self.geometry
        kernel, dilation = geometry.kernel[axis], geometry.dilations[axis]
        if not geometry.clipped(axis):
            return constant(0), constant(kernel)
        first = builder.mul(place, constant(geometry.strides[axis]))
        first = builder.sub(first, constant(geometry.pads[axis]))
        # Rounded up: positions 0, 1, ... lie at first, first + dilation, ...
        before = builder.sub(constant(dilation - 1), first)
        low = builder.sdiv(_choose(builder, _SMAX, before, constant(0)), constant(dilation))
        behind = builder.add(builder.sub(size, first), constant(dilation - 1))
        high = builder.sdiv(_choose(builder, _SMAX, behind, constant(0)), constant(dilation))
        low = _choose(builder, _SMIN, low, constant(kernel))
        high = _choose(builder, _SMIN, high, constant(kernel))
        return low, builder.sub(high, low)

    def _panel(
        self,
        builder: ir.IRBuilder,
        finish: Finish,
        places: tuple[ir.Value, ir.Value, ir.Value],
        extra: list[ir.Value],
        flat: ir.Value,
        row: ir.Value,
        line: ir.Value,
    ) -> None:
        """All tiles of the line for one panel; the last panel of a group may be narrower."""
        geometry = self.geometry
        base, weights, target = places
        b = address(builder, weights, builder.mul(flat, constant(geometry.panel_size)))
        group = builder.sdiv(flat, constant(geometry.panels))
        number = builder.srem(flat, constant(geometry.panels))
        plane = geometry.channels
        if geometry.channels_first:
            for size in geometry.source:
                assert size is not None, "a channels-first source has known sizes"
                plane *= size
        a = address(builder, base, builder.mul(group, constant(plane)))
        column = builder.mul(group, constant(geometry.maps))
        column = builder.add(column, builder.mul(number, constant(geometry.columns)))
        c = address(builder, target, column)
        rest = geometry.maps % geometry.columns
        if not rest:
            self._line(builder, finish, (a, b, c), extra, row, line, column, geometry.columns)
            return
        if geometry.panels == 1:
            self._line(builder, finish, (a, b, c), extra, row, line, column, rest)
            return
        last = builder.icmp_signed("==", number, constant(geometry.panels - 1))
        with builder.if_else(last) as (narrow, wide):
            with narrow:
                self._line(builder, finish, (a, b, c), extra, row, line, column, rest)
            with wide:
                self._line(builder, finish, (a, b, c), extra, row, line, column, geometry.columns)

    def _line(
        self,
        builder: ir.IRBuilder,
        finish: Finish,
        places: tuple[ir.Value, ir.Value, ir.Value],
        extra: list[ir.Value],
        row: ir.Value,
        line: ir.Value,
        column: ir.Value,
        columns: int,
    ) -> None:
        geometry = self.geometry
        a, b, c = places

        def tile(pixel: ir.Value, rows: int, taps: tuple[tuple[int, ...], ...]) -> None:
            function = self._tile_function(builder, rows, taps, columns)
            at_a = address(builder, a, builder.mul(pixel, constant(geometry.pixel_step)))
            at_c = address(builder, c, builder.mul(pixel, constant(self.total_maps)))
            builder.call(function, [at_a, b, at_c, *extra])
            finish(builder, builder.add(row, pixel), rows, column, columns)

        if geometry.output[-1] is None:
            self._open_line(builder, line, tile)
            return
        for run in geometry.line_tiles:

            def repeated(number: ir.Value, run: Any = run) -> None:
                pixel = builder.mul(number, constant(run.rows))
                tile(builder.add(pixel, constant(run.start)), run.rows, run.taps)

            for_each(builder, run.count, repeated)

    def _open_line(self, builder: ir.IRBuilder, line: ir.Value, tile: Any) -> None:
        """Full tiles, then ever lower ones for what is left."""
        geometry = self.geometry
        most = geometry.most_rows
        whole = builder.sdiv(line, constant(most))
        for_each(
            builder,
            whole,
            lambda k: tile(builder.mul(k, constant(most)), most, geometry.inside(most)),
        )
        pixel = builder.mul(whole, constant(most))
        left = builder.sub(line, pixel)
        rows = 1 << max(most - 1, 1).bit_length() - 1
        while rows:
            if rows < most:
                bit = builder.and_(left, constant(rows))
                with builder.if_then(builder.icmp_signed("!=", bit, constant(0))):
                    tile(pixel, rows, geometry.inside(rows))
                pixel = builder.add(pixel, bit)
            rows //= 2

    def _tile_function(
        self, builder: ir.IRBuilder, rows: int, taps: tuple[tuple[int, ...], ...], columns: int
    ) -> ir.Function:
        """``tile(a, b, c, count and step of each leading axis...)`` as a function of its own."""
        geometry = self.geometry
        module: Any = builder.module
        edges = (
            ""
            if taps == geometry.inside(rows)
            else f".edge{self.edges.setdefault(taps, len(self.edges))}"
        )
        name = f"{builder.function.name}.tile{rows}x{columns}{edges}"
        if name in module.globals:
            return module.globals[name]
        types = [POINTER, POINTER, POINTER, *[I64] * (2 * len(self.leading))]
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        for argument in function.args[:3]:
            argument.add_attribute("noalias")
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        shape = Shape(rows, -(-columns // geometry.width), geometry.width)
        a, b, c, *extra = function.args
        emitter = _TileEmitter(inside, geometry, shape, taps, extra)
        store_tile(inside, emitter.emit(a, b), c, shape, self.total_maps, columns)
        inside.ret_void()
        return function


class _TileEmitter:
    """Emits the loops of one register tile."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        geometry: Geometry,
        shape: Shape,
        taps: tuple[tuple[int, ...], ...],
        extra: list[ir.Value],
    ) -> None:
        self.builder, self.geometry, self.shape = builder, geometry, shape
        self.taps, self.extra = taps, extra
        self.vector = ir.VectorType(F32, shape.width)
        self.fma = intrinsic(
            builder.module,
            f"llvm.fma.v{shape.width}f32",
            ir.FunctionType(self.vector, [self.vector] * 3),
        )

    def emit(self, a: ir.Value, b: ir.Value) -> Accumulators:
        """All kernel positions and channels; returns the accumulators by row and vector."""
        zero = ir.Constant(self.vector, None)
        flat = [zero] * (self.shape.rows * self.shape.vectors)
        flat = self._axis(0, a, b, flat)
        vectors = self.shape.vectors
        return [flat[i * vectors : (i + 1) * vectors] for i in range(self.shape.rows)]

    def _axis(self, axis: int, a: ir.Value, b: ir.Value, acc: Values) -> Values:
        geometry, builder = self.geometry, self.builder
        if axis == len(geometry.kernel) - 1:
            return self._line(a, b, acc)
        count, step = self.extra[2 * axis : 2 * axis + 2]
        b_step = geometry.channels * geometry.columns
        for extent in geometry.kernel[axis + 1 :]:
            b_step *= extent

        def body(_: ir.Value, carried: Values) -> Values:
            at_a, at_b, *values = carried
            values = self._axis(axis + 1, at_a, at_b, values)
            return [address(builder, at_a, step), address(builder, at_b, b_step), *values]

        if not geometry.clipped(axis):
            return repeat(builder, geometry.kernel[axis], [a, b, *acc], body)[2:]
        return repeat(builder, count, [a, b, *acc], body)[2:]

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
        a_step = 1
        if geometry.channels_first:
            for size in geometry.source:
                assert size is not None, "a channels-first source has known sizes"
                a_step *= size
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


def _sizes(known: tuple[int | None, ...], extents: Any) -> list[ir.Value]:
    return [
        extent if size is None else constant(size)
        for size, extent in zip(known, extents, strict=True)
    ]


def _choose(builder: ir.IRBuilder, name: str, left: ir.Value, right: ir.Value) -> ir.Value:
    function = intrinsic(builder.module, name, ir.FunctionType(I64, [I64, I64]))
    return builder.call(function, [left, right])
