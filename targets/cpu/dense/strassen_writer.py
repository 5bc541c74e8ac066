"""Emits the seven products of :mod:`.strassen`, three chains that share register tiles.

With the quarters A of the rows and B of the weights, their sums

    S1 = A21 + A22, S2 = S1 - A11, S3 = A11 - A21, S4 = A12 - S2
    T1 = B12 - B11, T2 = B22 - T1, T3 = B22 - B12, T4 = B21 - T2

and the products

    P1 = A11 B11, P2 = A12 B21, P3 = S4 B22, P4 = A22 T4, P5 = S1 T1, P6 = S2 T2, P7 = S3 T3

the quarters of the result are

    C11 = P1 + P2, C21 = P1 + P6 + P7 + P4, C22 = P1 + P6 + P7 + P5, C12 = P1 + P6 + P5 + P3

so that a chain of tiles goes on adding where another one ended, and only three tiles are kept,
in the first cache.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ..emitted import Finish
from ..spatial.loops import for_each, repeat
from ..spatial.winograd_region import choose
from .epilogue import Epilogue
from .fetch import Share, fetch
from .strassen_plan import BLOCK, MOST_FACTORS, PRODUCTS, QUARTERS, StrassenPlan
from .tile import (
    F32,
    Accumulators,
    Shape,
    add_tile,
    address,
    constant,
    emit_tile,
    load_lanes,
    store_tile,
)

POINTER = ir.PointerType()
# Of each product, in the order of the packed rows: the packed quarter of the weights, and which
# one is subtracted from it; they are B11, T2, B21 and B22.
_PANELS: tuple[tuple[int, int | None], ...] = (
    (0, None),
    (2, None),
    (1, None),
    (1, 0),
    (2, 1),
    (3, 1),
    (3, None),
)
# Of each chain: its products, and how many quarters of the result it gives.
_CHAINS: tuple[tuple[tuple[int, ...], int], ...] = (((0, 1), 1), ((2, 3, 4), 1), ((5, 6), 2))
_KEPT = 3
# Blocks of steps by which packed rows are fetched ahead where not all of them stay in the caches.
_BLOCKS_AHEAD = 4
_UNROLL = 2
_LINE = 16  # floats of a cache line


class StrassenWriter:
    """Emits one product."""

    def __init__(self, plan: StrassenPlan, epilogue: Epilogue, ahead: bool, adds: bool) -> None:
        self.plan, self.epilogue, self.ahead, self.adds = plan, epilogue, ahead, adds

    @property
    def key(self) -> tuple[object, ...]:
        """Everything that the code depends on."""
        return (self.plan, self.epilogue, self.ahead, self.adds)

    def write(self, function: ir.Function, finish: Finish) -> None:
        """The body: a panel of the left and one of the right half of the columns, some rows."""
        _Body(self, function, finish).write()


class _Body:
    """One body while it is written."""

    def __init__(self, writer: StrassenWriter, function: ir.Function, finish: Finish) -> None:
        plan = self.plan = writer.plan
        self.epilogue, self.finish = writer.epilogue, finish
        self.builder = builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, self.packed, self.out, self.factors = (function.args[k] for k in (0, 4, 6, 9))
        more = function.args[11:]
        self.bias: ir.Value | None = None
        if self.epilogue.biased:
            self.bias, more = more[0], more[2:]
        self.ahead = (more[0], more[1]) if writer.ahead else None
        self.residual = more[-2] if writer.adds else None
        # Floats of the weights that come next: what one step of a tile is to fetch of them.
        tiles = len(plan.heights)
        steps = tiles // plan.groups * PRODUCTS * plan.depth
        self.ahead_step = min(-(-QUARTERS * plan.depth * plan.panel // steps), _LINE)
        self.kept = builder.alloca(F32, _KEPT * plan.heights[0] * plan.panel)
        self.kept.align, self.kept.type = 64, POINTER
        groups, pairs = constant(plan.groups), constant(plan.pairs)
        after = builder.add(item, constant(1))
        if plan.by_rows:
            self.pair, group = builder.srem(item, pairs), builder.sdiv(item, pairs)
            self.following_pair = builder.srem(after, pairs)
        else:
            self.pair, group = builder.sdiv(item, groups), builder.srem(item, groups)
            self.following_pair = builder.sdiv(after, groups)
        self.is_end = builder.icmp_signed("==", after, constant(plan.pairs * plan.groups))
        self.first_tile, self.end_tile = (
            builder.sdiv(builder.mul(number, constant(tiles)), groups)
            for number in (group, builder.add(group, constant(1)))
        )

    def write(self) -> None:
        """All chunks of the inner extent, one after the other."""
        builder, chunks = self.builder, self.plan.chunks
        self._chunk(constant(0), True, chunks == 1)
        if chunks > 2:
            for_each(
                builder,
                chunks - 2,
                lambda k: self._chunk(builder.add(k, constant(1)), False, False),
            )
        if chunks > 1:
            self._chunk(constant(chunks - 1), False, True)
        builder.ret(constant(0))

    def _chunk(self, chunk: ir.Value, is_first: bool, is_last: bool) -> None:
        """All rows of the item, tile by tile."""
        builder, plan = self.builder, self.plan
        b = self._panels(self.pair, chunk)
        coming = self._upcoming(chunk) if self.ahead is not None else None
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
                number = builder.add(builder.mul(chunk, constant(len(plan.heights))), tile)
                place = builder.mul(number, constant(PRODUCTS * plan.factor_size))
                fetched = None
                if coming is not None:
                    part = PRODUCTS * plan.depth * self.ahead_step
                    here = builder.sub(tile, self.first_tile)
                    fetched = address(builder, coming, builder.mul(here, constant(part)))
                factors = address(builder, self.factors, place)
                self._tiles(row, height, factors, b, fetched, is_first, is_last)

            for_each(builder, builder.sub(end, first), one)
            start += count * height
            done += count

    def _panels(self, pair: ir.Value, chunk: ir.Value) -> ir.Value:
        """The packed quarters of a pair of panels."""
        builder, plan = self.builder, self.plan
        group = builder.add(builder.mul(pair, constant(plan.chunks)), chunk)
        size = QUARTERS * plan.depth * plan.panel
        return address(builder, self.packed, builder.mul(group, constant(size)))

    def _upcoming(self, chunk: ir.Value) -> ir.Value:
        """What is needed after a chunk: the next one, the next item's first, or what is ahead."""
        builder, plan = self.builder, self.plan
        after = builder.add(chunk, constant(1))
        is_last = builder.icmp_signed("==", after, constant(plan.chunks))
        first = self._panels(self.following_pair, constant(0))
        own = builder.select(is_last, first, self._panels(self.pair, after))
        assert self.ahead is not None
        return builder.select(builder.and_(is_last, self.is_end), self.ahead[0], own)

    def _tiles(
        self,
        row: ir.Value,
        height: int,
        factors: ir.Value,
        b: ir.Value,
        fetched: ir.Value | None,
        is_first: bool,
        is_last: bool,
    ) -> None:
        """The tiles of four quarters of the result: ``height`` rows of each half."""
        builder, plan = self.builder, self.plan
        upper, lower = row, builder.add(row, constant(plan.rows // 2))
        left = builder.mul(self.pair, constant(plan.panel))
        right = builder.add(left, constant(plan.half))

        def chain(number: int, rows: tuple[ir.Value, ...], column: ir.Value, columns: int) -> None:
            products, _ = _CHAINS[number]
            arguments = [address(builder, factors, products[0] * plan.factor_size), b, self.kept]
            added: list[ir.Value] = []
            for r in rows:
                place = builder.add(builder.mul(r, constant(plan.columns)), column)
                arguments.append(address(builder, self.out, place))
                if self.residual is not None and is_last:
                    added.append(address(builder, self.residual, place))
            arguments += added
            if self.bias is not None and is_first:
                arguments.append(address(builder, self.bias, column))
            if fetched is not None:
                part = products[0] * plan.depth * self.ahead_step
                arguments.append(address(builder, fetched, part))
            function = self._function(number, height, columns, is_first, is_last)
            builder.call(function, arguments)

        def right_half(columns: int) -> None:
            chain(2, (lower, upper), right, columns)
            if is_last:
                for r in (upper, lower):
                    self.finish(builder, r, height, right, columns)

        chain(0, (upper,), left, plan.panel)
        chain(1, (lower,), left, plan.panel)
        if plan.last == plan.panel:
            right_half(plan.panel)
        else:
            is_partial = builder.icmp_signed("==", self.pair, constant(plan.pairs - 1))
            with builder.if_else(is_partial) as (then, otherwise):
                with then:
                    right_half(plan.last)
                with otherwise:
                    right_half(plan.panel)
        if is_last:
            for r in (upper, lower):
                self.finish(builder, r, height, left, plan.panel)

    def _function(
        self, number: int, height: int, columns: int, is_first: bool, is_last: bool
    ) -> ir.Function:
        """A chain of tiles as a function of its own; inlined tiles are slower."""
        module: Any = self.builder.module
        kind = f"{number}.{height}x{columns}.{is_first:d}{is_last:d}"
        name = f"{self.builder.function.name}.chain{kind}"
        if name in module.globals:
            return module.globals[name]
        _, results = _CHAINS[number]
        biased = self.bias is not None and is_first
        pointers = 3 + results
        adds = results if self.residual is not None and is_last else 0
        count = pointers + adds + biased + (self.ahead is not None)
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER] * count), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        for argument in function.args[:pointers]:
            argument.add_attribute("noalias")
        chain = _Chain(self, function, number, height, columns, is_last)
        chain.write(is_first, is_last)
        return function


