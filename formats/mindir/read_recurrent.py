"""Readers of recurrent layers."""

from __future__ import annotations

from ...ir import ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops
from .items import Item
from .registry import reads


@reads("LSTM")
def _lstm(
    g: Context,
    x: Value,
    h: Value,
    c: Value,
    w: Value,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    has_bias: bool = True,
    bidirectional: bool = False,
    dropout: float = 0.0,
    proj_size: int = 0,
) -> Item:
    """One layer in one or both directions, or several of one size; all weights in one tensor.

    First come the input weights of all layers and directions, then all recurrent weights, then
    all biases.
    """
    if proj_size:
        raise UnsupportedError("LSTM with a projection")
    if min(input_size, hidden_size, num_layers) < 1:
        raise ModelError(f"an LSTM of {num_layers} layers, {input_size} to {hidden_size}")
    # MindSpore itself computes nothing sensible, or nothing at all, from these.
    if num_layers > 1 and (bidirectional or input_size != hidden_size):
        raise UnsupportedError("LSTM with layers of unequal sizes or two directions in one node")
    count = 2 if bidirectional else 1
    rows = 4 * hidden_size
    total = count * num_layers * rows * (input_size + hidden_size + (1 if has_bias else 0))
    if g.type(w).size != total:
        raise ModelError(f"the weights of an LSTM are {g.type(w)}; {total} are needed")
    flat = g.reshape(w, (total,))
    at = 0

    def taken(columns: int) -> Value:
        nonlocal at
        size = count * rows * columns
        part = g.slice_axis(flat, 0, at, size)
        at += size
        return _gates(g, g.reshape(part, (count, 4, hidden_size, columns)))

    weights = [taken(input_size) for _ in range(num_layers)]
    recurrent = [taken(hidden_size) for _ in range(num_layers)]
    biases = [taken(1) for _ in range(num_layers)] if has_bias else []
    last: list[tuple[Value, Value]] = []
    attributes = {
        "hidden_size": hidden_size,
        "direction": "bidirectional" if bidirectional else "forward",
    }
    y = x
    for layer in range(num_layers):
        bias = None
        if has_bias:
            own = g.reshape(biases[layer], (count, rows))
            zeros = g.add(ops.expand, g.scalar_like(own, 0), shape=(count, rows))
            bias = g.add(ops.concat, own, zeros, axis=1)
        starts = [h, c]
        if num_layers > 1:
            starts = [g.slice_axis(start, 0, layer * count, count) for start in starts]
        operands = [y, weights[layer], recurrent[layer], bias, None, *starts]
        outputs = g.add_node(ops.lstm, operands, attributes).outputs
        y = outputs[0] if count == 1 else g.transpose(outputs[0], (0, 2, 1, 3))
        y = g.reshape(y, (*g.shape(x)[:2], hidden_size * count))
        last.append((outputs[1], outputs[2]))
    ends = [
        g.add(ops.concat, *parts, axis=0) if num_layers > 1 else parts[0]
        for parts in zip(*last, strict=True)
    ]
    # The fourth and fifth result serve training only.
    unused = g.add(ops.expand, g.scalar_like(x, 0), shape=(1,))
    return y, ends[0], ends[1], unused, unused


def _gates(g: Context, weights: Value) -> Value:
    """Gates (directions, 4, hidden, columns), joined in our order: input, output, forget, cell.

    MindSpore's order is input, forget, cell, output.
    """
    parts = [g.slice_axis(weights, 1, k, 1) for k in (0, 3, 1, 2)]
    joined = g.add(ops.concat, *parts, axis=1)
    count, _, hidden, columns = g.shape(joined)
    return g.reshape(joined, (count, 4 * hidden, columns))


@reads("DynamicRNN")
def _dynamic_rnn(
    g: Context,
    x: Value,
    w: Value,
    b: Value,
    seq_length: Item,
    init_h: Value,
    init_c: Value,
    cell_type: str = "LSTM",
    direction: str = "UNIDIRECTIONAL",
    cell_depth: int = 1,
    use_peephole: bool = False,
    keep_prob: float = 1.0,
    cell_clip: float = -1.0,
    num_proj: int = 0,
    time_major: bool = True,
    activation: str = "tanh",
    forget_bias: float = 0.0,
) -> Item:
    plain = (cell_type, direction, cell_depth, use_peephole, num_proj, time_major, activation)
    if plain != ("LSTM", "UNIDIRECTIONAL", 1, False, 0, True, "tanh") or cell_clip > 0:
        raise UnsupportedError("DynamicRNN in other forms than a plain LSTM over time")
    columns = g.shape(x)[2]
    hidden = dims.floor_divide(g.shape(w)[1], 4)
    turned = g.transpose(w, (1, 0))
    # The order of gates is input, cell, forget, output.
    gates = g.reshape(turned, (4, hidden, columns + hidden))
    bias = g.reshape(b, (4, hidden, 1))
    if forget_bias:
        extra = g.constant([0.0, 0.0, forget_bias, 0.0], g.dtype(b))
        bias = g.add(ops.add, bias, g.reshape(extra, (4, 1, 1)))
    order = (0, 3, 2, 1)

    def ordered(value: Value) -> Value:
        joined = g.add(ops.concat, *(g.slice_axis(value, 0, k, 1) for k in order), axis=0)
        _, height, width = g.shape(joined)
        return g.reshape(joined, (1, 4 * height, width))

    weights = ordered(g.slice_axis(gates, 2, 0, columns))
    recurrent = ordered(g.slice_axis(gates, 2, columns, hidden))
    own = g.reshape(ordered(bias), (1, 4 * hidden))
    zeros = g.add(ops.expand, g.scalar_like(own, 0), shape=g.shape(own))
    joined = g.add(ops.concat, own, zeros, axis=1)
    lengths = None
    if seq_length is not None:
        lengths = g.cast(g.value(seq_length), "int32")
    if not isinstance(hidden, int):
        raise UnsupportedError("DynamicRNN with weights of unknown size")
    operands = [x, weights, recurrent, joined, lengths, init_h, init_c]
    outputs = g.add_node(ops.lstm, operands, {"hidden_size": hidden}).outputs
    y = g.reshape(outputs[0], (*g.shape(x)[:2], hidden))
    # The second and third result are h and c after every step.
    steps = g.shape(x)[0]
    if not isinstance(steps, int) or (steps > 1 and lengths is not None) or steps > 512:
        raise UnsupportedError(f"DynamicRNN over {steps} steps")
    cells, h, c = [], init_h, init_c
    for step in range(steps):
        part = g.slice_axis(x, 0, step, 1)
        single = [part, weights, recurrent, joined, lengths, h, c]
        found = g.add_node(ops.lstm, single, {"hidden_size": hidden}).outputs
        h, c = found[1], found[2]
        cells.append(c)
    return y, y, g.add(ops.concat, *cells, axis=0) if len(cells) > 1 else cells[0]
