"""The pass that hands dense operators with constant weights to the generated kernels."""

from __future__ import annotations

from collections.abc import Callable

from ....compiler.pass_ import Pass
from ....ir import Array, Graph, LazyArray, Node, TensorType, Value
from ....ir.dim import product
from ....ir.graph import read_array
from ....ops.convolution import convolution
from ....ops.elementwise_arithmetic import add
from ....ops.matmul import matmul
from ....ops.reshape import reshape
from ..object_code import host_cpu
from .convolution import Geometry, pack_maps, packed_convolution
from .depthwise import LARGEST_PLANE, Planes, depthwise
from .matmul import pack_columns, packed_matmul, panel_columns
from .winograd import POINTS, Tiling, transform_kernels, winograd

# Below these a panel or tile is mostly padding, and the plain kernels do as well.
_LEAST_MAPS = 4
_LEAST_TAPS = 8
# Winograd: least channels and maps, most bytes of a block's transformed input (it lives on the
# stack and should stay in the second cache) and of all transformed kernels (they are read once
# a block), and the least ratio of multiplications saved.
_LEAST_WINOGRAD = 16
_MOST_TRANSFORMED = 2 * 2**20
_MOST_KERNELS = 12 * 2**20
_LEAST_GAIN = 1.6


def vector_width() -> int:
    """float32 lanes of this processor's vectors."""
    return host_cpu().vector_bits // 32


def select_dense(graph: Graph) -> int:
    """Replace products and convolutions with constant float32 weights by packed ones."""
    changes = 0
    for name in [node.name for node in graph.operators()]:
        node = graph.node(name)  # as it is now: replacing others has changed its operands
        replacement = None
        if node.op is matmul:
            replacement = _packed_matmul(graph, node)
        elif node.op is convolution:
            replacement = _packed_convolution(graph, node)
        if replacement is not None:
            graph.replace(node.outputs[0], replacement)
            changes += 1
    if changes:
        graph.prune()
    return changes


SELECT_DENSE = Pass("select_dense", select_dense)


def _packed(
    graph: Graph, value: Value, shape: tuple[int, ...], pack: Callable[[Array], Array]
) -> Value:
    """A parameter made from another one when the program is loaded."""

    source = graph.params[value.node]

    def load() -> Array:
        return pack(read_array(source))

    held = LazyArray(TensorType("float32", shape), load)
    return graph.param(held, f"{value.node}.packed")


