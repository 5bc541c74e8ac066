"""Pools of images as cells."""

from __future__ import annotations

from collections.abc import Sequence

from . import functional
from .cell import Cell
from .tensor import Expression, Tensor


class MaxPool2d(Cell):
    """The maximum of each window; ``pad_mode`` and ``padding`` as for :class:`Conv2d`."""

    def __init__(
        self,
        kernel_size: int | Sequence[int] = 1,
        stride: int | Sequence[int] = 1,
        pad_mode: str = "valid",
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = functional.pair("kernel_size", kernel_size)
        self.stride = functional.pair("stride", stride)
        self.dilation = functional.pair("dilation", dilation)
        self.pad_mode, self.padding, self.ceil_mode = pad_mode, padding, ceil_mode

    def construct(self, x: Expression) -> Tensor:
        """The pooled images."""
        return functional.max_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.pad_mode,
            self.padding,
            self.dilation,
            self.ceil_mode,
        )


class AvgPool2d(Cell):
    """The mean of each window; the padding of ``pad_mode`` "same" is not counted."""

    def __init__(
        self,
        kernel_size: int | Sequence[int] = 1,
        stride: int | Sequence[int] = 1,
        pad_mode: str = "valid",
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = functional.pair("kernel_size", kernel_size)
        self.stride = functional.pair("stride", stride)
        self.pad_mode, self.padding = pad_mode, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def construct(self, x: Expression) -> Tensor:
        """The pooled images."""
        return functional.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.pad_mode,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )
