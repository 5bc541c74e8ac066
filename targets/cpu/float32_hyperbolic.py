"""Hyperbolic functions, their inverses and the error function for float32.

Straight-line code as in `float32_exponential`, whose docstring tells how polynomials were made
and what the errors given mean.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .float32_exponential import exp_moderate, exp_scaled
from .float64_core import float64_exp2, float64_log2
from .math_primitives import copysign, fabs, fma, select, sqrt
from .scalar_function import ScalarFunction

_INFINITY = float("inf")
_NAN = float("nan")
_LOG_OF_2 = np.float64(0.6931471805599453)
_HALF_LOG_OF_2 = np.float64(0.34657359027997264)
_ONE = np.float64(1.0)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent, error 1.32: an odd polynomial below 0.6, 1 - 2 / (e**2|x| + 1) above."""
    magnitude = fabs(x)
    z = x * x
    p = fma(z, -0.0058979667, 0.020798625)
    p = fma(z, p, -0.053784717)
    p = fma(z, p, 0.13331936)
    p = fma(z, p, -0.333333)
    near = fma(magnitude * z, p, magnitude)
    cut = select(magnitude > 10.0, 10.0, magnitude)  # where the result is 1
    far = 1.0 - 2.0 / (exp_moderate(2.0 * cut) + 1.0)
    return copysign(select(magnitude < 0.6, near, far), x)


def sinh(x: Any) -> Any:
    """Hyperbolic sine, error 1.58: an odd polynomial below 1, (e**|x| - e**-|x|) / 2 above."""
    magnitude = fabs(x)
    z = x * x
    p = fma(z, 2.7822132e-06, 0.00019842896)
    p = fma(z, p, 0.0083333105)
    p = fma(z, p, 0.16666667)
    near = fma(x * z, p, x)
    half = exp_scaled(magnitude, -1)
    return select(magnitude < 1.0, near, copysign(half - 0.25 / half, x))


def cosh(x: Any) -> Any:
    """Hyperbolic cosine, error 1.44."""
    half = exp_scaled(fabs(x), -1)
    return half + 0.25 / half


def asinh(x: Any) -> Any:
    """Inverse hyperbolic sine, error 0.51; x - x**3 / 6 near zero."""
    magnitude = fabs(x)
    wide = np.float64(magnitude)
    root = sqrt(fma(wide, wide, _ONE))
    far = np.float32(float64_log2(wide + root) * _LOG_OF_2)
    near = fma(magnitude * magnitude * magnitude, -0.16666667, magnitude)
    result = select(magnitude < _INFINITY, far, magnitude)
    return copysign(select(magnitude < 0.004, near, result), x)


def acosh(x: Any) -> Any:
    """Inverse hyperbolic cosine, error 0.51; NaN below 1."""
    wide = np.float64(x)
    root = sqrt(fma(wide, wide, -_ONE))
    result = np.float32(float64_log2(wide + root) * _LOG_OF_2)
    return select(x >= 1.0, select(x < _INFINITY, result, x), _NAN)


def atanh(x: Any) -> Any:
    """Inverse hyperbolic tangent, error 0.51; x + x**3 / 3 near zero."""
    wide = np.float64(fabs(x))
    ratio = (_ONE + wide) / (_ONE - wide)
    far = copysign(np.float32(float64_log2(ratio) * _HALF_LOG_OF_2), x)
    result = select(fabs(x) < 0.004, fma(x * x * x, 0.33333334, x), far)
    result = select(fabs(x) == 1.0, copysign(_INFINITY, x), result)
    return select(fabs(x) <= 1.0, result, _NAN)


def erf(x: Any) -> Any:
    """Error function, error 1.04: an odd polynomial below 1, 1 - e**R(|x|) above.

    R approximates log(erfc); the form is N. Juffa's, the coefficients are not. It takes twice
    the time of a quotient of polynomials, whose rounding errors add up to 6 units.
    """
    magnitude = fabs(x)
    z = x * x
    p = fma(z, 7.806904e-05, -0.0007997853)
    p = fma(z, p, 0.005187162)
    p = fma(z, p, -0.026853347)
    p = fma(z, p, 0.11283579)
    p = fma(z, p, -0.37612626)
    p = fma(z, p, 0.12837917)
    near = fma(x, p, x)
    cut = select(magnitude > 4.0, 4.0, magnitude)  # where the result is 1
    r = fma(cut, 0.00018637543, -0.0029476276)
    r = fma(cut, r, 0.021837963)
    r = fma(cut, r, -0.10310659)
    r = fma(cut, r, -0.63814497)
    r = fma(cut, r, -1.1270891)
    r = fma(cut, r, -0.00034152536)
    return select(magnitude < 1.0, near, copysign(1.0 - exp_moderate(r), x))


def _erfc(x: Any) -> Any:
    """Complementary error function, error 0.52.

    For a = |x|, erfc(a) = e**(-a*a) * p((a - 2) / (a + 2)) / (1 + 2a) (M. M. Shepherd and J. G.
    Laframboise, "Chebyshev approximation of (1 + 2x) exp(x**2) erfc x", 1981).
    """
    a = np.float64(fabs(x))
    a = select(a > 11.0, 11.0, a)  # where the result is 0
    q = (a - 2.0) / (a + 2.0)
    p = fma(q, 8.003528924746658e-05, 0.00017086026851342927)
    p = fma(q, p, -0.0004002479827117339)
    p = fma(q, p, -0.0014219706017918308)
    p = fma(q, p, 0.0012518852941539615)
    p = fma(q, p, 0.008709365060256938)
    p = fma(q, p, -0.008030582644083267)
    p = fma(q, p, -0.054217839488527195)
    p = fma(q, p, 0.16405100584164775)
    p = fma(q, p, -0.16603052272247368)
    p = fma(q, p, -0.09276381960196033)
    p = fma(q, p, 1.276978382703388)
    tail = float64_exp2(a * a * -1.4426950408889634) * p / (1.0 + 2.0 * a)
    return np.float32(select(x < 0.0, 2.0 - tail, tail))


# Its literals are float64, for that is what it computes in.
erfc: Final = ScalarFunction(_erfc, "float64", weak_integers=False)
