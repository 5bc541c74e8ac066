"""Writers of elementwise operators, reductions and indexing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir import Node, UnsupportedError
from ...ir.data_type import is_float
from .elementwise_names import SAME
from .writer import Writer, writes

_PLAIN = {operator: name for name, (operator, _) in SAME.items()} | {
    "pow": "Pow",
    "minimum": "Min",
    "maximum": "Max",
    "identity": "Identity",
}


@writes(*_PLAIN)
def _plain(w: Writer, node: Node, *inputs: str) -> str:
    return w.add(_PLAIN[node.op.name], *inputs, **node.attrs)


@writes("shift_left", "shift_right")
def _shift(w: Writer, node: Node, x: str, y: str) -> str:
    return w.add("BitShift", x, y, direction="LEFT" if node.op.name == "shift_left" else "RIGHT")


@writes("celu")
def _celu(w: Writer, node: Node, x: str) -> str:
    alpha, value = node.attrs["alpha"], node.inputs[0]
    if w.type(value).dtype == "float32":
        return w.add("Celu", x, alpha=alpha)
    # The operator takes float32 alone.
    zero, one, factor = (w.scalar_like(value, number) for number in (0.0, 1.0, alpha))
    grown = w.add("Sub", w.add("Exp", w.add("Div", w.add("Min", x, zero), factor)), one)
    return w.add("Add", w.add("Max", x, zero), w.add("Mul", factor, grown))


@writes("not_equal")
def _not_equal(w: Writer, node: Node, x: str, y: str) -> str:
    return w.add("Not", w.add("Equal", x, y))


@writes("floor_divide")
def _floor_divide(w: Writer, node: Node, x: str, y: str) -> str:
    if is_float(node.types[0].dtype):
        return w.add("Floor", w.add("Div", x, y))
    quotient = w.add("Div", x, y)
    if node.types[0].dtype.startswith("uint"):
        return quotient
    # ONNX divides integers towards zero: one less where signs differ and a rest is left.
    zero = w.scalar_like(node.inputs[0], 0)
    rest = w.add("Not", w.add("Equal", w.add("Mod", x, y), zero))
    signs = w.add("Xor", w.add("Less", x, zero), w.add("Less", y, zero))
    below = w.cast(w.add("And", rest, signs), node.types[0].dtype)
    return w.add("Sub", quotient, below)


@writes("mod")
def _mod(w: Writer, node: Node, x: str, y: str) -> str:
    if node.attrs["fmod"] or not is_float(node.types[0].dtype):
        return w.add("Mod", x, y, fmod=int(node.attrs["fmod"]))
    # ONNX has the divisor's sign for integers alone: what is left of the other sign goes up.
    zero = w.scalar_like(node.inputs[0], 0.0)
    rest = w.add("Mod", x, y, fmod=1)
    signs = w.add("Xor", w.add("Less", rest, zero), w.add("Less", y, zero))
    other = w.add("And", signs, w.add("Not", w.add("Equal", rest, zero)))
    return w.add("Where", other, w.add("Add", rest, y), rest)


@writes("is_inf")
def _is_inf(w: Writer, node: Node, x: str) -> str:
    return w.add("IsInf", x, **{name: int(value) for name, value in node.attrs.items()})


@writes("shrink")
def _shrink(w: Writer, node: Node, x: str) -> str:
    return w.add("Shrink", x, bias=node.attrs["bias"], lambd=node.attrs["lambd"])


@writes("swish")
def _swish(w: Writer, node: Node, x: str) -> str:
    alpha = node.attrs["alpha"]
    scaled = x if alpha == 1.0 else w.add("Mul", x, w.scalar_like(node.inputs[0], alpha))
    return w.add("Mul", x, w.add("Sigmoid", scaled))


@writes("gelu")
def _gelu(w: Writer, node: Node, x: str) -> str:
    return w.add("Gelu", x, approximate="tanh" if node.attrs["approximate"] else "none")


@writes("clip")
def _clip(w: Writer, node: Node, x: str) -> str:
    bounds = [
        None if math.isinf(node.attrs[name]) else w.scalar_like(node.inputs[0], node.attrs[name])
        for name in ("low", "high")
    ]
    return w.add("Clip", x, *bounds)


@writes("cast")
def _cast(w: Writer, node: Node, x: str) -> str:
    return w.cast(x, node.attrs["to"])


# --- reductions ----------------------------------------------------------------------------

_REDUCTIONS = {
    "reduce_sum": "ReduceSum",
    "reduce_mean": "ReduceMean",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd",
    "reduce_l1": "ReduceL1",
    "reduce_l2": "ReduceL2",
    "reduce_log_sum": "ReduceLogSum",
    "reduce_log_sum_exp": "ReduceLogSumExp",
    "reduce_sum_square": "ReduceSumSquare",
}


@writes(*_REDUCTIONS)
def _reduction(w: Writer, node: Node, x: str) -> str:
    axes = tuple(node.attrs["axes"])
    keep = int(node.attrs["keepdims"])
    dtype = node.types[0].dtype
    small: tuple[str, ...] = ("int16", "uint16")
    if node.op.name not in ("reduce_max", "reduce_min"):
        small = ("int8", "uint8", *small)
    if dtype in small:
        # Small integers have no such reduction; the low bits of a wide result are the same.
        x = w.cast(x, "int64")
        return w.cast(_reduced(w, node, x, axes, keep), dtype)
    return _reduced(w, node, x, axes, keep)


def _reduced(w: Writer, node: Node, x: str, axes: tuple[int, ...], keep: int) -> str:
    if not axes and w.type(node.inputs[0]).rank:
        # Nothing is summed, but the function is applied: reduce an axis of extent 1.
        rank = w.type(node.inputs[0]).rank
        x = w.add("Unsqueeze", x, w.integers([rank]))
        return w.add(_REDUCTIONS[node.op.name], x, w.integers([rank]), keepdims=0)
    return w.add(_REDUCTIONS[node.op.name], x, w.integers(axes) if axes else None, keepdims=keep)


@writes("arg_max", "arg_min")
def _arg(w: Writer, node: Node, x: str) -> str:
    name = "ArgMax" if node.op.name == "arg_max" else "ArgMin"
    return w.add(name, x, **{key: int(value) for key, value in node.attrs.items()})


@writes("cum_sum")
def _cum_sum(w: Writer, node: Node, x: str) -> str:
    axis = w.constant(np.array(node.attrs["axis"], np.int64))
    return w.add(
        "CumSum",
        x,
        axis,
        exclusive=int(node.attrs["exclusive"]),
        reverse=int(node.attrs["reverse"]),
    )


@writes("top_k")
def _top_k(w: Writer, node: Node, x: str) -> list[str]:
    return w.add_many(
        "TopK",
        (x, w.extents([node.attrs["k"]])),
        2,
        axis=node.attrs["axis"],
        largest=int(node.attrs["largest"]),
        sorted=int(node.attrs["sorted"]),
    )


# --- indexing ------------------------------------------------------------------------------


@writes("gather")
def _gather(w: Writer, node: Node, x: str, indices: str) -> str:
    return w.add("Gather", x, indices, axis=node.attrs["axis"])


@writes("gather_elements")
def _gather_elements(w: Writer, node: Node, x: str, indices: str) -> str:
    return w.add("GatherElements", x, indices, axis=node.attrs["axis"])


@writes("gather_nd")
def _gather_nd(w: Writer, node: Node, x: str, indices: str) -> str:
    indices = w.cast(indices, "int64")
    return w.add("GatherND", x, indices, batch_dims=node.attrs["batch_dims"])


@writes("scatter_elements")
def _scatter_elements(w: Writer, node: Node, x: str, indices: str, updates: str) -> str:
    return w.add(
        "ScatterElements",
        x,
        indices,
        updates,
        axis=node.attrs["axis"],
        reduction=node.attrs["reduction"],
    )


@writes("scatter_nd")
def _scatter_nd(w: Writer, node: Node, x: str, indices: str, updates: str) -> str:
    indices = w.cast(indices, "int64")
    return w.add("ScatterND", x, indices, updates, reduction=node.attrs["reduction"])


@writes("one_hot")
def _one_hot(w: Writer, node: Node, indices: str, values: str) -> str:
    depth = w.extents([node.attrs["depth"]])
    indices = w.cast(indices, "int64")
    if w.type(node.inputs[0]).rank:
        return w.add("OneHot", indices, depth, values, axis=node.attrs["axis"])
    # ONNX wants at least one dimension.
    row = w.add("Unsqueeze", indices, w.integers([0]))
    return w.add("Squeeze", w.add("OneHot", row, depth, values, axis=-1), w.integers([0]))


@writes("nonzero")
def _nonzero(w: Writer, node: Node, x: str) -> list[str]:
    """The indices, filled with zeros up to the number of elements, and how many there are."""
    found = w.add("NonZero", x)
    count = w.add("Shape", found, start=1, end=2)
    room = w.add("Sub", w.extents([node.types[0].shape[1]]), count)
    zeros = w.integers([0, 0, 0])
    return [w.add("Pad", found, w.add("Concat", zeros, room, axis=0)), count]


@writes("compress")
def _compress(w: Writer, node: Node, x: str, condition: str) -> list[str]:
    axis = node.attrs["axis"] or 0
    kept = w.add("Compress", x, condition, axis=node.attrs["axis"])
    rank = node.types[0].rank
    count = w.add("Shape", kept, start=axis, end=axis + 1)
    room = w.add("Sub", w.extents([node.types[0].shape[axis]]), count)
    pads: list[Any] = [w.integers([0])] * (2 * rank)
    pads[rank + axis] = room
    return [w.add("Pad", kept, w.add("Concat", *pads, axis=0)), count]


@writes("unique")
def _unique(w: Writer, node: Node, x: str) -> list[str]:
    dtype = node.types[0].dtype
    # ONNX Runtime has Unique of these element types.
    plain = dtype in ("int64", "float32", "float64", "int8")
    wide = x if plain else w.cast(x, "float32" if dtype in ("float16", "bfloat16") else "int64")
    found = w.add_many("Unique", (wide,), 4, sorted=int(node.attrs["sorted"]))
    found[0] = found[0] if plain else w.cast(found[0], dtype)
    count = w.add("Shape", found[0])
    room = w.add("Sub", w.extents(node.types[0].shape), count)
    pads = w.add("Concat", w.integers([0]), room, axis=0)
    items, first, counts = (w.add("Pad", found[k], pads) for k in (0, 1, 3))
    return [items, first, found[2], counts, count]


@writes("range")
def _range(w: Writer, node: Node, start: str, delta: str) -> str:
    """Whole steps first, then scaled, so that the number of elements is exact."""
    dtype = node.types[0].dtype
    zero, one = w.constant(np.array(0, np.int64)), w.constant(np.array(1, np.int64))
    count = w.add("Reshape", w.extents([node.attrs["size"]]), w.integers([]))
    steps = w.cast(w.add("Range", zero, count, one), dtype)
    return w.add("Add", w.add("Mul", steps, delta), start)


@writes("extents")
def _extents(w: Writer, node: Node) -> str:
    return w.extents(node.attrs["values"])


@writes("eye_like")
def _eye_like(w: Writer, node: Node) -> str:
    if not isinstance(node.attrs["diagonal"], int):
        raise UnsupportedError("a symbolic diagonal")
    # Where rows and columns meet: ONNX Runtime has no EyeLike of recent opsets.
    zero, one = (w.constant(np.array(k, np.int64)) for k in (0, 1))
    counts = [
        w.add("Reshape", w.extents([node.attrs[key]]), w.integers([]))
        for key in ("rows", "columns")
    ]
    rows, columns = (w.add("Range", zero, count, one) for count in counts)
    shifted = w.add("Add", rows, w.constant(np.array(node.attrs["diagonal"], np.int64)))
    met = w.add("Equal", w.add("Unsqueeze", shifted, w.integers([1])), columns)
    return w.cast(met, node.types[0].dtype)
