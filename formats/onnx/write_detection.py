"""Writers of operators of detection that ONNX has no word for."""

from __future__ import annotations

import numpy as np

from ...ir import Node, TensorType
from .writer import Writer, value_info, writes


@writes("overlap_suppression")
def _overlap_suppression(w: Writer, node: Node, boxes: str) -> str:
    """Which boxes overlap which later ones, at once; then box by box what that leaves.

    ONNX's NonMaxSuppression swaps corners that are the wrong way round, which this does not.
    """
    from onnx import helper

    def both(word: str, column: str) -> str:
        """All pairs: rows of the matrix are earlier boxes, its columns later ones."""
        return w.add(word, column, w.add("Transpose", column))

    source = node.inputs[0]
    (count,) = node.types[0].shape
    left, top, right, bottom = (w.add("Gather", boxes, w.integers([k]), axis=1) for k in range(4))
    zero = w.scalar_like(source, 0)
    width = w.add("Sub", both("Min", right), both("Max", left))
    height = w.add("Sub", both("Min", bottom), both("Max", top))
    shared = w.add("Mul", w.add("Max", width, zero), w.add("Max", height, zero))
    area = w.add("Mul", w.add("Sub", right, left), w.add("Sub", bottom, top))
    union = w.add("Sub", both("Add", area), shared)
    limit = w.add("Mul", w.scalar_like(source, float(node.attrs["threshold"])), union)
    scalar = w.add("Reshape", w.extent(count), w.constant(np.zeros(0, np.int64)))
    places = w.add("Range", w.constant(np.int64(0)), scalar, w.constant(np.int64(1)))
    column = w.add("Unsqueeze", places, w.integers([1]))
    hides = w.add("And", w.add("Greater", shared, limit), w.add("Less", column, places))

    names = ("place", "going", "kept", "row", "own", "hidden", "shown", "still", "left")
    place, going, kept, row, own, hidden, shown, still, rest = map(w.fresh, names)
    body = [
        helper.make_node("Gather", [hides, place], [row], axis=0),
        helper.make_node("Gather", [kept, place], [own], axis=0),
        helper.make_node("And", [row, own], [hidden]),
        helper.make_node("Not", [hidden], [shown]),
        helper.make_node("And", [kept, shown], [rest]),
        helper.make_node("Identity", [going], [still]),
    ]
    flag, flags = TensorType("bool"), node.types[0]
    inputs = [(place, TensorType("int64")), (going, flag), (kept, flags)]
    proto = helper.make_graph(
        body,
        w.fresh("suppression"),
        [value_info(name, type_) for name, type_ in inputs],
        [value_info(still, flag), value_info(rest, flags)],
    )
    true = w.constant(np.array(True))
    start = w.add("Expand", true, w.extent(count))
    return w.add("Loop", scalar, true, start, body=proto)
