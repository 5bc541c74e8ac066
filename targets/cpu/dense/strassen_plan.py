"""How products by Strassen's algorithm are cut, and how their weights are packed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....ir import Array, Extent
from .tile import largest_rows

# Steps of one register tile: with so many, what is done between tiles takes little time, and
# all that a pair of panels needs stays in the second cache.
_MOST_DEPTH = 520
_LEAST_DEPTH = 96
# With fewer rows it is the weights' way from memory that takes the time.
_LEAST_ROWS = 32
# Floats of packed rows that stay in the second cache, and in the last one.
MOST_FACTORS, _MOST_SHARED_FACTORS = 200_000, 3_000_000
# Fewer items would not be shared out evenly.
_LEAST_ITEMS = 24
# With fewer columns the sums of rows take the time that is saved: the sooner, the more packed
# rows there are, up to where they come from memory.
_LEAST_COLUMNS, _FACTORS_A_COLUMN, _ALWAYS_ENOUGH_COLUMNS = 96, 6_000, 384
_PANEL_VECTORS = 2
# Steps whose factors stand together in the packed rows: one cache line of each row.
BLOCK = 16
PRODUCTS, QUARTERS = 7, 4


@dataclass(frozen=True, slots=True)
class StrassenPlan:
    """How a product is cut: ``rows`` x ``inner`` times ``inner`` x ``columns``.

    The inner extent is cut in ``chunks`` of two times ``depth``, each a product of quarters of
    its own. A panel of the left half of the columns goes together with one of the right half;
    there are ``pairs`` of them, each of ``panel`` columns. An item is a pair and a group of the
    tiles that the rows are cut in.
    """

    rows: int
    inner: int
    columns: int
    pairs: int
    chunks: int
    depth: int
    panel: int
    width: int

    @property
    def packed_shape(self) -> tuple[int, ...]:
        """Shape of the packed quarters of the constant matrix."""
        return (self.pairs, self.chunks, QUARTERS, self.depth, self.panel)

    @property
    def half(self) -> int:
        """Columns of the left half."""
        return self.pairs * self.panel

    @property
    def last(self) -> int:
        """Columns of the right half's last panel."""
        return self.columns - self.half - (self.pairs - 1) * self.panel

    @property
    def heights(self) -> tuple[int, ...]:
        """Rows of the register tiles of a half, the highest first."""
        half = self.rows // 2
        tiles = -(-half // largest_rows(self.width, self.panel // self.width))
        return tuple(half // tiles + (number < half % tiles) for number in range(tiles))

    @property
    def groups(self) -> int:
        """Groups of tiles: those of one stay in the second cache, and items are many or even."""
        tiles = len(self.heights)
        groups = min(tiles, -(-tiles * PRODUCTS * self.factor_size // MOST_FACTORS))
        while groups < tiles and (self.pairs * groups < _LEAST_ITEMS or self.pairs * groups % 2):
            groups += 1
        return groups

    @property
    def by_rows(self) -> bool:
        """True when pair after pair comes by a group of rows, not the other way round."""
        return self.row_factors > _MOST_SHARED_FACTORS

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
        """Floats of all packed rows: [chunk, tile, product, block, row of the tile, step]."""
        return self.chunks * len(self.heights) * PRODUCTS * self.factor_size


def strassen_plan(rows: Extent, inner: int, columns: int, width: int) -> StrassenPlan | None:
    """The plan; None where the product is better computed as it is, or cannot be cut."""
    if not isinstance(rows, int) or rows < _LEAST_ROWS:
        return None
    if rows % 2 or inner % 2:
        return None
    panel = _PANEL_VECTORS * width
    panels = -(-columns // panel)
    if panels % 2:
        return None
    half = inner // 2
    possible = range(-(-half // _MOST_DEPTH), half // _LEAST_DEPTH + 1)
    chunks = next((count for count in possible if half % count == 0), None)
    if chunks is None:
        return None
    plan = StrassenPlan(rows, inner, columns, panels // 2, chunks, half // chunks, panel, width)
    enough = _LEAST_COLUMNS + plan.row_factors // _FACTORS_A_COLUMN
    return plan if columns >= min(enough, _ALWAYS_ENOUGH_COLUMNS) else None


def pack_quarters(weights: Array, plan: StrassenPlan) -> Array:
    """``weights`` [inner, columns] as quarters of pairs of panels, zeros behind the last column.

    In the place of the second quarter, upper right, is the sum T2 = B22 - B12 + B11 of
    :mod:`.strassen_writer`: all others are differences of two of these four.
    """
    padded = np.zeros((plan.inner, 2 * plan.half), weights.dtype)
    padded[:, : plan.columns] = weights
    cut = padded.reshape(plan.chunks, 2, plan.depth, 2, plan.pairs, plan.panel)
    packed = cut.transpose(4, 0, 1, 3, 2, 5).reshape(plan.packed_shape)
    upper, _, _, lower = (packed[:, :, k].astype(np.float64) for k in range(QUARTERS))
    packed[:, :, 1] = lower - packed[:, :, 1] + upper
    return packed


def unpack_quarters(packed: Array, columns: int) -> Array:
    """The matrix that :func:`pack_quarters` packed, in float64; a quarter of it was rounded."""
    pairs, chunks, _, depth, panel = packed.shape
    parts = packed.astype(np.float64)
    parts[:, :, 1] = parts[:, :, 3] - parts[:, :, 1] + parts[:, :, 0]
    cut = parts.reshape(pairs, chunks, 2, 2, depth, panel).transpose(1, 2, 4, 3, 0, 5)
    return cut.reshape(chunks * 2 * depth, 2 * pairs * panel)[:, :columns]
