"""How products by Strassen's algorithm are cut, and how their weights are packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....ir import Array, Extent
from .tile import largest_rows

# Steps of one register tile: with so many, what is done between tiles takes little time. Two
# levels are worth more than that.
_MOST_DEPTH, _LEAST_DEPTH = 520, (96, 64)
# Steps that are enough for all packed rows of a chunk to stay in the second cache.
_ENOUGH_DEPTH = 128
# With fewer rows it is the weights' way from memory that takes the time, or tiles are too low.
_LEAST_ROWS, _LEAST_HEIGHT = 32, 10
# Floats of packed rows that stay in the second cache, beside two pairs of panels.
_MOST_FACTORS = 120_000
# With fewer columns the sums of rows take the time that is saved: the sooner, the more packed
# rows there are, up to where they come from memory.
_LEAST_COLUMNS, _FACTORS_A_COLUMN, _ALWAYS_ENOUGH_COLUMNS = 160, 6_000, 384
_FACTORS_A_COLUMN_TWICE = 3_000
# Two levels take longer sums, or more columns to share the packed rows. With fewer
# multiplications they save a hundredth, and their code takes twice as long to compile.
_LEAST_DEPTH_TWICE, _LEAST_COLUMNS_TWICE, _LEAST_WORK_TWICE = 192, 512, 1 << 27
_PANEL_VECTORS = 2
# Steps whose factors stand together in the packed rows: one cache line of each row.
BLOCK = 16
PRODUCTS, QUARTERS = 7, 4


@dataclass(frozen=True, slots=True)
class StrassenPlan:
    """How a product is cut: ``rows`` x ``inner`` times ``inner`` x ``columns``.

    With two ``levels`` each of the seven products is computed by seven products itself: a stage.
    A stage's inner extent is cut in ``chunks`` of two times ``depth``, each a product of quarters
    of its own. A panel of the left half of the columns goes together with one of the right half;
    there are ``pairs`` of them, each of ``panel`` columns. An item is a group of the tiles that
    a quarter's rows are cut in, and some neighbouring pairs, cut for so many ``threads``.
    """

    rows: int
    inner: int
    columns: int
    levels: int
    pairs: int
    chunks: int
    depth: int
    panel: int
    width: int
    threads: int = 1

    @property
    def stages(self) -> int:
        """Products by seven products."""
        return PRODUCTS if self.levels == 2 else 1

    @property
    def packed_shape(self) -> tuple[int, ...]:
        """Shape of the packed quarters of the constant matrix."""
        return (self.stages, self.chunks, self.pairs, QUARTERS, self.depth, self.panel)

    @property
    def half(self) -> int:
        """Columns of the left half of a stage."""
        return self.pairs * self.panel

    @property
    def half_rows(self) -> int:
        """Rows of the upper half of a stage."""
        return self.rows >> self.levels

    @property
    def last(self) -> int:
        """Columns of the right half's last panel."""
        return self.panel if self.levels == 2 else self.columns - (2 * self.pairs - 1) * self.panel

    @property
    def heights(self) -> tuple[int, ...]:
        """Rows of the register tiles of a half, the highest first."""
        half, tiles = self.half_rows, self._least_tiles
        if self.groups > self._least_groups:
            tiles = _multiple(tiles, self.groups)
        return tuple(half // tiles + (number < half % tiles) for number in range(tiles))

    @property
    def _least_tiles(self) -> int:
        return -(-self.half_rows // largest_rows(self.width, self.panel // self.width))

    @property
    def _least_groups(self) -> int:
        """Groups of tiles whose packed rows of a chunk stay in the second cache."""
        tiles = self._least_tiles
        size = -(-self.half_rows // tiles) * self.blocks * BLOCK
        return min(tiles, -(-tiles * PRODUCTS * size // _MOST_FACTORS))

    @property
    def stays(self) -> bool:
        """True where all packed rows of a chunk stay in the second cache."""
        return self._least_groups == 1

    @property
    def groups(self) -> int:
        """Groups of tiles: as many for each thread, of as many tiles, if these are not too low."""
        even = _multiple(self._least_groups, self.threads)
        tiles = _multiple(self._least_tiles, even)
        return even if self.half_rows // tiles >= _LEAST_HEIGHT else self._least_groups

    @property
    def parts(self) -> int:
        """Parts of the pairs: the fewest that give each thread an item, for each packs rows."""
        return min(self.pairs, -(-self.threads // self.groups))

    @property
    def blocks(self) -> int:
        """Blocks of steps of a tile; the last one may be shorter."""
        return -(-self.depth // BLOCK)

    @property
    def factor_size(self) -> int:
        """Floats of the packed rows of one tile and one of the products."""
        return self.blocks * self.heights[0] * BLOCK

    @property
    def row_factors(self) -> int:
        """Floats of an item's packed rows of a chunk: [tile, product, block, row, step]."""
        return -(-len(self.heights) // self.groups) * PRODUCTS * self.factor_size

    @property
    def quarters(self) -> int:
        """Quarters of a stage's result, of all that are kept."""
        return QUARTERS if self.levels == 1 else QUARTERS * QUARTERS

    @property
    def tile_size(self) -> int:
        """Floats of a register tile."""
        return self.heights[0] * self.panel

    @property
    def sums(self) -> int:
        """Floats of the sums under way: [pair, tile, quarter, quarter of it, row, column]."""
        if self.levels == self.chunks == 1:
            return 0
        return self.pairs * len(self.heights) * self.quarters * self.tile_size


def strassen_plan(
    rows: Extent, inner: int, columns: int, width: int, levels: int = 1
) -> StrassenPlan | None:
    """The plan; None where the product is better computed as it is, or cannot be cut."""
    if not isinstance(rows, int) or rows < _LEAST_ROWS:
        return None
    parts = 1 << levels
    if rows % parts or inner % parts:
        return None
    panel = _PANEL_VECTORS * width
    panels = -(-columns // panel)
    if panels % parts or (levels == 2 and columns % panel):
        return None
    pairs, steps = panels // parts, inner // parts
    possible = range(-(-steps // _MOST_DEPTH), steps // _LEAST_DEPTH[levels - 1] + 1)
    plans = [
        StrassenPlan(rows, inner, columns, levels, pairs, chunks, steps // chunks, panel, width)
        for chunks in possible
        if steps % chunks == 0
    ]
    if not plans:
        return None
    plan = next((p for p in plans if p.depth >= _ENOUGH_DEPTH and p.stays), plans[0])
    factors = rows * inner * (7 / 4) ** levels
    if levels == 2:
        if plan.heights[-1] < _LEAST_HEIGHT or columns < factors / _FACTORS_A_COLUMN_TWICE:
            return None
        if rows * inner * columns < _LEAST_WORK_TWICE:
            return None
        return plan if plan.depth >= _LEAST_DEPTH_TWICE or columns >= _LEAST_COLUMNS_TWICE else None
    enough = _LEAST_COLUMNS + factors / _FACTORS_A_COLUMN
    return plan if columns >= min(enough, _ALWAYS_ENOUGH_COLUMNS) else None


def pack_quarters(weights: Array, plan: StrassenPlan) -> Array:
    """``weights`` [inner, columns] as quarters of pairs of panels, zeros behind the last column.

    In the place of the second quarter, upper right, is the sum T2 = B22 - B12 + B11 of
    :mod:`.strassen_writer`: all others are differences of two of these four. With two levels
    it is the second factors of the seven stages that are packed so.
    """
    stages: Sequence[Array]
    if plan.levels == 2:
        a, b, c, d = _quarters(weights.astype(np.float64))
        t1 = b - a
        t2 = d - t1
        stages = (a, c, t2, d - b, t1, c - t2, d)
    else:
        padded = np.zeros((plan.inner, 2 * plan.half), weights.dtype)
        padded[:, : plan.columns] = weights
        stages = (padded,)
    packed = np.empty(plan.packed_shape, weights.dtype)
    for stage, target in zip(stages, packed, strict=True):
        cut = stage.reshape(plan.chunks, 2, plan.depth, 2, plan.pairs, plan.panel)
        parts = cut.transpose(0, 4, 1, 3, 2, 5).reshape(plan.packed_shape[1:])
        target[...] = parts
        upper, right, _, lower = (parts[:, :, k].astype(np.float64) for k in range(QUARTERS))
        target[:, :, 1] = lower - right + upper
    return packed


def unpack_quarters(packed: Array, columns: int) -> Array:
    """The matrix that :func:`pack_quarters` packed, in float64; parts of it were rounded."""
    stages, chunks, pairs, _, depth, panel = packed.shape
    parts = packed.astype(np.float64)
    parts[:, :, :, 1] = parts[:, :, :, 3] - parts[:, :, :, 1] + parts[:, :, :, 0]
    cut = parts.reshape(stages, chunks, pairs, 2, 2, depth, panel).transpose(0, 1, 3, 5, 4, 2, 6)
    found = cut.reshape(stages, chunks * 2 * depth, 2 * pairs * panel)
    if stages == 1:
        return np.asarray(found[0, :, :columns])
    a, c, _, _, t1, _, d = found
    return np.block([[a, t1 + a], [c, d]])


def _multiple(number: int, of: int) -> int:
    return -(-number // of) * of


def _quarters(matrix: Array) -> tuple[Array, Array, Array, Array]:
    """Upper left, upper right, lower left, lower right."""
    half, middle = matrix.shape[0] // 2, matrix.shape[1] // 2
    upper, lower = matrix[:half], matrix[half:]
    return upper[:, :middle], upper[:, middle:], lower[:, :middle], lower[:, middle:]
