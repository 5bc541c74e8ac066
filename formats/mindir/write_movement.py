"""Writers of operators that move elements, index, sort and make tensors."""

from __future__ import annotations

import numpy as np

from ...ir import Dim, Extent, Node, UnsupportedError, Value
from ...ir import dim as dims
from .element_types import IDS
from .write_detection import suppression
from .write_elementwise import Formula
from .writer import Name, Writer, writes


@writes("reshape")
def _reshape(w: Writer, node: Node, x: Name) -> Name:
    source = node.inputs[0]
    found = None if source is None else w.shaped(source, node.types[0].shape)
    return found or w.reshape(x, node.types[0].shape, node.types[0].dtype)


@writes("transpose")
def _transpose(w: Writer, node: Node, x: Name) -> Name:
    return w.function("Transpose", x, tuple(node.attrs["permutation"]), type=node.types[0])


@writes("expand")
def _expand(w: Writer, node: Node, x: Name) -> Name:
    return w.function("BroadcastTo", x, w.extents(node.attrs["shape"]), type=node.types[0])


@writes("tile")
def _tile(w: Writer, node: Node, x: Name) -> Name:
    return w.function("Tile", x, w.extents(node.attrs["repeats"]), type=node.types[0])


@writes("concat")
def _concat(w: Writer, node: Node, *xs: Name) -> Name:
    types = [w.type(value) for value in node.inputs]
    axis = node.types[0].axis(node.attrs["axis"])
    return w.function("Concat", w.tuple_of(xs, types), axis, type=node.types[0])


@writes("slice")
def _slice(w: Writer, node: Node, x: Name) -> Name:
    starts, sizes, steps = (node.attrs[key] for key in ("starts", "sizes", "steps"))
    type_, shape = node.types[0], w.type(node.inputs[0]).shape
    if all(step == 1 for step in steps):
        return w.function("Slice", x, w.extents(starts), w.extents(sizes), type=type_)
    turned = tuple(k for k, step in enumerate(steps) if step == -1)
    whole = all(
        size == extent and start == (extent - 1 if k in turned else 0)
        for k, (start, size, extent) in enumerate(zip(starts, sizes, shape, strict=True))
    )
    if whole and all(step in (1, -1) for step in steps):
        return w.function("ReverseV2", x, turned, type=type_)
    if any(isinstance(step, Dim) for step in steps):
        raise UnsupportedError("a slice whose step only a run tells")
    ends: list[Extent] = []
    end_mask = 0
    for k, (start, size, step) in enumerate(zip(starts, sizes, steps, strict=True)):
        end = start + (size - 1) * step + (1 if step > 0 else -1)
        extent = shape[k]
        if step > 1 and isinstance(extent, Dim) and start == 0:
            # All that a step reaches: up to the end, which says it as a reader would.
            end = extent if size == dims.ceil_divide(extent, int(step)) else end
        if isinstance(size, int) and size == 0:
            end = start
        if step < 0 and not isinstance(end, int):
            raise UnsupportedError("a backward slice of an extent that varies")
        if isinstance(end, int) and end < 0:
            end, end_mask = 0, end_mask | 1 << k
        ends.append(end)
    settings = (w.extents(starts), w.extents(ends), tuple(int(s) for s in steps))
    return w.function("StridedSlice", x, *settings, 0, end_mask, 0, 0, 0, type=type_)


@writes("pad")
def _pad(w: Writer, node: Node, x: Name, value: Name | None = None) -> Name:
    before, after, mode = (node.attrs[key] for key in ("before", "after", "mode"))
    type_, rank = node.types[0], node.types[0].rank
    if any(isinstance(extent, Dim) for extent in (*before, *after)):
        raise UnsupportedError("padding by extents that vary")
    if mode == "reflect":
        pairs = np.array([before, after], np.int64).T
        return w.primitive("MirrorPad", x, np.ascontiguousarray(pairs), type=type_, mode="REFLECT")
    pairs_last = tuple(int(e) for k in range(rank - 1, -1, -1) for e in (before[k], after[k]))
    if mode == "constant":
        if value is None and min((*before, *after), default=0) >= 0:
            listed = tuple((int(a), int(b)) for a, b in zip(before, after, strict=True))
            return w.primitive("Pad", x, type=type_, paddings=listed)
        fill = value if value is not None else w.scalar(0, type_.dtype)
        return w.primitive(
            "PadV3", x, pairs_last, fill, type=type_, mode="constant", paddings_contiguous=True
        )
    names = {"edge": "edge", "wrap": "circular"}
    while len(pairs_last) > 2 and pairs_last[-2:] == (0, 0):
        pairs_last = pairs_last[:-2]
    return w.primitive(
        "PadV3", x, pairs_last, None, type=type_, mode=names[mode], paddings_contiguous=True
    )


