"""Writing elements into a copy of a tensor by index.

Negative indices count from the end; an index outside its axis is an error. Where several updates
meet one element the later wins, or all are combined in their order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir import Array, Call, Extent, ModelError, Operand, TensorType, unify
from ..ir.dim import ceil_divide, product
from .create import extents_calls
from .define import operator
from .gather import (
    check_elements,
    check_tuples,
    index_bounds,
    lines,
    place_of,
    row_of,
    rows_of,
    wrapped,
)
from .samples import sample, tensor, values
from .strided_copy import strided_copy

_BLOCK = 1024  # elements of the slices that one item of scatter_nd writes


# Type annotations are left out of kernel bodies and their pieces: Numba infers them.
def _replace(old, update):  # type: ignore[no-untyped-def]
    return update


def _add(old, update):  # type: ignore[no-untyped-def]
    return old + update


def _multiply(old, update):  # type: ignore[no-untyped-def]
    return old * update


def _maximum(old, update):  # type: ignore[no-untyped-def]
    larger = update if update > old else old
    return update if update != update else larger


def _minimum(old, update):  # type: ignore[no-untyped-def]
    smaller = update if update < old else old
    return update if update != update else smaller


# Name -> (what a kernel applies, what a reference applies).
_REDUCTIONS: dict[str, tuple[Callable[..., Any], Any]] = {
    "none": (_replace, None),
    "add": (_add, np.add),
    "mul": (_multiply, np.multiply),
    "max": (_maximum, np.maximum),
    "min": (_minimum, np.minimum),
}


def _check(what: str, x: TensorType, updates: TensorType, reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise ModelError(f"{what}: there is no reduction {reduction!r}")
    if x.dtype != updates.dtype or (x.dtype == "bool" and reduction != "none"):
        raise ModelError(f"{what}: {x} cannot take updates {updates} with {reduction!r}")


def _scattered(x: Array, places: Any, updates: Array, reduction: str) -> Array:
    # bfloat16 has no unbuffered ufuncs, and halves are combined in float32 by targets, too
    half = x.dtype.name in ("float16", "bfloat16")
    result = x.astype(np.float32) if half else x.copy()
    function = _REDUCTIONS[reduction][1]
    if function is None:
        result[places] = updates
    else:
        function.at(result, places, updates.astype(result.dtype))
    return np.asarray(result.astype(x.dtype))


def _copied(x: Operand, out: Operand) -> Call:
    return strided_copy(x.flat(), out.flat(), (x.size,), (1,), (1,))


# --- scatter_elements --------------------------------------------------------------------


@operator
def scatter_elements(
    x: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none"
) -> Array:
    """``x`` with ``x[i, indices[i, j, k], k]`` set to ``updates[i, j, k]`` (``axis`` 1).

    ONNX ScatterElements-18. ``reduction`` "add", "mul", "max" or "min" combines the update
    with what is there.
    """
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = wrapped("scatter_elements", indices, x.shape[axis])
    return _scattered(x, tuple(places), updates, reduction)


@scatter_elements.infer
def _(
    x: TensorType, indices: TensorType, updates: TensorType, *, axis: int, reduction: str
) -> TensorType:
    _check("scatter_elements", x, updates, reduction)
    check_elements("scatter_elements", x, indices, axis)
    if indices.rank != updates.rank:
        raise ModelError(f"scatter_elements: {indices} and {updates} do not fit")
    for mine, theirs in zip(indices.shape, updates.shape, strict=True):
        unify(mine, theirs, "scatter_elements: one index an update")
    return x


@functools.cache
def _line_body(combine: Any) -> Callable[..., Any]:
    def scatter_line(  # type: ignore[no-untyped-def]
        item, indices, updates, out, extent, count, limit, modulus,
        n0, n1, n2, n3, n4, n5, n6, n7,
        e0, e1, e2, e3, e4, e5, e6, e7,
        s0, s1, s2, s3, s4, s5, s6, s7,
        t0, t1, t2, t3, t4, t5, t6, t7,
        step, index_step,
    ):  # fmt: skip
        rest = item
        i6 = rest % n6
        rest = rest // n6
        i5 = rest % n5
        rest = rest // n5
        i4 = rest % n4
        rest = rest // n4
        i3 = rest % n3
        rest = rest // n3
        i2 = rest % n2
        rest = rest // n2
        i1 = rest % n1
        i0 = rest // n1
        if i0 >= e0 or i1 >= e1 or i2 >= e2 or i3 >= e3 or i4 >= e4 or i5 >= e5 or i6 >= e6:
            return 1
        if n7 > e7:
            return 1
        first = i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3 + i4 * s4 + i5 * s5 + i6 * s6
        source = i0 * t0 + i1 * t1 + i2 * t2 + i3 * t3 + i4 * t4 + i5 * t5 + i6 * t6
        for j in range(count):
            for k in range(n7):
                at = source + j * index_step + k * t7
                place = place_of(indices[at], extent, limit, modulus)
                if place < 0:
                    return 1
                into = first + place * step + k * s7
                out[into] = combine(out[into], updates[at])
        return 0

    return scatter_line


@scatter_elements.kernel
def _(
    x: Operand, indices: Operand, updates: Operand, out: Operand, *, axis: int, reduction: str
) -> list[Call]:
    axis = x.type.axis(axis)
    items, located = lines("scatter_elements", x, indices, axis)
    bounds = index_bounds(indices.dtype)
    # An item has whole lines along the axis to itself, so no two write the same element.
    call = Call(
        _line_body(_REDUCTIONS[reduction][0]),
        (indices.flat(), updates.flat(), out.flat()),
        items=items,
        scalars=(x.shape[axis], indices.shape[axis], *bounds, *located),
        error=f"scatter_elements: an index is outside the {x.shape[axis]} elements of axis {axis}",
    )
    return [_copied(x, out), call]


for _reduction in _REDUCTIONS:
    scatter_elements.samples += [
        sample(
            tensor((4, 5)),
            tensor((3, 5), "int64", -4, 3),
            tensor((3, 5), seed=1),
            axis=0,
            reduction=_reduction,
        ),
        sample(
            tensor((3, 4, 5), "int8", -100, 100),
            tensor((2, 6, 3), "int32", -4, 3),
            tensor((2, 6, 3), "int8", -100, 100, seed=1),
            axis=1,
            reduction=_reduction,
        ),
        sample(
            tensor((3, 5), "float16"),
            tensor((3, 2), "int64", -5, 4),
            tensor((3, 2), "float16", seed=1),
            axis=-1,
            reduction=_reduction,
        ),
    ]
scatter_elements.samples += [
    sample(tensor((4,), "bool"), values([-1, 0], "int64"), values([True, True], "bool")),
    sample(tensor((4,), "bfloat16"), values([2], "int64"), values([9.0], "bfloat16")),
    sample(tensor((4,)), tensor((0,), "int64"), tensor((0,))),
    sample(values([1.0, np.nan]), values([0, 1], "int64"), values([np.nan, 0.0]), reduction="max"),
]


# --- scatter_nd --------------------------------------------------------------------------


@operator
def scatter_nd(x: Array, indices: Array, updates: Array, *, reduction: str = "none") -> Array:
    """``x`` with the slices at the tuples in the last axis of ``indices`` replaced by
    ``updates``, or combined with them (ONNX ScatterND-18).
    """
    depth = indices.shape[-1]
    extents, inner = x.shape[:depth], x.shape[depth:]
    rows = rows_of("scatter_nd", extents, indices).reshape(-1)
    seen = x.reshape(int(np.prod(extents, dtype=np.int64)), *inner)
    return _scattered(seen, rows, updates.reshape(len(rows), *inner), reduction).reshape(x.shape)


@scatter_nd.infer
def _(x: TensorType, indices: TensorType, updates: TensorType, *, reduction: str) -> TensorType:
    _check("scatter_nd", x, updates, reduction)
    _, inner = check_tuples("scatter_nd", x, indices, 0)
    wanted = (*indices.shape[:-1], *inner)
    if len(wanted) != updates.rank:
        raise ModelError(f"scatter_nd: {x} and {indices} need updates {wanted}, not {updates}")
    for mine, theirs in zip(wanted, updates.shape, strict=True):
        unify(mine, theirs, "scatter_nd: one update a tuple")
    return x


@functools.cache
def _slice_body(combine: Any) -> Callable[..., Any]:
    def scatter_slices(  # type: ignore[no-untyped-def]
        item, indices, extents, updates, out, block, depth, limit, modulus
    ):  # fmt: skip
        begin = item * block
        end = min(begin + block, out.shape[1])
        for slot in range(updates.shape[0]):
            row = row_of(indices, extents, slot * depth, depth, limit, modulus)
            if row < 0:
                return 1 + slot
            for k in range(begin, end):
                out[row, k] = combine(out[row, k], updates[slot, k])
        return 0

    return scatter_slices


@scatter_nd.kernel
def _(
    x: Operand, indices: Operand, updates: Operand, out: Operand, *, reduction: str
) -> list[Call]:
    depth = indices.shape[-1]
    if not isinstance(depth, int):
        raise ModelError("scatter_nd: the length of index tuples must be known")
    rows, inner = product(x.shape[:depth]), product(x.shape[depth:])
    slots = product(indices.shape[:-1])
    calls, held = extents_calls(x.shape[:depth])
    block: Extent = inner if isinstance(inner, int) and 0 < inner < _BLOCK else _BLOCK
    # Items are columns of the slices: two tuples may be equal, so rows cannot be shared out.
    call = Call(
        _slice_body(_REDUCTIONS[reduction][0]),
        (indices.flat(), held, updates.view(slots, inner), out.view(rows, inner)),
        items=ceil_divide(inner, block),
        scalars=(block, depth, *index_bounds(indices.dtype)),
        error="scatter_nd: an index is outside its axis",
    )
    return [*calls, _copied(x, out), call]


for _reduction in _REDUCTIONS:
    scatter_nd.samples += [
        sample(
            tensor((4, 5)),
            values([[1], [-1], [1]], "int64"),
            tensor((3, 5), seed=1),
            reduction=_reduction,
        ),
        sample(
            tensor((4, 5), "int64", -9, 9),
            values([[[1, 0], [-1, -5]]], "int32"),
            tensor((1, 2), "int64", -9, 9, seed=1),
            reduction=_reduction,
        ),
        sample(
            tensor((4, 3), "float16"),
            values([[1], [1]], "int64"),
            tensor((2, 3), "float16", seed=1),
            reduction=_reduction,
        ),
    ]
scatter_nd.samples += [
    sample(tensor((4,), "bool"), values([[0]], "int64"), values([True], "bool")),
    sample(tensor((4, 2), "bfloat16"), values([[0]], "int64"), tensor((1, 2), "bfloat16", seed=1)),
    sample(tensor((4, 2)), tensor((0, 1), "int64"), tensor((0, 2))),
    sample(tensor((4, 2)), tensor((1, 0), "int64"), tensor((1, 4, 2), seed=1)),
]
