"""Writers of pools."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...ir import Extent, Node, TensorType, UnsupportedError
from ...ops.registry import operator_named
from .write_elementwise import Formula
from .write_neural import interleaved, is_same, paddings, spread, static, with_axis
from .writer import Name, Writer, writes


@writes("max_pool", "average_pool")
def _pool(w: Writer, node: Node, x: Name) -> Name:
    source, result = w.type(node.inputs[0]), node.types[0]
    count = source.rank - 2
    highest = node.op.name == "max_pool"
    kernel = spread(node.attrs["kernel"], count)
    strides = spread(node.attrs["strides"], count)
    dilations = spread(node.attrs["dilations"], count)
    begin, end = paddings(node, count)
    ceil_mode = bool(node.attrs["ceil_mode"])
    counted = not highest and bool(node.attrs["count_include_pad"])
    if any(step != 1 for step in dilations) and not highest:
        raise UnsupportedError("an average pool with gaps")
    same = is_same(source.shape[2:], kernel, strides, dilations, (begin, end))
    padded = any(extent != 0 for extent in (*begin, *end))
    plain = not ceil_mode and not counted and (same or not padded) and set(dilations) <= {1}
    if count == 1:
        x = with_axis(w, x, source, 2)
        result = result.with_shape((*result.shape[:2], 1, *result.shape[2:]))
        kernel, strides, dilations = (1, *kernel), (1, *strides), (1, *dilations)
        begin, end = (0, *begin), (0, *end)
    if len(kernel) == 2 and plain:
        mode = "VALID" if not padded else "SAME"
        window = {"kernel_size": (1, 1, *kernel), "strides": (1, 1, *strides)}
        if highest:
            found = w.primitive("MaxPool", x, type=result, pad_mode=mode, format="NCHW", **window)
        else:
            number = 1 if mode == "SAME" else 2  # of MindSpore's enumeration
            found = w.function("AvgPool", x, kernel, strides, number, 0, type=result)
    else:
        found = _pool_3d(w, node, x, (kernel, strides, dilations), (begin, end), same, result)
    if count == 1:
        found = w.function("Squeeze", found, (2,), type=node.types[0])
    return found


def _pool_3d(
    w: Writer,
    node: Node,
    x: Name,
    window: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    pads: tuple[tuple[Extent, ...], tuple[Extent, ...]],
    same: bool,
    result: TensorType,
) -> Name:
    """A pool over three axes; the first of two missing ones is made of extent 1."""
    (kernel, strides, dilations), (begin, end) = window, pads
    lifted = len(kernel) == 2
    whole = result
    if lifted:
        shape = result.shape
        whole = result.with_shape((*shape[:2], 1, *shape[2:]))
        x = w.function("ExpandDims", x, 2)
        kernel, strides, dilations = (1, *kernel), (1, *strides), (1, *dilations)
        begin, end = (0, *begin), (0, *end)
    if len(kernel) != 3:
        raise UnsupportedError(f"a pool over {len(kernel)} axes")
    ceil_mode = bool(node.attrs["ceil_mode"])
    pairs = interleaved(begin, end)
    mode = "PAD" if any(pairs) or ceil_mode else "VALID"
    if node.op.name == "max_pool" and (begin == end and node.attrs["dilations"]):
        settings = {
            "ksize": kernel,
            "strides": strides,
            "pads": pairs[::2],
            "dilation": dilations,
            "ceil_mode": ceil_mode,
            "format": "NCDHW",
            "argmax_type": "int64",
        }
        pair = w.primitive(
            "MaxPool3DWithArgmax", x, type=[whole, whole.with_dtype("int64")], **settings
        )
        found = w.item(pair, 0, whole)
    else:
        if any(step != 1 for step in dilations):
            raise UnsupportedError("a maximum pool with gaps and uneven padding")
        settings = {
            "kernel_size": (1, 1, *kernel),
            "strides": (1, 1, *strides),
            "pad_mode": mode,
            "pad_list": pairs,
            "format": "NCDHW",
        }
        if node.op.name == "max_pool":
            found = w.primitive("MaxPool3D", x, type=whole, ceil_mode=int(ceil_mode), **settings)
        else:
            found = w.primitive(
                "AvgPool3D",
                x,
                type=whole,
                ceil_mode=ceil_mode,
                count_include_pad=bool(node.attrs["count_include_pad"]),
                divisor_override=0,
                pad=pairs,
                **settings,
            )
    return w.function("Squeeze", found, (2,), type=result) if lifted else found


# The number of int64 where a pool is asked for the type of its places.
_INT64 = 4


@writes("max_pool_with_indices")
def _pool_with_places(w: Writer, node: Node, x: Name) -> list[Name]:
    source, result, placed = w.type(node.inputs[0]), node.types[0], node.types[1]
    missing = 5 - source.rank
    extents = static(source.shape, "a pool with places")
    if missing not in (0, 1, 2) or node.attrs["storage_order"]:
        raise UnsupportedError("a pool with places over these axes, or counted by columns")
    count = source.rank - 2
    begin, end = paddings(node, count)
    if begin != end:
        raise UnsupportedError("a pool with places and uneven padding")
    if missing == 1:
        pair = w.primitive(
            "MaxPoolWithArgmaxV2",
            x,
            type=list(node.types),
            kernel_size=(1, 1, *spread(node.attrs["kernel"], count)),
            strides=(1, 1, *spread(node.attrs["strides"], count)),
            pads=(1, 1, *static(begin, "padding")),
            dilation=(1, 1, *spread(node.attrs["dilations"], count)),
            ceil_mode=bool(node.attrs["ceil_mode"]),
            argmax_type=_INT64,
        )
        return _places_of_all(w, node, [w.item(pair, k, t) for k, t in enumerate(node.types)])
    ones = (1,) * missing
    shape = (*result.shape[:2], *ones, *result.shape[2:])
    lengthened = source.with_shape((*extents[:2], *ones, *extents[2:]))
    types = [result.with_shape(shape), placed.with_shape(shape)]
    pair = w.primitive(
        "MaxPool3DWithArgmax",
        w.reshape(x, lengthened.shape, source.dtype) if missing else x,
        type=types,
        ksize=(*ones, *spread(node.attrs["kernel"], count)),
        strides=(*ones, *spread(node.attrs["strides"], count)),
        pads=(*(0,) * missing, *static(begin, "padding")),
        dilation=(*ones, *spread(node.attrs["dilations"], count)),
        ceil_mode=bool(node.attrs["ceil_mode"]),
        format="NCDHW",
        argmax_type="int64",
    )
    parts = [w.item(pair, k, type_) for k, type_ in enumerate(types)]
    if missing:
        parts = [
            w.reshape(part, type_.shape, type_.dtype)
            for part, type_ in zip(parts, node.types, strict=True)
        ]
    return _places_of_all(w, node, parts)


def _places_of_all(w: Writer, node: Node, parts: list[Name]) -> list[Name]:
    """MindSpore counts places within each channel, the operator in the whole tensor."""
    extents = static(w.type(node.inputs[0]).shape, "a pool with places")
    plane = math.prod(extents[2:])
    first = np.arange(extents[0] * extents[1], dtype=np.int64) * plane
    starts = w.model.constant(first.reshape(*extents[:2], *(1,) * (len(extents) - 2)))
    w.planes[node.outputs[1]] = parts[1], plane
    return [parts[0], w.function("Add", parts[1], starts, type=node.types[1])]


@writes("lp_pool")
def _lp_pool(w: Writer, node: Node, x: Name) -> Name:
    """The mean of powers times their number is their sum; zeros of the padding add nothing."""
    source, result, order = w.type(node.inputs[0]), node.types[0], node.attrs["p"]
    if node.attrs["ceil_mode"]:
        raise UnsupportedError("a pool of norms whose last windows are cut")
    kernel = spread(node.attrs["kernel"], source.rank - 2)
    wide, small = Formula(w, source), Formula(w, result)
    powers = wide("Abs", x) if order == 1 else wide("Pow", wide("Abs", x), float(order))
    attributes = {key: value for key, value in node.attrs.items() if key != "p"}
    attributes["count_include_pad"] = True
    mean = _pool(w, replace(node, op=operator_named("average_pool"), attrs=attributes), powers)
    total = small("Mul", mean, float(math.prod(kernel)))
    return total if order == 1 else small("Pow", total, 1.0 / order)


@writes("max_unpool")
def _max_unpool(w: Writer, node: Node, x: Name, places: Name) -> Name:
    """Places count through the whole result."""
    source, result = w.type(node.inputs[0]), node.types[0]
    static(result.shape, "what a pool is put back into")
    size, count = math.prod(result.static_shape), math.prod(source.static_shape)
    flat = result.with_shape((size,))
    empty = w.function("BroadcastTo", w.scalar(0, result.dtype), (size,), type=flat)
    indices = w.reshape(places, (count,), "int64")
    values = w.reshape(x, (count,), source.dtype)
    found = w.function("TensorScatterElements", empty, indices, values, 0, 0, type=flat)
    return w.reshape(found, result.shape, result.dtype)


@writes("column_image")
def _column_image(w: Writer, node: Node, x: Name) -> Name:
    source, result = w.type(node.inputs[0]), node.types[0]
    image = static(node.attrs["image"], "an image of columns")
    block = tuple(node.attrs["block"])
    begin, end = paddings(node, len(block))
    if len(block) != 2 or begin != end:
        raise UnsupportedError("columns over these axes, or with uneven padding")
    shape = (source.shape[0], result.shape[1], math.prod(block), source.shape[2])
    return w.primitive(
        "Col2Im",
        w.reshape(x, shape, source.dtype),
        np.array(image, np.int32),
        type=result,
        kernel_size=block,
        dilation=spread(node.attrs["dilations"], 2),
        padding=static(begin, "padding"),
        stride=spread(node.attrs["strides"], 2),
    )
