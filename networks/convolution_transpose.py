"""The transposed convolution of images as a cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import Array, ModelError, UnsupportedError
from ..ops.convolution_transpose import convolution_transpose
from . import functional
from .cell import Cell
from .initializers import HeUniform, Initializer, Uniform, fans, initializer
from .parameter import Parameter
from .tensor import Expression, Tensor, apply


class Conv2dTranspose(Cell):
    """The gradient of a convolution; ``weight`` is [in_channels, out_channels / group, h, w].

    ``pad_mode`` "same" gives ``extent * stride`` outputs, "valid" as many as there are for a
    kernel that is not smaller than the stride, ``(extent - 1) * stride + reach``, and
    ``extent * stride`` otherwise; "pad" cuts ``padding`` off: one number, or (top, bottom, left,
    right). ``output_padding`` appends positions, with "pad" only.
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
        weight_init: Initializer | str | float | Array | None = None,
        bias_init: Initializer | str | float | Array | None = None,
    ) -> None:
        super().__init__()
        if group < 1 or in_channels % group or out_channels % group:
            raise ModelError(
                f"Conv2dTranspose: {in_channels} and {out_channels} channels in {group} groups"
            )
        self.in_channels, self.out_channels, self.has_bias = in_channels, out_channels, has_bias
        self.kernel_size = functional.pair("kernel_size", kernel_size)
        self.stride = functional.pair("stride", stride)
        self.dilation = functional.pair("dilation", dilation)
        self.pad_mode, self.group = pad_mode.lower(), group
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        more = output_padding
        self.output_padding = (more, more) if isinstance(more, int) else tuple(more)
        self._check_padding()
        shape = (in_channels, out_channels // group, *self.kernel_size)
        start = HeUniform(math.sqrt(5)) if weight_init is None else weight_init
        self.weight = Parameter(initializer(start, shape))
        if bias_init is None:
            bias_init = Uniform(1.0 / math.sqrt(fans(shape)[0]))
        self.bias = Parameter(initializer(bias_init, (out_channels,))) if has_bias else None

    def _check_padding(self) -> None:
        if self.pad_mode not in ("same", "valid", "pad"):
            raise ModelError(
                f"Conv2dTranspose: pad_mode {self.pad_mode!r} is none of same, valid, pad"
            )
        sides = (*self.padding, *self.output_padding)
        if len(self.padding) != 4 or len(self.output_padding) != 2 or min(sides) < 0:
            raise ModelError(
                f"Conv2dTranspose: padding {self.padding} is neither a number nor four of them, "
                f"or output_padding {self.output_padding} neither a number nor two"
            )
        if self.pad_mode != "pad" and any(sides):
            raise UnsupportedError("Conv2dTranspose: padding needs pad_mode='pad'")

    def construct(self, x: Expression) -> Tensor:
        """The transposed convolution of images [batch, in_channels, height, width]."""
        if x.ndim != 4:
            raise ModelError(
                f"Conv2dTranspose takes [batch, channels, height, width], not {x.type}"
            )
        begin, end = [], []
        for axis in range(2):
            span = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1 - self.stride[axis]
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
            output_padding=self.output_padding,
            groups=self.group,
        )
