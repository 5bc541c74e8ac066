"""Copying a strided block: the one kernel behind transpose, slice, concat, expand and others."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Call, Extent, View
from ..ir.dim import ceil_divide, product
from ..ir.errors import UnsupportedError

# Blocks of more dimensions that do not merge into fewer are refused by name.
MAXIMUM_RANK = 8
_ITEM_ELEMENTS = 8192  # elements that one work item copies
_BLOCK_ELEMENTS = 4096  # the same where the contiguous dimensions of both sides differ
# Sides of such a block come in steps of so many elements: cache lines of the usual types.
_STEP = 16
# Up to so many columns a block has all of them.
_MOST_COLUMNS = 64
# A block has at most so many rows, so that lines of the target that it meets twice stay near.
_MOST_ROWS = 256
_OPEN = 64  # sides of a block whose extents are open


def row_major_strides(shape: Sequence[Extent]) -> list[Extent]:
    """Element strides of a row-major block."""
    strides: list[Extent] = []
    step: Extent = 1
    for extent in reversed(shape):
        strides.append(step)
        step = step * extent
    return strides[::-1]


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _copy_rows(  # type: ignore[no-untyped-def]
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


def _copy_transposed(  # type: ignore[no-untyped-def]
    item, source, target,
    e0, e1, e2, e3, e4, e5, e6, e7,
    s0, s1, s2, s3, s4, s5, s6, s7,
    t0, t1, t2, t3, t4, t5, t6, t7,
    source_offset, target_offset, planes, columns, rows,
):  # fmt: skip
    blocks = (e7 + rows - 1) // rows
    begin7 = (item % blocks) * rows
    rest = item // blocks
    blocks = (e6 + columns - 1) // columns
    begin6 = (rest % blocks) * columns
    rest = rest // blocks
    blocks = (e5 + planes - 1) // planes
    begin5 = (rest % blocks) * planes
    rest = rest // blocks
    i4 = rest % e4
    rest = rest // e4
    i3 = rest % e3
    rest = rest // e3
    i2 = rest % e2
    rest = rest // e2
    i1 = rest % e1
    i0 = rest // e1
    first = source_offset + i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3 + i4 * s4
    into = target_offset + i0 * t0 + i1 * t1 + i2 * t2 + i3 * t3 + i4 * t4
    first = first + begin6 * s6 + begin7 * s7
    into = into + begin6 * t6 + begin7 * t7
    count6 = min(columns, e6 - begin6)
    count7 = min(rows, e7 - begin7)
    for i5 in range(begin5, min(begin5 + planes, e5)):
        transpose_block(source, first + i5 * s5, s7, target, into + i5 * t5, t6, count7, count6)


def transpose_block(  # type: ignore[no-untyped-def]
    source, first, source_step, target, into, target_step, rows, columns
):  # fmt: skip
    """Copy ``rows`` rows of ``columns`` elements to as many columns.

    Rows of the source lie ``source_step`` elements apart from ``first`` on, columns of the target
    ``target_step`` from ``into`` on. Targets have their own code for this function.
    """
    for column in range(columns):
        for row in range(rows):
            target[into + column * target_step + row] = source[first + row * source_step + column]


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
    near = [place for place, (_, step, _) in enumerate(dims[:-1]) if step == 1]
    if near and dims[-1][2] == 1 and dims[-1][1] not in (0, 1, -1):
        return _transposing(source, target, dims, near[-1], source_offset, target_offset)
    last: Extent = dims[-1][0] if dims else 1
    columns = min(max(last, 1), _ITEM_ELEMENTS) if isinstance(last, int) else _ITEM_ELEMENTS
    rows = _ITEM_ELEMENTS // columns if isinstance(last, int) else 16
    table, dims = _table(dims)
    blocks = ceil_divide(dims[-2][0], rows) * ceil_divide(dims[-1][0], columns)
    return Call(
        _copy_rows,
        (source, target),
        items=product(extent for extent, _, _ in dims[:-2]) * blocks,
        scalars=(*table, source_offset, target_offset, rows, columns),
    )


def _transposing(
    source: View,
    target: View,
    dims: _Block,
    near: int,
    source_offset: Extent,
    target_offset: Extent,
) -> Call:
    """The copy where dimension ``near`` is contiguous in the source, the last one in the target."""
    others = [dim for place, dim in enumerate(dims[:-1]) if place != near]
    table, dims = _table([*others, dims[near], dims[-1]])
    columns, rows = _block(dims[-2][0], dims[-1][0])
    planes = 1
    if isinstance(columns, int) and (columns, rows) == (dims[-2][0], dims[-1][0]):
        planes = max(1, _BLOCK_ELEMENTS // max(1, columns * rows))
        if isinstance(dims[-3][0], int):
            planes = min(planes, max(1, dims[-3][0]))
    blocks = ceil_divide(dims[-3][0], planes)
    blocks = blocks * ceil_divide(dims[-2][0], columns) * ceil_divide(dims[-1][0], rows)
    return Call(
        _copy_transposed,
        (source, target),
        items=product(extent for extent, _, _ in dims[:-3]) * blocks,
        scalars=(*table, source_offset, target_offset, planes, columns, rows),
    )


def _block(columns: Extent, rows: Extent) -> tuple[int, int]:
    """Columns and rows of the block of one work item.

    All columns where there are few; rows rather than columns then, because a column is
    contiguous in the target.
    """
    if not isinstance(columns, int):
        height = _part(rows, _MOST_ROWS) if isinstance(rows, int) else _OPEN
        return max(_STEP, _BLOCK_ELEMENTS // height), height
    if columns <= _MOST_COLUMNS:
        most = _BLOCK_ELEMENTS // max(1, columns)
        return max(1, columns), _part(rows, most) if isinstance(rows, int) else _OPEN
    height = _part(rows, _MOST_ROWS) if isinstance(rows, int) else _OPEN
    return _part(columns, max(_STEP, _BLOCK_ELEMENTS // height)), height


def _part(extent: int, most: int) -> int:
    """An extent in equal parts of whole steps, each of ``most`` or some more elements."""
    if extent <= most:
        return max(1, extent)
    size = ceil_divide(extent, ceil_divide(extent, most))
    assert isinstance(size, int)
    return -(-size // _STEP) * _STEP


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


def _table(dims: _Block) -> tuple[list[Extent], _Block]:
    """Eight extents, source strides and target strides; the dimensions filled up to eight."""
    dims = [(1, 0, 0)] * (MAXIMUM_RANK - len(dims)) + dims
    return [extent for column in zip(*dims, strict=True) for extent in column], dims
