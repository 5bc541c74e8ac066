"""Copying a strided block: the one kernel behind transpose, slice, concat, expand and others."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Call, Extent, View
from ..ir.dim import product
from ..ir.errors import UnsupportedError

# Blocks of more dimensions that do not merge into fewer are refused by name.
MAXIMUM_RANK = 8
_INNER = 2  # dimensions looped inside one work item


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
    source_offset, target_offset,
):  # fmt: skip
    rest = item
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
    for i6 in range(e6):
        for i7 in range(e7):
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
    dims = [(1, 0, 0)] * (MAXIMUM_RANK - len(dims)) + dims
    columns = [extent for column in zip(*dims, strict=True) for extent in column]
    return Call(
        _copy_block,
        (source, target),
        items=product(extent for extent, _, _ in dims[:-_INNER]),
        scalars=(*columns, source_offset, target_offset),
    )


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
