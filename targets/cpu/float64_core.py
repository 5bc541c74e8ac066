"""log2 and exp2 in float64, to more bits than a float32 has; float32 functions are built on them.

Both are straight-line code that vectorises. Polynomials are minimax fits (Lawson's algorithm on
Chebyshev nodes, in 40-digit arithmetic); the errors given are those of the fit, rounding in
float64 is below them.
"""

from __future__ import annotations

from typing import Any

from .math_primitives import bits_of_double, double_of_bits, fma, select
from .scalar_function import ScalarFunction


def _log2(z: Any) -> Any:
    """log2 of a positive normal float64, relative error 2.6e-12, exact for powers of two.

    z = 2**e * (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); log2(1 + f) = f * P(f).
    """
    bits = bits_of_double(z)
    exponent = (bits - 0x3FE6A09E667F3BCD) >> 52
    f = double_of_bits(bits - (exponent << 52)) - 1.0
    p = fma(f, -0.06973873215648056, 0.13251161345206228)
    p = fma(f, p, -0.1346292664853764)
    p = fma(f, p, 0.13027567942099774)
    p = fma(f, p, -0.1424986448127987)
    p = fma(f, p, 0.16021666269206666)
    p = fma(f, p, -0.1804367507141241)
    p = fma(f, p, 0.20610712337137155)
    p = fma(f, p, -0.2404464335661884)
    p = fma(f, p, 0.28853879571626034)
    p = fma(f, p, -0.3606737931369278)
    p = fma(f, p, 0.48089834880292615)
    p = fma(f, p, -0.7213475203275485)
    p = fma(f, p, 1.4426950408865777)
    # An integer in the low bits of 1.5 * 2**52: AVX2 has no conversion from 64-bit integers.
    whole = double_of_bits(exponent + 0x4338000000000000) - 6755399441055744.0
    return fma(f, p, whole)


def _exp2(t: Any) -> Any:
    """2**t, relative error 4e-11, for t cut off at -1000 and 1000; NaN stays NaN.

    t = n + r with n whole and r in [-1/2, 1/2]; 2**r is a polynomial, 2**n an exponent field.
    """
    t = select(t < -1000.0, -1000.0, t)
    t = select(t > 1000.0, 1000.0, t)
    shifted = t + 6755399441055744.0  # 1.5 * 2**52: rounds to whole numbers
    r = t - (shifted - 6755399441055744.0)
    p = fma(r, 1.5201922293376955e-05, 0.0001546929109800517)
    p = fma(r, p, 0.0013333922563417745)
    p = fma(r, p, 0.009618027253790587)
    p = fma(r, p, 0.05550410353444074)
    p = fma(r, p, 0.24022651198156988)
    p = fma(r, p, 0.6931471807284492)
    p = fma(r, p, 0.9999999999616839)
    return p * double_of_bits((bits_of_double(shifted) + 1023) << 52)


float64_log2 = ScalarFunction(_log2, "float64", weak_integers=False)
float64_exp2 = ScalarFunction(_exp2, "float64", weak_integers=False)
