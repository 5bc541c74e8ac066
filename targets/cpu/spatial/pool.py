"""Max and average pooling of one to three spatial axes, channels last.

Vectors run over the channels; an output row is gone through tap by tap while it stays in the
nearest cache. Taps outside the source are skipped, so no padded copy is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....ir import Array, Call, Extent, ModelError, Op, Operand, TensorType
from ....ir.dim import product
from ....ops.define import operator
from ....ops.max_pool import lowest, max_pool
from ....ops.pool import average_pool
from ....ops.pool_kernels import count_inside
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
    result = max_pool.reference(
        np.moveaxis(x, -1, 1),
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads_begin=pads_begin,
        pads_end=pads_end,
        ceil_mode=ceil_mode,
    )
    return np.ascontiguousarray(np.moveaxis(result, 1, -1))


@spatial_max_pool.infer
def _(x: TensorType, *, width: int, **attributes: object) -> TensorType:
    return _last(max_pool.infer_types([_first(x)], attributes)[0])


@spatial_max_pool.kernel
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
    width: int,
) -> Call:
    window = (kernel, strides, dilations, pads_begin, pads_end)
    emitted = _emitted(x, out, *window, width)
    if emitted is not None:
        return emitted
    moves = _moves(kernel, strides, dilations, pads_begin)
    return _rows(_max_pool_row, x, out, moves, [lowest(x.dtype)])


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
    result = average_pool.reference(
        np.moveaxis(x, -1, 1),
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads_begin=pads_begin,
        pads_end=pads_end,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )
    return np.ascontiguousarray(np.moveaxis(result, 1, -1))


@spatial_average_pool.infer
def _(x: TensorType, *, width: int, **attributes: object) -> TensorType:
    return _last(average_pool.infer_types([_first(x)], attributes)[0])


@spatial_average_pool.kernel
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
    width: int,
) -> Call:
    window = (kernel, strides, dilations, pads_begin, pads_end)
    emitted = _emitted(x, out, *window, width, mean=True, include=count_include_pad)
    if emitted is not None:
        return emitted
    moves = _moves(kernel, strides, dilations, pads_begin)
    behind = _lifted(pads_end or (0,) * len(kernel), 0)
    return _rows(_average_pool_row, x, out, moves, [*behind, int(count_include_pad)])


# The channels-last form of each pool.
CHANNELS_LAST: dict[Op, Op] = {max_pool: spatial_max_pool, average_pool: spatial_average_pool}


def _emitted(
    x: Operand,
    out: Operand,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
    width: int,
    mean: bool = False,
    include: bool = False,
) -> Call | None:
    """The generated kernel, for float32 images with known channels and paddings."""
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    begin = [pad for pad in pads_begin or zeros if isinstance(pad, int)]
    end = [pad for pad in pads_end or zeros if isinstance(pad, int)]
    channels = x.shape[-1]
    open_pads = len(begin) < len(kernel) or len(end) < len(kernel)
    if x.dtype != "float32" or not isinstance(channels, int) or channels == 0 or open_pads:
        return None
    sizes = [extent if isinstance(extent, int) else None for extent in x.shape[1:-1]]
    counts = [extent if isinstance(extent, int) else None for extent in out.shape[1:-1]]
    if sizes[-1] is None or counts[-1] is None:
        sizes[-1] = counts[-1] = None
    geometry = PoolGeometry(
        1, 1, channels, tuple(sizes), tuple(counts), tuple(kernel), tuple(strides or ones),
        tuple(dilations or ones), tuple(begin), False, width, mean, tuple(end), include,
    )  # fmt: skip
    writer = PoolWriter(geometry)
    body = EmittedBody("spatial_pool", (geometry,), 2, channels, writer.write)
    return Call(body, (x.whole(), out.whole()), items=product(out.shape[:-1][:-1]))


def _lifted(entries: Sequence[Extent], one: int) -> tuple[Extent, ...]:
    """One entry for each of three axes."""
    return (*(one,) * (3 - len(entries)), *entries)


def _moves(
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
) -> tuple[Extent, ...]:
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    return (
        *_lifted(kernel, 1),
        *_lifted(strides or ones, 1),
        *_lifted(dilations or ones, 1),
        *_lifted(pads_begin or zeros, 0),
    )


def _rows(
    body: object,
    x: Operand,
    out: Operand,
    moves: Sequence[Extent],
    more: Sequence[Extent | float],
) -> Call:
    """One item for each output line."""
    sizes, output = _lifted(x.shape[1:-1], 1), _lifted(out.shape[1:-1], 1)
    channels = x.shape[-1]
    return Call(
        body,  # type: ignore[arg-type]
        (x.flat(), out.flat()),
        items=product((x.shape[0], *output[:2])),
        scalars=(channels, *sizes, *moves, *output, *more),
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
