"""Operators of object detectors: pooling of regions, choice among overlapping boxes."""

from __future__ import annotations

import math

import numpy as np

from ..ir import (
    Array,
    Call,
    Cost,
    Extent,
    ModelError,
    Operand,
    TensorType,
    View,
    unify,
    workspace,
)
from ..ir.data_type import is_float
from ..ir.dim import minimum
from .define import operator, same_type
from .detection_kernels import MOST_SAMPLES, align_region, choose_boxes, list_boxes
from .half import widened
from .samples import sample, tensor, values


@operator(traits=("pool",))
def roi_align(
    x: Array,
    regions: Array,
    images: Array,
    *,
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
    mode: str = "avg",
    half_pixel: bool = True,
) -> Array:
    """Regions of images, resampled to one size (ONNX RoiAlign-22).

    ``x`` [N, C, H, W]; ``regions`` [R, 4] are x1, y1, x2, y2, which ``spatial_scale`` takes to
    pixels; ``images`` [R] (int64) are their places in the batch. Each output element is the
    mean ("avg") or largest ("max", of the weighted corners as in ONNX's reference) of
    ``sampling_ratio`` squared bilinear samples; 0 takes as many as the region has pixels.
    Raises for an image that is not there and for regions larger than any image.
    """
    wide = widened(x)
    kind = wide.dtype.type
    result = np.zeros((len(regions), x.shape[1], output_height, output_width), wide.dtype)
    offset = kind(0.5 if half_pixel else 0.0)
    for number, region in enumerate(widened(regions)):
        if not 0 <= images[number] < len(x):
            raise ModelError("roi_align: a region lies in an image that is not there")
        x1, y1, x2, y2 = region * kind(spatial_scale) - offset
        size = np.array([y2 - y1, x2 - x1], wide.dtype)
        size = np.maximum(size, kind(0.0 if half_pixel else 1.0)) if not half_pixel else size
        step = size / np.array([output_height, output_width], wide.dtype)
        if not (step <= MOST_SAMPLES).all():
            raise ModelError("roi_align: a region is too large")
        counts = [sampling_ratio or max(math.ceil(s), 0) for s in step.tolist()]
        places = []
        for start, extent, bins, count in zip(
            (y1, x1), step, (output_height, output_width), counts, strict=True
        ):
            inner = (np.arange(count, dtype=wide.dtype) + kind(0.5)) * extent / kind(max(count, 1))
            places.append(start + np.arange(bins, dtype=wide.dtype)[:, None] * extent + inner)
        sampled = _bilinear(wide[images[number]], *(place.reshape(-1) for place in places))
        shape = (4, x.shape[1], output_height, counts[0], output_width, counts[1])
        corners = sampled.reshape(shape)
        if 0 not in counts and mode == "max":
            result[number] = corners.max(axis=(0, 3, 5))
        elif 0 not in counts:
            result[number] = corners.sum(axis=0).mean(axis=(2, 4))
    return result.astype(x.dtype)


def _bilinear(image: Array, y: Array, x: Array) -> Array:
    """The four weighted corners at all places (y, x): [4, channels, len(y), len(x)]."""
    parts = []
    for place, extent in ((y, image.shape[1]), (x, image.shape[2])):
        inside = (place >= -1) & (place <= extent)
        kept = np.where(inside, np.maximum(place, 0), 0)
        low = np.minimum(kept.astype(np.int64), extent - 1)
        high = np.minimum(low + 1, extent - 1)
        share = np.where(high > low, kept - low.astype(place.dtype), 0).astype(place.dtype)
        parts.append((inside, low, high, share))
    (in_y, y0, y1, down), (in_x, x0, x1, right) = parts
    inside = in_y[:, None] & in_x
    one = image.dtype.type(1)
    corners = [
        ((one - down)[:, None] * (one - right), y0, x0),
        ((one - down)[:, None] * right, y0, x1),
        (down[:, None] * (one - right), y1, x0),
        (down[:, None] * right, y1, x1),
    ]
    return np.stack([np.where(inside, w * image[:, i][:, :, j], 0) for w, i, j in corners])


