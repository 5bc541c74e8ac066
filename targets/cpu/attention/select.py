"""The pass that finds attention, whatever reshapes and transpositions are around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ....compiler.pass_ import Pass
from ....ir import Array, Extent, Graph, LazyArray, Node, Op, TensorType, Value
from ....ir.node import read_array
from ....ops.elementwise_arithmetic import add, div, mul
from ....ops.matmul import matmul
from ....ops.movement import transpose
from ....ops.reshape import reshape
from ....ops.softmax import softmax
from ..choices import Choices
from .attention import ELEMENT, HEAD, ROW, Axes, Heads, attention

_IN_ORDER: Axes = (0, 1, 2, 3)
# What may be between a product and the softmax.
_BEHIND = (matmul, add, mul, div)
# Longer rows of one head would not stay in the first cache.
_MOST_ELEMENTS = 256
# Shorter values would fill too little of a vector.
_LEAST_ELEMENTS = 4


def select_attention_pass(choices: Choices) -> Pass:
    """The pass for these choices."""
    return Pass("select_attention", lambda graph: select_attention(graph, choices))


def select_attention(graph: Graph, choices: Choices) -> int:
    """Replace products, softmax and product by attention in one pass."""
    changes = 0
    for name in [node.name for node in graph.operators() if node.op is softmax]:
        if name not in graph:
            continue
        found = _find(graph, graph.node(name))
        if found is not None:
            changes += _replace(graph, found, choices)
    if changes:
        graph.prune()
    return changes


@dataclass(frozen=True, slots=True)
class _Found:
    """An attention's operands, its scale, and the value that it computes."""

    query: tuple[Value, Heads]
    key: tuple[Value, Heads]
    value: tuple[Value, Heads]
    mask: Value | None
    scale: float
    result: Value
    out_axes: Axes
    nodes: tuple[Node, ...]


def _only(graph: Graph, value: Value) -> Node | None:
    """The only reader of a value, which it reads once."""
    if value in graph.outputs or graph.use_count(value) != 1:
        return None
    if value.node in graph.measured_nodes():
        return None
    (reader,) = graph.users(value)
    return reader


def _find(graph: Graph, node: Node) -> _Found | None:
    type_ = node.types[0]
    if type_.rank != 4 or type_.dtype != "float32" or type_.axis(node.attrs["axis"]) != 3:
        return None
    weighted = _only(graph, node.outputs[0])
    if weighted is None or not _is_plain(weighted, matmul) or weighted.inputs[0] != node.outputs[0]:
        return None
    scores = _scores(graph, node.operands[0])
    if scores is None:
        return None
    product, mask, scale, between = scores
    query = _heads(graph, product.operands[0], _IN_ORDER)
    swapped: Axes = _IN_ORDER if product.attrs["transpose_b"] else (0, 1, 3, 2)
    key = _heads(graph, product.operands[1], swapped)
    value = _heads(graph, weighted.operands[1], _IN_ORDER)
    if query is None or key is None or value is None:
        return None
    if not _fit(graph, query, key, value, mask):
        return None
    result, out_axes = weighted.outputs[0], _IN_ORDER
    after = _only(graph, result)
    if after is not None and after.op is transpose and after.attrs["permutation"][-1] == 3:
        result = after.outputs[0]
        out_axes = _axes(int(axis) for axis in np.argsort(after.attrs["permutation"]))
    nodes = (product, *between, node, weighted)
    return _Found(query, key, value, mask, scale, result, out_axes, nodes)


def _is_plain(node: Node, op: Op) -> bool:
    return node.op is op and not node.attrs["transpose_a"] and not node.attrs["transpose_b"]


