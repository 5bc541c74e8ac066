"""Dilated 3x3 convolutions as plain ones: each phase of the image is an image of its own.

With a dilation of ``d`` an output meets only every ``d``-th row and column of the input. The
``d * d`` sets of pixels that meet are stacked as a batch of small images, convolved by
Winograd's filtering, and put back.
"""

from __future__ import annotations

from collections.abc import Callable

from ....ir import Graph, Node, Value
from ....ops.elementwise_activation import relu
from ....ops.elementwise_arithmetic import clip
from ....ops.movement import slice_, transpose
from ....ops.pad import pad
from ....ops.reshape import reshape
from .winograd_cost import typical_peaks, winograd_seconds
from .winograd_transforms import TILES

# Fewer channels or maps leave vectors idle and transforms dear.
_LEAST_CHANNELS = 16
# Share of the peak that direct convolutions reach.
_DIRECT_REACHED = 0.93
# A gain that is worth moving all pixels twice.
_GAIN = 0.9

Size = tuple[int, int]
Window = dict[str, tuple[int, ...]]
# Makes the convolution of a batch of images with these paddings and this tile.
Convolve = Callable[[Value, tuple[int, int, int, int], int], Value]


def _sizes(graph: Graph, node: Node, window: Window) -> tuple[Size, Size, Size] | None:
    """Rows and columns of the input, of the output, and of a phase of the output."""
    source, output = graph.type(node.operands[0]).shape[2:], node.types[0].shape[2:]
    if len(source) != 2 or window["kernel"] != (3, 3) or window["strides"] != (1, 1):
        return None
    if node.attrs["groups"] != 1 or {*window["dilations"]} == {1}:
        return None
    known = [extent for extent in (*source, *output) if isinstance(extent, int)]
    maps, channels = graph.type(node.operands[1]).static_shape[:2]
    if len(known) < 4 or min(maps, channels) < _LEAST_CHANNELS:
        return None
    if any(begin % d for begin, d in zip(window["pads_begin"], window["dilations"], strict=True)):
        return None
    phase = tuple(-(-int(known[2 + k]) // window["dilations"][k]) for k in (0, 1))
    return (known[0], known[1]), (known[2], known[3]), (phase[0], phase[1])


def _pads(window: Window, source: Size, phase: Size) -> tuple[int, int, int, int] | None:
    """Paddings above, left, below and right of a phase; None if pixels would be cut off."""
    begin = [window["pads_begin"][k] // window["dilations"][k] for k in (0, 1)]
    rows = [-(-source[k] // window["dilations"][k]) for k in (0, 1)]
    end = [phase[k] + 2 - begin[k] - rows[k] for k in (0, 1)]
    return None if min(end) < 0 else (begin[0], begin[1], end[0], end[1])


def _direct_seconds(window: Window, source: Size, output: Size, work: int, flops: float) -> float:
    """Estimated time of direct sums, which skip the taps that meet the padding."""
    pairs = 1
    for k in (0, 1):
        shifts = [tap * window["dilations"][k] - window["pads_begin"][k] for tap in range(3)]
        met = [min(output[k], source[k] - shift) - max(0, -shift) for shift in shifts]
        pairs *= sum(max(0, count) for count in met)
    return 2 * pairs * work / (_DIRECT_REACHED * flops)


def by_phases(
    graph: Graph, node: Node, x: Value, window: Window, width: int, convolve: Convolve
) -> Value | None:
    """The convolution of ``x``, channels last, with its bias; None where it does not pay.

    ``convolve`` gives the plain convolution of a batch, bias included. A limit that is the only
    reader of the node is computed there too, and the node takes its place.
    """
    sizes = _sizes(graph, node, window)
    if sizes is None:
        return None
    source, output, phase = sizes
    pads = _pads(window, source, phase)
    if pads is None:
        return None
    maps, channels = graph.type(node.operands[1]).static_shape[:2]
    down, across = window["dilations"]
    peaks = typical_peaks(width)
    seconds, tile = min(
        (down * across * winograd_seconds(channels, maps, phase, tile, peaks), tile)
        for tile in TILES[1]
    )
    moved = 4 * 4 * (source[0] * source[1] * channels + output[0] * output[1] * maps)
    seconds += 2 * moved / peaks.memory_bytes_per_second
    direct = _direct_seconds(window, source, output, channels * maps, peaks.flops_per_second)
    if seconds > _GAIN * direct:
        return None
    result = convolve(_split(graph, x, source, (down, across)), pads, tile)
    note = f"estimated {direct * 1e3:.3f} ms direct, {seconds * 1e3:.3f} ms by phases"
    graph.annotate(result.node, note)
    result = _limited(graph, node, result)
    return _joined(graph, result, output, phase, (down, across))


def _split(graph: Graph, x: Value, source: Size, steps: Size) -> Value:
    """``x`` [N, H, W, C] as the batch [N * down * across, H / down, W / across, C]."""
    batch, _, _, channels = graph.type(x).shape
    rows = [-(-source[k] // steps[k]) for k in (0, 1)]
    after = (0, rows[0] * steps[0] - source[0], rows[1] * steps[1] - source[1], 0)
    if any(after):
        x = graph.add(pad, x, None, before=(0, 0, 0, 0), after=after)
    x = graph.add(reshape, x, shape=(batch, rows[0], steps[0], rows[1], steps[1], channels))
    x = graph.add(transpose, x, permutation=(0, 2, 4, 1, 3, 5))
    return graph.add(reshape, x, shape=(batch * steps[0] * steps[1], *rows, channels))


def _joined(graph: Graph, x: Value, output: Size, phase: Size, steps: Size) -> Value:
    """What :func:`_split` made, put together."""
    images, _, _, maps = graph.type(x).shape
    batch = images // (steps[0] * steps[1])
    x = graph.add(reshape, x, shape=(batch, *steps, *phase, maps))
    x = graph.add(transpose, x, permutation=(0, 3, 1, 4, 2, 5))
    whole = (phase[0] * steps[0], phase[1] * steps[1])
    x = graph.add(reshape, x, shape=(batch, *whole, maps))
    if whole == output:
        return x
    return graph.add(
        slice_, x, starts=(0, 0, 0, 0), sizes=(batch, *output, maps), steps=(1, 1, 1, 1)
    )


def _limited(graph: Graph, node: Node, result: Value) -> Value:
    """A relu or clip that is the node's only reader, before the pixels are moved back."""
    (old,) = node.outputs
    readers = graph.users(old)
    if len(readers) != 1 or readers[0].op not in (relu, clip) or old in graph.outputs:
        return result
    (reader,) = readers
    graph.replace(reader.outputs[0], old)
    return graph.add(reader.op, result, origin=reader.origin, **reader.attrs)
