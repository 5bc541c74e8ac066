"""Readers of pooling."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ...ir import Extent, ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops
from .convert import Ints, Layout, PadMode
from .items import Constant, Item, Reference, Tensor
from .read_convolution import as_before, channels_first, padding, spatial
from .registry import reads

_NAMES = {
    "kernel_size": "ksize",
    "strides": "stride",
    "pad_mode": "padding",
    "data_format": "format",
}


def _window(values: Ints, layout: str, count: int) -> tuple[int, ...]:
    """The spatial entries of a window's settings, given for all axes, the spatial ones or one."""
    if layout in ("NHWC", "NDHWC") and len(values) == count + 2:
        return tuple(values[1:-1])
    return spatial(values, count)


def _pooled(
    g: Context,
    x: Value,
    op: str,
    kernel: Ints,
    strides: Ints,
    mode: str,
    pad: Sequence[int],
    layout: str,
    **more: object,
) -> Value:
    count = g.rank(x) - 2
    x = channels_first(g, x, layout)
    taps, steps = _window(kernel, layout, count), _window(strides, layout, count)
    before, after = padding(mode, pad, g.shape(x)[2:], taps, steps, (1,) * count)
    result = g.add(
        getattr(ops, op),
        x,
        kernel=taps,
        strides=steps,
        pads_begin=before,
        pads_end=after,
        **more,
    )
    return as_before(g, result, layout)


@reads("MaxPool", other_names=_NAMES)
def _max_pool(
    g: Context,
    x: Value,
    kernel_size: Ints = (1,),
    strides: Ints = (1,),
    pad_mode: PadMode = "valid",
    data_format: Layout = "NCHW",
) -> Value:
    return _pooled(g, x, "max_pool", kernel_size, strides, pad_mode, (), data_format)


@reads("AvgPool", other_names=_NAMES)
def _avg_pool(
    g: Context,
    x: Value,
    kernel_size: Ints = (1,),
    strides: Ints = (1,),
    pad_mode: PadMode = "valid",
    data_format: Layout = "NCHW",
) -> Value:
    return _pooled(g, x, "average_pool", kernel_size, strides, pad_mode, (), data_format)


@reads("MaxPool3D", other_names=_NAMES)
def _max_pool_3d(
    g: Context,
    x: Value,
    kernel_size: Ints = (1,),
    strides: Ints = (1,),
    pad_mode: PadMode = "valid",
    pad_list: Ints = (0,),
    ceil_mode: bool | None = None,
    data_format: Layout = "NCDHW",
) -> Value:
    more = {"ceil_mode": bool(ceil_mode)}
    return _pooled(g, x, "max_pool", kernel_size, strides, pad_mode, pad_list, data_format, **more)


@reads("AvgPool3D", other_names=_NAMES)
def _avg_pool_3d(
    g: Context,
    x: Value,
    kernel_size: Ints = (1,),
    strides: Ints = (1,),
    pad_mode: PadMode = "valid",
    pad: Ints = (0,),
    pad_list: Ints = (),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int = 0,
    data_format: Layout = "NCDHW",
) -> Value:
    chosen = pad_list if pad_list and min(pad_list) >= 0 else pad
    return _averaged(
        g,
        x,
        kernel_size,
        strides,
        pad_mode,
        chosen,
        data_format,
        ceil_mode,
        count_include_pad,
        divisor_override,
    )


def _averaged(
    g: Context,
    x: Value,
    kernel: Ints,
    strides: Ints,
    mode: str,
    pad: Ints,
    layout: str,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int,
) -> Value:
    counted = count_include_pad or bool(divisor)
    if mode != "pad":
        counted = bool(divisor)  # the padding of mode "same" never counts by itself
    elif not any(pad) and not ceil_mode:
        counted = False  # there is none
    more = {"ceil_mode": ceil_mode, "count_include_pad": counted}
    result = _pooled(g, x, "average_pool", kernel, strides, mode, pad, layout, **more)
    if divisor:
        count = int(np.prod(_window(kernel, layout, g.rank(x) - 2)))
        result = g.add(ops.mul, result, g.scalar_like(result, count / divisor))
    return result


