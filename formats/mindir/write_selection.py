"""Writers of what selects elements: only a run tells how many there are.

opweave's operators fill their results up to the most there can be, give the number beside them
and cut the rest off; MindSpore's give what is left after that.
"""

from __future__ import annotations

from ...ir import Node, TensorType, UnsupportedError, Value
from .writer import Name, Writer, writes


def _give_cut(
    w: Writer, filled: Value, count: Value, axis: int, found: Name, at: int
) -> list[Node]:
    """Say that what is cut from ``filled`` along ``axis`` is ``found``; returns the cuts.

    Dimension ``at`` of ``found`` tells the number. Raises UnsupportedError where more is made of
    the filled result than cut.
    """
    number = w.item(w.function("Shape", found), at)
    w.give_scalars(count, [number])
    shape = w.type(filled).shape
    cuts = w.graph.users(filled)
    for cut in cuts:
        sizes = cut.attrs.get("sizes", ())
        wanted = cut.op.name == "slice" and all(s == 0 for s in cut.attrs["starts"])
        wanted = wanted and all(s == 1 for s in cut.attrs["steps"])
        for k, size in enumerate(sizes):
            measured = w.graph.symbols.get(str(size)) if k == axis else None
            wanted = wanted and (size == shape[k] if k != axis else measured == (count, 0))
        if not wanted:
            raise UnsupportedError("a result that is filled up, not cut to what was found")
        w.names[cut.outputs[0]] = found
    if filled in w.graph.outputs:
        raise UnsupportedError("a result that is filled up is the model's")
    return cuts


@writes("nonzero")
def _nonzero(w: Writer, node: Node, x: Name) -> list[Name | None]:
    """MindSpore gives a row for each element, opweave a column."""
    source = w.type(node.inputs[0])
    if not source.rank:
        raise UnsupportedError("nonzero of a tensor without dimensions")
    rows = w.function("NonZero", x)
    found, number = node.outputs
    for cut in _give_cut(w, found, number, 1, rows, 0):
        columns = cut.outputs[0]
        w.names[columns] = w.function("Transpose", rows, (1, 0), type=w.type(columns))
        for user in w.graph.users(columns):
            if user.op.name == "transpose" and user.attrs["permutation"] == (1, 0):
                w.names[user.outputs[0]] = rows
    return [None, None]


@writes("compress")
def _compress(w: Writer, node: Node, x: Name, condition: Name) -> list[Name | None]:
    source, chosen = w.type(node.inputs[0]), w.type(node.inputs[1])
    axis = 0 if node.attrs["axis"] is None else source.axis(node.attrs["axis"])
    if node.attrs["axis"] is None and source.rank != 1:
        source = source.with_shape((source.size,))
        x = w.reshape(x, source.shape, source.dtype)
    if source.rank == 1 and source.shape == chosen.shape:
        kept, at = w.function("MaskedSelect", x, condition), 0
    else:
        flags = TensorType("int64", chosen.shape)
        rows = w.function("NonZero", w.cast(condition, flags))
        kept, at = w.function("Gather", x, w.function("Reshape", rows, (-1,)), axis, 0), axis
    found, number = node.outputs
    _give_cut(w, found, number, axis, kept, at)
    return [None, None]


@writes("unique")
def _unique(w: Writer, node: Node, x: Name) -> list[Name | None]:
    found, first, inverse, counts, number = node.outputs
    if node.attrs["sorted"]:
        raise UnsupportedError("unique elements in order")
    for value in (first, counts):
        if w.graph.use_count(value):
            raise UnsupportedError("where unique elements come first, or how many there are")
    whole = w.function("Unique", x)
    _give_cut(w, found, number, 0, w.item(whole, 0), 0)
    w.give_raw(inverse, w.item(whole, 1, w.type(inverse).with_dtype("int32")), "int32")
    return [None] * 5
