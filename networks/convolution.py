"""Convolutions of rows, images and volumes as cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import ModelError, UnsupportedError
from . import functional
from .cell import Cell
from .functional_spatial import Numbers, numbers_for
from .initializers import Start, bias_start, initializer, weight_start
from .parameter import Parameter
from .tensor import Expression, Tensor


class _Convolution(Cell):
    """Cross-correlation; ``weight`` is [out_channels, in_channels / group, kernel...]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        pad_mode: str,
        padding: Numbers,
        dilation: tuple[int, ...],
        group: int,
        has_bias: bool,
        weight_init: Start | None,
        bias_init: Start | None,
        dtype: object,
    ) -> None:
        super().__init__()
        if group < 1 or in_channels % group or out_channels % group:
            what = type(self).__name__
            raise ModelError(f"{what}: {in_channels} and {out_channels} channels in {group} groups")
        self.in_channels, self.out_channels, self.has_bias = in_channels, out_channels, has_bias
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.pad_mode, self.padding, self.group = pad_mode, padding, group
        shape = (out_channels, in_channels // group, *kernel_size)
        self.weight = Parameter(initializer(weight_start(weight_init), shape, dtype))
        start = bias_start(bias_init, shape)
        self.bias = Parameter(initializer(start, (out_channels,), dtype)) if has_bias else None

    def construct(self, x: Expression) -> Tensor:
        """The convolution of [batch, in_channels, extents...]."""
        return functional.conv(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.pad_mode,
            self.padding,
            self.dilation,
            self.group,
        )


class Conv2d(_Convolution):
    """Cross-correlation of images; ``weight`` is [out_channels, in_channels / group, h, w].

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
        data_format: str = "NCHW",
        dtype: object = "float32",
    ) -> None:
        check_layout(type(self).__name__, data_format, "NCHW")
        super().__init__(
            in_channels,
            out_channels,
            numbers_for("kernel_size", kernel_size, 2),
            numbers_for("stride", stride, 2),
            pad_mode,
            padding,
            numbers_for("dilation", dilation, 2),
            group,
            has_bias,
            weight_init,
            bias_init,
            dtype,
        )


class Conv1d(_Convolution):
    """Cross-correlation of rows; ``weight`` is [out_channels, in_channels / group, 1, width].

    ``padding`` is one number, for both ends. An array as ``weight_init`` leaves the 1 out.
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
        dtype: object = "float32",
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            (1, *numbers_for("kernel_size", kernel_size, 1)),
            (1, *numbers_for("stride", stride, 1)),
            pad_mode,
            (0, 0, padding, padding),
            (1, *numbers_for("dilation", dilation, 1)),
            group,
            has_bias,
            weight_of_rows(weight_init),
            bias_init,
            dtype,
        )

    def construct(self, x: Expression) -> Tensor:
        """The convolution of rows [batch, in_channels, width]."""
        if x.ndim != 3:
            raise ModelError(f"Conv1d takes [batch, channels, width], not {x.type}")
        return super().construct(x.expand_dims(2)).squeeze(2)


class Conv3d(_Convolution):
    """Cross-correlation of volumes; ``weight`` is [out_channels, in_channels / group, d, h, w].

    ``padding`` is one number, or (head, tail, top, bottom, left, right).
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
        data_format: str = "NCDHW",
        dtype: object = "float32",
    ) -> None:
        check_layout(type(self).__name__, data_format, "NCDHW")
        super().__init__(
            in_channels,
            out_channels,
            numbers_for("kernel_size", kernel_size, 3),
            numbers_for("stride", stride, 3),
            pad_mode,
            padding,
            numbers_for("dilation", dilation, 3),
            group,
            has_bias,
            weight_init,
            bias_init,
            dtype,
        )


def check_layout(what: str, given: str, wanted: str) -> None:
    """Raise UnsupportedError for another layout; MindSpore too has no other on CPUs."""
    if given != wanted:
        raise UnsupportedError(f"{what}: data_format {given!r}; there is {wanted}")


def weight_of_rows(start: Start | None) -> Start | None:
    """An array of weights [out, in, width] with an axis of height 1, anything else as it is."""
    return start[:, :, None] if isinstance(start, np.ndarray) else start
