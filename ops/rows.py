"""How tensors normalised along an axis are cut into work items."""

from __future__ import annotations

from ..ir import Extent
from ..ir.dim import ceil_divide

# Elements that make an item worth handing to a thread.
ITEM_ELEMENTS = 4096
# Neighbouring columns that are computed together where the axis is not the last one.
COLUMNS = 256


def rows_per_item(row: Extent) -> Extent:
    """Rows of an item for rows of this many elements."""
    return max(1, ITEM_ELEMENTS // max(row, 1)) if isinstance(row, int) else 1


def columns_per_item(outer: Extent, inner: Extent) -> Extent:
    """Columns of an item: all of them where ``outer`` gives items enough."""
    if isinstance(inner, int) and (not isinstance(outer, int) or outer >= 16 or inner <= COLUMNS):
        return inner
    return COLUMNS


def item_count(extent: Extent, block: Extent) -> Extent:
    """How many blocks cover ``extent``."""
    if extent == block:
        return 1
    return extent if block == 1 else ceil_divide(extent, block)
