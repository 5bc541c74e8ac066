"""float32 versions of the mathematical functions (the C library's for now)."""

from __future__ import annotations

from .math_primitives import call_library

_UNARY = (
    *("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "erf", "erfc", "tanh", "sinh"),
    *("cosh", "asinh", "acosh", "atanh", "sin", "cos", "tan", "asin", "acos", "atan", "cbrt"),
)
globals().update({name: call_library(name) for name in _UNARY})
globals().update({name: call_library(name, 2) for name in ("pow", "atan2", "hypot")})
