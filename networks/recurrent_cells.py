"""Single steps of recurrent layers as cells."""

from __future__ import annotations

import math

from ..ir import ModelError
from . import functional
from .cell import Cell
from .initializers import Uniform, initializer
from .parameter import Parameter
from .tensor import Expression, Tensor


class _RecurrentCell(Cell):
    """Weights of one step: ``weight_ih`` [gates * hidden, input], ``weight_hh``, biases."""

    _gates: int

    def __init__(
        self, input_size: int, hidden_size: int, has_bias: bool = True, dtype: object = "float32"
    ) -> None:
        super().__init__()
        if min(input_size, hidden_size) < 1:
            raise ModelError(f"{type(self).__name__}: {input_size} inputs, {hidden_size} hidden")
        self.input_size, self.hidden_size, self.has_bias = input_size, hidden_size, has_bias
        start = Uniform(1.0 / math.sqrt(hidden_size))
        rows = self._gates * hidden_size
        self.weight_ih = Parameter(initializer(start, (rows, input_size), dtype))
        self.weight_hh = Parameter(initializer(start, (rows, hidden_size), dtype))
        self.bias_ih = Parameter(initializer(start, (rows,), dtype)) if has_bias else None
        self.bias_hh = Parameter(initializer(start, (rows,), dtype)) if has_bias else None

    def _products(self, x: Expression, hidden: Expression) -> tuple[Tensor, Tensor]:
        """What the input and the state contribute to each gate."""
        from_input = functional.dense(x, self.weight_ih, self.bias_ih)
        return from_input, functional.dense(hidden, self.weight_hh, self.bias_hh)


class RNNCell(_RecurrentCell):
    """One step of a simple recurrent unit; ``nonlinearity`` is "tanh" or "relu"."""

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        has_bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: object = "float32",
    ) -> None:
        super().__init__(input_size, hidden_size, has_bias, dtype)
        if nonlinearity not in ("tanh", "relu"):
            raise ModelError(f"RNNCell: nonlinearity {nonlinearity!r} is neither tanh nor relu")
        self.nonlinearity = nonlinearity

    def construct(self, x: Expression, hx: Expression) -> Tensor:
        """The next state for ``x`` [batch, input_size] and the state ``hx`` [batch, hidden]."""
        from_input, from_state = self._products(x, hx)
        total = from_input + from_state
        return functional.tanh(total) if self.nonlinearity == "tanh" else functional.relu(total)


class LSTMCell(_RecurrentCell):
    """One step of long short-term memory; gates in the order input, forget, cell, output."""

    _gates = 4

    def construct(self, x: Expression, hx: tuple[Expression, Expression]) -> tuple[Tensor, Tensor]:
        """The next states for ``x`` [batch, input_size] and ``hx`` = (hidden, cell) states."""
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise ModelError("LSTMCell takes two states, (h, c)")
        hidden, cell = hx
        from_input, from_state = self._products(x, hidden)
        i, f, g, o = functional.split(from_input + from_state, self.hidden_size, 1)
        kept = functional.sigmoid(f) * cell
        cell = kept + functional.sigmoid(i) * functional.tanh(g)
        return functional.sigmoid(o) * functional.tanh(cell), cell


class GRUCell(_RecurrentCell):
    """One step of a gated recurrent unit; gates in the order reset, update, new."""

    _gates = 3

    def construct(self, x: Expression, hx: Expression) -> Tensor:
        """The next state for ``x`` [batch, input_size] and the state ``hx`` [batch, hidden]."""
        from_input, from_state = self._products(x, hx)
        input_reset, input_update, input_new = functional.split(from_input, self.hidden_size, 1)
        state_reset, state_update, state_new = functional.split(from_state, self.hidden_size, 1)
        reset = functional.sigmoid(input_reset + state_reset)
        update = functional.sigmoid(input_update + state_update)
        new = functional.tanh(input_new + reset * state_new)
        return new + update * (hx - new)
