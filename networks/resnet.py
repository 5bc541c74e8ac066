"""ResNet (He 2015), as MindSpore's model zoo has it.

Parameters are called as in the zoo's official/cv/resnet: ``conv1.weight``, ``bn1.gamma``,
``layer1.0.conv1.weight``, ``layer1.0.bn1.gamma`` (``bn1d`` and ``bn2d`` in the two-convolution
blocks of ResNet18 and 34), ``layer1.0.down_sample_layer.0.weight``, ``end_point.weight``, ...
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import ModelError, TensorType
from . import layers as nn
from .initializers import HeNormal, HeUniform
from .tensor import Expression, Tensor

_WEIGHT = HeNormal(mode="fan_out", nonlinearity="relu")


def _conv(inputs: int, outputs: int, kernel: int, stride: int, explicit: bool) -> nn.Conv2d:
    """A convolution without bias; ``explicit`` pads both sides alike, else it is "same"."""
    if explicit:
        mode, padding = "pad", kernel // 2
    else:
        mode, padding = "same", 0
    return nn.Conv2d(inputs, outputs, kernel, stride, mode, padding, weight_init=_WEIGHT)


# Scale at the end of a block before training. The zoo begins with 1 and lets batch statistics
# keep the sum of many blocks in bounds; with moving statistics it would grow exponentially.
_LAST = 0.25


def _norm(channels: int, eps: float = 1e-4, gamma: float = 1.0) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=eps, gamma_init=gamma)


class ResidualBlock(nn.Cell):
    """The bottleneck: 1x1, 3x3 (which has the stride), 1x1, added to the shortcut."""

    expansion = 4

    def __init__(self, in_channel: int, out_channel: int, stride: int = 1) -> None:
        super().__init__()
        channel = out_channel // self.expansion
        self.conv1 = _conv(in_channel, channel, 1, 1, False)
        self.bn1 = _norm(channel)
        self.conv2 = _conv(channel, channel, 3, stride, False)
        self.bn2 = _norm(channel)
        self.conv3 = _conv(channel, out_channel, 1, 1, False)
        self.bn3 = _norm(out_channel, gamma=_LAST)
        self.relu = nn.ReLU()
        self.down_sample_layer: nn.Cell | None = None
        if stride != 1 or in_channel != out_channel:
            shortcut = _conv(in_channel, out_channel, 1, stride, False)
            self.down_sample_layer = nn.SequentialCell(shortcut, _norm(out_channel))

    def construct(self, x: Expression) -> Tensor:
        """The block's output for images ``x``."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        identity = x if self.down_sample_layer is None else self.down_sample_layer(x)
        return self.relu(out + identity)  # type: ignore[no-any-return]


class ResidualBlockBase(nn.Cell):
    """The basic block: two 3x3 convolutions with explicit padding, added to the shortcut."""

    expansion = 1

    def __init__(self, in_channel: int, out_channel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv(in_channel, out_channel, 3, stride, True)
        self.bn1d = _norm(out_channel)
        self.conv2 = _conv(out_channel, out_channel, 3, 1, True)
        self.bn2d = _norm(out_channel, gamma=_LAST)
        self.relu = nn.ReLU()
        self.down_sample_layer: nn.Cell | None = None
        if stride != 1 or in_channel != out_channel:
            shortcut = _conv(in_channel, out_channel, 1, stride, True)
            # The zoo gives this one, like the stem, another epsilon than the rest.
            self.down_sample_layer = nn.SequentialCell(shortcut, _norm(out_channel, 1e-5))

    def construct(self, x: Expression) -> Tensor:
        """The block's output for images ``x``."""
        out = self.relu(self.bn1d(self.conv1(x)))
        out = self.bn2d(self.conv2(out))
        identity = x if self.down_sample_layer is None else self.down_sample_layer(x)
        return self.relu(out + identity)  # type: ignore[no-any-return]


class ResNet(nn.Cell):
    """Images [batch, 3, height, width] to logits [batch, num_classes].

    ``layer_nums``, ``in_channels``, ``out_channels`` and ``strides`` describe the four stages.
    Networks of basic blocks pad explicitly (zeros in front of the max pool), those of
    bottlenecks by "same".
    """

    def __init__(
        self,
        block: type[ResidualBlock] | type[ResidualBlockBase],
        layer_nums: Sequence[int],
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
    ) -> None:
        super().__init__()
        if not len(layer_nums) == len(in_channels) == len(out_channels) == len(strides) == 4:
            raise ModelError("ResNet has four stages: four numbers for each setting")
        base = block is ResidualBlockBase
        stem = in_channels[0]
        self.conv1 = _conv(3, stem, 7, 2, base)
        self.bn1 = _norm(stem, 1e-5 if base else 1e-4)
        self.relu = nn.ReLU()
        self.pad = nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1))) if base else None
        self.maxpool = nn.MaxPool2d(3, 2, "valid" if base else "same")
        stages = []
        for count, first, channels, stride in zip(
            layer_nums, in_channels, out_channels, strides, strict=True
        ):
            blocks = [block(first, channels, stride)]
            blocks += [block(channels, channels) for _ in range(1, count)]
            stages.append(nn.SequentialCell(blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.flatten = nn.Flatten()
        start = HeUniform(math.sqrt(5))
        self.end_point = nn.Dense(out_channels[3], num_classes, start, "zeros")

    def construct(self, x: Expression) -> Tensor:
        """The logits of images ``x``."""
        x = self.relu(self.bn1(self.conv1(x)))
        if self.pad is not None:
            x = self.pad(x)
        x = self.maxpool(x)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.end_point(self.flatten(x.mean((2, 3), keep_dims=True)))  # type: ignore[no-any-return]


def _resnet(
    block: type[ResidualBlock] | type[ResidualBlockBase],
    layer_nums: Sequence[int],
    num_classes: int,
    seed: int,
) -> ResNet:
    outputs = [width * block.expansion for width in (64, 128, 256, 512)]
    network = ResNet(block, layer_nums, [64, *outputs[:3]], outputs, [1, 2, 2, 2], num_classes)
    network.init_parameters_data(seed)
    network.set_inputs(TensorType("float32", (1, 3, 224, 224)))
    return network


def resnet18(num_classes: int = 1001, *, seed: int = 0) -> ResNet:
    """ResNet18 with parameters drawn from ``seed``."""
    return _resnet(ResidualBlockBase, (2, 2, 2, 2), num_classes, seed)


def resnet34(num_classes: int = 1001, *, seed: int = 0) -> ResNet:
    """ResNet34 with parameters drawn from ``seed``."""
    return _resnet(ResidualBlockBase, (3, 4, 6, 3), num_classes, seed)


def resnet50(num_classes: int = 1001, *, seed: int = 0) -> ResNet:
    """ResNet50 (the stride on the 3x3 convolution) with parameters drawn from ``seed``."""
    return _resnet(ResidualBlock, (3, 4, 6, 3), num_classes, seed)


def resnet101(num_classes: int = 1001, *, seed: int = 0) -> ResNet:
    """ResNet101 with parameters drawn from ``seed``."""
    return _resnet(ResidualBlock, (3, 4, 23, 3), num_classes, seed)


def resnet152(num_classes: int = 1001, *, seed: int = 0) -> ResNet:
    """ResNet152 with parameters drawn from ``seed``."""
    return _resnet(ResidualBlock, (3, 8, 36, 3), num_classes, seed)
