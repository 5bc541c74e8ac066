"""U-Net (Ronneberger 2015), as MindSpore's model zoo has it, twice.

``unet_medical`` is the paper's: unpadded convolutions with bias, 572 x 572 pixels to 388 x 388;
parameters are called as in the zoo's official/cv/Unet (src/unet_medical):
``inc.double_conv.0.weight``, ``down1.maxpool_conv.1.double_conv.0.weight``, ``up1.up.weight``,
``up1.conv.double_conv.2.bias``, ``outc.conv.weight``. ``unet`` keeps the size of the image and
normalises on the way down; its parameters are those of src/unet_nested:
``conv0.convs.0.0.weight``, ``conv0.convs.0.1.gamma``, ``up_concat1.up_conv.weight``,
``up_concat1.conv.convs.0.0.weight``, ``final.weight``. Both give one score a class and pixel.
"""

from __future__ import annotations

from ..ir import ModelError, TensorType
from . import functional
from . import layers as nn
from .initializers import TruncatedNormal
from .tensor import Expression, Tensor

_WIDTHS = (64, 128, 256, 512, 1024)
_START = TruncatedNormal(0.06)


class DoubleConv(nn.Cell):
    """Two unpadded 3x3 convolutions, each with bias and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.double_conv = nn.SequentialCell(
            nn.Conv2d(in_channels, out_channels, 3, 1, "valid", 0, 1, 1, True, _START, "zeros"),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, 1, "valid", 0, 1, 1, True, _START, "zeros"),
            nn.ReLU(),
        )

    def construct(self, x: Expression) -> Tensor:
        """Maps that are four pixels smaller."""
        return self.double_conv(x)  # type: ignore[no-any-return]


class Down(nn.Cell):
    """A pool that halves the map, then :class:`DoubleConv`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.SequentialCell(
            nn.MaxPool2d(kernel_size=2, stride=2), DoubleConv(in_channels, out_channels)
        )

    def construct(self, x: Expression) -> Tensor:
        """The maps of the next level."""
        return self.maxpool_conv(x)  # type: ignore[no-any-return]


class Up(nn.Cell):
    """A map made twice as large, beside the middle of the one from the way down."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = DoubleConv(in_channels, out_channels)
        self.up = nn.Conv2dTranspose(
            in_channels, in_channels // 2, kernel_size=2, stride=2, weight_init="normal"
        )
        self.relu = nn.ReLU()

    def construct(self, deeper: Expression, beside: Expression) -> Tensor:
        """The maps of the level above."""
        x: Tensor = self.relu(self.up(deeper))
        rows, columns = (
            slice((wide - size) // 2, (wide - size) // 2 + size)
            for wide, size in zip(beside.shape[2:], x.shape[2:], strict=True)
        )
        joined = functional.concat((x, beside[:, :, rows, columns]), 1)
        return self.conv(joined)  # type: ignore[no-any-return]


class OutConv(nn.Cell):
    """Scores from the last maps."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, 1, has_bias=True, weight_init=_START, bias_init="zeros"
        )

    def construct(self, x: Expression) -> Tensor:
        """One score a class and pixel."""
        return self.conv(x)  # type: ignore[no-any-return]


class UNetMedical(nn.Cell):
    """Images [batch, n_channels, 572, 572] to scores [batch, n_classes, 388, 388].

    Other sizes fit where every map on the way down has an even size.
    """

    def __init__(self, n_channels: int = 1, n_classes: int = 2) -> None:
        super().__init__()
        self.inc = DoubleConv(n_channels, 64)
        self.down1, self.down2 = Down(64, 128), Down(128, 256)
        self.down3, self.down4 = Down(256, 512), Down(512, 1024)
        self.up1, self.up2 = Up(1024, 512), Up(512, 256)
        self.up3, self.up4 = Up(256, 128), Up(128, 64)
        self.outc = OutConv(64, n_classes)

    def construct(self, x: Expression) -> Tensor:
        """The scores of images ``x``."""
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        found = self.up1(self.down4(x4), x4)
        found = self.up2(found, x3)
        found = self.up3(found, x2)
        return self.outc(self.up4(found, x1))  # type: ignore[no-any-return]


