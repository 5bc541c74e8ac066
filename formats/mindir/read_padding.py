"""Readers of padding."""

from __future__ import annotations

from ...ir import Extent, ModelError, UnsupportedError, Value
from .context import Context, ops
from .convert import Ints, enumerated
from .items import Item
from .registry import reads


@reads("Pad")
def _pad(g: Context, x: Value, paddings: Item) -> Value:
    before, after = pairs(g, paddings, g.rank(x))
    return g.add(ops.pad, x, before=before, after=after, mode="constant")


@reads("MirrorPad")
def _mirror_pad(g: Context, x: Value, paddings: Item, mode: Item = "REFLECT") -> Value:
    text = enumerated(mode, {0: "reflect", 1: "symmetric"}, "MirrorPad's mode")
    before, after = pairs(g, paddings, g.rank(x))
    if text == "reflect":
        return g.add(ops.pad, x, before=before, after=after, mode="reflect")
    if text == "symmetric":
        return _symmetric(g, x, before, after)
    raise UnsupportedError(f"MirrorPad with mode {text!r}")


def pairs(g: Context, paddings: Item, rank: int) -> tuple[Ints, Ints]:
    """(before, after) of each axis from a tuple of pairs or a tensor [rank, 2]."""
    if isinstance(paddings, tuple):
        rows = [g.whole_numbers(pair, "a padding") for pair in paddings]
    else:
        held = g.known(g.value(paddings), "the padding")
        rows = [tuple(int(item) for item in row) for row in held.reshape(-1, 2)]
    if len(rows) != rank or any(len(row) != 2 for row in rows):
        raise ModelError(f"{len(rows)} paddings are given for {rank} axes")
    return tuple(row[0] for row in rows), tuple(row[1] for row in rows)


def _symmetric(g: Context, x: Value, before: Ints, after: Ints) -> Value:
    """Mirrored at the edges, the edge elements repeated."""
    for axis in range(g.rank(x)):
        size = g.shape(x)[axis]
        if isinstance(size, int) and max(before[axis], after[axis]) > size:
            raise UnsupportedError(f"symmetric padding of {g.type(x)} beyond its size")
        parts = [x]
        if before[axis]:
            parts = [backwards(g, x, axis, before[axis] - 1, before[axis]), *parts]
        if after[axis]:
            parts = [*parts, backwards(g, x, axis, size - 1, after[axis])]
        if len(parts) > 1:
            x = g.add(ops.concat, *parts, axis=axis)
    return x


def backwards(g: Context, x: Value, axis: int, first: Extent, count: Extent) -> Value:
    """``count`` elements along ``axis`` from ``first`` on, in reverse."""
    shape = list(g.shape(x))
    starts: list[Extent] = [0] * len(shape)
    steps = [1] * len(shape)
    starts[axis], shape[axis], steps[axis] = first, count, -1
    return g.add(ops.slice, x, starts=tuple(starts), sizes=tuple(shape), steps=tuple(steps))


@reads("PadV3")
def _pad_v3(
    g: Context,
    x: Value,
    paddings: Ints,
    constant_value: Item = None,
    mode: Item = "constant",
    paddings_contiguous: bool = True,
) -> Value:
    rank = g.rank(x)
    if not paddings_contiguous:
        half = len(paddings) // 2
        paddings = tuple(
            v for pair in zip(paddings[:half], paddings[half:], strict=True) for v in pair
        )
    text = enumerated(mode, {}, "PadV3's mode")
    return padded_from_last(g, x, paddings, constant_value, text, rank)


def padded_from_last(
    g: Context, x: Value, paddings: Ints, fill: Item, mode: str, rank: int
) -> Value:
    """Padding given in pairs for the last axis first, as PyTorch does."""
    if len(paddings) % 2 or len(paddings) > 2 * rank:
        raise ModelError(f"{len(paddings)} paddings are given for {rank} axes")
    before, after = [0] * rank, [0] * rank
    for k in range(len(paddings) // 2):
        before[rank - 1 - k], after[rank - 1 - k] = paddings[2 * k], paddings[2 * k + 1]
    names = {"constant": "constant", "reflect": "reflect", "edge": "edge", "circular": "wrap"}
    names |= {"replicate": "edge", "wrap": "wrap"}
    if mode not in names:
        raise UnsupportedError(f"padding with mode {mode!r}")
    values = []
    if names[mode] == "constant" and fill is not None and not _is_zero(fill):
        values.append(g.reshape(g.value(fill, g.dtype(x)), ()))
    return g.add(ops.pad, x, *values, before=tuple(before), after=tuple(after), mode=names[mode])


def _is_zero(item: Item) -> bool:
    return isinstance(item, (bool, int, float)) and item == 0


@reads("ConstantPadND")
def _constant_pad(g: Context, x: Value, padding: Ints, value: Item = 0.0) -> Value:
    return padded_from_last(g, x, padding, value, "constant", g.rank(x))


@reads("ReflectionPad1D", "ReflectionPad2D", "ReflectionPad3D")
def _reflection_pad(g: Context, x: Value, padding: Ints) -> Value:
    return padded_from_last(g, x, padding, None, "reflect", g.rank(x))


@reads("ReplicationPad1D", "ReplicationPad2D", "ReplicationPad3D")
def _replication_pad(g: Context, x: Value, padding: Ints) -> Value:
    return padded_from_last(g, x, padding, None, "edge", g.rank(x))
