"""Readers of primitives on boxes."""

from __future__ import annotations

import math

import numpy as np

from ...ir import Extent, UnsupportedError, Value
from .context import Context, ops
from .convert import Ints
from .items import Item
from .registry import reads


def _columns(g: Context, x: Value, count: int) -> list[Value]:
    """The first ``count`` columns of a matrix, as vectors."""
    rows = g.shape(x)[0]
    return [g.reshape(g.slice_axis(x, 1, k, 1), (rows,)) for k in range(count)]


def _matrix(g: Context, columns: list[Value]) -> Value:
    return g.add(ops.concat, *(g.unsqueeze(column, 1) for column in columns), axis=1)


class _Arithmetic:
    """Short names for arithmetic on values and numbers."""

    def __init__(self, g: Context) -> None:
        self.g = g

    def _pair(self, x: Value, y: Value | float) -> tuple[Value, Value]:
        return x, y if isinstance(y, Value) else self.g.scalar_like(x, y)

    def add(self, x: Value, y: Value | float) -> Value:
        return self.g.add(ops.add, *self._pair(x, y))

    def sub(self, x: Value, y: Value | float) -> Value:
        return self.g.add(ops.sub, *self._pair(x, y))

    def mul(self, x: Value, y: Value | float) -> Value:
        return self.g.add(ops.mul, *self._pair(x, y))

    def div(self, x: Value, y: Value | float) -> Value:
        return self.g.add(ops.div, *self._pair(x, y))

    def most(self, x: Value, y: Value | float) -> Value:
        return self.g.add(ops.maximum, *self._pair(x, y))

    def least(self, x: Value, y: Value | float) -> Value:
        return self.g.add(ops.minimum, *self._pair(x, y))

    def clip(self, x: Value, low: float, high: float) -> Value:
        return self.g.add(ops.clip, x, low=low, high=high)


_FOUR_ZEROS = (0.0, 0.0, 0.0, 0.0)
_FOUR_ONES = (1.0, 1.0, 1.0, 1.0)


@reads("BoundingBoxDecode")
def _decode(
    g: Context,
    anchors: Value,
    deltas: Value,
    max_shape: Ints,
    means: Item = _FOUR_ZEROS,
    stds: Item = _FOUR_ONES,
    wh_ratio_clip: float = 0.016,
) -> Value:
    a = _Arithmetic(g)
    x1, y1, x2, y2 = _columns(g, anchors, 4)
    shifts = [
        a.add(a.mul(delta, float(std)), float(mean))
        for delta, mean, std in zip(_columns(g, deltas, 4), means, stds, strict=True)
    ]
    bound = float(np.float32(abs(math.log(wh_ratio_clip))))
    found: list[list[Value]] = []
    for low, high, shift, growth, limit in (
        (x1, x2, shifts[0], shifts[2], max_shape[1]),
        (y1, y2, shifts[1], shifts[3], max_shape[0]),
    ):
        size = a.add(a.sub(high, low), 1.0)
        middle = a.mul(a.add(low, high), 0.5)
        new_size = a.mul(size, g.add(ops.exp, a.clip(growth, -bound, bound)))
        new_middle = a.add(middle, a.mul(size, shift))
        half = a.mul(new_size, 0.5)
        first = a.add(a.sub(new_middle, half), 0.5)
        last = a.sub(a.add(new_middle, half), 0.5)
        found.append([a.clip(end, 0.0, float(limit)) for end in (first, last)])
    return _matrix(g, [found[0][0], found[1][0], found[0][1], found[1][1]])


@reads("BoundingBoxEncode")
def _encode(
    g: Context,
    anchors: Value,
    boxes: Value,
    means: Item = _FOUR_ZEROS,
    stds: Item = _FOUR_ONES,
) -> Value:
    a = _Arithmetic(g)
    x1, y1, x2, y2 = _columns(g, anchors, 4)
    gx1, gy1, gx2, gy2 = _columns(g, boxes, 4)
    shifts, growths = [], []
    for low, high, new_low, new_high in ((x1, x2, gx1, gx2), (y1, y2, gy1, gy2)):
        size = a.add(a.sub(high, low), 1.0)
        new_size = a.add(a.sub(new_high, new_low), 1.0)
        middle = a.mul(a.add(low, high), 0.5)
        new_middle = a.mul(a.add(new_low, new_high), 0.5)
        shifts.append(a.div(a.sub(new_middle, middle), size))
        growths.append(g.add(ops.log, a.div(new_size, size)))
    return _matrix(
        g,
        [
            a.div(a.sub(value, float(mean)), float(std))
            for value, mean, std in zip((*shifts, *growths), means, stds, strict=True)
        ],
    )


