"""Single operators of the shapes that usual networks have, for ``bench-ops``.

Each kind is a function of sizes that makes a graph of one operator in float32; weights are
constants, as in a model. ``CASES`` are the sizes that are measured by default.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from ..ir import Graph, TensorType, Value
from ..ops.convolution import convolution
from ..ops.convolution_transpose import convolution_transpose
from ..ops.elementwise_activation import gelu as gelu_operator
from ..ops.elementwise_arithmetic import add as add_operator
from ..ops.elementwise_functions import exp as exp_operator
from ..ops.elementwise_functions import tanh as tanh_operator
from ..ops.gather import gather as gather_operator
from ..ops.layer_normalization import layer_normalization
from ..ops.lstm import lstm as lstm_operator
from ..ops.matmul import matmul as matmul_operator
from ..ops.max_pool import max_pool as max_pool_operator
from ..ops.movement import transpose
from ..ops.reduce import reduce_mean
from ..ops.softmax import softmax as softmax_operator


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of operator and its sizes."""

    kind: str
    sizes: tuple[int, ...]

    @property
    def shown(self) -> str:
        """The sizes with their names."""
        names = inspect.signature(KINDS[self.kind]).parameters
        return " ".join(f"{name}={size}" for name, size in zip(names, self.values, strict=True))

    @property
    def values(self) -> tuple[int, ...]:
        """The sizes, defaults filled in."""
        parameters = list(inspect.signature(KINDS[self.kind]).parameters.values())
        return (*self.sizes, *(p.default for p in parameters[len(self.sizes) :]))

    def graph(self) -> Graph:
        """A graph of the one operator."""
        return KINDS[self.kind](*self.sizes)


def case_of(kind: str, shape: str) -> Case:
    """The case that ``--op`` and ``--shape`` name; raises UsageError."""
    parameters = list(inspect.signature(KINDS[kind]).parameters.values())
    needed = sum(parameter.default is parameter.empty for parameter in parameters)
    parts = shape.lower().replace(",", "x").split("x")
    fits = all(part.isdecimal() and int(part) for part in parts)
    if not fits or not needed <= len(parts) <= len(parameters):
        names = "x".join(
            p.name.upper() if p.default is p.empty else f"[{p.name.upper()}={p.default}]"
            for p in parameters
        )
        raise click.UsageError(f"--shape {shape!r}: the sizes of {kind} are {names}")
    return Case(kind, tuple(int(part) for part in parts))


def _input(graph: Graph, name: str, *shape: int, dtype: str = "float32") -> Value:
    return graph.input(name, TensorType(dtype, shape))


def _weight(graph: Graph, *shape: int, name: str = "w") -> Value:
    generator = np.random.default_rng(0)
    spread = 1.0 / math.sqrt(math.prod(shape[1:]))
    numbers = generator.standard_normal(shape, np.float32) * np.float32(spread)
    return graph.param(numbers, name)


def matmul(rows: int, inner: int, columns: int) -> Graph:
    """A matrix times constant weights."""
    graph = Graph("matmul")
    x, w = _input(graph, "x", rows, inner), _weight(graph, columns, inner)
    graph.output(graph.add(matmul_operator, x, w, transpose_b=True), "y")
    return graph


def batched_matmul(batch: int, rows: int, inner: int, columns: int) -> Graph:
    """Matrices times matrices, both computed, as in attention."""
    graph = Graph("batched_matmul")
    x, y = _input(graph, "x", batch, rows, inner), _input(graph, "z", batch, inner, columns)
    graph.output(graph.add(matmul_operator, x, y), "y")
    return graph


def conv(channels: int, size: int, maps: int, kernel: int = 3, stride: int = 1) -> Graph:
    """A convolution of one square image, the size kept."""
    return _convolution(channels, size, maps, kernel, stride, 1)


def depthwise(channels: int, size: int, kernel: int = 3, stride: int = 1) -> Graph:
    """A convolution of each channel by itself."""
    return _convolution(channels, size, channels, kernel, stride, channels)


def grouped_conv(
    channels: int, size: int, maps: int, groups: int, kernel: int = 3, stride: int = 1
) -> Graph:
    """A convolution in groups of channels."""
    return _convolution(channels, size, maps, kernel, stride, groups)


