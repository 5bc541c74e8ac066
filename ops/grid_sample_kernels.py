"""The loop body of sampling an image at given places."""

# Types are left out of kernel bodies on purpose: Numba infers them.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import math


def reflect(place, low, high):
    """``place`` reflected at both ends until it is between them."""
    span = high - low
    beyond = low - place if place < low else place - high
    turns = math.floor(beyond / span) if span > 0.0 else beyond * 0.0
    rest = beyond - turns * span
    even = turns - 2.0 * math.floor(turns / 2.0) == 0.0
    from_low = (place < low) == even
    found = low + rest if from_low else high - rest
    return min(max(found, low), high) if span > 0.0 else low


def source_place(g, extent, mode, padding, aligned):
    """Where a coordinate between -1 and 1 lies in a row of ``extent`` pixels."""
    low = 0.0 if aligned else -0.5
    high = extent - 1.0 if aligned else extent - 0.5
    place = (g + 1.0) / 2.0 * (extent - 1.0) if aligned else ((g + 1.0) * extent - 1.0) / 2.0
    place = place if place == place else 0.0
    if mode == 0:
        # to the nearest, halves to the even neighbour
        below = math.floor(place)
        rest = place - below
        odd = below - 2.0 * math.floor(below / 2.0) != 0.0
        up = rest > 0.5 or (rest == 0.5 and odd)
        place = below + 1.0 if up else below
    if place < low or place > high:
        if padding == 1 and mode != 2:
            place = min(max(place, 0.0), extent - 1.0)
        if padding == 2:
            place = reflect(place, low, high)
    return min(max(place, -8.0), extent + 8.0)


def tap_weight(mode, tap, share):
    """Weight of the pixel number ``tap`` of an axis; ``share`` is how far the place is past one."""
    if mode == 0:
        return 1.0
    if mode == 1:
        return share if tap == 1 else 1.0 - share
    distance = abs(tap - 1.0 - share)
    if distance <= 1.0:
        return (1.25 * distance - 2.25) * distance * distance + 1.0
    return ((-0.75 * distance + 3.75) * distance - 6.0) * distance + 3.0


def tap_place(first, extent, padding, aligned, unit):
    """The pixel for a place that may lie outside; -1 where there is none."""
    if padding == 0:
        return first if first >= 0 and first < extent else -1
    if padding == 2:
        low = 0.0 if aligned else -0.5
        high = extent * unit - (1.0 if aligned else 0.5)
        place = first * unit
        if place < low or place > high:
            first = int(reflect(place, low, high))
    return min(max(first, 0), extent - 1)


def sample_row(item, x, grid, out, mode, padding, aligned):
    """One row of places of one image; ``x`` is [N, C, D, H, W] with D 1 for plain images."""
    rows = grid.shape[1]
    image = item // rows
    row = item % rows
    unit = x.dtype.type(1)
    depth, height, width = x.shape[2], x.shape[3], x.shape[4]
    if depth * height * width == 0:
        return 1
    # a plain image has one pixel in the third direction, which every place hits
    deep = grid.shape[3] == 3
    taps = 1 if mode == 0 else (2 if mode == 1 else 4)
    back = 1 if mode == 2 else 0
    for q in range(grid.shape[2]):
        place_x = source_place(grid[image, row, q, 0], width * unit, mode, padding, aligned)
        place_y = source_place(grid[image, row, q, 1], height * unit, mode, padding, aligned)
        place_z = unit * 0.0
        if deep:
            place_z = source_place(
                grid[image, row, q, grid.shape[3] - 1], depth * unit, mode, padding, aligned
            )
        below_x, below_y, below_z = math.floor(place_x), math.floor(place_y), math.floor(place_z)
        first_x, first_y, first_z = int(below_x), int(below_y), int(below_z)
        for c in range(x.shape[1]):
            out[image, c, row, q] = unit * 0.0
        for i in range(taps if deep else 1):
            weight_z = tap_weight(mode, i, place_z - below_z) if deep else unit
            z = tap_place(first_z + i, depth, padding, aligned, unit) if deep else 0
            for j in range(taps):
                weight_y = tap_weight(mode, j, place_y - below_y)
                y = tap_place(first_y - back + j, height, padding, aligned, unit)
                for k in range(taps):
                    weight = tap_weight(mode, k, place_x - below_x) * weight_y * weight_z
                    v = tap_place(first_x - back + k, width, padding, aligned, unit)
                    if z >= 0 and y >= 0 and v >= 0:
                        for c in range(x.shape[1]):
                            out[image, c, row, q] += weight * x[image, c, z, y, v]
    return 0
