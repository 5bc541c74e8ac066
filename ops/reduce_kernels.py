"""Kernels of the reductions.

Neighbouring axes that are reduced, or kept, are merged. What is left is reduced one group of
axes after the other, the last first, through scratch memory: each time a tensor seen as (outer,
n, inner). With inner 1 the elements of a row are reduced in place of a number, otherwise rows of
``inner`` elements are reduced side by side; both vectorise.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import Call, Extent, Operand, View, workspace
from ..ir.data_type import kind_of, numpy_type
from ..ir.dim import ceil_divide, product
from .kernel_functions import larger, smaller

# Elements that one work item should read at least, so that items are worth handing to a thread.
_ITEM_ELEMENTS = 8192
# Rows from this length on are cut into segments where there are few of them.
_LONG_ROW = 4 * _ITEM_ELEMENTS
_FEW_ROWS = 16
# The same for elements that are reduced side by side.
_LONG_COLUMNS = 16 * _ITEM_ELEMENTS
# Columns that one item reduces side by side; their results stay in the first-level cache.
COLUMNS = 1024


@dataclass(frozen=True)
class Reduction:
    """What is computed: ``combine`` of the elements, each changed by ``first``, then ``last``."""

    combine: str
    first: str = "same"
    last: str = "same"


# --- scalar pieces; type annotations are left out: Numba infers them ---------------------


def _same(v):  # type: ignore[no-untyped-def]
    return v


def _absolute(v):  # type: ignore[no-untyped-def]
    return -v if v < 0 else v


def _square(v):  # type: ignore[no-untyped-def]
    return v * v


def _sum(a, v):  # type: ignore[no-untyped-def]
    return a + v


def _product(a, v):  # type: ignore[no-untyped-def]
    return a * v


def _finish_same(a, count):  # type: ignore[no-untyped-def]
    return a


def _finish_root(a, count):  # type: ignore[no-untyped-def]
    return math.sqrt(a)


def _finish_log(a, count):  # type: ignore[no-untyped-def]
    # math.log of Python does not take 0
    return math.log(a) if a > 0 else (-math.inf if a == 0 else math.nan)


def _finish_mean(a, count):  # type: ignore[no-untyped-def]
    return a / count


def _finish_mean_unsigned(a, count):  # type: ignore[no-untyped-def]
    return a // np.uint64(max(count, 1))


def _finish_mean_signed(a, count):  # type: ignore[no-untyped-def]
    divisor = np.int64(max(count, 1))
    quotient = a // divisor
    return quotient + 1 if a < 0 and quotient * divisor != a else quotient


def _start(zero, initial):  # type: ignore[no-untyped-def]
    return zero + initial


def _start_int64(zero, initial):  # type: ignore[no-untyped-def]
    return np.int64(initial)


def _start_uint64(zero, initial):  # type: ignore[no-untyped-def]
    return np.uint64(np.int64(initial))


def _start_bool(zero, initial):  # type: ignore[no-untyped-def]
    return initial > 0


_FIRST: dict[str, Callable[..., Any]] = {
    "same": _same,
    "absolute": _absolute,
    "square": _square,
}
_COMBINE: dict[str, Callable[..., Any]] = {
    "sum": _sum,
    "product": _product,
    "max": larger,
    "min": smaller,
}


def _last(name: str, kind: str) -> Callable[..., Any]:
    if name == "mean":
        means = {"float": _finish_mean, "signed": _finish_mean_signed}
        return means.get(kind, _finish_mean_unsigned)
    return {"same": _finish_same, "root": _finish_root, "log": _finish_log}[name]


def _start_of(dtype: str, accumulated: str) -> Callable[..., Any]:
    """What makes the first partial result; integers of 64 bits do not mix with a signed 0."""
    special = {"int64": _start_int64, "uint64": _start_uint64, "bool": _start_bool}
    return special.get(accumulated, special.get(dtype, _start))


def _initial(combine: str, dtype: str) -> float | int:
    """What reducing no elements gives, as a scalar of a kernel."""
    kind = kind_of(dtype)
    if combine in ("sum", "product"):
        number = 0 if combine == "sum" else 1
        return float(number) if kind == "float" else number
    if kind == "float":
        return -math.inf if combine == "max" else math.inf
    if kind == "bool":
        return 0 if combine == "max" else 1
    limits = np.iinfo(numpy_type(dtype))
    number = int(limits.min if combine == "max" else limits.max)
    return number - 2**64 if number >= 2**63 else number  # the same bits as an int64


# --- bodies ------------------------------------------------------------------------------


@functools.cache
def _row_body(first: Any, combine: Any, start: Any, finish: Any) -> Callable[..., Any]:
    """Reduce rows, or one segment of a row."""

    def reduce_rows(  # type: ignore[no-untyped-def]
        item, x, out, each, total, segment, parts, count, initial
    ):  # fmt: skip
        first_row = (item // parts) * each
        part = item % parts
        begin = part * segment
        end = min(begin + segment, x.shape[1])
        for row in range(first_row, min(first_row + each, total)):
            result = start(x.dtype.type(0), initial)
            for j in range(begin, end):
                result = combine(result, first(x[row, j]))
            out[row, part] = finish(result, count)

    return reduce_rows


@functools.cache
def _column_body(first: Any, combine: Any, start: Any, finish: Any) -> Callable[..., Any]:
    """Reduce rows of elements side by side, in the result's memory."""

    def reduce_columns(  # type: ignore[no-untyped-def]
        item, x, out, each, total, block, blocks, count, initial
    ):  # fmt: skip
        first_outer = (item // blocks) * each
        begin = (item % blocks) * block
        end = min(begin + block, x.shape[2])
        for outer in range(first_outer, min(first_outer + each, total)):
            for k in range(begin, end):
                out[outer, k] = start(x.dtype.type(0), initial)
            for j in range(x.shape[1]):
                for k in range(begin, end):
                    out[outer, k] = combine(out[outer, k], first(x[outer, j, k]))
            for k in range(begin, end):
                out[outer, k] = finish(out[outer, k], count)

    return reduce_columns


@functools.cache
def _finish_body(finish: Any) -> Callable[..., Any]:
    def finish_all(item, sums, out, each, total, count):  # type: ignore[no-untyped-def]
        for k in range(item * each, min(item * each + each, total)):
            out[k] = finish(sums[k], count)

    return finish_all


# --- shapes ------------------------------------------------------------------------------

Group = tuple[bool, Extent]


def groups_of(shape: Sequence[Extent], axes: Sequence[int]) -> list[Group]:
    """Neighbouring axes that are reduced (True) or kept merged; extents of 1 are left out."""
    reduced = {axis % len(shape) for axis in axes}
    groups: list[Group] = []
    for axis, extent in enumerate(shape):
        if extent == 1:
            continue
        if groups and groups[-1][0] == (axis in reduced):
            groups[-1] = (groups[-1][0], groups[-1][1] * extent)
        else:
            groups.append((axis in reduced, extent))
    return groups


@dataclass(frozen=True)
class _Step:
    """One group being reduced: the tensor before it as (outer, n, inner)."""

    outer: Extent
    n: Extent
    inner: Extent


def steps_of(shape: Sequence[Extent], axes: Sequence[int]) -> list[_Step]:
    groups = groups_of(shape, axes)
    steps = []
    while True:
        place = max((k for k, (reduced, _) in enumerate(groups) if reduced), default=None)
        if place is None:
            break
        outer = product(extent for _, extent in groups[:place])
        inner = product(extent for _, extent in groups[place + 1 :])
        steps.append(_Step(outer, groups[place][1], inner))
        del groups[place]
    return steps or [_Step(1, 1, product(shape))]


def count_each(total: Extent, size: Extent) -> Extent:
    """How many of ``total`` things of ``size`` elements one item should do."""
    if not isinstance(size, int):
        return 1
    each = max(1, _ITEM_ELEMENTS // max(size, 1))
    return min(each, max(total, 1)) if isinstance(total, int) else each


# --- Calls -------------------------------------------------------------------------------


def reduction_calls(
    reduction: Reduction, x: Operand, out: Operand, axes: Sequence[int]
) -> list[Call]:
    """The Calls that reduce ``x`` over ``axes`` into ``out``."""
    kind = kind_of(x.dtype)
    count = product(x.shape[axis] for axis in axes)
    apart = reduction.last == "mean" and kind != "float"
    wide = {"signed": "int64", "unsigned": "uint64"}[kind] if apart else x.dtype
    writer = _Writer(reduction, x.dtype, wide, count)
    steps = [part for step in steps_of(x.shape, axes) for part in _in_parts(step)]
    source = x.flat()
    for number, step in enumerate(steps):
        is_last = number + 1 == len(steps) and not apart
        target = out.flat() if is_last else scratch(f"step {number}", wide, step)
        finish = reduction.last if is_last else "same"
        writer.step(source, target, step, reduction.first if number == 0 else "same", finish)
        source = target
    if apart:
        each = count_each(out.size, 1)
        writer.calls.append(
            Call(
                _finish_body(_last(reduction.last, kind)),
                (source, out.flat()),
                items=ceil_divide(out.size, each),
                scalars=(each, out.size, count),
                chunk=each,
            )
        )
    return writer.calls


def _in_parts(step: _Step) -> list[_Step]:
    """A step with few results of many elements, in two: items for threads, then their results."""
    outer, n, inner = step.outer, step.n, step.inner
    if not (isinstance(outer, int) and isinstance(n, int) and isinstance(inner, int)):
        return [step]
    results = outer * inner
    if inner == 1 or results >= _FEW_ROWS * COLUMNS or results * n < _LONG_COLUMNS:
        return [step]
    parts = max(k for k in range(1, _FEW_ROWS + 1) if n % k == 0)
    if parts == 1:
        return [step]
    return [_Step(outer * parts, n // parts, inner), _Step(outer, parts, inner)]


def scratch(key: str, dtype: str, step: _Step) -> View:
    return workspace(key, dtype, (step.outer * step.inner,))


def seen(view: View, *shape: Extent) -> View:
    return View(view.source, view.dtype, shape)


class _Writer:
    """Gathers the Calls of one reduction."""

    def __init__(self, reduction: Reduction, dtype: str, wide: str, count: Extent) -> None:
        self.combine = reduction.combine
        self.kind, self.wide = kind_of(dtype), wide
        self.count = count
        self.initial = _initial(self.combine, dtype)
        self.calls: list[Call] = []

    def step(self, source: View, target: View, step: _Step, first: str, last: str) -> None:
        """Add the Calls that reduce one group."""
        pieces = (_FIRST[first], _COMBINE[self.combine], _start_of(source.dtype, self.wide))
        finish = _last(last, self.kind)
        if step.inner == 1:
            self._rows(source, target, step, pieces, finish)
            return
        each = count_each(step.outer, step.n * step.inner)
        block: Extent = step.inner
        blocks: Extent = 1
        if isinstance(block, int) and block > COLUMNS and each == 1:
            blocks = ceil_divide(block, COLUMNS)
            block = COLUMNS
        self.calls.append(
            Call(
                _column_body(*pieces, finish),
                (
                    seen(source, step.outer, step.n, step.inner),
                    seen(target, step.outer, step.inner),
                ),
                items=ceil_divide(step.outer, each) * blocks,
                scalars=(each, step.outer, block, blocks, self.count, self.initial),
                chunk=each * block if blocks == 1 or step.outer == 1 else None,
                reassociate=True,
            )
        )

    def _rows(
        self, source: View, target: View, step: _Step, pieces: tuple[Any, ...], finish: Any
    ) -> None:
        parts: Extent = 1
        segment: Extent = step.n
        if (
            isinstance(step.n, int)
            and isinstance(step.outer, int)
            and step.n >= _LONG_ROW
            and step.outer < _FEW_ROWS
        ):
            segment = _ITEM_ELEMENTS
            parts = ceil_divide(step.n, segment)
            partial = workspace("segments", self.wide, (step.outer * parts,))
            self._row_call(source, partial, step, segment, parts, pieces, _finish_same)
            source, step = partial, _Step(step.outer, parts, 1)
            pieces, segment, parts = (_same, *pieces[1:]), parts, 1
        self._row_call(source, target, step, segment, parts, pieces, finish)

    def _row_call(
        self,
        source: View,
        target: View,
        step: _Step,
        segment: Extent,
        parts: Extent,
        pieces: tuple[Any, ...],
        finish: Any,
    ) -> None:
        each: Extent = 1 if parts != 1 else count_each(step.outer, step.n)
        items = ceil_divide(step.outer, each) * parts
        self.calls.append(
            Call(
                _row_body(*pieces, finish),
                (seen(source, step.outer, step.n), seen(target, step.outer, parts)),
                items=items,
                scalars=(each, step.outer, segment, parts, self.count, self.initial),
                chunk=each * parts if parts == 1 else 1,
                reassociate=True,
            )
        )
