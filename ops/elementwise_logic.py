"""Comparisons, logic and bits, element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ir import Array
from .define import elementwise
from .samples import sample, tensor, values

_WHOLE = ("signed", "unsigned")
_ALL = ("float", "signed", "unsigned", "bool")

# --- comparisons -------------------------------------------------------------------------


@elementwise(result="bool", kinds=_ALL, reference=lambda x, y: np.equal(x, y))
def equal(x: Any, y: Any) -> Any:
    """``x == y`` (ONNX Equal-19); NaN equals nothing."""
    return x == y


@elementwise(result="bool", kinds=_ALL, reference=lambda x, y: np.not_equal(x, y))
def not_equal(x: Any, y: Any) -> Any:
    """``x != y``."""
    return x != y


@elementwise(result="bool", reference=lambda x, y: np.less(x, y))
def less(x: Any, y: Any) -> Any:
    """``x < y`` (ONNX Less-13)."""
    return x < y


@elementwise(result="bool", reference=lambda x, y: np.less_equal(x, y))
def less_equal(x: Any, y: Any) -> Any:
    """``x <= y`` (ONNX LessOrEqual-16)."""
    return x <= y


@elementwise(result="bool", reference=lambda x, y: np.greater(x, y))
def greater(x: Any, y: Any) -> Any:
    """``x > y`` (ONNX Greater-13)."""
    return x > y


@elementwise(result="bool", reference=lambda x, y: np.greater_equal(x, y))
def greater_equal(x: Any, y: Any) -> Any:
    """``x >= y`` (ONNX GreaterOrEqual-16)."""
    return x >= y


# --- logic -------------------------------------------------------------------------------


@elementwise(result="bool", kinds=("bool",), reference=lambda x, y: np.logical_and(x, y))
def logical_and(x: Any, y: Any) -> Any:
    """True where both are (ONNX And-7)."""
    return x and y


@elementwise(result="bool", kinds=("bool",), reference=lambda x, y: np.logical_or(x, y))
def logical_or(x: Any, y: Any) -> Any:
    """True where one is (ONNX Or-7)."""
    return x or y


@elementwise(result="bool", kinds=("bool",), reference=lambda x, y: np.logical_xor(x, y))
def logical_xor(x: Any, y: Any) -> Any:
    """True where they differ (ONNX Xor-7)."""
    return x != y


@elementwise(result="bool", kinds=("bool",), reference=lambda x: np.logical_not(x))
def logical_not(x: Any) -> Any:
    """True where ``x`` is not (ONNX Not-1)."""
    return not x


# --- bits --------------------------------------------------------------------------------


@elementwise(kinds=_WHOLE, reference=lambda x, y: np.bitwise_and(x, y))
def bitwise_and(x: Any, y: Any) -> Any:
    """The bits set in both (ONNX BitwiseAnd-18)."""
    return x & y


@elementwise(kinds=_WHOLE, reference=lambda x, y: np.bitwise_or(x, y))
def bitwise_or(x: Any, y: Any) -> Any:
    """The bits set in either (ONNX BitwiseOr-18)."""
    return x | y


@elementwise(kinds=_WHOLE, reference=lambda x, y: np.bitwise_xor(x, y))
def bitwise_xor(x: Any, y: Any) -> Any:
    """The bits set in one only (ONNX BitwiseXor-18)."""
    return x ^ y


@elementwise(kinds=_WHOLE, reference=lambda x: np.invert(x))
def bitwise_not(x: Any) -> Any:
    """Every bit turned over (ONNX BitwiseNot-18)."""
    return ~x


@elementwise(kinds=("unsigned",), reference=lambda x, y: np.left_shift(x, y))
def shift_left(x: Any, y: Any) -> Any:
    """``x`` shifted up by ``y`` bits; all out gives 0 (ONNX BitShift-11, LEFT)."""
    # Shifting 64 bits or more is undefined; fewer are computed in 64 bits and cut.
    return 0 if y > 63 else x << (y & 63)


@elementwise(kinds=("unsigned",), reference=lambda x, y: np.right_shift(x, y))
def shift_right(x: Any, y: Any) -> Any:
    """``x`` shifted down by ``y`` bits; all out gives 0 (ONNX BitShift-11, RIGHT)."""
    return 0 if y > 63 else x >> (y & 63)


# --- classes of floats -------------------------------------------------------------------


@elementwise(result="bool", kinds=("float",), reference=lambda x: np.isnan(x))
def is_nan(x: Any) -> Any:
    """True for NaN (ONNX IsNaN-20)."""
    return x != x


def _is_inf_reference(x: Array, *, detect_negative: bool, detect_positive: bool) -> Array:
    wide = x.astype(np.float64)
    positive = (wide == np.inf) & detect_positive
    return np.asarray(positive | ((wide == -np.inf) & detect_negative))


@elementwise(result="bool", kinds=("float",), reference=_is_inf_reference)
def is_inf(x: Any, *, detect_negative: bool = True, detect_positive: bool = True) -> Any:
    """True for infinities of the wanted signs (ONNX IsInf-20)."""
    positive = detect_positive and x == math.inf
    negative = detect_negative and x == -math.inf
    return positive or negative


# --- samples -----------------------------------------------------------------------------

_SPECIAL = values([-np.inf, -1.5, -0.0, 0.0, 2.0, np.inf, np.nan])

for _op in (equal, not_equal, less, less_equal, greater, greater_equal):
    _op.samples = [
        sample(tensor((2, 3, 4), low=-1, high=1), tensor((3, 1), low=-1, high=1, seed=1)),
        sample(tensor((0, 3)), tensor((3,))),
        sample(_SPECIAL, _SPECIAL[::-1].copy()),
        sample(_SPECIAL, _SPECIAL.copy()),
        sample(tensor((), "float64"), tensor((4,), "float64")),
        sample(tensor((9,), "float16", -1, 1), tensor((), "float16")),
        sample(tensor((9,), "int64", -2, 2), tensor((9,), "int64", -2, 2, seed=1)),
        sample(tensor((9,), "uint8", 0, 2), tensor((9,), "uint8", 0, 2, seed=1)),
        sample(values([2**64 - 1, 1], "uint64"), values([1, 2**64 - 1], "uint64")),
    ]
for _op in (equal, not_equal, logical_and, logical_or, logical_xor):
    _op.samples += [
        sample(tensor((9,), "bool"), tensor((9,), "bool", seed=1)),
        sample(tensor((2, 3), "bool"), tensor((3,), "bool", seed=1)),
        sample(tensor((), "bool"), tensor((0,), "bool", seed=1)),
    ]
logical_not.samples = [sample(tensor((9,), "bool")), sample(tensor((0, 2), "bool"))]
for _op in (bitwise_and, bitwise_or, bitwise_xor):
    _op.samples = [
        sample(tensor((9,), "int8", -128, 127), tensor((9,), "int8", -128, 127, seed=1)),
        sample(tensor((3, 2), "int64", -99, 99), tensor((2,), "int64", -99, 99, seed=1)),
        sample(values([2**64 - 1, 5], "uint64"), values([7, 2**63], "uint64")),
        sample(tensor((9,), "uint16", 0, 65535), tensor((), "uint16", 0, 65535, seed=1)),
    ]
bitwise_not.samples = [
    sample(tensor((9,), "int8", -128, 127)),
    sample(tensor((9,), "int64", -128, 127)),
    sample(values([2**64 - 1, 5], "uint64")),
    sample(tensor((9,), "uint16", 0, 65535)),
]
for _op in (shift_left, shift_right):
    _op.samples = [
        sample(values([1, 255, 7, 200, 3], "uint8"), values([7, 1, 8, 255, 0], "uint8")),
        sample(values([1, 2**32 - 1, 7], "uint32"), values([31, 4, 32], "uint32")),
        sample(values([1, 2**64 - 1, 7, 9], "uint64"), values([63, 4, 64, 2**40], "uint64")),
        sample(values([1, 65535, 7], "uint16"), values([15, 4, 100], "uint16")),
    ]
is_nan.samples = [
    sample(_SPECIAL),
    sample(_SPECIAL.astype(np.float64)),
    sample(_SPECIAL.astype(np.float16)),
    sample(tensor((0,), "bfloat16")),
]
is_inf.samples = [
    *(sample(*case.inputs) for case in is_nan.samples),
    sample(_SPECIAL, detect_negative=False),
    sample(_SPECIAL, detect_positive=False),
    sample(_SPECIAL, detect_positive=False, detect_negative=False),
    sample(values([np.inf, -np.inf, 1.0], "bfloat16"), detect_negative=False),
]
