"""Choosing boxes from a ranked list so that no two of them overlap much."""

from __future__ import annotations

import numpy as np

from ..ir import Array, Call, Cost, ModelError, Operand, TensorType
from ..ir.data_type import is_float
from .define import operator
from .half import widened
from .samples import sample, tensor, values


@operator
def overlap_suppression(boxes: Array, *, threshold: float) -> Array:
    """Which of n ranked boxes are kept: each one unless it overlaps an earlier kept one.

    ``boxes`` [n, 4 or more] begin with x1, y1, x2, y2; two overlap when they share more than
    ``threshold`` of their union. This is what MindSpore's NMSWithMask does after sorting.
    """
    wide = widened(boxes)
    x1, y1, x2, y2 = (wide[:, k] for k in range(4))
    areas = (x2 - x1) * (y2 - y1)
    kept = np.ones(len(boxes), bool)
    for place in range(len(boxes)):
        if kept[place]:
            later = slice(place + 1, None)
            width = np.minimum(x2[place], x2[later]) - np.maximum(x1[place], x1[later])
            height = np.minimum(y2[place], y2[later]) - np.maximum(y1[place], y1[later])
            shared = np.maximum(width, 0) * np.maximum(height, 0)
            union = areas[place] + areas[later] - shared
            kept[later] &= ~(shared > union.dtype.type(threshold) * union)
    return kept


@overlap_suppression.infer
def _(boxes: TensorType, threshold: float) -> TensorType:
    width = boxes.shape[1] if boxes.rank == 2 else 0
    if not is_float(boxes.dtype) or not isinstance(width, int) or width < 4:
        raise ModelError(f"overlap_suppression takes floats [n, 4 or more], not {boxes}")
    return TensorType("bool", boxes.shape[:1])


@overlap_suppression.cost
def _(boxes: TensorType, threshold: float) -> Cost:
    return Cost(8 * boxes.shape[0] * boxes.shape[0], boxes.nbytes)


def _suppress(item, boxes, out, threshold):  # type: ignore[no-untyped-def]
    count = out.shape[0]
    zero = boxes.dtype.type(0)
    limit = boxes.dtype.type(threshold)
    for place in range(count):
        out[place] = True
    for place in range(count):
        if out[place]:
            left, top, right, bottom = (
                boxes[place, 0],
                boxes[place, 1],
                boxes[place, 2],
                boxes[place, 3],
            )
            area = (right - left) * (bottom - top)
            for later in range(place + 1, count):
                x1, y1, x2, y2 = boxes[later, 0], boxes[later, 1], boxes[later, 2], boxes[later, 3]
                width = max(min(right, x2) - max(left, x1), zero)
                height = max(min(bottom, y2) - max(top, y1), zero)
                shared = width * height
                union = area + (x2 - x1) * (y2 - y1) - shared
                out[later] = out[later] and not shared > limit * union
    return 0


@overlap_suppression.kernel
def _(boxes: Operand, out: Operand, threshold: float) -> Call:
    return Call(_suppress, (boxes.whole(), out.flat()), items=1, scalars=(threshold,))


_CORNERS = tensor((17, 2), low=0.0, high=10.0)
_SIZES = tensor((17, 2), low=1.0, high=8.0, seed=1)
_BOXES = np.concatenate([_CORNERS, _CORNERS + _SIZES], axis=1)

overlap_suppression.samples += [
    sample(_BOXES, threshold=0.3),
    sample(_BOXES.astype(np.float64), threshold=0.5),
    sample(np.concatenate([_BOXES, _SIZES[:, :1]], axis=1), threshold=0.1),
    sample(_BOXES.astype(np.float16), threshold=0.3),
    sample(values([[0, 0, 2, 2], [0, 0, 2, 2], [3, 3, 3, 3]]), threshold=0.5),
    sample(values(np.zeros((0, 5))), threshold=0.5),
]