class UnetConv2d(nn.Cell):
    """Two 3x3 convolutions that keep the size, each with ReLU and, if wanted, normalised."""

    def __init__(self, in_channel: int, out_channel: int, use_bn: bool = True) -> None:
        super().__init__()
        self.convs = nn.SequentialCell(
            nn.SequentialCell(
                nn.Conv2d(channels, out_channel, 3),
                *([nn.BatchNorm2d(out_channel)] if use_bn else []),
                nn.ReLU(),
            )
            for channels in (in_channel, out_channel)
        )

    def construct(self, x: Expression) -> Tensor:
        """Maps of the same size."""
        return self.convs(x)  # type: ignore[no-any-return]


class UnetUp(nn.Cell):
    """A map made twice as large, beside the one from the way down."""

    def __init__(self, in_channel: int, out_channel: int) -> None:
        super().__init__()
        self.conv = UnetConv2d(in_channel, out_channel, False)
        self.up_conv = nn.Conv2dTranspose(in_channel, out_channel, 2, 2, "same")

    def construct(self, high_feature: Expression, low_feature: Expression) -> Tensor:
        """The maps of the level above."""
        joined = functional.concat((self.up_conv(high_feature), low_feature), 1)
        return self.conv(joined)  # type: ignore[no-any-return]


class UNet(nn.Cell):
    """Images [batch, in_channel, height, width] to scores [batch, n_class, height, width].

    Height and width are multiples of 16. ``feature_scale`` divides the widths 64 to 1024.
    """

    def __init__(
        self, in_channel: int = 1, n_class: int = 2, feature_scale: int = 2, use_bn: bool = True
    ) -> None:
        super().__init__()
        if feature_scale < 1 or _WIDTHS[0] % feature_scale:
            raise ModelError(f"UNet: 64 channels do not divide by {feature_scale}")
        widths = [width // feature_scale for width in _WIDTHS]
        self.maxpool = nn.MaxPool2d(kernel_size=2, stride=2, pad_mode="same")
        self.conv0 = UnetConv2d(in_channel, widths[0], use_bn)
        self.conv1 = UnetConv2d(widths[0], widths[1], use_bn)
        self.conv2 = UnetConv2d(widths[1], widths[2], use_bn)
        self.conv3 = UnetConv2d(widths[2], widths[3], use_bn)
        self.conv4 = UnetConv2d(widths[3], widths[4], use_bn)
        self.up_concat1 = UnetUp(widths[1], widths[0])
        self.up_concat2 = UnetUp(widths[2], widths[1])
        self.up_concat3 = UnetUp(widths[3], widths[2])
        self.up_concat4 = UnetUp(widths[4], widths[3])
        self.final = nn.Conv2d(widths[0], n_class, 1, weight_init="normal")

    def construct(self, inputs: Expression) -> Tensor:
        """The scores of images."""
        x0 = self.conv0(inputs)
        x1 = self.conv1(self.maxpool(x0))
        x2 = self.conv2(self.maxpool(x1))
        x3 = self.conv3(self.maxpool(x2))
        found = self.up_concat4(self.conv4(self.maxpool(x3)), x3)
        found = self.up_concat3(found, x2)
        found = self.up_concat2(found, x1)
        return self.final(self.up_concat1(found, x0))  # type: ignore[no-any-return]


def unet_medical(num_classes: int = 2, *, channels: int = 1, seed: int = 0) -> UNetMedical:
    """The paper's U-Net with parameters drawn from ``seed``."""
    network = UNetMedical(channels, num_classes)
    network.init_parameters_data(seed)
    network.set_inputs(TensorType("float32", (1, channels, 572, 572)))
    return network


def unet(
    num_classes: int = 2,
    *,
    channels: int = 1,
    feature_scale: int = 1,
    use_bn: bool = True,
    seed: int = 0,
) -> UNet:
    """The U-Net that keeps the image's size, with parameters drawn from ``seed``.

    It has the paper's widths; the zoo's configuration for cell nuclei has ``feature_scale=2``.
    """
    network = UNet(channels, num_classes, feature_scale, use_bn)
    network.init_parameters_data(seed)
    network.set_inputs(TensorType("float32", (1, channels, 256, 256)))
    return network
