"""Loop bodies of the pools, in three spatial dimensions.

One item is one channel of one image. For each row of outputs the elements of the window are
gone through one by one, each of them for the whole row, so that the innermost loop runs along
the row.
"""

# Types are left out of kernel bodies on purpose: Numba infers them.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import math


def max_pool_plane(
    item, x, out, d, h, w, kd, kh, kw, sd, sh, sw, dd, dh, dw, bd, bh, bw, od, oh, ow, lowest
):  # fmt: skip
    """The largest elements; ``lowest`` is below all others (NaN counts as the largest)."""
    source = item * d * h * w
    into = item * od * oh * ow
    least = out.dtype.type(lowest)
    for oz in range(od):
        for oy in range(oh):
            for q in range(ow):
                out[into + q] = least
            for kz in range(kd):
                z = oz * sd + kz * dd - bd
                for ky in range(kh):
                    y = oy * sh + ky * dh - bh
                    if z < 0 or z >= d or y < 0 or y >= h:
                        continue
                    for kx in range(kw):
                        # columns q with 0 <= q * sw + shift < w
                        shift = kx * dw - bw
                        low = max((sw - 1 - shift) // sw, 0)
                        high = min((w - 1 - shift) // sw + 1, ow)
                        row = source + (z * h + y) * w + shift
                        for q in range(low, high):
                            here = x[row + q * sw]
                            best = out[into + q]
                            out[into + q] = best if best >= here or best != best else here
            into += ow


def max_pool_places_plane(
    item, x, out, places, d, h, w, kd, kh, kw, sd, sh, sw, dd, dh, dw, bd, bh, bw, od, oh, ow,
    lowest, places_z, places_y, places_x,
):  # fmt: skip
    """The largest elements and their places; the first of equals counts, and the first NaN."""
    source = item * d * h * w
    into = item * od * oh * ow
    least = out.dtype.type(lowest)
    for oz in range(od):
        for oy in range(oh):
            for ox in range(ow):
                best = least
                place = -1
                for kz in range(kd):
                    z = oz * sd + kz * dd - bd
                    for ky in range(kh):
                        y = oy * sh + ky * dh - bh
                        for kx in range(kw):
                            v = ox * sw + kx * dw - bw
                            if z >= 0 and z < d and y >= 0 and y < h and v >= 0 and v < w:
                                here = x[source + (z * h + y) * w + v]
                                better = not (best >= here) and best == best
                                if better or place < 0:
                                    best = here
                                    place = z * places_z + y * places_y + v * places_x
                out[into] = best
                places[into] = source + place if place >= 0 else -1
                into += 1


def average_pool_plane(
    item, x, out, d, h, w, kd, kh, kw, sd, sh, sw, dd, dh, dw, bd, bh, bw, od, oh, ow,
    ed, eh, ew, include,
):  # fmt: skip
    """Means; ``e`` is the padding behind, which counts if ``include`` is not 0."""
    source = item * d * h * w
    into = item * od * oh * ow
    zero = out.dtype.type(0)
    for oz in range(od):
        rows_z = count_inside(oz * sd, kd, dd, bd, d, ed, include)
        for oy in range(oh):
            rows = rows_z * count_inside(oy * sh, kh, dh, bh, h, eh, include)
            for q in range(ow):
                out[into + q] = zero
            for kz in range(kd):
                z = oz * sd + kz * dd - bd
                for ky in range(kh):
                    y = oy * sh + ky * dh - bh
                    if z < 0 or z >= d or y < 0 or y >= h:
                        continue
                    for kx in range(kw):
                        shift = kx * dw - bw
                        low = max((sw - 1 - shift) // sw, 0)
                        high = min((w - 1 - shift) // sw + 1, ow)
                        row = source + (z * h + y) * w + shift
                        for q in range(low, high):
                            out[into + q] += x[row + q * sw]
            for q in range(ow):
                number = rows * count_inside(q * sw, kw, dw, bw, w, ew, include)
                out[into + q] = out[into + q] / out.dtype.type(number)
            into += ow


def count_inside(start, kernel, dilation, before, extent, after, include):
    """Elements of a window along one dimension that count for its mean."""
    first = start if include else start - before
    room = before + extent + after if include else extent
    # k with 0 <= first + k * dilation < room
    low = max((dilation - 1 - first) // dilation, 0)
    high = min((room - 1 - first) // dilation + 1, kernel)
    return max(high - low, 0)


def lp_pool_plane(
    item, x, out, d, h, w, kd, kh, kw, sd, sh, sw, dd, dh, dw, bd, bh, bw, od, oh, ow, p
):  # fmt: skip
    """Lp norms."""
    source = item * d * h * w
    into = item * od * oh * ow
    zero = out.dtype.type(0)
    for oz in range(od):
        for oy in range(oh):
            for q in range(ow):
                out[into + q] = zero
            for kz in range(kd):
                z = oz * sd + kz * dd - bd
                for ky in range(kh):
                    y = oy * sh + ky * dh - bh
                    if z < 0 or z >= d or y < 0 or y >= h:
                        continue
                    for kx in range(kw):
                        shift = kx * dw - bw
                        low = max((sw - 1 - shift) // sw, 0)
                        high = min((w - 1 - shift) // sw + 1, ow)
                        row = source + (z * h + y) * w + shift
                        for q in range(low, high):
                            v = abs(x[row + q * sw])
                            power = v
                            for _ in range(1, p):
                                power = power * v
                            out[into + q] += power
            for q in range(ow):
                total = out[into + q]
                if p == 2:
                    out[into + q] = math.sqrt(total)
                elif p > 2:
                    out[into + q] = total ** (1.0 / p)
            into += ow


def unpool(item, x, places, out):
    """Scatter all of ``x``: places may repeat, and then the last one counts."""
    for k in range(out.shape[0]):
        out[k] = out.dtype.type(0)
    for k in range(x.shape[0]):
        place = places[k]
        if place < 0 or place >= out.shape[0]:
            return 1 + k
        out[place] = x[k]
    return 0
