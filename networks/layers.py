"""The layers that networks are made of: MindSpore's ``nn`` by names, parameters and layouts.

Defaults are those of MindSpore 2. Layers compute in inference: ``BatchNorm2d`` normalises by
its moving statistics, ``Dropout`` passes everything on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import Array, Extent, ModelError, UnsupportedError
from . import functional
from .activations import (
    ELU,
    GELU,
    HSigmoid,
    HSwish,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
    get_activation,
)
from .cell import Cell
from .containers import CellList, SequentialCell
from .convolution_transpose import Conv2dTranspose
from .initializers import HeUniform, Initializer, Uniform, fans, initializer
from .parameter import Parameter
from .pooling import AvgPool2d, MaxPool2d
from .recurrent import LSTM
from .tensor import Expression, Tensor

__all__ = [
    "ELU",
    "GELU",
    "LSTM",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Cell",
    "CellList",
    "Conv1d",
    "Conv2d",
    "Conv2dTranspose",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "HSigmoid",
    "HSwish",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool2d",
    "Mish",
    "PReLU",
    "Pad",
    "Parameter",
    "ReLU",
    "ReLU6",
    "SequentialCell",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "get_activation",
]

# How a parameter begins: an initialiser, its MindSpore name, a number or an array.
Start = Initializer | str | float | Array


def _weight(start: Start | None, shape: Sequence[int]) -> Parameter:
    return Parameter(initializer(HeUniform(math.sqrt(5)) if start is None else start, shape))


def _bias(start: Start | None, channels: int, weight_shape: Sequence[int]) -> Parameter:
    if start is None:
        inputs, _ = fans(weight_shape)
        start = Uniform(1.0 / math.sqrt(inputs)) if inputs else 0.0
    return Parameter(initializer(start, (channels,)))


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
    ) -> None:
        super().__init__()
        shape = (out_channels, in_channels)
        self.in_channels, self.out_channels, self.has_bias = in_channels, out_channels, has_bias
        self.weight = _weight(weight_init, shape)
        self.bias = _bias(bias_init, out_channels, shape) if has_bias else None
        self.activation = get_activation(activation) if isinstance(activation, str) else activation

    def construct(self, x: Expression) -> Tensor:
        """The last axis of ``x`` transformed."""
        _check_axis("Dense", x, x.ndim - 1, self.in_channels)
        found = functional.dense(x, self.weight, self.bias)
        return found if self.activation is None else self.activation(found)


class Conv2d(Cell):
    """Convolution; ``weight`` is [out_channels, in_channels / group, height, width].

    ``pad_mode`` "same" gives ``ceil(extent / stride)`` outputs, "valid" pads nothing, "pad" pads
    by ``padding``: one number, or (top, bottom, left, right).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        pad_mode: str = "same",
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        group: int = 1,
        has_bias: bool = False,
        weight_init: Start | None = None,
        bias_init: Start | None = None,
    ) -> None:
        super().__init__()
        if group < 1 or in_channels % group or out_channels % group:
            raise ModelError(f"Conv2d: {in_channels} and {out_channels} channels in {group} groups")
        self.in_channels, self.out_channels, self.has_bias = in_channels, out_channels, has_bias
        self.kernel_size = functional.pair("kernel_size", kernel_size)
        self.stride = functional.pair("stride", stride)
        self.dilation = functional.pair("dilation", dilation)
        self.pad_mode, self.padding, self.group = pad_mode, padding, group
        shape = (out_channels, in_channels // group, *self.kernel_size)
        self.weight = _weight(weight_init, shape)
        self.bias = _bias(bias_init, out_channels, shape) if has_bias else None

    def construct(self, x: Expression) -> Tensor:
        """The convolution of images [batch, in_channels, height, width]."""
        return functional.conv2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.pad_mode,
            self.padding,
            self.dilation,
            self.group,
        )


