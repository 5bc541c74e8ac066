"""How long the forms of a transposed convolution take: phase by phase, or all of them as one.

Each phase alone (:mod:`.transposed_plan`) multiplies no zeros and writes every output where it
belongs. All phases as one convolution (:mod:`.sub_pixel`) fill vectors where there are few maps,
and may be filtered by Winograd's algorithm; their outputs are copied to their places.
"""

from __future__ import annotations

import math

from .geometry import Geometry, runs
from .transposed_plan import TransposedPlan
from .winograd_cost import best_tile, typical_peaks

# Cycles beside the multiply-adds of a register tile, and the share of the peak they reach.
_TILE_CYCLES = 20
_REACHED = 0.93
# An extent that is open is taken to be this.
_OPEN = 32
# Outputs are read, fetched to be written, and written, when they are copied to their places.
_COPIED = 3


def phased_seconds(plan: TransposedPlan) -> float:
    """Estimated time for one image, phase by phase."""
    return sum(_seconds(geometry) for geometry in plan.geometries)


def sub_pixel_seconds(plan: TransposedPlan, pixels: tuple[int | None, ...], exact: bool) -> float:
    """Estimated time for one image as one convolution to ``pixels`` pixels of all phases.

    ``exact`` leaves Winograd's algorithm out. The plan has one group and no dilation.
    """
    taps = tuple(-(-size // step) for size, step in zip(plan.kernel, plan.strides, strict=True))
    ones = (1,) * len(taps)
    maps = plan.maps * math.prod(plan.strides)
    geometry = Geometry(
        plan.channels, maps, 1, plan.source, pixels, taps, ones, ones,
        tuple(count - 1 for count in taps), False, plan.width,
    )  # fmt: skip
    total, peaks = _seconds(geometry), typical_peaks(plan.width)
    size = [extent for extent in pixels if extent is not None]
    if taps == (3, 3) and len(size) == 2 and min(plan.channels, maps) >= 16 and not exact:
        total = min(total, best_tile(plan.channels, maps, (size[0], size[1]), peaks)[1])
    if max(plan.strides) == 1:
        return total
    moved = 4 * maps * math.prod(_known(pixels))
    near = _COPIED * moved < peaks.l3_bytes
    speed = peaks.l3_bytes_per_second if near else peaks.memory_bytes_per_second
    return total + _COPIED * moved / speed


def _seconds(geometry: Geometry) -> float:
    """Estimated time of the register tiles of one image; taps outside the source count."""
    *lines, line = _known(geometry.output)
    if line == 0:
        return 0.0
    full, rest = divmod(-(-geometry.maps // geometry.width), geometry.vectors)
    panels = [(geometry.vectors, full), (rest, int(rest > 0))]
    depth = geometry.taps * geometry.channels
    cycles = 0.0
    for height, times in runs(line, min(line, geometry.most_rows)):
        for vectors, each in panels:
            step = max(height * vectors / 2, (height + vectors) / 2, 4)
            cycles += (depth * step + _TILE_CYCLES) * times * each
    peak = typical_peaks(geometry.width).flops_per_second
    seconds = cycles * 4 * geometry.width / peak / _REACHED
    return seconds * math.prod(lines) * geometry.groups


def _known(extents: tuple[int | None, ...]) -> list[int]:
    return [_OPEN if extent is None else extent for extent in extents]
