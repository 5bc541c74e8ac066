"""Softmax, log-softmax and hardmax over one axis."""

# mypy: allow-untyped-calls

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir import Array, Call, Cost, ModelError, Operand, TensorType, workspace
from ..ir.data_type import is_float
from .define import operator
from .half import widened
from .kernel_functions import exp_of_negative, larger, reciprocal
from .rows import columns_per_item, item_count, rows_per_item
from .samples import sample, tensor, values
from .strided_copy import transpose_block

Body = Callable[..., Any]
# Rows below this length are gone through several at a time.
_SHORT = 256
# Rows below this length do not fill vectors.
_VERY_SHORT = 32


def _infer(x: TensorType, *, axis: int) -> TensorType:
    x.axis(axis)
    if not is_float(x.dtype):
        raise ModelError(f"softmax takes floating-point tensors, not {x.dtype}")
    return x


def _cost(x: TensorType, *, axis: int) -> Cost:
    return Cost(5 * x.size, 2 * x.nbytes)


@operator(traits=("normalization",))
def softmax(x: Array, *, axis: int = -1) -> Array:
    """``exp(x - max) / sum(exp(x - max))`` along ``axis`` (ONNX Softmax-13)."""
    if x.size == 0:
        return x.copy()
    wide = widened(x)
    e = np.exp(wide - wide.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True)).astype(x.dtype, copy=False)


@operator(traits=("normalization",))
def log_softmax(x: Array, *, axis: int = -1) -> Array:
    """``x - max - log(sum(exp(x - max)))`` along ``axis`` (ONNX LogSoftmax-13)."""
    if x.size == 0:
        return x.copy()
    wide = widened(x)
    shifted = wide - wide.max(axis=axis, keepdims=True)
    total = np.exp(shifted).sum(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(total)).astype(x.dtype, copy=False)


@operator(traits=("normalization",))
def hardmax(x: Array, *, axis: int = -1) -> Array:
    """1 at the first largest element along ``axis``, 0 elsewhere (ONNX Hardmax-13).

    The first NaN counts as the largest.
    """
    if x.size == 0:
        return x.copy()
    places = np.expand_dims(widened(x).argmax(axis=axis), axis)
    result = np.zeros(x.shape, np.float32)
    np.put_along_axis(result, places, 1.0, axis)
    return result.astype(x.dtype)


for _op in (softmax, log_softmax, hardmax):
    _op.infer(_infer)
    _op.cost(_cost)


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _softmax_rows(item, x, out, rows):  # type: ignore[no-untyped-def]
    for i in range(item * rows, min((item + 1) * rows, x.shape[0])):
        largest = x[i, 0]
        for j in range(x.shape[1]):
            largest = larger(largest, x[i, j])
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            e = exp_of_negative(x[i, j] - largest)
            out[i, j] = e
            total += e
        scale = reciprocal(total)
        for j in range(x.shape[1]):
            out[i, j] *= scale


def _softmax_short_rows(item, x, out, rows, extent):  # type: ignore[no-untyped-def]
    # x and out are flat: vectors of exponentials run over several rows
    begin = item * rows * extent
    end = min(begin + rows * extent, x.shape[0])
    for first in range(begin, end, extent):
        largest = x[first]
        for j in range(extent):
            largest = larger(largest, x[first + j])
        for j in range(extent):
            out[first + j] = x[first + j] - largest
    for k in range(begin, end):
        out[k] = exp_of_negative(out[k])
    for first in range(begin, end, extent):
        total = x.dtype.type(0)
        for j in range(extent):
            total += out[first + j]
        scale = reciprocal(total)
        for j in range(extent):
            out[first + j] *= scale


def _softmax_turned_rows(  # type: ignore[no-untyped-def]
    item, x, turned, largest, total, out, rows, extent
):  # fmt: skip
    # all are flat; vectors run along the columns of the turned rows
    first = item * rows
    end = min(first + rows, largest.shape[0])
    base = first * extent
    transpose_block(x, base, extent, turned, base, rows, end - first, extent)
    for i in range(first, end):
        largest[i] = turned[base + i - first]
        total[i] = x.dtype.type(0)
    for j in range(1, extent):
        for i in range(first, end):
            largest[i] = larger(largest[i], turned[base + j * rows + i - first])
    for j in range(extent):
        for i in range(first, end):
            e = exp_of_negative(turned[base + j * rows + i - first] - largest[i])
            turned[base + j * rows + i - first] = e
            total[i] += e
    for i in range(first, end):
        total[i] = reciprocal(total[i])
    for j in range(extent):
        for i in range(first, end):
            turned[base + j * rows + i - first] *= total[i]
    transpose_block(turned, base, rows, out, base, extent, extent, end - first)


def _softmax_columns(item, x, largest, total, out, columns):  # type: ignore[no-untyped-def]
    blocks = (x.shape[2] + columns - 1) // columns
    i = item // blocks
    first = item % blocks * columns
    end = min(first + columns, x.shape[2])
    column_maxima(x, i, first, end, largest)
    for k in range(first, end):
        total[i, k] = x.dtype.type(0)
    for j in range(x.shape[1]):
        for k in range(first, end):
            e = exp_of_negative(x[i, j, k] - largest[i, k])
            out[i, j, k] = e
            total[i, k] += e
    for k in range(first, end):
        total[i, k] = reciprocal(total[i, k])
    for j in range(x.shape[1]):
        for k in range(first, end):
            out[i, j, k] *= total[i, k]


