"""Recurrent layers as cells: LSTM, GRU and RNN over sequences."""

from __future__ import annotations

import math
from typing import Any

from ..ir import ModelError
from ..ops.lstm import lstm
from ..ops.recurrent import gru, rnn
from . import functional
from .cell import Cell
from .initializers import Uniform, initializer
from .parameter import Parameter
from .tensor import Expression, Tensor, apply_all


class _Recurrent(Cell):
    """Layers over sequences [time, batch, input_size].

    Parameters of layer k are ``weight_ih_l{k}`` [gates * hidden, inputs], ``weight_hh_l{k}``
    [gates * hidden, hidden], ``bias_ih_l{k}`` and ``bias_hh_l{k}``, with ``_reverse`` behind for
    the direction from the end.
    """

    # Blocks of the weights in MindSpore's order, by their place in the operator's.
    _order: tuple[int, ...]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        has_bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        if min(input_size, hidden_size, num_layers) < 1:
            raise ModelError(
                f"{type(self).__name__}: {input_size} inputs, {hidden_size} hidden and "
                f"{num_layers} layers"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.has_bias, self.batch_first, self.dropout = has_bias, batch_first, dropout
        self.bidirectional = bidirectional
        start = Uniform(1.0 / math.sqrt(hidden_size))
        directions = self._directions()
        rows = len(self._order) * hidden_size
        # MindSpore registers all weights of one kind before those of the next.
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: 4 if has_bias else 2]:
            for layer in range(num_layers):
                inputs = input_size if layer == 0 else hidden_size * len(directions)
                columns = {"weight_ih": (inputs,), "weight_hh": (hidden_size,)}.get(kind, ())
                for suffix in directions:
                    name = f"{kind}_l{layer}{suffix}"
                    setattr(self, name, Parameter(initializer(start, (rows, *columns), dtype)))

    def _directions(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def construct(
        self, x: Expression, hx: Any = None, seq_length: Expression | None = None
    ) -> tuple[Tensor, Any]:
        """All hidden states of the last layer, directions side by side, and the last states.

        The first is [time, batch, directions * hidden] (batch and time exchanged if
        ``batch_first``), zero from a sequence's ``seq_length`` on; states are [layers *
        directions, batch, hidden], one tensor or a tuple as ``hx``, and begin as zeros without.
        """
        if x.ndim != 3:
            raise ModelError(f"{type(self).__name__} takes sequences of rank 3, not {x.type}")
        found: Expression = x.transpose(1, 0, 2) if self.batch_first else x
        states = self._states(hx)
        lengths = None if seq_length is None else seq_length.astype("int32")
        width = len(self._directions())
        last: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            begin = [state[width * layer : width * (layer + 1)] for state in states]
            found, *ends = self._layer(found, layer, begin, lengths)
            last.append(ends)
        output = found.transpose(1, 0, 2) if self.batch_first else found
        assert isinstance(output, Tensor)
        ends = [functional.concat(s, 0) if len(s) > 1 else s[0] for s in zip(*last, strict=True)]
        return output, self._result(ends)

    def _states(self, hx: Any) -> list[Expression]:
        """The given states, none for zeros."""
        return [] if hx is None else [hx]

    def _result(self, ends: list[Tensor]) -> Any:
        """The last states as a caller gets them."""
        return ends[0]

    def _layer(
        self, x: Expression, layer: int, begin: list[Tensor], lengths: Expression | None
    ) -> tuple[Tensor, ...]:
        directions = self._directions()
        operands: list[Tensor | None] = []
        for kind in ("weight_ih", "weight_hh"):
            parts = [self._gates(f"{kind}_l{layer}{suffix}") for suffix in directions]
            operands.append(functional.stack(parts))
        biases = None
        if self.has_bias:
            both = [
                functional.concat(
                    [self._gates(f"{kind}_l{layer}{suffix}") for kind in ("bias_ih", "bias_hh")]
                )
                for suffix in directions
            ]
            biases = functional.stack(both)
        operands.append(biases)
        y, *ends = self._apply(x, operands, lengths, begin)
        # [time, directions, batch, hidden], the directions side by side.
        time, _, batch, size = y.shape
        if self.bidirectional:
            y = y.transpose(0, 2, 1, 3)
        return (y.reshape(time, batch, size * len(directions)), *ends)

    def _apply(
        self,
        x: Expression,
        operands: list[Tensor | None],
        lengths: Expression | None,
        begin: list[Tensor],
    ) -> tuple[Tensor, ...]:
        """The operator on the weights, recurrent weights and biases of all directions."""
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        direction = "bidirectional" if self.bidirectional else "forward"
        return {"hidden_size": self.hidden_size, "direction": direction}

    def _gates(self, name: str) -> Tensor:
        """A parameter's gates in the operator's order."""
        held: Parameter = getattr(self, name)
        if len(self._order) == 1:
            return held.reshape(held.shape)
        blocks = functional.split(held, self.hidden_size, 0)
        return functional.concat([blocks[place] for place in self._order], 0)


class LSTM(_Recurrent):
    """Layers of long short-term memory over sequences [time, batch, input_size].

    Parameters of layer k are ``weight_ih_l{k}`` [4 hidden, inputs], ``weight_hh_l{k}`` [4
    hidden, hidden], ``bias_ih_l{k}`` and ``bias_hh_l{k}``, with ``_reverse`` behind for the
    direction from the end; gates are in the order input, forget, cell, output. Called with
    (x, (h, c), lengths) or fewer; ``batch_first`` puts the batch before the time; ``dropout``
    does nothing in inference.
    """

    _order = (0, 3, 1, 2)  # to input, output, forget, cell

    def _states(self, hx: Any) -> list[Expression]:
        if hx is None:
            return []
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise ModelError("LSTM begins with two states, (h, c)")
        return list(hx)

    def _result(self, ends: list[Tensor]) -> Any:
        return tuple(ends)

    def _apply(
        self,
        x: Expression,
        operands: list[Tensor | None],
        lengths: Expression | None,
        begin: list[Tensor],
    ) -> tuple[Tensor, ...]:
        states: list[Tensor | None] = [*begin] or [None, None]
        return apply_all(lstm, x, *operands, lengths, *states, **self._options())


class GRU(_Recurrent):
    """Layers of gated recurrent units; the parameters are :class:`LSTM`'s with three gates.

    Gates are in the order reset, update, new; called with (x, h, lengths) or fewer.
    """

    _order = (1, 0, 2)  # to update, reset, new

    def _apply(
        self,
        x: Expression,
        operands: list[Tensor | None],
        lengths: Expression | None,
        begin: list[Tensor],
    ) -> tuple[Tensor, ...]:
        states: list[Tensor | None] = [*begin] or [None]
        options = self._options() | {"linear_before_reset": True}
        return apply_all(gru, x, *operands, lengths, *states, **options)


class RNN(_Recurrent):
    """Layers of simple recurrent units; the parameters are :class:`LSTM`'s with one gate.

    ``nonlinearity`` (by name only, as in MindSpore) is "tanh" or "relu".
    """

    _order = (0,)

    def __init__(self, *args: Any, nonlinearity: str = "tanh", **options: Any) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ModelError(f"RNN: nonlinearity {nonlinearity!r} is neither tanh nor relu")
        super().__init__(*args, **options)
        self.nonlinearity = nonlinearity

    def _apply(
        self,
        x: Expression,
        operands: list[Tensor | None],
        lengths: Expression | None,
        begin: list[Tensor],
    ) -> tuple[Tensor, ...]:
        states: list[Tensor | None] = [*begin] or [None]
        names = (self.nonlinearity.capitalize(),) * len(self._directions())
        return apply_all(rnn, x, *operands, lengths, *states, activations=names, **self._options())
