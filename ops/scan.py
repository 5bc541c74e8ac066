"""Sums and products of everything up to each element along an axis."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir import Array, Call, ModelError, Op, Operand, TensorType
from ..ir.data_type import is_float, kind_of
from ..ir.dim import ceil_divide
from .define import operator
from .samples import sample, tensor, values

_COLUMNS = 1024


def _reference(
    function: Any, neutral: int, x: Array, axis: int, exclusive: bool, reverse: bool
) -> Array:
    wide = x.astype(np.float64) if is_float(x.dtype.name) else x
    ordered = np.moveaxis(np.flip(wide, axis) if reverse else wide, axis, 0)
    found = function(ordered, axis=0, dtype=ordered.dtype)
    if exclusive and len(found):
        found = np.concatenate([np.full_like(found[:1], neutral), found[:-1]])
    result = np.moveaxis(found, 0, axis)
    return np.ascontiguousarray(np.flip(result, axis) if reverse else result).astype(x.dtype)


@operator
def cum_sum(x: Array, *, axis: int, exclusive: bool = False, reverse: bool = False) -> Array:
    """The sum of the elements up to each one along ``axis`` (ONNX CumSum-14).

    ``exclusive`` leaves the element itself out; ``reverse`` goes from the end. Integers wrap.
    """
    return _reference(np.cumsum, 0, x, axis, exclusive, reverse)


@operator
def cum_prod(x: Array, *, axis: int, exclusive: bool = False, reverse: bool = False) -> Array:
    """The product of the elements up to each one along ``axis`` (ONNX CumProd-26)."""
    return _reference(np.cumprod, 1, x, axis, exclusive, reverse)


def _infer(op: Op) -> Callable[..., TensorType]:
    def infer(x: TensorType, *, axis: int, exclusive: bool, reverse: bool) -> TensorType:
        x.axis(axis)
        if kind_of(x.dtype) == "bool" or x.rank == 0:
            raise ModelError(f"{op.name} does not take {x}")
        return x

    return infer


# --- kernels; type annotations are left out: Numba infers them ---------------------------


def _sum(a, v):  # type: ignore[no-untyped-def]
    return a + v


def _product(a, v):  # type: ignore[no-untyped-def]
    return a * v


@functools.cache
def _body(combine: Any, neutral: int, exclusive: bool, reverse: bool) -> Callable[..., Any]:
    def scan(item, x, out, block, blocks):  # type: ignore[no-untyped-def]
        outer = item // blocks
        begin = (item % blocks) * block
        end = min(begin + block, x.shape[2])
        extent = x.shape[1]
        start = x.dtype.type(neutral)
        for step in range(extent):
            j = extent - 1 - step if reverse else step
            # the row done before: its result, or for an exclusive scan that and its element
            before = j + 1 if reverse else j - 1
            if step == 0:
                for k in range(begin, end):
                    out[outer, j, k] = start if exclusive else x[outer, j, k]
            elif exclusive:
                for k in range(begin, end):
                    out[outer, j, k] = combine(out[outer, before, k], x[outer, before, k])
            else:
                for k in range(begin, end):
                    out[outer, j, k] = combine(out[outer, before, k], x[outer, j, k])

    return scan


def _kernel(combine: Any, neutral: int) -> Callable[..., Any]:
    def build(x: Operand, out: Operand, *, axis: int, exclusive: bool, reverse: bool) -> Call:
        seen = x.split(axis)
        outer, extent, inner = seen.shape
        narrow = isinstance(inner, int) and 0 < inner <= _COLUMNS
        block = inner if narrow else _COLUMNS
        blocks = 1 if narrow else ceil_divide(inner, block)
        return Call(
            _body(combine, neutral, exclusive, reverse),
            (seen, out.split(axis)),
            items=outer * blocks,
            scalars=(block, blocks),
            chunk=extent * inner if narrow else None,
        )

    return build


for _op, _combine, _neutral in ((cum_sum, _sum, 0), (cum_prod, _product, 1)):
    _op.infer(_infer(_op))
    _op.kernel(_kernel(_combine, _neutral))
    for _exclusive in (False, True):
        for _reverse in (False, True):
            _op.samples += [
                sample(tensor((3, 4, 5)), axis=1, exclusive=_exclusive, reverse=_reverse),
                sample(tensor((3, 7)), axis=-1, exclusive=_exclusive, reverse=_reverse),
                sample(
                    tensor((5,), "int64", -9, 9), axis=0, exclusive=_exclusive, reverse=_reverse
                ),
            ]
    _op.samples += [
        sample(tensor((4, 6), "float64"), axis=0),
        sample(tensor((4, 6), "float16"), axis=1),
        sample(tensor((4, 6), "bfloat16"), axis=0),
        sample(values([100, 100, 100], "int8"), axis=0),
        sample(values([2**63, 2**63, 7], "uint64"), axis=0),
        sample(values([1.0, np.inf, np.nan, 2.0]), axis=0),
        sample(tensor((0, 3)), axis=0, exclusive=True),
        sample(tensor((3, 0)), axis=0),
    ]
