"""Depthwise convolution of one to three spatial axes, channels last.

A tile is a few pixels of a line times one vector of channels: a vector of weights is loaded
once for all its pixels, and taps outside the source are skipped as in :mod:`.lines`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir

from ....ir import Array, Call, Cost, ModelError, Operand, TensorType
from ....ir.dim import product
from ....ops.convolution import convolution
from ....ops.define import operator
from ..dense.epilogue import Epilogue, applied
from ..dense.tile import F32, address, constant, intrinsic, load_lanes, masked_store
from ..emitted import EmittedBody, Finish
from .convolution import known_source
from .geometry import Geometry
from .lines import Line, LineWriter, Taps, each_position
from .loops import Values, for_each

_MOST_PIXELS = 14
# Below so many pixels a tile has two vectors of channels, to hide the latency of additions.
_FEW_PIXELS = 8


class DepthwiseGeometry(Geometry):
    """A convolution with one channel and map for each group."""

    @property
    def most_rows(self) -> int:
        """The most pixels of a tile."""
        return _MOST_PIXELS if self.width >= 16 else _MOST_PIXELS // 2


def pack_channels(weights: Array) -> Array:
    """``weights`` [C, 1, kernel...] as [taps, C]."""
    return np.ascontiguousarray(weights.reshape(weights.shape[0], -1).T)


@operator(name="cpu_spatial_depthwise", traits=("dot",))
def spatial_depthwise(
    x: Array,
    packed: Array,
    bias: Array | None = None,
    *,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads_begin: tuple[int, ...],
    pads_end: tuple[int, ...],
    width: int,
    low: float = -math.inf,
    high: float = math.inf,
) -> Array:
    """``convolution`` of ``x`` [N, spatial..., C] with a group for each channel.

    The weights are packed by :func:`pack_channels`; ``bias``, ``low`` and ``high`` are the
    epilogue (see :mod:`..dense.epilogue`).
    """
    weights = packed.T.reshape(packed.shape[1], 1, *kernel)
    result = convolution.reference(
        np.moveaxis(x, -1, 1),
        weights,
        strides=strides,
        dilations=dilations,
        pads_begin=pads_begin,
        pads_end=pads_end,
        groups=x.shape[-1],
    )
    return np.ascontiguousarray(applied(np.moveaxis(result, 1, -1), bias, low, high))


@spatial_depthwise.infer
def _(
    x: TensorType,
    packed: TensorType,
    bias: TensorType | None = None,
    *,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads_begin: tuple[int, ...],
    pads_end: tuple[int, ...],
    width: int,
    low: float,
    high: float,
) -> TensorType:
    if x.rank != len(kernel) + 2 or packed.shape != (int(np.prod(kernel)), x.shape[-1]):
        raise ModelError(f"depthwise convolution of {x} and {packed} with a kernel {kernel}")
    if bias is not None and bias.shape != x.shape[-1:]:
        raise ModelError(f"depthwise convolution of {x} with a bias {bias}")
    output = [
        (x.shape[1 + a] + pads_begin[a] + pads_end[a] - dilations[a] * (kernel[a] - 1) - 1)
        // strides[a]
        + 1
        for a in range(len(kernel))
    ]
    return x.with_shape((x.shape[0], *output, x.shape[-1]))


@spatial_depthwise.cost
def _(x: TensorType, packed: TensorType, bias: TensorType | None = None, **attributes: Any) -> Cost:
    out = spatial_depthwise.infer_types([x, packed], attributes)[0]
    return Cost(2 * out.size * packed.shape[0], x.nbytes + packed.nbytes + out.nbytes)


@spatial_depthwise.kernel
def _(
    x: Operand,
    packed: Operand,
    bias: Operand | None,
    out: Operand,
    *,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads_begin: tuple[int, ...],
    pads_end: tuple[int, ...],
    width: int,
    low: float,
    high: float,
) -> list[Call]:
    channels = int(packed.type.static_shape[1])
    known = known_source(x, out, pads_begin, pads_end)
    geometry = DepthwiseGeometry(
        1, 1, channels, known.sizes, known.output, kernel, strides, dilations, known.pads,
        False, width,
    )  # fmt: skip
    epilogue = Epilogue(bias is not None, low, high)
    writer = DepthwiseWriter(geometry, epilogue)
    more = () if bias is None else (bias.flat(),)
    key = (geometry, epilogue)
    body = EmittedBody("spatial_depthwise", key, 3 + len(more), channels, writer.write)
    lines = product(out.shape[:-1][:-1])
    operands = (known.source, packed.flat(), out.whole(), *more)
    return [*known.calls, Call(body, operands, items=lines)]


class DepthwiseWriter(LineWriter):
    """Emits one depthwise convolution."""

    @property
    def line_weights(self) -> int:
        """Floats of weights of the kernel positions of one line."""
        return self.geometry.kernel[-1] * self.geometry.groups

    def write_line(self, builder: ir.IRBuilder, finish: Finish, line: Line) -> None:
        """Emit the tiles of the line, each for all channels."""
        geometry = self.geometry

        def tile(pixel: ir.Value, rows: int, taps: Taps) -> None:
            function = self._tile(builder, rows, taps)
            at_a = address(builder, line.source, builder.mul(pixel, constant(geometry.pixel_step)))
            at_c = address(builder, line.target, builder.mul(pixel, constant(geometry.groups)))
            more = [] if line.bias is None else [line.bias]
            builder.call(function, [at_a, line.weights, at_c, *line.extra, *more])
            row = builder.add(line.row, pixel)
            finish(builder, row, rows, constant(0), geometry.groups)

        self.each_tile(builder, line.length, tile)

    def _tile(self, builder: ir.IRBuilder, rows: int, taps: Taps) -> ir.Function:
        """The function of a tile: a loop over vectors of channels, then what is left of them."""
        geometry = self.geometry
        function, is_new = self.tile_function(builder, rows, taps, geometry.groups)
        if not is_new:
            return function
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        a, b, c, *extra = function.args
        bias = extra.pop() if self.epilogue.biased else None
        vectors = 2 if rows < _FEW_PIXELS else 1
        step = vectors * geometry.width
        whole, rest = divmod(geometry.groups, step)

        def channels(first: ir.Value, lanes: list[int]) -> None:
            at_a, at_b, at_c = (address(inside, pointer, first) for pointer in (a, b, c))
            here = None if bias is None else address(inside, bias, first)
            starts = self.epilogue.start(inside, here, sum(lanes), geometry.width)
            block = _Block(inside, geometry, rows, taps, extra, lanes, self.epilogue)
            block.emit(at_a, at_b, at_c, starts)

        if whole:
            full = [geometry.width] * vectors
            for_each(inside, whole, lambda k: channels(inside.mul(k, constant(step)), full))
        while rest:
            first = geometry.groups - rest
            channels(constant(first), [min(rest, geometry.width)])
            rest -= min(rest, geometry.width)
        inside.ret_void()
        return function


class _Block:
    """Some pixels of a line times one or two vectors of channels."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        geometry: Geometry,
        rows: int,
        taps: Taps,
        extra: list[ir.Value],
        lanes: list[int],
        epilogue: Epilogue,
    ) -> None:
        self.epilogue = epilogue
        self.builder, self.geometry, self.rows = builder, geometry, rows
        self.taps, self.extra, self.lanes = taps, extra, lanes
        self.vector = ir.VectorType(F32, geometry.width)
        self.fma = intrinsic(
            builder.module,
            f"llvm.fma.v{geometry.width}f32",
            ir.FunctionType(self.vector, [self.vector] * 3),
        )

    def emit(self, a: ir.Value, b: ir.Value, c: ir.Value, starts: Values) -> None:
        """All kernel positions from these first values on, then the stores."""
        geometry, builder = self.geometry, self.builder
        acc: Values = starts * self.rows
        weights = geometry.kernel[-1] * geometry.groups
        acc = each_position(builder, geometry, self.extra, weights, a, b, acc, self._line)
        for pixel in range(self.rows):
            for number, lanes in enumerate(self.lanes):
                offset = pixel * geometry.groups + number * geometry.width
                place = address(builder, c, offset)
                value = acc[pixel * len(self.lanes) + number]
                value = self.epilogue.limited(builder, value)
                if lanes == geometry.width:
                    builder.store(value, place, align=4)
                else:
                    masked_store(builder, value, place, lanes)

    def _line(self, a: ir.Value, b: ir.Value, acc: Values) -> Values:
        """The kernel positions along the line; source vectors that several meet come once."""
        geometry, acc = self.geometry, list(acc)
        loaded: dict[tuple[int, int], ir.Value] = {}
        for tap, pixels in enumerate(self.taps):
            for number, lanes in enumerate(self.lanes):
                if not pixels:
                    continue
                start = number * geometry.width
                weights = self._load(b, tap * geometry.groups + start, lanes)
                for pixel in pixels:
                    column = pixel * geometry.strides[-1] + tap * geometry.dilations[-1]
                    if (column, number) not in loaded:
                        place = column * geometry.column_step + start
                        loaded[column, number] = self._load(a, place, lanes)
                    old = acc[pixel * len(self.lanes) + number]
                    value = self.builder.call(self.fma, [loaded[column, number], weights, old])
                    acc[pixel * len(self.lanes) + number] = value
        return acc

    def _load(self, base: ir.Value, offset: int, lanes: int) -> ir.Value:
        place = address(self.builder, base, offset)
        return load_lanes(self.builder, place, self.geometry.width, lanes)