@reads("CheckValid")
def _check_valid(g: Context, boxes: Value, metas: Value) -> Value:
    a = _Arithmetic(g)
    x1, y1, x2, y2 = _columns(g, boxes, 4)
    height, width, ratio = (g.reshape(g.slice_axis(metas, 0, k, 1), ()) for k in range(3))
    high = a.sub(a.mul(g.cast(height, g.dtype(boxes)), g.cast(ratio, g.dtype(boxes))), 1.0)
    wide = a.sub(a.mul(g.cast(width, g.dtype(boxes)), g.cast(ratio, g.dtype(boxes))), 1.0)
    zero = g.scalar_like(x1, 0)
    result = g.add(ops.greater_equal, x1, zero)
    for left, right in ((y1, zero), (wide, x2), (high, y2)):
        result = g.add(ops.logical_and, result, g.add(ops.greater_equal, left, right))
    return result


def _overlaps(
    g: Context, rows: list[Value], columns: list[Value], extra: float
) -> tuple[Value, Value, Value]:
    """Areas shared by each of two sets of boxes (corners), and the areas of both."""
    a = _Arithmetic(g)

    def area(box: list[Value]) -> Value:
        return a.mul(a.add(a.sub(box[2], box[0]), extra), a.add(a.sub(box[3], box[1]), extra))

    tall = [g.unsqueeze(value, 1) for value in rows]
    wide = [g.unsqueeze(value, 0) for value in columns]
    width = a.add(a.sub(a.least(tall[2], wide[2]), a.most(tall[0], wide[0])), extra)
    height = a.add(a.sub(a.least(tall[3], wide[3]), a.most(tall[1], wide[1])), extra)
    shared = a.mul(a.most(width, 0.0), a.most(height, 0.0))
    return shared, area(tall), area(wide)


@reads("IOU")
def _iou(g: Context, anchors: Value, boxes: Value, mode: str = "iou") -> Value:
    a = _Arithmetic(g)
    shared, own, other = _overlaps(g, _columns(g, boxes, 4), _columns(g, anchors, 4), 1.0)
    if mode == "iof":
        return a.div(shared, own)
    if mode != "iou":
        raise UnsupportedError(f"IOU with mode {mode!r}")
    return a.div(shared, a.sub(a.add(own, other), shared))


@reads("NMSWithMask")
def _nms_with_mask(g: Context, boxes: Value, iou_threshold: float = 0.5) -> Item:
    count, width = g.shape(boxes)
    scores = g.reshape(g.slice_axis(boxes, 1, width - 1, 1), (count,))
    settings = {"k": count, "axis": 0, "largest": True, "sorted": True}
    _, order = g.add_node(ops.top_k, (scores,), settings).outputs
    ranked = g.add(ops.gather, boxes, order, axis=0)
    kept = g.add(ops.overlap_suppression, ranked, threshold=iou_threshold)
    if isinstance(count, int):
        return ranked, g.constant(np.arange(count), "int32"), kept
    zero, one = (g.constant(np.array(k, np.int32)) for k in (0, 1))
    return ranked, g.add(ops.range, zero, one, size=count), kept


@reads("ROIAlign")
def _roi_align(
    g: Context,
    x: Value,
    rois: Value,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sample_num: int = 2,
    roi_end_mode: int = 1,
) -> Value:
    count = g.shape(rois)[0]
    batch = g.reshape(g.slice_axis(rois, 1, 0, 1), (count,))
    boxes = g.slice_axis(rois, 1, 1, 4)
    if roi_end_mode:
        more = g.constant([0.0, 0.0, roi_end_mode, roi_end_mode], g.dtype(rois))
        boxes = g.add(ops.add, boxes, more)
    return g.add(
        ops.roi_align,
        x,
        g.cast(boxes, g.dtype(x)),
        g.cast(batch, "int64"),
        output_height=pooled_height,
        output_width=pooled_width,
        sampling_ratio=sample_num,
        spatial_scale=spatial_scale,
        mode="avg",
        half_pixel=False,
    )


