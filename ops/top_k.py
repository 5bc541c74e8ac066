"""The largest or smallest elements along an axis."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir import Array, Call, Extent, ModelError, Operand, TensorType, dim
from ..ir.data_type import is_float, kind_of
from .define import numbers, operator
from .samples import sample, tensor, values


@operator
def top_k(
    x: Array, *, k: Extent, axis: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Array, Array]:
    """The ``k`` largest (or smallest) elements along ``axis`` and their int64 indices.

    ONNX TopK-24. Of equal elements the one with the lower index comes first. NaN counts as
    larger than any number. The results are in order whether ``sorted`` asks for it or not.
    """
    wide = x.astype(np.float64) if is_float(x.dtype.name) else x
    # A stable order of the reversed axis, reversed, is descending with lower indices first.
    if largest:
        order = np.argsort(np.flip(wide, axis), axis=axis, kind="stable")
        order = np.flip(x.shape[axis] - 1 - order, axis)
    else:
        order = np.argsort(wide, axis=axis, kind="stable")
    first = np.take(order, np.arange(*numbers((k,))), axis=axis).astype(np.int64)
    return np.take_along_axis(x, first, axis), first


@top_k.infer
def _(
    x: TensorType, *, k: Extent, axis: int, largest: bool, sorted: bool
) -> tuple[TensorType, TensorType]:
    axis = x.axis(axis)
    if kind_of(x.dtype) == "bool" or x.rank == 0:
        raise ModelError(f"top_k does not take {x}")
    _, high = dim.bounds(x.shape[axis] - k)
    if (isinstance(k, int) and k < 0) or (high is not None and high < 0):
        raise ModelError(f"top_k: there are no {k} elements along axis {axis} of {x}")
    shape = list(x.shape)
    shape[axis] = k
    return x.with_shape(shape), TensorType("int64", tuple(shape))


# --- kernels; type annotations are left out: Numba infers them ---------------------------


def _larger(a, i, b, j):  # type: ignore[no-untyped-def]
    """True when element a at i comes before element b at j."""
    if a != a or b != b:
        return (a != a and b == b) or (a != a and b != b and i < j)
    return a > b or (a == b and i < j)


def _smaller(a, i, b, j):  # type: ignore[no-untyped-def]
    if a != a or b != b:
        return (b != b and a == a) or (a != a and b != b and i < j)
    return a < b or (a == b and i < j)


@functools.cache
def _body(comes_before: Any) -> Callable[..., Any]:
    def sink(found: Any, places: Any, outer: Any, inner: Any, root: Any, count: Any) -> None:
        """Restore the heap below ``root``: no element comes before those below it."""
        v, i = found[outer, root, inner], places[outer, root, inner]
        child = 2 * root + 1
        while child < count:
            w, j = found[outer, child, inner], places[outer, child, inner]
            if child + 1 < count:
                other, k = found[outer, child + 1, inner], places[outer, child + 1, inner]
                if comes_before(w, j, other, k):
                    w, j = other, k
                    child = child + 1
            if not comes_before(v, i, w, j):
                break
            found[outer, root, inner] = w
            places[outer, root, inner] = j
            root = child
            child = 2 * root + 1
        found[outer, root, inner] = v
        places[outer, root, inner] = i

    def find_first(item, x, found, places):  # type: ignore[no-untyped-def]
        outer = item // x.shape[2]
        inner = item % x.shape[2]
        extent, count = x.shape[1], found.shape[1]
        if count > extent:
            return 1
        if count == 0:
            return 0
        # A heap of the best so far, the worst of them on top.
        for n in range(count):
            found[outer, n, inner] = x[outer, n, inner]
            places[outer, n, inner] = n
        for n in range(count // 2):
            sink(found, places, outer, inner, count // 2 - 1 - n, count)
        for n in range(count, extent):
            v = x[outer, n, inner]
            if comes_before(v, n, found[outer, 0, inner], places[outer, 0, inner]):
                found[outer, 0, inner] = v
                places[outer, 0, inner] = n
                sink(found, places, outer, inner, 0, count)
        # The worst is taken off the heap again and again and put behind it.
        for n in range(count - 1):
            last = count - 1 - n
            v, i = found[outer, last, inner], places[outer, last, inner]
            found[outer, last, inner] = found[outer, 0, inner]
            places[outer, last, inner] = places[outer, 0, inner]
            found[outer, 0, inner] = v
            places[outer, 0, inner] = i
            sink(found, places, outer, inner, 0, last)
        return 0

    return find_first


@top_k.kernel
def _(
    x: Operand,
    found: Operand,
    places: Operand,
    *,
    k: Extent,
    axis: int,
    largest: bool,
    sorted: bool,
) -> Call:
    seen = x.split(axis)
    return Call(
        _body(_larger if largest else _smaller),
        (seen, found.split(axis), places.split(axis)),
        items=seen.shape[0] * seen.shape[2],
        error=f"top_k: there are fewer than k = {k} elements along axis {axis}",
    )


_special = values([[3.0, np.nan, 3.0, -np.inf, np.nan, 7.0, np.inf], [0.0, -0.0, 1, 1, 1, 0, 2]])
for _largest in (True, False):
    top_k.samples += [
        sample(tensor((3, 11)), k=4, largest=_largest),
        sample(tensor((11, 3)), k=11, axis=0, largest=_largest),
        sample(tensor((2, 9, 3), "int64", -3, 3), k=5, axis=1, largest=_largest),
        sample(_special, k=7, largest=_largest),
        sample(_special, k=3, largest=_largest, sorted=False),
        sample(tensor((3, 20), "uint8", 0, 5), k=6, largest=_largest),
        sample(tensor((20,), "uint64", 0, 5), k=6, largest=_largest),
        sample(tensor((4, 7), "float16"), k=2, largest=_largest),
        sample(tensor((4, 7), "float64"), k=1, largest=_largest),
        sample(tensor((3, 4)), k=0, largest=_largest),
        sample(tensor((0, 4)), k=2, largest=_largest),
    ]
