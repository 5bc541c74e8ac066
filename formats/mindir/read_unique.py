"""Readers of distinct elements."""

from __future__ import annotations

from ...ir import UnsupportedError, Value
from .context import Context, ops
from .items import Item
from .read_linear_algebra import counted
from .registry import reads


@reads("Unique")
def _unique(g: Context, x: Value) -> Item:
    flat = g.reshape(x, (g.type(x).size,))
    found, _, inverse, _, count = g.add_node(ops.unique, (flat,), {"sorted": False}).outputs
    values = g.slice_axis(found, 0, 0, g.shapes.measure(count, 0))
    return values, g.reshape(g.cast(inverse, "int32"), g.shape(x))


@reads("UniqueConsecutive")
def _unique_consecutive(
    g: Context,
    x: Value,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: Item = None,
) -> Item:
    """Elements that differ from the one before, which of them each is, and how often."""
    if isinstance(dim, int) and not (g.rank(x) == 1 and dim in (0, -1)) and dim != 1000:
        raise UnsupportedError(f"UniqueConsecutive along the axis {dim} of {g.type(x)}")
    size = g.type(x).size
    flat = g.reshape(x, (size,))
    first = g.add(ops.expand, g.constant(True, "bool"), shape=(1,))
    before, after = (g.slice_axis(flat, 0, start, size - 1) for start in (0, 1))
    starts = g.joined([first, g.add(ops.not_equal, before, after)], 0)
    places = g.add(ops.cum_sum, g.cast(starts, "int64"), axis=0)
    inverse = g.add(ops.sub, places, g.constant(1, "int64"))
    found = _true_places(g, starts)
    values = g.add(ops.gather, flat, found, axis=0)
    end = g.add(ops.expand, g.whole(size), shape=(1,))
    count = g.shape(found)[0]
    ends = g.joined([g.slice_axis(found, 0, 1, count - 1), end], 0)
    return values, g.reshape(inverse, g.shape(x)), g.add(ops.sub, ends, found)


def _true_places(g: Context, flags: Value) -> Value:
    """Where a vector of flags is true."""
    kept, count = g.add_node(
        ops.compress, (counted(g, g.shape(flags)[0]), flags), {"axis": 0}
    ).outputs
    return g.slice_axis(kept, 0, 0, g.shapes.measure(count, 0))


@reads("UniqueWithPad")
def _unique_with_pad(g: Context, x: Value, pad_num: Value) -> Item:
    """The distinct elements and, behind them, ``pad_num`` as often as needed."""
    values, inverse = _unique(g, x)
    room = g.type(x).size - g.shape(values)[0]
    rest = g.expand(g.cast(pad_num, g.dtype(x)), (room,))
    return g.joined([values, rest], 0), inverse
