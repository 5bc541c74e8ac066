"""Readers of matrix products and recurrent layers."""

from __future__ import annotations

from ...ir import ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops
from .convert import Layout, Values
from .items import Item
from .registry import reads

_TRANSPOSED = {"transpose_a": "transpose_x1 adj_x1", "transpose_b": "transpose_x2 adj_x2"}


@reads("MatMul", "BatchMatMul", "MatMulV2", other_names=_TRANSPOSED)
def _matmul(
    g: Context, x: Value, y: Value, transpose_a: bool = False, transpose_b: bool = False
) -> Value:
    return g.add(ops.matmul, x, y, transpose_a=transpose_a, transpose_b=transpose_b)


@reads("MatMulExt", "BatchMatMulExt", "Mm", "Mv", "Dot")
def _matmul_ext(g: Context, x: Value, y: Value) -> Value:
    left, right = g.rank(x) == 1, g.rank(y) == 1
    x = g.unsqueeze(x, 0) if left else x
    y = g.unsqueeze(y, 1) if right else y
    result = g.add(ops.matmul, x, y)
    shape = list(g.shape(result))
    if right:
        del shape[-1]
    if left:
        del shape[-2 + right]
    return g.reshape(result, shape)


@reads("Dense")
def _dense(g: Context, x: Value, weight: Value, bias: Value | None = None) -> Value:
    result = _matmul_ext(g, x, _transposed(g, weight))
    return result if bias is None else g.add(ops.add, result, bias)


def _transposed(g: Context, x: Value) -> Value:
    return x if g.rank(x) < 2 else g.transpose(x, (1, 0))


@reads("Addmm", "Baddbmm", "Addbmm")
def _addmm(g: Context, x: Value, a: Value, b: Value, beta: Item = 1, alpha: Item = 1) -> Value:
    product = g.add(ops.matmul, a, b)
    for number, which in ((alpha, 0), (beta, 1)):
        if number != 1:
            scaled = x if which else product
            scaled = g.add(ops.mul, scaled, g.value(number, g.dtype(scaled)))
            x, product = (scaled, product) if which else (x, scaled)
    if g.primitive == "Addbmm":
        product = g.add(ops.reduce_sum, product, axes=(0,), keepdims=False)
    return g.add(ops.add, x, product)


@reads("Outer", "Ger")
def _outer(g: Context, x: Value, y: Value) -> Value:
    return g.add(ops.mul, g.unsqueeze(x, 1), g.unsqueeze(y, 0))


@reads("Einsum")
def _einsum(g: Context, xs: Values, equation: str) -> Value:
    return g.add(ops.einsum, *xs, equation=equation)


@reads("EinsumExt")
def _einsum_ext(g: Context, equation: str, xs: Values) -> Value:
    return g.add(ops.einsum, *xs, equation=equation)


@reads("BiasAdd", other_names={"data_format": "format"})
def _bias_add(g: Context, x: Value, bias: Value, data_format: Layout = "NCHW") -> Value:
    if data_format in ("NHWC", "NDHWC") or g.rank(x) == 2:
        return g.add(ops.add, x, bias)
    return g.add(ops.add, x, g.reshape(bias, (g.shape(bias)[0], *(1,) * (g.rank(x) - 2))))


# --- recurrent layers ------------------------------------------------------------------------


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
    if num_layers != 1 or bidirectional or proj_size:
        raise UnsupportedError("LSTM with several layers, directions or a projection in one node")
    rows = 4 * hidden_size
    flat = g.reshape(w, (g.type(w).size,))
    sizes = [rows * input_size, rows * hidden_size] + ([rows] if has_bias else [])
    if g.type(w).size != sum(sizes):
        raise ModelError(f"the weights of an LSTM are {g.type(w)}; {sum(sizes)} are needed")
    ends = [sum(sizes[:k]) for k in range(len(sizes))]
    parts = [g.slice_axis(flat, 0, at, size) for at, size in zip(ends, sizes, strict=True)]
    # MindSpore's order of gates is input, forget, cell, output; ours input, output, forget, cell.
    weights = _gates(g, g.reshape(parts[0], (4, hidden_size, input_size)))
    recurrent = _gates(g, g.reshape(parts[1], (4, hidden_size, hidden_size)))
    bias = None
    if has_bias:
        own = g.reshape(_gates(g, g.reshape(parts[2], (4, hidden_size, 1))), (1, rows))
        zeros = g.add(ops.expand, g.scalar_like(own, 0), shape=(1, rows))
        bias = g.add(ops.concat, own, zeros, axis=1)
    operands = [x, weights, recurrent, bias, None, h, c]
    outputs = g.add_node(ops.lstm, operands, {"hidden_size": hidden_size}).outputs
    y = g.reshape(outputs[0], (*g.shape(x)[:2], hidden_size))
    # The fourth and fifth result serve training only.
    unused = g.add(ops.expand, g.scalar_like(x, 0), shape=(1,))
    return y, outputs[1], outputs[2], unused, unused


def _gates(g: Context, weights: Value) -> Value:
    """Gates (4, hidden, columns) in the order input, output, forget, cell, one direction."""
    parts = [g.slice_axis(weights, 0, k, 1) for k in (0, 3, 1, 2)]
    joined = g.add(ops.concat, *parts, axis=0)
    _, hidden, columns = g.shape(joined)
    return g.reshape(joined, (1, 4 * hidden, columns))


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
