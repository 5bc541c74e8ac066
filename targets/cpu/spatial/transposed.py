"""Transposed convolution of one to three spatial axes, channels last."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....ir import Array, Call, Cost, Extent, Graph, ModelError, Node, Operand, TensorType, Value
from ....ir.dim import ceil_divide, product
from ....ops.convolution_transpose import convolution_transpose
from ....ops.define import operator
from ..choices import Choices
from ..dense.epilogue import Epilogue, applied
from ..dense.products import packed_parameter
from ..emitted import EmittedBody
from . import sub_pixel
from .select import with_bias
from .transposed_cost import phased_seconds, sub_pixel_seconds
from .transposed_plan import TransposedPlan
from .transposed_writer import TransposedWriter

# More phases make more code than the kernel is worth.
_MOST_PHASES = 16


@operator(name="cpu_spatial_transposed_convolution", traits=("dot",))
def spatial_transposed_convolution(
    x: Array,
    packed: Array,
    bias: Array | None = None,
    *,
    maps: int,
    groups: int,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads_begin: tuple[int, ...],
    pads_end: tuple[int, ...],
    output_padding: tuple[int, ...],
    width: int,
    low: float = -math.inf,
    high: float = math.inf,
) -> Array:
    """``convolution_transpose`` of ``x`` [N, spatial..., C] to [N, spatial..., maps].

    The weights are packed by :meth:`~.transposed_plan.TransposedPlan.pack`. ``bias``, ``low``
    and ``high`` are the epilogue (see :mod:`..dense.epilogue`).
    """
    window: dict[str, Any] = {
        "strides": strides,
        "dilations": dilations,
        "pads_begin": pads_begin,
        "pads_end": pads_end,
        "output_padding": output_padding,
    }
    type_ = TensorType.of(x)
    output = _output(type_, kernel, **window)
    plan = plan_of(type_, output, maps, groups, kernel, strides, dilations, pads_begin, width)
    result = convolution_transpose.reference(
        np.moveaxis(x, -1, 1), plan.unpack(packed), groups=groups, **window
    )
    return np.ascontiguousarray(applied(np.moveaxis(result, 1, -1), bias, low, high))


def _output(
    x: TensorType,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads_begin: tuple[int, ...],
    pads_end: tuple[int, ...],
    output_padding: tuple[int, ...],
) -> tuple[Extent, ...]:
    return tuple(
        (extent - 1) * strides[a] + dilations[a] * (kernel[a] - 1) + 1 + output_padding[a]
        - pads_begin[a] - pads_end[a]
        for a, extent in enumerate(x.shape[1:-1])
    )  # fmt: skip


def plan_of(
    x: TensorType,
    output: tuple[Extent, ...],
    maps: int,
    groups: int,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
    width: int,
) -> TransposedPlan:
    """The plan for ``x`` [N, spatial..., C]; an open line is open in source and output."""
    sizes = [extent if isinstance(extent, int) else None for extent in x.shape[1:-1]]
    counts = [extent if isinstance(extent, int) else None for extent in output]
    channels = int(x.shape[-1])  # type: ignore[arg-type]
    return TransposedPlan(
        channels // groups, maps // groups, groups, tuple(sizes), tuple(counts), kernel, strides,
        dilations, pads, width,
    )  # fmt: skip


@spatial_transposed_convolution.infer
def _(
    x: TensorType,
    packed: TensorType,
    bias: TensorType | None = None,
    *,
    maps: int,
    groups: int,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads_begin: tuple[int, ...],
    pads_end: tuple[int, ...],
    output_padding: tuple[int, ...],
    width: int,
    low: float,
    high: float,
) -> TensorType:
    if x.rank != len(kernel) + 2 or packed.rank != 1 or not isinstance(x.shape[-1], int):
        raise ModelError(f"transposed convolution of {x} and {packed}")
    if bias is not None and bias.shape != (maps,):
        raise ModelError(f"transposed convolution to {maps} maps with a bias {bias}")
    output = _output(x, kernel, strides, dilations, pads_begin, pads_end, output_padding)
    plan = plan_of(x, output, maps, groups, kernel, strides, dilations, pads_begin, width)
    if packed.shape != (plan.size,):
        raise ModelError(f"transposed convolution of {x} in {groups} groups and {packed}")
    return x.with_shape((x.shape[0], *output, maps))


@spatial_transposed_convolution.cost
def _(
    x: TensorType,
    packed: TensorType,
    bias: TensorType | None = None,
    **attributes: Any,
) -> Cost:
    out = spatial_transposed_convolution.infer_types([x, packed], attributes)[0]
    each = math.prod(attributes["kernel"]) * attributes["maps"] // attributes["groups"]
    return Cost(2 * x.size * each, x.nbytes + packed.nbytes + out.nbytes)


@spatial_transposed_convolution.kernel
def _(
    x: Operand,
    packed: Operand,
    bias: Operand | None,
    out: Operand,
    *,
    maps: int,
    groups: int,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads_begin: tuple[int, ...],
    pads_end: tuple[int, ...],
    output_padding: tuple[int, ...],
    width: int,
    low: float,
    high: float,
) -> Call:
    plan = plan_of(
        x.type, out.shape[1:-1], maps, groups, kernel, strides, dilations, pads_begin, width
    )
    epilogue = Epilogue(bias is not None, low, high)
    writer = TransposedWriter(plan, epilogue)
    more = () if bias is None else (bias.flat(),)
    body = EmittedBody(
        "spatial_transposed_convolution", (plan, epilogue), 3 + len(more), maps, writer.write
    )
    leading = zip(out.shape[1:-2], strides[:-1], strict=True)
    lines = product((x.shape[0], *(ceil_divide(extent, stride) for extent, stride in leading)))
    items = lines * math.prod(strides[:-1]) * writer.parts
    return Call(body, (x.whole(), packed.flat(), out.whole(), *more), items=items)


# --- choosing it ---------------------------------------------------------------------------


def is_transposable(graph: Graph, node: Node) -> bool:
    """True for a transposed convolution that is computed channels last."""
    return is_phased(graph, node) or sub_pixel.is_transposable(graph, node)


def transposed(graph: Graph, node: Node, x: Value, choices: Choices) -> Value:
    """The transposed convolution of ``x``, whose channels are last, bias included."""
    is_plain = sub_pixel.is_transposable(graph, node)
    if not is_phased(graph, node) or (is_plain and is_better_as_one(graph, node, choices)):
        return sub_pixel.transposed(graph, node, x, choices)
    return _phased(graph, node, x, choices)


def is_better_as_one(graph: Graph, node: Node, choices: Choices) -> bool:
    """True where all phases together make a faster convolution than each alone, by estimates."""
    plan = _plan(graph, node, choices.width)
    pixels = sub_pixel.pixels_of(graph, node)
    known = tuple(extent if isinstance(extent, int) else None for extent in pixels)
    return sub_pixel_seconds(plan, known, choices.exact) < phased_seconds(plan)


def is_phased(graph: Graph, node: Node) -> bool:
    """True for a float32 transposed convolution that the kernel of this file can compute."""
    x, w = node.operands[:2]
    type_, weights = graph.type(x), graph.type(w)
    if not graph.is_param(w) or type_.dtype != "float32" or not 3 <= type_.rank <= 5:
        return False
    window = _window(graph, node)
    known = all(isinstance(extent, int) for values in window.values() for extent in values)
    if not known or any(pad < 0 for pad in window["pads_begin"]):
        return False
    if 0 in weights.static_shape or 0 in node.types[0].shape or 0 in type_.shape:
        return False
    if type_.shape[1] != weights.static_shape[0]:
        return False  # an open number of channels is only assumed to be this one
    groups = node.attrs["groups"]
    is_narrow = groups > 1 and weights.static_shape[1] < 4
    if is_narrow or math.prod(window["strides"]) > _MOST_PHASES:
        return False
    if isinstance(type_.shape[-1], int) and isinstance(node.types[0].shape[-1], int):
        return True
    inside = window["kernel"][-1] <= window["strides"][-1] and window["dilations"][-1] == 1
    return inside and not any(
        window[key][-1] for key in ("pads_begin", "pads_end", "output_padding")
    )


def _phased(graph: Graph, node: Node, x: Value, choices: Choices) -> Value:
    """By the kernel of this file."""
    w, groups = node.operands[1], node.attrs["groups"]
    plan = _plan(graph, node, choices.width)
    result = graph.add(
        spatial_transposed_convolution,
        x,
        packed_parameter(graph, w, (plan.size,), plan.pack, plan),
        maps=plan.maps * groups,
        groups=groups,
        **_window(graph, node),
        width=choices.width,
        name=node.name,
        origin=node.origin,
    )
    graph.annotate(result.node, "each phase of the outputs alone")
    return with_bias(graph, node, result)


def _plan(graph: Graph, node: Node, width: int) -> TransposedPlan:
    """The plan for a node whose operands are channels first."""
    window, groups = _window(graph, node), node.attrs["groups"]
    x = graph.type(node.operands[0])
    last = x.with_shape((x.shape[0], *x.shape[2:], x.shape[1]))
    maps = graph.type(node.operands[1]).static_shape[1] * groups
    return plan_of(
        last,
        _output(last, **window),
        maps,
        groups,
        window["kernel"],
        window["strides"],
        window["dilations"],
        window["pads_begin"],
        width,
    )


def _window(graph: Graph, node: Node) -> dict[str, tuple[Any, ...]]:
    """Kernel, strides, dilations and paddings, defaults filled in."""
    kernel = graph.type(node.operands[1]).static_shape[2:]
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    return {
        "kernel": kernel,
        "strides": tuple(node.attrs["strides"]) or ones,
        "dilations": tuple(node.attrs["dilations"]) or ones,
        "pads_begin": tuple(node.attrs["pads_begin"]) or zeros,
        "pads_end": tuple(node.attrs["pads_end"]) or zeros,
        "output_padding": tuple(node.attrs["output_padding"]) or zeros,
    }