@roi_align.infer
def _(
    x: TensorType,
    regions: TensorType,
    images: TensorType,
    *,
    output_height: int,
    output_width: int,
    sampling_ratio: int,
    spatial_scale: float,
    mode: str,
    half_pixel: bool,
) -> TensorType:
    if not is_float(same_type("roi_align", x, regions)) or images.dtype != "int64":
        raise ModelError(f"roi_align: {x}, regions {regions} and images {images}")
    if x.rank != 4 or regions.rank != 2 or images.rank != 1:
        raise ModelError(f"roi_align: {x}, regions {regions} and images {images}")
    unify(regions.shape[1], 4, "roi_align: numbers of a region")
    count = unify(regions.shape[0], images.shape[0], "roi_align: regions and their images")
    if min(output_height, output_width) < 1 or not 0 <= sampling_ratio <= MOST_SAMPLES:
        raise ModelError(
            f"roi_align: output {output_height} x {output_width}, sampling_ratio {sampling_ratio}"
        )
    if mode not in ("avg", "max"):
        raise ModelError(f"roi_align: mode {mode!r} is neither avg nor max")
    if 0 in x.shape[2:]:
        raise ModelError(f"roi_align: {x} has no pixels")
    return x.with_shape((count, x.shape[1], output_height, output_width))


@roi_align.kernel
def _(
    x: Operand,
    regions: Operand,
    images: Operand,
    out: Operand,
    *,
    output_height: int,
    output_width: int,
    sampling_ratio: int,
    spatial_scale: float,
    mode: str,
    half_pixel: bool,
) -> Call:
    return Call(
        align_region,
        (x.whole(), regions.whole(), images.whole(), out.whole()),
        items=out.shape[0] * out.shape[1],
        scalars=(
            *(output_height, output_width, sampling_ratio, float(spatial_scale)),
            *((0.5, -math.inf) if half_pixel else (0.0, 1.0)),
            int(mode == "max"),
        ),
        chunk=output_height * output_width,
        error="a region is too large or lies in an image that is not there",
    )


@operator
def non_max_suppression(
    boxes: Array,
    scores: Array,
    iou_threshold: Array | None = None,
    score_threshold: Array | None = None,
    *,
    most: Extent = 0,
    centred: bool = False,
) -> tuple[Array, Array]:
    """The best boxes of each class that do not overlap better ones (ONNX NonMaxSuppression-11).

    ``boxes`` [N, B, 4] are two opposite corners, or with ``centred`` centre and size;
    ``scores`` [N, C, B]. ``most`` boxes are chosen for each class and image; only scores above
    ``score_threshold`` count, and a box that shares more than ``iou_threshold`` (0 if not
    given) of its union with a chosen one is dropped. The thresholds have one element. Outputs:
    rows of image, class and box, best first, as many as there can be (zeros at the end), and
    the number of rows that count, [1]; both int64.
    """
    wide, limit = widened(boxes), 0.0
    if iou_threshold is not None:
        limit = widened(iou_threshold).item()
    rows: list[tuple[int, int, int]] = []
    for image, kind in np.ndindex(*scores.shape[:2]):
        score = widened(scores)[image, kind]
        good = score == score
        if score_threshold is not None:
            good = score > widened(score_threshold).item()
        left = [int(n) for n in np.argsort(-score, kind="stable") if good[n]]
        number = 0
        while left and number < min(int(most), boxes.shape[1]):  # type: ignore[arg-type]
            best = left.pop(0)
            rows.append((image, kind, best))
            number += 1
            left = [
                n for n in left if _overlap(wide[image, best], wide[image, n], centred) <= limit
            ]
    size = math.prod(scores.shape[:2]) * min(int(most), boxes.shape[1])  # type: ignore[arg-type]
    result = np.zeros((size, 3), np.int64)
    result[: len(rows)] = np.array(rows, np.int64).reshape(-1, 3)
    return result, np.array([len(rows)], np.int64)


def _overlap(first: Array, second: Array, centred: bool) -> float:
    ends = []
    for box in (first, second):
        a, b = box[:2], box[2:]
        if centred:
            a, b = a - b / 2, a + b / 2
        ends.append((np.minimum(a, b), np.maximum(a, b)))
    (low, high), (other_low, other_high) = ends
    areas = [np.prod(end - start) for start, end in ends]
    shared = np.prod(np.maximum(np.minimum(high, other_high) - np.maximum(low, other_low), 0))
    union = areas[0] + areas[1] - shared
    return float(shared / union) if min(*areas, union) > 0 else 0.0


