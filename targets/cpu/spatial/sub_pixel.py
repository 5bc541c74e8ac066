"""Transposed convolution as a convolution to sub-pixels, channels last.

Output position ``o`` of a transposed convolution of stride ``s`` gets what kernel positions
``k`` with ``k = (o + pad) mod s`` contribute. So each of the ``s`` residues, along each axis, is
a convolution of stride 1 with every ``s``-th kernel position. One convolution computes all of
them as so many more maps, and its pixels are dealt out to their places (W. Shi et al., "Is the
deconvolution layer the same as a convolutional layer?", 2016).
"""

from __future__ import annotations

import math

import numpy as np

from ....ir import Array, Extent, Graph, LazyArray, Node, TensorType, Value
from ....ir.dim import ceil_divide
from ....ir.node import read_array
from ....ops.convolution import convolution
from ....ops.movement import slice_, transpose
from ....ops.reshape import reshape
from ..choices import Choices
from .select import convolve, window_of, with_bias


def is_transposable(graph: Graph, node: Node) -> bool:
    """True for float32 with constant weights, without groups and dilations."""
    x, w = node.operands[:2]
    type_, weights = graph.type(x), graph.type(w)
    if not graph.is_param(w) or type_.dtype != "float32" or not 3 <= type_.rank <= 5:
        return False
    window = window_of(graph, node)
    if node.attrs["groups"] != 1 or {*window["dilations"]} != {1}:
        return False
    if type_.shape[1] != weights.static_shape[0] or 0 in weights.static_shape:
        return False
    if not all(isinstance(pad, int) and pad >= 0 for pad in window["pads_begin"]):
        return False
    sizes, pixels = type_.shape[2:], pixels_of(graph, node)
    more = [count - size for count, size in zip(pixels, sizes, strict=True)]
    return all(isinstance(pad, int) and pad >= 0 for pad in more)


def transposed(graph: Graph, node: Node, x: Value, choices: Choices) -> Value:
    """The transposed convolution of ``x``, whose channels are last."""
    source, w = node.operands[:2]
    window, held = window_of(graph, node), graph.params[w.node]
    strides, kernel = window["strides"], window["kernel"]
    channels, maps = graph.type(w).static_shape[:2]
    taps = tuple(-(-size // stride) for size, stride in zip(kernel, strides, strict=True))
    sizes, pixels = graph.type(source).shape[2:], pixels_of(graph, node)

    def load() -> Array:
        return sub_pixel_weights(read_array(held), strides)

    shape = (math.prod(strides) * maps, channels, *taps)
    weights = graph.param(LazyArray(TensorType("float32", shape), load), f"{w.node}.sub_pixel")
    # Channels first, for its attributes and type alone: its channels-last form takes its place.
    plain = graph.add_node(
        convolution,
        [source, weights],
        {
            "pads_begin": tuple(count - 1 for count in taps),
            "pads_end": tuple(p - s for p, s in zip(pixels, sizes, strict=True)),
        },
        node.name,
        node.origin,
    )
    y = convolve(graph, plain, x, False, choices)
    rank = len(strides)
    batch = graph.type(x).shape[0]
    y = graph.add(reshape, y, shape=(batch, *pixels, *strides, maps), origin=node.origin)
    order = [0, *(axis for k in range(rank) for axis in (1 + k, 1 + rank + k)), 1 + 2 * rank]
    y = graph.add(transpose, y, permutation=tuple(order), origin=node.origin)
    full: list[Extent] = [p * s for p, s in zip(pixels, strides, strict=True)]
    y = graph.add(reshape, y, shape=(batch, *full, maps), origin=node.origin)
    output = node.types[0].shape[2:]
    begin = window["pads_begin"]
    if any(begin) or tuple(full) != output:
        y = graph.add(
            slice_, y, starts=(0, *begin, 0), sizes=(batch, *output, maps), steps=(1,) * (rank + 2),
            origin=node.origin,
        )  # fmt: skip
    return with_bias(graph, node, y)


def pixels_of(graph: Graph, node: Node) -> list[Extent]:
    """Pixels along each axis: all of the input, and those with a sub-pixel in the output."""
    window = window_of(graph, node)
    pixels = [
        ceil_divide(extent + pad, stride)
        for extent, pad, stride in zip(
            node.types[0].shape[2:], window["pads_begin"], window["strides"], strict=True
        )
    ]
    # What the padding behind cuts off is computed all the same.
    sizes = graph.type(node.operands[0]).shape[2:]
    return [
        max(count, size) if isinstance(count, int) and isinstance(size, int) else count
        for count, size in zip(pixels, sizes, strict=True)
    ]


def sub_pixel_weights(weights: Array, strides: tuple[int, ...]) -> Array:
    """``weights`` [C, M, kernel...] as [residues... * M, C, kernel / stride...], for convolution.

    Positions that a residue does not have are zeros.
    """
    channels, maps, *kernel = weights.shape
    taps = [-(-size // stride) for size, stride in zip(kernel, strides, strict=True)]
    whole = [count * stride for count, stride in zip(taps, strides, strict=True)]
    padded = np.zeros((channels, maps, *whole), weights.dtype)
    padded[(slice(None), slice(None), *(slice(size) for size in kernel))] = weights
    rank = len(strides)
    split = padded.reshape(channels, maps, *(n for k in range(rank) for n in (taps[k], strides[k])))
    split = np.flip(split, axis=tuple(2 + 2 * k for k in range(rank)))
    residues, positions = (tuple(2 + first + 2 * k for k in range(rank)) for first in (1, 0))
    ordered = split.transpose(*residues, 1, 0, *positions)
    return np.ascontiguousarray(ordered.reshape(math.prod(strides) * maps, channels, *taps))
