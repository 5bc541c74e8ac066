"""3x3 convolutions of stride 1 by Winograd's minimal filtering, F(4x4, 3x3).

A tile of 4x4 outputs takes 36 multiplications a channel instead of 144: the 6x6 input tile and
the kernel are transformed, multiplied element by element (summed over channels, which makes 36
small matrix products), and the sum is transformed back. Lavin and Gray, "Fast algorithms for
convolutional neural networks", 2015; the matrices are those for the points 0, 1, -1, 2, -2.
In float32 the result is within about 5e-6 of the direct sum, relative to the largest output.

A work item is a block of whole rows of tiles of one image. Lanes of a vector are tiles: ``k``
segments of neighbouring tiles, each of one row of tiles. A segment's 6x6 inputs are contiguous
in memory apart from the rows, so they are loaded in runs and dealt out to the lanes by shuffles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from llvmlite import ir

from ....ir import Array, Call, Cost, Extent, ModelError, Operand, TensorType, workspace
from ....ops.convolution import convolution
from ....ops.define import operator
from ..emitted import EmittedBody, Finish
from .tile import (
    F32,
    I32,
    Shape,
    address,
    constant,
    counted_loop,
    end_loop,
    largest_rows,
    masked_store,
    packed_tile,
)

POINTER = ir.PointerType()
OUTPUT = 4  # outputs of a tile along one dimension
INPUT = 6  # inputs that they need
POINTS = INPUT * INPUT

_INPUT_TRANSFORM = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_KERNEL_TRANSFORM = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUT_TRANSFORM = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How the tiles of an output map lie in vectors and blocks."""

    channels: int
    maps: int
    output: tuple[int, int]
    width: int  # lanes of a vector

    @property
    def tile_rows(self) -> int:
        """Rows of tiles of a map."""
        return -(-self.output[0] // OUTPUT)

    @property
    def tile_columns(self) -> int:
        """Tiles of a row."""
        return -(-self.output[1] // OUTPUT)

    @property
    def segments(self) -> int:
        """Rows of tiles that share a vector."""
        count = 1
        while count * 2 <= self.width // 2 and self.tile_columns * count * 2 <= self.width:
            count *= 2
        return count

    @property
    def lanes(self) -> int:
        """Lanes of one segment."""
        return self.width // self.segments

    @property
    def row_vectors(self) -> int:
        """Vectors that one row of tiles takes."""
        return -(-self.tile_columns // self.lanes)

    @property
    def lane_step(self) -> int:
        """Tiles between the starts of neighbouring vectors of a row; rows are split evenly."""
        return -(-self.tile_columns // self.row_vectors)

    @property
    def vectors(self) -> int:
        """Vectors of a block: two if there are as many, so that weights are used twice."""
        one_is_all = self.tile_rows <= self.segments
        return max(self.row_vectors, 1 if one_is_all else 2)

    @property
    def block_rows(self) -> int:
        """Rows of tiles of a block."""
        return self.segments * (self.vectors // self.row_vectors)

    @property
    def blocks(self) -> int:
        """Blocks of a map."""
        return -(-self.tile_rows // self.block_rows)

    @property
    def height(self) -> int:
        """Output channels of a register tile."""
        most = largest_rows(self.width, self.vectors)
        return -(-self.maps // -(-self.maps // most))

    @property
    def source(self) -> tuple[int, int]:
        """Rows and columns of the padded copy of an input plane."""
        rows = self.blocks * self.block_rows * OUTPUT + INPUT - OUTPUT
        return rows, self.tile_columns * OUTPUT + INPUT - OUTPUT

    @property
    def slack(self) -> int:
        """Elements behind the last plane that loads of whole vectors may touch."""
        return (self.width + 2) * OUTPUT

    @property
    def efficiency(self) -> float:
        """Share of the lanes that compute outputs which are kept."""
        lanes = self.blocks * self.vectors * self.width * OUTPUT * OUTPUT
        return self.output[0] * self.output[1] / lanes


def transform_kernels(weights: Array, height: int) -> Array:
    """``weights`` [M, C, 3, 3] as [tiles, 36, C, height], transformed in float64."""
    total, channels = weights.shape[:2]
    tiles = -(-total // height)
    # Both dimensions at once: one product with the Kronecker product of the matrix with itself.
    matrix = np.kron(np.array(_KERNEL_TRANSFORM), np.array(_KERNEL_TRANSFORM))
    transformed = np.zeros((tiles * height, channels, POINTS), np.float32)
    flat = weights.reshape(total * channels, 9).astype(np.float64)
    transformed[:total] = (flat @ matrix.T).reshape(total, channels, POINTS)
    shaped = transformed.reshape(tiles, height, channels, POINTS).transpose(0, 3, 2, 1)
    return np.ascontiguousarray(shaped)


@operator(name="cpu_winograd", traits=("dot",))
def winograd(
    x: Array, kernels: Array, *, maps: int, pads: tuple[int, int, int, int], width: int
) -> Array:
    """3x3 ``convolution`` of stride 1, kernels transformed by :func:`transform_kernels`.

    ``pads`` are those above, left, below and right.
    """
    tiles, _, channels, height = kernels.shape
    points = kernels.transpose(0, 3, 2, 1).reshape(tiles * height, channels, INPUT, INPUT)[:maps]
    inverse = np.linalg.pinv(np.array(_KERNEL_TRANSFORM))
    weights = np.einsum("ai,mcij,bj->mcab", inverse, points.astype(np.float64), inverse)
    return np.asarray(
        convolution.reference(x, weights.astype(np.float32), pads_begin=pads[:2], pads_end=pads[2:])
    )


@winograd.infer
def _(
    x: TensorType, kernels: TensorType, *, maps: int, pads: tuple[int, int, int, int], width: int
) -> TensorType:
    if x.rank != 4 or kernels.rank != 4:
        raise ModelError(f"winograd: {x} and {kernels}")
    rows, columns = x.shape[2] + pads[0] + pads[2] - 2, x.shape[3] + pads[1] + pads[3] - 2
    return x.with_shape((x.shape[0], maps, rows, columns))


@winograd.cost
def _(
    x: TensorType, kernels: TensorType, *, maps: int, pads: tuple[int, int, int, int], width: int
) -> Cost:
    rows, columns = x.shape[2] + pads[0] + pads[2] - 2, x.shape[3] + pads[1] + pads[3] - 2
    size = x.shape[0] * maps * rows * columns
    return Cost(2 * 9 * size * x.shape[1], x.nbytes + kernels.nbytes + 4 * size)


@winograd.kernel
def _(
    x: Operand,
    kernels: Operand,
    out: Operand,
    *,
    maps: int,
    pads: tuple[int, int, int, int],
    width: int,
) -> list[Call]:
    channels, *sizes = (int(extent) for extent in x.shape[1:])  # type: ignore[arg-type]
    output = (int(out.shape[2]), int(out.shape[3]))  # type: ignore[arg-type]
    tiling = Tiling(channels, maps, output, width)
    planes: Extent = x.shape[0] * channels
    plane = tiling.source[0] * tiling.source[1]
    source = workspace("padded", x.dtype, (planes * plane + tiling.slack,))
    pad = Call(
        _pad_plane,
        (x.view(planes, *sizes), source),
        items=planes,
        scalars=(*tiling.source, pads[0], pads[1]),
    )
    body = EmittedBody("winograd", (tiling,), 3, output[0] * output[1], _Writer(tiling).write)
    operands = (source, kernels.flat(), out.view(x.shape[0] * maps, output[0] * output[1]))
    return [pad, Call(body, operands, items=x.shape[0] * tiling.blocks)]


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _pad_plane(item, x, padded, rows, columns, top, left):  # type: ignore[no-untyped-def]
    start = item * rows * columns
    for i in range(rows * columns):
        padded[start + i] = 0.0
    for i in range(min(x.shape[1], rows - top)):
        into = start + (top + i) * columns + left
        for j in range(min(x.shape[2], columns - left)):
            padded[into + j] = x[item, i, j]


class _Writer:
    """Emits one Winograd convolution."""

    def __init__(self, tiling: Tiling) -> None:
        self.tiling = tiling
        self.vector = ir.VectorType(F32, tiling.width)
        self.columns = tiling.vectors * tiling.width
        # Points lie an odd number of cache lines apart: a power of two would put all of them
        # into one set of the first cache.
        self.point_step = (tiling.channels * tiling.vectors | 1) * tiling.width

    def write(self, function: ir.Function, finish: Finish) -> None:
        """The body: one block of tiles of one image."""
        tiling = self.tiling
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, source, _, kernels, _, out = function.args[:6]
        inputs = builder.alloca(F32, size=POINTS * self.point_step)
        products = builder.alloca(F32, size=POINTS * tiling.height * self.columns)
        for block_memory in (inputs, products):
            block_memory.align, block_memory.type = 64, POINTER
        block = builder.srem(item, constant(tiling.blocks))
        image = builder.sdiv(item, constant(tiling.blocks))
        first = builder.mul(block, constant(tiling.block_rows))
        rows, columns = tiling.source
        plane = builder.mul(image, constant(tiling.channels * rows * columns))
        at = builder.add(plane, builder.mul(first, constant(OUTPUT * columns)))
        self._transform_inputs(builder, address(builder, source, at), inputs)
        row = builder.mul(image, constant(tiling.maps))
        whole, rest = divmod(tiling.maps, tiling.height)
        if whole:
            number, head, after = counted_loop(builder, whole, "maps")
            self._maps(
                builder, finish, kernels, inputs, products, out, number, row, block, tiling.height
            )
            end_loop(builder, number, whole, head, after)
        if rest:
            self._maps(
                builder, finish, kernels, inputs, products, out, constant(whole), row, block, rest
            )
        builder.ret(constant(0))

    # --- inputs ----------------------------------------------------------------------------

    def _transform_inputs(self, builder: ir.IRBuilder, source: ir.Value, inputs: ir.Value) -> None:
        """For every channel and vector: 36 transformed vectors to ``inputs[point][channel]``."""
        tiling = self.tiling
        rows, columns = tiling.source
        channel, head, after = counted_loop(builder, tiling.channels, "channel")
        plane = address(builder, source, builder.mul(channel, constant(rows * columns)))
        target = address(builder, inputs, builder.mul(channel, constant(self.columns)))
        for number in range(tiling.vectors):
            tile_row, part = divmod(number, tiling.row_vectors)
            start = tile_row * tiling.segments * OUTPUT * columns
            start += part * tiling.lane_step * OUTPUT
            tile = [self._input_row(builder, plane, start + i * columns) for i in range(INPUT)]
            half = [
                _combine(builder, _INPUT_TRANSFORM, column) for column in zip(*tile, strict=True)
            ]
            for i in range(INPUT):
                row = _combine(builder, _INPUT_TRANSFORM, [column[i] for column in half])
                for j in range(INPUT):
                    point = (i * INPUT + j) * self.point_step
                    place = address(builder, target, point + number * tiling.width)
                    builder.store(row[j], place, align=4)
        end_loop(builder, channel, tiling.channels, head, after)

    def _input_row(self, builder: ir.IRBuilder, plane: ir.Value, start: int) -> list[ir.Value]:
        """Row of the 6x6 tiles in all lanes: six vectors, one for each column of a tile."""
        first = self._dealt(builder, plane, start, range(OUTPUT))
        second = self._dealt(builder, plane, start + OUTPUT, range(INPUT - OUTPUT))
        return [*first, *second]

    def _dealt(
        self, builder: ir.IRBuilder, plane: ir.Value, start: int, phases: range
    ) -> list[ir.Value]:
        """Elements ``4 * lane + phase`` of each segment's run, as one vector for each phase."""
        tiling = self.tiling
        count = tiling.lanes * OUTPUT
        run = ir.VectorType(F32, count)
        _, columns = tiling.source
        parts = []
        for segment in range(tiling.segments):
            place = address(builder, plane, start + segment * OUTPUT * columns)
            parts.append(builder.load(place, typ=run, align=4))
        while len(parts) > 1:
            parts = [_joined(builder, *parts[k : k + 2]) for k in range(0, len(parts), 2)]
        undefined = ir.Constant(parts[0].type, ir.Undefined)
        found = []
        for phase in phases:
            lanes = [ir.Constant(I32, OUTPUT * lane + phase) for lane in range(tiling.width)]
            mask = ir.Constant(ir.VectorType(I32, tiling.width), lanes)
            found.append(builder.shuffle_vector(parts[0], undefined, mask))
        return found

    # --- products and outputs ----------------------------------------------------------------

    def _maps(self, builder: ir.IRBuilder, finish: Finish, kernels: ir.Value, inputs: ir.Value,
              products: ir.Value, out: ir.Value, number: ir.Value, first_row: ir.Value,
              block: ir.Value, height: int) -> None:  # fmt: skip
        """One register tile of output channels: 36 products, then the way back."""
        tiling = self.tiling
        size = tiling.channels * tiling.height
        weights = address(builder, kernels, builder.mul(number, constant(POINTS * size)))
        point, head, after = counted_loop(builder, POINTS, "point")
        a = address(builder, weights, builder.mul(point, constant(size)))
        b = address(builder, inputs, builder.mul(point, constant(self.point_step)))
        c = address(builder, products, builder.mul(point, constant(tiling.height * self.columns)))
        tile = packed_tile(
            builder.module,
            Shape(height, tiling.vectors, tiling.width),
            tiling.height,
            adds=False,
        )
        sizes = (tiling.channels, self.columns, self.columns)
        builder.call(tile, [a, b, c, *map(constant, sizes)])
        end_loop(builder, point, POINTS, head, after)
        row = builder.add(first_row, builder.mul(number, constant(tiling.height)))
        places = [builder.append_basic_block("block")]
        done = builder.append_basic_block("stored")
        kept = [min(tiling.block_rows * OUTPUT, tiling.output[0])]
        left = tiling.output[0] - (tiling.blocks - 1) * tiling.block_rows * OUTPUT
        if tiling.blocks > 1 and left != kept[0]:
            kept.append(left)
            places.append(builder.append_basic_block("last_block"))
            is_last = builder.icmp_signed("==", block, constant(tiling.blocks - 1))
            builder.cbranch(is_last, places[1], places[0])
        else:
            builder.branch(places[0])
        for place, rows in zip(places, kept, strict=True):
            builder.position_at_end(place)
            map_, head, after = counted_loop(builder, height, "map")
            source = address(builder, products, builder.mul(map_, constant(self.columns)))
            map_row = builder.add(row, map_)
            pixel = builder.mul(block, constant(tiling.block_rows * OUTPUT * tiling.output[1]))
            target = address(builder, out, builder.mul(map_row, constant(self._pixels)))
            self._transform_outputs(builder, source, address(builder, target, pixel), rows)
            finish(builder, map_row, 1, pixel, rows * tiling.output[1])
            end_loop(builder, map_, height, head, after)
            builder.branch(done)
        builder.position_at_end(done)

    @property
    def _pixels(self) -> int:
        return self.tiling.output[0] * self.tiling.output[1]

    def _transform_outputs(
        self, builder: ir.IRBuilder, source: ir.Value, target: ir.Value, rows: int
    ) -> None:
        """One map of a block: ``rows`` rows of outputs from the 36 products of each tile."""
        tiling = self.tiling
        step = tiling.height * self.columns
        for number in range(tiling.vectors):
            tile_row, part = divmod(number, tiling.row_vectors)
            first_row = tile_row * tiling.segments * OUTPUT
            if first_row >= rows:
                continue
            loaded = [
                builder.load(
                    address(builder, source, point * step + number * tiling.width),
                    typ=self.vector,
                    align=4,
                )
                for point in range(POINTS)
            ]
            half = [_combine(builder, _OUTPUT_TRANSFORM, loaded[j::INPUT]) for j in range(INPUT)]
            for i in range(OUTPUT):
                outputs = _combine(builder, _OUTPUT_TRANSFORM, [column[i] for column in half])
                self._store_row(builder, target, outputs, first_row + i, part, rows)

    def _store_row(self, builder: ir.IRBuilder, target: ir.Value, outputs: list[ir.Value],
                   row: int, part: int, rows: int) -> None:  # fmt: skip
        """Deal the four outputs of each lane out to each segment's row of pixels."""
        tiling = self.tiling
        low = _joined(builder, outputs[0], outputs[1])
        high = _joined(builder, outputs[2], outputs[3])
        everything = _joined(builder, low, high)
        undefined = ir.Constant(everything.type, ir.Undefined)
        column = part * tiling.lane_step * OUTPUT
        last = part == tiling.row_vectors - 1
        limit = tiling.output[1] if last else (part + 1) * tiling.lane_step * OUTPUT
        for segment in range(tiling.segments):
            line = row + segment * OUTPUT
            if line >= rows:
                continue
            for start in range(0, tiling.lanes * OUTPUT, tiling.width):
                kept = min(limit - column - start, tiling.width)
                if kept <= 0:
                    continue
                lanes = []
                for k in range(start, start + tiling.width):
                    lane, phase = divmod(k % (tiling.lanes * OUTPUT), OUTPUT)
                    place = phase * tiling.width + segment * tiling.lanes + lane
                    lanes.append(ir.Constant(I32, place))
                mask = ir.Constant(ir.VectorType(I32, tiling.width), lanes)
                dealt = builder.shuffle_vector(everything, undefined, mask)
                place = address(builder, target, line * tiling.output[1] + column + start)
                if kept == tiling.width:
                    builder.store(dealt, place, align=4)
                else:
                    masked_store(builder, dealt, place, kept)


def _joined(builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
    """Two vectors of one type, one behind the other."""
    count = left.type.count
    lanes = [ir.Constant(I32, k) for k in range(2 * count)]
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(I32, 2 * count), lanes))


def _combine(
    builder: ir.IRBuilder, matrix: tuple[tuple[float, ...], ...], values: Sequence[ir.Value]
) -> list[ir.Value]:
    """The matrix times a column of vectors."""
    vector = values[0].type
    module = builder.module
    name = f"llvm.fma.v{vector.count}f32"
    type_ = ir.FunctionType(vector, [vector, vector, vector])
    fma = module.globals.get(name) or ir.Function(module, type_, name)
    results = []
    for row in matrix:
        total: ir.Value | None = None
        # Terms with a factor of one come first, so that the others are fused multiply-adds.
        terms = sorted(
            ((c, v) for c, v in zip(row, values, strict=True) if c),
            key=lambda term: (abs(term[0]) != 1, term[0] < 0),
        )
        for factor, value in terms:
            if total is None:
                total = value if factor == 1 else builder.fmul(_splat(vector, factor), value)
            elif factor == 1:
                total = builder.fadd(total, value)
            elif factor == -1:
                total = builder.fsub(total, value)
            else:
                total = builder.call(fma, [_splat(vector, factor), value, total])
        results.append(total)
    return results


def _splat(vector: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(vector, [ir.Constant(F32, float(value))] * vector.count)


__all__ = ["Tiling", "transform_kernels", "winograd"]
