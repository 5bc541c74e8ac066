"""LeNet (LeCun 1998), as MindSpore's model zoo has it."""

from __future__ import annotations

from ..ir import TensorType
from . import layers as nn
from .initializers import TruncatedNormal
from .tensor import Expression, Tensor


class LeNet5(nn.Cell):
    """Digits [batch, channel, 32, 32] to logits [batch, num_class].

    Parameters are called as in the model zoo (official/cv/lenet): ``conv1.weight``,
    ``conv2.weight``, ``fc1.weight``, ``fc1.bias``, ... The convolutions have no bias.
    """

    def __init__(self, num_class: int = 10, channel: int = 1) -> None:
        super().__init__()
        start = TruncatedNormal(0.02)
        self.conv1 = nn.Conv2d(channel, 6, 5, pad_mode="valid", weight_init=start)
        self.conv2 = nn.Conv2d(6, 16, 5, pad_mode="valid", weight_init=start)
        self.fc1 = nn.Dense(16 * 5 * 5, 120, start, start)
        self.fc2 = nn.Dense(120, 84, start, start)
        self.fc3 = nn.Dense(84, num_class, start, start)
        self.relu = nn.ReLU()
        self.max_pool2d = nn.MaxPool2d(kernel_size=2, stride=2)
        self.flatten = nn.Flatten()

    def construct(self, x: Expression) -> Tensor:
        """The logits of images ``x``."""
        x = self.max_pool2d(self.relu(self.conv1(x)))
        x = self.max_pool2d(self.relu(self.conv2(x)))
        x = self.relu(self.fc1(self.flatten(x)))
        x = self.relu(self.fc2(x))
        return self.fc3(x)  # type: ignore[no-any-return]


def lenet(num_classes: int = 10, *, channels: int = 1, seed: int = 0) -> LeNet5:
    """LeNet with parameters drawn from ``seed``."""
    network = LeNet5(num_classes, channels)
    network.init_parameters_data(seed)
    network.set_inputs(TensorType("float32", (1, channels, 32, 32)))
    return network
