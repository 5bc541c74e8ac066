"""Max and average pooling of one to three spatial axes, channels last.

Vectors run over the channels; an output row is gone through tap by tap while it stays in the
nearest cache. Taps outside the source are skipped, so no padded copy is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ....ir import Array, Call, Extent, ModelError, Op, Operand, TensorType
from ....ir.dim import product
from ....ops.correlation import triple
from ....ops.define import operator
from ....ops.max_pool import lowest, max_pool
from ....ops.pool import average_pool, pool_window
from ....ops.pool_kernels import count_inside
from ....ops.spatial import Window
from ..emitted import EmittedBody
from .pool_geometry import PoolGeometry
from .pool_writer import PoolWriter


def _first(x: TensorType) -> TensorType:
    """The type with its channels at place 1."""
    if x.rank < 3:
        raise ModelError(f"pooling of {x}")
    return x.with_shape((x.shape[0], x.shape[-1], *x.shape[1:-1]))


def _last(x: TensorType) -> TensorType:
    return x.with_shape((x.shape[0], *x.shape[2:], x.shape[1]))


def _reference(op: Op, x: Array, **attributes: Any) -> Array:
    """The pool that ``op`` is, of ``x`` with its channels at the last place."""
    result = op.reference(np.moveaxis(x, -1, 1), **attributes)
    return np.ascontiguousarray(np.moveaxis(result, 1, -1))


@operator(name="cpu_spatial_max_pool", traits=("pool",))
def spatial_max_pool(
    x: Array,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    pads_begin: Sequence[Extent] = (),
    pads_end: Sequence[Extent] = (),
    ceil_mode: bool = False,
    width: int = 16,
) -> Array:
    """``max_pool`` of ``x`` [N, spatial..., C]."""
    return _reference(
        max_pool,
        x,
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads_begin=pads_begin,
        pads_end=pads_end,
        ceil_mode=ceil_mode,
    )


@spatial_max_pool.infer
def _(x: TensorType, *, width: int, **attributes: object) -> TensorType:
    return _last(max_pool.infer_types([_first(x)], attributes)[0])


@spatial_max_pool.kernel
def _(x: Operand, out: Operand, *, ceil_mode: bool, width: int, **sliding: Any) -> Call:
    window = pool_window("max_pool", _first(x.type), **sliding)
    emitted = _emitted(x, out, window, width)
    if emitted is not None:
        return emitted
    return _rows(_max_pool_row, x, out, window, [lowest(x.dtype)])


@operator(name="cpu_spatial_average_pool", traits=("pool",))
def spatial_average_pool(
    x: Array,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    pads_begin: Sequence[Extent] = (),
    pads_end: Sequence[Extent] = (),
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    width: int = 16,
) -> Array:
    """``average_pool`` of ``x`` [N, spatial..., C]."""
    return _reference(
        average_pool,
        x,
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads_begin=pads_begin,
        pads_end=pads_end,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )


@spatial_average_pool.infer
def _(x: TensorType, *, width: int, **attributes: object) -> TensorType:
    return _last(average_pool.infer_types([_first(x)], attributes)[0])


@spatial_average_pool.kernel
def _(
    x: Operand,
    out: Operand,
    *,
    ceil_mode: bool,
    count_include_pad: bool,
    width: int,
    **sliding: Any,
) -> Call:
    window = pool_window("average_pool", _first(x.type), **sliding)
    emitted = _emitted(x, out, window, width, mean=True, include=count_include_pad)
    if emitted is not None:
        return emitted
    more = (*window.lifted().end, int(count_include_pad))
    return _rows(_average_pool_row, x, out, window, more)


# The channels-last form of each pool.
CHANNELS_LAST: dict[Op, Op] = {max_pool: spatial_max_pool, average_pool: spatial_average_pool}


def _emitted(
    x: Operand, out: Operand, window: Window, width: int, mean: bool = False, include: bool = False
) -> Call | None:
    """The generated kernel, for float32 images with known channels and paddings."""
    kernel = tuple(extent for extent in window.kernel if isinstance(extent, int))
    begin = tuple(pad for pad in window.begin if isinstance(pad, int))
    end = tuple(pad for pad in window.end if isinstance(pad, int))
    channels = x.shape[-1]
    is_open = any(len(known) < window.rank for known in (kernel, begin, end))
    if x.dtype != "float32" or not isinstance(channels, int) or channels == 0 or is_open:
        return None
    sizes = [extent if isinstance(extent, int) else None for extent in x.shape[1:-1]]
    counts = [extent if isinstance(extent, int) else None for extent in out.shape[1:-1]]
    if sizes[-1] is None or counts[-1] is None:
        sizes[-1] = counts[-1] = None
    geometry = PoolGeometry(
        1, 1, channels, tuple(sizes), tuple(counts), kernel, window.strides, window.dilations,
        begin, False, width, mean, end, include,
    )  # fmt: skip
    writer = PoolWriter(geometry)
    body = EmittedBody("spatial_pool", (geometry,), 2, channels, writer.write)
    return Call(body, (x.whole(), out.whole()), items=product(out.shape[:-1][:-1]))


def _rows(
    body: Callable[..., object],
    x: Operand,
    out: Operand,
    window: Window,
    more: Sequence[Extent | float],
) -> Call:
    """One item for each output line."""
    channels = x.shape[-1]
    sizes, output = triple(x.shape[1:-1]), triple(out.shape[1:-1])
    return Call(
        body,
        (x.flat(), out.flat()),
        items=product((x.shape[0], *output[:2])),
        scalars=(channels, *sizes, *window.moves, *output, *more),
        chunk=output[2] * channels,
    )


# Types are left out of kernel bodies on purpose: Numba infers them.
# mypy: allow-untyped-defs, allow-untyped-calls
# fmt: off
def _max_pool_row(
    item, x, out, c, d, h, w, kd, kh, kw, sd, sh, sw, dd, dh, dw, bd, bh, bw, od, oh, ow, smallest
):
    least = out.dtype.type(smallest)
    oy = item % oh
    oz = item // oh % od
    image = item // (oh * od)
    into = item * ow * c
    for q in range(ow * c):
        out[into + q] = least
    for kz in range(kd):
        z = oz * sd + kz * dd - bd
        for ky in range(kh):
            y = oy * sh + ky * dh - bh
            if z < 0 or z >= d or y < 0 or y >= h:
                continue
            line = ((image * d + z) * h + y) * w * c
            for ox in range(ow):
                for kx in range(kw):
                    column = ox * sw + kx * dw - bw
                    if column < 0 or column >= w:
                        continue
                    source = line + column * c
                    target = into + ox * c
                    for k in range(c):
                        here = x[source + k]
                        best = out[target + k]
                        out[target + k] = best if best >= here or best != best else here


def _average_pool_row(
    item, x, out, c, d, h, w, kd, kh, kw, sd, sh, sw, dd, dh, dw, bd, bh, bw, od, oh, ow,
    ed, eh, ew, include,
):
    zero = out.dtype.type(0)
    one = out.dtype.type(1)
    oy = item % oh
    oz = item // oh % od
    image = item // (oh * od)
    into = item * ow * c
    rows = count_inside(oz * sd, kd, dd, bd, d, ed, include)
    rows *= count_inside(oy * sh, kh, dh, bh, h, eh, include)
    for q in range(ow * c):
        out[into + q] = zero
    for ox in range(ow):
        target = into + ox * c
        for kz in range(kd):
            z = oz * sd + kz * dd - bd
            for ky in range(kh):
                y = oy * sh + ky * dh - bh
                if z < 0 or z >= d or y < 0 or y >= h:
                    continue
                line = ((image * d + z) * h + y) * w * c
                for kx in range(kw):
                    column = ox * sw + kx * dw - bw
                    if column < 0 or column >= w:
                        continue
                    source = line + column * c
                    for k in range(c):
                        out[target + k] += x[source + k]
        number = rows * count_inside(ox * sw, kw, dw, bw, w, ew, include)
        share = one / out.dtype.type(number)
        for k in range(c):
            out[target + k] = out[target + k] * share
# fmt: on
