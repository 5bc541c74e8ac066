"""Recurrent layers as cells."""

from __future__ import annotations

import math

from ..ir import ModelError
from ..ops.lstm import lstm
from . import functional
from .cell import Cell
from .initializers import Uniform, initializer
from .parameter import Parameter
from .tensor import Expression, Tensor, apply_all

_GATES = 4


class LSTM(Cell):
    """Layers of long short-term memory over sequences [time, batch, input_size].

    Parameters of layer k are ``weight_ih_l{k}`` [4 hidden, inputs], ``weight_hh_l{k}`` [4
    hidden, hidden], ``bias_ih_l{k}`` and ``bias_hh_l{k}``, with ``_reverse`` behind for the
    direction from the end; gates are in the order input, forget, cell, output. States begin as
    zeros. ``batch_first`` puts the batch before the time; ``dropout`` does nothing in inference.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        has_bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        if min(input_size, hidden_size, num_layers) < 1:
            raise ModelError(
                f"LSTM: {input_size} inputs, {hidden_size} hidden and {num_layers} layers"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.has_bias, self.batch_first, self.dropout = has_bias, batch_first, dropout
        self.bidirectional = bidirectional
        start = Uniform(1.0 / math.sqrt(hidden_size))
        directions = self._directions()
        rows = _GATES * hidden_size
        # MindSpore registers all weights of one kind before those of the next.
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: 4 if has_bias else 2]:
            for layer in range(num_layers):
                inputs = input_size if layer == 0 else hidden_size * len(directions)
                columns = {"weight_ih": (inputs,), "weight_hh": (hidden_size,)}.get(kind, ())
                for suffix in directions:
                    name = f"{kind}_l{layer}{suffix}"
                    setattr(self, name, Parameter(initializer(start, (rows, *columns))))

    def _directions(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def construct(self, x: Expression) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """All hidden states of the last layer, directions side by side, and the last states.

        The first is [time, batch, directions * hidden] (batch and time exchanged if
        ``batch_first``); the last hidden and cell states are [layers * directions, batch, hidden].
        """
        if x.ndim != 3:
            raise ModelError(f"LSTM takes sequences of rank 3, not {x.type}")
        found: Expression = x.transpose(1, 0, 2) if self.batch_first else x
        hidden, cells = [], []
        for layer in range(self.num_layers):
            found, last_hidden, last_cell = self._layer(found, layer)
            hidden.append(last_hidden)
            cells.append(last_cell)
        output = found.transpose(1, 0, 2) if self.batch_first else found
        assert isinstance(output, Tensor)
        states = [functional.concat(s, 0) if len(s) > 1 else s[0] for s in (hidden, cells)]
        return output, (states[0], states[1])

    def _layer(self, x: Expression, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        directions = self._directions()
        operands: list[Tensor] = []
        for kind in ("weight_ih", "weight_hh"):
            parts = [self._gates(f"{kind}_l{layer}{suffix}") for suffix in directions]
            operands.append(_stacked(parts))
        if self.has_bias:
            both = [
                functional.concat(
                    [self._gates(f"{kind}_l{layer}{suffix}") for kind in ("bias_ih", "bias_hh")]
                )
                for suffix in directions
            ]
            operands.append(_stacked(both))
        direction = "bidirectional" if self.bidirectional else "forward"
        y, last_hidden, last_cell = apply_all(
            lstm, x, *operands, hidden_size=self.hidden_size, direction=direction
        )
        # [time, directions, batch, hidden], the directions side by side.
        time, _, batch, size = y.shape
        if self.bidirectional:
            y = y.transpose(0, 2, 1, 3)
        return y.reshape(time, batch, size * len(directions)), last_hidden, last_cell

    def _gates(self, name: str) -> Tensor:
        """A parameter's gates in the operator's order: input, output, forget, cell."""
        held: Parameter = getattr(self, name)
        i, f, c, o = functional.split(held, self.hidden_size, 0)
        return functional.concat([i, o, f, c], 0)


def _stacked(parts: list[Tensor]) -> Tensor:
    """Tensors along a new first axis."""
    rows = [part.expand_dims(0) for part in parts]
    return functional.concat(rows, 0) if len(rows) > 1 else rows[0]
