"""What direct and depthwise convolutions share: a work item is one line of output pixels.

Kernel positions outside the source are skipped: along the line each tile knows at compile time
which of its pixels a position meets, along the other axes the range of positions follows from
the line. So no padding is ever stored, read or multiplied.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ..dense.epilogue import Epilogue
from ..dense.fetch import share_types
from ..dense.tile import I64, address, constant, intrinsic
from ..emitted import Finish
from .geometry import Geometry
from .loops import Values, for_each, repeat

POINTER = ir.PointerType()
_PLAIN = Epilogue()
SMIN, SMAX = "llvm.smin.i64", "llvm.smax.i64"

Taps = tuple[tuple[int, ...], ...]
# What emits one tile: its first pixel, its number of pixels, and where positions meet them.
EmitTile = Callable[[ir.Value, int, Taps], None]


@dataclass(frozen=True, slots=True)
class Line:
    """One output line: where its source, weights and outputs begin, and its place.

    ``extra`` are, for each axis but the last, how many kernel positions are inside the source
    and how far apart they are there. ``row`` is the line's first pixel among all, ``length``
    its pixels, ``part`` which part of the weights it is multiplied with. It is line ``number``
    of ``lines``. ``packed`` are all weights, ``bias`` the biases of all maps, ``ahead`` the
    weights of the next kernel, and how many.
    """

    source: ir.Value
    weights: ir.Value
    target: ir.Value
    extra: list[ir.Value]
    row: ir.Value
    length: ir.Value
    part: ir.Value
    number: ir.Value
    lines: ir.Value
    packed: ir.Value
    bias: ir.Value | None
    ahead: tuple[ir.Value, ir.Value] | None


class LineWriter(ABC):
    """Emits a kernel that computes one line of an image a work item.

    Its operands are the source, the weights unless it is not ``weighted``, and the output.
    """

    weighted = True

    def __init__(
        self, geometry: Geometry, epilogue: Epilogue = _PLAIN, ahead: bool = False
    ) -> None:
        self.geometry, self.epilogue, self.ahead = geometry, epilogue, ahead
        self.leading = range(len(geometry.kernel) - 1)
        self.total_maps = geometry.maps * geometry.groups
        self._edges: dict[Taps, int] = {}

    @property
    @abstractmethod
    def line_weights(self) -> int:
        """Floats of weights of the kernel positions of one line."""

    @abstractmethod
    def write_line(self, builder: ir.IRBuilder, finish: Finish, line: Line) -> None:
        """Emit the work of one line."""

    def write(self, function: ir.Function, finish: Finish) -> None:
        """The body: item ``number of lines * part + line``."""
        geometry = self.geometry
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        rank = len(geometry.kernel) + 2
        item, x = function.args[:2]
        source_extents = function.args[2 : 2 + rank]
        packed = function.args[2 + rank]
        after = 4 + rank if self.weighted else 2 + rank
        out, output_extents = function.args[after], function.args[after + 1 : after + 1 + rank]
        spatial = slice(2, None) if geometry.channels_first else slice(1, -1)
        source = _sizes(geometry.source, source_extents[spatial])
        output = _sizes(geometry.output, output_extents[1:-1])

        lines = output_extents[0]
        for axis in self.leading:
            lines = builder.mul(lines, output[axis])
        part = builder.sdiv(item, lines)
        line = builder.srem(item, lines)
        image = line
        places: list[ir.Value] = []
        for axis in reversed(self.leading):
            places.insert(0, builder.srem(image, output[axis]))
            image = builder.sdiv(image, output[axis])

        image_size = constant(geometry.channels * geometry.groups)
        for size in source:
            image_size = builder.mul(image_size, size)
        base = address(builder, x, builder.mul(image, image_size))
        base, weights, extra = self.reach(builder, places, source, base, packed)
        row = builder.mul(line, output[-1])
        target = address(builder, out, builder.mul(row, constant(self.total_maps)))
        more = list(function.args[after + 1 + rank :])
        bias = more[0] if self.epilogue.biased else None
        more = more[2:] if self.epilogue.biased else more
        ahead = (more[0], more[1]) if self.ahead else None
        whole = Line(
            base, weights, target, extra, row, output[-1], part, line, lines, packed, bias, ahead
        )
        self.write_line(builder, finish, whole)
        builder.ret(constant(0))

    def reach(
        self,
        builder: ir.IRBuilder,
        places: list[ir.Value],
        source: list[ir.Value],
        base: ir.Value,
        weights: ir.Value,
    ) -> tuple[ir.Value, ir.Value, list[ir.Value]]:
        """Where source and weights of the line at ``places`` begin, and its ``extra``.

        ``places`` are those along the leading axes, ``base`` the image's first float.
        """
        geometry = self.geometry
        steps = self._source_steps(builder, source)
        extra: list[ir.Value] = []
        kernel_step = self.line_weights
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
        return address(builder, base, -geometry.pads[-1] * geometry.column_step), weights, extra

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
        low = builder.sdiv(choose(builder, SMAX, before, constant(0)), constant(dilation))
        behind = builder.add(builder.sub(size, first), constant(dilation - 1))
        high = builder.sdiv(choose(builder, SMAX, behind, constant(0)), constant(dilation))
        low = choose(builder, SMIN, low, constant(kernel))
        high = choose(builder, SMIN, high, constant(kernel))
        return low, builder.sub(high, low)

    # --- tiles -----------------------------------------------------------------------------

    def each_tile(self, builder: ir.IRBuilder, length: ir.Value, tile: EmitTile) -> None:
        """Emit the tiles of a line."""
        geometry = self.geometry
        if geometry.output[-1] is None:
            self._open_line(builder, length, tile)
            return
        for run in geometry.line_tiles:

            def repeated(number: ir.Value, run: Any = run) -> None:
                pixel = builder.mul(number, constant(run.rows))
                tile(builder.add(pixel, constant(run.start)), run.rows, run.taps)

            for_each(builder, run.count, repeated)

    def _open_line(self, builder: ir.IRBuilder, length: ir.Value, tile: EmitTile) -> None:
        """Full tiles, then ever lower ones for what is left."""
        geometry = self.geometry
        most = geometry.most_rows
        whole = builder.sdiv(length, constant(most))
        for_each(
            builder,
            whole,
            lambda k: tile(builder.mul(k, constant(most)), most, geometry.inside(most)),
        )
        pixel = builder.mul(whole, constant(most))
        left = builder.sub(length, pixel)
        rows = 1 << max(most - 1, 1).bit_length() - 1
        while rows:
            if rows < most:
                bit = builder.and_(left, constant(rows))
                with builder.if_then(builder.icmp_signed("!=", bit, constant(0))):
                    tile(pixel, rows, geometry.inside(rows))
                pixel = builder.add(pixel, bit)
            rows //= 2

    def tile_name(self, builder: ir.IRBuilder, rows: int, taps: Taps, columns: int) -> str:
        """A name for the function of a tile."""
        edge = ""
        if taps != self.geometry.inside(rows):
            edge = f".edge{self._edges.setdefault(taps, len(self._edges))}"
        return f"{builder.function.name}.tile{rows}x{columns}{edge}"

    def tile_function(
        self, builder: ir.IRBuilder, rows: int, taps: Taps, columns: int
    ) -> tuple[ir.Function, bool]:
        """``tile(a, b, c, count and step of each leading axis..., bias, share of what is ahead)``.

        True if the function has no body yet.
        """
        module: Any = builder.module
        name = self.tile_name(builder, rows, taps, columns)
        if name in module.globals:
            return module.globals[name], False
        types = [POINTER, POINTER, POINTER, *[I64] * (2 * len(self.leading))]
        types += [POINTER] if self.epilogue.biased else []
        types += share_types() if self.ahead else []
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        for argument in function.args[:3]:
            argument.add_attribute("noalias")
        return function, True


def each_position(
    builder: ir.IRBuilder,
    geometry: Geometry,
    extra: list[ir.Value],
    line_weights: int,
    a: ir.Value,
    b: ir.Value,
    acc: Values,
    line: Callable[[ir.Value, ir.Value, Values], Values],
) -> Values:
    """Loops over the kernel positions of all axes but the last; ``line`` emits the last one's."""

    def axis(number: int, a: ir.Value, b: ir.Value, acc: Values) -> Values:
        if number == len(geometry.kernel) - 1:
            return line(a, b, acc)
        count, step = extra[2 * number : 2 * number + 2]
        b_step = line_weights
        for extent in geometry.kernel[number + 1 : -1]:
            b_step *= extent

        def body(_: ir.Value, carried: Values) -> Values:
            at_a, at_b, *values = carried
            values = axis(number + 1, at_a, at_b, values)
            return [address(builder, at_a, step), address(builder, at_b, b_step), *values]

        limit = count if geometry.clipped(number) else geometry.kernel[number]
        return repeat(builder, limit, [a, b, *acc], body)[2:]

    return axis(0, a, b, acc)


def _sizes(known: tuple[int | None, ...], extents: Any) -> list[ir.Value]:
    return [
        extent if size is None else constant(size)
        for size, extent in zip(known, extents, strict=True)
    ]


def choose(builder: ir.IRBuilder, name: str, left: ir.Value, right: ir.Value) -> ir.Value:
    """The smaller or larger of two integers, by the name of LLVM's intrinsic."""
    function = intrinsic(builder.module, name, ir.FunctionType(I64, [I64, I64]))
    return builder.call(function, [left, right])
