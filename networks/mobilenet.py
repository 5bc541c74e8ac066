"""MobileNetV2 (Sandler 2018), as MindSpore's model zoo has it.

Parameters are called as in the zoo's official/cv/mobilenetv2: ``features.0.features.0.weight``
for the first convolution, ``features.1.conv.0.features.0.weight`` in the blocks, and
``head.1.weight``: backbone and head are combined without a prefix.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import ModelError, TensorType
from . import functional
from . import layers as nn
from .initializers import HeNormal, Normal
from .tensor import Expression, Tensor

# Expansion, output channels, repetitions and first stride of the blocks.
SETTING = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def make_divisible(channels: float, divisor: int) -> int:
    """The multiple of ``divisor`` nearest to ``channels``, but hardly ever 10 % below it."""
    found = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * channels else found


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, group: int = 1) -> nn.Conv2d:
    # The zoo scales by all outputs' taps and lets training's batch statistics make up for it;
    # with moving statistics depthwise convolutions would let everything fade away.
    start = HeNormal(nonlinearity="relu")
    return nn.Conv2d(
        inputs, outputs, kernel, stride, "pad", kernel // 2, group=group, weight_init=start
    )


class ConvBNReLU(nn.Cell):
    """Convolution, batch normalisation, ReLU6; ``groups`` of 1 or one a channel."""

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.features = nn.SequentialCell(
            _conv(in_planes, out_planes, kernel_size, stride, groups),
            nn.BatchNorm2d(out_planes),
            nn.ReLU6(),
        )

    def construct(self, x: Expression) -> Tensor:
        """The layer's output for images ``x``."""
        return self.features(x)  # type: ignore[no-any-return]


class InvertedResidual(nn.Cell):
    """Expand by 1x1, filter each channel by 3x3, project by 1x1 without an activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand_ratio: int) -> None:
        super().__init__()
        hidden = round(inputs * expand_ratio)
        self.use_res_connect = stride == 1 and inputs == outputs
        layers: list[nn.Cell] = []
        if expand_ratio != 1:
            layers.append(ConvBNReLU(inputs, hidden, kernel_size=1))
        layers.append(ConvBNReLU(hidden, hidden, stride=stride, groups=hidden))
        layers += [_conv(hidden, outputs, 1), nn.BatchNorm2d(outputs)]
        self.conv = nn.SequentialCell(layers)

    def construct(self, x: Expression) -> Tensor:
        """The block's output for images ``x``."""
        found = self.conv(x)
        return x + found if self.use_res_connect else found  # type: ignore[no-any-return]


class MobileNetV2Backbone(nn.Cell):
    """Images [batch, 3, height, width] to features [batch, out_channels, height/32, width/32]."""

    def __init__(
        self,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] = SETTING,
        round_nearest: int = 8,
        input_channel: int = 32,
        last_channel: int = 1280,
    ) -> None:
        super().__init__()
        channels = make_divisible(input_channel * width_mult, round_nearest)
        self.out_channels = make_divisible(last_channel * max(1.0, width_mult), round_nearest)
        features: list[nn.Cell] = [ConvBNReLU(3, channels, stride=2)]
        for expansion, width, count, stride in inverted_residual_setting:
            outputs = make_divisible(width * width_mult, round_nearest)
            for place in range(count):
                step = stride if place == 0 else 1
                features.append(InvertedResidual(channels, outputs, step, expansion))
                channels = outputs
        features.append(ConvBNReLU(channels, self.out_channels, kernel_size=1))
        self.features = nn.SequentialCell(features)

    def construct(self, x: Expression) -> Tensor:
        """The features of images ``x``."""
        return self.features(x)  # type: ignore[no-any-return]


class GlobalAvgPooling(nn.Cell):
    """The mean of each channel."""

    def construct(self, x: Expression) -> Tensor:
        """[batch, channels] for images ``x``."""
        return x.mean((2, 3))


class MobileNetV2Head(nn.Cell):
    """Features to scores [batch, num_classes], through ``activation``.

    ``activation`` is "Softmax", as the zoo exports the network, "Sigmoid" or "None".
    """

    def __init__(
        self,
        input_channel: int = 1280,
        num_classes: int = 1000,
        has_dropout: bool = False,
        activation: str = "None",
    ) -> None:
        super().__init__()
        if activation not in ("None", "Sigmoid", "Softmax"):
            raise ModelError(f"activation {activation!r} is none of None, Sigmoid, Softmax")
        dense = nn.Dense(input_channel, num_classes, Normal(0.01), "zeros")
        between = [nn.Dropout(0.2)] if has_dropout else []
        self.head = nn.SequentialCell([GlobalAvgPooling(), *between, dense])
        self.activation_name = activation

    def construct(self, x: Expression) -> Tensor:
        """The scores for features ``x``."""
        found: Tensor = self.head(x)
        if self.activation_name == "Softmax":
            return functional.softmax(found)
        return functional.sigmoid(found) if self.activation_name == "Sigmoid" else found


class MobileNetV2Combine(nn.Cell):
    """Backbone and head, whose parameters keep their names."""

    def __init__(self, backbone: nn.Cell, head: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.backbone = backbone
        self.head = head

    def construct(self, x: Expression) -> Tensor:
        """The scores for images ``x``."""
        return self.head(self.backbone(x))  # type: ignore[no-any-return]


def mobilenet_v2(
    num_classes: int = 1000,
    *,
    width_mult: float = 1.0,
    has_dropout: bool = False,
    activation: str = "Softmax",
    seed: int = 0,
) -> MobileNetV2Combine:
    """MobileNetV2 with parameters drawn from ``seed``.

    ``has_dropout`` moves the classifier to ``head.2``, as in networks trained with it.
    """
    backbone = MobileNetV2Backbone(width_mult)
    head = MobileNetV2Head(backbone.out_channels, num_classes, has_dropout, activation)
    network = MobileNetV2Combine(backbone, head)
    network.init_parameters_data(seed)
    network.set_inputs(TensorType("float32", (1, 3, 224, 224)))
    return network
