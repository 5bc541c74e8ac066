"""Pools of rows, images and volumes as cells."""

from __future__ import annotations

from ..ir import ModelError, Op, UnsupportedError
from ..ops.elementwise_arithmetic import abs_, pow_, sign
from ..ops.max_pool import max_pool
from ..ops.pool import average_pool
from . import functional
from .cell import Cell
from .convolution import check_layout
from .functional_spatial import Numbers, numbers_for, pool
from .tensor import Expression, Tensor, apply, binary


class _Pool(Cell):
    """Windows along the last ``_count`` axes; the batch's axis may be missing.

    ``pad_mode`` "same" gives ``ceil(extent / stride)`` outputs, "valid" pads nothing, "pad" pads
    both ends of an axis by ``padding``: one number, or one an axis.
    """

    _count: int
    _op: Op

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers,
        pad_mode: str,
        padding: Numbers,
        ceil_mode: bool,
        dilation: Numbers = 1,
    ) -> None:
        super().__init__()
        what = type(self).__name__
        if pad_mode.lower() not in ("same", "valid", "pad"):
            raise ModelError(f"{what}: pad_mode {pad_mode!r} is none of same, valid, pad")
        self.kernel_size = numbers_for(f"{what}: kernel_size", kernel_size, self._count)
        self.stride = numbers_for(f"{what}: stride", stride, self._count)
        self.dilation = numbers_for(f"{what}: dilation", dilation, self._count)
        self.padding = numbers_for(f"{what}: padding", padding, self._count, 0)
        self.pad_mode, self.ceil_mode = pad_mode.lower(), ceil_mode
        if self.pad_mode != "pad" and any(self.padding):
            raise ModelError(f"{what}: padding {padding!r} needs pad_mode='pad', not {pad_mode!r}")

    def construct(self, x: Expression) -> Tensor:
        """The pooled ``x``."""
        sides = tuple(side for side in self.padding for _ in range(2))
        return pool(
            self._op,
            x,
            self._count,
            self.kernel_size,
            self.stride,
            self.pad_mode,
            sides,
            self.dilation,
            ceil_mode=self.ceil_mode,
            **self._options(),
        )

    def _options(self) -> dict[str, bool]:
        return {}