def _scores(
    graph: Graph, value: Value
) -> tuple[Node, Value | None, float, tuple[Node, ...]] | None:
    """The product behind scores, the mask that is added, the factor, and what is between."""
    mask: Value | None = None
    scale, between = 1.0, list[Node]()
    type_ = graph.type(value)
    while True:
        node = graph.node(value.node)
        reader = _only(graph, value)
        if reader is None or len(node.outputs) != 1 or node.types[0] != type_:
            return None
        if node.op is matmul:
            return (node, mask, scale, tuple(between)) if not node.attrs["transpose_a"] else None
        if node.op not in _BEHIND:
            return None
        value, other = node.operands
        if graph.type(value) != type_ or (
            graph.node(value.node).op not in _BEHIND and graph.type(other) == type_
        ):
            value, other = other, value
        if node.op is add:
            # Only what is added last is added to what is multiplied.
            if mask is not None or scale != 1.0 or graph.type(other).rank > 4:
                return None
            mask = other
        else:
            number = _number(graph, other)
            if number is None or (node.op is div and value != node.operands[0]):
                return None
            scale = scale * number if node.op is mul else scale / number
        between.insert(0, node)


def _axes(axes: Iterable[int]) -> Axes:
    batch, head, row, element = axes
    return batch, head, row, element


def _number(graph: Graph, value: Value) -> float | None:
    """A parameter of one element; no division by zero."""
    if not graph.is_param(value) or graph.type(value).size != 1:
        return None
    number = float(graph.array(value).reshape(-1)[0])
    return number if np.isfinite(number) and number != 0 else None


def _heads(graph: Graph, value: Value, axes: Axes) -> tuple[Value, Heads] | None:
    """Where heads are read; ``axes`` bring ``value`` to [batch, heads, rows, elements]."""
    node = graph.node(value.node)
    if node.op is transpose:
        permutation = node.attrs["permutation"]
        source = node.operands[0]
        heads = Heads(_axes(permutation[axis] for axis in axes))
        if _is_readable(graph.type(source), heads):
            return source, heads
    heads = Heads(axes)
    return (value, heads) if _is_readable(graph.type(value), heads) else None


def _fit(
    graph: Graph,
    query: tuple[Value, Heads],
    key: tuple[Value, Heads],
    value: tuple[Value, Heads],
    mask: Value | None,
) -> bool:
    """True when all have the same heads and the same keys, and the mask broadcasts."""
    q, k, v = (
        tuple(heads.extent(graph.type(held).shape, axis) for axis in range(4))
        for held, heads in (query, key, value)
    )
    if not (q[:2] == k[:2] == v[:2] and q[3] == k[3] and k[2] == v[2]):
        return False
    if mask is None:
        return True
    given = graph.type(mask).shape
    wanted = (*q[:3], k[2])[4 - len(given) :]
    return all(extent in (1, full) for extent, full in zip(given, wanted, strict=True))


def _is_readable(type_: TensorType, heads: Heads) -> bool:
    """True when elements are contiguous, and rows a known distance apart."""
    elements = heads.extent(type_.shape, ELEMENT)
    if type_.dtype != "float32" or not isinstance(elements, int):
        return False
    pitch = heads.stride(type_.shape, ROW)
    known = isinstance(pitch, int) and isinstance(heads.extent(type_.shape, HEAD), int)
    return known and heads.axes[ELEMENT] == ELEMENT and 0 < elements <= _MOST_ELEMENTS


def _replace(graph: Graph, found: _Found, choices: Choices) -> int:
    """Put the operator in the place of what was found; 0 where it has no kernel for it."""
    (q, q_heads), (k, k_heads), (v, v_heads) = found.query, found.key, found.value
    heads = q_heads.extent(graph.type(q).shape, HEAD)
    elements = v_heads.extent(graph.type(v).shape, ELEMENT)
    if not isinstance(heads, int) or not isinstance(elements, int) or elements < _LEAST_ELEMENTS:
        return 0
    merged = _merged(graph, found)
    if merged is not None:
        q = k = v = merged
        q_heads, k_heads, v_heads = (Heads(q_heads.axes, n * heads) for n in range(3))
    mask = found.mask
    if mask is not None and graph.type(mask).rank < 4:
        shape = graph.type(mask).shape
        mask = graph.add(reshape, mask, shape=(*(1,) * (4 - len(shape)), *shape))
    last = graph.node(found.result.node)
    origin = ", ".join(dict.fromkeys(node.origin or node.name for node in found.nodes))
    inputs = [q, k, v] if mask is None else [q, k, v, mask]
    new = graph.add(
        attention,
        *inputs,
        heads=heads,
        q_heads=(q_heads.axes, q_heads.first),
        k_heads=(k_heads.axes, k_heads.first),
        v_heads=(v_heads.axes, v_heads.first),
        out_axes=found.out_axes,
        scale=found.scale,
        width=choices.width,
        name=last.name,
        origin=origin,
    )
    if graph.type(new) != graph.type(found.result):
        graph.drop(new.node)  # an assumption about extents chose another name for one
        return 0
    graph.replace(found.result, new)
    return 1


