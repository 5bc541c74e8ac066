"""Depthwise convolutions: one kernel a channel, vectors along the rows of the output.

A work item is one plane. It is copied, with its borders, to the stack, where it stays in the
nearest caches; then every vector of outputs is a sum of the kernel's taps, one fused
multiply-add each. With a stride of two, two vectors are loaded and every other lane is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from llvmlite import ir

from ....ir import Array, Call, Cost, ModelError, Operand, TensorType
from ....ops.convolution import convolution
from ....ops.define import operator
from ..emitted import EmittedBody, Finish
from .tile import (
    F32,
    I32,
    I64,
    address,
    constant,
    counted_loop,
    end_loop,
    intrinsic,
    masked_store,
    splat,
)

POINTER = ir.PointerType()
# Larger padded planes stay with the plain kernels: they would not fit a thread's stack.
LARGEST_PLANE = 2**19  # floats


@dataclass(frozen=True, slots=True)
class Planes:
    """Sizes of one depthwise convolution; all are known."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]  # above, left, below, right
    width: int  # lanes of a vector

    @property
    def source(self) -> tuple[int, int]:
        """Height and width of the padded plane."""
        top, left, bottom, right = self.pads
        return self.size[0] + top + bottom, self.size[1] + left + right

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of an output plane."""
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel, strict=True)]
        return (
            (self.source[0] - reach[0]) // self.strides[0] + 1,
            (self.source[1] - reach[1]) // self.strides[1] + 1,
        )

    @property
    def scratch(self) -> int:
        """Floats of the padded copy, and what loads of whole vectors may touch behind it."""
        return self.source[0] * self.source[1] + 2 * self.strides[1] * self.width


@operator(name="cpu_depthwise", traits=("dot",))
def depthwise(
    x: Array,
    w: Array,
    *,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
    width: int,
) -> Array:
    """``convolution`` in as many groups as channels; ``w`` is [C, 1, kernel...]."""
    return np.asarray(
        convolution.reference(
            x,
            w,
            strides=strides,
            dilations=dilations,
            pads_begin=pads[:2],
            pads_end=pads[2:],
            groups=x.shape[1],
        )
    )


def _planes(
    x: TensorType,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
    width: int,
) -> Planes:
    height, columns = x.shape[2:]
    if not isinstance(height, int) or not isinstance(columns, int):
        raise ModelError(f"depthwise: {x} has symbolic height or width")
    return Planes((height, columns), kernel, strides, dilations, pads, width)


@depthwise.infer
def _(
    x: TensorType,
    w: TensorType,
    *,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
    width: int,
) -> TensorType:
    if x.rank != 4 or w.shape != (x.shape[1], 1, *kernel):
        raise ModelError(f"depthwise convolution of {x} and {w}")
    planes = _planes(x, kernel, strides, dilations, pads, width)
    return x.with_shape((*x.shape[:2], *planes.output))


@depthwise.cost
def _(
    x: TensorType,
    w: TensorType,
    *,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
    width: int,
) -> Cost:
    rows, columns = _planes(x, kernel, strides, dilations, pads, width).output
    size = x.shape[0] * x.shape[1] * rows * columns
    return Cost(2 * size * kernel[0] * kernel[1], x.nbytes + w.nbytes + 4 * size)


@depthwise.kernel
def _(
    x: Operand,
    w: Operand,
    out: Operand,
    *,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
    width: int,
) -> Call:
    planes = _planes(x.type, kernel, strides, dilations, pads, width)
    count = x.shape[0] * x.shape[1]
    pixels = planes.output[0] * planes.output[1]
    body = EmittedBody("depthwise", (planes,), 3, pixels, _Writer(planes).write)
    taps = kernel[0] * kernel[1]
    operands = (x.view(count, *planes.size), w.view(w.shape[0], taps), out.view(count, pixels))
    return Call(body, operands, items=count)


class _Writer:
    """Emits one depthwise convolution."""

    def __init__(self, planes: Planes) -> None:
        self.planes = planes
        self.vector = ir.VectorType(F32, planes.width)

    def write(self, function: ir.Function, finish: Finish) -> None:
        """The body: one plane."""
        planes = self.planes
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, x, _, _, _, w, channels, _, out = function.args[:9]
        scratch = builder.alloca(F32, size=planes.scratch)
        scratch.align, scratch.type = 64, POINTER
        size = planes.size[0] * planes.size[1]
        plane = address(builder, x, builder.mul(item, constant(size)))
        self._copy(builder, plane, scratch)
        taps = planes.kernel[0] * planes.kernel[1]
        channel = builder.srem(item, channels)
        weights = address(builder, w, builder.mul(channel, constant(taps)))
        factors = [
            splat(builder, builder.load(address(builder, weights, k), typ=F32), planes.width)
            for k in range(taps)
        ]
        rows, columns = planes.output
        target = address(builder, out, builder.mul(item, constant(rows * columns)))
        row, head, after = counted_loop(builder, rows, "row")
        step = planes.strides[0] * planes.source[1]
        line = address(builder, scratch, builder.mul(row, constant(step)))
        into = address(builder, target, builder.mul(row, constant(columns)))
        whole, rest = divmod(columns, planes.width)
        if whole:
            number, inner, done = counted_loop(builder, whole, "vector")
            start = builder.mul(number, constant(planes.width))
            place = address(builder, into, start)
            read = address(builder, line, builder.mul(start, constant(planes.strides[1])))
            builder.store(self._sum(builder, read, factors), place, align=4)
            end_loop(builder, number, whole, inner, done)
        if rest:
            read = address(builder, line, whole * planes.width * planes.strides[1])
            value = self._sum(builder, read, factors)
            masked_store(builder, value, address(builder, into, whole * planes.width), rest)
        end_loop(builder, row, rows, head, after)
        finish(builder, item, 1, constant(0), rows * columns)
        builder.ret(constant(0))

    def _copy(self, builder: ir.IRBuilder, plane: ir.Value, scratch: ir.Value) -> None:
        """The plane with zeros around it, and behind it."""
        planes, bit = self.planes, ir.IntType(1)
        memset = intrinsic(
            builder.module,
            "llvm.memset.p0.i64",
            ir.FunctionType(ir.VoidType(), [POINTER, ir.IntType(8), I64, bit]),
        )
        memcpy = intrinsic(
            builder.module,
            "llvm.memcpy.p0.p0.i64",
            ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64, bit]),
        )
        no, zero = ir.Constant(bit, 0), ir.Constant(ir.IntType(8), 0)
        rows, columns = planes.size
        if planes.source == planes.size:
            builder.call(memcpy, [scratch, plane, constant(4 * rows * columns), no])
            return
        builder.call(memset, [scratch, zero, constant(4 * planes.scratch), no])
        row, head, after = counted_loop(builder, rows, "copied")
        line = builder.add(row, constant(planes.pads[0]))
        offset = builder.add(
            builder.mul(line, constant(planes.source[1])), constant(planes.pads[1])
        )
        source = address(builder, plane, builder.mul(row, constant(columns)))
        builder.call(memcpy, [address(builder, scratch, offset), source, constant(4 * columns), no])
        end_loop(builder, row, rows, head, after)

    def _sum(self, builder: ir.IRBuilder, source: ir.Value, factors: list[ir.Value]) -> ir.Value:
        """The taps of one vector of outputs."""
        planes = self.planes
        fma = intrinsic(
            builder.module,
            f"llvm.fma.v{planes.width}f32",
            ir.FunctionType(self.vector, [self.vector] * 3),
        )
        total: ir.Value = ir.Constant(self.vector, None)
        for i in range(planes.kernel[0]):
            for j in range(planes.kernel[1]):
                offset = i * planes.dilations[0] * planes.source[1] + j * planes.dilations[1]
                value = self._load(builder, address(builder, source, offset))
                total = builder.call(fma, [factors[i * planes.kernel[1] + j], value, total])
        return total

    def _load(self, builder: ir.IRBuilder, source: ir.Value) -> ir.Value:
        width = self.planes.width
        if self.planes.strides[1] == 1:
            return builder.load(source, typ=self.vector, align=4)
        both = builder.load(source, typ=ir.VectorType(F32, 2 * width), align=4)
        lanes = [ir.Constant(I32, 2 * k) for k in range(width)]
        undefined = ir.Constant(both.type, ir.Undefined)
        return builder.shuffle_vector(
            both, undefined, ir.Constant(ir.VectorType(I32, width), lanes)
        )
