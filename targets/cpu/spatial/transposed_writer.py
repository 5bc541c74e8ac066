"""Emits transposed convolutions: the lines of an output phase after phase, in register tiles."""

from __future__ import annotations

import itertools
from typing import Any

from llvmlite import ir

from ..dense.epilogue import Epilogue
from ..dense.tile import address, constant, masked_store
from ..emitted import Finish
from .direct import DirectWriter
from .geometry import Geometry
from .lines import SMIN, Line, Taps, choose
from .loops import for_each
from .transposed_plan import AxisPhase, PhaseGeometry, TransposedPlan


class PhaseWriter(DirectWriter):
    """Emits the pixels of one phase of an output line, which lie apart from each other."""

    def __init__(
        self,
        geometry: PhaseGeometry,
        epilogue: Epilogue,
        stride: int,
        tags: dict[Any, tuple[int, dict[Taps, int]]],
    ) -> None:
        super().__init__(geometry, epilogue)
        self.pixel_floats = stride * self.total_maps
        # Phases that meet equal parts of the kernel share their tiles.
        key = (geometry.kernel, geometry.dilations, *map(geometry.clipped, self.leading))
        self.tag, self._edges = tags.setdefault(key, (len(tags), {}))

    def tile_name(self, builder: ir.IRBuilder, rows: int, taps: Taps, columns: int) -> str:
        """A name for the function of a tile."""
        return super().tile_name(builder, rows, taps, columns) + f".phase{self.tag}"

    def write_empty(self, builder: ir.IRBuilder, line: Line, flat: ir.Value) -> None:
        """What pixels are that meet no kernel position at all: the epilogue of zero."""
        geometry = self.geometry
        group = builder.sdiv(flat, constant(geometry.panels))
        number = builder.srem(flat, constant(geometry.panels))
        column = builder.mul(group, constant(geometry.maps))
        column = builder.add(column, builder.mul(number, constant(geometry.columns)))
        narrow = geometry.maps - (geometry.panels - 1) * geometry.columns

        def fill(columns: int) -> None:
            bias = None if line.bias is None else address(builder, line.bias, column)
            starts = self.epilogue.start(builder, bias, columns, geometry.width)
            values = [self.epilogue.limited(builder, value) for value in starts]

            def pixel(place: ir.Value) -> None:
                offset = builder.mul(place, constant(self.pixel_floats))
                c = address(builder, line.target, builder.add(offset, column))
                for k, value in enumerate(values):
                    lanes = min(columns - k * geometry.width, geometry.width)
                    masked_store(builder, value, address(builder, c, k * geometry.width), lanes)

            for_each(builder, line.length, pixel)

        last = builder.icmp_signed("==", number, constant(geometry.panels - 1))
        with builder.if_else(last) as (is_last, other):
            with is_last:
                fill(narrow)
            with other:
                fill(geometry.columns)


