"""Readers of windows as columns and back."""

from __future__ import annotations

from ...ir import ModelError, Value
from ...ir import dim as dims
from .context import Context, ops
from .convert import Ints, PadMode
from .read_convolution import padding, spatial
from .registry import reads


@reads("Im2Col", other_names={"ksizes": "ksize", "pads": "pad"})
def _im2col(
    g: Context,
    x: Value,
    ksizes: Ints,
    strides: Ints = (1,),
    dilations: Ints = (1,),
    padding_mode: PadMode = "calculated",
    pads: Ints = (0,),
) -> Value:
    return _columns(g, x, spatial(ksizes, 2), strides, dilations, padding_mode, pads)


def _columns(
    g: Context,
    x: Value,
    kernel: Ints,
    strides: Ints,
    dilations: Ints,
    mode: str,
    pads: Ints,
) -> Value:
    """Windows as columns: [N, C, kernel elements, places]."""
    strides, dilations = spatial(strides, 2), spatial(dilations, 2)
    before, after = padding(mode, pads, g.shape(x)[2:], kernel, strides, dilations)
    if any(extent != 0 for extent in (*before, *after)):
        x = g.add(ops.pad, x, before=(0, 0, *before), after=(0, 0, *after), mode="constant")
    batch, channels, height, width = g.shape(x)
    rows = dims.floor_divide(height - (kernel[0] - 1) * dilations[0] - 1, strides[0]) + 1
    columns = dims.floor_divide(width - (kernel[1] - 1) * dilations[1] - 1, strides[1]) + 1
    parts = []
    for top in range(kernel[0]):
        for left in range(kernel[1]):
            part = g.add(
                ops.slice,
                x,
                starts=(0, 0, top * dilations[0], left * dilations[1]),
                sizes=(batch, channels, rows, columns),
                steps=(1, 1, strides[0], strides[1]),
            )
            parts.append(g.reshape(part, (batch, channels, 1, rows * columns)))
    return g.add(ops.concat, *parts, axis=2)


@reads("Col2Im")
def _col2im(
    g: Context,
    x: Value,
    output_size: Ints,
    kernel_size: Ints,
    dilation: Ints = (1,),
    padding: Ints = (0,),
    stride: Ints = (1,),
) -> Value:
    kernel, steps = spatial(kernel_size, 2), spatial(stride, 2)
    apart, pads = spatial(dilation, 2), spatial(padding, 2)
    batch, channels, _, _ = g.shape(x)
    height, width = output_size[-2] + 2 * pads[0], output_size[-1] + 2 * pads[1]
    rows = (height - (kernel[0] - 1) * apart[0] - 1) // steps[0] + 1
    columns = (width - (kernel[1] - 1) * apart[1] - 1) // steps[1] + 1
    total: Value | None = None
    for k in range(kernel[0] * kernel[1]):
        top, left = (k // kernel[1]) * apart[0], (k % kernel[1]) * apart[1]
        part = g.reshape(g.slice_axis(x, 2, k, 1), (batch, channels, rows, 1, columns, 1))
        wide = g.add(
            ops.pad,
            part,
            before=(0,) * 6,
            after=(0, 0, 0, steps[0] - 1, 0, steps[1] - 1),
            mode="constant",
        )
        grid = g.reshape(wide, (batch, channels, rows * steps[0], columns * steps[1]))
        used = (min(rows * steps[0], height - top), min(columns * steps[1], width - left))
        grid = g.slice_axis(g.slice_axis(grid, 2, 0, used[0]), 3, 0, used[1])
        placed = g.add(
            ops.pad,
            grid,
            before=(0, 0, top, left),
            after=(0, 0, height - top - used[0], width - left - used[1]),
            mode="constant",
        )
        total = placed if total is None else g.add(ops.add, total, placed)
    if total is None:
        raise ModelError("Col2Im without a kernel")
    total = g.slice_axis(total, 2, pads[0], output_size[-2])
    return g.slice_axis(total, 3, pads[1], output_size[-1])