@writes("depth_to_space")
def _depth_to_space(w: Writer, node: Node, x: Name) -> Name:
    block, type_ = node.attrs["block_size"], node.types[0]
    if node.attrs["mode"] == "DCR":
        return w.primitive(
            "DepthToSpace", x, type=type_, block_size=block, format="NCHW", data_format="NCHW"
        )
    batch, channels, height, width = w.type(node.inputs[0]).shape
    inner = (batch, channels // (block * block), block, block, height, width)
    apart = w.reshape(x, inner, type_.dtype)
    moved = w.function("Transpose", apart, (0, 1, 4, 2, 5, 3))
    return w.reshape(moved, type_.shape, type_.dtype)


@writes("space_to_depth")
def _space_to_depth(w: Writer, node: Node, x: Name) -> Name:
    if node.attrs["mode"] != "DCR":
        raise UnsupportedError("space_to_depth in the order of CRD")
    block = node.attrs["block_size"]
    return w.primitive(
        "SpaceToDepth", x, type=node.types[0], block_size=block, format="NCHW", data_format="NCHW"
    )


@writes("reverse_sequence")
def _reverse_sequence(w: Writer, node: Node, x: Name, lengths: Name) -> Name:
    return w.primitive(
        "ReverseSequence",
        x,
        lengths,
        type=node.types[0],
        seq_dim=node.attrs["time_axis"],
        batch_dim=node.attrs["batch_axis"],
    )


@writes("trilu")
def _trilu(w: Writer, node: Node, x: Name) -> Name:
    diagonal = node.attrs["diagonal"]
    if isinstance(diagonal, Dim):
        raise UnsupportedError("a triangle whose diagonal varies")
    if node.attrs["upper"]:
        return w.function("Triu", x, diagonal, type=node.types[0])
    return w.primitive("Tril", x, type=node.types[0], diagonal=diagonal)


# --- indexing --------------------------------------------------------------------------------


@writes("gather")
def _gather(w: Writer, node: Node, x: Name, indices: Name) -> Name:
    sorted_boxes = suppression(w, node)
    if sorted_boxes is not None:
        return sorted_boxes
    return w.function("Gather", x, indices, node.attrs["axis"], 0, type=node.types[0])


@writes("gather_elements")
def _gather_elements(w: Writer, node: Node, x: Name, indices: Name) -> Name:
    return w.function("GatherD", x, node.attrs["axis"], indices, type=node.types[0])


@writes("gather_nd")
def _gather_nd(w: Writer, node: Node, x: Name, indices: Name) -> Name:
    if node.attrs["batch_dims"]:
        raise UnsupportedError("gather_nd with batch dimensions")
    return w.function("GatherNd", x, indices, type=node.types[0])


@writes("scatter_nd")
def _scatter_nd(w: Writer, node: Node, x: Name, indices: Name, updates: Name) -> Name:
    words = {"none": "Update", "add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}
    word = f"TensorScatter{words[node.attrs['reduction']]}"
    if word == "TensorScatterAdd":
        return w.function(word, x, indices, updates, type=node.types[0])
    return w.primitive(word, x, indices, updates, type=node.types[0])


@writes("scatter_elements")
def _scatter_elements(w: Writer, node: Node, x: Name, indices: Name, updates: Name) -> Name:
    numbers = {"none": 0, "add": 1}
    reduction = node.attrs["reduction"]
    if reduction not in numbers:
        raise UnsupportedError(f"scatter_elements with reduction {reduction!r}")
    axis = node.attrs["axis"]
    return w.function(
        "TensorScatterElements", x, indices, updates, axis, numbers[reduction], type=node.types[0]
    )


@writes("hardmax")
def _hardmax(w: Writer, node: Node, x: Name) -> Name:
    type_ = node.types[0]
    axis = type_.axis(node.attrs["axis"])
    extent = type_.shape[axis]
    if not isinstance(extent, int):
        raise UnsupportedError("hardmax along an extent that varies")
    kept = type_.with_shape([1 if k == axis else e for k, e in enumerate(type_.shape)])
    places = kept.with_dtype("int64")
    pair = w.function("ArgMaxWithValue", x, axis, True, type=[places, kept])
    shape = [extent if k == axis else 1 for k in range(type_.rank)]
    order = w.model.constant(np.arange(extent, dtype=np.int64).reshape(shape))
    met = w.function("Equal", order, w.item(pair, 0, places), type=type_.with_dtype("bool"))
    return w.function("Cast", met, IDS[type_.dtype], type=type_)


@writes("one_hot")
def _one_hot(w: Writer, node: Node, indices: Name, values: Name) -> Name:
    depth, dtype = node.attrs["depth"], node.types[0].dtype
    pair = w.held(node.inputs[1])
    if pair is not None:
        off, on = (w.model.constant(np.asarray(pair[k])) for k in (0, 1))
    else:
        parts = [w.function("Slice", values, (k,), (1,)) for k in (0, 1)]
        off, on = (w.reshape(part, (), dtype) for part in parts)
    plain = _without_wrap(w, node.inputs[0], depth)
    return w.function(
        "OneHot", plain or indices, w.extent(depth), on, off, node.attrs["axis"], type=node.types[0]
    )


def _without_wrap(w: Writer, value: Value | None, depth: Extent) -> Name | None:
    """Indices before negative ones were sent beyond the end, which OneHot does by itself."""
    where = w.producer(value)
    if where is None or where.op.name != "where":
        return None
    test = w.producer(where.inputs[0])
    beyond = w.held(where.inputs[1])
    if test is None or test.op.name != "less" or beyond is None or beyond.size != 1:
        return None
    zero, source = w.held(test.inputs[1]), test.inputs[0]
    wide = w.producer(where.inputs[2])
    same = where.inputs[2] == source or (
        wide is not None and wide.op.name == "cast" and wide.inputs[0] == source
    )
    if not same or source is None or zero is None or zero.any() or beyond.item() != depth:
        return None
    return w.name(source)


@writes("top_k")
def _top_k(w: Writer, node: Node, x: Name) -> list[Name | None]:
    k, axis, largest = (node.attrs[key] for key in ("k", "axis", "largest"))
    source = w.type(node.inputs[0])
    axis = source.axis(axis)
    values, places = node.types
    raw_places = places.with_dtype("int32")
    if k == source.shape[axis]:
        pair = w.primitive(
            "Sort", x, type=[values, raw_places], axis=axis, descending=bool(largest)
        )
        found = [w.item(pair, 0, values), w.item(pair, 1, raw_places)]
    else:
        if isinstance(k, Dim):
            raise UnsupportedError("top_k of a number that varies")
        order = [d for d in range(source.rank) if d != axis] + [axis]
        back = tuple(sorted(range(source.rank), key=order.__getitem__))
        last = axis == source.rank - 1
        if not last:
            x = w.function("Transpose", x, tuple(order))
        if not largest:
            x = w.function("Neg", x)
        pair = w.primitive("TopK", x, k, type=[values, raw_places], sorted=True)
        first = w.item(pair, 0)
        if not largest:
            first = w.function("Neg", first)
        found = [first, w.item(pair, 1)]
        if not last:
            found = [w.function("Transpose", part, back) for part in found]
    w.give_raw(node.outputs[1], found[1], "int32")
    return [found[0], None]


# --- new tensors -----------------------------------------------------------------------------


@writes("extents")
def _extents(w: Writer, node: Node) -> Name:
    values = node.attrs["values"]
    if all(isinstance(value, int) for value in values):
        return w.model.constant(np.array(values, np.int64))
    return w.function("TupleToTensor", w.extents(values), IDS["int64"], type=node.types[0])


@writes("eye_like")
def _eye(w: Writer, node: Node) -> Name:
    rows, columns, diagonal = (node.attrs[k] for k in ("rows", "columns", "diagonal"))
    if all(isinstance(extent, int) for extent in (rows, columns, diagonal)):
        if diagonal == 0:
            return w.function("Eye", rows, columns, IDS[node.attrs["dtype"]], type=node.types[0])
        found = np.eye(rows, columns, diagonal).astype(node.types[0].numpy)
        return w.model.constant(found)
    raise UnsupportedError("an identity matrix of extents that vary")


@writes("range")
def _range(w: Writer, node: Node, start: Name, delta: Name) -> Name:
    size, type_ = node.attrs["size"], node.types[0]
    first, step = w.held(node.inputs[0]), w.held(node.inputs[1])
    if isinstance(size, int) and first is not None and step is not None:
        numbers = first + step * np.arange(size, dtype=type_.numpy)
        return w.model.constant(numbers.astype(type_.numpy))
    if isinstance(size, int):
        f = Formula(w, type_)
        places = w.model.constant(np.arange(size).astype(type_.numpy))
        return f("Add", f("Mul", places, delta), start)
    places = w.cast(w.function("Range", 0, w.extent(size), 1, 1000000), type_)
    f = Formula(w, type_)
    scaled = places if step is not None and step == 1 else f("Mul", places, delta)
    return scaled if first is not None and first == 0 else f("Add", scaled, start)
