"""Readers of running extremes and of what counts elements."""

from __future__ import annotations

import math

import numpy as np

from ...ir import Graph, ModelError, TensorType, UnsupportedError, Value
from ...ir.data_type import is_float
from ...ops.control import loop
from ..builder import Builder, Place
from ..shape_values import ShapeValues
from .context import Context, ops
from .items import Item
from .registry import reads


@reads("Cummax", "Cummin")
def _running_extreme(g: Context, x: Value, axis: int = 0) -> Item:
    """The extremes up to each element and their places, of equal ones the last.

    Spans of 1, 2, 4, ... elements are joined, so that n elements take log2(n) steps.
    """
    if g.rank(x) == 0:
        return x, g.constant(0, "int64")
    place = g.axis(x, axis)
    extent = g.shape(x)[place]
    if not isinstance(extent, int):
        raise UnsupportedError(f"{g.primitive} along {extent} elements, which only a run tells")
    narrow = g.dtype(x) in ("bool", "int8", "uint8", "int16", "uint16")
    values = g.cast(x, "int32") if narrow else x
    shape = tuple(extent if k == place else 1 for k in range(g.rank(x)))
    order = g.constant(np.arange(extent, dtype=np.int64).reshape(shape))
    places = g.expand(order, g.shape(x))
    earlier_wins = ops.greater if g.primitive == "Cummax" else ops.less
    step = 1
    while step < extent:
        left, right = (
            tuple(g.slice_axis(v, place, start, extent - step) for v in (values, places))
            for start in (0, step)
        )
        wins = g.add(earlier_wins, left[0], right[0])
        if is_float(g.dtype(values)):
            # What is not a number wins over all that follow it.
            wins = g.add(ops.logical_or, wins, g.add(ops.is_nan, left[0]))
            number = g.add(ops.logical_not, g.add(ops.is_nan, right[0]))
            wins = g.add(ops.logical_and, wins, number)
        values, places = (
            g.joined([g.slice_axis(v, place, 0, step), g.add(ops.where, wins, a, b)], place)
            for v, a, b in zip((values, places), left, right, strict=True)
        )
        step *= 2
    return g.cast(values, g.dtype(x)), places


@reads("CumulativeLogsumexp")
def _running_log_sum(
    g: Context, x: Value, axis: int, exclusive: bool = False, reverse: bool = False
) -> Value:
    """The logarithm of the sums of exponentials up to each element."""
    place = g.axis(x, axis)
    top = g.add(ops.reduce_max, x, axes=(place,), keepdims=True)
    infinite = g.add(ops.is_inf, top)
    top = g.add(ops.where, infinite, g.scalar_like(x, 0), top)
    wide = g.cast(g.add(ops.sub, x, top), "float64")
    total = g.add(
        ops.cum_sum, g.add(ops.exp, wide), axis=place, exclusive=exclusive, reverse=reverse
    )
    result = g.add(ops.add, g.add(ops.log, total), g.cast(top, "float64"))
    if exclusive:
        # MindSpore gives the lowest number where there is nothing to add.
        low = float(np.finfo(np.dtype(TensorType(g.dtype(x)).numpy)).min)
        none = g.add(ops.equal, total, g.scalar_like(total, 0))
        result = g.add(ops.where, none, g.scalar_like(result, low), result)
    return g.cast(result, g.dtype(x))


# --- common divisors -------------------------------------------------------------------------


@reads("Gcd", "Lcm")
def _divisor(g: Context, x: Item, y: Item) -> Value:
    """The greatest common divisor, by Euclid's algorithm of all elements at a time."""
    left, right = g.pair(x, y)
    dtype = g.dtype(left)
    if not dtype.startswith(("int", "uint")):
        raise ModelError(f"{g.primitive} of {dtype}")
    total = g.add(ops.add, left, right)
    first = [g.expand(v, g.shape(total)) for v in (left, right)]
    first = [g.add(ops.abs, v) if dtype.startswith("int") else v for v in first]
    body = Graph("euclid")
    body.input("iteration", TensorType("int64"))
    body.input("going", TensorType("bool"))
    a, b = (body.input(f"carried{k}", g.type(v)) for k, v in enumerate(first))
    inside = Builder(Place(body, ShapeValues(body, "b.", lambda value: None)), g.origin, "euclid")
    done = inside.add(ops.equal, b, inside.scalar_like(b, 0))
    rest = inside.add(ops.mod, a, inside.add(ops.where, done, inside.scalar_like(b, 1), b))
    greatest = inside.add(ops.where, done, a, b)
    rest = inside.add(ops.where, done, inside.scalar_like(b, 0), rest)
    body.output(_some(inside, rest), "again")
    body.output(greatest, "greatest")
    body.output(rest, "rest")
    going = _some(g, first[1])
    operands = [None, going, *first]
    node = g.add_node(loop, operands, {"body": body, "carried": 2, "trip_limit": 0})
    found = node.outputs[0]
    if g.primitive == "Gcd":
        return found
    empty = g.add(ops.equal, found, g.scalar_like(found, 0))
    safe = g.add(ops.where, empty, g.scalar_like(found, 1), found)
    return g.add(ops.mul, g.add(ops.div, first[0], safe), first[1])


