"""Maximum, average and Lp pooling over one to three spatial dimensions, and undoing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir import (
    Array,
    Call,
    Cost,
    Extent,
    ModelError,
    Operand,
    TensorType,
    UnsupportedError,
    unify,
)
from ..ir.data_type import INTEGERS, is_float
from ..ir.dim import product
from .define import operator
from .correlation import triple
from .half import widened
from .pool_kernels import (
    average_pool_plane,
    lp_pool_plane,
    max_pool_places_plane,
    max_pool_plane,
    unpool,
)
from .samples import sample, tensor, values
from .spatial import Window, make_window, output_extents, padded, spatial_extents, tap


def lowest(dtype: str) -> float | int:
    """The number that loses against every other of an element type."""
    return int(np.iinfo(dtype).min) if dtype in INTEGERS else -np.inf


def _window(
    what: str,
    x: TensorType,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
) -> Window:
    spatial = spatial_extents(what, x)
    if len(kernel) != len(spatial):
        raise ModelError(f"{what}: a kernel {tuple(kernel)} for {x}")
    if not all(isinstance(extent, int) for extent in kernel):
        raise UnsupportedError(f"{what}: symbolic kernel {tuple(kernel)}")
    return make_window(what, kernel, strides, dilations, pads_begin, pads_end)


def _counts(what: str, x: Array, window: Window, ceil_mode: bool) -> list[int]:
    return [int(n) for n in output_extents(what, x.shape[2:], window, ceil_mode)]  # type: ignore[arg-type]


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
    window = _window("max_pool", TensorType.of(x), kernel, strides, dilations, pads_begin, pads_end)
    counts = _counts("max_pool", x, window, ceil_mode)
    source = padded(x, window, counts, lowest(x.dtype.name))
    result = np.full((*x.shape[:2], *counts), lowest(x.dtype.name), x.dtype)
    for offsets in np.ndindex(*kernel):
        result = np.maximum(result, tap(source, window, counts, offsets))
    return np.asarray(result)


def _infer_pool(what: str, x: TensorType, window: Window, ceil_mode: bool) -> TensorType:
    return x.with_shape((*x.shape[:2], *output_extents(what, x.shape[2:], window, ceil_mode)))


@max_pool.infer
def _(
    x: TensorType,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
    ceil_mode: bool,
) -> TensorType:
    window = _window("max_pool", x, kernel, strides, dilations, pads_begin, pads_end)
    if x.dtype == "bool":
        raise ModelError("max_pool does not take bool tensors")
    return _infer_pool("max_pool", x, window, ceil_mode)


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
    window = _window(what, TensorType.of(x), kernel, strides, dilations, pads_begin, pads_end)
    counts = _counts(what, x, window, ceil_mode)
    smallest = lowest(x.dtype.name)
    source = padded(x, window, counts, smallest)
    spatial = x.shape[2:]
    plane = np.arange(product(spatial)).reshape(spatial, order="F" if storage_order else "C")
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(spatial))
    places = padded((planes * int(product(spatial)) + plane).astype(np.int64), window, counts, -1)
    best = np.full((*x.shape[:2], *counts), smallest, x.dtype)
    where = np.full(best.shape, -1, np.int64)
    for offsets in np.ndindex(*kernel):
        here, place = (tap(array, window, counts, offsets) for array in (source, places))
        better = (here > best) | (np.isnan(here) & ~np.isnan(best)) if here.dtype.kind not in "iu" else here > best
        better = (place >= 0) & (better | (where < 0))
        best, where = np.where(better, here, best), np.where(better, place, where)
    return best, where


@max_pool_with_indices.infer
def _(
    x: TensorType,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
    ceil_mode: bool,
    storage_order: int,
) -> tuple[TensorType, TensorType]:
    what = "max_pool_with_indices"
    window = _window(what, x, kernel, strides, dilations, pads_begin, pads_end)
    if x.dtype == "bool":
        raise ModelError(f"{what} does not take bool tensors")
    if storage_order not in (0, 1):
        raise ModelError(f"{what}: storage_order {storage_order} is neither 0 nor 1")
    values_type = _infer_pool(what, x, window, ceil_mode)
    return values_type, values_type.with_dtype("int64")


@operator(traits=("pool",))
def average_pool(
    x: Array,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    pads_begin: Sequence[Extent] = (),
    pads_end: Sequence[Extent] = (),
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Array:
    """The mean of each window (ONNX AveragePool-22).

    Elements of padding count as zeros with ``count_include_pad`` and not at all without; what
    a last window of ``ceil_mode`` has beyond the padding never counts.
    """
    what = "average_pool"
    window = _window(what, TensorType.of(x), kernel, strides, dilations, pads_begin, pads_end)
    counts = _counts(what, x, window, ceil_mode)
    wide = widened(x)
    ones = np.ones((1, 1, *x.shape[2:]), wide.dtype)
    if count_include_pad:
        margins = zip(window.begin, window.end, strict=True)
        ones = np.pad(ones, [(0, 0), (0, 0), *margins], constant_values=1)  # type: ignore[arg-type]
        bare = Window(window.kernel, window.strides, window.dilations, (0,) * window.rank, (0,) * window.rank)
        weights = padded(ones, bare, counts, 0)
    else:
        weights = padded(ones, window, counts, 0)
    source = padded(wide, window, counts, 0)
    total = np.zeros((*x.shape[:2], *counts), wide.dtype)
    number = np.zeros((1, 1, *counts), wide.dtype)
    for offsets in np.ndindex(*kernel):
        total = total + tap(source, window, counts, offsets)
        number = number + tap(weights, window, counts, offsets)
    return np.asarray(total / number).astype(x.dtype, copy=False)


@average_pool.infer
def _(
    x: TensorType,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
    ceil_mode: bool,
    count_include_pad: bool,
) -> TensorType:
    window = _window("average_pool", x, kernel, strides, dilations, pads_begin, pads_end)
    if not is_float(x.dtype):
        raise ModelError(f"average_pool takes floating-point tensors, not {x.dtype}")
    return _infer_pool("average_pool", x, window, ceil_mode)


@operator(traits=("pool",))
def lp_pool(
    x: Array,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    pads_begin: Sequence[Extent] = (),
    pads_end: Sequence[Extent] = (),
    ceil_mode: bool = False,
    p: int = 2,
) -> Array:
    """The Lp norm of each window, ``sum(|x| ** p) ** (1 / p)`` (ONNX LpPool-22)."""
    what = "lp_pool"
    window = _window(what, TensorType.of(x), kernel, strides, dilations, pads_begin, pads_end)
    counts = _counts(what, x, window, ceil_mode)
    source = np.abs(padded(widened(x), window, counts, 0)) ** p
    total = np.zeros((*x.shape[:2], *counts), source.dtype)
    for offsets in np.ndindex(*kernel):
        total = total + tap(source, window, counts, offsets)
    return np.asarray(total ** (1.0 / p)).astype(x.dtype, copy=False)


@lp_pool.infer
def _(
    x: TensorType,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
    ceil_mode: bool,
    p: int,
) -> TensorType:
    window = _window("lp_pool", x, kernel, strides, dilations, pads_begin, pads_end)
    if not is_float(x.dtype):
        raise ModelError(f"lp_pool takes floating-point tensors, not {x.dtype}")
    if p < 1:
        raise ModelError(f"lp_pool: p is {p}, not a positive integer")
    return _infer_pool("lp_pool", x, window, ceil_mode)


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


def _geometry(x: Operand, out: Operand, window: Window) -> tuple[Extent, ...]:
    """Extents of the input, the lifted window and extents of the output."""
    lifted = window.lifted()
    moves = (*lifted.kernel, *lifted.strides, *lifted.dilations, *lifted.begin)
    return (*triple(x.shape[2:]), *moves, *triple(out.shape[2:]))


def _plane_call(
    body: Callable[..., object],
    x: Operand,
    outputs: Sequence[Operand],
    window: Window,
    more: Sequence[Extent | float],
) -> Call:
    out = outputs[0]
    return Call(
        body,
        (x.flat(), *(output.flat() for output in outputs)),
        items=x.shape[0] * x.shape[1],
        scalars=(*_geometry(x, out, window), *more),
        chunk=product(out.shape[2:]),
    )


@max_pool.kernel
def _(
    x: Operand,
    out: Operand,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
    ceil_mode: bool,
) -> Call:
    window = _window("max_pool", x.type, kernel, strides, dilations, pads_begin, pads_end)
    return _plane_call(max_pool_plane, x, [out], window, [lowest(x.dtype)])


@max_pool_with_indices.kernel
def _(
    x: Operand,
    out: Operand,
    places: Operand,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
    ceil_mode: bool,
    storage_order: int,
) -> Call:
    what = "max_pool_with_indices"
    window = _window(what, x.type, kernel, strides, dilations, pads_begin, pads_end)
    d, h, w = triple(x.shape[2:])
    steps: tuple[Extent, ...] = (h * w, w, 1)
    if storage_order:
        steps = {3: (1, d, d * h), 2: (1, 1, h)}.get(x.rank - 2, (1, 1, 1))
    more = (lowest(x.dtype), *steps)
    return _plane_call(max_pool_places_plane, x, [out, places], window, more)


@average_pool.kernel
def _(
    x: Operand,
    out: Operand,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
    ceil_mode: bool,
    count_include_pad: bool,
) -> Call:
    window = _window("average_pool", x.type, kernel, strides, dilations, pads_begin, pads_end)
    more = (*window.lifted().end, int(count_include_pad))
    return _plane_call(average_pool_plane, x, [out], window, more)


@lp_pool.kernel
def _(
    x: Operand,
    out: Operand,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
    ceil_mode: bool,
    p: int,
) -> Call:
    window = _window("lp_pool", x.type, kernel, strides, dilations, pads_begin, pads_end)
    return _plane_call(lp_pool_plane, x, [out], window, [p])


@max_unpool.kernel
def _(x: Operand, places: Operand, out: Operand, *, spatial: Sequence[Extent]) -> Call:
    return Call(
        unpool,
        (x.flat(), places.flat(), out.flat()),
        error="a place lies outside the result",
    )


def _pool_cost(x: TensorType, *, kernel: Sequence[int], **others: Any) -> Cost:
    window = _window("a pool", x, kernel, *(others[name] for name in _WINDOW))
    out = _infer_pool("a pool", x, window, others["ceil_mode"])
    return Cost(out.size * product(kernel), x.nbytes + out.nbytes)


_WINDOW = ("strides", "dilations", "pads_begin", "pads_end")
for _op in (max_pool, max_pool_with_indices, average_pool, lp_pool):
    _op.cost(_pool_cost)

_PLANE = tensor((2, 3, 7, 8))
_COMMON: list[tuple[Array, dict[str, object]]] = [
    (_PLANE, {"kernel": (2, 2), "strides": (2, 2)}),
    (_PLANE, {"kernel": (3, 3), "strides": (2, 2), "pads_begin": (1, 1), "pads_end": (1, 1)}),
    (_PLANE, {"kernel": (3, 2), "strides": (2, 3), "pads_begin": (0, 1), "pads_end": (2, 0), "ceil_mode": True}),
    (_PLANE, {"kernel": (2, 3), "dilations": (3, 2), "pads_begin": (1, 0), "pads_end": (1, 2)}),
    (tensor((1, 2, 11)), {"kernel": (3,), "strides": (2,), "pads_begin": (1,), "ceil_mode": True}),
    (tensor((1, 2, 5, 4, 6)), {"kernel": (2, 2, 3), "strides": (2, 1, 2), "pads_end": (1, 0, 1)}),
    (tensor((1, 1, 2, 2)), {"kernel": (2, 2), "strides": (3, 3), "ceil_mode": True}),
    (tensor((0, 3, 5, 5)), {"kernel": (3, 3)}),
    (tensor((1, 2, 5, 5), "float64"), {"kernel": (3, 3)}),
    (tensor((1, 2, 5, 5), "float16"), {"kernel": (3, 3)}),
    (tensor((1, 2, 5, 5), "bfloat16"), {"kernel": (3, 3)}),
]
_INTEGERS: list[tuple[Array, dict[str, object]]] = [
    (tensor((1, 2, 5, 5), "int8", -128, 127), {"kernel": (2, 3), "pads_begin": (1, 1)}),
    (tensor((1, 2, 5, 5), "uint8", 0, 255), {"kernel": (2, 3), "pads_begin": (1, 1)}),
    (values([[[[1.0, np.nan, 3.0], [-np.inf, -np.inf, np.inf], [0.0, 5.0, 5.0]]]]), {"kernel": (2, 2)}),
    (values([[[[-np.inf, -np.inf, 2.0], [-np.inf, -np.inf, 2.0]]]]), {"kernel": (2, 2)}),
]
max_pool.samples = [sample(x, **attributes) for x, attributes in [*_COMMON, *_INTEGERS]]
max_pool_with_indices.samples = [
    sample(x, **attributes, storage_order=number % 2)
    for number, (x, attributes) in enumerate([*_COMMON, *_INTEGERS, *_COMMON[1::2], *_COMMON[:6:2]])
]
average_pool.samples = [
    sample(x, **attributes, count_include_pad=flag)
    for x, attributes in _COMMON
    for flag in (False, True)
]
lp_pool.samples = [
    sample(x, **attributes, p=1 + number % 3) for number, (x, attributes) in enumerate(_COMMON)
]
max_unpool.samples = [
    sample(tensor((1, 1, 2, 2)), values([[[[5, 7], [13, 15]]]], "int64"), spatial=(4, 4)),
    sample(tensor((1, 2, 2)), values([[[1, 0], [5, 3]]], "int64"), spatial=(3,)),
    sample(tensor((1, 2, 0)), tensor((1, 2, 0), "int64"), spatial=(3,)),
    sample(tensor((1, 1, 2, 2), "int8"), values([[[[5, 7], [3, 0]]]], "int64"), spatial=(2, 5)),
]
