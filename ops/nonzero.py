"""Operators whose results have a number of elements that only a run tells.

Their outputs have the largest possible extents, and a last output, an int64 tensor of one
element, says how many are used; the others are 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir import Array, Call, ModelError, Operand, TensorType, dim, workspace
from ..ir.data_type import is_float
from .create import extents_calls
from .define import operator
from .samples import sample, tensor, values

# --- nonzero -----------------------------------------------------------------------------


@operator
def nonzero(x: Array) -> tuple[Array, Array]:
    """Indices of the elements that are not 0, one column each, in order (ONNX NonZero-13).

    int64 of shape [rank, size], where a 0-d tensor counts as one of one element; and their
    number.
    """
    seen = np.atleast_1d(x)
    found = np.stack(np.nonzero(seen)).astype(np.int64)
    result = np.zeros((seen.ndim, seen.size), np.int64)
    result[:, : found.shape[1]] = found
    return result, np.array([found.shape[1]], np.int64)


@nonzero.infer
def _(x: TensorType) -> tuple[TensorType, TensorType]:
    return TensorType("int64", (max(x.rank, 1), x.size)), TensorType("int64", (1,))


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _find_nonzero(item, x, extents, out, number):  # type: ignore[no-untyped-def]
    rank, size = out.shape
    count = 0
    nothing = x.dtype.type(0)
    for place in range(size):
        if x[place] != nothing:
            rest = place
            for k in range(rank):
                axis = rank - 1 - k
                extent = max(extents[axis], 1)
                out[axis, count] = rest % extent
                rest = rest // extent
            count += 1
    for axis in range(rank):
        for place in range(count, size):
            out[axis, place] = 0
    number[0] = count


@nonzero.kernel
def _(x: Operand, out: Operand, number: Operand) -> list[Call]:
    calls, held = extents_calls(x.shape or (1,))
    return [*calls, Call(_find_nonzero, (x.flat(), held, out.whole(), number.whole()))]


nonzero.samples = [
    sample(tensor((3, 4), "bool")),
    sample(values([[0.0, -0.0, np.nan], [1.0, 0.0, -2.0]])),
    sample(tensor((2, 3, 4), "int64", -1, 1)),
    sample(tensor((5,), "uint8", 0, 1)),
    sample(values(3.0)),
    sample(values(0, "int32")),
    sample(tensor((0, 3))),
    sample(values([0.0, 1.0, 0.0], "float16")),
    sample(values([0.0, 1.0], "float64")),
]


# --- compress ----------------------------------------------------------------------------


@operator(traits=("movement",))
def compress(x: Array, condition: Array, *, axis: int | None = None) -> tuple[Array, Array]:
    """The slices of ``x`` along ``axis`` (elements of the flat ``x`` without one) where the
    boolean ``condition`` holds, and their number (ONNX Compress-11).

    A condition that is shorter than the axis leaves the rest out; a longer one is an error. The
    first output has as many slices as the condition has elements.
    """
    if axis is None:
        x, axis = x.reshape(-1), 0
    if len(condition) > x.shape[axis]:
        raise ModelError(f"compress: {len(condition)} conditions for {x.shape[axis]} slices")
    places = np.flatnonzero(condition)
    kept = np.moveaxis(np.take(x, places, axis), axis, 0)
    result = np.zeros((len(condition), *kept.shape[1:]), x.dtype)
    result[: len(places)] = kept
    return np.ascontiguousarray(np.moveaxis(result, 0, axis)), np.array([len(places)], np.int64)


@compress.infer
def _(x: TensorType, condition: TensorType, *, axis: int | None) -> tuple[TensorType, TensorType]:
    if condition.dtype != "bool" or condition.rank != 1 or (axis is not None and x.rank == 0):
        raise ModelError(f"compress: {x} with the condition {condition}")
    shape = [x.size] if axis is None else list(x.shape)
    place = 0 if axis is None else x.axis(axis)
    _, most = dim.bounds(shape[place] - condition.shape[0])
    if most is not None and most < 0:
        raise ModelError(f"compress: the condition {condition} is longer than {shape[place]}")
    shape[place] = condition.shape[0]
    return x.with_shape(shape), TensorType("int64", (1,))


def _choose(item, condition, places, number, extent):  # type: ignore[no-untyped-def]
    if condition.shape[0] > extent:
        return 1
    count = 0
    for k in range(condition.shape[0]):
        if condition[k] != 0:
            places[count] = k
            count += 1
    for k in range(count, condition.shape[0]):
        places[k] = 0
    number[0] = count
    return 0


def _keep(item, x, places, number, out):  # type: ignore[no-untyped-def]
    outer, slot = item // out.shape[1], item % out.shape[1]
    nothing = out.dtype.type(0)
    if slot < np.int64(number[0]):
        place = np.int64(places[slot])
        for k in range(out.shape[2]):
            out[outer, slot, k] = x[outer, place, k]
    else:
        for k in range(out.shape[2]):
            out[outer, slot, k] = nothing


@compress.kernel
def _(
    x: Operand, condition: Operand, out: Operand, number: Operand, *, axis: int | None
) -> list[Call]:
    seen = x.view(1, x.size, 1) if axis is None else x.split(axis)
    outer, extent, inner = seen.shape
    count = condition.size
    places = workspace("places", "int64", (count,))
    return [
        Call(
            _choose,
            (condition.flat(), places, number.whole()),
            scalars=(extent,),
            error=f"compress: the condition is longer than the {extent} slices",
        ),
        Call(
            _keep,
            (seen, places, number.whole(), out.view(outer, count, inner)),
            items=outer * count,
            chunk=inner,
        ),
    ]


compress.samples = [
    sample(tensor((3, 4)), values([True, False, True], "bool"), axis=0),
    sample(tensor((3, 4), "float16"), values([False, True], "bool"), axis=1),
    sample(tensor((3, 4), "int64"), values([False, True, True, False, True], "bool")),
    sample(tensor((2, 3, 2), "bool"), values([False, False, True], "bool"), axis=-2),
    sample(tensor((3, 4)), values([], "bool"), axis=0),
    sample(tensor((0, 4)), values([True, False], "bool"), axis=1),
]


# --- unique ------------------------------------------------------------------------------


@operator
def unique(x: Array, *, sorted: bool = True) -> tuple[Array, Array, Array, Array, Array]:
    """The distinct elements of the flat ``x`` (ONNX Unique-11 without an axis).

    Outputs: the elements, in ascending order or (not ``sorted``) in the order in which they
    appear; the int64 index of the first of each; for every element of ``x`` which of them it
    is; how many there are of each; and the number of distinct elements. All NaN are equal and
    come last.
    """
    flat = x.reshape(-1)
    wide = flat.astype(np.float64) if is_float(x.dtype.name) else flat
    found, first, inverse, counts = np.unique(
        wide, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.arange(len(found)) if sorted else np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    results = [np.zeros(flat.size, dtype) for dtype in (x.dtype, np.int64, np.int64)]
    for result, items in zip(results, (flat[first], first, counts), strict=True):
        result[: len(order)] = items[order]
    places = rank[inverse.reshape(-1)].astype(np.int64)
    return results[0], results[1], places, results[2], np.array([len(order)], np.int64)


@unique.infer
def _(x: TensorType, *, sorted: bool) -> tuple[TensorType, ...]:
    row = x.with_shape((x.size,))
    whole = row.with_dtype("int64")
    return row, whole, whole, whole, TensorType("int64", (1,))


def _precedes(a: Any, i: Any, b: Any, j: Any) -> Any:
    if a != a or b != b:
        return (b != b and a == a) or (a != a and b != b and i < j)
    return a < b or (a == b and i < j)


@functools.cache
def _unique_body(is_sorted: bool) -> Callable[..., Any]:
    def sink(x: Any, order: Any, root: Any, count: Any) -> None:
        """Restore the heap below ``root``: no element precedes those below it."""
        place = order[root]
        child = 2 * root + 1
        while child < count:
            at = order[child]
            if child + 1 < count:
                other = order[child + 1]
                if _precedes(x[at], at, x[other], other):
                    at = other
                    child = child + 1
            if not _precedes(x[place], place, x[at], at):
                break
            order[root] = at
            root = child
            child = 2 * root + 1
        order[root] = place

    def find_unique(  # type: ignore[no-untyped-def]
        item, x, order, renamed, found, first, inverse, counts, number
    ):  # fmt: skip
        size = x.shape[0]
        for k in range(size):
            order[k] = k
        for k in range(size // 2):
            sink(x, order, size // 2 - 1 - k, size)
        for k in range(size - 1):
            last = size - 1 - k
            place = order[last]
            order[last] = order[0]
            order[0] = place
            sink(x, order, 0, last)
        count = 0
        for k in range(size):
            place = order[k]
            if k > 0:
                v, before = x[place], x[order[k - 1]]
                same = v == before or (v != v and before != before)
            else:
                same = False
            if not same:
                found[count] = x[place]
                first[count] = place
                counts[count] = 0
                count += 1
            inverse[place] = count - 1
            counts[count - 1] += 1
        if not is_sorted:
            # Sorted numbers are renamed in the order of appearance; order holds the counts.
            for k in range(count):
                order[k] = counts[k]
            seen = 0
            for place in range(size):
                old = inverse[place]
                if first[old] == place:
                    renamed[old] = seen
                    found[seen] = x[place]
                    counts[seen] = order[old]
                    seen += 1
                inverse[place] = renamed[old]
            seen = 0
            for place in range(size):
                if inverse[place] == seen:
                    first[seen] = place
                    seen += 1
        for k in range(count, size):
            found[k] = x.dtype.type(0)
            first[k] = 0
            counts[k] = 0
        number[0] = count

    return find_unique


@unique.kernel
def _(
    x: Operand,
    found: Operand,
    first: Operand,
    inverse: Operand,
    counts: Operand,
    number: Operand,
    *,
    sorted: bool,
) -> Call:
    outputs = (found.flat(), first.flat(), inverse.flat(), counts.flat(), number.flat())
    scratch = (workspace("order", "int64", (x.size,)), workspace("renamed", "int64", (x.size,)))
    return Call(_unique_body(sorted), (x.flat(), *scratch, *outputs))


for _sorted in (True, False):
    unique.samples += [
        sample(values([3.0, 1.0, 3.0, -2.0, 1.0, 1.0, 7.0]), sorted=_sorted),
        sample(values([np.nan, 1.0, np.nan, -np.inf, 0.0, -0.0, 1.0]), sorted=_sorted),
        sample(tensor((4, 5), "int64", -3, 3), sorted=_sorted),
        sample(tensor((20,), "uint8", 0, 5), sorted=_sorted),
        sample(tensor((5,), "bool"), sorted=_sorted),
        sample(values([2.0, 1.0, 2.0], "float16"), sorted=_sorted),
        sample(values(4, "int32"), sorted=_sorted),
        sample(tensor((0,)), sorted=_sorted),
    ]
