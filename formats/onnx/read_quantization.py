"""Readers of quantized ONNX operators, composed of plain ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ...ir import Extent, ModelError, Value
from ...ir.data_type import is_float
from .context import Context, ops
from .element_types import element_type
from .read_neural import window
from .registry import reads

_RANGES = {
    name: (int(np.iinfo(name).min), int(np.iinfo(name).max))
    for name in ("int8", "uint8", "int16", "uint16")
}

# auto_pad, dilations, group, kernel_shape, pads, strides
_Numbers: TypeAlias = Sequence[int] | None
_ConvAttributes: TypeAlias = tuple[str, _Numbers, int, _Numbers, _Numbers, _Numbers]


def _along(g: Context, x: Value, value: Value, axis: int, block: int) -> Value:
    """A scale or zero point shaped so that it broadcasts with ``x``."""
    if g.rank(value) == 0 or g.type(value).size == 1:
        return g.reshape(value, ())
    rank = g.rank(x)
    if block:
        axis = g.axis(x, axis)
        if block < 0 or g.rank(value) != rank:
            raise ModelError(f"blocks of {block} along axis {axis}: the scale is {g.type(value)}")
        shape = list(g.shape(value))
        wide = g.unsqueeze(value, axis + 1)
        spread = [*shape[: axis + 1], block, *shape[axis + 1 :]]
        wide = g.add(ops.expand, wide, shape=tuple(spread))
        shape[axis] = shape[axis] * block
        return g.slice_axis(g.reshape(wide, shape), axis, 0, g.shape(x)[axis])
    if g.rank(value) != 1:
        raise ModelError(f"the scale or zero point of {g.type(x)} is {g.type(value)}")
    axis = g.axis(x, axis)
    column: list[Extent] = [1] * rank
    column[axis] = g.shape(value)[0]
    return g.reshape(value, column)


def quantize(
    g: Context,
    x: Value,
    scale: Value,
    zero: Value | None,
    dtype: str,
    axis: int = 1,
    block: int = 0,
) -> Value:
    """``saturate(round(x / scale) + zero)`` in the integer type ``dtype``."""
    if dtype not in _RANGES:
        g.unsupported(f"quantizing to {dtype}")
    low, high = _RANGES[dtype]
    computing = "float64" if g.dtype(x) == "float64" else "float32"
    scale = _along(g, x, g.cast(scale, computing), axis, block)
    y = g.add(ops.round, g.add(ops.div, g.cast(x, computing), scale))
    if zero is not None:
        y = g.add(ops.add, y, _along(g, x, g.cast(zero, computing), axis, block))
    return g.cast(g.add(ops.clip, y, low=low, high=high), dtype)


def dequantize(
    g: Context, x: Value, scale: Value, zero: Value | None, axis: int = 1, block: int = 0
) -> Value:
    """``(x - zero) * scale``, in the scale's type."""
    dtype = g.dtype(scale)
    if not is_float(dtype) or is_float(g.dtype(x)):
        g.unsupported(f"dequantizing {g.dtype(x)} to {dtype}")
    computing = dtype if dtype == "float64" else "float32"
    y = centred(g, x, zero, axis, block)
    product = g.add(
        ops.mul, g.cast(y, computing), _along(g, x, g.cast(scale, computing), axis, block)
    )
    return g.cast(product, dtype)


def centred(g: Context, x: Value, zero: Value | None, axis: int = 1, block: int = 0) -> Value:
    """``x - zero`` in int32."""
    wide = g.cast(x, "int32")
    if zero is None:
        return wide
    held = g.numbers(zero)
    if held is not None and not held.any():
        return wide
    return g.add(ops.sub, wide, _along(g, x, g.cast(zero, "int32"), axis, block))


@reads("QuantizeLinear", since=(10, 13))
def _quantize_10(
    g: Context, x: Value, scale: Value, zero: Value | None = None, *, axis: int = 1
) -> Value:
    return quantize(g, x, scale, zero, "uint8" if zero is None else g.dtype(zero), axis)


@reads("QuantizeLinear", since=19)
def _quantize_19(
    g: Context,
    x: Value,
    scale: Value,
    zero: Value | None = None,
    *,
    axis: int = 1,
    saturate: int = 1,
) -> Value:
    return quantize(g, x, scale, zero, "uint8" if zero is None else g.dtype(zero), axis)