def _packed_matmul(graph: Graph, node: Node) -> Value | None:
    x, w = node.operands
    types = graph.type(x), graph.type(w)
    if not graph.is_param(w) or types[1].rank != 2 or types[0].dtype != "float32":
        return None
    if types[0].rank < 2 or (node.attrs["transpose_a"] and types[0].rank > 1):
        return None
    transposed = node.attrs["transpose_b"]
    inner, columns = types[1].static_shape[::-1] if transposed else types[1].static_shape
    # A symbolic extent that is only assumed to be the matrix's stays with the plain kernel.
    if 0 in (inner, columns) or types[0].shape[-1] != inner:
        return None
    width = vector_width()
    panel = panel_columns(product(types[0].shape[:-1]), columns, width)
    shape = (-(-columns // panel), inner, panel)
    packed = _packed(
        graph, w, shape, lambda array: pack_columns(array.T if transposed else array, panel)
    )
    return graph.add(
        packed_matmul, x, packed, columns=columns, width=width, name=node.name, origin=node.origin
    )


def _packed_convolution(graph: Graph, node: Node) -> Value | None:
    x, w = node.operands[:2]
    types = graph.type(x), graph.type(w)
    known = types[0].rank == 4 and all(isinstance(extent, int) for extent in types[0].shape[1:])
    if not graph.is_param(w) or not known or types[0].dtype != "float32":
        return None
    groups: int = node.attrs["groups"]
    maps, channels, *kernel = types[1].static_shape
    pads = [node.attrs[name] or (0, 0) for name in ("pads_begin", "pads_end")]
    output = node.types[0].shape[2:]
    if channels == 1 and groups == maps == types[0].shape[1]:
        return _depthwise(graph, node)
    if maps // groups < _LEAST_MAPS or channels * kernel[0] * kernel[1] < _LEAST_TAPS:
        return None
    if not all(isinstance(pad, int) for pair in pads for pad in pair) or 0 in output:
        return None
    strides, dilations = (node.attrs[name] or (1, 1) for name in ("strides", "dilations"))
    width = vector_width()
    size = (int(output[0]), int(output[1]))  # type: ignore[arg-type]
    height = Geometry(
        channels, maps // groups, groups, size, size, (1, 1), (1, 1), (1, 1), width
    ).height
    tiles = -(-(maps // groups) // height)
    shape = (groups, tiles, channels * kernel[0] * kernel[1], height)
    packed = _packed(graph, w, shape, lambda array: pack_maps(array, groups, height))
    tiling = Tiling(channels, maps, size, width)
    if tuple(kernel) == (3, 3) and strides == dilations == (1, 1) and groups == 1:
        if _winograd_pays(tiling):
            return _with_bias(graph, node, _winograd(graph, node, tiling, (*pads[0], *pads[1])))
    result = graph.add(
        packed_convolution,
        x,
        packed,
        maps=maps,
        kernel=tuple(kernel),
        strides=strides,
        dilations=dilations,
        pads_begin=pads[0],
        pads_end=pads[1],
        width=width,
        name=node.name,
        origin=node.origin,
    )
    return _with_bias(graph, node, result)


def _depthwise(graph: Graph, node: Node) -> Value | None:
    x, w = node.operands[:2]
    kernel = graph.type(w).static_shape[2:]
    pads = [node.attrs[name] or (0, 0) for name in ("pads_begin", "pads_end")]
    strides, dilations = (node.attrs[name] or (1, 1) for name in ("strides", "dilations"))
    numbers = [number for pair in pads for number in pair]
    if strides[1] > 2 or not all(isinstance(number, int) for number in numbers):
        return None
    height, columns = (int(extent) for extent in graph.type(x).shape[2:])  # type: ignore[arg-type]
    size = (height, columns)
    planes = Planes(size, kernel, strides, dilations, tuple(numbers), vector_width())  # type: ignore[arg-type]
    if planes.scratch > LARGEST_PLANE or min(planes.output) < 1:
        return None
    result = graph.add(
        depthwise,
        x,
        w,
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads=tuple(numbers),
        width=planes.width,
        name=node.name,
        origin=node.origin,
    )
    return _with_bias(graph, node, result)


def _winograd_pays(tiling: Tiling) -> bool:
    """True where fewer multiplications outweigh the transforms and lanes without a tile."""
    enough = tiling.channels >= _LEAST_WINOGRAD and tiling.maps >= _LEAST_WINOGRAD
    points = POINTS * tiling.channels * 4
    fits = points * tiling.vectors * tiling.width <= _MOST_TRANSFORMED
    cached = points * tiling.maps <= _MOST_KERNELS
    return enough and fits and cached and 4 * tiling.efficiency >= _LEAST_GAIN


def _winograd(graph: Graph, node: Node, tiling: Tiling, pads: tuple[int, ...]) -> Value:
    x, w = node.operands[:2]
    tiles = -(-tiling.maps // tiling.height)
    shape = (tiles, POINTS, tiling.channels, tiling.height)
    kernels = _packed(graph, w, shape, lambda array: transform_kernels(array, tiling.height))
    return graph.add(
        winograd,
        x,
        kernels,
        maps=tiling.maps,
        pads=pads,
        width=tiling.width,
        name=node.name,
        origin=node.origin,
    )


def _with_bias(graph: Graph, node: Node, result: Value) -> Value:
    """The bias as an addition, which fusion puts behind the kernel."""
    if len(node.operands) < 3:
        return result
    bias = node.operands[2]
    maps = graph.type(bias).shape[0]
    if not graph.is_param(bias):
        return graph.add(add, result, graph.add(reshape, bias, shape=(maps, 1, 1)))
    source = graph.params[bias.node]
    shaped = LazyArray(
        TensorType("float32", (maps, 1, 1)), lambda: read_array(source).reshape(-1, 1, 1)
    )
    return graph.add(add, result, graph.param(shaped, f"{node.name}.bias"), origin=node.origin)
