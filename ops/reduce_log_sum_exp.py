"""Kernels of log-sum-exp: like those of the other reductions, with the largest element apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import Call, Operand, workspace
from ..ir.dim import ceil_divide
from .reduce_kernels import COLUMNS, count_each, scratch, seen, steps_of


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _log_sum_exp(item, x, largest, out, begin_block):  # type: ignore[no-untyped-def]
    blocks = (x.shape[2] + begin_block - 1) // begin_block
    outer = item // blocks
    begin = (item % blocks) * begin_block
    end = min(begin + begin_block, x.shape[2])
    for k in range(begin, end):
        largest[outer, k] = -math.inf
        out[outer, k] = 0.0
    for j in range(x.shape[1]):
        for k in range(begin, end):
            largest[outer, k] = max(largest[outer, k], x[outer, j, k])
    for j in range(x.shape[1]):
        for k in range(begin, end):
            # infinity - infinity would be NaN
            shift = 0.0 if math.isinf(largest[outer, k]) else largest[outer, k]
            out[outer, k] += math.exp(min(x[outer, j, k] - shift, 0.0))
    for k in range(begin, end):
        total = out[outer, k]
        out[outer, k] = (math.log(total) if total > 0 else total - math.inf) + largest[outer, k]


def _log_sum_exp_row(item, x, out, each, total_rows):  # type: ignore[no-untyped-def]
    for row in range(item * each, min(item * each + each, total_rows)):
        largest = x.dtype.type(0) - math.inf
        for j in range(x.shape[1]):
            largest = max(largest, x[row, j])
        shift = x.dtype.type(0) if math.isinf(largest) else largest
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += math.exp(min(x[row, j] - shift, 0.0))
        out[row] = (math.log(total) if total > 0 else total - math.inf) + largest


def log_sum_exp_calls(x: Operand, out: Operand, axes: Sequence[int]) -> list[Call]:
    """The Calls of log-sum-exp: over several groups of axes it is applied to itself."""
    steps = steps_of(x.shape, axes)
    source = x.flat()
    calls: list[Call] = []
    for number, step in enumerate(steps):
        is_last = number + 1 == len(steps)
        target = out.flat() if is_last else scratch(f"step {number}", x.dtype, step)
        if step.inner == 1:
            each = count_each(step.outer, step.n)
            calls.append(
                Call(
                    _log_sum_exp_row,
                    (seen(source, step.outer, step.n), target),
                    items=ceil_divide(step.outer, each),
                    scalars=(each, step.outer),
                    chunk=each,
                    reassociate=True,
                )
            )
        else:
            narrow = isinstance(step.inner, int) and 0 < step.inner <= COLUMNS
            block = step.inner if narrow else COLUMNS
            shape = (step.outer, step.inner)
            calls.append(
                Call(
                    _log_sum_exp,
                    (
                        seen(source, step.outer, step.n, step.inner),
                        workspace(f"largest {number}", x.dtype, shape),
                        seen(target, *shape),
                    ),
                    items=step.outer * ceil_divide(step.inner, block),
                    scalars=(block,),
                    chunk=block if narrow else None,
                )
            )
        source = target
    return calls
