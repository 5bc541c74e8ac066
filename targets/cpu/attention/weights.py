"""The exponential of scores less their maximum, written for vectors."""

from __future__ import annotations

from llvmlite import ir

from ..dense.tile import F32, I32, intrinsic

_LOG2_E = 1.4426950408889634
# 1.5 * 2**23: adding it rounds to a whole number, which the low bits of the sum then hold.
_ROUNDER = 12582912.0
# 2**r for r from -1/2 to 1/2, the same as float32_exponential.exp2.
_POLYNOMIAL = (0.00015327177, 0.0013391024, 0.009618505, 0.055503596, 0.24022648, 0.6931472, 1.0)


def weight(builder: ir.IRBuilder, score: ir.Value, base: ir.Value) -> ir.Value:
    """e**(score - base) where that is at most 1, 0 below e**-87, NaN for NaN."""
    vector = score.type
    type_ = ir.FunctionType(vector, [vector] * 3)
    fma = intrinsic(builder.module, f"llvm.fma.v{vector.count}f32", type_)
    x = builder.fsub(score, base)
    log2_e, rounder = _all(vector, _LOG2_E), _all(vector, _ROUNDER)
    shifted = builder.call(fma, [x, log2_e, rounder])
    r = builder.call(fma, [x, log2_e, builder.fsub(rounder, shifted)])
    value = _all(vector, _POLYNOMIAL[0])
    for coefficient in _POLYNOMIAL[1:]:
        value = builder.call(fma, [r, value, _all(vector, coefficient)])
    integers = ir.VectorType(I32, vector.count)
    by = ir.Constant(integers, [ir.Constant(I32, 23)] * vector.count)
    exponent = builder.shl(builder.bitcast(shifted, integers), by)
    value = builder.bitcast(builder.add(builder.bitcast(value, integers), exponent), vector)
    is_small = builder.fcmp_ordered("<", x, _all(vector, -87.0))
    return builder.select(is_small, ir.Constant(vector, None), value)


def _all(vector: ir.VectorType, number: float) -> ir.Constant:
    return ir.Constant(vector, [ir.Constant(F32, number)] * vector.count)
