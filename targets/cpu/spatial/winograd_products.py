"""Emits the products of transformed tiles and kernels, reading ahead what is needed next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from ..constants import short, zeros
from ..dense.tile import F32, I32, Shape, address, constant, intrinsic, splat, store_tile
from .geometry import balanced
from .loops import Values, for_each, repeat
from .winograd_plan import LINE, Plan
from .winograd_region import POINTER, local_function

_UNROLL = 4


@dataclass(frozen=True)
class Ahead:
    """Memory to fetch while one panel is multiplied: ``lines`` cache lines from ``place`` on."""

    place: ir.Value
    lines: int
    write: bool = False


class Products:
    """Emits products of one point into a body."""

    def __init__(self, plan: Plan, builder: ir.IRBuilder) -> None:
        self.plan, self.builder = plan, builder

    def panel(
        self,
        places: Sequence[ir.Value],
        tiles: int,
        depth: int,
        columns: int,
        ahead: Sequence[Ahead] = (),
    ) -> None:
        """One panel of one point times some tiles, by register tiles of about equal height.

        ``places`` are the transformed inputs of the point, the panel, and the products, which
        are sums over ``depth`` inputs.
        """
        plan, builder = self.plan, self.builder
        a, b, c = places
        heights = balanced(tiles, plan.rows)
        rounds = depth // _UNROLL
        per_round = [-(-part.lines // max(1, rounds * len(heights))) for part in ahead]
        lines = tuple((k, part.write) for k, part in zip(per_round, ahead, strict=True))
        start = done = 0
        for height in sorted(set(heights), reverse=True):
            count = heights.count(height)
            tile = self._tile_function(height, depth, columns, lines)

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
                fetched = [
                    address(
                        builder,
                        some.place,
                        builder.mul(part, constant(rounds * count_ * LINE)),
                    )
                    for some, count_ in zip(ahead, per_round, strict=True)
                ]
                builder.call(tile, [at_a, b, at_c, *fetched])

            for_each(builder, count, one)
            start += count * height
            done += count

    def _tile_function(
        self, rows: int, depth: int, columns: int, lines: tuple[tuple[int, bool], ...]
    ) -> ir.Function:
        """``tile(a, b, c, ahead...)``: one register tile; each round fetches lines ahead."""
        plan = self.plan
        fetched = "".join(f"{'w' if write else 'r'}{count}" for count, write in lines)
        name = f"tile{rows}x{columns}of{depth}{fetched}"
        function, fresh = local_function(self.builder, name, (POINTER,) * (3 + len(lines)))
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
        a, b, c, *ahead = function.args

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
            at_a, at_b, *rest = carried
            places, values = rest[: len(lines)], rest[len(lines) :]
            for place, (count, write) in zip(places, lines, strict=True):
                for line in range(count):
                    fetch(builder, address(builder, place, line * LINE), write)
            values = steps(at_a, at_b, values, _UNROLL)
            moved = [
                address(builder, place, count * LINE)
                for place, (count, _) in zip(places, lines, strict=True)
            ]
            at_a = address(builder, at_a, _UNROLL)
            return [at_a, address(builder, at_b, _UNROLL * plan.columns), *moved, *values]

        acc: Values = [zeros(shape.width)] * (rows * shape.vectors)
        rounds, rest = divmod(depth, _UNROLL)
        if rounds:
            a, b, *rest_ = repeat(builder, rounds, [a, b, *ahead, *acc], body)
            acc = rest_[len(lines) :]
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
    numbers = [short(number) for number in (int(write), 2, 1)]
    builder.call(function, [place, *numbers])


def part_of(
    builder: ir.IRBuilder,
    rectangle: tuple[ir.Value, int, int, int],
    number: ir.Value,
    parts: int,
    write: bool,
) -> Ahead:
    """One of ``parts`` parts of a rectangle: its place, rows, floats of a row, row step."""
    place, rows, floats, step = rectangle
    lines = -(-floats // LINE)
    runs = max(1, min(parts // rows, lines))  # of one row
    length = -(-lines // runs)
    row = builder.udiv(number, constant(runs))
    along = builder.mul(builder.urem(number, constant(runs)), constant(length * LINE))
    offset = builder.add(builder.mul(row, constant(step)), along)
    return Ahead(address(builder, place, offset), length, write)


def next_panel(builder: ir.IRBuilder, panel: ir.Value, size: int) -> Ahead:
    """The panel of kernels behind one of ``size`` floats."""
    return Ahead(address(builder, panel, size), -(-size // LINE))