@reads("AvgPool2D", "AvgPool1D")
def _avg_pool_ext(
    g: Context,
    x: Value,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    count = 1 if g.primitive == "AvgPool1D" else 2
    x, lead = _with_batch(g, x, count + 2)
    result = _averaged(
        g,
        x,
        kernel_size,
        stride or kernel_size,
        "pad",
        spatial(padding, count),
        "NCHW",
        ceil_mode,
        count_include_pad,
        divisor_override or 0,
    )
    return g.element(result, 0) if lead else result


def _with_batch(g: Context, x: Value, rank: int) -> tuple[Value, bool]:
    if g.rank(x) == rank - 1:
        return g.unsqueeze(x, 0), True
    return x, False


# --- with places -----------------------------------------------------------------------------


def _with_places(
    g: Context,
    x: Value,
    kernel: Ints,
    strides: Ints,
    before: Sequence[Extent],
    after: Sequence[Extent],
    dilations: Ints,
    ceil_mode: bool,
    plane: Extent,
    dtype: str,
) -> tuple[Value, Value]:
    """The pool, and the places of its elements within ``plane`` elements of the input."""
    settings = {
        "kernel": kernel,
        "strides": strides,
        "dilations": dilations if any(step != 1 for step in dilations) else (),
        "pads_begin": tuple(before),
        "pads_end": tuple(after),
        "ceil_mode": ceil_mode,
    }
    pooled = g.add(ops.max_pool, x, **settings)
    places = g.add_node(ops.max_pool_with_indices, (x,), settings).outputs[1]
    size = g.whole(plane)
    return pooled, g.cast(g.add(ops.mod, places, size), dtype)


@reads("MaxPool3DWithArgmax")
def _max_pool_3d_places(
    g: Context,
    x: Value,
    ksize: Ints,
    strides: Ints,
    pads: Ints = (0,),
    dilation: Ints = (1,),
    ceil_mode: bool = False,
    data_format: Layout = "NCDHW",
    argmax_type: str = "int64",
) -> Item:
    pad = spatial(pads, 3)
    plane = dims.product(g.shape(x)[2:])
    return _with_places(
        g,
        x,
        spatial(ksize, 3),
        spatial(strides, 3),
        pad,
        pad,
        spatial(dilation, 3),
        ceil_mode,
        plane,
        argmax_type,
    )


@reads("MaxPoolWithArgmax", other_names={**_NAMES, "pad_mode": "padding"})
def _max_pool_places(
    g: Context,
    x: Value,
    kernel_size: Ints = (1,),
    strides: Ints = (1,),
    pad_mode: PadMode = "valid",
    data_format: Layout = "NCHW",
) -> Item:
    # Four entries are (1, height, width, 1), whatever the data format.
    taps, steps = (tuple(v[1:3]) if len(v) == 4 else spatial(v, 2) for v in (kernel_size, strides))
    before, after = padding(pad_mode, (), g.shape(x)[2:], taps, steps, (1, 1))
    plane = dims.product(g.shape(x)[1:])
    return _with_places(g, x, taps, steps, before, after, (1, 1), False, plane, "int32")


@reads("MaxPoolWithArgmaxV2", "MaxPoolWithIndices", "MaxPoolWithMask")
def _max_pool_v2(
    g: Context,
    x: Value,
    kernel_size: Ints,
    strides: Ints | None = None,
    pads: Ints = (0,),
    dilation: Ints = (1,),
    ceil_mode: bool = False,
    argmax_type: Item = None,
) -> Item:
    # Four entries are for batch, channels, height and width; for Ascend the channels come last.
    last = len(kernel_size) == 4 and kernel_size[1] != 1
    taps, steps, pad, apart = (
        tuple(v[1:3]) if len(v) == 4 and last else spatial(v, 2)
        for v in (kernel_size, strides or kernel_size, pads, dilation)
    )
    plane = dims.product(g.shape(x)[2:])
    return _with_places(g, x, taps, steps, pad, pad, apart, ceil_mode, plane, "int64")


# --- to a given size -------------------------------------------------------------------------


def _spans(extent: int, count: int) -> list[tuple[int, int]]:
    """First and last + 1 element of each window."""
    return [(k * extent // count, -(-(k + 1) * extent // count)) for k in range(count)]


def _sizes(g: Context, x: Value, wanted: Item, count: int) -> list[Extent]:
    """The output's extents; -1 and None keep the input's."""
    listed = wanted if isinstance(wanted, tuple) else (wanted,) * count
    own = g.shape(x)[-count:]
    if len(listed) != count:
        raise ModelError(f"{len(listed)} sizes are given for {count} axes")
    return [
        extent if size is None or size == -1 else g.extent(size, "the output size")
        for size, extent in zip(listed, own, strict=True)
    ]


@reads(
    "AdaptiveAvgPool1D",
    "AdaptiveAvgPool2D",
    "AdaptiveAvgPool3D",
    "AdaptiveAvgPool2DExt",
    "AdaptiveAvgPool3DExt",
)
def _adaptive_average(g: Context, x: Value, output_size: Item) -> Value:
    count = int(g.primitive.partition("Pool")[2][0])
    rank = g.rank(x)
    sizes = _sizes(g, x, output_size, count)
    axes = tuple(range(rank - count, rank))
    if all(size == 1 for size in sizes):
        return g.add(ops.reduce_mean, x, axes=axes, keepdims=True)
    for axis, size in zip(axes, sizes, strict=True):
        extent = g.shape(x)[axis]
        if extent == size:
            continue
        if size == 1:
            x = g.add(ops.reduce_mean, x, axes=(axis,), keepdims=True)
            continue
        if not isinstance(extent, int) or not isinstance(size, int):
            raise UnsupportedError(f"adaptive pooling of {g.type(x)} to {size}")
        # Along each axis the means are a product with a matrix of weights.
        g.check_computed(extent, size)
        weights = np.zeros((extent, size))
        for k, (low, high) in enumerate(_spans(extent, size)):
            weights[low:high, k] = 1.0 / (high - low)
        matrix = g.constant(weights, g.dtype(x))
        order = [k for k in range(rank) if k != axis] + [axis]
        moved = g.add(ops.matmul, g.transpose(x, order), matrix)
        x = g.transpose(moved, sorted(range(rank), key=order.__getitem__))
    return x


@reads("AdaptiveMaxPool1D", "AdaptiveMaxPool2D", "AdaptiveMaxPool3D")
def _adaptive_max(g: Context, x: Value, output_size: Item) -> Item:
    count = int(g.primitive.partition("Pool")[2][0])
    if isinstance(output_size, (Constant, Tensor, Reference)):
        output_size = g.whole_numbers(output_size, "the output size")
    sizes = _sizes(g, x, output_size, count)
    extents = g.shape(x)[-count:]
    if any(not isinstance(e, int) for e in (*sizes, *extents)):
        raise UnsupportedError(f"adaptive pooling of {g.type(x)} to {sizes}")
    wide = [int(e) for e in extents]  # type: ignore[arg-type]
    wanted = [int(e) for e in sizes]  # type: ignore[arg-type]
    g.check_computed(*wanted)
    g.check_computed(*wide)
    table = np.arange(int(np.prod(wide))).reshape(wide)
    first = g.rank(x) - count
    values, places = [], []
    for spans in itertools.product(*map(_spans, wide, wanted)):
        part = x
        for axis, (start, stop) in enumerate(spans, first):
            part = g.slice_axis(part, axis, start, stop - start)
        here = table[tuple(slice(*span) for span in spans)].reshape(-1)
        flat = g.reshape(part, (*g.shape(part)[:first], len(here)))
        values.append(g.add(ops.reduce_max, flat, axes=(first,), keepdims=True))
        found = g.add(ops.arg_max, flat, axis=first, keepdims=True)
        places.append(g.add(ops.gather, g.constant(here, "int64"), found, axis=0))
    shape = [*g.shape(x)[:first], *wanted]
    return tuple(g.reshape(g.joined(parts, first), shape) for parts in (values, places))
