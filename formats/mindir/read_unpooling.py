"""Readers of maxima at places that data tell, of their reverse, and of sampled offsets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir import Extent, ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops
from .convert import Extents, Ints, Layout
from .items import Item
from .registry import reads


@reads("MaxUnpool2D", "MaxUnpool3D", other_names={"data_format": "format"})
def _max_unpool(
    g: Context,
    x: Value,
    argmax: Value,
    ksize: Ints,
    strides: Ints,
    pads: Ints,
    output_shape: Extents = (),
    data_format: Layout = "NCHW",
) -> Value:
    """Elements put where their maxima were, in planes of zeros."""
    if data_format not in ("NCHW", "NCDHW"):
        raise UnsupportedError(f"{g.primitive} of {data_format}")
    count = g.rank(x) - 2
    extents = g.shape(x)[2:]
    settings = zip(extents, ksize[-count:], strides[-count:], pads[-count:], strict=True)
    wanted = [(extent - 1) * stride - 2 * pad + taps for extent, taps, stride, pad in settings]
    if output_shape:
        wanted = list(output_shape[-count:])
    planes = g.shape(x)[:2]
    nothing = g.expand(g.scalar_like(x, 0), (*planes, dims.product(wanted)))
    flat = (*planes, dims.product(extents))
    places = g.reshape(g.cast(argmax, "int64"), flat)
    found = g.add(
        ops.scatter_elements, nothing, places, g.reshape(x, flat), axis=2, reduction="none"
    )
    return g.reshape(found, (*planes, *wanted))


@reads("FractionalMaxPoolWithFixedKsize", "FractionalMaxPool3DWithFixedKsize")
def _fractional_max_pool(
    g: Context,
    x: Value,
    random_samples: Value,
    ksize: Ints,
    output_shape: Ints,
    format: Layout = "NCHW",
) -> Item:
    """Maxima of windows whose places come from random numbers, which are an operand."""
    if format not in ("NCHW", "NCDHW"):
        raise UnsupportedError(f"{g.primitive} of {format}")
    count = g.rank(x) - 2
    planes, extents = g.shape(x)[:2], g.shape(x)[2:]
    if len(ksize) != count or len(output_shape) != count:
        raise ModelError(f"{g.primitive}: {ksize} and {output_shape} for {g.type(x)}")
    values = x
    places: Value | None = None
    shape: list[Extent] = list(planes)
    for axis, (extent, taps, size) in enumerate(zip(extents, ksize, output_shape, strict=True)):
        if not isinstance(extent, int) or size < 1 or extent < taps:
            raise UnsupportedError(f"{g.primitive} of {g.type(x)} to {output_shape}")
        # The numbers are for the last axis first in planes, for the first axis in volumes.
        which = axis if count == 3 else 1 - axis
        here = _window_places(g, random_samples, which, planes, extent, taps, size)
        along = g.reshape(here, (*planes, *(size * taps if k == axis else 1 for k in range(count))))
        wanted = [*g.shape(values)]
        wanted[2 + axis] = size * taps
        indices = g.expand(along, tuple(wanted))
        values = g.add(ops.gather_elements, values, indices, axis=2 + axis)
        stride = dims.product(extents[axis + 1 :])
        part = g.add(ops.mul, along, g.whole(stride))
        places = part if places is None else g.add(ops.add, places, part)
        shape += [size, taps]
    assert places is not None
    order = (0, 1, *range(2, 2 + 2 * count, 2), *range(3, 3 + 2 * count, 2))
    flat = (*planes, *output_shape, dims.product(ksize))

    def windows(value: Value) -> Value:
        return g.reshape(g.transpose(g.reshape(value, shape), order), flat)

    values, last = windows(values), 2 + count
    chosen = g.add(ops.arg_max, values, axis=last, keepdims=True)
    found = g.add(ops.gather_elements, windows(places), chosen, axis=last)
    highest = g.add(ops.reduce_max, values, axes=(last,), keepdims=False)
    return highest, g.reshape(found, g.shape(highest))


def _window_places(
    g: Context,
    samples: Value,
    which: int,
    planes: Sequence[Extent],
    extent: int,
    taps: int,
    size: int,
) -> Value:
    """The places of all elements of the windows along one axis, (planes, size, taps)."""
    number = g.slice_axis(samples, 2, which, 1)
    number = g.expand(number, (*planes, 1))
    share = g.scalar_like(number, (extent - taps) / max(size - 1, 1))
    steps = g.constant(np.arange(max(size - 1, 0)), g.dtype(number))
    ahead = g.add(ops.mul, g.add(ops.add, number, steps), share)
    back = g.add(ops.mul, number, share)
    starts = g.add(ops.sub, g.cast(ahead, "int64"), g.cast(back, "int64"))
    end = g.expand(g.constant(extent - taps, "int64"), (*planes, 1))
    starts = g.joined([starts, end], 2) if size > 1 else end
    return g.add(ops.add, g.unsqueeze(starts, 3), g.constant(np.arange(taps), "int64"))


@reads("Padding")
def _padding(g: Context, x: Value, pad_dim_size: int = 8) -> Value:
    """Zeros behind a last axis of one element."""
    shape = g.shape(x)
    if not shape or shape[-1] != 1 or pad_dim_size < 1:
        raise ModelError(f"Padding of {g.type(x)} to {pad_dim_size}")
    if pad_dim_size == 1:
        return x
    rest = g.expand(g.scalar_like(x, 0), (*shape[:-1], pad_dim_size - 1))
    return g.joined([x, rest], len(shape) - 1)


@reads("DeformableOffsets", other_names={"data_format": "format"})
def _deformable_offsets(
    g: Context,
    x: Value,
    offsets: Value,
    strides: Ints,
    pads: Ints,
    ksize: Ints,
    dilations: Ints = (1, 1, 1, 1),
    data_format: Layout = "NCHW",
    deformable_groups: int = 1,
    modulated: bool = True,
) -> Value:
    """The elements that a deformable convolution multiplies, window beside window.

    Sampled between the four nearest places, with zeros outside, and times a mask.
    """
    if data_format != "NCHW" or not modulated or len(pads) != 4:
        raise UnsupportedError(f"DeformableOffsets of {data_format} or without masks")
    batch = g.shape(x)[0]
    places = (*g.shape(x)[1:], *g.shape(offsets)[2:])
    known = [extent for extent in places if isinstance(extent, int)]
    if len(known) != 5 or deformable_groups < 1:
        raise UnsupportedError(f"DeformableOffsets of {g.type(x)} and {g.type(offsets)}")
    channels, height, width, rows, columns = known
    down, across = ksize[-2:]
    groups = deformable_groups
    if channels % groups:
        raise ModelError(f"DeformableOffsets: {channels} channels in {groups} groups")
    g.check_computed(down * across, rows * columns)
    parts = g.reshape(offsets, (batch, 3, groups, down, across, rows, columns))
    # Into the order of the result: (batch, 3, groups, rows, down, columns, across).
    parts = g.transpose(parts, (0, 1, 2, 5, 3, 6, 4))
    flat = (batch, groups, 1, rows * down * columns * across)
    along, aside, mask = (g.reshape(g.slice_axis(parts, 1, k, 1), flat) for k in range(3))
    wide = _grid(rows, strides[-2], dilations[-2], down, pads[0]).reshape(rows, down, 1, 1)
    high = _grid(columns, strides[-1], dilations[-1], across, pads[2])
    grids = np.broadcast_arrays(wide, high.reshape(1, 1, columns, across))
    y, z = (
        g.add(ops.add, value, g.constant(place.reshape(-1), g.dtype(x)))
        for value, place in zip((aside, along), grids, strict=True)
    )
    planes = g.reshape(x, (batch, groups, channels // groups, height * width))
    total: Value | None = None
    lows = [g.add(ops.floor, value) for value in (y, z)]
    rests = [g.add(ops.sub, value, low) for value, low in zip((y, z), lows, strict=True)]
    for below in (0, 1):
        for right in (0, 1):
            part = _corner(g, planes, lows, rests, (below, right), (height, width))
            total = part if total is None else g.add(ops.add, total, part)
    assert total is not None
    result = g.add(ops.mul, total, mask)
    return g.reshape(result, (batch, channels, rows * down, columns * across))


def _grid(count: int, stride: int, dilation: int, taps: int, pad: int) -> np.ndarray:
    steps = np.arange(count)[:, None] * stride - pad
    return np.asarray(steps + np.arange(taps)[None, :] * dilation, np.float64)


def _corner(
    g: Context,
    planes: Value,
    lows: Sequence[Value],
    rests: Sequence[Value],
    corner: tuple[int, int],
    extents: tuple[int, int],
) -> Value:
    """One of the four nearest elements times its share."""
    share: Value | None = None
    place: Value | None = None
    for low, rest, step, extent in zip(lows, rests, corner, extents, strict=True):
        here = g.add(ops.add, low, g.scalar_like(low, step))
        inside = g.add(
            ops.logical_and,
            g.add(ops.greater_equal, here, g.scalar_like(here, 0)),
            g.add(ops.less_equal, here, g.scalar_like(here, extent - 1)),
        )
        weight = rest if step else g.add(ops.sub, g.scalar_like(rest, 1), rest)
        weight = g.add(ops.where, inside, weight, g.scalar_like(weight, 0))
        index = g.cast(g.add(ops.where, inside, here, g.scalar_like(here, 0)), "int64")
        share = weight if share is None else g.add(ops.mul, share, weight)
        if place is None:
            place = g.add(ops.mul, index, g.constant(extents[1], "int64"))
        else:
            place = g.add(ops.add, place, index)
    assert share is not None
    assert place is not None
    shape = (*g.shape(planes)[:3], g.shape(place)[3])
    picked = g.add(ops.gather_elements, planes, g.expand(place, shape), axis=3)
    return g.add(ops.mul, picked, share)
