"""Long short-term memory.

The attributes that all recurrent layers have are explained in ``recurrent_common``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir import Array, Call, Operand, TensorType
from .define import operator
from .half import widened
from .recurrent_common import (
    LENGTHS,
    LSTM,
    STATE,
    STATES,
    apply_activation,
    clipped,
    infer_layer,
    layer_calls,
    layer_cost,
    scan,
)
from .recurrent_common import layer_operands as _data
from .recurrent_kernels import run_lstm
from .samples import sample, tensor


@operator(traits=("recurrent",))
def lstm(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lengths: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    p: Array | None = None,
    *,
    hidden_size: int,
    direction: str = "forward",
    activations: Sequence[str] = (),
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    clip: float = 0.0,
    input_forget: bool = False,
    layout: int = 0,
) -> tuple[Array, Array, Array]:
    """Long short-term memory (ONNX LSTM-22); gates in the order input, output, forget, cell.

    ``w`` [D, 4 H, input], ``r`` [D, 4 H, H], ``b`` [D, 8 H], ``p`` (peepholes) [D, 3 H].
    Outputs: all hidden states [time, D, batch, H], the last hidden and the last cell state.
    ``input_forget`` takes ``1 - input gate`` for the forget gate.
    """
    functions = LSTM.functions(len(w), activations, activation_alpha, activation_beta)
    size = hidden_size
    recurrent = widened(r)
    biases = np.zeros((len(w), 8 * size), recurrent.dtype) if b is None else widened(b)
    peepholes = np.zeros((len(w), 3 * size), recurrent.dtype) if p is None else widened(p)

    def step(
        number: int, gates: Array, hidden: Array, others: list[Array]
    ) -> tuple[Array, list[Array]]:
        (cell,) = others
        f, g, h = functions[3 * number : 3 * number + 3]
        bias = biases[number]
        sums = gates + recurrent[number] @ hidden + bias[: 4 * size] + bias[4 * size :]
        i, o, forget, c = sums.reshape(4, size)
        peep_i, peep_o, peep_f = peepholes[number].reshape(3, size)
        i = apply_activation(f, clipped(i + peep_i * cell, clip))
        forget = (
            1 - i if input_forget else apply_activation(f, clipped(forget + peep_f * cell, clip))
        )
        cell = forget * cell + i * apply_activation(g, clipped(c, clip))
        o = apply_activation(f, clipped(o + peep_o * cell, clip))
        return o * apply_activation(h, cell), [cell]

    y, (last_h, last_c) = scan(
        x, w, sequence_lengths, [initial_h, initial_c], size, direction, layout, x.dtype, step
    )
    return y, last_h, last_c


@lstm.infer
def _(
    x: TensorType,
    w: TensorType,
    r: TensorType,
    b: TensorType | None = None,
    sequence_lengths: TensorType | None = None,
    initial_h: TensorType | None = None,
    initial_c: TensorType | None = None,
    p: TensorType | None = None,
    **settings: Any,
) -> tuple[TensorType, TensorType, TensorType]:
    states = (initial_h, initial_c)
    y, state = infer_layer(LSTM, x, w, r, b, sequence_lengths, states, p, **settings)
    return y, state, state


lstm.cost(layer_cost)


@lstm.kernel
def _(
    x: Operand,
    w: Operand,
    r: Operand,
    b: Operand | None,
    sequence_lengths: Operand | None,
    initial_h: Operand | None,
    initial_c: Operand | None,
    p: Operand | None,
    *outputs: Operand,
    input_forget: bool,
    **settings: Any,
) -> list[Call]:
    options = (b, sequence_lengths, initial_h, initial_c, p)
    flags = (input_forget,)
    return layer_calls(LSTM, run_lstm, x, w, r, options, outputs, flags, rows=4, **settings)


lstm.samples = [
    sample(*_data(4), hidden_size=6),
    sample(*_data(4)[:3], hidden_size=6, direction="reverse", clip=0.5),
    sample(*_data(4, 2), LENGTHS, STATES, STATES, hidden_size=6, direction="bidirectional"),
    sample(*_data(4), None, STATE, STATE, tensor((1, 18)), hidden_size=6, input_forget=True),
    sample(*_data(4, 2), hidden_size=6, direction="bidirectional", layout=1),
    sample(
        *_data(4, shape=(3, 4, 5)),
        None,
        tensor((3, 1, 6)),
        tensor((3, 1, 6), seed=1),
        tensor((1, 18)),
        hidden_size=6,
        layout=1,
        activations=("HardSigmoid", "ScaledTanh", "Softsign"),
        activation_alpha=(0.3, 1.5),
        activation_beta=(0.4, 0.7),
    ),
    sample(*_data(4, shape=(0, 3, 5)), None, STATE, hidden_size=6),
    sample(*_data(4, shape=(4, 0, 5)), hidden_size=6),
    sample(*_data(4, shape=(4, 2, 0)), hidden_size=6),
    sample(*_data(4, hidden=17), hidden_size=17),
    *(sample(*_data(4, dtype=d), hidden_size=6) for d in ("float64", "float16", "bfloat16")),
]
