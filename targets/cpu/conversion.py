"""Scalar conversions between element types, as functions for generated bodies.

16-bit floats are float32 values inside a body: reading widens them, and each operator's result
is rounded to the 16-bit type, as if it had been stored and read again. Floats become integers
by truncation; one that does not fit becomes the low bits of its 64-bit conversion (NaN: 0),
so that nothing is undefined. ``math`` names without a counterpart in Python's module are those
of this target's ``math_library``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir.data_type import kind_of

Function = Callable[[Any], Any]


def _round_to_half(x: Any) -> Any:
    return math.half_to_float(math.float_to_half(x))  # type: ignore[attr-defined]


def _round_double_to_half(x: Any) -> Any:
    return math.half_to_float(math.double_to_half(x))  # type: ignore[attr-defined]


def _round_to_bfloat(x: Any) -> Any:
    return math.bfloat16_to_float(math.float_to_bfloat16(x))  # type: ignore[attr-defined]


def _round_double_to_bfloat(x: Any) -> Any:
    # One rounding from float64: round to odd in float32 first, so that the second is exact.
    return math.bfloat16_to_float(math.double_to_bfloat16(x))  # type: ignore[attr-defined]


def _is_nonzero(x: Any) -> Any:
    return x != 0


# The largest floats below 2**63 and 2**64 in either precision.
_LIMITS = {
    "float32": (9223371487098961920.0, 18446742974197923840.0),
    "float64": (9223372036854774784.0, 18446744073709549568.0),
}


@functools.cache
def _to_signed(source: str) -> Function:
    high = _LIMITS[source][0]

    def to_signed(x: Any) -> Any:
        number = x if x == x else 0.0
        return np.int64(min(max(number, -9223372036854775808.0), high))

    return to_signed


@functools.cache
def _to_unsigned_64(source: str) -> Function:
    signed_high, high = _LIMITS[source]

    def to_unsigned(x: Any) -> Any:
        number = x if x == x else 0.0
        below = np.uint64(np.int64(min(max(number, -9223372036854775808.0), signed_high)))
        above = np.uint64(min(max(number, 0.0), high))
        return above if number >= 0.0 else below

    return to_unsigned


def computed_in(dtype: str) -> str:
    """The type in which a body computes elements of ``dtype``."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def stored(dtype: str) -> Any:
    """What turns an operator's result into a value of ``dtype``: a type or a function."""
    if dtype == "float16":
        return _round_to_half
    if dtype == "bfloat16":
        return _round_to_bfloat
    return bool if dtype == "bool" else np.dtype(dtype).type


def converter(source: str, target: str) -> tuple[Function, ...]:
    """Functions and types to apply one after the other to convert ``source`` to ``target``."""
    if source == target:
        return ()
    computing = computed_in(source)
    if target == "bool":
        return (_is_nonzero,)
    if target in ("float16", "bfloat16"):
        if source == "float64":
            return (_round_double_to_half if target == "float16" else _round_double_to_bfloat,)
        return (np.float32, stored(target))
    if kind_of(source) == "float" and kind_of(target) in ("signed", "unsigned"):
        if target == "uint64":
            return (_to_unsigned_64(computing),)
        return (_to_signed(computing), stored(target))
    return (stored(target),)
