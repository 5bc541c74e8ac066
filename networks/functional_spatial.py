"""Functions of images for ``construct``: convolution, pooling, resizing, shuffling of pixels.

Rows, images and volumes are [batch, channels, extents...].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir import Extent, ModelError, Op, UnsupportedError
from ..ir.dim import floor_divide
from ..ops.convolution import convolution
from ..ops.max_pool import max_pool
from ..ops.pool import average_pool
from ..ops.rearrange import depth_to_space, space_to_depth
from ..ops.reduce import reduce_max, reduce_mean
from ..ops.resize import resize
from ..ops.spatial import resolve_auto_pad
from .functional_movement import concat
from .tensor import Expression, Tensor, apply

Numbers = int | Sequence[int]
Both = tuple[tuple[Extent, ...], tuple[Extent, ...]]


def numbers_for(what: str, given: Numbers, count: int, least: int = 1) -> tuple[int, ...]:
    """One number for all ``count`` axes, or one for each; none is below ``least``."""
    numbers = (given,) * count if isinstance(given, int) else tuple(given)
    if len(numbers) == 1:
        numbers *= count
    if len(numbers) != count or not all(isinstance(n, int) and n >= least for n in numbers):
        raise ModelError(
            f"{what} {given!r} is neither a number from {least} on nor {count} of them"
        )
    return numbers


def window_padding(
    what: str,
    x: Expression,
    kernel: Sequence[Extent],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pad_mode: str,
    padding: Numbers,
) -> Both:
    """Padding in front of and behind each axis of windows.

    ``pad_mode`` "same" gives ``ceil(extent / stride)`` outputs with the odd element of padding
    at the end, "valid" pads nothing, "pad" pads by ``padding``: one number, or two an axis.
    """
    count = len(kernel)
    if x.ndim != count + 2:
        raise ModelError(f"{what} takes [batch, channels] and {count} more axes, not {x.type}")
    sides = numbers_for(f"{what}: padding", padding, 2 * count, 0)
    mode = pad_mode.lower()
    if mode not in ("same", "valid", "pad"):
        raise ModelError(f"{what}: pad_mode {pad_mode!r} is none of same, valid, pad")
    if mode == "pad":
        return sides[::2], sides[1::2]
    if any(sides):
        raise ModelError(f"{what}: padding {padding!r} needs pad_mode='pad', not {pad_mode!r}")
    auto = "SAME_UPPER" if mode == "same" else "VALID"
    return resolve_auto_pad(auto, x.shape[2:], kernel, strides, dilations)


# --- convolution -------------------------------------------------------------------------


def conv(
    x: Expression,
    weight: Expression,
    bias: Expression | None = None,
    stride: Numbers = 1,
    pad_mode: str = "valid",
    padding: Numbers = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation with ``weight`` [out, in / groups, kernel...], along any number of axes.

    ``pad_mode`` and ``padding`` as :func:`window_padding` has them: for images one number, or
    (top, bottom, left, right).
    """
    what, count = "convolution", weight.ndim - 2
    strides = numbers_for("stride", stride, count)
    dilations = numbers_for("dilation", dilation, count)
    kernel = weight.shape[2:]
    begin, end = window_padding(what, x, kernel, strides, dilations, pad_mode, padding)
    return apply(
        convolution,
        x,
        weight,
        bias,
        strides=strides,
        dilations=dilations,
        pads_begin=begin,
        pads_end=end,
        groups=groups,
    )


conv1d = conv2d = conv3d = conv


# --- pools -------------------------------------------------------------------------------


def pool(
    op: Op,
    x: Expression,
    count: int,
    kernel_size: Numbers,
    stride: Numbers,
    pad_mode: str = "valid",
    padding: Numbers = 0,
    dilation: Numbers = 1,
    **attributes: Any,
) -> Tensor:
    """A pool along the last ``count`` axes; what pools has those, one of channels, and a batch.

    The axis of the batch may be missing.
    """
    if x.ndim == count + 1:
        batch = x.expand_dims(0)
        options = (kernel_size, stride, pad_mode, padding, dilation)
        return pool(op, batch, count, *options, **attributes).squeeze(0)
    kernel, strides = (
        numbers_for(name, given, count)
        for name, given in (("kernel_size", kernel_size), ("stride", stride))
    )
    dilations = numbers_for("dilation", dilation, count)
    begin, end = window_padding(op.name, x, kernel, strides, dilations, pad_mode, padding)
    return apply(
        op,
        x,
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads_begin=begin,
        pads_end=end,
        **attributes,
    )


