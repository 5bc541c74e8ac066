"""Fully connected layers."""

from __future__ import annotations

from ..ir import ModelError
from . import functional
from .activations import get_activation
from .cell import Cell
from .initializers import Start, bias_start, initializer, weight_start
from .parameter import Parameter
from .tensor import Expression, Tensor


class Dense(Cell):
    """``x @ weight.T + bias``, then an activation; ``weight`` is [out_channels, in_channels]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        weight_init: Start | None = None,
        bias_init: Start | None = None,
        has_bias: bool = True,
        activation: str | Cell | None = None,
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        shape = (out_channels, in_channels)
        self.in_channels, self.out_channels, self.has_bias = in_channels, out_channels, has_bias
        self.weight = Parameter(initializer(weight_start(weight_init), shape, dtype))
        start = bias_start(bias_init, shape)
        self.bias = Parameter(initializer(start, (out_channels,), dtype)) if has_bias else None
        self.activation = get_activation(activation) if isinstance(activation, str) else activation

    def construct(self, x: Expression) -> Tensor:
        """The layer on the last axis of ``x``."""
        last = x.shape[-1] if x.ndim else None
        if last is None or (isinstance(last, int) and last != self.in_channels):
            raise ModelError(f"Dense takes {self.in_channels} elements along axis -1, not {x.type}")
        found = functional.dense(x, self.weight, self.bias)
        return self.activation(found) if self.activation is not None else found


class BiDense(Cell):
    """``x1`` and ``x2`` multiplied by a matrix for each output, plus ``bias``.

    ``weight`` is [out_channels, in1_channels, in2_channels].
    """

    def __init__(
        self,
        in1_channels: int,
        in2_channels: int,
        out_channels: int,
        weight_init: Start | None = None,
        bias_init: Start | None = None,
        has_bias: bool = True,
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        shape = (out_channels, in1_channels, in2_channels)
        self.in1_channels, self.in2_channels = in1_channels, in2_channels
        self.out_channels, self.has_bias = out_channels, has_bias
        like = (out_channels, in1_channels)
        self.weight = Parameter(initializer(bias_start(weight_init, like), shape, dtype))
        start = bias_start(bias_init, like)
        self.bias = Parameter(initializer(start, (out_channels,), dtype)) if has_bias else None

    def construct(self, input1: Expression, input2: Expression) -> Tensor:
        """``sum_ij x1[i] weight[k, i, j] x2[j] + bias[k]`` along the last axis."""
        if input1.shape[:-1] != input2.shape[:-1]:
            raise ModelError(
                f"BiDense takes {input1.type} and {input2.type} of equal axes in front"
            )
        rows, left = input1.reshape(-1, self.in1_channels), input2.reshape(-1, self.in2_channels)
        # [rows, 1, in1] @ [out, in1, in2] for each output, then summed against x2.
        turned = self.weight.transpose(1, 0, 2).reshape(self.in1_channels, -1)
        products = (rows @ turned).reshape(-1, self.out_channels, self.in2_channels)
        found = (products * left.expand_dims(1)).sum(-1)
        found = found + self.bias if self.bias is not None else found
        return found.reshape(*input1.shape[:-1], self.out_channels)