@reads("QuantizeLinear", since=(21, 23, 24, 25, 28))
def _quantize(
    g: Context,
    x: Value,
    scale: Value,
    zero: Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Value:
    named = element_type(output_dtype, "output_dtype") if output_dtype else None
    dtype = named if zero is None else g.dtype(zero)
    return quantize(g, x, scale, zero, dtype or "uint8", axis, block_size)


@reads("DequantizeLinear", since=(10, 13, 19))
def _dequantize_10(
    g: Context, x: Value, scale: Value, zero: Value | None = None, *, axis: int = 1
) -> Value:
    return dequantize(g, x, scale, zero, axis)


@reads("DequantizeLinear", since=(21, 23, 24, 25, 28))
def _dequantize(
    g: Context,
    x: Value,
    scale: Value,
    zero: Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Value:
    y = dequantize(g, x, scale, zero, axis, block_size)
    return g.cast(y, element_type(output_dtype, "output_dtype")) if output_dtype else y


# --- integer products ----------------------------------------------------------------------


def _matrix_zero(g: Context, x: Value, zero: Value | None, axis: int) -> Value:
    """``x - zero`` where a 1-d zero point holds one number for each row or column."""
    if zero is None or g.type(zero).size == 1 or g.rank(zero) > 1:
        if zero is not None and g.rank(zero) > 1:
            return g.add(ops.sub, g.cast(x, "int32"), g.cast(zero, "int32"))
        return centred(g, x, zero)
    if g.rank(x) < 2:
        raise ModelError(f"a zero point {g.type(zero)} for {g.type(x)}")
    column = (*g.shape(zero), 1) if axis == -2 else g.shape(zero)
    return g.add(ops.sub, g.cast(x, "int32"), g.reshape(g.cast(zero, "int32"), column))


@reads("MatMulInteger", since=10)
def _matmul_integer(
    g: Context,
    a: Value,
    b: Value,
    a_zero: Value | None = None,
    b_zero: Value | None = None,
) -> Value:
    return g.add(ops.matmul, _matrix_zero(g, a, a_zero, -2), _matrix_zero(g, b, b_zero, -1))


@reads("QLinearMatMul", since=(10, 21))
def _qlinear_matmul(
    g: Context,
    a: Value,
    a_scale: Value,
    a_zero: Value,
    b: Value,
    b_scale: Value,
    b_zero: Value,
    y_scale: Value,
    y_zero: Value,
) -> Value:
    total = g.add(ops.matmul, _matrix_zero(g, a, a_zero, -2), _matrix_zero(g, b, b_zero, -1))
    scales = []
    for scale, axis in ((a_scale, -2), (b_scale, -1), (y_scale, -2)):
        scale = g.cast(scale, "float32")
        if g.rank(scale) == 1 and g.type(scale).size != 1 and axis == -2:
            scale = g.unsqueeze(scale, 1)
        elif g.type(scale).size == 1:
            scale = g.reshape(scale, ())
        scales.append(scale)
    real = g.add(ops.mul, g.cast(total, "float32"), g.add(ops.mul, scales[0], scales[1]))
    zero = y_zero
    if g.rank(zero) == 1 and g.type(zero).size != 1:
        zero = g.unsqueeze(zero, 1)
    elif g.type(zero).size == 1:
        zero = g.reshape(zero, ())
    rounded = g.add(ops.round, g.add(ops.div, real, scales[2]))
    shifted = g.add(ops.add, rounded, g.cast(zero, "float32"))
    dtype = g.dtype(y_zero)
    if dtype not in _RANGES:
        g.unsupported(f"QLinearMatMul giving {dtype}")
    low, high = _RANGES[dtype]
    return g.cast(g.add(ops.clip, shifted, low=low, high=high), dtype)


def _integer_conv(
    g: Context,
    x: Value,
    w: Value,
    x_zero: Value | None,
    w_zero: Value | None,
    attributes: _ConvAttributes,
) -> Value:
    """A convolution of centred integers, exact in float64; the result is float64."""
    auto_pad, dilations, group, kernel_shape, pads, strides = attributes
    if g.rank(x) < 3 or g.rank(w) != g.rank(x):
        raise ModelError(f"a convolution of {g.type(x)} with {g.type(w)}")
    if kernel_shape is not None and tuple(kernel_shape) != g.shape(w)[2:]:
        raise ModelError(f"kernel_shape {kernel_shape} does not agree with the weight {g.type(w)}")
    steps, spread, before, after = window(
        g, g.shape(x)[2:], g.shape(w)[2:], strides, dilations, pads, auto_pad
    )
    return g.add(
        ops.convolution,
        g.cast(centred(g, x, x_zero), "float64"),
        g.cast(centred(g, w, w_zero, 0), "float64"),
        None,
        strides=steps,
        dilations=spread,
        pads_begin=before,
        pads_end=after,
        groups=group,
    )


@reads("ConvInteger", since=10)
def _conv_integer(
    g: Context,
    x: Value,
    w: Value,
    x_zero: Value | None = None,
    w_zero: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    attributes = (auto_pad, dilations, group, kernel_shape, pads, strides)
    return g.cast(_integer_conv(g, x, w, x_zero, w_zero, attributes), "int32")


@reads("QLinearConv", since=10)
def _qlinear_conv(
    g: Context,
    x: Value,
    x_scale: Value,
    x_zero: Value,
    w: Value,
    w_scale: Value,
    w_zero: Value,
    y_scale: Value,
    y_zero: Value,
    bias: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    attributes = (auto_pad, dilations, group, kernel_shape, pads, strides)
    total = _integer_conv(g, x, w, x_zero, w_zero, attributes)
    if bias is not None:
        total = g.add(ops.add, total, _along(g, total, g.cast(bias, "float64"), 1, 0))
    scale = g.add(ops.mul, g.reshape(g.cast(x_scale, "float32"), ()), g.cast(w_scale, "float32"))
    real = g.add(ops.mul, g.cast(total, "float32"), _along(g, total, scale, 1, 0))
    return quantize(g, real, y_scale, y_zero, g.dtype(y_zero))
