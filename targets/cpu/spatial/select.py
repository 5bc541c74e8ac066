"""Which kernel computes a convolution with constant weights, channels last."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ....compiler.roofline import MachinePeaks
from ....ir import Array, Graph, Node, Value
from ....ops.elementwise_arithmetic import add
from ....ops.reshape import reshape
from ..choices import Choices
from ..dense.products import Product, packed_parameter, product_candidates
from ..tuning.choose import OTHERWISE, Candidate, choose
from .convolution import spatial_convolution
from .depthwise import pack_channels, spatial_depthwise
from .geometry import Geometry, pack_kernels
from .phases import by_phases
from .winograd import spatial_winograd
from .winograd_cost import BLOCKS, POINTS, panel_columns, typical_peaks, winograd_seconds
from .winograd_transforms import TILES
from .winograd_transforms import pack_kernels as winograd_kernels

# With so few channels the first layer reads a channels-first image as well as another.
_MOST_FIRST_CHANNELS = 8


def is_convolvable(graph: Graph, node: Node) -> bool:
    """True for a float32 convolution with constant weights and known channels and paddings."""
    x, w = node.operands[:2]
    type_, weights = graph.type(x), graph.type(w)
    if not graph.is_param(w) or type_.dtype != "float32" or not 3 <= type_.rank <= 5:
        return False
    pads = (*node.attrs["pads_begin"], *node.attrs["pads_end"])
    if type_.shape[1] != weights.static_shape[1] * node.attrs["groups"]:
        return False  # an open number of channels is only assumed to be this one
    known = all(isinstance(pad, int) and pad >= 0 for pad in pads)
    return known and 0 not in weights.static_shape and 0 not in node.types[0].shape


def reads_channels_first(graph: Graph, node: Node) -> bool:
    """True where the kernel can read its input channels first without a loss."""
    type_ = graph.type(node.operands[0])
    known = all(isinstance(extent, int) for extent in type_.shape[1:])
    return known and type_.shape[1] <= _MOST_FIRST_CHANNELS  # type: ignore[operator]


def convolve(graph: Graph, node: Node, x: Value, channels_first: bool, choices: Choices) -> Value:
    """The convolution of ``x``, whose channels are last unless said otherwise, bias included."""
    if not channels_first and not choices.exact:
        made = partial(_phase, graph, node, choices.width)
        found = by_phases(graph, node, x, window_of(graph, node), choices.width, made)
        if found is not None:
            return found
    chosen = _chosen(graph, node, x, channels_first, choices)
    result = chosen.build()
    graph.annotate(result.node, chosen.note)
    return with_bias(graph, node, result)


def _chosen(
    graph: Graph, node: Node, x: Value, channels_first: bool, choices: Choices
) -> Candidate[Value]:
    """The way to compute a convolution, without its bias."""
    width = choices.width
    note = "reads the image as it is, channels first"
    if not channels_first:
        if _is_depthwise(graph, node):
            note = "one map for each channel"
            return Candidate("depthwise", 0.0, lambda: _depthwise(graph, node, x, width), note)
        if _is_pointwise(graph, node):
            return _pointwise(graph, node, x, choices)
        note = "exact sums asked for"
        if not choices.exact:
            note = _no_winograd(graph, node, choices.width)
            if not note:
                return _direct_or_winograd(graph, node, x, choices)
    return Candidate("direct", 0.0, lambda: _direct(graph, node, x, channels_first, width), note)


def window_of(graph: Graph, node: Node) -> dict[str, tuple[int, ...]]:
    """Kernel, strides, dilations and paddings of a convolution, defaults filled in."""
    kernel = graph.type(node.operands[1]).static_shape[2:]
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    return {
        "kernel": kernel,
        "strides": node.attrs["strides"] or ones,
        "dilations": node.attrs["dilations"] or ones,
        "pads_begin": node.attrs["pads_begin"] or zeros,
        "pads_end": node.attrs["pads_end"] or zeros,
    }


def _is_pointwise(graph: Graph, node: Node) -> bool:
    """True for a 1x1 convolution that meets every pixel."""
    window = window_of(graph, node)
    one_tap = {*window["kernel"], *window["strides"]} == {1}
    padded = any(window["pads_begin"] + window["pads_end"])
    return bool(node.attrs["groups"] == 1 and one_tap and not padded)


def _pointwise(graph: Graph, node: Node, x: Value, choices: Choices) -> Candidate[Value]:
    """A product of a matrix of pixels; what reads the image as a convolution may be faster."""
    w = node.operands[1]
    maps, channels = graph.type(w).static_shape[:2]
    rows = graph.type(x).with_shape(graph.type(x).shape[:-1]).size
    product = Product(
        node, x, w, rows, channels, maps, lambda array: array.reshape(maps, channels).T, "one tap"
    )
    found = product_candidates(graph, product, choices)
    slower = found[0].seconds * OTHERWISE
    found.append(Candidate("direct", slower, lambda: _direct(graph, node, x, False, choices.width)))
    chosen = choose(graph, [node], found, choices)
    note = "; ".join(filter(None, (chosen.note, "one tap: a product of pixels")))
    return replace(chosen, note=note)


def _is_depthwise(graph: Graph, node: Node) -> bool:
    maps, channels = graph.type(node.operands[1]).static_shape[:2]
    return bool(channels == 1 and node.attrs["groups"] == maps)


def _depthwise(graph: Graph, node: Node, x: Value, width: int) -> Value:
    w = node.operands[1]
    maps = graph.type(w).static_shape[0]
    window = window_of(graph, node)
    shape = (int(np.prod(window["kernel"])), maps)
    return graph.add(
        spatial_depthwise,
        x,
        packed_parameter(graph, w, shape, pack_channels, "channels"),
        **window,
        width=width,
        name=node.name,
        origin=node.origin,
    )


def _direct(graph: Graph, node: Node, x: Value, channels_first: bool, width: int) -> Value:
    window, w = window_of(graph, node), node.operands[1]
    weights = graph.type(w).static_shape
    merged = _merged_groups(node.attrs["groups"], weights[0] // node.attrs["groups"], width)
    groups = node.attrs["groups"] // merged
    channels, maps = weights[1] * merged, weights[0] // groups
    output = node.types[0].shape[2:]
    geometry = Geometry(
        channels, maps, groups,
        (None,) * len(output),
        tuple(extent if isinstance(extent, int) else None for extent in output),
        window["kernel"], window["strides"], window["dilations"], window["pads_begin"],
        channels_first, width,
    )  # fmt: skip
    shape = (groups * geometry.panels, geometry.taps, channels, geometry.columns)

    def pack(array: Array) -> Array:
        return pack_kernels(_block_diagonal(array, groups, merged), groups, geometry.columns)

    return graph.add(
        spatial_convolution,
        x,
        packed_parameter(graph, w, shape, pack, ("kernels", groups, merged)),
        maps=weights[0],
        groups=groups,
        **window,
        channels_first=channels_first,
        width=width,
        name=node.name,
        origin=node.origin,
    )


# Fewer channels or maps leave vectors idle and transforms dear.
_LEAST_WINOGRAD = 16
# Share of the peak that direct convolutions reach.
_DIRECT_REACHED = 0.93
# With stride 2 there is less to gain, and kernels several times as large compete for memory.
_STRIDED_GAIN = 0.85


def _no_winograd(graph: Graph, node: Node, width: int) -> str:
    """Why a convolution cannot be computed by Winograd's filtering; empty if it can."""
    window = window_of(graph, node)
    maps, channels = graph.type(node.operands[1]).static_shape[:2]
    plain = {*window["dilations"]} == {1} and node.attrs["groups"] == 1
    if window["kernel"] != (3, 3) or not plain or window["strides"] not in ((1, 1), (2, 2)):
        return "no 3x3 taps of stride 1 or 2, as Winograd's filtering needs"
    if window["strides"] != (1, 1) and channels % width:
        return "channels are no whole vectors, as Winograd's filtering of stride 2 needs"
    if min(maps, channels) < _LEAST_WINOGRAD:
        return "too few channels or maps for Winograd's filtering"
    image = (*node.types[0].shape[2:], *graph.type(node.operands[0]).shape[2:])
    if not all(isinstance(extent, int) for extent in image):
        return "the image's size is open"
    return ""