# --- queries, keys and values from one product --------------------------------------------


def _merged(graph: Graph, found: _Found) -> Value | None:
    """One product that gives queries, keys and values [batch, rows, 3 * heads, elements].

    None where they do not come from the same rows and constant matrices.
    """
    parts = [_projection(graph, *place) for place in (found.query, found.key, found.value)]
    known = [part for part in parts if part is not None]
    if len(known) < 3 or len({(part.rows, part.shape, part.transposed) for part in known}) != 1:
        return None
    biases = [part.bias for part in known if part.bias is not None]
    first = known[0]
    if len(biases) not in (0, 3) or len({graph.type(part.weights) for part in known}) != 1:
        return None
    axis = 0 if first.transposed else 1
    weights = _joined(graph, [part.weights for part in known], axis)
    origin = ", ".join(dict.fromkeys(part.origin for part in known if part.origin))
    result = graph.add(
        matmul, first.rows, weights, transpose_b=first.transposed, name="projections", origin=origin
    )
    if biases:
        result = graph.add(add, result, _joined(graph, biases, 0), origin=origin)
    batch, rows, heads, elements = first.shape
    return graph.add(reshape, result, shape=(batch, rows, 3 * heads, elements))


@dataclass(frozen=True, slots=True)
class _Projection:
    """``rows`` times constant weights, plus a constant bias, seen with ``shape``."""

    rows: Value
    weights: Value
    bias: Value | None
    transposed: bool
    shape: tuple[Extent, ...]
    origin: str


def _projection(graph: Graph, value: Value, heads: Heads) -> _Projection | None:
    """What gives a value [batch, rows, heads, elements] that only attention reads."""
    node = graph.node(value.node)
    if node.op is not reshape or heads.axes != (0, 2, 1, 3):
        return None
    after = _only(graph, value)
    if after is None or after.op is not transpose or _only(graph, after.outputs[0]) is None:
        return None
    source, bias = node.operands[0], None
    if graph.use_count(source) != 1 or source in graph.outputs:
        return None
    product = graph.node(source.node)
    if product.op is add:
        sides = [side for side in product.operands if graph.is_param(side)]
        others = [side for side in product.operands if not graph.is_param(side)]
        if len(sides) != 1 or graph.use_count(others[0]) != 1:
            return None
        (bias,), product = sides, graph.node(others[0].node)
    columns = node.types[0].shape[2] * node.types[0].shape[3]
    if product.op is not matmul or product.attrs["transpose_a"]:
        return None
    weights = product.operands[1]
    if not graph.is_param(weights) or graph.type(weights).rank != 2:
        return None
    if product.types[0].dtype != "float32" or product.types[0].shape[-1] != columns:
        return None
    if bias is not None and graph.type(bias).shape != (columns,):
        return None
    transposed = product.attrs["transpose_b"]
    shape = node.types[0].shape
    return _Projection(product.operands[0], weights, bias, transposed, shape, product.origin)


def _joined(graph: Graph, values: Sequence[Value], axis: int) -> Value:
    """Parameters side by side."""
    held = [graph.params[value.node] for value in values]
    shape = list(graph.type(values[0]).static_shape)
    shape[axis] = sum(graph.type(value).static_shape[axis] for value in values)

    def load() -> Array:
        return np.concatenate([read_array(one) for one in held], axis)

    lazy = LazyArray(TensorType("float32", tuple(shape)), load)
    return graph.param(lazy, f"{values[0].node}.joined")
