"""Where the largest and the smallest elements along an axis are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir import Array, Call, ModelError, Op, Operand, TensorType, workspace
from ..ir.data_type import is_float, kind_of
from .define import operator
from .samples import sample, tensor, values

_COLUMNS = 1024
_LANES = 32


def _reference(function: Any, x: Array, axis: int, keepdims: bool, last: bool) -> Array:
    wide = x.astype(np.float64) if is_float(x.dtype.name) else x
    if not last:
        return np.asarray(function(wide, axis=axis, keepdims=keepdims), np.int64)
    places = function(np.flip(wide, axis), axis=axis, keepdims=keepdims)
    return np.asarray(x.shape[axis] - 1 - places, np.int64)


@operator(traits=("reduction",))
def arg_max(
    x: Array, *, axis: int = 0, keepdims: bool = True, select_last_index: bool = False
) -> Array:
    """int64 index of the first (or last) largest element along ``axis`` (ONNX ArgMax-13).

    NaN counts as larger than any number.
    """
    return _reference(np.argmax, x, axis, keepdims, select_last_index)


@operator(traits=("reduction",))
def arg_min(
    x: Array, *, axis: int = 0, keepdims: bool = True, select_last_index: bool = False
) -> Array:
    """int64 index of the first (or last) smallest element along ``axis`` (ONNX ArgMin-13).

    NaN counts as smaller than any number.
    """
    return _reference(np.argmin, x, axis, keepdims, select_last_index)


def _infer(op: Op) -> Callable[..., TensorType]:
    def infer(x: TensorType, *, axis: int, keepdims: bool, select_last_index: bool) -> TensorType:
        axis = x.axis(axis)
        if kind_of(x.dtype) == "bool" or x.rank == 0:
            raise ModelError(f"{op.name} does not take {x}")
        shape = list(x.shape)
        if shape[axis] == 0 and x.size == 0 and 0 not in shape[:axis] + shape[axis + 1 :]:
            raise ModelError(f"{op.name}: {x} has no elements along axis {axis}")
        shape[axis : axis + 1] = [1] if keepdims else []
        return TensorType("int64", tuple(shape))

    return infer


# --- kernels; type annotations are left out: Numba infers them ---------------------------


def _greater(v, best):  # type: ignore[no-untyped-def]
    return v > best or (v != v and best == best)


def _less(v, best):  # type: ignore[no-untyped-def]
    return v < best or (v != v and best == best)


def _greater_or_same(v, best):  # type: ignore[no-untyped-def]
    return v >= best or v != v


def _less_or_same(v, best):  # type: ignore[no-untyped-def]
    return v <= best or v != v


# "or same" must not let a number replace a NaN: no comparison with NaN holds.


@functools.cache
def _row_body(better: Any) -> Callable[..., Any]:
    def find_in_rows(item, x, out, each, total):  # type: ignore[no-untyped-def]
        if x.shape[1] == 0:
            return 1
        for row in range(item * each, min(item * each + each, total)):
            best = x[row, 0]
            place = 0
            for j in range(1, x.shape[1]):
                v = x[row, j]
                if better(v, best):
                    best = v
                    place = j
            out[row] = place
        return 0

    return find_in_rows


def _max(a: Any, v: Any) -> Any:
    larger = v if v > a else a
    return v if v != v else larger


def _min(a: Any, v: Any) -> Any:
    smaller = v if v < a else a
    return v if v != v else smaller


@functools.cache
def _long_row_body(combine: Any, last: bool) -> Callable[..., Any]:
    """The extremum of a row by chains side by side, then where it is: both vectorise."""

    def find_in_long_rows(item, x, out, partial):  # type: ignore[no-untyped-def]
        extent = x.shape[1]
        blocks = extent // _LANES
        for lane in range(_LANES):
            partial[item, lane] = x[item, lane]
        for block in range(1, blocks):
            for lane in range(_LANES):
                v = x[item, block * _LANES + lane]
                partial[item, lane] = combine(partial[item, lane], v)
        best = partial[item, 0]
        for lane in range(1, _LANES):
            best = combine(best, partial[item, lane])
        for j in range(blocks * _LANES, extent):
            best = combine(best, x[item, j])
        nowhere = -1 if last else extent
        place = nowhere
        # Every element says where it is if it matches, and else what loses to all places.
        if best != best:
            for j in range(extent):
                v = x[item, j]
                here = j if v != v else nowhere
                place = max(place, here) if last else min(place, here)
        else:
            for j in range(extent):
                here = j if x[item, j] == best else nowhere
                place = max(place, here) if last else min(place, here)
        out[item] = place

    return find_in_long_rows


@functools.cache
def _column_body(better: Any) -> Callable[..., Any]:
    def find_in_columns(item, x, out, bests, block, blocks):  # type: ignore[no-untyped-def]
        if x.shape[1] == 0:
            return 1
        outer = item // blocks
        begin = (item % blocks) * block
        end = min(begin + block, x.shape[2])
        for k in range(begin, end):
            bests[outer, k] = x[outer, 0, k]
            out[outer, k] = 0
        for j in range(1, x.shape[1]):
            for k in range(begin, end):
                v, best = x[outer, j, k], bests[outer, k]
                is_better = better(v, best)
                bests[outer, k] = v if is_better else best
                out[outer, k] = j if is_better else out[outer, k]
        return 0

    return find_in_columns


def _kernel(op: Op, combine: Any, first: Any, last: Any) -> Callable[..., Any]:
    def build(
        x: Operand, out: Operand, *, axis: int, keepdims: bool, select_last_index: bool
    ) -> Call:
        better = last if select_last_index else first
        seen = x.split(axis)
        outer, extent, inner = seen.shape
        error = f"{op.name}: there are no elements along axis {axis}"
        if inner == 1 and isinstance(extent, int) and extent >= 4 * _LANES:
            partial = workspace("partial", x.dtype, (outer, _LANES))
            return Call(
                _long_row_body(combine, select_last_index),
                (x.view(outer, extent), out.flat(), partial),
                items=outer,
                chunk=1,
            )
        if inner == 1:
            each = max(1, 8192 // max(extent, 1)) if isinstance(extent, int) else 1
            return Call(
                _row_body(better),
                (x.view(outer, extent), out.flat()),
                items=(outer + each - 1) // each,
                scalars=(each, outer),
                chunk=each,
                error=error,
            )
        narrow = isinstance(inner, int) and inner <= _COLUMNS
        block = inner if narrow else _COLUMNS
        blocks = 1 if narrow else (inner + block - 1) // block
        return Call(
            _column_body(better),
            (seen, out.view(outer, inner), workspace("best", x.dtype, (outer, inner))),
            items=outer * blocks,
            scalars=(block, blocks),
            chunk=block if narrow else None,
            error=error,
        )

    return build


for _op, _combine, _first, _last in (
    (arg_max, _max, _greater, _greater_or_same),
    (arg_min, _min, _less, _less_or_same),
):
    _op.infer(_infer(_op))
    _op.kernel(_kernel(_op, _combine, _first, _last))
    _holes = np.where(tensor((2, 140)) > 1.5, np.float32(np.nan), tensor((2, 140), seed=1))
    _special = values([[1.0, 3.0, 3.0, 0.0], [np.nan, 1.0, np.nan, 2.0], [-np.inf, 0.0, -0.0, 5.0]])
    for _select in (False, True):
        _op.samples += [
            sample(tensor((3, 4, 5)), axis=1, select_last_index=_select),
            sample(_special, axis=1, select_last_index=_select),
            sample(_special, axis=0, keepdims=False, select_last_index=_select),
            sample(tensor((4, 9), "int8", -2, 2), axis=-1, select_last_index=_select),
            sample(tensor((9, 4), "uint64", 0, 2), axis=0, select_last_index=_select),
            sample(tensor((3, 150), "int32", -9, 9), axis=1, select_last_index=_select),
            sample(tensor((3, 133)), axis=1, select_last_index=_select),
            sample(_holes, axis=1, select_last_index=_select),
        ]
    _op.samples += [
        sample(tensor((7,), "float64"), axis=0, keepdims=False),
        sample(tensor((4, 6), "float16"), axis=1),
        sample(tensor((4, 6), "bfloat16"), axis=0),
        sample(tensor((0, 3)), axis=1),
        sample(tensor((3, 1)), axis=1),
    ]