@non_max_suppression.infer
def _(
    boxes: TensorType,
    scores: TensorType,
    iou_threshold: TensorType | None = None,
    score_threshold: TensorType | None = None,
    *,
    most: Extent,
    centred: bool,
) -> tuple[TensorType, TensorType]:
    what = "non_max_suppression"
    if not is_float(same_type(what, boxes, scores, iou_threshold, score_threshold)):
        raise ModelError(f"{what} takes floating-point tensors, not {boxes.dtype}")
    if boxes.rank != 3 or scores.rank != 3:
        raise ModelError(f"{what}: boxes {boxes} and scores {scores}")
    unify(boxes.shape[2], 4, f"{what}: numbers of a box")
    batch = unify(boxes.shape[0], scores.shape[0], f"{what}: images of {boxes} and {scores}")
    count = unify(boxes.shape[1], scores.shape[2], f"{what}: boxes of {boxes} and {scores}")
    for threshold in (iou_threshold, score_threshold):
        if threshold is not None:
            unify(threshold.size, 1, f"{what}: the threshold {threshold}")
    if isinstance(most, int) and most < 0:
        raise ModelError(f"{what}: {most} boxes at the most")
    rows = batch * scores.shape[1] * minimum(most, count)
    return TensorType("int64", (rows, 3)), TensorType("int64", (1,))


@non_max_suppression.cost
def _(
    boxes: TensorType, scores: TensorType, *thresholds: TensorType, most: Extent, centred: bool
) -> Cost:
    return Cost(20 * scores.size * minimum(most, boxes.shape[1]), boxes.nbytes + scores.nbytes)


@non_max_suppression.kernel
def _(
    boxes: Operand,
    scores: Operand,
    iou_threshold: Operand | None,
    score_threshold: Operand | None,
    out: Operand,
    number: Operand,
    *,
    most: Extent,
    centred: bool,
) -> list[Call]:
    batch, classes, count = scores.shape
    groups = batch * classes
    taken = workspace("taken", "int8", (groups, count))
    chosen = workspace("chosen", "int64", (groups, minimum(most, count)))
    counts = workspace("counts", "int64", (groups,))

    def threshold(operand: Operand | None) -> View:
        return boxes.flat() if operand is None else operand.view(1)

    choice = Call(
        choose_boxes,
        (
            *(boxes.whole(), scores.whole()),
            *(threshold(iou_threshold), threshold(score_threshold)),
            *(taken, chosen, counts),
        ),
        items=groups,
        scalars=(int(iou_threshold is not None), int(score_threshold is not None), int(centred)),
    )
    listing = Call(list_boxes, (chosen, counts, out.whole(), number.whole()), scalars=(classes,))
    return [choice, listing]


_REGIONS = values(
    [[0.0, 0.0, 7.0, 5.0], [2.5, 1.0, 4.0, 6.5], [-3.0, 2.0, 20.0, 3.0], [4, 4, 4, 4]]
)
_IMAGES = values([0, 1, 1, 0], "int64")
_PIXELS = tensor((2, 3, 6, 8))
roi_align.samples = [
    sample(_PIXELS, _REGIONS, _IMAGES, output_height=2, output_width=3),
    sample(_PIXELS, _REGIONS, _IMAGES, output_height=3, output_width=2, sampling_ratio=2),
    sample(_PIXELS, _REGIONS, _IMAGES, output_height=2, output_width=2, half_pixel=False),
    sample(_PIXELS, _REGIONS, _IMAGES, output_height=2, mode="max", spatial_scale=0.5),
    sample(_PIXELS, tensor((0, 4)), tensor((0,), "int64")),
    sample(tensor((2, 3, 6, 8), "float64"), _REGIONS.astype(np.float64), _IMAGES, output_width=2),
]
_CORNERS = np.sort(tensor((2, 9, 2, 2), low=0, high=4), axis=2).reshape(2, 9, 4)
_SCORES = tensor((2, 3, 9), low=0, high=1)
non_max_suppression.samples = [
    sample(_CORNERS, _SCORES, values([0.3]), values([0.2]), most=4),
    sample(_CORNERS, _SCORES, values(0.5), None, most=20),
    sample(_CORNERS, _SCORES, None, None, most=2),
    sample(_CORNERS[..., [2, 1, 0, 3]], _SCORES, values([0.4]), values([0.9]), most=3),
    sample(_CORNERS, _SCORES, values([0.4]), most=3, centred=True),
    sample(_CORNERS, _SCORES.round(), values([0.4]), most=3),
    sample(_CORNERS, _SCORES, most=0),
    sample(tensor((1, 0, 4)), tensor((1, 2, 0)), values([0.4]), most=3),
    sample(
        values([[[0, 0, 1, 1], [0, 0, 1, 1]]]), values([[[np.nan, 0.5]]]), values([0.5]), most=3
    ),
]
