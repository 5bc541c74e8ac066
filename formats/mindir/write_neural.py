"""Writers of matrix products, convolutions, pools, normalizations and interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Dim, Extent, Node, TensorType, UnsupportedError, Value
from ...ir import dim as dims
from .read_convolution import same_padding
from .write_elementwise import Formula, reduced
from .writer import Name, Writer, writes

# --- matrix products -------------------------------------------------------------------------


@writes("matmul")
def _matmul(w: Writer, node: Node, a: Name, b: Name) -> Name:
    turned = (bool(node.attrs["transpose_a"]), bool(node.attrs["transpose_b"]))
    ranks = [w.type(value).rank for value in node.inputs]
    type_ = node.types[0]
    if ranks == [2, 2]:
        return w.function("MatMul", a, b, *turned, type=type_)
    if not any(turned):
        return w.function("MatMulExt", a, b, type=type_)
    if ranks[0] == ranks[1] and ranks[0] > 2:
        return w.function("BatchMatMul", a, b, *turned, type=type_)
    names = []
    for name, turn, rank in zip((a, b), turned, ranks, strict=True):
        order = (*range(rank - 2), rank - 1, rank - 2)
        names.append(w.function("Transpose", name, order) if turn else name)
    return w.function("MatMulExt", *names, type=type_)


@writes("einsum")
def _einsum(w: Writer, node: Node, *xs: Name) -> Name:
    whole = w.tuple_of(xs, [w.type(value) for value in node.inputs])
    return w.primitive("Einsum", whole, type=node.types[0], equation=node.attrs["equation"])


# --- convolutions ----------------------------------------------------------------------------


def spread(values: Sequence[int], count: int) -> tuple[int, ...]:
    return tuple(int(v) for v in values) if values else (1,) * count


def paddings(node: Node, count: int) -> tuple[tuple[Extent, ...], tuple[Extent, ...]]:
    begin, end = node.attrs["pads_begin"], node.attrs["pads_end"]
    return tuple(begin) or (0,) * count, tuple(end) or (0,) * count


def interleaved(begin: Sequence[Extent], end: Sequence[Extent]) -> tuple[int, ...]:
    """Padding as MindSpore lists it: both ends of each axis together."""
    listed = [extent for pair in zip(begin, end, strict=True) for extent in pair]
    if any(isinstance(extent, Dim) for extent in listed):
        raise UnsupportedError("padding that depends on the input's size")
    return tuple(int(extent) for extent in listed if isinstance(extent, int))


def is_same(
    extents: Sequence[Extent],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: tuple[Sequence[Extent], Sequence[Extent]],
) -> bool:
    """True when the padding is the one that MindSpore calls "same"."""
    wanted = same_padding(extents, kernel, strides, dilations)
    return (tuple(pads[0]), tuple(pads[1])) == wanted


def _spatial(w: Writer, value: Value | None) -> tuple[Extent, ...]:
    return w.type(value).shape[2:]


def static(extents: Sequence[Extent], what: str) -> tuple[int, ...]:
    if any(isinstance(extent, Dim) for extent in extents):
        raise UnsupportedError(f"{what} of extents that vary")
    return tuple(int(extent) for extent in extents if isinstance(extent, int))


def with_axis(w: Writer, x: Name, type_: TensorType, axis: int) -> Name:
    """``x`` with an axis of extent 1."""
    shape = (*type_.shape[:axis], 1, *type_.shape[axis:])
    return w.function("ExpandDims", x, axis, type=type_.with_shape(shape))


@writes("convolution")
def _convolution(w: Writer, node: Node, x: Name, weight: Name, bias: Name | None = None) -> Name:
    source, weights = w.type(node.inputs[0]), w.type(node.inputs[1])
    count = source.rank - 2
    kernel = static(weights.shape[2:], "a kernel")
    strides = spread(node.attrs["strides"], count)
    dilations = spread(node.attrs["dilations"], count)
    begin, end = paddings(node, count)
    same = is_same(source.shape[2:], kernel, strides, dilations, (begin, end))
    result = node.types[0]
    flat = count == 1
    if flat:
        x = with_axis(w, x, source, 2)
        weight = with_axis(w, weight, weights, 2)
        kernel, strides, dilations = (1, *kernel), (1, *strides), (1, *dilations)
        begin, end = (0, *begin), (0, *end)
        result = result.with_shape((*result.shape[:2], 1, *result.shape[2:]))
    mode, pairs = ("same", (0,) * (2 * len(kernel))) if same else ("pad", interleaved(begin, end))
    if not same and not any(pairs):
        mode = "valid"
    dynamic = same and any(isinstance(e, Dim) for e in (*begin, *end))
    listed = (-1,) * len(pairs) if dynamic else interleaved(begin, end)
    groups, channels = node.attrs["groups"], static(weights.shape[:1], "a convolution")[0]
    common: dict[str, Any] = {
        "kernel_size": kernel,
        "mode": 1,
        "out_channel": channels,
        "pad": pairs,
        "pad_mode": mode,
        "pad_list": listed,
        "groups": groups,
        "group": groups,
    }
    if len(kernel) == 2:
        found = w.primitive(
            "Conv2D",
            x,
            weight,
            type=result,
            format="NCHW",
            stride=(1, 1, *strides),
            dilation=(1, 1, *dilations),
            **common,
        )
    elif len(kernel) == 3:
        found = w.primitive(
            "Conv3D",
            x,
            weight,
            type=result,
            format="NCDHW",
            stride=strides,
            strides=(1, 1, *strides),
            dilation=dilations,
            dilations=(1, 1, *dilations),
            offset_x=0,
            **common,
        )
    else:
        raise UnsupportedError(f"a convolution over {count} axes")
    if bias is not None:
        found = w.function("BiasAdd", found, bias, 0, type=result)
    if flat:
        found = w.function("Squeeze", found, (2,), type=node.types[0])
    return found


@writes("convolution_transpose")
def _convolution_transpose(
    w: Writer, node: Node, x: Name, weight: Name, bias: Name | None = None
) -> Name:
    source, weights, result = w.type(node.inputs[0]), w.type(node.inputs[1]), node.types[0]
    count = source.rank - 2
    kernel = static(weights.shape[2:], "a kernel")
    strides = spread(node.attrs["strides"], count)
    dilations = spread(node.attrs["dilations"], count)
    begin, end = paddings(node, count)
    extra = static(node.attrs["output_padding"], "padding") or (0,) * count
    flat = count == 1
    if flat:
        x = with_axis(w, x, source, 2)
        weight = with_axis(w, weight, weights, 2)
        kernel, strides, dilations = (1, *kernel), (1, *strides), (1, *dilations)
        begin, end, extra = (0, *begin), (0, *end), (0, *extra)
        result = result.with_shape((*result.shape[:2], 1, *result.shape[2:]))
    pairs = interleaved(begin, end)
    channels = static(weights.shape[:1], "a convolution")[0]
    groups = node.attrs["groups"]
    common: dict[str, Any] = {
        "kernel_size": kernel,
        "mode": 1,
        "out_channel": channels,
        "pad": pairs,
        "pad_list": pairs,
        "groups": groups,
        "group": groups,
    }
    if len(kernel) == 2:
        found = w.primitive(
            "Conv2DTranspose",
            x,
            weight,
            w.extents(result.shape),
            type=result,
            pad_mode="PAD",
            format="NCHW",
            stride=(1, 1, *strides),
            dilation=(1, 1, *dilations),
            **common,
        )
    elif len(kernel) == 3:
        whole = static(result.shape, "a transposed convolution")
        common["out_channel"] = whole[1]
        found = w.primitive(
            "Conv3DTranspose",
            x,
            weight,
            type=result,
            pad_mode="pad",
            format="NCDHW",
            stride=strides,
            strides=(1, 1, *strides),
            dilation=dilations,
            dilations=(1, 1, *dilations),
            output_padding=(0, 0, *extra),
            input_size=whole,
            in_channel=channels,
            **common,
        )
    else:
        raise UnsupportedError(f"a transposed convolution over {count} axes")
    if bias is not None:
        found = w.function("BiasAdd", found, bias, 0, type=result)
    if flat:
        found = w.function("Squeeze", found, (2,), type=node.types[0])
    return found


# --- normalizations --------------------------------------------------------------------------


@writes("batch_normalization")
def _batch_normalization(w: Writer, node: Node, x: Name, *vectors: Name) -> Name:
    source = w.type(node.inputs[0])
    epsilon = float(node.attrs["epsilon"])
    shape = source.shape
    if source.rank not in (2, 4):
        rest = dims.product(shape[2:])
        x = w.reshape(x, (*shape[:2], rest, 1), source.dtype)
    whole = w.function("BatchNorm", x, *vectors, False, epsilon, 0.1, 0)
    found = w.item(whole, 0, source if source.rank in (2, 4) else None)
    return found if source.rank in (2, 4) else w.reshape(found, shape, source.dtype)


@writes("layer_normalization")
def _layer_normalization(
    w: Writer, node: Node, x: Name, scale: Name, bias: Name | None = None
) -> Name:
    source = w.type(node.inputs[0])
    axis = source.axis(node.attrs["axis"])
    if bias is None:
        shape = static(source.shape[axis:], "a normalization")
        bias = w.model.constant(np.zeros(shape, source.numpy))
    whole = w.function("LayerNorm", x, scale, bias, axis, axis, float(node.attrs["epsilon"]))
    return w.item(whole, 0, source)


@writes("group_normalization", "instance_normalization")
def _group_normalization(w: Writer, node: Node, x: Name, scale: Name, bias: Name) -> Name:
    source = w.type(node.inputs[0])
    channels = source.shape[1]
    groups = node.attrs["groups"] if node.op.name == "group_normalization" else channels
    whole = w.function("GroupNorm", x, groups, scale, bias, float(node.attrs["epsilon"]))
    return w.item(whole, 0, source)


@writes("rms_normalization")
def _rms_normalization(w: Writer, node: Node, x: Name, scale: Name) -> Name:
    source = w.type(node.inputs[0])
    axes = tuple(range(source.axis(node.attrs["axis"]), source.rank))
    kept = source.with_shape([1 if k in axes else e for k, e in enumerate(source.shape)])
    wide, small = Formula(w, source), Formula(w, kept)
    mean = reduced(w, "ReduceMean", wide("Square", x), axes, True, kept)
    root = small("Rsqrt", small("Add", mean, float(node.attrs["epsilon"])))
    return wide("Mul", wide("Mul", x, root), scale)


@writes("lp_normalization")
def _lp_normalization(w: Writer, node: Node, x: Name) -> Name:
    source = w.type(node.inputs[0])
    axis = source.axis(node.attrs["axis"])
    kept = source.with_shape([1 if k == axis else e for k, e in enumerate(source.shape)])
    wide, small = Formula(w, source), Formula(w, kept)
    size = wide("Abs" if node.attrs["p"] == 1 else "Square", x)
    total = reduced(w, "ReduceSum", size, (axis,), True, kept)
    if node.attrs["p"] == 2:
        total = small("Sqrt", total)
    empty = small.test("Equal", total, 0.0)
    safe = w.function("Select", empty, small("OnesLike", total), total, type=kept)
    return wide("Div", x, safe)


@writes("lrn")
def _lrn(w: Writer, node: Node, x: Name) -> Name:
    size = node.attrs["size"]
    if size % 2 == 0:
        raise UnsupportedError(f"lrn over {size} channels")
    return w.primitive(
        "LRN",
        x,
        type=node.types[0],
        depth_radius=size // 2,
        bias=float(node.attrs["bias"]),
        alpha=float(node.attrs["alpha"]) / size,
        beta=float(node.attrs["beta"]),
        norm_region="ACROSS_CHANNELS",
    )


# --- interpolation ---------------------------------------------------------------------------
