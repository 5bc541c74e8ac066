"""The pass that hands recurrent layers with constant weights to the generated kernels.

Left to the plain kernels are layers with weights that are computed, with other element types
than float32, of size zero, and those whose directions have different activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ....compiler.pass_ import Pass
from ....ir import Array, Graph, LazyArray, Node, TensorType, Value
from ....ir.dim import product
from ....ir.node import read_array
from ....ops.elementwise_arithmetic import add
from ....ops.lstm import lstm
from ....ops.recurrent import gru, rnn
from ....ops.recurrent_common import GRU, LSTM, RNN, count_directions
from ..choices import Choices
from ..dense.products import Product, product_candidates
from ..tuning.choose import OTHERWISE, Candidate, choose
from .plan import GATES, members_of, pack_recurrent, phases_of
from .recurrence import recurrence

_KINDS = {lstm: LSTM, gru: GRU, rnn: RNN}
# Operands by position.
_X, _W, _R, _B, _LENGTHS, _INITIAL_H, _INITIAL_C, _PEEPHOLES = range(8)


def select_recurrent_pass(choices: Choices) -> Pass:
    """The pass for these choices."""
    return Pass("select_recurrent", lambda graph: select_recurrent(graph, choices))


def select_recurrent(graph: Graph, choices: Choices) -> int:
    """Replace recurrent layers with constant float32 weights."""
    changes = 0
    for name in [node.name for node in graph.operators()]:
        node = graph.node(name)  # as it is now: replacing others has changed its operands
        if node.op in _KINDS and _is_constant(graph, node):
            changes += _replace(graph, node, choices)
    if changes:
        graph.prune()
    return changes


def _operand(node: Node, position: int) -> Value | None:
    return node.inputs[position] if position < len(node.inputs) else None


def _is_constant(graph: Graph, node: Node) -> bool:
    """True for float32 weights (biases and peepholes too) that are parameters."""
    given = [_operand(node, position) for position in (_W, _R, _B, _PEEPHOLES)]
    x, w = graph.type(node.inputs[_X]), graph.type(node.inputs[_W])  # type: ignore[arg-type]
    if x.dtype != "float32" or 0 in (*w.static_shape, *x.shape) or x.shape[2] != w.shape[2]:
        return False
    return all(value is None or graph.is_param(value) for value in given)


def _replace(graph: Graph, node: Node, choices: Choices) -> int:
    attrs = node.attrs
    directions = count_directions(node.op.name, attrs["direction"])
    names = ("activations", "activation_alpha", "activation_beta")
    functions = _KINDS[node.op].functions(directions, *(attrs[name] for name in names))
    own = functions[: len(functions) // directions]
    if own != functions[-len(own) :]:
        return 0
    kind = node.op.name
    if attrs.get("linear_before_reset"):
        kind = "gru_late_reset"
    hidden, r = attrs["hidden_size"], node.inputs[_R]
    assert r is not None
    packed_size = directions * sum(p.size for p in phases_of(kind, hidden, choices.width))
    packed = _parameter(
        graph, r, (packed_size,), lambda array: pack_recurrent(array, kind, choices.width)
    )
    bias, reset_bias = _operand(node, _B), None
    if kind == "gru_late_reset":
        reset_bias = _reset_bias(graph, bias, (directions, hidden))
    is_lstm = node.op is lstm
    batch = graph.type(node.operands[_X]).shape[0 if attrs["layout"] else 1]
    known = batch if isinstance(batch, int) else None
    usual = members_of(kind, hidden, directions, choices.threads, choices.width, known)
    chosen = choose(
        graph,
        [node],
        [
            Candidate(f"members {n}", 1.0 if n == usual else OTHERWISE, lambda n=n: n)  # type: ignore[misc]
            for n in range(1, largest_team(kind, hidden, directions, choices) + 1)
        ],
        choices,
    )
    new = graph.add_node(
        recurrence,
        [
            _gates(graph, node, kind, choices),
            packed,
            _operand(node, _LENGTHS),
            _operand(node, _INITIAL_H),
            _operand(node, _INITIAL_C) if is_lstm else None,
            _operand(node, _PEEPHOLES) if is_lstm else None,
            reset_bias,
        ],
        {
            "kind": kind,
            "hidden_size": hidden,
            "direction": attrs["direction"],
            "functions": tuple((f.number, f.alpha, f.beta) for f in own),
            "clip": attrs["clip"],
            "input_forget": attrs.get("input_forget", False),
            "layout": attrs["layout"],
            "width": choices.width,
            "members": chosen.build(),
        },
        name=node.name,
        origin=node.origin,
    )
    graph.annotate(new.name, chosen.note)
    for old, value in zip(node.outputs, new.outputs, strict=True):
        graph.replace(old, value)
    return 1


def largest_team(kind: str, hidden: int, directions: int, choices: Choices) -> int:
    """Threads that one direction of a layer may be shared by."""
    panels = min(phase.panels for phase in phases_of(kind, hidden, choices.width))
    return max(1, min(choices.threads // directions, panels))


def _gates(graph: Graph, node: Node, kind: str, choices: Choices) -> Value:
    """The input's share of all gates of all steps, biases included, as one product."""
    x, w, bias = node.inputs[_X], node.inputs[_W], _operand(node, _B)
    assert x is not None
    assert w is not None
    directions, rows, inner = graph.type(w).static_shape
    columns = directions * rows
    known = Product(
        replace(node, name=f"{node.name}.gates"),
        x,
        w,
        product(graph.type(x).shape[:-1]),
        inner,
        columns,
        lambda array: array.reshape(columns, inner).T,
        "gates",
    )
    ways = product_candidates(graph, known, choices)
    result = min(ways, key=lambda way: way.seconds).build()
    if not graph.node(result.node).note:
        graph.annotate(result.node, "the input's share of all steps")
    if bias is None:
        return result
    hidden = rows // GATES[kind]

    def joined(array: Array) -> Array:
        own, recurrent = array.reshape(directions, 2, rows).transpose(1, 0, 2).copy()
        if kind == "gru_late_reset":
            recurrent[:, -hidden:] = 0  # this one is added to the product that is scaled
        return np.asarray((own + recurrent).reshape(columns))

    shift = _parameter(graph, bias, (columns,), joined)
    return graph.add(add, result, shift, name=f"{known.node.name}.bias", origin=node.origin)


def _reset_bias(graph: Graph, bias: Value | None, shape: tuple[int, int]) -> Value:
    if bias is None:
        return graph.param(np.zeros(shape, np.float32), "reset_bias")
    return _parameter(graph, bias, shape, lambda array: np.ascontiguousarray(array[:, -shape[1] :]))


def _parameter(
    graph: Graph, source: Value, shape: tuple[int, ...], make: Callable[[Array], Array]
) -> Value:
    """A parameter made from another one when the program is loaded."""
    held = graph.params[source.node]

    def load() -> Array:
        return make(read_array(held))

    return graph.param(LazyArray(TensorType("float32", shape), load), f"{source.node}.packed")
