"""Loop bodies of resizing along one axis: a table of taps, then weighted sums of elements."""

# Types are left out of kernel bodies on purpose: Numba infers them.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import math

# Coordinates are kept within this, so that they fit an integer.
_FAR = 1e9


def source_coordinate(kind, y, count, extent, scale, width, start, end):
    """Where output element ``y`` lies; ``kind`` is the number in ``resize.COORDINATES``."""
    last = extent - 1
    if kind == 3:
        return 0.0 if width == 1.0 else y * last / (width - 1.0)
    if kind == 4:
        return y / scale
    if kind == 5:
        return (y + 0.5) / scale
    if kind == 6:
        if width == 1.0:
            return 0.5 * (start + end) * last
        return start * last + y * (end - start) * last / (width - 1.0)
    if kind == 2 and width == 1.0:
        return 0.0
    half_pixel = (y + 0.5) / scale - 0.5
    if kind == 1:
        return extent / 2.0 * (1.0 - count / width) + half_pixel
    return half_pixel


def locate_taps(
    item, exact, places, weights, outside, mode, kind, rule, extent, count, taps, given_scale,
    start, end, a, exclude, antialias,
):  # fmt: skip
    """Places and weights of one output element; ``exact`` holds the weights in float64."""
    if extent == 0:
        return 1
    kind_of_float = exact.dtype.type
    size = kind_of_float(extent)
    outputs = kind_of_float(count)
    scale = given_scale if given_scale > 0.0 else outputs / size
    width = given_scale * size if given_scale > 0.0 else outputs
    y = kind_of_float(item)
    place = source_coordinate(kind, y, outputs, size, scale, width, start, end)
    outside[item] = 1 if place < 0.0 or place > size - 1.0 else 0
    place = min(max(place, -_FAR), _FAR)
    # compiled, math.ceil gives a float; base is left of the place, also of a whole one
    base = int(math.ceil(place)) - 1  # noqa: RUF046
    ratio = place - kind_of_float(base)
    first = item * taps
    if mode == 0:
        right = ratio > 0.5
        if rule == 1:
            right = ratio >= 0.5
        if rule == 2:
            right = ratio == 1.0
        if rule == 3:
            right = ratio > 0.0
        chosen = base + 1 if right else base
        places[first] = min(max(chosen, 0), extent - 1)
        return 0
    shrink = min(scale, 1.0) if antialias else 1.0
    left = 1 - taps // 2
    total = 0.0
    for k in range(taps):
        distance = abs(kind_of_float(left + k) - ratio) * shrink
        if mode == 1:
            weight = max(1.0 - distance, 0.0)
        elif distance <= 1.0:
            weight = ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0
        elif distance < 2.0:
            weight = ((a * distance - 5.0 * a) * distance + 8.0 * a) * distance - 4.0 * a
        else:
            weight = 0.0
        exact[first + k] = weight
        total += weight
    if antialias:
        for k in range(taps):
            exact[first + k] = exact[first + k] / total
    if exclude:
        total = 0.0
        for k in range(taps):
            tap = base + left + k
            if tap < 0 or tap >= extent:
                exact[first + k] = 0.0
            total += exact[first + k]
        for k in range(taps):
            exact[first + k] = exact[first + k] / (1.0 if total == 0.0 else total)
    for k in range(taps):
        weights[first + k] = exact[first + k]
        places[first + k] = min(max(base + left + k, 0), extent - 1)
    return 0


def pick_rows(item, x, places, out, rows):
    """Nearest elements for [outer, count, inner]: whole rows of ``inner`` elements."""
    count = out.shape[1]
    for row in range(item * rows, min((item + 1) * rows, out.shape[0] * count)):
        i = row // count
        j = row % count
        place = places[j]
        for k in range(out.shape[2]):
            out[i, j, k] = x[i, place, k]


def pick_elements(item, x, places, out, rows):
    """Nearest elements along the last axis of [outer, count]."""
    for i in range(item * rows, min((item + 1) * rows, out.shape[0])):
        for j in range(out.shape[1]):
            out[i, j] = x[i, places[j]]


def blend_rows(item, x, places, weights, out, rows, taps):
    """Weighted sums for [outer, count, inner]: whole rows of ``inner`` elements."""
    count = out.shape[1]
    for row in range(item * rows, min((item + 1) * rows, out.shape[0] * count)):
        i = row // count
        j = row % count
        first = j * taps
        # one pass over the row for two taps: there are always an even number of them
        for t in range(0, taps, 2):
            p0, p1 = places[first + t], places[first + t + 1]
            w0, w1 = weights[first + t], weights[first + t + 1]
            if t == 0:
                for k in range(out.shape[2]):
                    out[i, j, k] = w0 * x[i, p0, k] + w1 * x[i, p1, k]
            else:
                for k in range(out.shape[2]):
                    out[i, j, k] += w0 * x[i, p0, k] + w1 * x[i, p1, k]


def blend_elements(item, x, places, weights, out, rows, taps):
    """Weighted sums along the last axis of [outer, count]."""
    for i in range(item * rows, min((item + 1) * rows, out.shape[0])):
        for j in range(out.shape[1]):
            total = out.dtype.type(0)
            for t in range(j * taps, (j + 1) * taps):
                total += weights[t] * x[i, places[t]]
            out[i, j] = total


def pick_lines(item, x, rows_at, columns_at, out, lines):
    """Nearest elements for [outer, height, width, inner], both axes at once: whole lines."""
    height = out.shape[1]
    for line in range(item * lines, min((item + 1) * lines, out.shape[0] * height)):
        i = line // height
        y = line % height
        row = rows_at[y]
        for j in range(out.shape[2]):
            column = columns_at[j]
            for k in range(out.shape[3]):
                out[i, y, j, k] = x[i, row, column, k]


def blend_lines(item, x, rows_at, row_weights, columns_at, column_weights, out, lines):
    """Weighted sums of two by two elements for [outer, height, width, inner]: whole lines."""
    height = out.shape[1]
    for line in range(item * lines, min((item + 1) * lines, out.shape[0] * height)):
        i = line // height
        y = line % height
        r0, r1 = rows_at[2 * y], rows_at[2 * y + 1]
        u0, u1 = row_weights[2 * y], row_weights[2 * y + 1]
        for j in range(out.shape[2]):
            c0, c1 = columns_at[2 * j], columns_at[2 * j + 1]
            v0, v1 = column_weights[2 * j], column_weights[2 * j + 1]
            for k in range(out.shape[3]):
                above = v0 * x[i, r0, c0, k] + v1 * x[i, r0, c1, k]
                below = v0 * x[i, r1, c0, k] + v1 * x[i, r1, c1, k]
                out[i, y, j, k] = u0 * above + u1 * below


def fill_outside(item, outside, out, value):
    """Puts ``value`` where an output element of [outer, count, inner] lies outside the input."""
    i = item // out.shape[1]
    j = item % out.shape[1]
    if outside[j]:
        for k in range(out.shape[2]):
            out[i, j, k] = value