class _Chain:
    """One chain of tiles while it is written."""

    def __init__(
        self,
        body: _Body,
        function: ir.Function,
        number: int,
        height: int,
        columns: int,
        is_last: bool,
    ) -> None:
        plan = self.plan = body.plan
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.epilogue, self.number, self.columns = body.epilogue, number, columns
        self.shape = Shape(height, plan.panel // plan.width, plan.width)
        self.vector = ir.VectorType(F32, plan.width)
        self.products, results = _CHAINS[number]
        arguments = list(function.args)
        self.factors = arguments.pop(0)
        self.panels = arguments.pop(0)
        self.kept = arguments.pop(0)
        self.results = [arguments.pop(0) for _ in range(results)]
        adds = results if body.residual is not None and is_last else 0
        self.residuals = [arguments.pop(0) for _ in range(adds)]
        self.fetched = arguments.pop() if body.ahead is not None else None
        self.ahead_step = body.ahead_step
        self.bias = arguments.pop() if arguments else None

    def write(self, is_first: bool, is_last: bool) -> None:
        """The chain; P1, P1 + P6 and P1 + P6 + P7 are kept for those that follow."""
        if self.number == 0:
            acc = self._product(0, None)
            self._keep(0, acc)
            self._result(0, self._product(1, acc), is_first, is_last)
        elif self.number == 1:
            acc = self._product(0, self._load_kept(0))
            self._keep(1, acc)
            acc = self._product(1, acc)
            self._keep(2, acc)
            self._result(0, self._product(2, acc), is_first, is_last)
        else:
            acc = self._product(0, None)
            self._result(0, self._sum(acc, self._load_kept(2)), is_first, is_last)
            acc = self._product(1, self._sum(acc, self._load_kept(1)))
            self._result(1, acc, is_first, is_last)
        self.builder.ret_void()

    def _product(self, number: int, start: Accumulators | None) -> Accumulators:
        """One product, added to ``start``; each block of steps fetches some weights."""
        builder, plan, shape = self.builder, self.plan, self.shape
        vectors = shape.vectors
        if start is None:
            start = [[ir.Constant(self.vector, None)] * vectors for _ in range(shape.rows)]
        size = plan.depth * plan.panel
        panel, other = _PANELS[self.products[number]]
        less = None if other is None else (other - panel) * size
        places = [
            address(builder, self.factors, number * plan.factor_size),
            address(builder, self.panels, panel * size),
        ]
        if self.fetched is not None:
            part = number * plan.depth * self.ahead_step
            places.append(address(builder, self.fetched, part))
        sizes = [plan.heights[0] * BLOCK, BLOCK * plan.panel, BLOCK * self.ahead_step]

        def steps(count: int, at: list[ir.Value], flat: list[ir.Value]) -> list[ir.Value]:
            acc = [flat[k : k + vectors] for k in range(0, len(flat), vectors)]
            share = (
                Share(at[2], constant(4 * self.ahead_step)) if self.fetched is not None else None
            )
            acc = emit_tile(
                builder, at[0], at[1], count, shape, BLOCK, 1, plan.panel, acc, share, _UNROLL, less
            )
            return [value for row in acc for value in row]

        def block(_: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            at, flat = carried[: len(places)], carried[len(places) :]
            if plan.row_factors > MOST_FACTORS:
                for line in range(shape.rows):
                    offset = _BLOCKS_AHEAD * sizes[0] + line * _LINE
                    fetch(builder, address(builder, at[0], offset))
            flat = steps(BLOCK, at, flat)
            moved = [address(builder, place, size) for place, size in zip(at, sizes, strict=False)]
            return [*moved, *flat]

        carried = [*places, *(value for row in start for value in row)]
        whole, rest = divmod(plan.depth, BLOCK)
        if whole:
            carried = repeat(builder, whole, carried, block)
        flat = carried[len(places) :]
        if rest:
            flat = steps(rest, carried, flat)
        return [flat[k : k + vectors] for k in range(0, len(flat), vectors)]

    def _place(self, number: int) -> ir.Value:
        return address(self.builder, self.kept, number * self.plan.heights[0] * self.plan.panel)

    def _keep(self, number: int, acc: Accumulators) -> None:
        panel = self.plan.panel
        store_tile(self.builder, acc, self._place(number), self.shape, panel, panel)

    def _load_kept(self, number: int) -> Accumulators:
        return self._load(self._place(number), self.plan.panel, self.plan.panel)

    def _load(self, place: ir.Value, row: int, columns: int) -> Accumulators:
        """``columns`` columns of a tile in memory whose rows are ``row`` apart."""
        builder, shape = self.builder, self.shape

        def vector(i: int, j: int) -> ir.Value:
            here = address(builder, place, i * row + j * shape.width)
            lanes = min(columns - j * shape.width, shape.width)
            if lanes <= 0:
                return ir.Constant(self.vector, None)
            return load_lanes(builder, here, shape.width, lanes)

        return [[vector(i, j) for j in range(shape.vectors)] for i in range(shape.rows)]

    def _sum(self, left: Accumulators, right: Accumulators) -> Accumulators:
        return [
            [self.builder.fadd(a, b) for a, b in zip(row, other, strict=True)]
            for row, other in zip(left, right, strict=True)
        ]

    def _result(self, number: int, acc: Accumulators, is_first: bool, is_last: bool) -> None:
        """Add what earlier chunks gave, or the bias, and write."""
        builder, shape, place = self.builder, self.shape, self.results[number]
        if not is_first:
            acc = self._sum(acc, self._load(place, self.plan.columns, self.columns))
        elif self.bias is not None:
            acc = self._sum(acc, [self._bias()] * shape.rows)
        if self.residuals:
            row = self.plan.columns
            acc = add_tile(builder, acc, self.residuals[number], shape, row, self.columns)
        if is_last:
            acc = self.epilogue.end(builder, acc)
        store_tile(builder, acc, place, shape, self.plan.columns, self.columns)

    def _bias(self) -> list[ir.Value]:
        start = self.epilogue.start(self.builder, self.bias, self.columns, self.plan.width)
        rest = self.shape.vectors - len(start)
        return [*start, *[ir.Constant(self.vector, None)] * rest]
