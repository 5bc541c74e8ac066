"""Convolutions as products: packed weights times panels of input gathered tile by tile.

A work item is a block of output pixels of one image and group. For it, the input elements
that each kernel tap and channel meets are gathered into a panel ``[taps][pixels]`` that stays
in the second cache; then register tiles of output channels run over it. Pixels are counted
through the rows of the output map, so blocks may span rows. With more taps than the panel
holds, channels are taken in several rounds that add up in the output.

The source is either the input itself or, with padding, a copy with the borders in place, so
that gathering needs no range checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from ....ir import Array, Call, Cost, Extent, ModelError, Operand, TensorType, workspace
from ....ops.convolution import convolution
from ....ops.define import operator
from ..emitted import EmittedBody, Finish
from .tile import (
    F32,
    I32,
    I64,
    Shape,
    address,
    constant,
    counted_loop,
    end_loop,
    intrinsic,
    largest_rows,
    masked_load_function,
    packed_tile,
    splat,
)

POINTER = ir.PointerType()
BIT = ir.IntType(1)
VECTORS = 2
# Rows of a panel: 2048 of 128 bytes are a quarter of a typical second cache.
_PANEL_TAPS = 2048


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of one two-dimensional convolution; all are known."""

    channels: int  # of one group
    maps: int  # output channels of one group
    groups: int
    source: tuple[int, int]  # height and width of the source, padding included
    output: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    width: int  # lanes of a vector

    @property
    def taps(self) -> int:
        """Kernel positions of one channel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def pixels(self) -> int:
        """Pixels of one output map."""
        return self.output[0] * self.output[1]

    @property
    def height(self) -> int:
        """Output channels of a register tile; tiles are of about equal height."""
        most = largest_rows(self.width, VECTORS)
        return -(-self.maps // -(-self.maps // most))

    @property
    def contiguous(self) -> bool:
        """True when the pixels of a tap are one run: a 1x1 kernel that reads all of the input."""
        return self.kernel == (1, 1) and self.strides == (1, 1) and self.source == self.output


def pack_maps(weights: Array, groups: int, height: int) -> Array:
    """``weights`` [M, C / groups, kernel...] as [groups, tiles, C / groups * taps, height]."""
    total = weights.shape[0] // groups
    tiles = -(-total // height)
    flat = weights.reshape(groups, total, -1)
    padded = np.zeros((groups, tiles * height, flat.shape[2]), weights.dtype)
    padded[:, :total] = flat
    return np.ascontiguousarray(padded.reshape(groups, tiles, height, -1).transpose(0, 1, 3, 2))


@operator(name="cpu_packed_convolution", traits=("dot",))
def packed_convolution(
    x: Array,
    packed: Array,
    *,
    maps: int,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads_begin: tuple[int, int],
    pads_end: tuple[int, int],
    width: int,
) -> Array:
    """Two-dimensional ``convolution`` without bias, its weights packed by :func:`pack_maps`."""
    groups, _, taps, _ = packed.shape
    channels = x.shape[1] // groups
    flat = packed.transpose(0, 1, 3, 2).reshape(groups, -1, taps)[:, : maps // groups]
    weights = flat.reshape(maps, channels, *kernel)
    return np.asarray(
        convolution.reference(
            x,
            weights,
            strides=strides,
            dilations=dilations,
            pads_begin=pads_begin,
            pads_end=pads_end,
            groups=groups,
        )
    )


def _output(x: TensorType, maps: int, **attributes: Any) -> TensorType:
    kernel = attributes["kernel"]
    sizes = []
    for axis in range(2):
        reach = attributes["dilations"][axis] * (kernel[axis] - 1) + 1
        padded = x.shape[2 + axis] + attributes["pads_begin"][axis] + attributes["pads_end"][axis]
        sizes.append((padded - reach) // attributes["strides"][axis] + 1)
    return x.with_shape((x.shape[0], maps, *sizes))


@packed_convolution.infer
def _(x: TensorType, packed: TensorType, *, maps: int, width: int, **attributes: Any) -> TensorType:
    if x.rank != 4 or packed.rank != 4:
        raise ModelError(f"packed convolution of {x} and {packed}")
    return _output(x, maps, **attributes)


@packed_convolution.cost
def _(x: TensorType, packed: TensorType, *, maps: int, width: int, **attributes: Any) -> Cost:
    out = _output(x, maps, **attributes)
    return Cost(2 * out.size * packed.shape[2], x.nbytes + packed.nbytes + out.nbytes)


@packed_convolution.kernel
def _(
    x: Operand,
    packed: Operand,
    out: Operand,
    *,
    maps: int,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads_begin: tuple[int, int],
    pads_end: tuple[int, int],
    width: int,
) -> list[Call]:
    groups = int(packed.type.static_shape[0])
    batch: Extent = x.shape[0]
    all_channels, *sizes = (int(extent) for extent in x.shape[1:])  # type: ignore[arg-type]
    padded = (
        sizes[0] + pads_begin[0] + pads_end[0],
        sizes[1] + pads_begin[1] + pads_end[1],
    )
    output = (int(out.shape[2]), int(out.shape[3]))  # type: ignore[arg-type]
    geometry = Geometry(
        all_channels // groups, maps // groups, groups, padded, output,
        kernel, strides, dilations, width,
    )  # fmt: skip
    planes = batch * all_channels
    calls = []
    source = x.view(planes, padded[0], padded[1]) if padded == tuple(sizes) else None
    if source is None:
        source = workspace("padded", x.dtype, (planes, *padded))
        calls.append(
            Call(
                _pad_plane,
                (x.view(planes, *sizes), source),
                items=planes,
                scalars=(pads_begin[0], pads_begin[1]),
            )
        )
    writer = _Writer(geometry)
    body = EmittedBody("packed_convolution", (geometry,), 3, geometry.pixels, writer.write)
    operands = (source, packed.flat(), out.view(batch * maps, geometry.pixels))
    return [*calls, Call(body, operands, items=batch * groups * writer.blocks)]


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _pad_plane(item, x, padded, top, left):  # type: ignore[no-untyped-def]
    for i in range(padded.shape[1]):
        for j in range(padded.shape[2]):
            padded[item, i, j] = 0.0
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            padded[item, top + i, left + j] = x[item, i, j]


class _Writer:
    """Emits one packed convolution."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.block = VECTORS * geometry.width
        self.blocks = -(-geometry.pixels // self.block)
        self.tiles = -(-geometry.maps // geometry.height)
        rounds = -(-geometry.channels * geometry.taps // _PANEL_TAPS)
        self.round_channels = -(-geometry.channels // rounds)

    def write(self, function: ir.Function, finish: Finish) -> None:
        """The body: one block of pixels of one image and group."""
        geometry = self.geometry
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, source, _, _, _, packed, _, out = function.args[:8]
        taps = self.round_channels * geometry.taps
        panel = builder.alloca(F32, size=taps * self.block)
        panel.align, panel.type = 64, POINTER
        block = builder.srem(item, constant(self.blocks))
        image_group = builder.sdiv(item, constant(self.blocks))
        plane = geometry.source[0] * geometry.source[1]
        image = address(
            builder, source, builder.mul(image_group, constant(geometry.channels * plane))
        )
        group = builder.srem(image_group, constant(geometry.groups))
        group_size = self.tiles * geometry.channels * geometry.taps * geometry.height
        weights = address(builder, packed, builder.mul(group, constant(group_size)))
        first_row = builder.mul(image_group, constant(geometry.maps))
        pixel = builder.mul(block, constant(self.block))
        gather = _Gather(builder, geometry, pixel)
        channel = 0
        while channel < geometry.channels:
            count = min(self.round_channels, geometry.channels - channel)
            self._gather_round(builder, gather, image, panel, channel, count)
            self._multiply(
                builder, finish, weights, panel, out, first_row, block, pixel, channel, count
            )
            channel += count
        builder.ret(constant(0))

    def _gather_round(self, builder: ir.IRBuilder, gather: _Gather, image: ir.Value,
                      panel: ir.Value, channel: int, count: int) -> None:  # fmt: skip
        geometry = self.geometry
        plane = geometry.source[0] * geometry.source[1]
        number, head, after = counted_loop(builder, count, "channel")
        at = builder.mul(builder.add(number, constant(channel)), constant(plane))
        base = address(builder, image, at)
        target = address(builder, panel, builder.mul(number, constant(geometry.taps * self.block)))
        for row in range(geometry.kernel[0]):
            for column in range(geometry.kernel[1]):
                offset = row * geometry.dilations[0] * geometry.source[1]
                offset += column * geometry.dilations[1]
                tap = row * geometry.kernel[1] + column
                gather.copy(
                    builder,
                    address(builder, base, offset),
                    address(builder, target, tap * self.block),
                )
        end_loop(builder, number, count, head, after)

    def _multiply(self, builder: ir.IRBuilder, finish: Finish, weights: ir.Value, panel: ir.Value,
                  out: ir.Value, first_row: ir.Value, block: ir.Value, pixel: ir.Value,
                  channel: int, count: int) -> None:  # fmt: skip
        """All output channels of a block, full blocks and the last one apart."""
        geometry = self.geometry
        rest = geometry.pixels % self.block
        if not rest:
            columns = [self.block]
        elif self.blocks == 1:
            columns = [rest]
        else:
            columns = [self.block, rest]
        done = builder.append_basic_block("multiplied")
        if len(columns) == 2:
            full = builder.append_basic_block("full")
            edge = builder.append_basic_block("edge")
            is_last = builder.icmp_signed("==", block, constant(self.blocks - 1))
            builder.cbranch(is_last, edge, full)
            places = [full, edge]
        else:
            places = [builder.append_basic_block("only")]
            builder.branch(places[0])
        for place, number in zip(places, columns, strict=True):
            builder.position_at_end(place)
            self._tiles(
                builder, finish, weights, panel, out, first_row, pixel, number, channel, count
            )
            builder.branch(done)
        builder.position_at_end(done)

    def _tiles(self, builder: ir.IRBuilder, finish: Finish, weights: ir.Value, panel: ir.Value,
               out: ir.Value, first_row: ir.Value, pixel: ir.Value, columns: int,
               channel: int, count: int) -> None:  # fmt: skip
        geometry = self.geometry
        rest = geometry.maps % geometry.height
        whole = geometry.maps // geometry.height
        last_round = channel + count == geometry.channels

        def tile(number: ir.Value, height: int) -> None:
            row = builder.add(first_row, builder.mul(number, constant(geometry.height)))
            inner = geometry.channels * geometry.taps
            start = builder.mul(number, constant(inner * geometry.height))
            a = address(builder, weights, start)
            a = address(builder, a, channel * geometry.taps * geometry.height)
            c = address(builder, out, builder.mul(row, constant(geometry.pixels)))
            c = address(builder, c, pixel)
            shape = Shape(height, VECTORS, geometry.width)
            function = packed_tile(builder.module, shape, geometry.height, channel > 0)
            sizes = (count * geometry.taps, geometry.pixels, columns)
            builder.call(function, [a, panel, c, *map(constant, sizes)])
            if last_round:
                finish(builder, row, height, pixel, columns)

        if whole:
            number, head, after = counted_loop(builder, whole, "tile")
            tile(number, geometry.height)
            end_loop(builder, number, whole, head, after)
        if rest:
            tile(constant(whole), rest)


class _Gather:
    """Copies what one tap meets at the pixels of a block; where is worked out once a block."""

    def __init__(self, builder: ir.IRBuilder, geometry: Geometry, pixel: ir.Value) -> None:
        self.geometry = geometry
        self.vector = ir.VectorType(F32, geometry.width)
        self.pieces = [
            self._vector(builder, builder.add(pixel, constant(number * geometry.width)))
            for number in range(VECTORS)
        ]

    def _vector(self, builder: ir.IRBuilder, pixel: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
        """For one vector of pixels: element offsets and masks of the runs it is made of."""
        geometry = self.geometry
        lanes = self._lanes(builder, pixel)
        inside = builder.icmp_signed("<", lanes, self._all(geometry.pixels))
        if geometry.contiguous:
            return [(pixel, inside)]
        rows, columns = geometry.strides
        line = geometry.source[1]
        if columns != 1:
            row = builder.sdiv(lanes, self._all(geometry.output[1]))
            column = builder.sub(lanes, builder.mul(row, self._all(geometry.output[1])))
            offset = builder.add(
                builder.mul(row, self._all(rows * line)), builder.mul(column, self._all(columns))
            )
            return [(offset, inside)]
        first = builder.sdiv(pixel, constant(geometry.output[1]))
        runs = []
        for number in range(self._runs()):
            row = builder.add(first, constant(number))
            start = builder.mul(row, constant(geometry.output[1]))
            end = builder.add(start, constant(geometry.output[1]))
            mask = builder.and_(
                builder.icmp_signed(">=", lanes, splat(builder, start, geometry.width)),
                builder.icmp_signed("<", lanes, splat(builder, end, geometry.width)),
            )
            offset = builder.add(builder.mul(row, constant(rows * line)), builder.sub(pixel, start))
            runs.append((offset, builder.and_(mask, inside)))
        return runs

    def _runs(self) -> int:
        """The largest number of output rows that a vector of pixels touches."""
        geometry = self.geometry
        line, width = geometry.output[1], geometry.width
        return max(
            (first + width - 1) // line - first // line + 1
            for first in range(0, line * width, width)
        )

    def _lanes(self, builder: ir.IRBuilder, pixel: ir.Value) -> ir.Value:
        numbers = [ir.Constant(I64, k) for k in range(self.geometry.width)]
        steps = ir.Constant(ir.VectorType(I64, self.geometry.width), numbers)
        return builder.add(splat(builder, pixel, self.geometry.width), steps)

    def _all(self, value: int) -> ir.Constant:
        vector = ir.VectorType(I64, self.geometry.width)
        return ir.Constant(vector, [ir.Constant(I64, value)] * self.geometry.width)

    def copy(self, builder: ir.IRBuilder, source: ir.Value, target: ir.Value) -> None:
        """Emit the copy of one tap's pixels from ``source`` to the panel's row ``target``."""
        for number, piece in enumerate(self.pieces):
            value = ir.Constant(self.vector, None)
            for offset, mask in piece:
                value = self._load(builder, source, offset, mask, value)
            place = address(builder, target, number * self.geometry.width)
            builder.store(value, place, align=4)

    def _load(self, builder: ir.IRBuilder, source: ir.Value, offset: ir.Value, mask: ir.Value,
              others: ir.Value) -> ir.Value:  # fmt: skip
        width = self.geometry.width
        if isinstance(offset.type, ir.VectorType):
            pointers = ir.VectorType(POINTER, width)
            gather = intrinsic(
                builder.module,
                f"llvm.masked.gather.v{width}f32.v{width}p0",
                ir.FunctionType(self.vector, [pointers, I32, mask.type, self.vector]),
            )
            places = builder.gep(source, [offset], source_etype=F32)
            places.type = pointers
            return builder.call(gather, [places, ir.Constant(I32, 4), mask, others])
        load = masked_load_function(builder.module, width)
        place = address(builder, source, offset)
        return builder.call(load, [place, ir.Constant(I32, 4), mask, others])
