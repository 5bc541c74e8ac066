"""Emits the products of transformed tiles and kernels, reading ahead what is needed next."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from ..dense.tile import F32, I32, Shape, address, constant, intrinsic, splat, store_tile
from .geometry import balanced
from .loops import Values, for_each, repeat
from .winograd_plan import Plan
from .winograd_region import POINTER, local_function

_LINE = 16  # floats of a cache line
_UNROLL = 4
_RUN = 16  # lines that are read ahead at once


class Products:
    """Emits products of one point into a body."""

    def __init__(self, plan: Plan, builder: ir.IRBuilder) -> None:
        self.plan, self.builder = plan, builder

    def panel(self, places: Sequence[ir.Value], tiles: int, columns: int) -> None:
        """One panel of one point times some tiles, by register tiles of about equal height.

        ``places`` are the transformed inputs of the point, the panel, and the products. The
        panel behind this one is fetched meanwhile if the plan says so.
        """
        plan, builder = self.plan, self.builder
        a, b, c = places
        heights = balanced(tiles, plan.rows)
        rounds = plan.channels // _UNROLL
        lines = _UNROLL * plan.columns // _LINE  # of a panel, read in one round
        lines = -(-lines // len(heights)) if plan.fetches_kernels else 0
        ahead = address(builder, b, plan.panel_size)
        start = done = 0
        for height in sorted(set(heights), reverse=True):
            count = heights.count(height)
            tile = self._tile_function(height, columns, lines)

            def one(
                k: ir.Value,
                tile: ir.Function = tile,
                height: int = height,
                start: int = start,
                done: int = done,
            ) -> None:
                row = builder.add(builder.mul(k, constant(height)), constant(start))
                at_a = address(builder, a, builder.mul(row, constant(plan.input_pitch)))
                at_c = address(builder, c, builder.mul(row, constant(plan.product_pitch)))
                part = builder.add(k, constant(done))
                part = builder.mul(part, constant(rounds * lines * _LINE))
                builder.call(tile, [at_a, b, at_c, address(builder, ahead, part)])

            for_each(builder, count, one)
            start += count * height
            done += count

    def _tile_function(self, rows: int, columns: int, lines: int) -> ir.Function:
        """``tile(a, b, c, ahead)``: one register tile; each round fetches some lines ahead."""
        plan = self.plan
        name = f"tile{rows}x{columns}"
        function, fresh = local_function(self.builder, name, (POINTER,) * 4)
        if not fresh:
            return function
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        shape = Shape(rows, -(-columns // plan.width), plan.width)
        vector = ir.VectorType(F32, plan.width)
        fma = intrinsic(
            builder.module,
            f"llvm.fma.v{plan.width}f32",
            ir.FunctionType(vector, [vector] * 3),
        )
        a, b, c, ahead = function.args

        def steps(at_a: ir.Value, at_b: ir.Value, values: Values, count: int) -> Values:
            values = list(values)
            for k in range(count):
                kernels = [
                    builder.load(
                        address(builder, at_b, k * plan.columns + j * plan.width),
                        typ=vector,
                        align=4,
                    )
                    for j in range(shape.vectors)
                ]
                for i in range(rows):
                    place = address(builder, at_a, i * plan.input_pitch + k)
                    element = splat(builder, builder.load(place, typ=F32, align=4), plan.width)
                    for j in range(shape.vectors):
                        number = i * shape.vectors + j
                        values[number] = builder.call(fma, [element, kernels[j], values[number]])
            return values

        def body(_: ir.Value, carried: Values) -> Values:
            at_a, at_b, at_ahead, *values = carried
            for line in range(lines):
                fetch(builder, address(builder, at_ahead, line * _LINE), write=False)
            values = steps(at_a, at_b, values, _UNROLL)
            moved = [
                address(builder, at_a, _UNROLL),
                address(builder, at_b, _UNROLL * plan.columns),
                address(builder, at_ahead, lines * _LINE),
            ]
            return [*moved, *values]

        acc: Values = [ir.Constant(vector, None)] * (rows * shape.vectors)
        rounds, rest = divmod(plan.channels, _UNROLL)
        if rounds:
            a, b, _, *acc = repeat(builder, rounds, [a, b, ahead, *acc], body)
        acc = steps(a, b, acc, rest)
        by_rows = [acc[i * shape.vectors : (i + 1) * shape.vectors] for i in range(rows)]
        # Rows of products are whole vectors long.
        store_tile(builder, by_rows, c, shape, plan.product_pitch, shape.columns)
        builder.ret_void()
        return function


def fetch(builder: ir.IRBuilder, place: ir.Value, write: bool) -> None:
    """Bring the line at ``place``, if that is an address at all, into the second cache."""
    type_ = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
    function = intrinsic(builder.module, "llvm.prefetch.p0", type_)
    numbers = [ir.Constant(I32, number) for number in (int(write), 2, 1)]
    builder.call(function, [place, *numbers])


def fetch_part(
    builder: ir.IRBuilder,
    rectangle: tuple[ir.Value, int, int, int],
    number: ir.Value,
    parts: int,
    write: bool,
) -> None:
    """Fetch one of ``parts`` parts of a rectangle: its place, rows, floats of a row, row step."""
    place, rows, floats, step = rectangle
    lines = -(-floats // _LINE)
    runs = -(-lines // _RUN)
    length = -(-lines // runs)
    share = -(-rows * runs // parts)

    def run(k: ir.Value) -> None:
        which = builder.add(builder.mul(number, constant(share)), k)
        row = builder.udiv(which, constant(runs))
        along = builder.mul(builder.urem(which, constant(runs)), constant(length * _LINE))
        at = address(builder, place, builder.add(builder.mul(row, constant(step)), along))
        for line in range(length):
            fetch(builder, address(builder, at, line * _LINE), write)

    for_each(builder, share, run)
