"""Emits attention: one item is a block of queries of one head of one sequence.

The block's queries are transposed, so that a vector holds one element of several queries. A
register tile then gives the scores of a few keys for all queries of the block, key by key in
memory; maxima, exponentials and sums go along the keys, lane by lane; and the weights stand as
the register tile of the weighted sums reads them. Keys and values are read where they are.

Where the keys may be more than a block of them, the sums are carried from block to block, each
time scaled to the new maxima (M. Milakov and N. Gimelshein, "Online normalizer calculation for
softmax", 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from llvmlite import ir

from ....ir import Extent
from ..dense.tile import (
    F32,
    address,
    constant,
    largest_rows,
    splat,
)
from ..emitted import Finish
from ..spatial.geometry import balanced
from ..spatial.loops import Values, for_each, repeat
from ..spatial.winograd_region import choose, stack
from ..transposition import block_function
from .tiles import QUERY_VECTORS, Sizes, Tiles
from .weights import weight

# Keys whose scores are kept at a time.
_KEYS = 256
_VALUE_VECTORS = 2


class AttentionWriter:
    """Emits one attention."""

    def __init__(self, sizes: Sizes, masked: bool) -> None:
        self.sizes, self.masked = sizes, masked
        self.numbers = dict(sizes.numbers)
        self.lanes = QUERY_VECTORS * sizes.width
        self.most_keys = largest_rows(sizes.width, QUERY_VECTORS)
        keys = self.numbers["keys"]
        self.all_keys = keys if isinstance(keys, int) and 0 < keys <= _KEYS else None
        row = self.numbers.get("mask_row", 0)
        self.full_mask = not (isinstance(row, int) and row == 0)

    @property
    def key(self) -> tuple[object, ...]:
        """Everything that the code depends on; symbolic numbers are arguments."""
        names = [
            (name, value if isinstance(value, int) else "open")
            for name, value in self.numbers.items()
        ]
        sizes = self.sizes
        known = (sizes.heads, sizes.depth, sizes.elements, sizes.scale, sizes.width)
        return (*known, *sizes.pitches, tuple(names), self.masked)

    @property
    def scalars(self) -> tuple[Extent, ...]:
        """The symbolic numbers, which the body takes after its operands."""
        return tuple(value for value in self.numbers.values() if not isinstance(value, int))

    def write(self, function: ir.Function, finish: Finish) -> None:
        """The body."""
        _Body(self, function).write()


class _Body:
    """One body while it is written."""

    def __init__(self, writer: AttentionWriter, function: ir.Function) -> None:
        self.writer, self.sizes, self.lanes = writer, writer.sizes, writer.lanes
        self.width = self.sizes.width
        self.vector = ir.VectorType(F32, self.width)
        self.tiles = Tiles(self.sizes, writer.masked, writer.full_mask)
        self.builder = builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.item, self.q, _, self.k, _, self.v, _, self.out, _, *rest = function.args
        if writer.masked:
            self.mask, _, *rest = rest
        left = iter(rest)
        self.numbers = {
            name: constant(value) if isinstance(value, int) else next(left)
            for name, value in writer.numbers.items()
        }
        block_keys = writer.all_keys or _KEYS
        self.queries = stack(builder, self.lanes * self.sizes.depth)
        self.scores = stack(builder, self.lanes * block_keys)
        # Maxima, sums, and what carries sums from one block of keys to the next.
        self.state = stack(builder, 3 * self.lanes)
        # Sums of values, vector by vector.
        self.sums_pitch = len(self.sizes.columns) * self.sizes.value_width
        self.sums = stack(builder, self.lanes * self.sums_pitch)
        if writer.full_mask:
            self.mask_block = stack(builder, self.lanes * block_keys)

    def write(self) -> None:
        """All blocks of keys for the item's queries."""
        builder, at, sizes, lanes = self.builder, self.numbers, self.sizes, self.lanes
        block = builder.srem(self.item, at["blocks"])
        outer = builder.sdiv(self.item, at["blocks"])
        head = builder.srem(outer, constant(sizes.heads))
        batch = builder.sdiv(outer, constant(sizes.heads))
        row = builder.mul(block, constant(lanes))
        rows = choose(builder, "smin", builder.sub(at["rows"], row), constant(lanes))

        def place(base: ir.Value, name: str) -> ir.Value:
            offset = builder.mul(batch, at[f"{name}_batch"])
            offset = builder.add(offset, builder.mul(head, at[f"{name}_head"]))
            if f"{name}_start" in at:
                offset = builder.add(offset, at[f"{name}_start"])
            return address(builder, base, offset)

        q, k, v, out = (
            place(base, name)
            for base, name in zip((self.q, self.k, self.v, self.out), "qkvo", strict=True)
        )
        q = address(builder, q, builder.mul(row, constant(sizes.pitches[0])))
        out = address(builder, out, builder.mul(row, constant(sizes.pitches[3])))
        mask = None
        if self.writer.masked:
            mask = place(self.mask, "mask")
            mask = address(builder, mask, builder.mul(row, at["mask_row"]))
        is_whole = isinstance(self.writer.numbers["rows"], int) and (
            self.writer.numbers["rows"] % lanes == 0
        )
        if not is_whole:  # lanes without a query hold something harmless
            self._fill(self.queries, sizes.depth, 0.0)
            if self.writer.full_mask:
                self._fill(self.mask_block, self.writer.all_keys or _KEYS, 0.0)
        self._transpose(q, constant(sizes.pitches[0]), self.queries, rows, constant(sizes.depth))
        self._fill(self.state, 1, -math.inf)
        if self.writer.all_keys is not None:
            self._scores(k, mask, rows, constant(self.writer.all_keys))
            self._weights(self.writer.all_keys, carry=False)
            self._inverses()
            self._values(v, self.writer.all_keys, out if is_whole else None, carry=False)
        else:
            self._fill(address(builder, self.state, lanes), 1, 0.0)
            self._fill(self.sums, self.sums_pitch, 0.0)

            def one(number: ir.Value) -> None:
                first = builder.mul(number, constant(_KEYS))
                left = builder.sub(at["keys"], first)
                count = choose(builder, "smin", left, constant(_KEYS))
                here = None
                if mask is not None:
                    here = address(builder, mask, builder.mul(first, at["mask_key"]))
                at_k = address(builder, k, builder.mul(first, constant(sizes.pitches[1])))
                at_v = address(builder, v, builder.mul(first, constant(sizes.pitches[2])))
                for j in range(QUERY_VECTORS):
                    before = self._load(self.state, j * self.width)
                    self._store(before, self.state, 2 * lanes + j * self.width)
                self._scores(at_k, here, rows, count)
                self._weights(count, carry=True)
                self._values(at_v, count, None, carry=True)

            blocks = builder.sdiv(builder.add(at["keys"], constant(_KEYS - 1)), constant(_KEYS))
            for_each(builder, blocks, one)
            self._inverses()
        if self.writer.all_keys is None or not is_whole:
            self._finish(out, rows)
        builder.ret(constant(0))

    # --- memory ----------------------------------------------------------------------------

    def _fill(self, memory: ir.Value, count: int, number: float) -> None:
        """``count`` times as many numbers as there are lanes."""
        value = ir.Constant(self.vector, [ir.Constant(F32, number)] * self.width)

        def one(k: ir.Value) -> None:
            offset = self.builder.mul(k, constant(self.width))
            self.builder.store(value, address(self.builder, memory, offset), align=4)

        for_each(self.builder, count * self.lanes // self.width, one)

    def _transpose(
        self,
        source: ir.Value,
        step: ir.Value,
        target: ir.Value,
        rows: ir.Value,
        columns: ir.Value,
    ) -> None:
        """Columns of the source as rows of as many numbers as there are lanes."""
        function = block_function(self.builder.module, 32)
        lanes = constant(self.lanes)
        self.builder.call(function, [source, step, target, lanes, rows, columns])

    def _load(self, base: ir.Value, offset: int | ir.Value) -> ir.Value:
        place = address(self.builder, base, offset)
        return self.builder.load(place, typ=self.vector, align=4)

    def _store(self, value: ir.Value, base: ir.Value, offset: int | ir.Value) -> None:
        self.builder.store(value, address(self.builder, base, offset), align=4)

    # --- scores ----------------------------------------------------------------------------

    def _scores(self, k: ir.Value, mask: ir.Value | None, rows: ir.Value, count: ir.Value) -> None:
        """Scores of ``count`` keys from ``k`` on, and the maxima of these and those before."""
        builder, writer = self.builder, self.writer
        mask_step: ir.Value = self.numbers.get("mask_key", constant(0))
        if mask is not None and writer.full_mask:
            # A mask that is the same for all keys is transposed as one column.
            one = builder.icmp_signed("==", mask_step, constant(0))
            columns = builder.select(one, constant(1), count)
            self._transpose(mask, self.numbers["mask_row"], self.mask_block, rows, columns)
            mask, mask_step = self.mask_block, builder.mul(mask_step, constant(self.lanes))

        def tiles(height: int) -> Callable[[ir.Value], None]:
            def one(first: ir.Value) -> None:
                function = self.tiles.scores(builder, height)
                at_k = address(builder, k, builder.mul(first, constant(self.sizes.pitches[1])))
                offset = builder.mul(first, constant(self.lanes))
                arguments = [at_k, self.queries, address(builder, self.scores, offset), self.state]
                if mask is not None:
                    arguments.append(address(builder, mask, builder.mul(first, mask_step)))
                    arguments.append(mask_step)
                builder.call(function, arguments)

            return one

        if writer.all_keys is not None:
            heights = balanced(writer.all_keys, writer.most_keys)
            start = 0
            for height in sorted(set(heights), reverse=True):
                self._each(constant(heights.count(height)), height, start, tiles(height))
                start += height * heights.count(height)
            return
        start_value, height = constant(0), writer.most_keys
        while height:
            number = builder.sdiv(builder.sub(count, start_value), constant(height))
            self._each(number, height, start_value, tiles(height))
            start_value = builder.add(start_value, builder.mul(number, constant(height)))
            height = 0 if height == 1 else max(1, height // 3)

    def _each(
        self,
        count: ir.Value,
        step: int,
        start: int | ir.Value,
        body: Callable[[ir.Value], None],
    ) -> None:
        """``body`` of ``count`` numbers from ``start`` on, ``step`` apart."""
        builder = self.builder
        first = constant(start) if isinstance(start, int) else start
        for_each(builder, count, lambda k: body(builder.add(first, builder.mul(k, constant(step)))))

    # --- weights ---------------------------------------------------------------------------

    def _weights(self, count: int | ir.Value, carry: bool) -> None:
        """Exponentials of the scores less the maxima, and their sums.

        ``carry``: sums are added to those of the keys before, and what these are scaled by
        takes the place of their maxima.
        """
        builder, width, lanes = self.builder, self.width, self.lanes
        vectors = range(QUERY_VECTORS)
        maxima = [self._load(self.state, j * width) for j in vectors]
        lowest = ir.Constant(self.vector, [ir.Constant(F32, -math.inf)] * width)
        zero = ir.Constant(self.vector, None)
        # Minus infinity less minus infinity would be no number.
        bases = [builder.select(builder.fcmp_ordered("==", m, lowest), zero, m) for m in maxima]

        def rows(first: ir.Value, number: int, sums: Values) -> Values:
            sums = list(sums)
            for i in range(number):
                for j in vectors:
                    offset = builder.mul(builder.add(first, constant(i)), constant(lanes))
                    place = address(builder, self.scores, builder.add(offset, constant(j * width)))
                    score = builder.load(place, typ=self.vector, align=4)
                    value = weight(builder, score, bases[j])
                    builder.store(value, place, align=4)
                    sums[j] = builder.fadd(sums[j], value)
            return sums

        sums: Values = [zero] * QUERY_VECTORS
        if isinstance(count, int):
            pairs, rest = count // 2, count % 2
            if pairs:
                sums = repeat(
                    builder, pairs, sums, lambda k, s: rows(builder.mul(k, constant(2)), 2, s)
                )
            if rest:
                sums = rows(constant(count - 1), 1, sums)
        else:
            sums = repeat(builder, count, sums, lambda k, s: rows(k, 1, s))
        for j in vectors:
            at = lanes + j * width
            if carry:
                before = self._load(self.state, 2 * lanes + j * width)
                factor = weight(builder, before, bases[j])
                # Nothing was before the first block.
                is_first = builder.fcmp_ordered("==", before, lowest)
                factor = builder.select(is_first, zero, factor)
                sums[j] = builder.fadd(sums[j], builder.fmul(self._load(self.state, at), factor))
                self._store(factor, self.state, 2 * lanes + j * width)
            self._store(sums[j], self.state, at)

    def _inverses(self) -> None:
        """What sums of values are multiplied by in the end: NaN where all keys are hidden."""
        builder, width, lanes = self.builder, self.width, self.lanes
        lowest = ir.Constant(self.vector, [ir.Constant(F32, -math.inf)] * width)
        nothing = ir.Constant(self.vector, [ir.Constant(F32, math.nan)] * width)
        if self.writer.all_keys is None:  # there may be no keys, and the sums are zero
            is_none = builder.icmp_signed("==", self.numbers["keys"], constant(0))
            zero = ir.Constant(self.vector, None)
            nothing = builder.select(is_none, zero, nothing)
        one = ir.Constant(self.vector, [ir.Constant(F32, 1.0)] * width)
        for j in range(QUERY_VECTORS):
            is_empty = builder.fcmp_ordered("==", self._load(self.state, j * width), lowest)
            inverse = builder.fdiv(one, self._load(self.state, lanes + j * width))
            inverse = builder.select(is_empty, nothing, inverse)
            self._store(inverse, self.state, 2 * lanes + j * width)

    # --- values ----------------------------------------------------------------------------

    def _values(
        self, v: ir.Value, count: int | ir.Value, out: ir.Value | None, carry: bool
    ) -> None:
        """Sums of ``count`` values from ``v`` on by weights.

        They go to ``out``, divided by the sums of weights, or to the sums that are kept, added
        to what is there if they ``carry`` on.
        """
        builder, sizes, lanes = self.builder, self.sizes, self.lanes
        width = sizes.value_width
        for first in range(0, len(sizes.columns), _VALUE_VECTORS):
            columns = sizes.columns[first : first + _VALUE_VECTORS]
            row = 0
            for height in balanced(lanes, min(largest_rows(width, len(columns)), lanes)):
                tile = tuple(column - columns[0] for column in columns)
                function = self.tiles.values(builder, height, tile, count, out is not None, carry)
                if out is None:
                    target = address(builder, self.sums, row * self.sums_pitch + first * width)
                else:
                    target = address(builder, out, row * sizes.pitches[3] + columns[0])
                arguments = [
                    address(builder, self.scores, row),
                    address(builder, v, columns[0]),
                    address(builder, self.state, 2 * lanes + row),
                    target,
                ]
                if not isinstance(count, int):
                    arguments.append(count)
                builder.call(function, arguments)
                row += height

    def _finish(self, out: ir.Value, rows: ir.Value) -> None:
        """The sums that were kept, divided by those of weights, for ``rows`` queries."""
        builder, sizes, width = self.builder, self.sizes, self.sizes.value_width
        vector = ir.VectorType(F32, width)

        def one(row: ir.Value) -> None:
            place = builder.add(row, constant(2 * self.lanes))
            inverse = builder.load(address(builder, self.state, place), typ=F32, align=4)
            scale = splat(builder, inverse, width)
            source = address(builder, self.sums, builder.mul(row, constant(self.sums_pitch)))
            target = address(builder, out, builder.mul(row, constant(sizes.pitches[3])))
            for number, column in enumerate(sizes.columns):
                sums = address(builder, source, number * width)
                value = builder.fmul(builder.load(sums, typ=vector, align=4), scale)
                builder.store(value, address(builder, target, column), align=4)

        for_each(builder, rows, one)
