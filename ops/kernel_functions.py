"""Scalar functions for kernel bodies for which targets have code of their own."""

from __future__ import annotations

import math
from typing import Any


# type annotations are left out: these are parts of kernel bodies
def larger(a, b):  # type: ignore[no-untyped-def]
    """The larger of two numbers, NaN if one of them is; of two zeros, either."""
    best = b if b > a else a
    return b if b != b else best


def smaller(a, b):  # type: ignore[no-untyped-def]
    """The smaller of two numbers, NaN if one of them is; of two zeros, either."""
    best = b if b < a else a
    return b if b != b else best


def exp_of_negative(x: Any) -> Any:
    """e**x for x of at most 0; results below the normal numbers may become 0."""
    return math.exp(x)


def reciprocal(x):  # type: ignore[no-untyped-def]
    """1 / x, for products with many numbers: they stay products where sums may be reassociated."""
    return 1.0 / x
