"""Copying a strided block: the one kernel behind transpose, slice, concat, expand and others."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Call, Extent, View
from ..ir.dim import ceil_divide, product
from ..ir.errors import UnsupportedError

# Blocks of more dimensions that do not merge into fewer are refused by name.
MAXIMUM_RANK = 8
_INNER = 2  # dimensions looped inside one work item, in part
_ITEM_ELEMENTS = 8192  # elements that one work item copies
_TILE_ELEMENTS = 2048  # the same where reading jumps
_TILE_SIDE = 32


def row_major_strides(shape: Sequence[Extent]) -> list[Extent]:
    """Element strides of a row-major block."""
    strides: list[Extent] = []
    step: Extent = 1
    for extent in reversed(shape):
        strides.append(step)
        step = step * extent
    return strides[::-1]


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _copy_block(  # type: ignore[no-untyped-def]
    item, source, target,
    e0, e1, e2, e3, e4, e5, e6, e7,
    s0, s1, s2, s3, s4, s5, s6, s7,
    t0, t1, t2, t3, t4, t5, t6, t7,
    source_offset, target_offset, rows, columns,
):  # fmt: skip
    blocks = (e7 + columns - 1) // columns
    begin7 = (item % blocks) * columns
    rest = item // blocks
    blocks = (e6 + rows - 1) // rows
    begin6 = (rest % blocks) * rows
    rest = rest // blocks
    i5 = rest % e5
    rest = rest // e5
    i4 = rest % e4
    rest = rest // e4
    i3 = rest % e3
    rest = rest // e3
    i2 = rest % e2
    rest = rest // e2
    i1 = rest % e1
    i0 = rest // e1
    first = source_offset + i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3 + i4 * s4 + i5 * s5
    into = target_offset + i0 * t0 + i1 * t1 + i2 * t2 + i3 * t3 + i4 * t4 + i5 * t5
    first = first + begin6 * s6 + begin7 * s7
    into = into + begin6 * t6 + begin7 * t7
    count6 = min(rows, e6 - begin6)
    count7 = min(columns, e7 - begin7)
    if count7 == columns:  # the usual case, with a number of elements that is known
        for i6 in range(count6):
            for i7 in range(columns):
                target[into + i6 * t6 + i7 * t7] = source[first + i6 * s6 + i7 * s7]
    else:
        for i6 in range(count6):
            for i7 in range(count7):
                target[into + i6 * t6 + i7 * t7] = source[first + i6 * s6 + i7 * s7]


def strided_copy(
    source: View,
    target: View,
    extents: Sequence[Extent],
    source_strides: Sequence[Extent],
    target_strides: Sequence[Extent],
    source_offset: Extent = 0,
    target_offset: Extent = 0,
) -> Call:
    """The Call that copies a block of shape ``extents``; strides and offsets count elements.

    ``source`` and ``target`` are flat views. A source stride of 0 repeats, a negative one
    reverses. The caller answers for the block lying inside both views. Raises
    UnsupportedError when more than eight dimensions are left after merging.
    """
    dims = _merged(list(zip(extents, source_strides, target_strides, strict=True)))
    if len(dims) > MAXIMUM_RANK:
        raise UnsupportedError(
            f"copying a block of {len(dims)} dimensions ({MAXIMUM_RANK} at most)"
        )
    dims, rows, columns = _tiled(dims)
    dims = [(1, 0, 0)] * (MAXIMUM_RANK - len(dims)) + dims
    table = [extent for column in zip(*dims, strict=True) for extent in column]
    blocks = ceil_divide(dims[-2][0], rows) * ceil_divide(dims[-1][0], columns)
    return Call(
        _copy_block,
        (source, target),
        items=product(extent for extent, _, _ in dims[:-_INNER]) * blocks,
        scalars=(*table, source_offset, target_offset, rows, columns),
    )


def _tiled(dims: _Block) -> tuple[_Block, int, int]:
    """The dimensions in the order of the loops, and the rows and columns of one work item.

    Where reading jumps along the last dimension and another is contiguous, that one becomes the
    last but one, and an item is a tile of both small enough for the cache.
    """
    last_extent, last_source, _ = dims[-1] if dims else (1, 1, 1)
    near = [place for place, (_, source, _) in enumerate(dims[:-1]) if source in (1, -1)]
    if not near or last_source in (0, 1, -1):
        if not isinstance(last_extent, int):
            return dims, 16, _ITEM_ELEMENTS
        columns = min(max(last_extent, 1), _ITEM_ELEMENTS)
        return dims, _ITEM_ELEMENTS // columns, columns
    moved = dims[near[-1]]
    dims = [*(d for place, d in enumerate(dims[:-1]) if place != near[-1]), moved, dims[-1]]
    columns = _tile_side(last_extent, last_source, moved[0])
    return dims, max(1, _TILE_ELEMENTS // columns), columns


def _tile_side(extent: Extent, jump: Extent, other: Extent) -> int:
    """The columns of a tile: few, so that what is read stays in the cache until all is used.

    Lines that are a large power of two apart share places in the cache, so they are fewer; where
    the tile has few rows, the columns are more.
    """
    side = _TILE_SIDE // 2 if isinstance(jump, int) and jump % 1024 == 0 else _TILE_SIDE
    if isinstance(other, int) and 0 < other < side:
        side = _TILE_ELEMENTS // other
    return min(side, max(extent, 1)) if isinstance(extent, int) else side


_Block = list[tuple[Extent, Extent, Extent]]


def _merged(dims: _Block) -> _Block:
    """Drop dimensions of extent 1 and join neighbours that are one run in both blocks."""
    result: _Block = []
    for extent, source, target in dims:
        if extent == 1:
            continue
        if result:
            outer, outer_source, outer_target = result[-1]
            if outer_source == extent * source and outer_target == extent * target:
                result[-1] = (outer * extent, source, target)
                continue
        result.append((extent, source, target))
    return result
