"""What recurrent units do with their sums, on vectors of units.

A cell takes the sums of all gates in ONNX's order and the states before the step, and gives
those after it.
"""

from __future__ import annotations

from collections.abc import Callable

from ..float32_exponential import exp_moderate, expm1, log1p
from ..float32_hyperbolic import tanh
from .lanes import Lanes, fabs, on_vectors, select

Function = tuple[int, float, float]


def bounded(x: Lanes, clip: float) -> Lanes:
    """``x`` between ``-clip`` and ``clip``; as it is where ``clip`` is 0. NaN stays."""
    if clip <= 0:
        return x
    low = select(x < -clip, -clip, x)
    return select(low > clip, clip, low)


def _sigmoid(x: Lanes, alpha: float, beta: float) -> Lanes:
    # The result is below the smallest normal number where the exponential would overflow.
    x = select(x < -87.0, -87.0, x)
    x = select(x > 87.0, 87.0, x)
    return 1.0 / (1.0 + on_vectors(exp_moderate)(-x))


def _tanh(x: Lanes, alpha: float, beta: float) -> Lanes:
    return on_vectors(tanh)(x)


def _positive(x: Lanes) -> Lanes:
    return select(x < 0.0, 0.0, x)


def _elu(x: Lanes, alpha: float, beta: float) -> Lanes:
    return select(x < 0.0, alpha * on_vectors(expm1)(select(x < 0.0, x, 0.0)), x)


def _softplus(x: Lanes, alpha: float, beta: float) -> Lanes:
    magnitude = fabs(x)
    small = on_vectors(exp_moderate)(-select(magnitude > 87.0, 87.0, magnitude))
    return _positive(x) + on_vectors(log1p)(small)


def _hard_sigmoid(x: Lanes, alpha: float, beta: float) -> Lanes:
    line = _positive(alpha * x + beta)
    return select(line > 1.0, 1.0, line)


# By their numbers in ops.recurrent_common.FUNCTIONS.
_FUNCTIONS: tuple[Callable[[Lanes, float, float], Lanes], ...] = (
    _sigmoid,
    _tanh,
    lambda x, alpha, beta: _positive(x),
    lambda x, alpha, beta: alpha * x + beta,
    lambda x, alpha, beta: select(x < 0.0, alpha * x, x),
    lambda x, alpha, beta: select(x >= alpha, x, 0.0),
    lambda x, alpha, beta: alpha * _tanh(beta * x, 0.0, 0.0),
    _hard_sigmoid,
    _elu,
    lambda x, alpha, beta: x / (1.0 + fabs(x)),
    _softplus,
)


def applied(function: Function, x: Lanes) -> Lanes:
    """An activation by its number and parameters."""
    number, alpha, beta = function
    return _FUNCTIONS[number](x, alpha, beta)


def lstm_cell(
    sums: list[Lanes],
    cell: Lanes,
    peepholes: list[Lanes] | None,
    functions: tuple[Function, ...],
    clip: float,
    input_forget: bool,
) -> tuple[Lanes, Lanes]:
    """Hidden state and cell after a step; gates and peepholes: input, output, forget (, cell)."""
    gate_i, gate_o, gate_f, gate_c = sums
    f, g, h = functions
    if peepholes is not None:
        gate_i = gate_i + peepholes[0] * cell
        gate_f = gate_f + peepholes[2] * cell
    gate_i = applied(f, bounded(gate_i, clip))
    gate_f = 1.0 - gate_i if input_forget else applied(f, bounded(gate_f, clip))
    cell = gate_f * cell + gate_i * applied(g, bounded(gate_c, clip))
    if peepholes is not None:
        gate_o = gate_o + peepholes[1] * cell
    gate_o = applied(f, bounded(gate_o, clip))
    return gate_o * applied(h, cell), cell


def gate(sum_: Lanes, function: Function, clip: float) -> Lanes:
    """One gate, also the whole of a plain recurrent unit."""
    return applied(function, bounded(sum_, clip))


def gru_mix(update: Lanes, new: Lanes, hidden: Lanes) -> Lanes:
    """The hidden state of a gated recurrent unit from its update gate and new state."""
    return (1.0 - update) * new + update * hidden
