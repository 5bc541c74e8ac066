"""Writers of operators on boxes."""

from __future__ import annotations

import numpy as np

from ...ir import Node, TensorType, UnsupportedError, Value
from .writer import Name, Writer, writes


@writes("roi_align")
def _roi_align(w: Writer, node: Node, x: Name, regions: Name, images: Name) -> Name:
    attrs = node.attrs
    if attrs["half_pixel"] or attrs["mode"] != "avg":
        raise UnsupportedError("roi_align with half pixels or maxima")
    source = w.type(node.inputs[0])
    joined = _joined_regions(w, node)
    if joined is None:
        numbers = w.cast(images, w.type(node.inputs[2]).with_dtype(source.dtype))
        column = w.reshape(numbers, (w.type(node.inputs[2]).shape[0], 1), source.dtype)
        joined = w.function("Concat", w.tuple_of([column, regions]), 1), 0
    rois, end_mode = joined
    return w.primitive(
        "ROIAlign",
        x,
        rois,
        type=node.types[0],
        pooled_height=attrs["output_height"],
        pooled_width=attrs["output_width"],
        sample_num=attrs["sampling_ratio"],
        roi_end_mode=end_mode,
        spatial_scale=float(attrs["spatial_scale"]),
    )


def _joined_regions(w: Writer, node: Node) -> tuple[Name, int] | None:
    """The tensor of batch numbers and regions from which both come, and the end mode."""
    place, end_mode = node.inputs[1], 0
    shift = w.producer(place)
    if shift is not None and shift.op.name == "add":
        more = w.held(shift.inputs[1])
        if more is None or more.shape != (4,) or more[:2].any() or more[2] != more[3]:
            return None
        end_mode, place = int(more[2]), shift.inputs[0]
        if end_mode != more[2]:
            return None
    source = _columns(w, place, 1, 4)
    batch = w.producer(node.inputs[2])
    flat = w.producer(batch.inputs[0]) if batch is not None and batch.op.name == "cast" else None
    if source is None or flat is None or flat.op.name != "reshape":
        return None
    if _columns(w, flat.inputs[0], 0, 1) != source or w.type(source).shape[1:] != (5,):
        return None
    return w.name(source), end_mode


def _columns(w: Writer, value: Value | None, first: int, count: int) -> Value | None:
    """The matrix of which ``value`` is the ``count`` columns from ``first`` on."""
    node = w.producer(value)
    if node is None or node.op.name != "slice" or len(node.attrs["starts"]) != 2:
        return None
    source = node.inputs[0]
    rows = w.type(source).shape[0]
    wanted = ((0, first), (rows, count), (1, 1))
    return source if tuple(node.attrs[k] for k in ("starts", "sizes", "steps")) == wanted else None


@writes("overlap_suppression")
def _overlap_suppression(w: Writer, node: Node, boxes: Name) -> Name:
    found = w.given(node.outputs[0])
    if found is not None:
        return found
    # NMSWithMask sorts by the last column: falling numbers keep the order.
    type_ = w.type(node.inputs[0])
    count = type_.shape[0]
    if not isinstance(count, int):
        raise UnsupportedError("a number of boxes that varies")
    ranks = np.arange(count, 0, -1).astype(type_.numpy).reshape(count, 1)
    corners = w.function("Slice", boxes, (0, 0), (count, 4))
    ranked = w.function("Concat", w.tuple_of([corners, w.model.constant(ranks)]), 1)
    return _suppressed(w, ranked, node, count)[2]


def _suppressed(w: Writer, boxes: Name, node: Node, count: int) -> list[Name]:
    ranked = w.type(node.inputs[0])
    types = [ranked, TensorType("int32", (count,)), node.types[0]]
    threshold = float(node.attrs["threshold"])
    whole = w.primitive("NMSWithMask", boxes, type=types, iou_threshold=threshold)
    return [w.item(whole, position, type_) for position, type_ in enumerate(types)]


def suppression(w: Writer, gather: Node) -> Name | None:
    """The sorted boxes of an NMSWithMask, where ``gather`` sorts boxes for one."""
    boxes, order = gather.inputs
    users = [n for n in w.graph.users(gather.outputs[0]) if n.op.name == "overlap_suppression"]
    sort = w.producer(order)
    if not users or sort is None or sort.op.name != "top_k" or boxes is None:
        return None
    type_ = w.type(boxes)
    scores = w.producer(sort.inputs[0])
    if type_.rank != 2 or scores is None or scores.op.name != "reshape":
        return None
    count, width = type_.shape
    if not isinstance(count, int) or not isinstance(width, int):
        return None
    settings = (sort.attrs["k"], sort.attrs["largest"], gather.attrs["axis"])
    if settings != (count, True, 0) or _columns(w, scores.inputs[0], width - 1, 1) != boxes:
        return None
    ranked, _, kept = _suppressed(w, w.name(boxes), users[0], count)
    w.give(users[0].outputs[0], kept)
    return ranked
