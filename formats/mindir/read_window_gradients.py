"""Readers of the derivatives of convolutions and pools."""

from __future__ import annotations

import numpy as np

from ...ir import ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops
from .convert import Ints, Layout, PadMode
from .read_convolution import padding, spatial
from .registry import reads


@reads("Conv2DBackpropFilter", other_names={"data_format": "format"})
def _filter_gradient(
    g: Context,
    dy: Value,
    x: Value,
    filter_sizes: Ints,
    pad_mode: PadMode = "valid",
    pad: Ints = (0,),
    pad_list: Ints = (),
    stride: Ints = (1,),
    dilation: Ints = (1,),
    group: int = 1,
    data_format: Layout = "NCHW",
) -> Value:
    """A convolution of the input with ``dy``: batch and channels change places."""
    if data_format != "NCHW" or len(filter_sizes) != 4:
        raise UnsupportedError(f"the gradient of a filter in {data_format}")
    kernel, steps, apart = filter_sizes[2:], spatial(stride, 2), spatial(dilation, 2)
    chosen = pad_list if pad_mode == "pad" and pad_list and min(pad_list) >= 0 else pad
    before, after = padding(pad_mode, chosen, g.shape(x)[2:], kernel, steps, apart)
    if g.shape(x)[1] != filter_sizes[1] * group or g.shape(dy)[1] != filter_sizes[0]:
        raise ModelError(f"the filter {filter_sizes} does not fit {g.type(x)} and {g.type(dy)}")
    inside, outside = filter_sizes[1], filter_sizes[0] // group
    parts = []
    for k in range(group):
        image = g.transpose(g.slice_axis(x, 1, k * inside, inside), (1, 0, 2, 3))
        weight = g.transpose(g.slice_axis(dy, 1, k * outside, outside), (1, 0, 2, 3))
        found = g.add(
            ops.convolution,
            image,
            weight,
            None,
            strides=apart,
            dilations=steps,
            pads_begin=before,
            pads_end=after,
            groups=1,
        )
        # Rows at the end that no window reached are beyond the filter.
        for axis, taps in enumerate(kernel, 2):
            found = g.slice_axis(found, axis, 0, taps)
        parts.append(g.transpose(found, (1, 0, 2, 3)))
    return g.joined(parts, 0)


@reads("MaxPoolGrad", other_names={"data_format": "format"})
def _max_pool_gradient(
    g: Context,
    x: Value,
    y: Value,
    dy: Value,
    kernel_size: Ints = (1,),
    strides: Ints = (1,),
    pad_mode: PadMode = "valid",
    data_format: Layout = "NCHW",
) -> Value:
    """``dy`` added where the maxima were."""
    if data_format != "NCHW":
        raise UnsupportedError(f"the gradient of a pool in {data_format}")
    taps, steps = spatial(kernel_size, 2), spatial(strides, 2)
    before, after = padding(pad_mode, (), g.shape(x)[2:], taps, steps, (1, 1))
    places = g.add_node(
        ops.max_pool_with_indices,
        (x,),
        {
            "kernel": taps,
            "strides": steps,
            "pads_begin": tuple(before),
            "pads_end": tuple(after),
        },
    ).outputs[1]
    plane = dims.product(g.shape(x)[2:])
    flat = (*g.shape(x)[:2], dims.product(g.shape(dy)[2:]))
    indices = g.reshape(g.add(ops.mod, places, g.whole(plane)), flat)
    nothing = g.expand(g.scalar_like(x, 0), (*g.shape(x)[:2], plane))
    found = g.add(
        ops.scatter_elements, nothing, indices, g.reshape(dy, flat), axis=2, reduction="add"
    )
    return g.reshape(found, g.shape(x))


@reads("AvgPoolGrad", other_names={"data_format": "format"})
def _average_pool_gradient(
    g: Context,
    x: Value,
    y: Value,
    dy: Value,
    kernel_size: Ints = (1,),
    strides: Ints = (1,),
    pad_mode: PadMode = "valid",
    data_format: Layout = "NCHW",
) -> Value:
    """``dy`` shared among the elements of each window; padding takes no part."""
    if data_format != "NCHW":
        raise UnsupportedError(f"the gradient of a pool in {data_format}")
    taps, steps = spatial(kernel_size, 2), spatial(strides, 2)
    extents = [extent for extent in g.shape(x)[1:] if isinstance(extent, int)]
    if len(extents) != 3:
        raise UnsupportedError(f"the gradient of a pool of {g.type(x)}")
    before, after = padding(pad_mode, (), extents[1:], taps, steps, (1, 1))
    shares = []
    rests = []
    for extent, size, step, low, high in zip(extents[1:], taps, steps, before, after, strict=True):
        if not isinstance(low, int) or not isinstance(high, int) or step < 1 or size < 1:
            raise ModelError(f"the gradient of a pool of {kernel_size} by {strides}")
        count = (extent + low + high - size) // step + 1
        starts = np.arange(count) * step - low
        ends = np.minimum(starts + size, extent)
        shares.append(1.0 / (ends - np.maximum(starts, 0)))
        rests.append(extent + low + high - ((count - 1) * step + size))
    share = g.constant(np.multiply.outer(*shares), g.dtype(dy))
    ones = g.constant(np.ones((extents[0], 1, *taps)), g.dtype(dy))
    return g.add(
        ops.convolution_transpose,
        g.add(ops.mul, dy, share),
        ones,
        strides=steps,
        dilations=(1,) * len(steps),
        pads_begin=tuple(before),
        pads_end=tuple(after),
        output_padding=tuple(rests),
        groups=extents[0],
    )
