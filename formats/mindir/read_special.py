"""Readers of special functions, made of elementary ones, which other formats have too."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...ir import Value
from .context import Context, ops
from .registry import reads

# Lanczos' approximation of the gamma function with g = 7, by Godfrey's coefficients: within
# 1e-15 of the logarithm for arguments from 1/2 on.
_LANCZOS = (
    0.99999999999980993,
    676.5203681218851,
    -1259.1392167224028,
    771.32342877765313,
    -176.61502916214059,
    12.507343278686905,
    -0.13857109526572012,
    9.9843695780195716e-6,
    1.5056327351493116e-7,
)

# Giles, "Approximating the erfinv function" (2012), single precision: for w = -log(1 - x^2)
# below 5, in powers of w - 2.5, and from 5 on, in powers of sqrt(w) - 3; highest power first.
_MIDDLE = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


class _Numbers:
    """Arithmetic of a tensor with tensors and numbers."""

    def __init__(self, g: Context, like: Value) -> None:
        self._g, self._like = g, like

    def __call__(self, op: str, *operands: Value | float) -> Value:
        g = self._g
        values = [v if isinstance(v, Value) else g.scalar_like(self._like, v) for v in operands]
        return g.add(getattr(ops, op), *values)

    def polynomial(self, x: Value, factors: Sequence[float]) -> Value:
        """The polynomial with these factors, highest power first."""
        total: Value | float = factors[0]
        for factor in factors[1:]:
            total = self("add", self("mul", total, x), factor)
        assert isinstance(total, Value)
        return total


def _wide(g: Context, x: Value) -> Value:
    """Whole numbers as float32; float32 is computed in float64 where sums lose digits."""
    return x if g.dtype(x) == "float64" else g.cast(x, "float64")


@reads("Lgamma")
def _log_gamma(g: Context, x: Value) -> Value:
    """The logarithm of the absolute gamma function."""
    dtype = g.dtype(x)
    wide = _wide(g, x)
    f = _Numbers(g, wide)
    # Below 1/2 by Euler's reflection: gamma(x) gamma(1 - x) = pi / sin(pi x).
    low = f("less", wide, 0.5)
    z = f("sub", f("where", low, f("sub", 1.0, wide), wide), 1.0)
    total: Value | float = _LANCZOS[0]
    for k, factor in enumerate(_LANCZOS[1:], 1):
        total = f("add", total, f("div", factor, f("add", z, float(k))))
    t = f("add", z, 7.5)
    power = f("sub", f("mul", f("add", z, 0.5), f("log", t)), t)
    direct = f("add", f("add", power, f("log", total)), 0.5 * math.log(2 * math.pi))
    turn = f("sub", wide, f("floor", wide))
    mirrored = f("sub", f("log", f("div", math.pi, f("sin", f("mul", turn, math.pi)))), direct)
    infinite = f("mul", wide, wide)
    found = f("where", low, mirrored, direct)
    found = f("where", f("is_inf", wide), infinite, found)
    poles = f("logical_and", f("less_equal", wide, 0.0), f("equal", turn, 0.0))
    return g.cast(f("where", poles, math.inf, found), dtype)


@reads("Digamma")
def _digamma(g: Context, x: Value) -> Value:
    """The derivative of the logarithm of the gamma function."""
    dtype = g.dtype(x)
    wide = _wide(g, x)
    f = _Numbers(g, wide)
    low = f("less", wide, 0.5)
    z = f("where", low, f("sub", 1.0, wide), wide)
    # Up to where the asymptotic series holds: digamma(z) = digamma(z + 1) - 1 / z.
    taken: Value | float = 0.0
    for k in range(8):
        taken = f("add", taken, f("div", 1.0, f("add", z, float(k))))
    far = f("add", z, 8.0)
    square = f("div", 1.0, f("mul", far, far))
    # Bernoulli numbers B(2 k) / (2 k), highest first.
    bernoulli = (-691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12, 0.0)
    series = f("sub", f("log", far), f("div", 0.5, far))
    direct = f("sub", f("sub", series, f.polynomial(square, bernoulli)), taken)
    turn = f("sub", wide, f("floor", wide))
    angle = f("mul", turn, math.pi)
    mirrored = f("sub", direct, f("div", math.pi, f("div", f("sin", angle), f("cos", angle))))
    found = f("where", low, mirrored, direct)
    poles = f("logical_and", f("less_equal", wide, 0.0), f("equal", turn, 0.0))
    return g.cast(f("where", poles, math.nan, found), dtype)


@reads("Erfinv")
def _erf_inverse(g: Context, x: Value) -> Value:
    """What the error function gives ``x`` for; infinite at -1 and 1, NaN outside.

    MindSpore's own results on CPU are off by percents near the ends (2.278 for 0.999, where
    2.327 is right); these are right.
    """
    dtype = g.dtype(x)
    wide = _wide(g, x)
    f = _Numbers(g, wide)
    w = f("neg", f("log", f("mul", f("sub", 1.0, wide), f("add", 1.0, wide))))
    middle = f.polynomial(f("sub", w, 2.5), _MIDDLE)
    tail = f.polynomial(f("sub", f("sqrt", f("maximum", w, 5.0)), 3.0), _TAIL)
    found = f("mul", wide, f("where", f("less", w, 5.0), middle, tail))
    if dtype == "float64":
        # A step of Newton's: the derivative of erf is 2 / sqrt(pi) exp(-y^2).
        excess = f("sub", f("erf", found), wide)
        slope = f("exp", f("mul", found, found))
        found = f("sub", found, f("mul", f("mul", excess, slope), math.sqrt(math.pi) / 2))
    ends = f("equal", f("abs", wide), 1.0)
    return g.cast(f("where", ends, f("mul", wide, math.inf), found), dtype)
