"""Activation functions as cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..ir import Array, ModelError, UnsupportedError
from ..ops.normalization import lrn
from . import functional
from .cell import Cell
from .initializers import Initializer, initializer
from .parameter import Parameter
from .tensor import Expression, Tensor, apply


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

    def __init__(
        self, channel: int = 1, w: float | Sequence[float] | Initializer | Array = 0.25
    ) -> None:
        super().__init__()
        start = np.asarray(w, np.float32) if isinstance(w, (list, tuple)) else w
        self.w = Parameter(initializer(start, (channel,)), "a")  # type: ignore[arg-type]

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


class SeLU(Cell):
    """The self-normalising linear unit (Klambauer 2017)."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.selu(x)


class CELU(Cell):
    """``x``, or ``alpha * (exp(x / alpha) - 1)`` where it is negative."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.celu(x, self.alpha)


class FastGelu(Cell):
    """``x * sigmoid(1.702 * x)``, which is near to GELU."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.fast_gelu(x)


class LogSigmoid(Cell):
    """The logarithm of the sigmoid."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.logsigmoid(x)


class Softsign(Cell):
    """``x / (1 + |x|)``."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.softsign(x)


class Tanhshrink(Cell):
    """``x - tanh(x)``."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.tanhshrink(x)


class Hardtanh(Cell):
    """Each element moved into ``min_val`` to ``max_val``."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.hardtanh(x, self.min_val, self.max_val)


class SoftShrink(Cell):
    """Each element moved towards 0 by ``lambd``, and 0 where that goes past it."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.softshrink(x, self.lambd)


class HShrink(Cell):
    """Each element, or 0 where it is no further than ``lambd`` from 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.hardshrink(x, self.lambd)


class Threshold(Cell):
    """Each element above ``threshold``, and ``value`` for the others."""

    def __init__(self, threshold: float, value: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.threshold(x, self.threshold, self.value)


class GLU(Cell):
    """The first half along ``axis`` times the sigmoid of the second."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.glu(x, self.axis)


class Softmin(Cell):
    """The softmax of ``-x`` along ``axis``."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        return functional.softmin(x, self.axis)


class Softmax2d(Cell):
    """``exp(x)`` divided by its sum over the channels of images."""

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        if x.ndim not in (3, 4):
            raise ModelError(f"Softmax2d takes images, with or without a batch, not {x.type}")
        return functional.softmax(x, -3)


class LRN(Cell):
    """Each element divided by a power of what the ``2 depth_radius + 1`` near channels hold.

    ``x / (bias + alpha * sum(x ** 2)) ** beta`` (Krizhevsky 2012).
    """

    def __init__(
        self,
        depth_radius: int = 5,
        bias: float = 1.0,
        alpha: float = 1.0,
        beta: float = 0.5,
        norm_region: str = "ACROSS_CHANNELS",
    ) -> None:
        super().__init__()
        if norm_region != "ACROSS_CHANNELS":
            raise UnsupportedError(f"LRN: norm_region {norm_region!r}; there is ACROSS_CHANNELS")
        self.depth_radius, self.bias, self.alpha, self.beta = depth_radius, bias, alpha, beta

    def construct(self, x: Expression) -> Tensor:
        """The activation of ``x``."""
        size = 2 * self.depth_radius + 1
        options = {"alpha": self.alpha * size, "beta": float(self.beta), "bias": float(self.bias)}
        return apply(lrn, x, size=size, **options)


_NAMES: dict[str, Callable[[], Cell]] = {
    "softmin": Softmin,
    "softmax": Softmax,
    "softmax2d": Softmax2d,
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
    "tanhshrink": Tanhshrink,
    "hardtanh": Hardtanh,
    "fast_gelu": FastGelu,
    "softsign": Softsign,
    "logsigmoid": LogSigmoid,
    "softshrink": SoftShrink,
    "hshrink": HShrink,
}


def get_activation(name: str) -> Cell:
    """The activation that MindSpore calls ``name``, as ``Dense(activation=...)`` takes it."""
    if name.lower() not in _NAMES:
        raise ModelError(f"there is no activation {name!r}; there are: {', '.join(_NAMES)}")
    return _NAMES[name.lower()]()
