"""The register tiles of attention, as functions beside its body."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from ....ir import Extent
from ..dense.tile import (
    F32,
    I64,
    Accumulators,
    Shape,
    address,
    constant,
    emit_tile,
    intrinsic,
    splat,
)
from ..spatial.winograd_region import POINTER, local_function

# Vectors of queries in a block.
QUERY_VECTORS = 2


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the code of a kernel depends on.

    ``depth`` and ``elements`` are those of a key and of a value, ``pitches`` the distances
    between rows of q, k, v and the result. ``numbers`` are the other extents and distances by
    name, which may be symbolic.
    """

    heads: int
    depth: int
    elements: int
    pitches: tuple[int, int, int, int]
    scale: float
    width: int
    numbers: tuple[tuple[str, Extent], ...]

    @property
    def value_width(self) -> int:
        """Lanes of a vector of a value's elements: no more than there are elements."""
        return min(self.width, 1 << self.elements.bit_length() - 1)

    @property
    def columns(self) -> tuple[int, ...]:
        """Where a value's vectors begin; the last overlaps another rather than to pass the end."""
        width = self.value_width
        whole = range(0, self.elements - width + 1, width)
        return (*whole, self.elements - width) if self.elements % width else tuple(whole)


class Tiles:
    """Emits the tiles of one attention."""

    def __init__(self, sizes: Sizes, masked: bool, full_mask: bool) -> None:
        self.sizes, self.masked, self.full_mask = sizes, masked, full_mask
        self.width, self.lanes = sizes.width, QUERY_VECTORS * sizes.width
        self.vector = ir.VectorType(F32, sizes.width)

    def scores(self, outer: ir.IRBuilder, height: int) -> ir.Function:
        """``scores(keys, queries, result, maxima)``: ``height`` keys for the queries of a block.

        Maxima become those of the scores and what they were. With a mask its place and the
        distance between its keys follow.
        """
        types: list[ir.Type] = [POINTER] * 4
        masked, full = self.masked, self.full_mask
        types += [POINTER, I64] if masked else []
        function, fresh = local_function(outer, f"scores{height}", types)
        if not fresh:
            return function
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        k, queries, scores, state, *mask = function.args
        sizes, width, lanes = self.sizes, self.width, self.lanes
        shape = Shape(height, QUERY_VECTORS, width)
        acc = emit_tile(builder, k, queries, sizes.depth, shape, sizes.pitches[1], 1, lanes)
        fma = intrinsic(
            builder.module, f"llvm.fma.v{width}f32", ir.FunctionType(self.vector, [self.vector] * 3)
        )
        scale = ir.Constant(self.vector, [ir.Constant(F32, sizes.scale)] * width)
        vectors = range(QUERY_VECTORS)
        maxima = [
            builder.load(address(builder, state, j * width), typ=self.vector, align=4)
            for j in vectors
        ]
        for i in range(height):
            added = None
            if masked:
                place = address(builder, mask[0], builder.mul(mask[1], constant(i)))
                if not full:
                    added = splat(builder, builder.load(place, typ=F32, align=4), width)
            for j in vectors:
                if masked and full:
                    here = address(builder, place, j * width)
                    added = builder.load(here, typ=self.vector, align=4)
                score = acc[i][j]
                if added is not None:
                    score = builder.call(fma, [score, scale, added])
                elif sizes.scale != 1.0:
                    score = builder.fmul(score, scale)
                offset = i * lanes + j * width
                builder.store(score, address(builder, scores, offset), align=4)
                is_larger = builder.fcmp_ordered(">", score, maxima[j])
                maxima[j] = builder.select(is_larger, score, maxima[j])
        for j in vectors:
            builder.store(maxima[j], address(builder, state, j * width), align=4)
        builder.ret_void()
        return function

    def values(
        self,
        outer: ir.IRBuilder,
        height: int,
        columns: tuple[int, ...],
        count: int | ir.Value,
        is_last: bool,
        carry: bool,
    ) -> ir.Function:
        """``values(weights, v, factors, target)``: sums for ``height`` queries, by weights.

        Of vectors of elements that begin at ``columns`` and of ``count`` keys; where that is no
        number, it follows as an argument. What is in the target times the factors is added where
        sums ``carry`` on; the ``is_last`` ones are themselves multiplied by the factors, and
        written where they belong: others are written vector by vector.
        """
        name = f"values{height}x{'.'.join(map(str, columns))}.{is_last:d}"
        types: list[ir.Type] = [POINTER] * 4
        types += [] if isinstance(count, int) else [I64]
        function, fresh = local_function(outer, name, types)
        if not fresh:
            return function
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        weights, v, factors, target, *more = function.args
        sizes, width = self.sizes, self.sizes.value_width
        vector = ir.VectorType(F32, width)
        vectors = len(columns)
        shape = Shape(height, vectors, width)

        def place(i: int, j: int) -> ir.Value:
            if is_last:
                return address(builder, target, i * sizes.pitches[3] + columns[j])
            return address(builder, target, i * len(sizes.columns) * width + j * width)

        def scaled(acc: Accumulators) -> Accumulators:
            scales = [
                splat(builder, builder.load(address(builder, factors, i), typ=F32, align=4), width)
                for i in range(height)
            ]
            return [
                [builder.fmul(value, scale) for value in row]
                for row, scale in zip(acc, scales, strict=True)
            ]

        start = None
        if carry:
            start = scaled(
                [
                    [builder.load(place(i, j), typ=vector, align=4) for j in range(vectors)]
                    for i in range(height)
                ]
            )
        inner = more[0] if more else count
        acc = emit_tile(
            builder,
            weights,
            v,
            inner,
            shape,
            1,
            self.lanes,
            sizes.pitches[2],
            start,
            columns=columns,
        )
        if is_last:
            acc = scaled(acc)
        for i in range(height):
            for j in range(vectors):
                builder.store(acc[i][j], place(i, j), align=4)
        builder.ret_void()
        return function
