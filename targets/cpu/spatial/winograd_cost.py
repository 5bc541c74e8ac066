"""How long a Winograd convolution takes, and the plan that takes least.

The estimate adds up products at the machine's peak (register tiles have a fixed cost beside
their multiply-adds), transforms (so many cycles for each vector of a point), and traffic:
packed kernels are fetched while products are computed, so that the longer of the two counts;
what lies between the steps for whole images goes through the shared cache. On the sizes of
common networks it is within a tenth of what was measured.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from ....compiler.roofline import MachinePeaks
from ..dense.tile import largest_rows
from .geometry import balanced
from .winograd_plan import LINE, Plan
from .winograd_transforms import TILES, filtering_of

# Cycles beside the multiply-adds of a register tile, and the share of the peak they reach.
_TILE_CYCLES = 40
_REACHED = 0.96
# Cycles for one vector at one point of the transforms. They wait for the second cache, the more
# the fuller it is: so many times longer when what they and the products use fills it.
_INPUT_CYCLES, _OUTPUT_CYCLES = 3.0, 2.4
_FULL_CACHE = 1.6
# Share of the memory's bandwidth that fetching kernels reaches, and share of the time for
# reading them again from the shared cache that products do not hide.
_FETCHED, _NOT_HIDDEN = 0.75, 0.1
# More bytes read ahead would push out of the shared cache what is in use.
_MOST_AHEAD = 8 << 20
# So many times the second caches' size goes through the shared cache without being noticed.
_NEAR = 4
# Bytes of a block's transformed inputs, or of its products.
_BLOCK_BYTES = 576 * 1024
# Fewer tiles of a block read the kernels too often.
_LEAST_TILES = 7
# Fewer blocks leave threads idle.
_LEAST_BLOCKS = 8
# Kernels of one work item: with enough of them outputs are written in long runs.
_GROUP_MAPS = 128

Size = tuple[int, int]
# Schedules that may be asked for: each step for whole images, or blocks of tiles.
POINTS, BLOCKS = "points", "blocks"


def plan_for(
    channels: int,
    maps: int,
    source: Size,
    output: Size,
    pads: Size,
    tile: int,
    width: int,
    columns: int,
    schedule: str = "",
    stride: int = 1,
) -> Plan:
    """The plan that takes least for kernels packed in panels of ``columns`` maps.

    ``schedule`` leaves only plans of this schedule, if there are any.

    It follows from these numbers alone: it does not depend on the machine that compiles.
    """
    vectors = columns // width
    tiles = -(-output[0] // tile), -(-output[1] // tile)

    def plan(group: int, block: Size, by_points: bool) -> Plan:
        return Plan(
            channels, maps, source, output, pads, tile, width, vectors,
            largest_rows(width, vectors), group, block, by_points, stride,
        )  # fmt: skip

    panels = -(-maps // columns)
    points = 4 * filtering_of(tile, stride).inputs ** 2  # bytes of one float at each point
    candidates = [plan(max(1, min(panels, _GROUP_MAPS // columns)), tiles, True)]
    for block in _blocks(tiles, _BLOCK_BYTES // (points * channels * stride**2)):
        fitting = _BLOCK_BYTES // (points * block[0] * block[1] * columns)
        groups = -(-panels // max(1, fitting))
        blocks = plan(-(-panels // groups), block, False)
        if blocks.blocks >= _LEAST_BLOCKS:
            candidates.append(blocks)
    of_schedule = [one for one in candidates if schedule == (POINTS if one.by_points else BLOCKS)]
    return min(
        of_schedule or candidates, key=lambda candidate: seconds(candidate, typical_peaks(width))
    )


def _blocks(tiles: Size, most: int) -> Iterator[Size]:
    """Blocks of at most ``most`` tiles: parts of a row of tiles, or some whole rows."""
    for parts in range(1, tiles[1] + 1):
        columns = -(-tiles[1] // parts)
        if columns <= max(most, 1):
            yield 1, columns
        if columns < _LEAST_TILES:
            break
    for rows in range(2, tiles[0] + 1):
        if rows * tiles[1] <= most:
            yield rows, tiles[1]


def panel_columns(maps: int, output: Size, tile: int, width: int) -> int:
    """Maps of a panel of packed kernels.

    Two vectors make the highest register tiles that still load less than they multiply, and high
    tiles read the kernels least often. Few tiles take more vectors instead.
    """
    vectors = -(-maps // width)
    tiles = -(-output[0] // tile) * -(-output[1] // tile)
    wide = 2 if tiles > 6 else 4
    return min(vectors, 3 if vectors == 3 else wide) * width


def lines_ahead(plan: Plan) -> int:
    """Cache lines of other weights that memory can deliver beside the convolution's own."""
    peaks = typical_peaks(plan.width)
    cycle = 4 * plan.width / peaks.flops_per_second
    deliverable = _FETCHED * peaks.memory_bytes_per_second * _product_cycles(plan) * cycle
    spare = deliverable - 4 * plan.kernel_size
    return int(max(0.0, min(spare, _MOST_AHEAD)) / (4 * LINE))


