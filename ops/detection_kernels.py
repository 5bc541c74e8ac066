"""Loop bodies of region pooling and of the choice among boxes."""

# Types are left out of kernel bodies on purpose: Numba infers them.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import math

# A region may be sampled at this many points in each direction of an output element.
MOST_SAMPLES = 4096


def align_region(
    item, x, regions, images, out, height, width, given, scale, offset, at_least, is_max
):
    """One channel of one region; ``given`` is the number of samples, 0 to take the region's."""
    channels = x.shape[1]
    region = item // channels
    channel = item % channels
    image = images[region]
    if image < 0 or image >= x.shape[0]:
        return 1 + region
    first_x = regions[region, 0] * scale - offset
    first_y = regions[region, 1] * scale - offset
    # a region without extent is made one by one, unless pixels have half offsets
    region_width = max(regions[region, 2] * scale - offset - first_x, at_least)
    region_height = max(regions[region, 3] * scale - offset - first_y, at_least)
    type_of_float = x.dtype.type
    step_y = region_height / type_of_float(height)
    step_x = region_width / type_of_float(width)
    # also false for NaN: no such number can be a count
    small = type_of_float(MOST_SAMPLES)
    if not (step_y <= small and step_x <= small):
        return 1 + region
    rows = given if given > 0 else int(math.ceil(max(step_y, 0.0)))  # noqa: RUF046
    columns = given if given > 0 else int(math.ceil(max(step_x, 0.0)))  # noqa: RUF046
    limit_y, limit_x = type_of_float(x.shape[2]), type_of_float(x.shape[3])
    zero = type_of_float(0)
    one = type_of_float(1)
    half = type_of_float(0.5)
    for i in range(height):
        for j in range(width):
            total = zero
            for k in range(rows):
                place_y = first_y + type_of_float(i) * step_y
                place_y = place_y + (type_of_float(k) + half) * step_y / type_of_float(rows)
                for m in range(columns):
                    place_x = first_x + type_of_float(j) * step_x
                    place_x = place_x + (type_of_float(m) + half) * step_x / type_of_float(columns)
                    value = zero
                    inside = place_y >= -one and place_y <= limit_y
                    if inside and place_x >= -one and place_x <= limit_x:
                        y = max(place_y, zero)
                        z = max(place_x, zero)
                        y0 = min(int(y), x.shape[2] - 1)
                        x0 = min(int(z), x.shape[3] - 1)
                        y1 = min(y0 + 1, x.shape[2] - 1)
                        x1 = min(x0 + 1, x.shape[3] - 1)
                        down = y - type_of_float(y0) if y1 > y0 else zero
                        right = z - type_of_float(x0) if x1 > x0 else zero
                        v0 = (one - down) * (one - right) * x[image, channel, y0, x0]
                        v1 = (one - down) * right * x[image, channel, y0, x1]
                        v2 = down * (one - right) * x[image, channel, y1, x0]
                        v3 = down * right * x[image, channel, y1, x1]
                        if is_max:
                            value = max(max(v0, v1), max(v2, v3))
                        else:
                            value = v0 + v1 + v2 + v3
                    if not is_max:
                        total += value
                    elif k + m == 0:
                        total = value
                    else:
                        total = max(total, value)
            count = type_of_float(max(rows * columns, 1))
            out[region, channel, i, j] = total if is_max else total / count
    return 0


def overlap(boxes, image, i, j, centred):
    """Intersection over union of two boxes; 0 where one has no area."""
    a0, a1, a2, a3 = boxes[image, i, 0], boxes[image, i, 1], boxes[image, i, 2], boxes[image, i, 3]
    b0, b1, b2, b3 = boxes[image, j, 0], boxes[image, j, 1], boxes[image, j, 2], boxes[image, j, 3]
    if centred:  # x and y of the centre, width, height
        a0, a2 = a0 - a2 / 2.0, a0 + a2 / 2.0
        a1, a3 = a1 - a3 / 2.0, a1 + a3 / 2.0
        b0, b2 = b0 - b2 / 2.0, b0 + b2 / 2.0
        b1, b3 = b1 - b3 / 2.0, b1 + b3 / 2.0
    a0, a2 = min(a0, a2), max(a0, a2)
    a1, a3 = min(a1, a3), max(a1, a3)
    b0, b2 = min(b0, b2), max(b0, b2)
    b1, b3 = min(b1, b3), max(b1, b3)
    first = (a2 - a0) * (a3 - a1)
    second = (b2 - b0) * (b3 - b1)
    shared = max(min(a2, b2) - max(a0, b0), 0.0) * max(min(a3, b3) - max(a1, b1), 0.0)
    union = first + second - shared
    return shared / union if first > 0.0 and second > 0.0 and union > 0.0 else shared * 0.0


def choose_boxes(
    item, boxes, scores, iou_threshold, score_threshold, taken, chosen, counts,
    has_iou, has_score, centred,
):  # fmt: skip
    """One class of one image: the best box left, again and again."""
    classes = scores.shape[1]
    image = item // classes
    kind = item % classes
    limit = iou_threshold[0] if has_iou else boxes.dtype.type(0)
    for n in range(boxes.shape[1]):
        score = scores[image, kind, n]
        good = score > score_threshold[0] if has_score else score == score
        taken[item, n] = 0 if good else 1
    number = 0
    for _ in range(chosen.shape[1]):
        best = -1
        best_score = boxes.dtype.type(0)
        for n in range(boxes.shape[1]):
            score = scores[image, kind, n]
            if taken[item, n] == 0 and (best < 0 or score > best_score):
                best = n
                best_score = score
        if best >= 0:
            chosen[item, number] = best
            number += 1
            taken[item, best] = 1
            for n in range(boxes.shape[1]):
                if taken[item, n] == 0 and overlap(boxes, image, best, n, centred) > limit:
                    taken[item, n] = 1
    counts[item] = number


def list_boxes(item, chosen, counts, out, number, classes):
    """All chosen boxes as rows of image, class and box; zeros behind them."""
    row = 0
    for k in range(counts.shape[0]):
        for m in range(counts[k]):
            out[row, 0] = k // classes
            out[row, 1] = k % classes
            out[row, 2] = chosen[k, m]
            row += 1
    number[0] = row
    for k in range(row, out.shape[0]):
        out[k, 0] = 0
        out[k, 1] = 0
        out[k, 2] = 0
