"""Writers of operators that move elements."""

from __future__ import annotations

import numpy as np

from ...ir import Extent, Node
from ...ir.dim import floor_divide
from .writer import Writer, writes

_BEFORE_ALL = -(2**63)


@writes("reshape")
def _reshape(w: Writer, node: Node, x: str) -> str:
    return w.add("Reshape", x, w.extents(node.attrs["shape"]), allowzero=1)


@writes("transpose")
def _transpose(w: Writer, node: Node, x: str) -> str:
    return w.add("Transpose", x, perm=list(node.attrs["permutation"]) or None)


@writes("expand")
def _expand(w: Writer, node: Node, x: str) -> str:
    return w.add("Expand", x, w.extents(node.attrs["shape"]))


@writes("tile")
def _tile(w: Writer, node: Node, x: str) -> str:
    return w.add("Tile", x, w.extents(node.attrs["repeats"]))


@writes("concat")
def _concat(w: Writer, node: Node, *inputs: str) -> str:
    return w.add("Concat", *inputs, axis=node.attrs["axis"])


@writes("slice")
def _slice(w: Writer, node: Node, x: str) -> str:
    starts: list[Extent] = []
    ends: list[Extent] = []
    axes: list[int] = []
    steps: list[int] = []
    type_ = w.type(node.inputs[0])
    given = zip(node.attrs["starts"], node.attrs["sizes"], node.attrs["steps"], strict=True)
    for axis, (start, size, step) in enumerate(given):
        extent = type_.shape[axis]
        if start == 0 and size == extent and step == 1:
            continue
        end = start + size * step
        if size == 0:
            start, end, step = 0, 0, 1
        elif step < 0:
            # Counted from the back, so that an end before the first element says so.
            end = _BEFORE_ALL if isinstance(end, int) and end < 0 else end - extent
        starts.append(start)
        ends.append(end)
        axes.append(axis)
        steps.append(step)
    if not axes:
        return w.add("Identity", x)
    return w.add(
        "Slice", x, w.extents(starts), w.extents(ends), w.integers(axes), w.integers(steps)
    )


@writes("pad")
def _pad(w: Writer, node: Node, x: str, value: str | None = None) -> str:
    pads = [*node.attrs["before"], *node.attrs["after"]]
    return w.add("Pad", x, w.extents(pads), value, mode=node.attrs["mode"])


@writes("depth_to_space")
def _depth_to_space(w: Writer, node: Node, x: str) -> str:
    return w.add("DepthToSpace", x, blocksize=node.attrs["block_size"], mode=node.attrs["mode"])


@writes("space_to_depth")
def _space_to_depth(w: Writer, node: Node, x: str) -> str:
    size = node.attrs["block_size"]
    if node.attrs["mode"] == "DCR":
        return w.add("SpaceToDepth", x, blocksize=size)
    # The inverse of DepthToSpace in the mode CRD has no operator in this opset.
    n, c, height, width = w.type(node.inputs[0]).shape
    blocks = (n, c, floor_divide(height, size), size, floor_divide(width, size), size)
    split = w.add("Reshape", x, w.extents(blocks), allowzero=1)
    moved = w.add("Transpose", split, perm=[0, 1, 3, 5, 2, 4])
    return w.add("Reshape", moved, w.extents(node.types[0].shape), allowzero=1)


@writes("reverse_sequence")
def _reverse_sequence(w: Writer, node: Node, x: str, lengths: str) -> str:
    return w.add("ReverseSequence", x, w.cast(lengths, "int64"), **node.attrs)


@writes("trilu")
def _trilu(w: Writer, node: Node, x: str) -> str:
    diagonal = w.constant(np.array(node.attrs["diagonal"], np.int64))
    return w.add("Trilu", x, diagonal, upper=int(node.attrs["upper"]))
