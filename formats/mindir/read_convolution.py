"""Readers of convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import Extent, ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops
from .convert import Extents, Ints, Layout, PadMode, enumerated
from .items import Item
from .registry import reads

_CHANNELS_LAST = ("NHWC", "NDHWC")


def channels_first(g: Context, x: Value, layout: str) -> Value:
    """``x`` with its channels as second axis."""
    if layout not in _CHANNELS_LAST:
        return x
    rank = g.rank(x)
    return g.transpose(x, (0, rank - 1, *range(1, rank - 1)))


def as_before(g: Context, x: Value, layout: str) -> Value:
    """The reverse of :func:`channels_first`."""
    if layout not in _CHANNELS_LAST:
        return x
    rank = g.rank(x)
    return g.transpose(x, (0, *range(2, rank), 1))


def spatial(values: Sequence[int], count: int) -> tuple[int, ...]:
    """The settings of the ``count`` spatial axes: of those, of all axes, or one for all."""
    if len(values) == 1:
        return tuple(values) * count
    return tuple(values[-count:])


def same_padding(
    extents: Sequence[Extent],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[tuple[Extent, ...], tuple[Extent, ...]]:
    """Padding with which the output has ceil(input / stride) places, less in front."""
    before: list[Extent] = []
    after: list[Extent] = []
    for extent, taps, stride, dilation in zip(extents, kernel, strides, dilations, strict=True):
        places = dims.ceil_divide(extent, stride)
        span = (taps - 1) * dilation + 1
        if stride == 1:
            total: Extent = span - 1
        else:
            total = dims.maximum((places - 1) * stride + span - extent, 0)
        low = dims.floor_divide(total, 2)
        before.append(low)
        after.append(total - low)
    return tuple(before), tuple(after)


def padding(
    mode: str,
    given: Sequence[int],
    extents: Sequence[Extent],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[tuple[Extent, ...], tuple[Extent, ...]]:
    """(before, after) of a window; ``given`` is in pairs (top, bottom, left, right, ...)."""
    count = len(kernel)
    if mode == "valid":
        return (0,) * count, (0,) * count
    if mode in ("same", "half"):
        return same_padding(extents, kernel, strides, dilations)
    if mode not in ("pad", "calculated"):
        raise UnsupportedError(f"the padding mode {mode!r}")
    if len(given) == 1:
        return tuple(given) * count, tuple(given) * count
    if len(given) == count:
        return tuple(given), tuple(given)
    if len(given) != 2 * count:
        raise ModelError(f"{len(given)} paddings are given for {count} axes")
    return tuple(given[0::2]), tuple(given[1::2])


def _convolution(
    g: Context,
    x: Value,
    w: Value,
    mode: str,
    pad: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    groups: int,
    layout: str,
    bias: Value | None = None,
) -> Value:
    x = channels_first(g, x, layout)
    w = channels_first(g, w, layout)
    count = g.rank(x) - 2
    kernel = _kernel(g, w, count)
    strides, dilations = spatial(strides, count), spatial(dilations, count)
    before, after = padding(mode, pad, g.shape(x)[2:], kernel, strides, dilations)
    result = g.add(
        ops.convolution,
        x,
        w,
        bias,
        strides=strides,
        dilations=dilations,
        pads_begin=before,
        pads_end=after,
        groups=groups,
    )
    return as_before(g, result, layout)


def _kernel(g: Context, w: Value, count: int) -> tuple[int, ...]:
    found = g.shape(w)[2:]
    if len(found) != count or any(not isinstance(extent, int) for extent in found):
        raise ModelError(f"weights of {g.type(w)} do not fit {count} spatial axes")
    return tuple(int(extent) for extent in found if isinstance(extent, int))


_OTHERS = {
    "group": "groups",
    "data_format": "format",
    "stride": "strides",
    "dilation": "dilations",
    "pad": "pads",
}


@reads("Conv2D", "Conv3D", other_names=_OTHERS)
def _conv(
    g: Context,
    x: Value,
    w: Value,
    pad_mode: PadMode = "valid",
    pad: Ints = (0,),
    pad_list: Ints = (),
    stride: Ints = (1,),
    dilation: Ints = (1,),
    group: int = 1,
    data_format: Layout = "NCHW",
) -> Value:
    chosen = pad_list if pad_mode == "pad" and pad_list and min(pad_list) >= 0 else pad
    return _convolution(g, x, w, pad_mode, chosen, stride, dilation, group, data_format)


@reads("DepthwiseConv2dNative", other_names=_OTHERS)
def _depthwise(
    g: Context,
    x: Value,
    w: Value,
    pad_mode: PadMode = "valid",
    pad: Ints = (0,),
    pad_list: Ints = (),
    stride: Ints = (1,),
    dilation: Ints = (1,),
    data_format: Layout = "NCHW",
) -> Value:
    multiplier, channels, *kernel = g.shape(w)
    turned = g.transpose(w, (1, 0, 2, 3))
    weights = g.reshape(turned, (multiplier * channels, 1, *kernel))
    if not isinstance(channels, int):
        raise UnsupportedError("a depthwise convolution of an unknown number of channels")
    chosen = pad_list if pad_mode == "pad" and pad_list and min(pad_list) >= 0 else pad
    return _convolution(g, x, weights, pad_mode, chosen, stride, dilation, channels, data_format)


@reads("Conv1DExt", "Conv2DExt", "Conv3DExt", "Conv1DPadding", "Conv2DPadding", "Conv3DPadding")
def _conv_ext(
    g: Context,
    x: Value,
    w: Value,
    bias: Value | None = None,
    stride: Ints = (1,),
    padding: Item = 0,
    dilation: Ints = (1,),
    groups: int = 1,
) -> Value:
    return _torch_convolution(g, x, w, bias, stride, padding, dilation, groups)


@reads("Convolution", "ConvolutionStr")
def _conv_general(
    g: Context,
    x: Value,
    w: Value,
    bias: Value | None = None,
    stride: Ints = (1,),
    padding: Item = 0,
    dilation: Ints = (1,),
    transposed: bool = False,
    output_padding: Ints = (0,),
    groups: int = 1,
) -> Value:
    if transposed:
        return _conv_transpose_ext(
            g,
            x,
            w,
            bias,
            stride,
            g.whole_numbers(padding, "padding"),
            output_padding,
            groups,
            dilation,
        )
    return _torch_convolution(g, x, w, bias, stride, padding, dilation, groups)


def _torch_convolution(
    g: Context,
    x: Value,
    w: Value,
    bias: Value | None,
    stride: Ints,
    given: Item,
    dilation: Ints,
    groups: int,
) -> Value:
    if isinstance(given, str) or g.primitive.endswith(("Padding", "Str")):
        mode = enumerated(given, {1: "same", 2: "valid"}, "padding")
        numbers: Ints = ()
    else:
        mode, numbers = "pad", g.whole_numbers(given, "padding")
    return _convolution(g, x, w, mode, numbers, stride, dilation, groups, "NCHW", bias)


@reads("ConvTranspose2D")
def _conv_transpose_ext(
    g: Context,
    x: Value,
    w: Value,
    bias: Value | None = None,
    stride: Ints = (1,),
    padding: Ints = (0,),
    output_padding: Ints = (0,),
    groups: int = 1,
    dilation: Ints = (1,),
) -> Value:
    count = g.rank(x) - 2
    pads = spatial(padding, count)
    return g.add(
        ops.convolution_transpose,
        x,
        w,
        bias,
        strides=spatial(stride, count),
        dilations=spatial(dilation, count),
        pads_begin=pads,
        pads_end=pads,
        output_padding=spatial(output_padding, count),
        groups=groups,
    )


# --- transposed ------------------------------------------------------------------------------


def _transposed(
    g: Context,
    x: Value,
    w: Value,
    sizes: Sequence[Extent] | None,
    mode: str,
    pad: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> Value:
    """The gradient of a convolution with padding ``pad`` whose input has the extents ``sizes``."""
    count = g.rank(x) - 2
    kernel = _kernel(g, w, count)
    strides, dilations = spatial(strides, count), spatial(dilations, count)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    grown = [
        (extent - 1) * stride + span
        for extent, stride, span in zip(g.shape(x)[2:], strides, spans, strict=True)
    ]
    if sizes is None:
        if mode in ("same", "half"):
            sizes = [e * s for e, s in zip(g.shape(x)[2:], strides, strict=True)]
        else:
            low, high = padding(mode, pad, grown, kernel, strides, dilations)
            sizes = [e - a - b for e, a, b in zip(grown, low, high, strict=True)]
    before, after = padding(mode, pad, sizes, kernel, strides, dilations)
    # What is grown beyond the padding is missing in the forward direction: it stays zero.
    extra = [
        size - (whole - low - high)
        for size, whole, low, high in zip(sizes, grown, before, after, strict=True)
    ]
    cut = tuple(
        high if not isinstance(more, int) or more >= 0 else high - more
        for high, more in zip(after, extra, strict=True)
    )
    output_padding = tuple(more if not isinstance(more, int) else max(more, 0) for more in extra)
    return g.add(
        ops.convolution_transpose,
        x,
        w,
        strides=strides,
        dilations=dilations,
        pads_begin=before,
        pads_end=cut,
        output_padding=output_padding,
        groups=groups,
    )


@reads("Conv2DTranspose", "Conv2DBackpropInput", other_names=_OTHERS)
def _conv_transpose(
    g: Context,
    x: Value,
    w: Value,
    input_sizes: Extents = (),
    pad_mode: PadMode = "valid",
    pad: Ints = (0,),
    pad_list: Ints = (),
    stride: Ints = (1,),
    dilation: Ints = (1,),
    group: int = 1,
    data_format: Layout = "NCHW",
) -> Value:
    if data_format != "NCHW":
        raise UnsupportedError(f"a transposed convolution in {data_format}")
    chosen = pad_list if pad_mode == "pad" and pad_list and min(pad_list) >= 0 else pad
    sizes = input_sizes[2:] if input_sizes else None
    return _transposed(g, x, w, sizes, pad_mode, chosen, stride, dilation, group)


@reads(
    "Conv3DTranspose",
    other_names={**_OTHERS, "stride": "strides", "dilation": "dilations"},
)
def _conv3d_transpose(
    g: Context,
    x: Value,
    w: Value,
    pad_mode: PadMode = "valid",
    pad: Ints = (0,),
    pad_list: Ints = (),
    stride: Ints = (1,),
    dilation: Ints = (1,),
    group: int = 1,
    output_padding: Ints = (0,),
    data_format: Layout = "NCDHW",
    input_size: Ints = (),
) -> Value:
    if data_format not in ("NCDHW", "NCHW"):
        raise UnsupportedError(f"a transposed convolution in {data_format}")
    chosen = pad_list if pad_mode == "pad" and pad_list and min(pad_list) >= 0 else pad
    if pad_mode == "pad":
        count = g.rank(x) - 2
        before, after = padding("pad", chosen, (), (0,) * count, (), ())
        return g.add(
            ops.convolution_transpose,
            x,
            w,
            strides=spatial(stride, count),
            dilations=spatial(dilation, count),
            pads_begin=before,
            pads_end=after,
            output_padding=spatial(output_padding, count),
            groups=group,
        )
    sizes = input_size[2:] if input_size else None
    return _transposed(g, x, w, sizes, pad_mode, chosen, stride, dilation, group)
