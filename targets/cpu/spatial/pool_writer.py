"""Emits max and average pools, channels last.

A tile is a few pixels of a line times some vectors of channels. Where windows overlap, first the
elements below each other are combined, one register for each column of the source that the tile
meets, then the columns of each pixel: what neighbouring windows share is read and combined once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ..dense.tile import (
    F32,
    I64,
    address,
    constant,
    intrinsic,
    load_lanes,
    masked_store,
    splat,
)
from ..emitted import Finish
from .lines import POINTER, SMAX, SMIN, Line, LineWriter, Taps, choose
from .loops import Values, for_each, repeat
from .pool_geometry import PoolGeometry

# Windows from this size on, next to each other, are combined from windows of half the size.
_HALVED = 4


class PoolWriter(LineWriter):
    """Emits one pool."""

    weighted = False
    geometry: PoolGeometry

    @property
    def line_weights(self) -> int:
        """There are none."""
        return 0

    def write_line(self, builder: ir.IRBuilder, finish: Finish, line: Line) -> None:
        """Emit the tiles of the line, each for all channels."""
        geometry = self.geometry
        number = self._number(builder, line)

        def tile(pixel: ir.Value, rows: int, taps: Taps, edge: Values | None = None) -> None:
            function = self._tile(builder, rows, taps, edge is not None)
            at_a = address(builder, line.source, builder.mul(pixel, constant(geometry.pixel_step)))
            at_c = address(builder, line.target, builder.mul(pixel, constant(geometry.groups)))
            builder.call(function, [at_a, at_c, *line.extra, *(edge or [pixel, number])])
            finish(builder, builder.add(line.row, pixel), rows, constant(0), geometry.groups)

        if geometry.output[-1] is not None:
            self.each_tile(builder, line.length, tile)
        else:
            self._open(builder, line, number, tile)

    def _open(
        self, builder: ir.IRBuilder, line: Line, number: ir.Value, tile: Callable[..., None]
    ) -> None:
        """A line of open length: tiles inside the source, single pixels before and behind."""
        geometry = self.geometry
        axis = len(geometry.kernel) - 1
        size = self._source_size(builder, axis)
        stride, pad, most = geometry.strides[-1], geometry.pads[-1], geometry.most_rows
        low = choose(builder, SMIN, constant(-(-pad // stride)), line.length)
        # Windows that begin no later than this end inside.
        room = builder.add(size, constant(pad + stride - geometry.reach))
        high = builder.sdiv(choose(builder, SMAX, room, constant(0)), constant(stride))
        high = choose(builder, SMAX, choose(builder, SMIN, high, line.length), low)

        def edge(pixel: ir.Value) -> None:
            first, count = self._range(builder, axis, pixel, size)
            step = geometry.dilations[-1] * geometry.column_step
            columns = self._counted(builder, axis, pixel, size, count)
            total = builder.fmul(number, builder.sitofp(columns, F32))
            skipped = builder.mul(first, constant(step))
            tile(pixel, 1, geometry.inside(1), [skipped, count, total])

        def inside(first: ir.Value, count: ir.Value, rows: int) -> None:
            taps = geometry.inside(rows)
            for_each(
                builder,
                count,
                lambda k: tile(builder.add(first, builder.mul(k, constant(rows))), rows, taps),
            )

        for_each(builder, low, edge)
        whole = builder.sdiv(builder.sub(high, low), constant(most))
        inside(low, whole, most)
        done = builder.add(low, builder.mul(whole, constant(most)))
        inside(done, builder.sub(high, done), 1)
        behind = builder.sub(line.length, high)
        for_each(builder, behind, lambda k: edge(builder.add(high, k)))

    def _source_size(self, builder: ir.IRBuilder, axis: int) -> ir.Value:
        size = self.geometry.source[axis]
        return builder.function.args[3 + axis] if size is None else constant(size)

    # --- how many elements count -------------------------------------------------------------

    def _number(self, builder: ir.IRBuilder, line: Line) -> ir.Value:
        """Elements of a window along the leading axes that count, as a float."""
        geometry = self.geometry
        total: ir.Value = constant(1)
        place = line.number
        for axis in reversed(self.leading) if geometry.mean else ():
            known = geometry.output[axis]
            extent = builder.function.args[6 + len(geometry.kernel) + axis]
            extent = extent if known is None else constant(known)
            here = builder.srem(place, extent)
            place = builder.sdiv(place, extent)
            size, inside = self._source_size(builder, axis), line.extra[2 * axis]
            total = builder.mul(total, self._counted(builder, axis, here, size, inside))
        return builder.sitofp(total, F32)

    def _counted(
        self,
        builder: ir.IRBuilder,
        axis: int,
        place: ir.Value,
        size: ir.Value,
        inside: ir.Value,
    ) -> ir.Value:
        """Elements along one axis that count; ``inside`` of them are inside the source."""
        geometry = self.geometry
        if not geometry.include or not geometry.clipped(axis):
            return inside
        dilation = geometry.dilations[axis]
        room = builder.add(size, constant(geometry.pads[axis] + geometry.pads_end[axis]))
        room = builder.sub(room, builder.mul(place, constant(geometry.strides[axis])))
        room = choose(builder, SMAX, builder.add(room, constant(dilation - 1)), constant(0))
        count = builder.sdiv(room, constant(dilation))
        return choose(builder, SMIN, count, constant(geometry.kernel[axis]))

    def _columns(
        self, builder: ir.IRBuilder, pixel: ir.Value, rows: int, taps: Taps
    ) -> list[int | ir.Value]:
        """For each pixel of a tile that begins with ``pixel``: columns that count."""
        geometry = self.geometry
        inside = [sum(number in pixels for pixels in taps) for number in range(rows)]
        if not geometry.include or taps == geometry.inside(rows):
            return [*inside]
        axis = len(geometry.kernel) - 1
        size = self._source_size(builder, axis)
        return [
            self._counted(builder, axis, builder.add(pixel, constant(k)), size, constant(inside[k]))
            for k in range(rows)
        ]

    # --- tiles -------------------------------------------------------------------------------

    def _tile(self, builder: ir.IRBuilder, rows: int, taps: Taps, edge: bool) -> ir.Function:
        """The function of a tile: a loop over vectors of channels, then what is left of them.

        ``tile(a, c, count and step of each leading axis..., pixel, number)`` for a tile that
        begins with ``pixel``; ``tile(a, c, ..., skipped, count, number)`` for one pixel at an
        edge that is not known, whose columns begin ``skipped`` floats behind ``a``.
        """
        geometry = self.geometry
        name = self.tile_name(builder, rows, taps, geometry.groups) + ".open" * edge
        module: Any = builder.module
        if name in module.globals:
            return module.globals[name]
        types = [POINTER, POINTER, *[I64] * (2 * len(self.leading) + 1), *[I64] * edge, F32]
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        for argument in function.args[:2]:
            argument.add_attribute("noalias")
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        a, c, *extra = function.args[:-1]
        number = function.args[-1]
        counts: list[int | ir.Value] = [1]
        if edge:
            *extra, skipped, count = extra
            a = address(inside, a, skipped)
        else:
            *extra, pixel = extra
            counts = self._columns(inside, pixel, rows, taps)
        shares = self._shares(inside, number, counts) if geometry.mean else []
        step = geometry.tile_vectors * geometry.width
        whole, rest = divmod(geometry.groups, step)

        def block(first: ir.Value, lanes: list[int]) -> None:
            emitter = _Block(inside, geometry, lanes, extra)
            source = address(inside, a, first)
            if edge:
                values = emitter.open_columns(source, count)
            else:
                values = emitter.pixels(source, rows, taps)
            emitter.store(address(inside, c, first), values, shares)

        if whole:
            full = [geometry.width] * geometry.tile_vectors
            for_each(inside, whole, lambda k: block(inside.mul(k, constant(step)), full))
        lanes = [geometry.width] * (rest // geometry.width) + [rest % geometry.width]
        if rest:
            block(constant(geometry.groups - rest), [count for count in lanes if count])
        inside.ret_void()
        return function

    def _shares(
        self, builder: ir.IRBuilder, number: ir.Value, counts: list[int | ir.Value]
    ) -> Values:
        """For each pixel a vector of 1 by the number of its elements."""
        found: dict[int | ir.Value, ir.Value] = {}
        for count in counts:
            if count not in found:
                columns = constant(count) if isinstance(count, int) else count
                total = builder.fmul(number, builder.sitofp(columns, F32))
                share = builder.fdiv(ir.Constant(F32, 1.0), total)
                found[count] = splat(builder, share, self.geometry.width)
        return [found[count] for count in counts]


class _Block:
    """Some vectors of channels of a tile."""

    def __init__(
        self, builder: ir.IRBuilder, geometry: PoolGeometry, lanes: list[int], extra: Values
    ) -> None:
        self.builder, self.geometry, self.lanes, self.extra = builder, geometry, lanes, extra
        self.vector = ir.VectorType(F32, geometry.width)
        empty = 0.0 if geometry.mean else float("-inf")
        self.empty = ir.Constant(self.vector, [ir.Constant(F32, empty)] * geometry.width)
        self.always = not any(geometry.may_miss(axis) for axis in range(len(geometry.kernel) - 1))

    def pixels(self, a: ir.Value, rows: int, taps: Taps) -> list[Values]:
        """The windows of ``rows`` pixels: vectors of each."""
        geometry, vectors = self.geometry, len(self.lanes)
        places = {
            pixel * geometry.strides[-1] + tap * geometry.dilations[-1]
            for tap, found in enumerate(taps)
            for pixel in found
        }
        columns = sorted(places)

        def loads(at: ir.Value) -> Values:
            offsets = [column * geometry.column_step for column in columns]
            return [vector for offset in offsets for vector in self._load(at, offset)]

        def windows(flat: Values) -> list[Values]:
            held = {
                column: flat[k * vectors : (k + 1) * vectors] for k, column in enumerate(columns)
            }
            return self._windows(held, rows)

        if not geometry.apart:
            return windows(self._below(a, loads, len(columns) * vectors))
        flat = self._below(
            a, lambda at: [v for pixel in windows(loads(at)) for v in pixel], rows * vectors
        )
        return [flat[k * vectors : (k + 1) * vectors] for k in range(rows)]

    def _windows(self, held: dict[int, Values], rows: int) -> list[Values]:
        """The columns of each pixel combined; those outside the source are not ``held``."""
        geometry = self.geometry
        stride, dilation = geometry.strides[-1], geometry.dilations[-1]
        known: dict[tuple[int, int], Values | None] = {}

        def window(first: int, length: int) -> Values | None:
            key = (first, length)
            if length == 1:
                return held.get(first)
            if key not in known:
                half = 1 << (length - 1).bit_length() - 1
                if not geometry.mean and length >= _HALVED and stride == dilation:
                    # Halves may overlap: the larger of an element and itself is the element.
                    behind = length - half
                    parts = window(first, half), window(first + behind * dilation, half)
                else:
                    parts = window(first, length - 1), held.get(first + (length - 1) * dilation)
                known[key] = self._either(*parts)
            return known[key]

        found = [window(pixel * stride, geometry.kernel[-1]) for pixel in range(rows)]
        return [values or [self.empty] * len(self.lanes) for values in found]

    def open_columns(self, a: ir.Value, count: ir.Value) -> list[Values]:
        """The window of one pixel with so many columns."""
        step = self.geometry.dilations[-1] * self.geometry.column_step

        def column(_: ir.Value, carried: Values) -> Values:
            at, *values = carried
            below = self._below(at, lambda place: self._load(place, 0), len(self.lanes))
            return [address(self.builder, at, step), *self._combined(values, below)]

        first = [self.empty] * len(self.lanes)
        return [repeat(self.builder, count, [a, *first], column)[1:]]

    def store(self, c: ir.Value, pixels: list[Values], shares: Values) -> None:
        """Write the pixels; averages are sums times ``shares``."""
        builder, geometry = self.builder, self.geometry
        for pixel, values in enumerate(pixels):
            for number, (value, lanes) in enumerate(zip(values, self.lanes, strict=True)):
                if shares:
                    value = builder.fmul(value, shares[pixel])
                place = address(builder, c, pixel * geometry.groups + number * geometry.width)
                if lanes == geometry.width:
                    builder.store(value, place, align=4)
                else:
                    masked_store(builder, value, place, lanes)

    def _below(self, a: ir.Value, line: Callable[[ir.Value], Values], count: int) -> Values:
        """The ``count`` vectors of ``line`` at all kernel positions of the leading axes."""
        return self._axis(0, a, line, count, None)

    def _axis(
        self,
        axis: int,
        a: ir.Value,
        line: Callable[[ir.Value], Values],
        count: int,
        acc: Values | None,
    ) -> Values:
        """Combine with what lies at kernel positions of ``axis`` and those behind it."""
        builder, geometry = self.builder, self.geometry
        if axis == len(geometry.kernel) - 1:
            found = line(a)
            return found if acc is None else self._combined(acc, found)
        limit, step = self.extra[2 * axis : 2 * axis + 2]
        total = limit if geometry.clipped(axis) else geometry.kernel[axis]
        if acc is None and self.always:
            acc = self._axis(axis + 1, a, line, count, None)
            a = address(builder, a, step)
            total = total - 1 if isinstance(total, int) else builder.sub(total, constant(1))
        elif acc is None:
            acc = [self.empty] * count

        def position(_: ir.Value, carried: Values) -> Values:
            at, *values = carried
            return [address(builder, at, step), *self._axis(axis + 1, at, line, count, values)]

        if total == 0:
            return acc
        return repeat(builder, total, [a, *acc], position)[1:]

    def _load(self, a: ir.Value, offset: int) -> Values:
        builder, width = self.builder, self.geometry.width
        places = [address(builder, a, offset + k * width) for k in range(len(self.lanes))]
        return [
            load_lanes(builder, place, width, lanes)
            for place, lanes in zip(places, self.lanes, strict=True)
        ]

    def _either(self, left: Values | None, right: Values | None) -> Values | None:
        if left is None or right is None:
            return right if left is None else left
        return self._combined(left, right)

    def _combined(self, left: Values, right: Values) -> Values:
        """Sums, or maxima in which NaN wins."""
        builder = self.builder
        if self.geometry.mean:
            return [builder.fadd(x, y) for x, y in zip(left, right, strict=True)]
        width = self.geometry.width
        type_ = ir.FunctionType(self.vector, [self.vector] * 2)
        function = intrinsic(builder.module, f"llvm.maximum.v{width}f32", type_)
        return [
            builder.call(function, [x, y], fastmath=["nsz"])
            for x, y in zip(left, right, strict=True)
        ]
