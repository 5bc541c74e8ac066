"""Writers of dense operators, pooling, normalization and recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Extent, Node, UnsupportedError
from ...ir.data_type import is_float
from ...ops.resize import scaled_extent
from ...ops.spatial import resolve_auto_pad
from .writer import Writer, writes


def _numbers(what: str, extents: Any) -> list[int]:
    """Extents that ONNX has as attributes and so must be known."""
    if not all(isinstance(extent, int) for extent in extents):
        raise UnsupportedError(f"{what} {tuple(extents)} must be numbers in ONNX")
    return [int(extent) for extent in extents]


@writes("matmul")
def _matmul(w: Writer, node: Node, a: str, b: str) -> str:
    operands = []
    for name, value, key in (
        (a, node.inputs[0], "transpose_a"),
        (b, node.inputs[1], "transpose_b"),
    ):
        rank = w.type(value).rank
        if node.attrs[key] and rank > 1:
            order = [*range(rank - 2), rank - 1, rank - 2]
            name = w.add("Transpose", name, perm=order)
        operands.append(name)
    return w.add("MatMul", *operands)


@writes("einsum")
def _einsum(w: Writer, node: Node, *inputs: str) -> str:
    return w.add("Einsum", *inputs, equation=node.attrs["equation"])


def _window(w: Writer, node: Node, x: str) -> tuple[str, dict[str, Any]]:
    """The input, padded by its own node where paddings are symbolic or uneven, and attributes."""
    rank = w.type(node.inputs[0]).rank - 2
    attrs = node.attrs
    begin = list(attrs["pads_begin"]) or [0] * rank
    end = list(attrs["pads_end"]) or [0] * rank
    given: dict[str, Any] = {
        "strides": list(attrs["strides"]) or [1] * rank,
        "dilations": list(attrs["dilations"]) or [1] * rank,
    }
    if all(isinstance(extent, int) for extent in (*begin, *end)):
        given["pads"] = _numbers("paddings", [*begin, *end])
        return x, given
    if node.op.name != "convolution_transpose" and not attrs.get("ceil_mode"):
        # As convolutions with padding "same" have it for images of any size.
        kernel = attrs.get("kernel") or w.type(node.inputs[1]).shape[2:]
        extents = w.type(node.inputs[0]).shape[2:]
        steps = given["strides"], given["dilations"]
        for word in ("SAME_UPPER", "SAME_LOWER"):
            if resolve_auto_pad(word, extents, kernel, *steps) == (tuple(begin), tuple(end)):
                return x, {**given, "auto_pad": word}
    if node.op.name != "convolution":
        raise UnsupportedError("symbolic paddings")
    pads: list[Extent] = [0, 0, *begin, 0, 0, *end]
    return w.add("Pad", x, w.extents(pads)), given


def _floating(w: Writer, node: Node) -> None:
    dtype = w.type(node.inputs[0]).dtype
    if not is_float(dtype):
        raise UnsupportedError(f"convolutions of {dtype}")


@writes("convolution")
def _convolution(w: Writer, node: Node, x: str, weight: str, bias: str | None = None) -> str:
    _floating(w, node)
    x, attributes = _window(w, node, x)
    return w.add("Conv", x, weight, bias, group=node.attrs["groups"], **attributes)


@writes("convolution_transpose")
def _convolution_transpose(
    w: Writer, node: Node, x: str, weight: str, bias: str | None = None
) -> str:
    _floating(w, node)
    x, attributes = _window(w, node, x)
    rank = len(attributes["strides"])
    extra = _numbers("output_padding", node.attrs["output_padding"]) or [0] * rank
    # A negative padding at the end is more output there.
    for axis in range(rank):
        if attributes["pads"][rank + axis] < 0:
            extra[axis] -= attributes["pads"][rank + axis]
            attributes["pads"][rank + axis] = 0
    return w.add(
        "ConvTranspose",
        x,
        weight,
        bias,
        group=node.attrs["groups"],
        output_padding=extra,
        **attributes,
    )


@writes("max_pool", "max_pool_with_indices", "average_pool", "lp_pool")
def _pool(w: Writer, node: Node, x: str) -> Any:
    x, attributes = _window(w, node, x)
    attributes["kernel_shape"] = list(node.attrs["kernel"])
    attributes["ceil_mode"] = int(node.attrs["ceil_mode"])
    if node.op.name == "average_pool":
        include = int(node.attrs["count_include_pad"])
        return w.add("AveragePool", x, count_include_pad=include, **attributes)
    if node.op.name == "lp_pool":
        return w.add("LpPool", x, p=node.attrs["p"], **attributes)
    if node.op.name == "max_pool":
        return w.add("MaxPool", x, **attributes)
    return w.add_many("MaxPool", (x,), 2, storage_order=node.attrs["storage_order"], **attributes)


# --- normalization -------------------------------------------------------------------------

_AXIS = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "hardmax": "Hardmax"}


@writes(*_AXIS)
def _softmax(w: Writer, node: Node, x: str) -> str:
    return w.add(_AXIS[node.op.name], x, axis=node.attrs["axis"])


@writes("batch_normalization")
def _batch_normalization(w: Writer, node: Node, *inputs: str) -> str:
    return w.add("BatchNormalization", *inputs, epsilon=node.attrs["epsilon"])


@writes("instance_normalization")
def _instance_normalization(w: Writer, node: Node, *inputs: str) -> str:
    return w.add("InstanceNormalization", *inputs, epsilon=node.attrs["epsilon"])


@writes("layer_normalization_statistics")
def _layer_statistics(w: Writer, node: Node, *inputs: str | None) -> list[str]:
    if node.types[1].dtype != "float64":
        found: list[str] = _layer_normalization(w, node, *inputs)
        return found
    # ONNX gives the statistics in float32: spell them out.
    value, x = node.inputs[0], inputs[0]
    axes = w.integers(range(w.type(value).axis(node.attrs["axis"]), w.type(value).rank))
    mean = w.add("ReduceMean", x, axes)
    difference = w.add("Sub", x, mean)
    variance = w.add("ReduceMean", w.add("Mul", difference, difference), axes)
    shifted = w.add("Add", variance, w.scalar_like(value, node.attrs["epsilon"]))
    inverse = w.add("Reciprocal", w.add("Sqrt", shifted))
    y = w.add("Mul", w.add("Mul", difference, inverse), inputs[1])
    if len(inputs) > 2 and inputs[2] is not None:
        y = w.add("Add", y, inputs[2])
    return [y, mean, inverse]


@writes("layer_normalization")
def _layer_normalization(w: Writer, node: Node, *inputs: str | None) -> list[str]:
    return w.add_many(
        "LayerNormalization",
        inputs,
        len(node.types),  # the statistics are further outputs
        axis=node.attrs["axis"],
        epsilon=node.attrs["epsilon"],
    )


@writes("rms_normalization")
def _rms_normalization(w: Writer, node: Node, x: str, scale: str) -> str:
    """Spelled out: the operator came with opset 23 and has few implementations."""
    if w.opset >= 23:
        return w.add(
            "RMSNormalization", x, scale, axis=node.attrs["axis"], epsilon=node.attrs["epsilon"]
        )
    value = node.inputs[0]
    axes = w.integers(range(w.type(value).axis(node.attrs["axis"]), w.type(value).rank))
    mean = w.add("ReduceMean", w.add("Mul", x, x), axes)
    root = w.add("Sqrt", w.add("Add", mean, w.scalar_like(value, node.attrs["epsilon"])))
    return w.add("Mul", w.add("Div", x, root), scale)


@writes("group_normalization")
def _group_normalization(w: Writer, node: Node, x: str, scale: str, bias: str) -> str:
    return w.add(
        "GroupNormalization",
        x,
        scale,
        bias,
        num_groups=node.attrs["groups"],
        epsilon=node.attrs["epsilon"],
    )


@writes("lrn")
def _lrn(w: Writer, node: Node, x: str) -> str:
    return w.add("LRN", x, **node.attrs)


@writes("lp_normalization")
def _lp_normalization(w: Writer, node: Node, x: str) -> str:
    return w.add("LpNormalization", x, axis=node.attrs["axis"], p=node.attrs["p"])


# --- recurrent -----------------------------------------------------------------------------


@writes("lstm", "gru", "rnn")
def _recurrent(w: Writer, node: Node, *inputs: str | None) -> list[str]:
    attributes = {
        name: int(value) if isinstance(value, bool) else value
        for name, value in node.attrs.items()
        if value not in ((), 0.0) or isinstance(value, (bool, int))
    }
    if not attributes.get("clip", True):
        del attributes["clip"]
    lists = {name: list(v) if isinstance(v, tuple) else v for name, v in attributes.items()}
    return w.add_many(node.op.name.upper(), inputs, len(node.types), **lists)


# --- images --------------------------------------------------------------------------------


@writes("resize")
def _resize(w: Writer, node: Node, x: str) -> str:
    attrs = node.attrs
    type_ = w.type(node.inputs[0])
    mode = attrs["coordinate_transformation"]
    roi = w.constant(np.array(attrs["roi"], np.float32)) if mode == "tf_crop_and_resize" else None
    scales, sizes = None, None
    if attrs["scales"] and all(
        scaled_extent(extent, scale) == size
        for extent, scale, size in zip(type_.shape, attrs["scales"], attrs["sizes"], strict=True)
    ):
        scales = w.constant(np.array(attrs["scales"], np.float32))
    elif attrs["scales"]:
        raise UnsupportedError("Resize takes sizes or scales; these do not agree")
    else:
        sizes = w.extents(attrs["sizes"])
    return w.add(
        "Resize",
        x,
        roi,
        scales,
        sizes,
        mode=attrs["mode"],
        coordinate_transformation_mode=mode,
        nearest_mode=attrs["nearest_mode"],
        cubic_coeff_a=attrs["cubic_coeff_a"],
        exclude_outside=int(attrs["exclude_outside"]),
        extrapolation_value=attrs["extrapolation_value"],
        antialias=int(attrs["antialias"]),
    )


@writes("grid_sample")
def _grid_sample(w: Writer, node: Node, x: str, grid: str) -> str:
    return w.add(
        "GridSample",
        x,
        grid,
        mode=node.attrs["mode"],
        padding_mode=node.attrs["padding"],
        align_corners=int(node.attrs["align_corners"]),
    )


@writes("roi_align")
def _roi_align(w: Writer, node: Node, x: str, regions: str, images: str) -> str:
    attributes = dict(node.attrs)
    half_pixel = attributes.pop("half_pixel")
    mode = "half_pixel" if half_pixel else "output_half_pixel"
    return w.add("RoiAlign", x, regions, images, coordinate_transformation_mode=mode, **attributes)


@writes("non_max_suppression")
def _non_max_suppression(
    w: Writer,
    node: Node,
    boxes: str,
    scores: str,
    iou_threshold: str | None = None,
    score_threshold: str | None = None,
) -> list[str]:
    found = w.add(
        "NonMaxSuppression",
        boxes,
        scores,
        w.extents([node.attrs["most"]]),
        iou_threshold,
        score_threshold,
        center_point_box=int(node.attrs["centred"]),
    )
    count = w.add("Shape", found, start=0, end=1)
    room = w.add("Sub", w.extents([node.types[0].shape[0]]), count)
    pads = w.add("Concat", w.integers([0, 0]), room, w.integers([0]), axis=0)
    return [w.add("Pad", found, pads), count]


@writes("det")
def _det(w: Writer, node: Node, x: str) -> str:
    return w.add("Det", x)


@writes("column_image")
def _column_image(w: Writer, node: Node, x: str) -> str:
    attrs = node.attrs
    rank = len(attrs["block"])
    pads = [*(attrs["pads_begin"] or (0,) * rank), *(attrs["pads_end"] or (0,) * rank)]
    return w.add(
        "Col2Im",
        x,
        w.extents(attrs["image"]),
        w.integers(attrs["block"]),
        dilations=list(attrs["dilations"]) or None,
        strides=list(attrs["strides"]) or None,
        pads=_numbers("paddings", pads),
    )