def max_pool2d(
    x: Expression,
    kernel_size: Numbers,
    stride: Numbers = 1,
    pad_mode: str = "valid",
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The maximum of each window; padding (see :func:`conv`) never is one."""
    options = (kernel_size, stride, pad_mode, padding, dilation)
    return pool(max_pool, x, 2, *options, ceil_mode=ceil_mode)


def avg_pool2d(
    x: Expression,
    kernel_size: Numbers = 1,
    stride: Numbers = 1,
    pad_mode: str = "valid",
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window; the padding of "same" is not counted, that of "pad" if wanted."""
    counted = count_include_pad and pad_mode.lower() == "pad"
    options = (kernel_size, stride, pad_mode, padding, 1)
    return pool(average_pool, x, 2, *options, ceil_mode=ceil_mode, count_include_pad=counted)


def adaptive_avg_pool(
    x: Expression, output_size: int | Sequence[int | None] | None, count: int
) -> Tensor:
    """Means of ``output_size`` windows along each of the last ``count`` axes.

    Window k of n along an axis of E goes from ``k E // n`` up to ``ceil((k + 1) E / n)``. None
    keeps an axis as it is; 1 works for symbolic extents too.
    """
    return _adaptive("adaptive_avg_pool", reduce_mean, _mean_windows, x, output_size, count)


def adaptive_max_pool(
    x: Expression, output_size: int | Sequence[int | None] | None, count: int
) -> Tensor:
    """Maxima of the windows of :func:`adaptive_avg_pool`."""
    return _adaptive("adaptive_max_pool", reduce_max, _max_windows, x, output_size, count)


def adaptive_avg_pool2d(x: Expression, output_size: int | Sequence[int | None]) -> Tensor:
    """:func:`adaptive_avg_pool` of images."""
    return adaptive_avg_pool(x, output_size, 2)


def adaptive_max_pool2d(x: Expression, output_size: int | Sequence[int | None]) -> Tensor:
    """:func:`adaptive_max_pool` of images."""
    return adaptive_max_pool(x, output_size, 2)


def _adaptive(
    what: str,
    whole: Op,
    windows: Callable[[Expression, int, int, int], Tensor],
    x: Expression,
    output_size: int | Sequence[int | None] | None,
    count: int,
) -> Tensor:
    single = output_size is None or isinstance(output_size, int)
    sizes = (output_size,) * count if single else tuple(output_size)  # type: ignore[arg-type]
    if len(sizes) != count or not count < x.ndim <= count + 2:
        raise ModelError(f"{what}: {output_size!r} does not fit {count} axes of {x.type}")
    axes = tuple(range(x.ndim - count, x.ndim))
    ones = tuple(axis for axis, size in zip(axes, sizes, strict=True) if size == 1)
    found: Expression = apply(whole, x, axes=ones, keepdims=True) if ones else x
    for axis, size in zip(axes, sizes, strict=True):
        extent = x.shape[axis]
        if size in (None, 1) or extent == size:
            continue
        if not isinstance(extent, int) or not isinstance(size, int) or size < 1:
            raise UnsupportedError(f"{what}: {size} windows along an axis of {extent}")
        found = windows(found, axis, extent, size)
    return found if isinstance(found, Tensor) else found.reshape(found.shape)


def _spans(extent: int, size: int) -> list[tuple[int, int]]:
    return [(k * extent // size, -(-(k + 1) * extent // size)) for k in range(size)]


def _mean_windows(x: Expression, axis: int, extent: int, size: int) -> Tensor:
    """A product with a matrix that has each window's weights."""
    weights = np.zeros((extent, size))
    for k, (first, last) in enumerate(_spans(extent, size)):
        weights[first:last, k] = 1.0 / (last - first)
    return (x.swapaxes(axis, -1) @ weights.astype(x.type.numpy)).swapaxes(axis, -1)


def _max_windows(x: Expression, axis: int, extent: int, size: int) -> Tensor:
    front = (slice(None),) * axis
    parts = [
        apply(reduce_max, x[(*front, slice(first, last))], axes=(axis,), keepdims=True)
        for first, last in _spans(extent, size)
    ]
    return concat(parts, axis)


# --- sizes -------------------------------------------------------------------------------


def interpolate(
    x: Expression,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """Rows, images or volumes resized to ``size``, or to ``floor(extent * scale_factor)``.

    ``mode`` is "nearest", "nearest-exact", "linear" (bilinear, trilinear), "bicubic" or "area".
    ``align_corners`` puts the first and last elements over each other. As MindSpore does,
    resizing always goes by the extents; ``recompute_scale_factor`` changes nothing.
    """
    count = x.ndim - 2
    if (size is None) == (scale_factor is None) or count not in (1, 2, 3):
        raise ModelError(f"interpolate of {x.type}: one of size and scale_factor is to be given")
    if size is not None:
        sizes: tuple[Extent, ...] = numbers_for("size", size, count)
    else:
        assert scale_factor is not None
        factors = (scale_factor,) if isinstance(scale_factor, (int, float)) else tuple(scale_factor)
        factors *= count if len(factors) == 1 else 1
        if len(factors) != count:
            raise ModelError(f"interpolate: scale_factor {scale_factor!r} for {x.type}")
        sizes = tuple(_scaled(e, factor) for e, factor in zip(x.shape[2:], factors, strict=True))
    if mode == "area":
        return adaptive_avg_pool(x, sizes, count)  # type: ignore[arg-type]
    known = {1: "linear", 2: "bilinear", 3: "trilinear"}
    options: dict[str, Any] = {}
    if mode == known[count] or (mode == "bicubic" and count == 2):
        options["mode"] = "cubic" if mode == "bicubic" else "linear"
        options["coordinate_transformation"] = "align_corners" if align_corners else "half_pixel"
        if mode == "bicubic" and not align_corners:
            options |= {"cubic_coeff_a": -0.5, "exclude_outside": True}
    elif mode == "nearest":
        options = {"coordinate_transformation": "asymmetric", "nearest_mode": "floor"}
    elif mode == "nearest-exact":
        options = {"coordinate_transformation": "half_pixel", "nearest_mode": "round_prefer_ceil"}
    else:
        raise UnsupportedError(f"interpolate: mode {mode!r} of {x.type}")
    return apply(resize, x, sizes=(*x.shape[:2], *sizes), **options)


def _scaled(extent: Extent, factor: float) -> Extent:
    if isinstance(extent, int):
        return math.floor(extent * factor)
    if factor == int(factor):
        return extent * int(factor)
    if 1.0 / factor == int(1.0 / factor):
        return floor_divide(extent, int(1.0 / factor))
    raise UnsupportedError(f"interpolate: a scale_factor of {factor} for an extent {extent}")


def pixel_shuffle(x: Expression, upscale_factor: int) -> Tensor:
    """Channels [.., C r r, H, W] moved into squares of r by r pixels [.., C, H r, W r]."""
    front = x.shape[:-3]
    flat = x.reshape(-1, *x.shape[-3:]) if len(front) != 1 else x
    found = apply(depth_to_space, flat, block_size=upscale_factor, mode="CRD")
    return found if len(front) == 1 else found.reshape(*front, *found.shape[1:])


def pixel_unshuffle(x: Expression, downscale_factor: int) -> Tensor:
    """The inverse of :func:`pixel_shuffle`."""
    front = x.shape[:-3]
    flat = x.reshape(-1, *x.shape[-3:]) if len(front) != 1 else x
    found = apply(space_to_depth, flat, block_size=downscale_factor, mode="CRD")
    return found if len(front) == 1 else found.reshape(*front, *found.shape[1:])


def channel_shuffle(x: Expression, groups: int) -> Tensor:
    """Channels (axis 1) as [groups, rest] turned to [rest, groups]."""
    channels = x.shape[1]
    if not isinstance(channels, int) or groups < 1 or channels % groups:
        raise ModelError(f"channel_shuffle: {channels} channels in {groups} groups")
    front, rest = x.shape[:1], x.shape[2:]
    split = x.reshape(*front, groups, channels // groups, *rest)
    return split.swapaxes(1, 2).reshape(x.shape)
