"""Writers of recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Node, TensorType, UnsupportedError, Value
from ...ir.evaluate import by_reference
from .writer import Name, Writer, writes

_ORDER = (0, 2, 3, 1)  # input, forget, cell, output out of input, output, forget, cell
LONGEST = 512  # steps that are written one by one


@writes("lstm")
def _lstm(w: Writer, node: Node, x: Name, *operands: Name | None) -> list[Name | None]:
    attrs = node.attrs
    given = [*node.inputs, *[None] * (8 - len(node.inputs))]
    plain = not attrs["activations"] and not attrs["clip"]
    backward = attrs["direction"] == "reverse"
    if not plain or attrs["input_forget"] or attrs["layout"] or given[4] or given[7]:
        raise UnsupportedError("an lstm with other settings than MindSpore's")
    count = 2 if attrs["direction"] == "bidirectional" else 1
    hidden, source = attrs["hidden_size"], w.type(node.inputs[0])
    columns = source.shape[2]
    if not isinstance(columns, int):
        raise UnsupportedError("an lstm of extents that vary")
    start = source.with_shape((count, source.shape[1], hidden))
    names = [*operands, *[None] * (7 - len(operands))]
    h, c = (
        name or w.function("BroadcastTo", w.scalar(0, source.dtype), w.extents(start.shape))
        for name in (names[4], names[5])
    )
    weights = _common_source(w, given[1:4], count, hidden, columns)
    packed = weights or _packed(w, given[1:4], names[:3], count, hidden, columns)
    _, last_h, last_c = node.types
    unused = source.with_shape((1,))
    flat = source.with_shape((*source.shape[:2], count * hidden))
    if backward:
        # The last step first, as MindSpore's runs forwards or both ways.
        x = w.function("ReverseV2", x, (0,), type=source)
    whole = w.primitive(
        "LSTM",
        x,
        h,
        c,
        packed,
        type=[flat, start, start, unused, unused],
        dropout=0.0,
        proj_size=0,
        has_bias=given[3] is not None,
        num_layers=1,
        hidden_size=hidden,
        bidirectional=count == 2,
        input_size=columns,
    )
    joined = w.item(whole, 0, flat)
    if backward:
        joined = w.function("ReverseV2", joined, (0,), type=flat)
    found: Name | None = None
    if count == 1:
        w.give_shaped(node.outputs[0], joined, flat.shape)
    else:
        found = _directions(w, node, joined, flat)
    return [found, w.item(whole, 1, last_h), w.item(whole, 2, last_c)]


def _directions(w: Writer, node: Node, joined: Name, flat: TensorType) -> Name:
    """Both directions' results, which MindSpore joins in the last axis, on an axis before batch."""
    steps, batch, both = flat.shape
    parted = flat.with_shape((steps, batch, 2, both // 2))
    name = w.reshape(joined, parted.shape, flat.dtype)
    # Where the graph turns them back they stay as they are.
    for user in w.graph.users(node.outputs[0]):
        if user.op.name == "transpose" and tuple(user.attrs["permutation"]) == (0, 2, 1, 3):
            w.names[user.outputs[0]] = name
            w.give_shaped(user.outputs[0], joined, flat.shape)
    return w.function("Transpose", name, (0, 2, 1, 3), type=node.types[0])


def _packed(
    w: Writer,
    values: Sequence[Value | None],
    names: Sequence[Name | None],
    count: int,
    hidden: int,
    columns: int,
) -> Name:
    """The weights in one tensor, in MindSpore's order of gates."""
    dtype = w.type(values[0]).dtype
    parts: list[Name] = []
    for value, name, width in zip(values, names, (columns, hidden, 0), strict=True):
        if value is None or name is None:
            continue
        if width == 0:
            pair = w.reshape(name, (count, 2, 4 * hidden), dtype)
            name = w.function("ReduceSum", pair, (1,), False, False)
        gates = w.reshape(name, (count, 4, hidden, max(width, 1)), dtype)
        rows = w.function("Gather", gates, np.array(_ORDER, np.int32), 1, 0)
        parts.append(w.reshape(rows, (count * 4 * hidden * max(width, 1), 1, 1), dtype))
    return w.function("Concat", w.tuple_of(parts), 0)


def _common_source(
    w: Writer, values: Sequence[Value | None], count: int, hidden: int, columns: int
) -> Name | None:
    """The packed weights of which the lstm's are parts, where a MindIR file had them so."""
    rows = 4 * hidden * count
    sizes = [rows * columns, rows * hidden, rows]
    roots = {root for value in values if value is not None for root in _roots(w, value)}
    wanted = sum(size for size, value in zip(sizes, values, strict=True) if value is not None)
    for root in sorted(roots, key=str):
        if w.type(root).size != wanted:
            continue
        # The parts are the source's elements in another order: numbers show which.
        numbers = np.arange(1, wanted + 1, dtype=np.float64)
        at = 0
        for value, size, width in zip(values, sizes, (columns, hidden, 1), strict=True):
            if value is None:
                continue
            found = _moved(w, value, root, numbers.reshape(w.type(root).static_shape))
            gates = numbers[at : at + size].reshape(count, 4, hidden, width)
            expected = gates[:, [0, 3, 1, 2]].reshape(count, -1)
            if width == 1:
                expected = np.concatenate([expected, np.zeros_like(expected)], axis=1)
            if found is None or not np.array_equal(found.reshape(-1), expected.reshape(-1)):
                break
            at += size
        else:
            return w.name(root)
    return None


@writes("gru", "rnn")
def _unrolled(w: Writer, node: Node, x: Name, *operands: Name | None) -> list[Name]:
    """Step by step, as MindSpore's own cells are exported."""
    attrs = node.attrs
    x_name, source = x, w.type(node.inputs[0])
    weight, recurrent, bias, lengths, start = (*operands, None, None, None)[:5]
    if lengths or attrs["clip"] or attrs["layout"] or weight is None or recurrent is None:
        raise UnsupportedError(f"a {node.op.name} with lengths, limits or batch first")
    steps, batch, columns = source.shape
    if not isinstance(steps, int) or not 0 < steps <= LONGEST:
        raise UnsupportedError(f"a {node.op.name} over {steps} steps")
    gru = node.op.name == "gru"
    functions = [str(name).lower() for name in attrs["activations"]]
    count = 2 if attrs["direction"] == "bidirectional" else 1
    wanted = ["sigmoid", "tanh"] * count if gru else [functions[0] if functions else "tanh"] * count
    if (functions or wanted) != wanted or not set(wanted) <= {"sigmoid", "tanh", "relu"}:
        raise UnsupportedError(f"a {node.op.name} with the activations {functions}")
    hidden, dtype = attrs["hidden_size"], source.dtype
    gates = 3 if gru else 1
    activation = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "ReLU"}[wanted[-1]]
    rows = w.reshape(x_name, (steps * batch, columns), dtype)

    def at(name: Name, place: int) -> Name:
        return w.function("Gather", name, w.scalar(place, "int32"), 0, 0)

    def parts(name: Name, axis: int, number: int) -> list[Name]:
        if number == 1:
            return [name]
        whole = w.function("Split", name, axis, number)
        return [w.item(whole, k) for k in range(number)]

    results, lasts = [], []
    for direction in range(count):
        own = w.function("MatMul", rows, at(weight, direction), False, True)
        biases: list[Name] | None = None
        if bias is not None:
            biases = parts(at(bias, direction), 0, 2)
            own = w.function("Add", own, biases[0])
        own = w.reshape(own, (steps, batch, gates * hidden), dtype)
        matrix = at(recurrent, direction)
        pieces = parts(matrix, 0, gates)
        h = at(start, direction) if start else None
        if h is None:
            h = w.function("BroadcastTo", w.scalar(0, dtype), w.extents((batch, hidden)))
        backward = attrs["direction"] == "reverse" or direction == 1
        found = []
        for step in reversed(range(steps)) if backward else range(steps):
            now = at(own, step)
            if gru:
                separate = not attrs["linear_before_reset"]
                h = _gru_step(w, now, h, matrix, pieces, biases, parts, separate, dtype)
            else:
                back = w.function("MatMul", h, matrix, False, True)
                back = w.function("Add", back, biases[1]) if biases else back
                h = w.function(activation, w.function("Add", now, back))
            found.append(h)
        lasts.append(w.reshape(h, (1, batch, hidden), dtype))
        ordered = [
            w.reshape(name, (1, 1, batch, hidden), dtype)
            for name in (reversed(found) if backward else found)
        ]
        results.append(_joined(w, ordered, 0))
    outputs = [_joined(w, results, 1), _joined(w, lasts, 0)]
    return [
        w.reshape(name, type_.shape, type_.dtype)
        for name, type_ in zip(outputs, node.types, strict=True)
    ]


def _joined(w: Writer, names: Sequence[Name], axis: int) -> Name:
    return names[0] if len(names) == 1 else w.function("Concat", w.tuple_of(names), axis)


def _gru_step(
    w: Writer,
    now: Name,
    h: Name,
    matrix: Name,
    pieces: Sequence[Name],
    biases: Sequence[Name] | None,
    parts: Any,
    separate: bool,
    dtype: str,
) -> Name:
    """One step; ``separate`` resets the state before its product with the hidden gate's rows."""
    update, reset, fresh = parts(now, 1, 3)
    back = w.function("MatMul", h, matrix, False, True)
    if biases:
        back = w.function("Add", back, biases[1])
    back_update, back_reset, back_fresh = parts(back, 1, 3)
    z = w.function("Sigmoid", w.function("Add", update, back_update))
    r = w.function("Sigmoid", w.function("Add", reset, back_reset))
    if separate:
        kept = w.function("MatMul", w.function("Mul", r, h), pieces[2], False, True)
        if biases:
            kept = w.function("Add", kept, parts(biases[1], 0, 3)[2])
    else:
        kept = w.function("Mul", r, back_fresh)
    n = w.function("Tanh", w.function("Add", fresh, kept))
    # (1 - z) n + z h
    return w.function("Add", n, w.function("Mul", z, w.function("Sub", h, n)))


_MOVES = {"reshape", "slice", "concat", "transpose", "expand"}


def _roots(w: Writer, value: Value) -> set[Value]:
    """Values from which ``value`` is reached by moving elements only."""
    found: set[Value] = set()
    pending = [value]
    while pending and len(found) < 200:
        current = pending.pop()
        node = w.graph.node(current.node)
        if current in found:
            continue
        found.add(current)
        if node.op.name in _MOVES:
            pending.extend(node.operands)
    return found


def _moved(w: Writer, value: Value, root: Value, numbers: Any) -> Any:
    """What moving makes of ``numbers`` in the place of ``root``; None where more is done."""
    if value == root:
        return numbers
    node = w.graph.node(value.node)
    held = w.held(value)
    if held is not None:
        return held.astype(np.float64) if not held.any() else None
    if node.op.name not in _MOVES:
        return None
    operands = [_moved(w, operand, root, numbers) for operand in node.operands]
    if any(operand is None for operand in operands):
        return None
    types = [type_.with_dtype("float64") for type_ in node.types]
    if any(not type_.is_static for type_ in types):
        return None
    return by_reference(node, operands, types, node.attrs)[0]
