"""Transposed convolutions of rows, images and volumes as cells."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Extent, ModelError, UnsupportedError
from ..ops.convolution_transpose import convolution_transpose
from . import functional
from .cell import Cell
from .convolution import check_layout, weight_of_rows
from .functional_spatial import Numbers, numbers_for
from .initializers import Start, bias_start, initializer, weight_start
from .parameter import Parameter
from .tensor import Expression, Tensor, apply


class _Transposed(Cell):
    """The gradient of a convolution; ``weight`` is [in_channels, out_channels / group, kernel...].

    ``pad_mode`` "same" gives ``extent * stride`` outputs, "valid" as many as there are for a
    kernel that is not smaller than the stride, ``(extent - 1) * stride + reach``, and
    ``extent * stride`` otherwise; "pad" cuts ``padding`` off: one number, or two an axis.
    ``output_padding`` appends positions, with "pad" only.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        pad_mode: str,
        padding: Numbers,
        output_padding: Numbers,
        dilation: tuple[int, ...],
        group: int,
        has_bias: bool,
        weight_init: Start | None,
        bias_init: Start | None,
        dtype: object,
    ) -> None:
        super().__init__()
        what, count = type(self).__name__, len(kernel_size)
        if group < 1 or in_channels % group or out_channels % group:
            raise ModelError(f"{what}: {in_channels} and {out_channels} channels in {group} groups")
        self.in_channels, self.out_channels, self.has_bias = in_channels, out_channels, has_bias
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.pad_mode, self.group = pad_mode.lower(), group
        if self.pad_mode not in ("same", "valid", "pad"):
            raise ModelError(f"{what}: pad_mode {pad_mode!r} is none of same, valid, pad")
        self.padding = numbers_for(f"{what}: padding", padding, 2 * count, 0)
        self.output_padding = numbers_for(f"{what}: output_padding", output_padding, count, 0)
        if self.pad_mode != "pad" and any((*self.padding, *self.output_padding)):
            raise UnsupportedError(f"{what}: padding needs pad_mode='pad'")
        shape = (in_channels, out_channels // group, *kernel_size)
        self.weight = Parameter(initializer(weight_start(weight_init), shape, dtype))
        start = bias_start(bias_init, shape)
        self.bias = Parameter(initializer(start, (out_channels,), dtype)) if has_bias else None

    def construct(self, x: Expression) -> Tensor:
        """The transposed convolution of [batch, in_channels, extents...]."""
        return self._transposed(x, self.output_padding)

    def _transposed(self, x: Expression, output_padding: tuple[int, ...]) -> Tensor:
        if x.ndim != len(self.kernel_size) + 2:
            raise ModelError(f"{type(self).__name__} does not take {x.type}")
        begin: list[Extent] = []
        end: list[Extent] = []
        for axis, kernel in enumerate(self.kernel_size):
            span = self.dilation[axis] * (kernel - 1) + 1 - self.stride[axis]
            if self.pad_mode == "pad":
                first, last = self.padding[2 * axis : 2 * axis + 2]
            elif self.pad_mode == "same":
                first = max(span, 0) // 2
                last = span - first  # negative where the kernel is smaller than the stride
            else:
                first, last = 0, min(span, 0)
            begin.append(first)
            end.append(last)
        return apply(
            convolution_transpose,
            x,
            self.weight,
            self.bias,
            strides=self.stride,
            dilations=self.dilation,
            pads_begin=tuple(begin),
            pads_end=tuple(end),
            output_padding=output_padding,
            groups=self.group,
        )


class Conv2dTranspose(_Transposed):
    """The gradient of a convolution of images; ``weight`` is [in, out / group, h, w].

    ``pad_mode`` "same" gives ``extent * stride`` outputs, "valid" ``(extent - 1) * stride +
    reach`` (at least ``extent * stride``); "pad" cuts ``padding`` off: one number, or (top,
    bottom, left, right). ``output_padding`` appends zeros, as in MindSpore, with "pad" only.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        pad_mode: str = "same",
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        group: int = 1,
        has_bias: bool = False,
        weight_init: Start | None = None,
        bias_init: Start | None = None,
        dtype: object = "float32",
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            numbers_for("kernel_size", kernel_size, 2),
            numbers_for("stride", stride, 2),
            pad_mode,
            padding,
            output_padding,
            numbers_for("dilation", dilation, 2),
            group,
            has_bias,
            weight_init,
            bias_init,
            dtype,
        )

    def construct(self, x: Expression) -> Tensor:
        """The transposed convolution of images [batch, in_channels, height, width]."""
        found = self._transposed(x, (0, 0))
        height, width = self.output_padding
        if not height and not width:
            return found
        return functional.pad(found, (0, width, 0, height))


class Conv1dTranspose(_Transposed):
    """The gradient of a convolution of rows; ``weight`` is [in, out / group, 1, width]."""

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
            0,
            (1, *numbers_for("dilation", dilation, 1)),
            group,
            has_bias,
            weight_of_rows(weight_init),
            bias_init,
            dtype,
        )

    def construct(self, x: Expression) -> Tensor:
        """The transposed convolution of rows [batch, in_channels, width]."""
        if x.ndim != 3:
            raise ModelError(f"Conv1dTranspose takes [batch, channels, width], not {x.type}")
        return super().construct(x.expand_dims(2)).squeeze(2)


class Conv3dTranspose(_Transposed):
    """The gradient of a convolution of volumes; ``weight`` is [in, out / group, d, h, w].

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
        output_padding: int | Sequence[int] = 0,
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
            output_padding,
            numbers_for("dilation", dilation, 3),
            group,
            has_bias,
            weight_init,
            bias_init,
            dtype,
        )
