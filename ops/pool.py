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
)
from ..ir.data_type import is_float
from ..ir.dim import product
from .correlation import triple
from .define import operator
from .half import widened
from .pool_kernels import (
    average_pool_plane,
    lp_pool_plane,
)
from .samples import sample, tensor
from .spatial import Window, make_window, output_extents, padded, spatial_extents, tap


def pool_window(
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


def pool_counts(what: str, x: Array, window: Window, ceil_mode: bool) -> list[int]:
    return [int(n) for n in output_extents(what, x.shape[2:], window, ceil_mode)]  # type: ignore[arg-type]


def pooled(what: str, x: TensorType, window: Window, ceil_mode: bool) -> TensorType:
    return x.with_shape((*x.shape[:2], *output_extents(what, x.shape[2:], window, ceil_mode)))


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
    window = pool_window(what, TensorType.of(x), kernel, strides, dilations, pads_begin, pads_end)
    counts = pool_counts(what, x, window, ceil_mode)
    wide = widened(x)
    ones = np.ones((1, 1, *x.shape[2:]), wide.dtype)
    if count_include_pad:
        margins = zip(window.begin, window.end, strict=True)
        ones = np.pad(ones, [(0, 0), (0, 0), *margins], constant_values=1)  # type: ignore[arg-type]
        bare = Window(
            window.kernel, window.strides, window.dilations, (0,) * window.rank, (0,) * window.rank
        )
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
    ceil_mode: bool,
    count_include_pad: bool,
    **sliding: Any,
) -> TensorType:
    window = pool_window("average_pool", x, **sliding)
    if not is_float(x.dtype):
        raise ModelError(f"average_pool takes floating-point tensors, not {x.dtype}")
    return pooled("average_pool", x, window, ceil_mode)


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
    window = pool_window(what, TensorType.of(x), kernel, strides, dilations, pads_begin, pads_end)
    counts = pool_counts(what, x, window, ceil_mode)
    source = np.abs(padded(widened(x), window, counts, 0)) ** p
    total = np.zeros((*x.shape[:2], *counts), source.dtype)
    for offsets in np.ndindex(*kernel):
        total = total + tap(source, window, counts, offsets)
    return np.asarray(total ** (1.0 / p)).astype(x.dtype, copy=False)


@lp_pool.infer
def _(
    x: TensorType,
    *,
    ceil_mode: bool,
    p: int,
    **sliding: Any,
) -> TensorType:
    window = pool_window("lp_pool", x, **sliding)
    if not is_float(x.dtype):
        raise ModelError(f"lp_pool takes floating-point tensors, not {x.dtype}")
    if p < 1:
        raise ModelError(f"lp_pool: p is {p}, not a positive integer")
    return pooled("lp_pool", x, window, ceil_mode)


def _geometry(x: Operand, out: Operand, window: Window) -> tuple[Extent, ...]:
    """Extents of the input, the lifted window and extents of the output."""
    return (*triple(x.shape[2:]), *window.moves, *triple(out.shape[2:]))


def plane_call(
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


@average_pool.kernel
def _(
    x: Operand,
    out: Operand,
    *,
    ceil_mode: bool,
    count_include_pad: bool,
    **sliding: Any,
) -> Call:
    window = pool_window("average_pool", x.type, **sliding)
    more = (*window.lifted().end, int(count_include_pad))
    return plane_call(average_pool_plane, x, [out], window, more)


@lp_pool.kernel
def _(
    x: Operand,
    out: Operand,
    *,
    ceil_mode: bool,
    p: int,
    **sliding: Any,
) -> Call:
    window = pool_window("lp_pool", x.type, **sliding)
    return plane_call(lp_pool_plane, x, [out], window, [p])


def pool_cost(x: TensorType, *, kernel: Sequence[int], **others: Any) -> Cost:
    window = pool_window("a pool", x, kernel, *(others[name] for name in _WINDOW))
    out = pooled("a pool", x, window, others["ceil_mode"])
    return Cost(out.size * product(kernel), x.nbytes + out.nbytes)


_WINDOW = ("strides", "dilations", "pads_begin", "pads_end")
for _op in (average_pool, lp_pool):
    _op.cost(pool_cost)

_PLANE = tensor((2, 3, 7, 8))
WINDOWS: list[tuple[Array, dict[str, Any]]] = [
    (_PLANE, {"kernel": (2, 2), "strides": (2, 2)}),
    (_PLANE, {"kernel": (3, 3), "strides": (2, 2), "pads_begin": (1, 1), "pads_end": (1, 1)}),
    (
        _PLANE,
        {
            "kernel": (3, 2),
            "strides": (2, 3),
            "pads_begin": (0, 1),
            "pads_end": (2, 0),
            "ceil_mode": True,
        },
    ),
    (_PLANE, {"kernel": (2, 3), "dilations": (3, 2), "pads_begin": (1, 0), "pads_end": (1, 2)}),
    (tensor((1, 2, 11)), {"kernel": (3,), "strides": (2,), "pads_begin": (1,), "ceil_mode": True}),
    (tensor((1, 2, 5, 4, 6)), {"kernel": (2, 2, 3), "strides": (2, 1, 2), "pads_end": (1, 0, 1)}),
    (tensor((1, 1, 2, 2)), {"kernel": (2, 2), "strides": (3, 3), "ceil_mode": True}),
    (tensor((0, 3, 5, 5)), {"kernel": (3, 3)}),
    (tensor((1, 2, 5, 5), "float64"), {"kernel": (3, 3)}),
    (tensor((1, 2, 5, 5), "float16"), {"kernel": (3, 3)}),
    (tensor((1, 2, 5, 5), "bfloat16"), {"kernel": (3, 3)}),
]
average_pool.samples = [
    sample(x, **attributes, count_include_pad=flag)
    for x, attributes in WINDOWS
    for flag in (False, True)
]
lp_pool.samples = [
    sample(x, **attributes, p=1 + number % 3) for number, (x, attributes) in enumerate(WINDOWS)
]