class _MaxPool(_Pool):
    _op = max_pool

    def __init__(
        self,
        kernel_size: Numbers = 1,
        stride: Numbers = 1,
        pad_mode: str = "valid",
        padding: Numbers = 0,
        dilation: Numbers = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        if return_indices:
            raise UnsupportedError(f"{type(self).__name__}: return_indices")
        super().__init__(kernel_size, stride, pad_mode, padding, ceil_mode, dilation)


class MaxPool1d(_MaxPool):
    """The maximum of each window of rows; "pad" pads both ends by ``padding``, never a maximum."""

    _count = 1


class MaxPool2d(_MaxPool):
    """The maximum of each window of images.

    ``pad_mode`` "pad" pads by ``padding``, one number or (vertical, horizontal), which never is
    a maximum.
    """

    _count = 2

    def __init__(
        self,
        kernel_size: Numbers = 1,
        stride: Numbers = 1,
        pad_mode: str = "valid",
        padding: Numbers = 0,
        dilation: Numbers = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        data_format: str = "NCHW",
    ) -> None:
        check_layout("MaxPool2d", data_format, "NCHW")
        options = (dilation, return_indices, ceil_mode)
        super().__init__(kernel_size, stride, pad_mode, padding, *options)


class MaxPool3d(_MaxPool):
    """The maximum of each window of volumes; ``padding`` is one number, or one an axis."""

    _count = 3


class _AvgPool(_Pool):
    _op = average_pool

    def __init__(
        self,
        kernel_size: Numbers = 1,
        stride: Numbers = 1,
        pad_mode: str = "valid",
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, pad_mode, padding, ceil_mode)
        if divisor_override is not None and divisor_override < 1:
            raise ModelError(f"{type(self).__name__}: divisor_override {divisor_override}")
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def _options(self) -> dict[str, bool]:
        # MindSpore takes another operator for volumes and for rounding up, which counts zeros.
        counts = self.pad_mode == "pad" or self._count == 3 or self.ceil_mode
        return {"count_include_pad": self.count_include_pad and counts}

    def construct(self, x: Expression) -> Tensor:
        """The pooled ``x``."""
        if self.divisor_override is None:
            return super().construct(x)
        if self.pad_mode == "same" or self.ceil_mode:
            raise UnsupportedError(
                f"{type(self).__name__}: divisor_override with ceil_mode or pad_mode 'same'"
            )
        # Sums: the means of whole windows, padding among them, times how many elements they have.
        taps = 1
        for taken in self.kernel_size:
            taps *= taken
        sides = tuple(side for side in self.padding for _ in range(2))
        means = pool(
            self._op,
            x,
            self._count,
            self.kernel_size,
            self.stride,
            self.pad_mode,
            sides,
            count_include_pad=True,
        )
        return means * (taps / self.divisor_override)


class AvgPool1d(_AvgPool):
    """The mean of each window of rows; the padding of "same" is not counted."""

    _count = 1

    def __init__(
        self,
        kernel_size: Numbers = 1,
        stride: Numbers = 1,
        pad_mode: str = "valid",
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, pad_mode, padding, ceil_mode, count_include_pad)


class AvgPool2d(_AvgPool):
    """The mean of each window of images; the padding of "same" is not counted."""

    _count = 2

    def __init__(
        self,
        kernel_size: Numbers = 1,
        stride: Numbers = 1,
        pad_mode: str = "valid",
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        data_format: str = "NCHW",
    ) -> None:
        check_layout("AvgPool2d", data_format, "NCHW")
        options = (ceil_mode, count_include_pad, divisor_override)
        super().__init__(kernel_size, stride, pad_mode, padding, *options)


class AvgPool3d(_AvgPool):
    """The mean of each window of volumes; padding is counted, also that of "same"."""

    _count = 3


class _AdaptiveAvgPool(Cell):
    """Means of ``output_size`` windows along each axis; None keeps an axis as it is."""

    _count: int

    def __init__(self, output_size: int | tuple[int | None, ...] | None) -> None:
        super().__init__()
        self.output_size = output_size

    def construct(self, x: Expression) -> Tensor:
        """The pooled ``x``."""
        return functional.adaptive_avg_pool(x, self.output_size, self._count)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means of ``output_size`` windows of rows."""

    _count = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means of ``output_size`` windows along height and width; None keeps an axis as it is."""

    _count = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Means of ``output_size`` windows along three axes; None keeps an axis as it is."""

    _count = 3


class _AdaptiveMaxPool(Cell):
    """Maxima of ``output_size`` windows along each axis; None keeps an axis as it is."""

    _count: int

    def __init__(
        self, output_size: int | tuple[int | None, ...] | None, return_indices: bool = False
    ) -> None:
        super().__init__()
        if return_indices:
            raise UnsupportedError(f"{type(self).__name__}: return_indices")
        self.output_size = output_size

    def construct(self, x: Expression) -> Tensor:
        """The pooled ``x``."""
        return functional.adaptive_max_pool(x, self.output_size, self._count)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maxima of ``output_size`` windows of rows."""

    _count = 1

    def __init__(self, output_size: int) -> None:
        super().__init__(output_size)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maxima of ``output_size`` windows along height and width; None keeps an axis as it is."""

    _count = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maxima of ``output_size`` windows along three axes; None keeps an axis as it is."""

    _count = 3


class _LPPool(Cell):
    """The root of order ``norm_type`` of each window's sum of powers.

    As in MindSpore, powers keep their sign: the sum of an odd power may be negative.
    """

    _count: int

    def __init__(
        self,
        norm_type: float,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        if norm_type == 0:
            raise ModelError(f"{type(self).__name__}: norm_type 0")
        self.norm_type, self.ceil_mode = float(norm_type), ceil_mode
        self.kernel_size = numbers_for("kernel_size", kernel_size, self._count)
        given = self.kernel_size if stride is None else stride
        self.stride = numbers_for("stride", given, self._count)

    def construct(self, x: Expression) -> Tensor:
        """The pooled ``x``."""
        powers = binary(pow_, x, self.norm_type)
        options = (self._count, self.kernel_size, self.stride)
        means = pool(average_pool, powers, *options, ceil_mode=self.ceil_mode)
        taps = 1
        for taken in self.kernel_size:
            taps *= taken
        sums = apply(sign, means) * functional.relu(apply(abs_, means)) * float(taps)
        return binary(pow_, sums, 1.0 / self.norm_type)


class LPPool1d(_LPPool):
    """The root of order ``norm_type`` of the sum of powers of each window of rows."""

    _count = 1


class LPPool2d(_LPPool):
    """The root of order ``norm_type`` of the sum of powers of each window of images."""

    _count = 2