def winograd_seconds(
    channels: int, maps: int, output: Size, tile: int, peaks: MachinePeaks, stride: int = 1
) -> float:
    """Estimated time for one image with tiles of ``tile`` x ``tile`` outputs.

    The kernels are taken to come from memory, as they do in a network with many weights.
    """
    width = peaks.vector_bits // 32
    columns = panel_columns(maps, output, tile, width)
    source = output[0] * stride, output[1] * stride
    plan = plan_for(channels, maps, source, output, (1, 1), tile, width, columns, stride=stride)
    return seconds(plan, peaks)


def best_tile(
    channels: int, maps: int, output: Size, peaks: MachinePeaks, stride: int = 1
) -> tuple[int, float]:
    """The tile size that takes least, and its estimated time for one image."""
    estimates = [
        (winograd_seconds(channels, maps, output, tile, peaks, stride), tile)
        for tile in TILES[stride]
    ]
    least, tile = min(estimates)
    return tile, least


def seconds(plan: Plan, peaks: MachinePeaks) -> float:
    """Estimated time for one image; see the module's text."""
    cycle = 4 * plan.width / peaks.flops_per_second  # two vectors of multiply-adds, all threads
    tiles = plan.tiles[0] * plan.tiles[1]
    vectors = [-(-plan.channels // plan.width), -(-plan.maps // plan.width)]
    transforms = _INPUT_CYCLES * vectors[0] * plan.span**2
    transforms += _OUTPUT_CYCLES * vectors[1] * plan.points
    kernels = 4 * plan.kernel_size
    between = 4 * (plan.input_size + plan.product_size)
    filled = min(1.0, (between + min(kernels, between)) / peaks.l2_bytes)
    total = tiles * transforms * cycle * (1 + (_FULL_CACHE - 1) * filled)
    products = _product_cycles(plan) / _REACHED * cycle
    images = 4 * (
        plan.source[0] * plan.source[1] * plan.channels
        + plan.output[0] * plan.output[1] * plan.maps
    )
    shared = peaks.l3_bytes_per_second
    memory = peaks.memory_bytes_per_second
    if plan.by_points:
        total += max(products, kernels / (_FETCHED * memory))
        outside = between - _NEAR * peaks.threads * peaks.l2_bytes
        if outside > 0:
            fits = between + images + min(kernels, peaks.l3_bytes / 2) < 0.75 * peaks.l3_bytes
            total += 2 * outside / (shared if fits else memory)
    else:
        again = shared if kernels < peaks.l3_bytes / 2 else memory
        total += max(products, plan.blocks * kernels / again)
        if kernels > peaks.l2_bytes / 2:
            total += _NOT_HIDDEN * plan.blocks * kernels / shared
    return total + max(0.0, images - peaks.l3_bytes / 2) / peaks.memory_bytes_per_second


def _product_cycles(plan: Plan) -> float:
    """Cycles of all register tiles."""
    if plan.by_points:
        counts = {plan.block_tiles: 1}
    else:
        counts = {}
        for rows in plan.cuts(0):
            for columns in plan.cuts(1):
                counts[rows * columns] = counts.get(rows * columns, 0) + 1
    whole, rest = divmod(plan.maps, plan.columns)
    panels = {plan.vectors: whole}
    if rest:
        last = -(-rest // plan.width)
        panels[last] = panels.get(last, 0) + 1
    cycles = 0.0
    for tiles, blocks in counts.items():
        for vectors, count in panels.items():
            for height in balanced(tiles, plan.rows):
                step = max(height * vectors / 2, (height + vectors) / 2, 4)
                multiplying = plan.span**2 * plan.channels * step
                cycles += blocks * count * (multiplying + plan.points * _TILE_CYCLES)
    return cycles


@functools.cache
def typical_peaks(width: int) -> MachinePeaks:
    """One core of a recent server: only the ratios matter."""
    return MachinePeaks(
        threads=1,
        vector_bits=32 * width,
        flops_per_second=250e9 * width / 16,
        l1_bytes_per_second=500e9,
        l2_bytes_per_second=240e9,
        l3_bytes_per_second=100e9,
        memory_bytes_per_second=40e9,
        l1_bytes=48 << 10,
        l2_bytes=1 << 20,
        l3_bytes=32 << 20,
    )