def column_maxima(x, i, first, end, largest):  # type: ignore[no-untyped-def]
    """Largest elements of the columns ``first`` to ``end``."""
    for k in range(first, end):
        largest[i, k] = x[i, 0, k]
    for j in range(x.shape[1]):
        for k in range(first, end):
            largest[i, k] = larger(largest[i, k], x[i, j, k])


def _log_softmax_rows(item, x, out, rows):  # type: ignore[no-untyped-def]
    for i in range(item * rows, min((item + 1) * rows, x.shape[0])):
        largest = x[i, 0]
        for j in range(x.shape[1]):
            largest = larger(largest, x[i, j])
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += exp_of_negative(x[i, j] - largest)
        shift = math.log(total)
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - largest) - shift


def _log_softmax_columns(item, x, largest, total, out, columns):  # type: ignore[no-untyped-def]
    blocks = (x.shape[2] + columns - 1) // columns
    i = item // blocks
    first = item % blocks * columns
    end = min(first + columns, x.shape[2])
    column_maxima(x, i, first, end, largest)
    for k in range(first, end):
        total[i, k] = x.dtype.type(0)
    for j in range(x.shape[1]):
        for k in range(first, end):
            total[i, k] += exp_of_negative(x[i, j, k] - largest[i, k])
    for k in range(first, end):
        total[i, k] = math.log(total[i, k])
    for j in range(x.shape[1]):
        for k in range(first, end):
            out[i, j, k] = (x[i, j, k] - largest[i, k]) - total[i, k]


def _hardmax(item, x, out):  # type: ignore[no-untyped-def]
    for k in range(x.shape[2]):
        place = 0
        best = x[item, 0, k]
        for j in range(x.shape[1]):
            here = x[item, j, k]
            better = not (here <= best) and best == best
            best = here if better else best
            place = j if better else place
        for j in range(x.shape[1]):
            out[item, j, k] = x.dtype.type(1) if j == place else x.dtype.type(0)


def _calls(rows_body: Body, columns_body: Body, x: Operand, out: Operand, axis: int) -> Call:
    outer, extent, inner = x.split(axis).shape
    if inner == 1:
        rows = rows_per_item(extent)
        return Call(
            rows_body,
            (x.view(outer, extent), out.view(outer, extent)),
            items=item_count(outer, rows),
            scalars=(rows,),
            chunk=rows * extent,
            reassociate=True,
        )
    columns = columns_per_item(outer, inner)
    largest = workspace("largest", x.dtype, (outer, inner))
    total = workspace("total", x.dtype, (outer, inner))
    return Call(
        columns_body,
        (x.split(axis), largest, total, out.split(axis)),
        items=outer * item_count(inner, columns),
        scalars=(columns,),
        chunk=extent * inner if columns == inner else None,
        reassociate=True,
    )


@softmax.kernel
def _(x: Operand, out: Operand, *, axis: int) -> Call:
    outer, extent, inner = x.split(axis).shape
    if inner == 1 and isinstance(extent, int) and 0 < extent < _VERY_SHORT:
        rows = rows_per_item(extent)
        items = item_count(outer, rows)
        return Call(
            _softmax_turned_rows,
            (
                x.flat(),
                workspace("turned", x.dtype, (items * rows * extent,)),
                workspace("largest", x.dtype, (outer,)),
                workspace("total", x.dtype, (outer,)),
                out.flat(),
            ),
            items=items,
            scalars=(rows, extent),
            chunk=rows * extent,
            reassociate=True,
        )
    if inner == 1 and isinstance(extent, int) and 0 < extent < _SHORT:
        rows = rows_per_item(extent)
        return Call(
            _softmax_short_rows,
            (x.flat(), out.flat()),
            items=item_count(outer, rows),
            scalars=(rows, extent),
            chunk=rows * extent,
            reassociate=True,
        )
    return _calls(_softmax_rows, _softmax_columns, x, out, axis)


@log_softmax.kernel
def _(x: Operand, out: Operand, *, axis: int) -> Call:
    return _calls(_log_softmax_rows, _log_softmax_columns, x, out, axis)


@hardmax.kernel
def _(x: Operand, out: Operand, *, axis: int) -> Call:
    outer, extent, inner = x.split(axis).shape
    return Call(_hardmax, (x.split(axis), out.split(axis)), items=outer, chunk=extent * inner)


softmax.samples = [
    sample(tensor((1, 3, 300)), axis=1),
    sample(tensor((700, 9))),
    sample(tensor((2, 3, 4)), axis=1),
    sample(tensor((5, 7))),
    sample(tensor((0, 3))),
    sample(tensor((3, 0))),
    sample(values([[1e4, -1e4, 0.0], [-np.inf, 0.0, 1.0]])),
    sample(tensor((5, 9), "float64")),
    sample(tensor((4, 6), "float16")),
    sample(tensor((4, 6), "bfloat16")),
]
log_softmax.samples = [*softmax.samples]
hardmax.samples = [
    *softmax.samples,
    sample(values([[1.0, 3.0, 3.0], [np.nan, 0.0, 1.0], [0.0, np.nan, np.nan]])),
    sample(values([[1.0, 3.0, 3.0], [-np.inf, -np.inf, -np.inf]]), axis=0),
    sample(values([[-np.inf, -np.inf, -np.inf]])),
]
