"""Readers of recurrent layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir import ModelError, Op, Value
from .context import Context, ops
from .registry import reads_like

_LENGTHS = 4  # the operand that has the sequences' lengths


def _reader(op: Op) -> Callable[..., Any]:
    def read(
        g: Context, *operands: Value | None, hidden_size: int | None = None, **attributes: Any
    ) -> Any:
        given = list(operands)
        r = given[2]
        if r is None or g.rank(r) != 3:
            raise ModelError("the recurrence weights are not of rank 3")
        if len(given) > _LENGTHS and (lengths := given[_LENGTHS]) is not None:
            given[_LENGTHS] = g.cast(lengths, "int32")
        for name in attributes:
            if isinstance(op.attributes[name], bool):
                attributes[name] = bool(attributes[name])
        size = g.shape(r)[2] if hidden_size is None else hidden_size
        return g.add_node(op, given, {"hidden_size": size, **attributes}).outputs

    return read


# Until opset 13 there is no layout; its absence in a file means 0 anyway.
for _name, _op in (("LSTM", ops.lstm), ("GRU", ops.gru), ("RNN", ops.rnn)):
    reads_like(_op, _name, since=(7, 14, 22), hidden_size=None)(_reader(_op))
