"""VGG16 (Simonyan 2014), as MindSpore's model zoo has it.

Parameters are called as in the zoo's official/cv/vgg16: ``layers.0.weight``,
``layers.2.weight``, ... ``classifier.0.weight``, ``classifier.0.bias``, ``classifier.3``,
``classifier.6``.
"""

from __future__ import annotations

from ..ir import TensorType
from . import layers as nn
from .initializers import HeNormal, Normal
from .tensor import Expression, Tensor

# Channels of the convolutions; None is a max pool.
SETTING: tuple[int | None, ...] = (
    *(64, 64, None),
    *(128, 128, None),
    *(256, 256, 256, None),
    *(512, 512, 512, None),
    *(512, 512, 512, None),
)


class Vgg(nn.Cell):
    """Images [batch, 3, 224, 224] to logits [batch, num_classes]."""

    def __init__(
        self,
        base: tuple[int | None, ...] = SETTING,
        num_classes: int = 1000,
        batch_norm: bool = False,
        pad_mode: str = "pad",
        padding: int = 1,
        has_bias: bool = False,
    ) -> None:
        super().__init__()
        start = HeNormal(mode="fan_out", nonlinearity="relu")
        layers: list[nn.Cell] = []
        channels = 3
        for width in base:
            if width is None:
                layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
                continue
            bias_init = "zeros" if has_bias else None
            layers.append(
                nn.Conv2d(
                    channels,
                    width,
                    3,
                    1,
                    pad_mode,
                    padding,
                    has_bias=has_bias,
                    weight_init=start,
                    bias_init=bias_init,
                )
            )
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        self.layers = nn.SequentialCell(layers)
        self.flatten = nn.Flatten()
        dense = Normal(0.01)
        # Dropout does nothing here, but its place counts in the names of what follows.
        self.classifier = nn.SequentialCell(
            nn.Dense(channels * 7 * 7, 4096, dense, "zeros"),
            nn.ReLU(),
            nn.Dropout(),
            nn.Dense(4096, 4096, dense, "zeros"),
            nn.ReLU(),
            nn.Dropout(),
            nn.Dense(4096, num_classes, dense, "zeros"),
        )

    def construct(self, x: Expression) -> Tensor:
        """The logits of images ``x``."""
        return self.classifier(self.flatten(self.layers(x)))  # type: ignore[no-any-return]


def vgg16(
    num_classes: int = 1000,
    *,
    batch_norm: bool = False,
    pad_mode: str = "pad",
    padding: int = 1,
    has_bias: bool = False,
    seed: int = 0,
) -> Vgg:
    """VGG16 with parameters drawn from ``seed``.

    The defaults are the zoo's for ImageNet; its networks for CIFAR-10 have ``batch_norm`` and
    ``pad_mode="same", padding=0``.
    """
    network = Vgg(SETTING, num_classes, batch_norm, pad_mode, padding, has_bias)
    network.init_parameters_data(seed)
    network.set_inputs(TensorType("float32", (1, 3, 224, 224)))
    return network