def _convolution(
    channels: int, size: int, maps: int, kernel: int, stride: int, groups: int
) -> Graph:
    graph = Graph("convolution")
    x = _input(graph, "x", 1, channels, size, size)
    w = _weight(graph, maps, channels // groups, kernel, kernel)
    pads = ((kernel - 1) // 2,) * 2
    attributes: dict[str, Any] = {"pads_begin": pads, "pads_end": pads, "groups": groups}
    graph.output(graph.add(convolution, x, w, strides=(stride, stride), **attributes), "y")
    return graph


def conv_transpose(channels: int, size: int, maps: int, kernel: int = 2, stride: int = 2) -> Graph:
    """A transposed convolution of one square image."""
    graph = Graph("conv_transpose")
    x = _input(graph, "x", 1, channels, size, size)
    w = _weight(graph, channels, maps, kernel, kernel)
    graph.output(graph.add(convolution_transpose, x, w, strides=(stride, stride)), "y")
    return graph


def max_pool(channels: int, size: int, kernel: int = 2, stride: int = 2) -> Graph:
    """A max pool of one square image."""
    graph = Graph("max_pool")
    x = _input(graph, "x", 1, channels, size, size)
    y = graph.add(max_pool_operator, x, kernel=(kernel, kernel), strides=(stride, stride))
    graph.output(y, "y")
    return graph


def global_pool(channels: int, size: int) -> Graph:
    """The mean of each channel."""
    graph = Graph("global_pool")
    x = _input(graph, "x", 1, channels, size, size)
    graph.output(graph.add(reduce_mean, x, axes=(2, 3), keepdims=False), "y")
    return graph


def softmax(rows: int, columns: int) -> Graph:
    """Softmax of each row."""
    graph = Graph("softmax")
    graph.output(graph.add(softmax_operator, _input(graph, "x", rows, columns), axis=1), "y")
    return graph


def layer_norm(rows: int, columns: int) -> Graph:
    """Each row normalised."""
    graph = Graph("layer_norm")
    scale, bias = _weight(graph, columns, name="scale"), _weight(graph, columns, name="bias")
    x = _input(graph, "x", rows, columns)
    graph.output(graph.add(layer_normalization, x, scale, bias, axis=1), "y")
    return graph


def _elementwise(operator: Any, rows: int, columns: int) -> Graph:
    graph = Graph(operator.name)
    graph.output(graph.add(operator, _input(graph, "x", rows, columns)), "y")
    return graph


def gelu(rows: int, columns: int) -> Graph:
    """The exact GELU."""
    return _elementwise(gelu_operator, rows, columns)


def exp(rows: int, columns: int) -> Graph:
    """The exponential."""
    return _elementwise(exp_operator, rows, columns)


def tanh(rows: int, columns: int) -> Graph:
    """The hyperbolic tangent."""
    return _elementwise(tanh_operator, rows, columns)


def add(rows: int, columns: int) -> Graph:
    """The sum of two tensors."""
    graph = Graph("add")
    x, y = _input(graph, "x", rows, columns), _input(graph, "z", rows, columns)
    graph.output(graph.add(add_operator, x, y), "y")
    return graph


def to_channels_last(channels: int, size: int) -> Graph:
    """The channels of one square image put last."""
    graph = Graph("to_channels_last")
    x = _input(graph, "x", 1, channels, size, size)
    graph.output(graph.add(transpose, x, permutation=(0, 2, 3, 1)), "y")
    return graph


def heads(tokens: int, count: int, size: int) -> Graph:
    """Tokens by heads exchanged, as in attention."""
    graph = Graph("heads")
    x = _input(graph, "x", 1, tokens, count, size)
    graph.output(graph.add(transpose, x, permutation=(0, 2, 1, 3)), "y")
    return graph


def gather(table: int, columns: int, tokens: int) -> Graph:
    """Rows of a table."""
    graph = Graph("gather")
    ids = _input(graph, "ids", tokens, dtype="int32")
    graph.output(graph.add(gather_operator, _weight(graph, table, columns), ids), "y")
    return graph


def lstm(steps: int, inputs: int, hidden: int, directions: int = 1) -> Graph:
    """A layer of long short-term memory over one sequence."""
    graph = Graph("lstm")
    x = _input(graph, "x", steps, 1, inputs)
    w = _weight(graph, directions, 4 * hidden, inputs)
    r = _weight(graph, directions, 4 * hidden, hidden, name="r")
    direction = "bidirectional" if directions == 2 else "forward"
    node = graph.add_node(lstm_operator, (x, w, r), {"hidden_size": hidden, "direction": direction})
    graph.output(node.outputs[0], "y")
    return graph


KINDS: dict[str, Callable[..., Graph]] = {
    function.__name__: function
    for function in (
        *(matmul, batched_matmul, conv, depthwise, grouped_conv, conv_transpose, max_pool),
        *(global_pool, softmax, layer_norm, gelu, exp, tanh, add, to_channels_last, heads),
        *(gather, lstm),
    )
}

_SIZES: dict[str, tuple[tuple[int, ...], ...]] = {
    "matmul": (
        *((1, 2048, 1000), (1, 4096, 4096), (128, 312, 312), (128, 768, 768)),
        *((128, 768, 3072), (128, 3072, 768), (256, 3120, 1024), (512, 512, 512)),
    ),
    "batched_matmul": ((12, 128, 64, 128), (12, 128, 128, 64)),
    "conv": (
        *((3, 224, 64, 7, 2), (3, 224, 32, 3, 2), (64, 224, 64), (64, 56, 64), (128, 28, 128)),
        *((256, 14, 256), (512, 7, 512), (256, 56, 512, 1, 2), (256, 56, 64, 1)),
        *((1024, 14, 256, 1), (320, 7, 1280, 1)),
    ),
    "depthwise": ((32, 112), (96, 112, 3, 2), (144, 56), (384, 14), (960, 7)),
    "grouped_conv": ((128, 56, 128, 32), (512, 14, 512, 32)),
    "conv_transpose": ((1024, 16, 512), (128, 128, 64), (256, 14, 256, 4)),
    "max_pool": ((64, 112, 3), (64, 224), (512, 14)),
    "global_pool": ((2048, 7), (1280, 7)),
    "softmax": ((1536, 128), (1, 1000)),
    "layer_norm": ((128, 768), (128, 312)),
    "gelu": ((128, 3072),),
    "exp": ((128, 3072),),
    "tanh": ((128, 3072),),
    "add": ((128, 768), (64, 12544)),
    "to_channels_last": ((64, 112), (256, 56), (512, 7)),
    "heads": ((128, 12, 64),),
    "gather": ((30522, 768, 128),),
    "lstm": ((128, 300, 256), (128, 300, 256, 2)),
}
CASES = tuple(Case(kind, sizes) for kind, all_sizes in _SIZES.items() for sizes in all_sizes)