def _some(g: Builder, x: Value) -> Value:
    """Whether some elements are not zero."""
    flags = g.cast(g.add(ops.not_equal, x, g.scalar_like(x, 0)), "int32")
    flags = g.reshape(flags, (g.type(x).size,))
    total = g.add(ops.reduce_max, flags, axes=(0,), keepdims=False)
    return g.add(ops.greater, total, g.constant(0, "int32"))


# --- counts ----------------------------------------------------------------------------------


@reads("Histogram")
def _histogram(g: Context, x: Value, bins: int = 100, min: float = 0.0, max: float = 0.0) -> Value:
    """How many elements lie in each of ``bins`` equal spans; the last contains its end."""
    if bins < 1:
        raise ModelError(f"Histogram of {bins} bins")
    g.check_computed(bins, 1)
    flat = g.reshape(x, (g.type(x).size,))
    dtype = g.dtype(x)
    wide = flat if dtype in ("float32", "float64") else g.cast(flat, "float32")
    if min == max:
        low = g.add(ops.reduce_min, wide, axes=(0,), keepdims=False)
        high = g.add(ops.reduce_max, wide, axes=(0,), keepdims=False)
        level = g.add(ops.equal, low, high)
        one = g.scalar_like(wide, 1)
        low, high = (
            g.add(ops.where, level, g.add(op, end, one), end)
            for op, end in ((ops.sub, low), (ops.add, high))
        )
    else:
        low, high = g.scalar_like(wide, min), g.scalar_like(wide, max)
    share = g.add(ops.div, g.add(ops.sub, wide, low), g.add(ops.sub, high, low))
    place = g.add(ops.floor, g.add(ops.mul, share, g.scalar_like(share, bins)))
    inside = g.add(
        ops.logical_and,
        g.add(ops.greater_equal, wide, low),
        g.add(ops.less_equal, wide, high),
    )
    # Elements outside are counted in a bin of their own, which is left out.
    place = g.add(ops.minimum, place, g.scalar_like(place, bins - 1))
    place = g.add(ops.where, inside, place, g.scalar_like(place, bins))
    counts = _counted(g, g.cast(place, "int64"), bins + 1)
    kept = g.slice_axis(counts, 0, 0, bins)
    return g.cast(kept, g.declared(0, dtype))


def _counted(g: Context, places: Value, count: int) -> Value:
    """How often each of 0 to ``count`` - 1 occurs."""
    ones = g.expand(g.constant(1, "int64"), g.shape(places))
    nothing = g.expand(g.constant(0, "int64"), (count,))
    return g.add(ops.scatter_nd, nothing, g.unsqueeze(places, 1), ones, reduction="add")


@reads("PopulationCount")
def _ones(g: Context, x: Value) -> Value:
    """How many bits are set in whole numbers of 16 bits."""
    dtype = g.dtype(x)
    if dtype not in ("int16", "uint16"):
        raise ModelError(f"PopulationCount of {dtype}")
    bits = g.cast(x, "uint16")
    total = g.constant(0, "uint16")
    for k in range(16):
        bit = g.add(ops.shift_right, bits, g.constant(k, "uint16"))
        total = g.add(ops.add, total, g.add(ops.bitwise_and, bit, g.constant(1, "uint16")))
    return g.cast(total, "uint8")


@reads("LogSpace")
def _log_space(
    g: Context, start: float, end: float, steps: int = 10, base: int = 10, dtype: Item = None
) -> Value:
    g.check_computed(steps, 1)
    kind = g.declared(0, "float32")
    powers = np.linspace(start, end, steps)
    if steps and not -300 < min(0.0, *powers) * math.log10(max(base, 2)) < 300:
        raise UnsupportedError(f"LogSpace from {base}^{start} to {base}^{end}")
    return g.constant(np.power(float(base), powers), kind)


@reads("HammingWindow")
def _hamming(
    g: Context,
    length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    dtype: Item = None,
) -> Value:
    g.check_computed(length, 1)
    if length < 0:
        raise ModelError(f"HammingWindow of {length} places")
    count = length if periodic else length - 1
    turn = 2 * math.pi * np.arange(length) / max(count, 1)
    window = alpha - beta * np.cos(turn) if length != 1 else np.ones(1)
    return g.constant(window, g.declared(0, "float32"))
