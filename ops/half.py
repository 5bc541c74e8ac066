"""Half-precision arrays are computed in float32, by references as by targets."""

from __future__ import annotations

import numpy as np

from ..ir import Array


def widened(x: Array) -> Array:
    """``x`` in float32 if it is float16 or bfloat16, else ``x`` itself."""
    return x.astype(np.float32) if x.dtype.name in ("float16", "bfloat16") else x


def exact(x: Array) -> Array:
    """``x`` in float64 if it is floating, else ``x`` itself."""
    floating = x.dtype.kind == "f" or x.dtype.name == "bfloat16"
    return x.astype(np.float64) if floating else x
