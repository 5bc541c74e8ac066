"""Readers of sequence operators: sequences of known length are resolved while reading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir import Extent, ModelError, Value
from .context import Context, ops
from .registry import reads
from .sequences import TensorSequence

# Members of one sequence; more come from hostile files.
_MOST = 10_000


def _members(g: Context, sequence: TensorSequence | Value) -> list[Value]:
    if not isinstance(sequence, TensorSequence):
        raise ModelError(f"a sequence is expected, not {g.type(sequence)}")
    return list(sequence.items)


def _position(g: Context, position: Value, count: int, what: str) -> int:
    place = g.integer(position, what)
    if not -count <= place < count:
        raise ModelError(f"{what} is {place} in a sequence of {count}")
    return place % count


def _tensors(g: Context, values: Sequence[Value | TensorSequence]) -> list[Value]:
    found = [value for value in values if isinstance(value, Value)]
    if len(found) != len(values):
        g.unsupported("sequences of sequences")
    return found


@reads("SequenceEmpty", since=11)
def _empty(g: Context, *, dtype: int = 1) -> TensorSequence:
    return TensorSequence(())


@reads("SequenceConstruct", since=11, sequences=True)
def _construct(g: Context, *inputs: Value | TensorSequence) -> TensorSequence:
    return TensorSequence(tuple(_tensors(g, inputs)))


@reads("SequenceInsert", since=11, sequences=True)
def _insert(
    g: Context,
    sequence: TensorSequence,
    tensor: Value | TensorSequence,
    position: Value | None = None,
) -> TensorSequence:
    members = _members(g, sequence)
    (inserted,) = _tensors(g, [tensor])
    if len(members) >= _MOST:
        g.unsupported(f"sequences of more than {_MOST} tensors")
    place = len(members)
    if position is not None:
        place = g.integer(position, "SequenceInsert's position")
        if not -len(members) <= place <= len(members):
            raise ModelError(f"SequenceInsert at {place} in a sequence of {len(members)}")
    members.insert(place, inserted)
    return TensorSequence(tuple(members))


@reads("SequenceErase", since=11, sequences=True)
def _erase(g: Context, sequence: TensorSequence, position: Value | None = None) -> TensorSequence:
    members = _members(g, sequence)
    if not members:
        raise ModelError("SequenceErase of an empty sequence")
    place = len(members) - 1
    if position is not None:
        place = _position(g, position, len(members), "SequenceErase's position")
    del members[place]
    return TensorSequence(tuple(members))


@reads("SequenceAt", since=11, sequences=True)
def _at(g: Context, sequence: TensorSequence, position: Value) -> Value:
    members = _members(g, sequence)
    return members[_position(g, position, len(members), "SequenceAt's position")]


@reads("SequenceLength", since=11, sequences=True)
def _length(g: Context, sequence: TensorSequence) -> Value:
    return g.constant(np.array(len(_members(g, sequence)), np.int64))


@reads("ConcatFromSequence", since=11, sequences=True)
def _concat(g: Context, sequence: TensorSequence, *, axis: int, new_axis: int = 0) -> Value:
    members = _members(g, sequence)
    if not members:
        raise ModelError("ConcatFromSequence of an empty sequence")
    if new_axis:
        rank = g.rank(members[0]) + 1
        if not -rank <= axis < rank:
            raise ModelError(f"ConcatFromSequence along a new axis {axis} of {rank}")
        members = [g.unsqueeze(member, axis % rank) for member in members]
    return g.add(ops.concat, *members, axis=g.axis(members[0], axis))


@reads("SplitToSequence", since=(11, 24))
def _split(
    g: Context, x: Value, split: Value | None = None, *, axis: int = 0, keepdims: int = 1
) -> TensorSequence:
    axis = g.axis(x, axis)
    extent = g.shape(x)[axis]
    sizes: list[Extent]
    if split is not None and g.rank(split) == 1:
        sizes = list(g.extents(split, "SplitToSequence's sizes"))
    else:
        piece = 1 if split is None else g.integer(split, "SplitToSequence's size")
        if not isinstance(extent, int):
            g.unsupported(f"a sequence of unknown length, split from {g.type(x)}")
        if piece < 1 or extent // piece > _MOST:
            raise ModelError(f"SplitToSequence of {extent} elements by {piece}")
        sizes = [min(piece, extent - start) for start in range(0, extent, piece)]
    total: Extent = 0
    members = []
    for size in sizes:
        member = g.slice_axis(x, axis, total, size)
        total = total + size
        if split is None and not keepdims:
            shape = g.shape(member)
            member = g.reshape(member, (*shape[:axis], *shape[axis + 1 :]))
        members.append(member)
    if isinstance(total, int) and isinstance(extent, int) and total != extent:
        raise ModelError(f"SplitToSequence: the sizes {sizes} do not add up to {extent}")
    return TensorSequence(tuple(members))
