"""Gated recurrent units and the plain recurrent layer.

The attributes that all recurrent layers have are explained in ``recurrent_common``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir import Array, Call, Operand, TensorType
from .define import operator
from .half import widened
from .recurrent_common import (
    GRU,
    LENGTHS,
    RNN,
    STATE,
    STATES,
    Kind,
    apply_activation,
    clipped,
    infer_layer,
    layer_calls,
    layer_cost,
    scan,
)
from .recurrent_common import layer_operands as _data
from .recurrent_kernels import run_gru, run_rnn
from .samples import sample


@operator(traits=("recurrent",))
def gru(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lengths: Array | None = None,
    initial_h: Array | None = None,
    *,
    hidden_size: int,
    direction: str = "forward",
    activations: Sequence[str] = (),
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    clip: float = 0.0,
    linear_before_reset: bool = False,
    layout: int = 0,
) -> tuple[Array, Array]:
    """Gated recurrent unit (ONNX GRU-22); gates in the order update, reset, hidden.

    ``w`` [D, 3 H, input], ``r`` [D, 3 H, H], ``b`` [D, 6 H]. Outputs: all hidden states
    [time, D, batch, H] and the last one. ``linear_before_reset`` applies the reset gate after
    the product with ``r``.
    """
    functions = GRU.functions(len(w), activations, activation_alpha, activation_beta)
    size = hidden_size
    recurrent = widened(r)
    biases = np.zeros((len(w), 6 * size), recurrent.dtype) if b is None else widened(b)

    def step(
        number: int, gates: Array, hidden: Array, others: list[Array]
    ) -> tuple[Array, list[Array]]:
        f, g = functions[2 * number : 2 * number + 2]
        z, reset, new = (gates + biases[number, : 3 * size]).reshape(3, size)
        rz, rr, rh = recurrent[number].reshape(3, size, size)
        bz, br, bh = biases[number, 3 * size :].reshape(3, size)
        z = apply_activation(f, clipped(z + rz @ hidden + bz, clip))
        reset = apply_activation(f, clipped(reset + rr @ hidden + br, clip))
        if linear_before_reset:
            new = new + reset * (rh @ hidden + bh)
        else:
            new = new + rh @ (reset * hidden) + bh
        new = apply_activation(g, clipped(new, clip))
        return (1 - z) * new + z * hidden, []

    y, (last,) = scan(x, w, sequence_lengths, [initial_h], size, direction, layout, x.dtype, step)
    return y, last


@operator(traits=("recurrent",))
def rnn(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lengths: Array | None = None,
    initial_h: Array | None = None,
    *,
    hidden_size: int,
    direction: str = "forward",
    activations: Sequence[str] = (),
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    clip: float = 0.0,
    layout: int = 0,
) -> tuple[Array, Array]:
    """Plain recurrent layer, ``f(x w' + h r' + biases)`` (ONNX RNN-22).

    ``w`` [D, H, input], ``r`` [D, H, H], ``b`` [D, 2 H]. Outputs: all hidden states
    [time, D, batch, H] and the last one.
    """
    functions = RNN.functions(len(w), activations, activation_alpha, activation_beta)
    size = hidden_size
    recurrent = widened(r)
    biases = np.zeros((len(w), 2 * size), recurrent.dtype) if b is None else widened(b)

    def step(
        number: int, gates: Array, hidden: Array, others: list[Array]
    ) -> tuple[Array, list[Array]]:
        sums = gates + recurrent[number] @ hidden + biases[number].reshape(2, size).sum(axis=0)
        return apply_activation(functions[number], clipped(sums, clip)), []

    y, (last,) = scan(x, w, sequence_lengths, [initial_h], size, direction, layout, x.dtype, step)
    return y, last


def _infer(kind: Kind) -> Callable[..., tuple[TensorType, TensorType]]:
    def infer(
        x: TensorType,
        w: TensorType,
        r: TensorType,
        b: TensorType | None = None,
        sequence_lengths: TensorType | None = None,
        initial_h: TensorType | None = None,
        **settings: Any,
    ) -> tuple[TensorType, TensorType]:
        return infer_layer(kind, x, w, r, b, sequence_lengths, (initial_h,), **settings)

    return infer


gru.infer(_infer(GRU))
rnn.infer(_infer(RNN))
for _op in (gru, rnn):
    _op.cost(layer_cost)


@gru.kernel
def _(
    x: Operand,
    w: Operand,
    r: Operand,
    b: Operand | None,
    sequence_lengths: Operand | None,
    initial_h: Operand | None,
    *outputs: Operand,
    linear_before_reset: bool,
    **settings: Any,
) -> list[Call]:
    options = (b, sequence_lengths, initial_h)
    flags = (linear_before_reset,)
    return layer_calls(GRU, run_gru, x, w, r, options, outputs, flags, rows=4, **settings)


@rnn.kernel
def _(
    x: Operand,
    w: Operand,
    r: Operand,
    b: Operand | None,
    sequence_lengths: Operand | None,
    initial_h: Operand | None,
    *outputs: Operand,
    **settings: Any,
) -> list[Call]:
    options = (b, sequence_lengths, initial_h)
    return layer_calls(RNN, run_rnn, x, w, r, options, outputs, rows=1, **settings)


gru.samples = [
    sample(*_data(3), hidden_size=6),
    sample(*_data(3), hidden_size=6, linear_before_reset=True),
    sample(*_data(3, 2), LENGTHS, STATES, hidden_size=6, direction="bidirectional", clip=0.7),
    sample(*_data(3)[:3], hidden_size=6, direction="reverse", linear_before_reset=True),
    sample(*_data(3, 2), hidden_size=6, direction="bidirectional", layout=1),
    sample(*_data(3), hidden_size=6, activations=("Softplus", "Elu"), activation_alpha=(0.5,)),
    sample(*_data(3), hidden_size=6, activations=("Affine", "Relu"), activation_beta=(0.5,)),
    sample(*_data(3, shape=(0, 3, 5)), None, STATE, hidden_size=6),
    *(sample(*_data(3, dtype=d), hidden_size=6) for d in ("float64", "float16", "bfloat16")),
]
rnn.samples = [
    sample(*_data(1), hidden_size=6),
    sample(*_data(1, 2), LENGTHS, STATES, hidden_size=6, direction="bidirectional"),
    sample(*_data(1, 2), hidden_size=6, direction="bidirectional", layout=1),
    sample(*_data(1), hidden_size=6, direction="reverse", activations=("LeakyRelu",)),
    sample(*_data(1), hidden_size=6, activations=("ThresholdedRelu",), activation_alpha=(0.4,)),
    sample(*_data(1, dtype="float64"), hidden_size=6, clip=0.3),
]