def _direct_or_winograd(graph: Graph, node: Node, x: Value, choices: Choices) -> Candidate[Value]:
    """Direct sums, or Winograd's filtering with one of several tiles and schedules."""
    width = choices.width
    maps, channels = graph.type(node.operands[1]).static_shape[:2]
    output = node.types[0].shape[2:]
    size = (int(output[0]), int(output[1]))  # type: ignore[arg-type]
    peaks = typical_peaks(width)
    stride = window_of(graph, node)["strides"][0]
    direct = direct_seconds(channels, maps, size, peaks, stride)
    found = [Candidate("direct", direct, lambda: _direct(graph, node, x, False, width))]
    for tile in TILES[stride]:
        usual = panel_columns(maps, size, tile, width)
        seconds = winograd_seconds(channels, maps, size, tile, peaks, stride)
        if stride != 1:
            seconds /= _STRIDED_GAIN
        ways = [(usual, "", seconds), (usual, POINTS, seconds), (usual, BLOCKS, seconds)]
        ways += [
            (other, "", seconds)
            for other in (width, 2 * width, 3 * width, 4 * width)
            if other != usual and other < maps + width
        ]
        for number, (columns, schedule, least) in enumerate(ways):
            name = f"winograd F({tile}x{tile}) {schedule or columns // width}"
            found.append(
                Candidate(
                    name if number else f"winograd F({tile}x{tile})",
                    least * OTHERWISE if number else least,
                    partial(_winograd, graph, node, x, tile, columns, schedule, width),
                )
            )
    best = min(found[1:], key=lambda way: way.seconds)
    kind = best.name.split()[1]
    note = f"estimated {direct * 1e3:.3f} ms direct, {best.seconds * 1e3:.3f} ms {kind}"
    chosen = choose(graph, [node], found, choices)
    return replace(chosen, note="; ".join(filter(None, (chosen.note, note))))