class TransposedWriter:
    """Emits one transposed convolution.

    A work item is one line of the output, for some panels of weights. Items of the same phase
    along the leading axes follow each other, for they share their weights.
    """

    def __init__(self, plan: TransposedPlan, epilogue: Epilogue) -> None:
        self.plan, self.epilogue = plan, epilogue
        self.leading = range(len(plan.kernel) - 1)
        self.item_panels = plan.item_panels
        self.parts = -(-plan.flat_panels // self.item_panels)
        self.total_maps = plan.maps * plan.groups
        tags: dict[Any, tuple[int, dict[Taps, int]]] = {}
        self.writers = [
            PhaseWriter(geometry, epilogue, plan.strides[-1], tags) for geometry in plan.geometries
        ]
        sizes = [geometry.size for geometry in plan.geometries]
        self.offsets = list(itertools.accumulate(sizes, initial=0))

    def write(self, function: ir.Function, finish: Finish) -> None:
        """The body: item ``(part * leading phases + phase) * lines + line``.

        There are as many lines for each phase as for the one with the most; what is too many
        does nothing.
        """
        plan = self.plan
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        rank = len(plan.kernel) + 2
        item = function.args[0]
        source = _sizes(plan.source, function.args[3 : 1 + rank])
        output = _sizes(plan.output, function.args[6 + rank : 4 + 2 * rank])
        counts = [
            builder.sdiv(
                builder.add(output[axis], constant(plan.strides[axis] - 1)),
                constant(plan.strides[axis]),
            )
            for axis in self.leading
        ]
        lines = function.args[5 + rank]
        for count in counts:
            lines = builder.mul(lines, count)
        image = builder.srem(item, lines)
        rest = builder.sdiv(item, lines)
        places: list[ir.Value] = []
        for count in reversed(counts):
            places.insert(0, builder.srem(image, count))
            image = builder.sdiv(image, count)
        leading = len(plan.phases) // plan.strides[-1]
        phase = builder.srem(rest, constant(leading))
        part = builder.sdiv(rest, constant(leading))

        done = function.append_basic_block("done")
        switch = builder.switch(phase, done)
        for number in range(leading):
            block = function.append_basic_block(f"phase{number}")
            switch.add_case(constant(number), block)
            builder.position_at_end(block)
            self._line(builder, finish, number, image, places, part, source, output)
            builder.branch(done)
        builder.position_at_end(done)
        builder.ret(constant(0))

    def _line(
        self,
        builder: ir.IRBuilder,
        finish: Finish,
        number: int,
        image: ir.Value,
        places: list[ir.Value],
        part: ir.Value,
        source: list[ir.Value],
        output: list[ir.Value],
    ) -> None:
        """The line at ``places`` of a phase along the leading axes, if there is one."""
        plan, stride = self.plan, self.plan.strides[-1]
        first = number * stride
        row = image
        exists = ir.Constant(ir.IntType(1), True)
        for axis in self.leading:
            here = builder.mul(places[axis], constant(plan.strides[axis]))
            here = builder.add(here, constant(plan.phases[first][axis].first))
            exists = builder.and_(exists, builder.icmp_signed("<", here, output[axis]))
            row = builder.add(builder.mul(row, output[axis]), here)
        row = builder.mul(row, output[-1])
        with builder.if_then(exists):
            lines = []
            for k in range(first, first + stride):
                if plan.phases[k][-1].count != 0:
                    line = self._phase_line(builder, k, image, places, row, source, output)
                    lines.append((self.writers[k], line))
            begin = builder.mul(part, constant(self.item_panels))
            limit = builder.add(begin, constant(self.item_panels))
            limit = choose(builder, SMIN, limit, constant(plan.flat_panels))

            def panel(number: ir.Value) -> None:
                flat = builder.add(begin, number)
                for writer, line in lines:
                    if 0 in writer.geometry.kernel:
                        writer.write_empty(builder, line, flat)
                    else:
                        writer.write_panel(builder, _nothing, line, flat)
                self._finish(builder, finish, row, output[-1], flat)

            for_each(builder, builder.sub(limit, begin), panel)

    def _phase_line(
        self,
        builder: ir.IRBuilder,
        number: int,
        image: ir.Value,
        places: list[ir.Value],
        row: ir.Value,
        source: list[ir.Value],
        output: list[ir.Value],
    ) -> Line:
        """The pixels of one phase along the last axis."""
        plan, writer = self.plan, self.writers[number]
        phase: AxisPhase = plan.phases[number][-1]
        arguments = builder.function.args
        rank = len(plan.kernel) + 2
        x, packed, out = arguments[1], arguments[2 + rank], arguments[4 + rank]
        image_size: ir.Value = constant(plan.channels * plan.groups)
        for size in source:
            image_size = builder.mul(image_size, size)
        base = address(builder, x, builder.mul(image, image_size))
        weights = address(builder, packed, self.offsets[number])
        base, weights, extra = writer.reach(builder, places, source, base, weights)
        pixel = builder.add(row, constant(phase.first))
        target = address(builder, out, builder.mul(pixel, constant(self.total_maps)))
        length: ir.Value
        if phase.count is None:
            stride = constant(plan.strides[-1])
            behind = builder.add(output[-1], constant(plan.strides[-1] - 1 - phase.first))
            length = builder.sdiv(behind, stride)
        else:
            length = constant(phase.count)
        zero = constant(0)
        bias = arguments[5 + 2 * rank] if self.epilogue.biased else None
        return Line(
            source=base,
            weights=weights,
            target=target,
            extra=extra,
            row=pixel,
            length=length,
            part=zero,
            number=zero,
            lines=zero,
            packed=packed,
            bias=bias,
            ahead=None,
        )

    def _finish(
        self,
        builder: ir.IRBuilder,
        finish: Finish,
        row: ir.Value,
        length: ir.Value,
        flat: ir.Value,
    ) -> None:
        """All pixels of the line are there for one panel of maps."""
        geometry: Geometry = self.plan.geometries[0]
        group = builder.sdiv(flat, constant(geometry.panels))
        number = builder.srem(flat, constant(geometry.panels))
        column = builder.mul(group, constant(geometry.maps))
        column = builder.add(column, builder.mul(number, constant(geometry.columns)))
        narrow = geometry.maps - (geometry.panels - 1) * geometry.columns
        last = builder.icmp_signed("==", number, constant(geometry.panels - 1))

        def rectangle(columns: int) -> None:
            known = self.plan.output[-1]
            if known is not None:
                finish(builder, row, known, column, columns)
                return
            for_each(
                builder, length, lambda k: finish(builder, builder.add(row, k), 1, column, columns)
            )

        with builder.if_else(last) as (is_last, other):
            with is_last:
                rectangle(narrow)
            with other:
                rectangle(geometry.columns)


def _nothing(
    builder: ir.IRBuilder, row: ir.Value, rows: int, column: ir.Value, columns: int
) -> None:
    """Pixels of a phase are no rectangle; the whole line is finished at once."""


def _sizes(known: tuple[int | None, ...], extents: Any) -> list[ir.Value]:
    return [
        extent if size is None else constant(size)
        for size, extent in zip(known, extents, strict=True)
    ]
