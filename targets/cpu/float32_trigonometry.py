"""Trigonometric functions and their inverses for float32, straight-line code that vectorises.

sin, cos and tan are right for every float32, without a slow path: the argument is reduced in
float64 with as many digits of 2/pi as its exponent asks for (M. Payne and R. Hanek, 1983), which
come out of a table. Polynomials and errors are given as in `float32_exponential`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .math_primitives import (
    bits_of,
    bits_of_double,
    copysign,
    double_of_bits,
    fabs,
    fma,
    select,
    sqrt,
    table,
)
from .scalar_function import ScalarFunction

# The first 288 bits of 2/pi: 2/pi = _TWO_OVER_PI / 2**288.
_TWO_OVER_PI: Final = 0xA2F9836E4E441529FC2757D1F534DDC0DB6295993C439041FE5163ABDEBBC561B7246E3A
_TABLE_SIZE: Final = 105
_HIGH_BITS: Final = 29
_INFINITY: Final = float("inf")


def _digits() -> tuple[list[float], list[float]]:
    """For k from 0 to 104, 2**k * 2/pi modulo 4 as a high and a low part.

    The high part has so few bits that its product with a 24-bit integer is exact in float64.
    """
    high, low = [], []
    for k in range(_TABLE_SIZE):
        remainder = (_TWO_OVER_PI << k) & ((1 << 290) - 1)
        cut = 290 - _HIGH_BITS
        high.append(float(remainder >> cut) * 2.0 ** (2 - _HIGH_BITS))
        low.append((remainder & ((1 << cut) - 1)) / 2**288)
    return high, low


_HIGH, _LOW = _digits()
_high_digits = table("two_over_pi_high", _HIGH)
_low_digits = table("two_over_pi_low", _LOW)


def _reduce(x: Any) -> Any:
    """x * 2/pi in float64 as r + n: r in [-1/2, 1/2] and n modulo 4; relative error of r 2**-27.

    x = m * 2**k with |m| < 2**24, and 2**k * 2/pi modulo 4 comes from the table. Subtracting n
    from the product with the high digits is exact.
    """
    k = min(max(((bits_of(x) >> 23) & 255) - 150, 0), 104)
    m = np.float64(x) * double_of_bits((1023 - k) << 52)
    low = _low_digits(k)
    product = m * _high_digits(k)
    shifted = fma(m, low, product) + 6755399441055744.0  # 1.5 * 2**52: rounds
    r = fma(m, low, product - (shifted - 6755399441055744.0))
    return r, bits_of_double(shifted) & 3


def _sine(r: Any) -> Any:
    """sin(pi/2 * r) for r in [-1/2, 1/2], relative error 4.6e-12."""
    z = r * r
    p = fma(z, 0.00015819417950093892, -0.0046812602335142344)
    p = fma(z, p, 0.079692581789695)
    p = fma(z, p, -0.6459640961001761)
    return r * fma(z, p, 1.5707963267877354)


def _cosine(r: Any) -> Any:
    """cos(pi/2 * r) for r in [-1/2, 1/2], error 6.2e-14."""
    z = r * r
    p = fma(z, -2.4856939765613368e-05, 0.0009191658307202195)
    p = fma(z, p, -0.020863469018504544)
    p = fma(z, p, 0.2536695072633909)
    return fma(z, fma(z, p, -1.2337005501249252), 1.0)


def _sin(x: Any) -> Any:
    """Sine, error 0.51."""
    r, quarter = _reduce(x)
    result = select(quarter & 1 != 0, _cosine(r), _sine(r))
    result = select(quarter & 2 != 0, -result, result)
    return select(x == 0.0, x, np.float32(result))


def _cos(x: Any) -> Any:
    """Cosine, error 0.51."""
    r, quarter = _reduce(x)
    result = select(quarter & 1 != 0, _sine(r), _cosine(r))
    return np.float32(select((quarter + 1) & 2 != 0, -result, result))


def _tan(x: Any) -> Any:
    """Tangent, error 0.51."""
    r, quarter = _reduce(x)
    sine, cosine = _sine(r), _cosine(r)
    is_odd = quarter & 1 != 0
    result = select(is_odd, -cosine, sine) / select(is_odd, sine, cosine)
    return select(x == 0.0, x, np.float32(result))


# Their literals are float64, for that is what they compute in.
sin: Final = ScalarFunction(_sin, "float64", weak_integers=False)
cos: Final = ScalarFunction(_cos, "float64", weak_integers=False)
tan: Final = ScalarFunction(_tan, "float64", weak_integers=False)


def _arcsine_tail(z: Any) -> Any:
    """(asin(s) - s) / s for z = s**2 up to 1/4."""
    p = fma(z, 0.042158306, 0.024184778)
    p = fma(z, p, 0.04546915)
    p = fma(z, p, 0.074953094)
    return z * fma(z, p, 0.16666752)


def asin(x: Any) -> Any:
    """Arc sine, error 1.86, NaN outside [-1, 1].

    Above 1/2 by asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)).
    """
    magnitude = fabs(x)
    is_near = magnitude <= 0.5
    z = select(is_near, x * x, fma(magnitude, -0.5, 0.5))
    s = select(is_near, magnitude, sqrt(z))
    r = fma(s, _arcsine_tail(z), s)
    far = fma(-2.0, r, 1.5707964) - 4.371139e-08
    return copysign(select(is_near, r, far), x)


def acos(x: Any) -> Any:
    """Arc cosine, error 1.26, NaN outside [-1, 1].

    Above 1/2 by acos(x) = 2 asin(sqrt((1 - x) / 2)).
    """
    magnitude = fabs(x)
    is_near = magnitude <= 0.5
    z = select(is_near, x * x, fma(magnitude, -0.5, 0.5))
    s = select(is_near, x, sqrt(z))
    r = fma(s, _arcsine_tail(z), s)
    far = select(x < 0.0, fma(-2.0, r, 3.1415927), 2.0 * r)
    return select(is_near, (1.5707964 - r) - 4.371139e-08, far)


def _arctangent(t: Any) -> Any:
    """atan(t) for t in [0, 1]."""
    z = t * t
    p = fma(z, -0.0017834842, 0.01087106)
    p = fma(z, p, -0.0311004)
    p = fma(z, p, 0.057883896)
    p = fma(z, p, -0.083994046)
    p = fma(z, p, 0.109509)
    p = fma(z, p, -0.14264017)
    p = fma(z, p, 0.1999853)
    p = fma(z, p, -0.333333)
    return fma(t * z, p, t)


def atan(x: Any) -> Any:
    """Arc tangent, error 1.35; above 1 by atan(x) = pi/2 - atan(1 / x)."""
    magnitude = fabs(x)
    is_near = magnitude <= 1.0
    r = _arctangent(select(is_near, magnitude, 1.0 / magnitude))
    return copysign(select(is_near, r, (1.5707964 - r) - 4.371139e-08), x)


def atan2(y: Any, x: Any) -> Any:
    """The angle of the point (x, y), error 1.5, from -pi to pi, with the signs of zeros as in C."""
    a, b = fabs(x), fabs(y)
    is_steep = b > a
    larger = select(is_steep, b, a)
    smaller = select(is_steep, a, b)
    is_equal = smaller == larger  # also both zero or both infinite, whose quotient is NaN
    t = select(is_equal, select(larger == 0.0, 0.0, 1.0), smaller / larger)
    r = _arctangent(t)
    r = select(is_steep, (1.5707964 - r) - 4.371139e-08, r)
    r = select(bits_of(x) < 0, (3.1415927 - r) - 8.742278e-08, r)
    return select((x != x) | (y != y), x + y, copysign(r, y))


def hypot(x: Any, y: Any) -> Any:
    """sqrt(x*x + y*y), error 0.5, infinite if either argument is."""
    a, b = np.float64(x), np.float64(y)
    result = np.float32(sqrt(fma(a, a, b * b)))
    is_infinite = (fabs(x) == _INFINITY) | (fabs(y) == _INFINITY)
    return select(is_infinite, _INFINITY, result)