@reads("CropAndResize")
def _crop_and_resize(
    g: Context,
    x: Value,
    boxes: Value,
    box_index: Value,
    crop_size: Ints,
    method: str = "bilinear",
    extrapolation_value: float = 0.0,
) -> Value:
    if method not in ("bilinear", "nearest"):
        raise UnsupportedError(f"CropAndResize with method {method!r}")
    a = _Arithmetic(g)
    _, height, width, _ = g.shape(x)
    y1, x1, y2, x2 = _columns(g, g.cast(boxes, "float32"), 4)
    count = g.shape(boxes)[0]
    rows, inside_rows = _crop_places(g, y1, y2, height, crop_size[0])
    columns, inside_columns = _crop_places(g, x1, x2, width, crop_size[1])
    shape = (count, crop_size[0], crop_size[1])
    index = g.reshape(g.cast(box_index, "int64"), (count, 1, 1))
    pictures = g.cast(x, "float32")

    def taken(row: Value, column: Value) -> Value:
        parts = [
            g.unsqueeze(g.add(ops.expand, part, shape=shape), 3)
            for part in (index, g.unsqueeze(row, 2), g.unsqueeze(column, 1))
        ]
        return g.add(ops.gather_nd, pictures, g.add(ops.concat, *parts, axis=3))

    def whole(value: Value, op: str, extent: Extent) -> Value:
        last = g.cast(g.whole(extent - 1), "float32")
        rounded = a.least(a.most(g.add(getattr(ops, op), value), 0.0), last)
        return g.cast(rounded, "int64")

    if method == "nearest":
        result = taken(whole(rows, "round", height), whole(columns, "round", width))
    else:
        top, bottom = whole(rows, "floor", height), whole(rows, "ceil", height)
        left, right = whole(columns, "floor", width), whole(columns, "ceil", width)
        down = g.reshape(a.sub(rows, g.cast(top, "float32")), (count, crop_size[0], 1, 1))
        across = g.reshape(a.sub(columns, g.cast(left, "float32")), (count, 1, crop_size[1], 1))
        upper_left, lower_left = taken(top, left), taken(bottom, left)
        upper = a.add(upper_left, a.mul(a.sub(taken(top, right), upper_left), across))
        lower = a.add(lower_left, a.mul(a.sub(taken(bottom, right), lower_left), across))
        result = a.add(upper, a.mul(a.sub(lower, upper), down))
    inside = g.add(ops.logical_and, g.unsqueeze(inside_rows, 2), g.unsqueeze(inside_columns, 1))
    inside = g.reshape(inside, (*shape, 1))
    return g.add(ops.where, inside, result, g.scalar_like(result, extrapolation_value))


def _crop_places(
    g: Context, low: Value, high: Value, extent: Extent, count: int
) -> tuple[Value, Value]:
    """Where the samples of each box lie along one axis, [boxes, count], and if inside."""
    a = _Arithmetic(g)
    last = g.cast(g.whole(extent - 1), "float32")
    if count > 1:
        step = a.mul(a.mul(a.sub(high, low), last), 1.0 / (count - 1))
        numbers = g.constant(np.arange(count), "float32")
        start = a.mul(low, last)
        places = a.add(g.unsqueeze(start, 1), a.mul(numbers, g.unsqueeze(step, 1)))
    else:
        places = g.unsqueeze(a.mul(a.mul(a.add(low, high), last), 0.5), 1)
    inside = g.add(
        ops.logical_and,
        g.add(ops.greater_equal, places, g.scalar_like(places, 0)),
        g.add(ops.less_equal, places, last),
    )
    return places, inside


@reads("NonMaxSuppressionV3")
def _non_max_suppression(
    g: Context,
    boxes: Value,
    scores: Value,
    max_output_size: Item,
    iou_threshold: Item,
    score_threshold: Item,
) -> Value:
    overlap = g.reshape(g.value(iou_threshold, "float32"), (1,))
    least = g.reshape(g.value(score_threshold, "float32"), (1,))
    count = g.shape(boxes)[0]
    given = g.reshape(g.cast(boxes, "float32"), (1, count, 4))
    ranked = g.reshape(g.cast(scores, "float32"), (1, 1, count))
    most = {"most": g.extent(max_output_size, "the number of boxes")}
    found = g.add_node(ops.non_max_suppression, (given, ranked, overlap, least), most).outputs
    kept = g.slice_axis(found[0], 0, 0, g.shapes.measure(found[1], 0))
    return g.cast(g.reshape(g.slice_axis(kept, 1, 2, 1), (g.shape(kept)[0],)), "int32")