class Conv1d(Conv2d):
    """Convolution along one axis; ``weight`` is [out_channels, in_channels / group, 1, width].

    ``padding`` is one number, for both ends.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        pad_mode: str = "same",
        padding: int = 0,
        dilation: int = 1,
        group: int = 1,
        has_bias: bool = False,
        weight_init: Start | None = None,
        bias_init: Start | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            (1, kernel_size),
            (1, stride),
            pad_mode,
            (0, 0, padding, padding),
            (1, dilation),
            group,
            has_bias,
            weight_init,
            bias_init,
        )

    def construct(self, x: Expression) -> Tensor:
        """The convolution of rows [batch, in_channels, width]."""
        if x.ndim != 3:
            raise ModelError(f"Conv1d takes [batch, channels, width], not {x.type}")
        return super().construct(x.expand_dims(2)).squeeze(2)


class BatchNorm2d(Cell):
    """Normalisation of each channel (axis 1) by moving statistics, then ``gamma`` and ``beta``.

    For [batch, channels, height, width]; ``BatchNorm1d`` for [batch, channels] and [batch,
    channels, width].
    """

    _ranks: tuple[int, ...] = (4,)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.9,
        affine: bool = True,
        gamma_init: Start = "ones",
        beta_init: Start = "zeros",
        moving_mean_init: Start = "zeros",
        moving_var_init: Start = "ones",
        use_batch_statistics: bool | None = None,
    ) -> None:
        super().__init__()
        if use_batch_statistics:
            raise UnsupportedError(
                f"{type(self).__name__}: use_batch_statistics=True is training; opweave only infers"
            )
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        shape = (num_features,)
        self.moving_mean = Parameter(initializer(moving_mean_init, shape), requires_grad=False)
        self.moving_variance = Parameter(initializer(moving_var_init, shape), requires_grad=False)
        self.gamma = Parameter(initializer(gamma_init, shape), requires_grad=affine)
        self.beta = Parameter(initializer(beta_init, shape), requires_grad=affine)

    def construct(self, x: Expression) -> Tensor:
        """``x`` normalised."""
        if x.ndim not in self._ranks:
            raise ModelError(f"{type(self).__name__} does not take {x.type} of rank {x.ndim}")
        _check_axis(type(self).__name__, x, 1, self.num_features)
        return functional.batch_norm(
            x, self.moving_mean, self.moving_variance, self.gamma, self.beta, self.eps
        )


class BatchNorm1d(BatchNorm2d):
    """:class:`BatchNorm2d` for [batch, channels] and [batch, channels, width]."""

    _ranks = (2, 3)


class LayerNorm(Cell):
    """Zero mean and unit variance over the last axes, then ``gamma`` and ``beta``.

    ``normalized_shape`` are the extents of ``gamma`` and ``beta``: those of the axes from
    ``begin_norm_axis`` on.
    """

    def __init__(
        self,
        normalized_shape: Sequence[int],
        begin_norm_axis: int = -1,
        begin_params_axis: int = -1,
        gamma_init: Start = "ones",
        beta_init: Start = "zeros",
        epsilon: float = 1e-7,
    ) -> None:
        super().__init__()
        shape = tuple(normalized_shape)
        self.begin_norm_axis, self.begin_params_axis = begin_norm_axis, begin_params_axis
        self.epsilon = epsilon
        self.gamma = Parameter(initializer(gamma_init, shape))
        self.beta = Parameter(initializer(beta_init, shape))

    def construct(self, x: Expression) -> Tensor:
        """``x`` normalised."""
        axis = x.type.axis(self.begin_norm_axis)
        if x.type.axis(self.begin_params_axis) != axis:
            raise UnsupportedError(
                f"LayerNorm: begin_norm_axis {self.begin_norm_axis} and begin_params_axis "
                f"{self.begin_params_axis} are different axes of {x.type}"
            )
        return functional.layer_norm(x, self.gamma, self.beta, axis, self.epsilon)


class Embedding(Cell):
    """Rows of ``embedding_table`` [vocab_size, embedding_size] by whole-number ids."""

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        use_one_hot: bool = False,
        embedding_table: Start = "normal",
    ) -> None:
        super().__init__()
        if use_one_hot:
            raise UnsupportedError("Embedding: use_one_hot=True; rows are looked up by index")
        self.vocab_size, self.embedding_size = vocab_size, embedding_size
        self.embedding_table = Parameter(initializer(embedding_table, (vocab_size, embedding_size)))

    def construct(self, ids: Expression) -> Tensor:
        """The rows for ``ids``, along a new last axis."""
        return functional.gather(self.embedding_table, ids, 0)


class Dropout(Cell):
    """Passes everything on, as dropout does outside training.

    ``keep_prob`` is MindSpore 1's setting, ``p`` MindSpore 2's; neither changes anything.
    """

    def __init__(self, keep_prob: float = 0.5, p: float | None = None) -> None:
        super().__init__()
        self.keep_prob, self.p = keep_prob, p

    def construct(self, x: Expression) -> Expression:
        """``x`` itself."""
        return x


class Identity(Cell):
    """Passes everything on."""

    def construct(self, x: Expression) -> Expression:
        """``x`` itself."""
        return x


class Flatten(Cell):
    """All axes after the first made into one."""

    def construct(self, x: Expression) -> Tensor:
        """``x`` as [batch, the rest]."""
        return functional.flatten(x)


class Pad(Cell):
    """``paddings[k]`` = (before, after) elements put around axis ``k``.

    ``mode`` is "CONSTANT" (zeros) or "REFLECT".
    """

    def __init__(self, paddings: Sequence[Sequence[int]], mode: str = "CONSTANT") -> None:
        super().__init__()
        if mode not in ("CONSTANT", "REFLECT"):
            raise UnsupportedError(f"Pad: mode {mode!r}; there are CONSTANT and REFLECT")
        self.paddings, self.mode = tuple(tuple(item) for item in paddings), mode

    def construct(self, x: Expression) -> Tensor:
        """``x`` with its padding."""
        return functional.pad(x, self.paddings, self.mode.lower())


def _check_axis(what: str, x: Expression, axis: int, extent: int) -> None:
    """Raise ModelError when the extent of an axis is known and is another."""
    found: Extent | None = x.shape[axis] if 0 <= axis < x.ndim else None
    if found is None or (isinstance(found, int) and found != extent):
        raise ModelError(f"{what} takes {extent} elements along axis {axis}, not {x.type}")
