"""Activation functions as cells."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import ModelError
from . import functional
from .cell import Cell
from .initializers import Initializer, initializer
from .parameter import Parameter
from .tensor import Expression, Tensor


class ReLU(Cell):
    """The larger of each element and 0."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.relu(x)


class ReLU6(Cell):
    """Each element moved into 0 to 6."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.relu6(x)


class LeakyReLU(Cell):
    """Each element, times ``alpha`` where it is negative."""

    def __init__(self, alpha: float = 0.2) -> None:
        super().__init__()
        self.alpha = alpha

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.leaky_relu(x, self.alpha)


class PReLU(Cell):
    """Each element, times the parameter ``w`` (one, or one a channel) where it is negative."""

    def __init__(self, channel: int = 1, w: float | Initializer = 0.25) -> None:
        super().__init__()
        self.w = Parameter(initializer(w, (channel,)))

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.prelu(x, self.w)


class ELU(Cell):
    """``x``, or ``alpha * (exp(x) - 1)`` where it is negative."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.elu(x, self.alpha)


class GELU(Cell):
    """The Gaussian error linear unit; its tanh form with ``approximate``, MindSpore's default."""

    def __init__(self, approximate: bool = True) -> None:
        super().__init__()
        self.approximate = approximate

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.gelu(x, "tanh" if self.approximate else "none")


class SiLU(Cell):
    """``x * sigmoid(x)``."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.silu(x)


class Mish(Cell):
    """``x * tanh(log(1 + exp(x)))``."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.mish(x)


class Sigmoid(Cell):
    """``1 / (1 + exp(-x))``."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.sigmoid(x)


class HSigmoid(Cell):
    """``relu6(x + 3) / 6``."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.hardsigmoid(x)


class HSwish(Cell):
    """``x * relu6(x + 3) / 6``."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.hardswish(x)


class Tanh(Cell):
    """The hyperbolic tangent."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.tanh(x)


class Softmax(Cell):
    """``exp(x)`` divided by its sum along ``axis``."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.softmax(x, self.axis)


class LogSoftmax(Cell):
    """The logarithm of the softmax along ``axis``."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.log_softmax(x, self.axis)


_NAMES: dict[str, Callable[[], Cell]] = {
    "softmax": Softmax,
    "logsoftmax": LogSoftmax,
    "relu": ReLU,
    "relu6": ReLU6,
    "tanh": Tanh,
    "gelu": GELU,
    "elu": ELU,
    "sigmoid": Sigmoid,
    "prelu": PReLU,
    "leakyrelu": LeakyReLU,
    "hswish": HSwish,
    "hsigmoid": HSigmoid,
    "silu": SiLU,
    "mish": Mish,
}


def get_activation(name: str) -> Cell:
    """The activation that MindSpore calls ``name``, as ``Dense(activation=...)`` takes it."""
    if name.lower() not in _NAMES:
        raise ModelError(f"there is no activation {name!r}; there are: {', '.join(_NAMES)}")
    return _NAMES[name.lower()]()
