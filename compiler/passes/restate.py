"""Operators restated as others that compute the same with less work, or with better kernels."""

from __future__ import annotations

import numpy as np

from ...ir import Graph, LazyArray, TensorType, Value
from ...ir.data_type import is_float
from ...ir.node import read_array
from ...ops.convolution import convolution
from ...ops.elementwise_arithmetic import add, mul
from ...ops.gather import gather
from ...ops.matmul import matmul
from ...ops.movement import concat, expand, slice_, tile, transpose
from ...ops.reduce import reduce_sum, reduce_sum_square
from ...ops.reshape import reshape
from ..rewrite import Match, apply_rules, pattern, rule
from .bodies import everywhere
from .common_subexpressions import common_subexpressions

# Bytes of a table that stays in the caches while rows of it are moved.
_NEAR_TABLE = 4 << 20
# Columns whose copy takes more time than one more column's product.
_WIDE_PART = 64


@rule(pattern(convolution, "x", "w"))
def convolution_over_whole_rows(graph: Graph, match: Match) -> Value | None:
    """A kernel as wide as an image of one channel: its rows are points with many channels.

    Convolutions of words do that: ``x`` is [N, 1, words, features].
    """
    x, w = graph.type(match["x"]), graph.type(match["w"])
    if x.rank != 4 or x.shape[1] != 1 or not graph.is_param(match["w"]):
        return None
    maps, _, height, width = w.static_shape
    attrs = match.root.attrs
    pads = [attrs[key] or (0, 0) for key in ("pads_begin", "pads_end")]
    strides, dilations = attrs["strides"] or (1, 1), attrs["dilations"] or (1, 1)
    if x.shape[3] != width or width == 1 or dilations[1] != 1 or any(pad[1] != 0 for pad in pads):
        return None
    source = graph.params[match["w"].node]
    held = LazyArray(
        TensorType(w.dtype, (maps, width, 1, height)),
        lambda: np.ascontiguousarray(read_array(source).transpose(0, 3, 1, 2)),
    )
    origin = match.root.origin
    result = graph.add(
        convolution,
        graph.add(transpose, match["x"], permutation=(0, 3, 1, 2), origin=origin),
        graph.param(held, f"{match['w'].node}.rows"),
        *match.root.inputs[2:],
        strides=(1, strides[0]),
        dilations=(1, dilations[0]),
        pads_begin=(0, pads[0][0]),
        pads_end=(0, pads[1][0]),
        origin=origin,
    )
    return graph.add(reshape, result, shape=match.root.types[0].shape, origin=origin)


@rule(pattern(matmul, pattern(concat, name="joined"), "w"))
def product_of_joined_and_repeated(graph: Graph, match: Match) -> Value | None:
    """matmul(concat(expand(x), y), w) -> matmul(x, w1) + matmul(y, w2), rows not repeated."""
    joined, type_ = match.nodes["joined"], match.root.types[0]
    w, rank = graph.type(match["w"]), type_.rank
    if not is_float(type_.dtype) or not graph.is_param(match["w"]) or w.rank != 2:
        return None
    if match.attribute("transpose_a") or joined.attrs["axis"] not in (-1, rank - 1):
        return None
    sources = [_not_repeated(graph, value) for value in joined.operands]
    extents = [graph.type(value).shape[-1] for value in joined.operands]
    sizes = [extent for extent in extents if isinstance(extent, int)]
    if sources == list(joined.operands) or len(sizes) < len(extents):
        return None
    transposed = match.attribute("transpose_b")
    result: Value | None = None
    first = 0
    origin = match.root.origin
    for value, size in zip(sources, sizes, strict=True):
        starts, shape = [0, 0], list(w.static_shape)
        starts[transposed], shape[transposed] = first, size
        part = graph.add(slice_, match["w"], starts=tuple(starts), sizes=tuple(shape), steps=(1, 1))
        product = graph.add(matmul, value, part, transpose_b=transposed, origin=origin)
        result = product if result is None else graph.add(add, result, product, origin=origin)
        first += size
    assert result is not None, "there is a repeated operand"
    return result if graph.type(result) == type_ else None


def _not_repeated(graph: Graph, value: Value) -> Value:
    """What ``value`` repeats along axes before the last, with 1 for these; else ``value``."""
    node = graph.node(value.node)
    if node.op not in (expand, tile):
        return value
    (source,) = node.operands
    before, after = graph.type(source).shape, node.types[0].shape
    full = (1,) * (len(after) - len(before)) + before
    same = all(old in (1, new) for old, new in zip(full, after, strict=True))
    if not same or full[-1] != after[-1] or full == after:
        return value
    return source if full == before else graph.add(reshape, source, shape=full)


