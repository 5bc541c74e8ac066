"""16-bit floats as LLVM instructions: widening to float32, narrowing from float32 and float64.

A 16-bit float travels as a 16-bit integer, which is how it lies in memory. Widening is exact.
Narrowing rounds once, to the nearest value and on a tie to the even one; what is too large
becomes an infinity, subnormal results are kept, and a NaN stays a quiet NaN.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

_INT16, _INT32, _INT64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_FLOAT, _DOUBLE, _HALF = ir.FloatType(), ir.DoubleType(), ir.HalfType()


def emit_widen(builder: ir.IRBuilder, bits: Any, format: str) -> Any:
    """The float32 value of an i16 that holds a "float16" or "bfloat16"."""
    if format == "float16":
        return builder.fpext(builder.bitcast(bits, _HALF), _FLOAT)
    wide = builder.shl(builder.zext(bits, _INT32), ir.Constant(_INT32, 16))
    return builder.bitcast(wide, _FLOAT)


def emit_narrow(builder: ir.IRBuilder, value: Any, format: str) -> Any:
    """The i16 that holds a float32 or float64 value as a "float16" or "bfloat16"."""
    if value.type == _DOUBLE:
        value = _round_to_odd(builder, value)
    if format == "float16":
        return builder.bitcast(builder.fptrunc(value, _HALF), _INT16)
    return _narrow_to_bfloat16(builder, value)


def _narrow_to_bfloat16(builder: ir.IRBuilder, value: Any) -> Any:
    """Round a float32 to its upper half: add just under half a unit, one more if it is odd."""

    def constant(number: int) -> ir.Constant:
        return ir.Constant(_INT32, number)

    bits = builder.bitcast(value, _INT32)
    upper = builder.lshr(bits, constant(16))
    odd = builder.and_(upper, constant(1))
    rounded = builder.lshr(builder.add(bits, builder.add(odd, constant(0x7FFF))), constant(16))
    # A NaN must not be rounded up into an infinity or a zero; bit 6 makes it quiet.
    quiet = builder.or_(upper, constant(0x40))
    is_nan = builder.fcmp_unordered("uno", value, value)
    return builder.trunc(builder.select(is_nan, quiet, rounded), _INT16)


def _round_to_odd(builder: ir.IRBuilder, value: Any) -> Any:
    """A float32 from which rounding a float64 to 16 bits gives the same as rounding it at once.

    An inexact result is the neighbour with an odd significand (S. Boldo and G. Melquiond, "When
    double rounding is odd", 2005): float32 has more than two bits beyond each 16-bit format, so
    the odd bit keeps an almost-tie from becoming a tie. LLVM's own conversion from float64 to
    float16 would call a function of the compiler's run-time library on most processors.
    """
    nearest = builder.fptrunc(value, _FLOAT)
    back = builder.fpext(nearest, _DOUBLE)
    sign_off = ir.Constant(_INT64, (1 << 63) - 1)
    magnitude = builder.and_(builder.bitcast(value, _INT64), sign_off)
    back_magnitude = builder.and_(builder.bitcast(back, _INT64), sign_off)
    # Magnitudes compare as integers; a float32 one below is one nearer to zero.
    is_above = builder.icmp_unsigned(">", back_magnitude, magnitude)
    bits = builder.bitcast(nearest, _INT32)
    truncated = builder.sub(bits, builder.zext(is_above, _INT32))
    odd = builder.or_(truncated, ir.Constant(_INT32, 1))
    inexact = builder.fcmp_ordered("one", back, value)
    return builder.bitcast(builder.select(inexact, odd, bits), _FLOAT)
