"""What the schedules of Winograd convolutions have in common when they are emitted."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ..dense.epilogue import Epilogue
from ..dense.tile import I64, address, constant
from ..emitted import Finish
from .loops import for_each
from .winograd_outputs import OutputTransform
from .winograd_plan import LINE, Plan
from .winograd_products import Ahead
from .winograd_region import Region


class WinogradWriter:
    """Emits the bodies of one convolution."""

    def __init__(self, plan: Plan, epilogue: Epilogue, lines: int) -> None:
        """``lines`` are the cache lines of other weights that are read ahead."""
        self.plan, self.epilogue, self.lines = plan, epilogue, lines

    def others_ahead(
        self, builder: ir.IRBuilder, weights: ir.Value | None, number: ir.Value, parts: int
    ) -> list[Ahead]:
        """Part ``number`` of ``parts`` of the other weights, if there are any."""
        if weights is None:
            return []
        lines = -(-self.lines // parts)
        start = builder.mul(number, constant(lines * LINE))
        return [Ahead(address(builder, weights, start), lines)]

    def image_of(self, builder: ir.IRBuilder, x: ir.Value, image: ir.Value) -> ir.Value:
        """The place of an image in the source."""
        plan = self.plan
        size = plan.source[0] * plan.source[1] * plan.channels
        return address(builder, x, builder.mul(image, constant(size)))

    def at_point(
        self, builder: ir.IRBuilder, point: ir.Value, body: Callable[[int, ir.Value], None]
    ) -> None:
        """Emit ``body(depth, slabs before)`` for a point: what it sums and where its kernels are.

        With stride 2 inputs of odd numbers are absent at infinity, along each axis.
        """
        plan = self.plan
        if plan.stride == 1:
            body(plan.depth, point)
            return
        last = plan.filtering.inputs - 1
        row = builder.udiv(point, constant(last + 1))
        column = builder.urem(point, constant(last + 1))
        at_ends = [builder.icmp_signed("==", place, constant(last)) for place in (row, column)]
        phases = builder.select(at_ends[0], constant(2), constant(4))
        before = builder.mul(row, constant(4 * last + 2))
        before = builder.add(before, builder.mul(column, phases))
        ends = builder.add(*(builder.zext(is_end, I64) for is_end in at_ends))
        for count in range(3):
            with builder.if_then(builder.icmp_signed("==", ends, constant(count))):
                body(plan.depth >> count, before)

    def panel_place(
        self,
        builder: ir.IRBuilder,
        packed: ir.Value,
        before: ir.Value,
        number: ir.Value,
        depth: int,
    ) -> ir.Value:
        """Panel ``number`` of the packed kernels of a point with ``before`` slabs before it."""
        plan = self.plan
        start = builder.mul(before, constant(plan.panels * plan.slab_size))
        own = builder.mul(number, constant(depth * plan.columns))
        return address(builder, packed, builder.add(start, own))

    def each_group(self, builder: ir.IRBuilder, body: Callable[[int, ir.Value], None]) -> None:
        """Emit ``body(maps, first panel)`` for all groups of panels."""
        plan = self.plan
        whole, rest = divmod(plan.maps, plan.group * plan.columns)
        if whole:
            for_each(
                builder,
                whole,
                lambda k: body(plan.group * plan.columns, builder.mul(k, constant(plan.group))),
            )
        if rest:
            body(rest, constant(whole * plan.group))

    def each_panel(
        self, builder: ir.IRBuilder, maps: int, body: Callable[[ir.Value, int], None]
    ) -> None:
        """Emit ``body(number in the group, maps)`` for all panels of a group of ``maps``."""
        columns = self.plan.columns
        whole, rest = divmod(maps, columns)
        if whole:
            for_each(builder, whole, lambda k: body(k, columns))
        if rest:
            body(constant(whole), rest)

    def finish_outputs(
        self,
        builder: ir.IRBuilder,
        finish: Finish,
        places: tuple[ir.Value, ir.Value, ir.Value | None],
        image: ir.Value,
        region: Region,
        column: ir.Value,
        maps: int,
    ) -> None:
        """Transform products to outputs and finish them: ``maps`` maps from ``column`` on.

        ``places`` are the products of the region and of these maps, the whole output, and the
        bias of all maps.
        """
        plan = self.plan
        products, out, bias = places
        first = builder.mul(image, constant(plan.output[0] * plan.output[1]))
        target = address(builder, out, builder.mul(first, constant(plan.maps)))
        cuts = [plan.tiles[1]] if plan.by_points else plan.cuts(1)

        def finished(tile_row: ir.Value, lines: int) -> None:
            line = builder.mul(tile_row, constant(plan.tile * plan.output[1]))
            row = builder.add(first, line)
            if len(cuts) == 1:
                finish(builder, row, lines * plan.output[1], column, maps)
                return
            row = builder.add(row, builder.mul(region[2], constant(plan.tile)))
            end = builder.add(region[2], region[3])
            is_last = builder.icmp_signed("==", end, constant(plan.tiles[1]))
            rest = plan.output[1] - (plan.tiles[1] - cuts[-1]) * plan.tile
            kinds = [(cuts[-1], rest, is_last)]
            for tiles in sorted(set(cuts[:-1])):
                kinds.append((tiles, tiles * plan.tile, builder.not_(is_last)))
            for tiles, pixels, where in kinds:
                same = builder.icmp_signed("==", region[3], constant(tiles))
                with builder.if_then(builder.and_(same, where)):
                    for k in range(lines):
                        at = builder.add(row, constant(k * plan.output[1]))
                        finish(builder, at, pixels, column, maps)

        target = address(builder, target, column)
        if bias is not None:
            bias = address(builder, bias, column)
        transform = OutputTransform(plan, self.epilogue, builder)
        transform.emit((products, target, bias), region, maps, finished)