@rule(pattern(matmul, "step", "w"))
def product_of_a_step(graph: Graph, match: Match) -> Value | None:
    """matmul(gather(x, t), w) -> gather(matmul(x, w), t) where most steps are multiplied so.

    Steps that were written out become one product, which reads the weights once.
    """
    part, w = graph.node(match["step"].node), graph.type(match["w"])
    if part.op is not gather or not graph.is_param(match["w"]) or w.rank != 2:
        return None
    source, index = part.operands
    x = graph.type(source)
    axis = x.axis(part.attrs["axis"])
    if axis == x.rank - 1 or x.rank < 3 or match.attribute("transpose_a"):
        return None
    if graph.type(index).rank or not graph.is_param(index) or graph.is_param(source):
        return None
    alike = [
        user
        for step in graph.users(source)
        if step.op is gather and step.operands[0] == source
        for user in graph.users(step.outputs[0])
        if user.op is matmul and user.operands[1] == match["w"] and user.attrs == match.root.attrs
    ]
    steps = x.shape[axis]
    # Those that were rewritten before read the product of all steps.
    whole = any(
        user.op is matmul and user.inputs == (source, match["w"]) and user.attrs == match.root.attrs
        for user in graph.users(source)
    )
    if not whole and (not isinstance(steps, int) or len(alike) < max(2, -(-steps // 2))):
        return match.decline("too few steps are multiplied with these weights")
    attrs = {"transpose_b": match.attribute("transpose_b")}
    product = graph.add(matmul, source, match["w"], origin=match.root.origin, **attrs)
    return graph.add(gather, product, index, axis=axis, origin=match.root.origin)


@rule(pattern(matmul, pattern(concat, name="joined"), "w"))
def product_of_joined_column(graph: Graph, match: Match) -> Value | None:
    """matmul(concat(x, column), w) -> matmul(x, w1) + column * w2: the wide part stays in place."""
    joined, type_ = match.nodes["joined"], match.root.types[0]
    w, rank = graph.type(match["w"]), type_.rank
    if not is_float(type_.dtype) or not graph.is_param(match["w"]) or w.rank != 2 or rank < 2:
        return None
    if match.attribute("transpose_a") or joined.attrs["axis"] not in (-1, rank - 1):
        return None
    if len(joined.operands) != 2:
        return None
    extents = [graph.type(value).shape[-1] for value in joined.operands]
    thin = next((place for place, extent in enumerate(extents) if extent == 1), None)
    if thin is None:
        return None
    x, column = joined.operands[1 - thin], joined.operands[thin]
    wide = extents[1 - thin]
    if not isinstance(wide, int) or wide < _WIDE_PART:
        return match.decline("what is joined is narrow")
    transposed = match.attribute("transpose_b")
    origin = match.root.origin

    def part(first: int, size: int) -> Value:
        starts, shape = [0, 0], list(w.static_shape)
        starts[transposed], shape[transposed] = first, size
        return graph.add(slice_, match["w"], starts=tuple(starts), sizes=tuple(shape), steps=(1, 1))

    row = part(wide * thin, 1)
    if transposed:
        row = graph.add(reshape, row, shape=(1, w.static_shape[0]))
    product = graph.add(matmul, x, part(1 - thin, wide), transpose_b=transposed, origin=origin)
    return graph.add(add, product, graph.add(mul, column, row, origin=origin), origin=origin)


@rule(pattern(reduce_sum, pattern(mul, "x", "x")))
def sum_of_squares(graph: Graph, match: Match) -> Value | None:
    """reduce_sum(x * x) -> reduce_sum_square(x): the squares are nowhere in memory."""
    return graph.add(reduce_sum_square, match["x"], origin=match.root.origin, **match.root.attrs)


@rule(pattern(concat))
def joined_rows_of_a_table(graph: Graph, match: Match) -> Value | None:
    """concat(gather(x, i), gather(x, j)) -> gather(x, concat(i, j)): rows are moved once."""
    parts = [graph.node(value.node) for value in match.root.operands]
    if any(part.op is not gather for part in parts):
        return None
    table, attrs = parts[0].operands[0], parts[0].attrs
    indices = [part.operands[1] for part in parts]
    types = [graph.type(index) for index in indices]
    if any(part.operands[0] != table or part.attrs != attrs for part in parts):
        return None
    if any((type_.rank, type_.dtype) != (types[0].rank, types[0].dtype) for type_ in types):
        return None
    x = graph.type(table)
    place = match.root.types[0].axis(match.attribute("axis")) - x.axis(attrs["axis"])
    if not 0 <= place < types[0].rank:
        return match.decline("what is joined is within the rows")
    shared = any(graph.use_count(value) > 1 for value in match.root.operands)
    if shared and not (isinstance(x.nbytes, int) and x.nbytes <= _NEAR_TABLE):
        return match.decline("others need the rows too, and the table is large")
    origin = match.root.origin
    joined = graph.add(concat, *indices, axis=place, origin=origin)
    return graph.add(gather, table, joined, origin=origin, **attrs)


RULES = (
    convolution_over_whole_rows,
    product_of_joined_and_repeated,
    product_of_a_step,
    product_of_joined_column,
    sum_of_squares,
    joined_rows_of_a_table,
)


def restate(graph: Graph) -> int:
    """Apply the rules; steps that were written out slice the same weights once."""
    changes = apply_rules(graph, RULES)
    return changes + (common_subexpressions(graph) if changes else 0)


RESTATE = everywhere("restate", restate)
