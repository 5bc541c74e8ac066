"""Emits the products of :mod:`.strassen`: seven, in three chains that share register tiles.

With the quarters A of the rows and B of the weights, their sums

    S1 = A21 + A22, S2 = S1 - A11, S3 = A11 - A21, S4 = A12 - S2
    T1 = B12 - B11, T2 = B22 - T1, T3 = B22 - B12, T4 = B21 - T2

and the products, in this order everywhere,

    P1 = A11 B11, P2 = A12 B21, P6 = S2 T2, P7 = S3 T3, P5 = S1 T1, P4 = A22 T4, P3 = S4 B22

the quarters of the result are

    C11 = P1 + P2, C21 = P1 + P6 + P7 + P4, C22 = P1 + P6 + P7 + P5, C12 = P1 + P6 + P5 + P3

so that a chain of tiles goes on adding where another one ended, and only three tiles are kept,
in the first cache. With two levels each product is a stage that is computed by seven products,
and the quarters of the result are themselves where sums are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from ..emitted import Finish
from ..spatial.loops import for_each
from ..spatial.scratch import Scratch
from ..spatial.winograd_region import choose
from .epilogue import Epilogue
from .strassen_chain import KEPT, POINTER, Chain, Kind, shared_sum
from .strassen_plan import BLOCK, PRODUCTS, QUARTERS, StrassenPlan
from .strassen_rows import RowPacking
from .tile import F32, address, constant

_LINE = 16  # floats of a cache line


@dataclass(frozen=True, slots=True)
class _Stage:
    """To which quarter of the result a product is added, and what it is written to.

    It begins from nothing without a ``source``. The quarter is finished by a stage that
    ``ends``, and by one that is ``shared`` with another one of the sums.
    """

    source: int | None
    target: int
    ends: bool = False
    shared: bool = False


_C11, _C12, _C21, _C22 = range(4)
_ONCE = (_Stage(None, _C11, ends=True),)
# C12 is P1, then P1 + P6; C21 is P1 + P6 + P7, to which P5 in C22 is added.
_TWICE = (
    _Stage(None, _C12),
    _Stage(_C12, _C11, ends=True),
    _Stage(_C12, _C12),
    _Stage(_C12, _C21),
    _Stage(None, _C22, shared=True),
    _Stage(_C21, _C21, ends=True),
    _Stage(_C12, _C12, ends=True),
)


class StrassenWriter:
    """Emits one product."""

    def __init__(
        self, plan: StrassenPlan, epilogue: Epilogue, ahead: bool, adds: bool, scratch: Scratch
    ) -> None:
        """``scratch`` is where items pack their rows: they stay in the second cache."""
        self.plan, self.epilogue, self.ahead, self.adds = plan, epilogue, ahead, adds
        self.scratch = scratch

    @property
    def key(self) -> tuple[object, ...]:
        """Everything that the code depends on."""
        return (self.plan, self.epilogue, self.ahead, self.adds)

    def write(self, function: ir.Function, finish: Finish) -> None:
        """The body: some panels of the left and the right half of the columns, some rows."""
        _Body(self, function, finish).write()


class _Body:
    """One body while it is written."""

    def __init__(self, writer: StrassenWriter, function: ir.Function, finish: Finish) -> None:
        plan = self.plan = writer.plan
        self.epilogue, self.finish = writer.epilogue, finish
        self.builder = builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, self.x, self.packed, self.out, self.sums, memory, flags = (
            function.args[k] for k in (0, 1, 4, 6, 9, 11, 13)
        )
        more = function.args[15:]
        self.scratch = writer.scratch
        self.factors, self.slot = self.scratch.borrow(builder, memory, flags)
        self.packing = RowPacking(plan, function)
        self.bias: ir.Value | None = None
        if self.epilogue.biased:
            self.bias, more = more[0], more[2:]
        self.ahead = more[0] if writer.ahead else None
        self.residual = more[-2] if writer.adds else None
        # Floats of the weights that come next: what one step of a tile is to fetch of them.
        tiles = len(plan.heights)
        steps = tiles // plan.groups * PRODUCTS * plan.depth
        self.ahead_step = min(-(-QUARTERS * plan.depth * plan.panel // steps), _LINE)
        self.kept = builder.alloca(F32, KEPT * plan.heights[0] * plan.panel)
        self.kept.align, self.kept.type = 64, POINTER
        self.is_end = builder.icmp_signed("==", item, constant(plan.groups * plan.parts - 1))
        groups, parts = constant(plan.groups), constant(plan.parts)
        group, part = builder.sdiv(item, parts), builder.srem(item, parts)
        following = builder.srem(builder.add(part, constant(1)), parts)
        self.first_tile, self.end_tile = (
            builder.sdiv(builder.mul(number, constant(tiles)), groups)
            for number in (group, builder.add(group, constant(1)))
        )
        self.first_pair, self.end_pair, self.following_pair = (
            builder.sdiv(builder.mul(number, constant(plan.pairs)), parts)
            for number in (part, builder.add(part, constant(1)), following)
        )
        self.stages = _TWICE if plan.levels == 2 else _ONCE
        self.kind = self._chain_kind()

    def write(self) -> None:
        """All chunks of all stages, one after the other."""
        builder = self.builder
        for_each(builder, self.plan.stages * self.plan.chunks, self._chunk)
        self.scratch.give_back(builder, self.slot)
        builder.ret(constant(0))

    def _of_stage(self, stage: ir.Value, values: Sequence[int]) -> ir.Value:
        """The value of a stage, of those of all stages."""
        found: ir.Value = constant(values[0])
        for number, value in enumerate(values):
            if value != values[0]:
                is_it = self.builder.icmp_signed("==", stage, constant(number))
                found = self.builder.select(is_it, constant(value), found)
        return found

    def _chunk(self, number: ir.Value) -> None:
        """All pairs of the item, each with all rows of it."""
        builder, plan = self.builder, self.plan
        chunks = constant(plan.chunks)
        stage, chunk = builder.sdiv(number, chunks), builder.srem(number, chunks)
        is_first = builder.icmp_signed("==", chunk, constant(0))
        is_last = builder.icmp_signed("==", chunk, constant(plan.chunks - 1))

        def is_of(values: Sequence[bool]) -> ir.Value:
            found = self._of_stage(stage, [int(value) for value in values])
            return builder.icmp_signed("!=", found, constant(0))

        self.starts = builder.and_(is_first, is_of([s.source is None for s in self.stages]))
        self.ends = builder.and_(is_last, is_of([s.ends for s in self.stages]))
        self.shares = builder.and_(is_last, is_of([s.shared for s in self.stages]))
        rows, columns = plan.rows // 2, plan.columns // 2
        self.down = self._of_stage(stage, [s.target // 2 * rows for s in self.stages])
        self.across = self._of_stage(stage, [s.target % 2 * columns for s in self.stages])
        self.target, self.source = (
            self._of_stage(stage, [which * QUARTERS * plan.tile_size for which in quarters])
            for quarters in (
                [s.target for s in self.stages],
                [s.target if s.source is None else s.source for s in self.stages],
            )
        )
        self.source = builder.select(is_first, self.source, self.target)
        self._pack(self.packing.of_stage(builder, stage), chunk)

        def one(k: ir.Value) -> None:
            pair = builder.add(self.first_pair, k)
            self._pair(number, pair, self._upcoming(number, pair))

        for_each(builder, builder.sub(self.end_pair, self.first_pair), one)

    def _chain_kind(self) -> Kind:
        """What is the same for all chunks of all stages."""
        last = self.plan.chunks - 1
        chunks = [(stage, chunk) for stage in self.stages for chunk in range(last + 1)]
        starts = {stage.source is None and chunk == 0 for stage, chunk in chunks}
        ends = {stage.ends and chunk == last for stage, chunk in chunks}
        return Kind(*(found.pop() if len(found) == 1 else None for found in (starts, ends)))

    def _chain(self, number: int, height: int, columns: int) -> ir.Function:
        """A chain of tiles as a function of its own; inlined tiles are slower."""
        chain = Chain(
            self.plan, self.epilogue, number, height, columns, self.kind, self.ahead_step,
            self.residual is not None,
        )  # fmt: skip
        return chain.function(self.builder.function)

    def _pair(self, number: ir.Value, pair: ir.Value, coming: ir.Value) -> None:
        """All rows of the item, tile by tile."""
        builder, plan = self.builder, self.plan
        b = self._panels(number, pair)

        def one(tile: ir.Value, row: ir.Value, height: int) -> None:
            here = builder.sub(tile, self.first_tile)
            factors = self._factors(here)
            part = PRODUCTS * plan.depth * self.ahead_step
            fetched = address(builder, coming, builder.mul(here, constant(part)))
            self._tiles(pair, tile, row, height, factors, b, fetched)

        self._each_tile(one)

    def _each_tile(self, body: Callable[[ir.Value, ir.Value, int], None]) -> None:
        """What is done with each tile of the item: its number, its first row and its height."""
        builder, plan = self.builder, self.plan
        start = done = 0
        for height in sorted(set(plan.heights), reverse=True):
            count = plan.heights.count(height)
            first = choose(builder, "smax", self.first_tile, constant(done))
            end = choose(builder, "smin", self.end_tile, constant(done + count))

            def one(
                k: ir.Value,
                height: int = height,
                start: int = start - done * height,
                first: ir.Value = first,
            ) -> None:
                tile = builder.add(first, k)
                row = builder.add(builder.mul(tile, constant(height)), constant(start))
                body(tile, row, height)

            for_each(builder, builder.sub(end, first), one)
            start += count * height
            done += count

    def _factors(self, tile: ir.Value) -> ir.Value:
        """The packed rows of one of the item's tiles."""
        size = PRODUCTS * self.plan.factor_size
        return address(self.builder, self.factors, self.builder.mul(tile, constant(size)))

    def _pack(self, packing: ir.Value, chunk: ir.Value) -> None:
        """Pack all rows of the item for one chunk of a stage."""
        builder, plan = self.builder, self.plan
        source = address(builder, self.x, builder.mul(chunk, constant(2 * plan.depth)))

        def one(tile: ir.Value, first: ir.Value, height: int) -> None:
            target = self._factors(builder.sub(tile, self.first_tile))

            def row(k: ir.Value) -> None:
                at = builder.mul(builder.add(first, k), constant(plan.inner))
                to = address(builder, target, builder.mul(k, constant(BLOCK)))
                builder.call(packing, [address(builder, source, at), to])

            for_each(builder, height, row)

        self._each_tile(one)

    def _panels(self, number: ir.Value, pair: ir.Value) -> ir.Value:
        """The packed quarters of a pair of panels of a chunk."""
        builder, plan = self.builder, self.plan
        which = builder.add(builder.mul(number, constant(plan.pairs)), pair)
        size = QUARTERS * plan.depth * plan.panel
        return address(builder, self.packed, builder.mul(which, constant(size)))

    def _upcoming(self, number: ir.Value, pair: ir.Value) -> ir.Value:
        """What comes after a pair: the next one, the next chunk's or item's first, or others."""
        builder, plan = self.builder, self.plan
        after = builder.add(pair, constant(1))
        is_first = builder.icmp_signed("==", after, self.end_pair)
        last = constant(plan.stages * plan.chunks - 1)
        is_last = builder.icmp_signed("==", number, last)
        first = builder.select(
            is_last,
            self._panels(constant(0), self.following_pair),
            self._panels(builder.add(number, constant(1)), self.first_pair),
        )
        own = builder.select(is_first, first, self._panels(number, after))
        if self.ahead is None:
            return own
        is_end = builder.and_(is_last, builder.and_(is_first, self.is_end))
        return builder.select(is_end, self.ahead, own)

    def _tiles(
        self,
        pair: ir.Value,
        tile: ir.Value,
        row: ir.Value,
        height: int,
        factors: ir.Value,
        b: ir.Value,
        fetched: ir.Value,
    ) -> None:
        """The tiles of four quarters of a stage's result: ``height`` rows of each half."""
        builder, plan = self.builder, self.plan
        upper = builder.add(self.down, row)
        lower = builder.add(upper, constant(plan.half_rows))
        left = builder.add(self.across, builder.mul(pair, constant(plan.panel)))
        right = builder.add(left, constant(plan.half))

        which = builder.add(builder.mul(pair, constant(len(plan.heights))), tile)
        size = plan.quarters * plan.tile_size
        sums = address(builder, self.sums, builder.mul(which, constant(size)))
        source, target = (address(builder, sums, part) for part in (self.source, self.target))
        # What a stage's quarters are: C11, C12, C21, C22.
        places = [
            builder.add(builder.mul(r, constant(plan.columns)), column)
            for r in (upper, lower)
            for column in (left, right)
        ]

        def out(quarter: int) -> ir.Value:
            return address(builder, self.out, places[quarter])

        def added(quarters: Sequence[int], column: ir.Value) -> list[ir.Value]:
            """The epilogue's operands."""
            found = []
            if self.residual is not None:
                found = [address(builder, self.residual, places[k]) for k in quarters]
            return [*found, address(builder, self.bias, column)] if self.bias is not None else found

        def chain(number: int, quarters: Sequence[int], column: ir.Value, columns: int) -> None:
            own = [address(builder, target, k * plan.tile_size) for k in quarters]
            targets = [
                builder.select(self.ends, out(k), place)
                for k, place in zip(quarters, own, strict=True)
            ]
            sources = [address(builder, source, k * plan.tile_size) for k in quarters]
            arguments = [factors, b, self.kept, *targets, *sources, *added(quarters, column)]
            function = self._chain(number, height, columns)
            builder.call(function, [*arguments, fetched, self.starts, self.ends])

        chain(0, (_C11,), left, plan.panel)
        chain(1, (_C21,), left, plan.panel)
        self._by_width(pair, lambda columns: chain(2, (_C22, _C12), right, columns))
        shares = any(stage.shared for stage in self.stages)
        if shares:
            shared = shared_sum(
                builder.function, plan, self.epilogue, height, self.residual is not None
            )
            with builder.if_then(self.shares):
                for k in range(QUARTERS):
                    own = [
                        address(builder, sums, (which * QUARTERS + k) * plan.tile_size)
                        for which in (_C22, _C12, _C21)
                    ]
                    builder.call(shared, [out(k), *own, *added((k,), right if k % 2 else left)])
        is_done = builder.or_(self.ends, self.shares) if shares else self.ends
        with builder.if_then(is_done):

            def finish(columns: int) -> None:
                for r in (upper, lower):
                    self.finish(builder, r, height, right, columns)

            self._by_width(pair, finish)
            for r in (upper, lower):
                self.finish(builder, r, height, left, plan.panel)

    def _by_width(self, pair: ir.Value, write: Callable[[int], None]) -> None:
        """What is done with the columns of a panel of the right half; the last may be narrow."""
        builder, plan = self.builder, self.plan
        if plan.last == plan.panel:
            write(plan.panel)
            return
        is_last = builder.icmp_signed("==", pair, constant(plan.pairs - 1))
        with builder.if_else(is_last) as (then, otherwise):
            with then:
                write(plan.last)
            with otherwise:
                write(plan.panel)