def _winograd(
    graph: Graph, node: Node, x: Value, tile: int, columns: int, schedule: str, width: int
) -> Value:
    window = window_of(graph, node)
    pads = (*window["pads_begin"], *window["pads_end"])
    return _filtered(graph, node, x, pads, tile, columns, schedule, window["strides"][0], width)


def _phase(
    graph: Graph, node: Node, width: int, x: Value, pads: tuple[int, ...], tile: int
) -> Value:
    """The images of a dilated convolution's phases, bias included."""
    maps = graph.type(node.operands[1]).static_shape[0]
    rows, columns = graph.type(x).shape[1:3]
    output = (rows + pads[0] + pads[2] - 2, columns + pads[1] + pads[3] - 2)
    panel = panel_columns(maps, output, tile, width)  # type: ignore[arg-type]
    result = _filtered(graph, node, x, pads, tile, panel, "", 1, width)
    return with_bias(graph, node, result)


def _filtered(
    graph: Graph,
    node: Node,
    x: Value,
    pads: tuple[int, ...],
    tile: int,
    columns: int,
    schedule: str,
    stride: int,
    width: int,
) -> Value:
    w = node.operands[1]
    maps, channels = graph.type(w).static_shape[:2]
    shape = ((stride * (tile - 1) + 3) ** 2, -(-maps // columns), channels, columns)
    kernels = packed_parameter(
        graph,
        w,
        shape,
        lambda array: winograd_kernels(array, tile, columns, stride),
        ("winograd", tile, columns, stride),
    )
    return graph.add(
        spatial_winograd,
        x,
        kernels,
        maps=maps,
        pads=pads,
        tile=tile,
        schedule=schedule,
        width=width,
        stride=stride,
        name=node.name,
        origin=node.origin,
    )


def direct_seconds(
    channels: int, maps: int, output: tuple[int, int], peaks: MachinePeaks, stride: int = 1
) -> float:
    """Estimated time of a direct 3x3 convolution of one image; taps outside are skipped."""
    outside = 2 if stride == 1 else 1
    rows, columns = (3 * extent - outside for extent in output)
    flops = 2 * rows * columns * channels * maps
    weights = 4 * 9 * channels * maps
    reached = _DIRECT_REACHED * peaks.flops_per_second
    return max(flops / reached, weights / (0.75 * peaks.memory_bytes_per_second))


def _merged_groups(groups: int, maps: int, width: int) -> int:
    """Groups that are computed as one, with zeros between them, to fill a vector."""
    fitting = [count for count in range(1, groups + 1) if groups % count == 0]
    return max([count for count in fitting if count * maps <= width], default=1)


def _block_diagonal(weights: Array, groups: int, merged: int) -> Array:
    """Weights [M, C, kernel...] of ``groups * merged`` groups as those of ``groups``."""
    if merged == 1:
        return weights
    maps, channels = weights.shape[0] // (groups * merged), weights.shape[1]
    result = np.zeros((weights.shape[0], channels * merged, *weights.shape[2:]), weights.dtype)
    for row in range(weights.shape[0]):
        place = row // maps % merged
        result[row, place * channels : (place + 1) * channels] = weights[row]
    return result


def with_bias(graph: Graph, node: Node, result: Value) -> Value:
    """The bias as an addition, which fusion puts behind the kernel."""
    if len(node.operands) < 3:
        return result
    bias = node.operands[2]
    if graph.type(bias).size == 1:
        bias = graph.add(reshape, bias, shape=())
    return graph.add(add, result, bias, name=f"{node.name}.bias", origin=node.origin)
