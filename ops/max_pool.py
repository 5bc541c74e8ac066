"""Maximum pooling over one to three spatial dimensions, and undoing it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir import Array, Call, Extent, ModelError, Operand, TensorType, unify
from ..ir.data_type import INTEGERS
from .correlation import triple
from .define import operator
from .pool import WINDOWS, plane_call, pool_cost, pool_counts, pool_window, pooled
from .pool_kernels import max_pool_places_plane, max_pool_plane, unpool
from .samples import sample, tensor, values
from .spatial import padded, tap


def lowest(dtype: str) -> float | int:
    """The number that loses against every other of an element type."""
    return int(np.iinfo(dtype).min) if dtype in INTEGERS else -np.inf


@operator(traits=("pool",))
def max_pool(
    x: Array,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    pads_begin: Sequence[Extent] = (),
    pads_end: Sequence[Extent] = (),
    ceil_mode: bool = False,
) -> Array:
    """The largest element of each window; padding never wins, NaN always (ONNX MaxPool-22).

    ``strides`` and ``dilations`` left empty are 1, paddings 0. With ``ceil_mode`` a last window
    may reach over the end if it starts inside the input or the padding before it.
    """
    window = pool_window(
        "max_pool", TensorType.of(x), kernel, strides, dilations, pads_begin, pads_end
    )
    counts = pool_counts("max_pool", x, window, ceil_mode)
    source = padded(x, window, counts, lowest(x.dtype.name))
    result = np.full((*x.shape[:2], *counts), lowest(x.dtype.name), x.dtype)
    for offsets in np.ndindex(*kernel):
        result = np.maximum(result, tap(source, window, counts, offsets))
    return np.asarray(result)


@max_pool.infer
def _(
    x: TensorType,
    *,
    ceil_mode: bool,
    **sliding: Any,
) -> TensorType:
    window = pool_window("max_pool", x, **sliding)
    if x.dtype == "bool":
        raise ModelError("max_pool does not take bool tensors")
    return pooled("max_pool", x, window, ceil_mode)


@operator(traits=("pool",))
def max_pool_with_indices(
    x: Array,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    pads_begin: Sequence[Extent] = (),
    pads_end: Sequence[Extent] = (),
    ceil_mode: bool = False,
    storage_order: int = 0,
) -> tuple[Array, Array]:
    """Like ``max_pool``, with the place of each maximum in the flat input (ONNX MaxPool-22).

    The first of equal maxima counts, and the first NaN. Places number the elements of ``x``
    row by row (``storage_order`` 0), or within each channel column by column (1). A window
    without any element has the place -1.
    """
    what = "max_pool_with_indices"
    window = pool_window(what, TensorType.of(x), kernel, strides, dilations, pads_begin, pads_end)
    counts = pool_counts(what, x, window, ceil_mode)
    smallest = lowest(x.dtype.name)
    source = padded(x, window, counts, smallest)
    spatial = x.shape[2:]
    plane = np.arange(math.prod(spatial)).reshape(spatial, order="F" if storage_order else "C")
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(spatial))
    places = padded((planes * math.prod(spatial) + plane).astype(np.int64), window, counts, -1)
    best = np.full((*x.shape[:2], *counts), smallest, x.dtype)
    where = np.full(best.shape, -1, np.int64)
    for offsets in np.ndindex(*kernel):
        here, place = (tap(array, window, counts, offsets) for array in (source, places))
        better = (
            (here > best) | (np.isnan(here) & ~np.isnan(best))
            if here.dtype.kind not in "iu"
            else here > best
        )
        better = (place >= 0) & (better | (where < 0))
        best, where = np.where(better, here, best), np.where(better, place, where)
    return best, where


@max_pool_with_indices.infer
def _(
    x: TensorType,
    *,
    ceil_mode: bool,
    storage_order: int,
    **sliding: Any,
) -> tuple[TensorType, TensorType]:
    what = "max_pool_with_indices"
    window = pool_window(what, x, **sliding)
    if x.dtype == "bool":
        raise ModelError(f"{what} does not take bool tensors")
    if storage_order not in (0, 1):
        raise ModelError(f"{what}: storage_order {storage_order} is neither 0 nor 1")
    values_type = pooled(what, x, window, ceil_mode)
    return values_type, values_type.with_dtype("int64")


@operator(traits=("pool",))
def max_unpool(x: Array, places: Array, *, spatial: Sequence[Extent]) -> Array:
    """Puts each element of ``x`` back where ``max_pool_with_indices`` found it; zeros elsewhere.

    ONNX MaxUnpool-22; ``spatial`` are the spatial extents of the result, in which ``places``
    number the elements row by row. Raises when a place is outside the result.
    """
    result = np.zeros((*x.shape[:2], *spatial), x.dtype)
    flat = result.reshape(-1)
    if places.size and not 0 <= places.min() <= places.max() < flat.size:
        raise ModelError("max_unpool: a place lies outside the result")
    flat[places.reshape(-1)] = x.reshape(-1)
    return result


@max_unpool.infer
def _(x: TensorType, places: TensorType, *, spatial: Sequence[Extent]) -> TensorType:
    if places.dtype != "int64" or places.rank != x.rank:
        raise ModelError(f"max_unpool: places {places} for {x}")
    for left, right in zip(x.shape, places.shape, strict=True):
        unify(left, right, "max_unpool")
    if x.rank < 2 or len(spatial) != x.rank - 2:
        raise ModelError(f"max_unpool: spatial extents {tuple(spatial)} for {x}")
    return x.with_shape((*x.shape[:2], *spatial))


@max_pool.kernel
def _(
    x: Operand,
    out: Operand,
    *,
    ceil_mode: bool,
    **sliding: Any,
) -> Call:
    window = pool_window("max_pool", x.type, **sliding)
    return plane_call(max_pool_plane, x, [out], window, [lowest(x.dtype)])


@max_pool_with_indices.kernel
def _(
    x: Operand,
    out: Operand,
    places: Operand,
    *,
    ceil_mode: bool,
    storage_order: int,
    **sliding: Any,
) -> Call:
    what = "max_pool_with_indices"
    window = pool_window(what, x.type, **sliding)
    d, h, w = triple(x.shape[2:])
    steps: tuple[Extent, ...] = (h * w, w, 1)
    if storage_order:
        steps = {3: (1, d, d * h), 2: (1, 1, h)}.get(x.rank - 2, (1, 1, 1))
    more = (lowest(x.dtype), *steps)
    return plane_call(max_pool_places_plane, x, [out, places], window, more)


@max_unpool.kernel
def _(x: Operand, places: Operand, out: Operand, *, spatial: Sequence[Extent]) -> Call:
    return Call(
        unpool,
        (x.flat(), places.flat(), out.flat()),
        error="a place lies outside the result",
    )


for _op in (max_pool, max_pool_with_indices):
    _op.cost(pool_cost)

_INTEGERS: list[tuple[Array, dict[str, Any]]] = [
    (tensor((1, 2, 5, 5), "int8", -128, 127), {"kernel": (2, 3), "pads_begin": (1, 1)}),
    (tensor((1, 2, 5, 5), "uint8", 0, 255), {"kernel": (2, 3), "pads_begin": (1, 1)}),
    (
        values([[[[1.0, np.nan, 3.0], [-np.inf, -np.inf, np.inf], [0.0, 5.0, 5.0]]]]),
        {"kernel": (2, 2)},
    ),
    (values([[[[-np.inf, -np.inf, 2.0], [-np.inf, -np.inf, 2.0]]]]), {"kernel": (2, 2)}),
]
max_pool.samples = [sample(x, **attributes) for x, attributes in [*WINDOWS, *_INTEGERS]]
max_pool_with_indices.samples = [
    sample(x, **attributes, storage_order=number % 2)
    for number, (x, attributes) in enumerate([*WINDOWS, *_INTEGERS, *WINDOWS[1::2], *WINDOWS[:6:2]])
]
max_unpool.samples = [
    sample(tensor((1, 1, 2, 2)), values([[[[5, 7], [13, 15]]]], "int64"), spatial=(4, 4)),
    sample(tensor((1, 2, 2)), values([[[1, 0], [5, 3]]], "int64"), spatial=(3,)),
    sample(tensor((1, 2, 0)), tensor((1, 2, 0), "int64"), spatial=(3,)),
    sample(tensor((1, 1, 2, 2), "int8"), values([[[[5, 7], [3, 0]]]], "int64"), spatial=(2, 5)),
]
