"""exp, log and their relatives for float32, without branches or calls, so that they vectorise.

Arguments are reduced exactly (Cody and Waite, "Software Manual for the Elementary Functions",
1980, with fused multiply-add), polynomials are minimax fits (Lawson's algorithm on Chebyshev
nodes in 40-digit arithmetic, coefficients rounded to float32 one after the other, the rest
fitted again). Each docstring gives the largest error found over a hundred million arguments of
all magnitudes, in units in the last place of the exact result. Infinities, zeros, NaN and
subnormal numbers, as argument and as result, are handled as C99 Annex F prescribes. A processor
without fused multiply-add (x86 before 2013) calls the C library for each: right, and slow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .float64_core import float64_exp2, float64_log2
from .math_primitives import bits_of, copysign, fabs, float_of_bits, floor, fma, select

# 1.5 * 2**23: adding it rounds to a whole number, which the low bits of the sum then hold.
_ROUNDER = 12582912.0
_ROUNDER_BITS = 0x4B400000
_INFINITY = float("inf")
_NAN = float("nan")
# NumPy scalars keep their type in compiled code, Python's floats would become float32.
_THIRD = np.float64(1 / 3)
_MINUS_INFINITY = np.float64("-inf")


def _scale(value: Any, exponent: Any) -> Any:
    """value * 2**exponent for exponents from -252 to 254, rounded once (or to infinity)."""
    half = exponent >> 1
    rest = exponent - half
    return value * float_of_bits((half + 127) << 23) * float_of_bits((rest + 127) << 23)


def _exp_reduced(r: Any) -> Any:
    """e**r for |r| up to log(2) / 2, relative error 3.1e-9 before rounding."""
    p = fma(r, 0.0013820138, 0.008368686)
    p = fma(r, p, 0.041668274)
    p = fma(r, p, 0.16666521)
    p = fma(r, p, 0.49999994)
    return fma(r * r, p, r) + 1.0


def exp_scaled(x: Any, shift: Any) -> Any:
    """e**x * 2**shift for a small whole shift: what overflows alone may not with a shift."""
    x = select(x < -105.0, -105.0, x)
    x = select(x > 90.0, 90.0, x)
    shifted = fma(x, 1.442695, _ROUNDER)
    n = shifted - _ROUNDER
    r = fma(n, -0.693147182464599609375, x)  # ln 2 in two parts
    r = fma(n, 1.904654323148236e-09, r)
    return _scale(_exp_reduced(r), np.int32(bits_of(shifted) - _ROUNDER_BITS) + shift)


def exp_moderate(x: Any) -> Any:
    """e**x for x between -87 and 88 or NaN; half the instructions of `exp`."""
    shifted = fma(x, 1.442695, _ROUNDER)
    n = shifted - _ROUNDER
    r = fma(n, 1.904654323148236e-09, fma(n, -0.693147182464599609375, x))
    return _exp_reduced(r) * float_of_bits((bits_of(shifted) + 127) << 23)


def exp_of_negative(x: Any) -> Any:
    """e**x for x of at most 0, error 1.0; 0 below -87.33, where e**x is no normal number."""
    # What is computed for these means nothing, also where they are infinite.
    return select(x < -87.33, 0.0, exp_moderate(x))


def exp(x: Any) -> Any:
    """e**x, error 1.0."""
    return exp_scaled(x, 0)


def exp2(x: Any) -> Any:
    """2**x, error 0.87, exact for whole x."""
    x = select(x < -151.0, -151.0, x)
    x = select(x > 129.0, 129.0, x)
    shifted = x + _ROUNDER
    r = x - (shifted - _ROUNDER)
    p = fma(r, 0.00015327177, 0.0013391024)
    p = fma(r, p, 0.009618505)
    p = fma(r, p, 0.055503596)
    p = fma(r, p, 0.24022648)
    p = fma(r, p, 0.6931472)
    return _scale(fma(r, p, 1.0), np.int32(bits_of(shifted) - _ROUNDER_BITS))


def expm1(x: Any) -> Any:
    """e**x - 1, error 1.42.

    e**x - 1 = 2 * (2**(n-1) * (e**r - 1) + (2**(n-1) - 1/2)); the halves keep the largest
    finite results from overflowing on the way.
    """
    y = select(x < -18.0, -18.0, x)
    y = select(y > 89.0, 89.0, y)
    shifted = fma(y, 1.442695, _ROUNDER)
    n = shifted - _ROUNDER
    r = fma(n, -0.693147182464599609375, y)
    r = fma(n, 1.904654323148236e-09, r)
    p = fma(r, 0.00019949168, 0.0013933376)
    p = fma(r, p, 0.008333202)
    p = fma(r, p, 0.04166648)
    p = fma(r, p, 0.16666667)
    p = fma(r, p, 0.5)
    p = fma(r * r, p, r)
    half = float_of_bits((np.int32(bits_of(shifted) - _ROUNDER_BITS) + 126) << 23)
    result = 2.0 * fma(p, half, half - 0.5)
    return select(fabs(x) < 1e-8, x, result)


def _log_sum(f: Any, n: Any) -> Any:
    """log(1 + f) + n * log(2) for f from sqrt(1/2) - 1 to sqrt(2) - 1.

    log(1 + f) = f - f**2/2 + f**3 * P(f).
    """
    p = fma(f, -0.076362565, 0.12762131)
    p = fma(f, p, -0.13159624)
    p = fma(f, p, 0.14201587)
    p = fma(f, p, -0.16623409)
    p = fma(f, p, 0.20001242)
    p = fma(f, p, -0.2500082)
    p = fma(f, p, 0.3333333)
    square = f * f
    p = fma(square * f, p, -0.5 * square)
    p = fma(n, -1.904654323148236e-09, p) + f
    return fma(n, 0.693147182464599609375, p)


def _exponent(bits: Any) -> Any:
    """e such that the float32 with these bits is 2**e times one in [sqrt(1/2), sqrt(2))."""
    return np.int32(bits - 0x3F3504F3) >> 23


def _log_limits(x: Any, result: Any) -> Any:
    """Results of a logarithm at zero, for negative arguments, at infinity and NaN."""
    result = select(x == 0.0, -_INFINITY, result)
    result = select(x < 0.0, _NAN, result)
    return select(x < _INFINITY, result, x)


def log(x: Any) -> Any:
    """Natural logarithm, error 0.86."""
    is_small = x < 1.1754943508222875e-38
    bits = bits_of(select(is_small, x * 8388608.0, x))
    exponent = _exponent(bits)
    f = float_of_bits(bits - (exponent << 23)) - 1.0
    n = np.float32(exponent) - select(is_small, 23.0, 0.0)
    return _log_limits(x, _log_sum(f, n))


def log1p(x: Any) -> Any:
    """log(1 + x), error 1.46; what rounding 1 + x loses is added again."""
    u = 1.0 + x
    rounded = u - 1.0
    lost = (1.0 - (u - rounded)) + (x - rounded)  # exact (D. Knuth's two-sum)
    bits = bits_of(u)
    exponent = _exponent(bits)
    f = float_of_bits(bits - (exponent << 23)) - 1.0
    # 2**-e, and 0 for the largest e, where what is lost does not matter.
    f = fma(lost, float_of_bits(max(127 - exponent, 0) << 23), f)
    result = select(x < _INFINITY, _log_sum(f, np.float32(exponent)), x)
    result = select(x == -1.0, -_INFINITY, result)
    result = select(x < -1.0, _NAN, result)
    return select(fabs(x) < 1e-8, x, result)


def log2(x: Any) -> Any:
    """Logarithm to base 2, error 0.95, exact for powers of two."""
    is_small = x < 1.1754943508222875e-38
    bits = bits_of(select(is_small, x * 8388608.0, x))
    exponent = _exponent(bits)
    f = float_of_bits(bits - (exponent << 23)) - 1.0
    p = fma(f, -0.11025581, 0.18708822)
    p = fma(f, p, -0.19139086)
    p = fma(f, p, 0.20448658)
    p = fma(f, p, -0.23956735)
    p = fma(f, p, 0.28857142)
    p = fma(f, p, -0.36069867)
    p = fma(f, p, 0.4808982)
    p = fma(f, p, -0.72134733)
    p = fma(f, p, 1.925963e-08)
    n = np.float32(exponent) - select(is_small, 23.0, 0.0)
    return _log_limits(x, n + fma(f, 1.442695, f * p))


def log10(x: Any) -> Any:
    """Logarithm to base 10, error 0.91."""
    is_small = x < 1.1754943508222875e-38
    bits = bits_of(select(is_small, x * 8388608.0, x))
    exponent = _exponent(bits)
    f = float_of_bits(bits - (exponent << 23)) - 1.0
    p = fma(f, -0.033272196, 0.056279607)
    p = fma(f, p, -0.057564035)
    p = fma(f, p, 0.06155949)
    p = fma(f, p, -0.07212291)
    p = fma(f, p, 0.08686868)
    p = fma(f, p, -0.108580895)
    p = fma(f, p, 0.14476478)
    p = fma(f, p, -0.21714719)
    p = fma(f, p, -1.010305e-08)
    n = np.float32(exponent) - select(is_small, 23.0, 0.0)
    p = fma(n, -1.4320989e-08, f * p)  # log10(2) in two parts
    return _log_limits(x, fma(n, 0.30103001, fma(f, 0.4342945, p)))


def _log2_magnitude(magnitude: Any) -> Any:
    """log2 in float64 of a float32 that is not negative, limits included."""
    wide = np.float64(magnitude)
    result = select(magnitude == 0.0, _MINUS_INFINITY, float64_log2(wide))
    return select(magnitude < _INFINITY, result, wide)


def pow(x: Any, y: Any) -> Any:
    """x to the power y, error 0.51; for a negative x only whole y give a number."""
    magnitude = fabs(x)
    result = np.float32(float64_exp2(np.float64(y) * _log2_magnitude(magnitude)))
    is_whole = floor(y) == y
    is_odd = is_whole & (2.0 * floor(0.5 * y) != y)
    result = select((bits_of(x) < 0) & is_odd, -result, result)
    is_undefined = (x < 0.0) & (magnitude < _INFINITY) & (floor(y) != y)
    result = select(is_undefined, _NAN, result)
    is_one = (x == 1.0) | (y == 0.0) | ((magnitude == 1.0) & (fabs(y) == _INFINITY))
    return select(is_one, 1.0, result)


def cbrt(x: Any) -> Any:
    """Cube root, error 0.51."""
    root = float64_exp2(_log2_magnitude(fabs(x)) * _THIRD)
    return select(x == 0.0, x, copysign(np.float32(root), x))
