"""Readers of recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir import ModelError, Op, Value
from .context import Context, ops
from .registry import reads


def _layer(
    g: Context,
    op: Op,
    operands: Sequence[Value | None],
    hidden_size: int | None,
    **attributes: Any,
) -> Any:
    r = operands[2]
    if r is None or g.rank(r) != 3:
        raise ModelError("the recurrence weights are not of rank 3")
    size = g.shape(r)[2] if hidden_size is None else hidden_size
    lengths = operands[4]
    if lengths is not None:
        operands = [*operands[:4], g.cast(lengths, "int32"), *operands[5:]]
    attributes = {key: () if value is None else value for key, value in attributes.items()}
    return g.add_node(op, operands, {"hidden_size": size, **attributes}).outputs


# Until opset 13 there is no layout; its absence in a file means 0 anyway.
_SINCE = (7, 14, 22)


@reads("LSTM", since=_SINCE)
def _lstm(
    g: Context,
    x: Value,
    w: Value,
    r: Value,
    b: Value | None = None,
    lengths: Value | None = None,
    initial_h: Value | None = None,
    initial_c: Value | None = None,
    p: Value | None = None,
    *,
    activation_alpha: tuple[float, ...] | None = None,
    activation_beta: tuple[float, ...] | None = None,
    activations: tuple[str, ...] | None = None,
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> Any:
    return _layer(
        g,
        ops.lstm,
        (x, w, r, b, lengths, initial_h, initial_c, p),
        hidden_size,
        activations=activations,
        activation_alpha=activation_alpha,
        activation_beta=activation_beta,
        clip=clip,
        direction=direction,
        input_forget=bool(input_forget),
        layout=layout,
    )


@reads("GRU", since=_SINCE)
def _gru(
    g: Context,
    x: Value,
    w: Value,
    r: Value,
    b: Value | None = None,
    lengths: Value | None = None,
    initial_h: Value | None = None,
    *,
    activation_alpha: tuple[float, ...] | None = None,
    activation_beta: tuple[float, ...] | None = None,
    activations: tuple[str, ...] | None = None,
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> Any:
    return _layer(
        g,
        ops.gru,
        (x, w, r, b, lengths, initial_h),
        hidden_size,
        activations=activations,
        activation_alpha=activation_alpha,
        activation_beta=activation_beta,
        clip=clip,
        direction=direction,
        layout=layout,
        linear_before_reset=bool(linear_before_reset),
    )


@reads("RNN", since=_SINCE)
def _rnn(
    g: Context,
    x: Value,
    w: Value,
    r: Value,
    b: Value | None = None,
    lengths: Value | None = None,
    initial_h: Value | None = None,
    *,
    activation_alpha: tuple[float, ...] | None = None,
    activation_beta: tuple[float, ...] | None = None,
    activations: tuple[str, ...] | None = None,
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> Any:
    return _layer(
        g,
        ops.rnn,
        (x, w, r, b, lengths, initial_h),
        hidden_size,
        activations=activations,
        activation_alpha=activation_alpha,
        activation_beta=activation_beta,
        clip=clip,
        direction=direction,
        layout=layout,
    )
