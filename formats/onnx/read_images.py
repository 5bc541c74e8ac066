"""Readers of operators on images and regions of them."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import ModelError, Value
from .context import Context, ops
from .registry import reads

_MODES = {"bilinear": "linear", "bicubic": "cubic"}


@reads("GridSample", since=(16, 20, 22))
def _grid_sample(
    g: Context,
    x: Value,
    grid: Value,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Value:
    return g.add(
        ops.grid_sample,
        x,
        g.cast(grid, g.dtype(x)),
        mode=_MODES.get(mode, mode),
        padding=padding_mode,
        align_corners=bool(align_corners),
    )


def _roi_align(
    g: Context,
    operands: Sequence[Value],
    half_pixel: bool,
    mode: str,
    size: tuple[int, int],
    sampling_ratio: int,
    spatial_scale: float,
) -> Value:
    x, regions, images = operands
    return g.add(
        ops.roi_align,
        x,
        g.cast(regions, g.dtype(x)),
        g.cast(images, "int64"),
        half_pixel=half_pixel,
        mode=mode,
        output_height=size[0],
        output_width=size[1],
        sampling_ratio=sampling_ratio,
        spatial_scale=spatial_scale,
    )


@reads("RoiAlign", since=10)
def _roi_align_10(
    g: Context,
    x: Value,
    regions: Value,
    images: Value,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Value:
    size = (output_height, output_width)
    return _roi_align(g, (x, regions, images), False, mode, size, sampling_ratio, spatial_scale)


@reads("RoiAlign", since=(16, 22))
def _roi_align_16(
    g: Context,
    x: Value,
    regions: Value,
    images: Value,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Value:
    if coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
        g.unsupported(f"RoiAlign with {coordinate_transformation_mode!r}")
    half_pixel = coordinate_transformation_mode == "half_pixel"
    size = (output_height, output_width)
    return _roi_align(
        g, (x, regions, images), half_pixel, mode, size, sampling_ratio, spatial_scale
    )


@reads("NonMaxSuppression", since=(10, 11))
def _non_max_suppression(
    g: Context,
    boxes: Value,
    scores: Value,
    most: Value | None = None,
    iou_threshold: Value | None = None,
    score_threshold: Value | None = None,
    *,
    center_point_box: int = 0,
) -> Value:
    count = 0 if most is None else g.extent(most, "NonMaxSuppression's number of boxes")
    if isinstance(count, int):
        count = max(count, 0)
    attributes = {"most": count, "centred": bool(center_point_box)}
    thresholds = [
        None if t is None else g.reshape(t, (1,)) for t in (iou_threshold, score_threshold)
    ]
    found = g.add_node(ops.non_max_suppression, (boxes, scores, *thresholds), attributes)
    rows, number = found.outputs
    return g.slice_axis(rows, 0, 0, g.shapes.measure(number, 0))


@reads("Det", since=(11, 22))
def _det(g: Context, x: Value) -> Value:
    return g.add(ops.det, x)


@reads("Col2Im", since=18)
def _col2im(
    g: Context,
    x: Value,
    image_shape: Value,
    block_shape: Value,
    *,
    dilations: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    image = g.extents(image_shape, "Col2Im's image_shape")
    block = g.integers(block_shape, "Col2Im's block_shape")
    count = len(image)
    borders = (0,) * (2 * count) if pads is None else pads
    if len(borders) != 2 * count or len(block) != count:
        raise ModelError(f"Col2Im: {len(borders)} pads and a block {block} for {count} dimensions")
    return g.add(
        ops.column_image,
        x,
        image=image,
        block=block,
        strides=strides or (),
        dilations=dilations or (),
        pads_begin=borders[:count],
        pads_end=borders[count:],
    )
