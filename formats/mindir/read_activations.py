"""Readers of activation functions."""

from __future__ import annotations

from ...ir import UnsupportedError, Value
from ...ops.registry import operator_named
from .context import Context, ops
from .convert import ElementType, Ints, enumerated
from .items import Item
from .read_elementwise import clamped
from .registry import reads

_PLAIN = {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "SoftSign": "softsign",
    "Mish": "mish",
    "MishExt": "mish",
    "HSwish": "hard_swish",
    "SiLU": "swish",
    "Swish": "swish",
    "InplaceSiLU": "swish",
    "InplaceSigmoid": "sigmoid",
    "InplaceTanh": "tanh",
}


def _register(name: str, op: str) -> None:
    def read(g: Context, x: Value) -> Value:
        return g.add(operator_named(op), x)

    reads(name)(read)


for _name, _op in _PLAIN.items():
    _register(_name, _op)


@reads("ReLU", "InplaceReLU")
def _relu(g: Context, x: Value) -> Value:
    if g.dtype(x).startswith("uint"):
        return x
    return g.add(ops.relu, x)


@reads("ReLU6")
def _relu6(g: Context, x: Value) -> Value:
    return clamped(g, x, 0.0, 6.0)


@reads("Hardtanh", "InplaceHardtanh")
def _hardtanh(g: Context, x: Value, min_val: float = -1.0, max_val: float = 1.0) -> Value:
    return clamped(g, x, min_val, max_val)


@reads("HSigmoid")
def _hard_sigmoid(g: Context, x: Value) -> Value:
    return g.add(ops.hard_sigmoid, x, alpha=1.0 / 6.0, beta=0.5)


@reads("GeLU")
def _gelu(g: Context, x: Value) -> Value:
    return g.add(ops.gelu, x, approximate=True)


@reads("GeluExt")
def _gelu_ext(g: Context, x: Value, approximate: Item = "none") -> Value:
    mode = enumerated(approximate, {0: "none", 1: "tanh"}, "approximate")
    return g.add(ops.gelu, x, approximate=mode == "tanh")


@reads("FastGeLU")
def _fast_gelu(g: Context, x: Value) -> Value:
    # x / (1 + exp(-1.702 |x|)) * exp(0.851 (x - |x|)) is x sigmoid(1.702 x).
    return g.add(ops.swish, x, alpha=1.702)


@reads("Elu", "InplaceElu")
def _elu(g: Context, x: Value, alpha: float = 1.0) -> Value:
    return g.add(ops.elu, x, alpha=alpha)


@reads("EluExt")
def _elu_ext(g: Context, x: Value, alpha: float = 1.0) -> Value:
    return g.add(ops.elu, x, alpha=alpha)


@reads("CeLU")
def _celu(g: Context, x: Value, alpha: float = 1.0) -> Value:
    return g.add(ops.celu, x, alpha=alpha)


@reads("SeLU", "SeLUExt")
def _selu(g: Context, x: Value) -> Value:
    return g.add(ops.selu, x, alpha=1.6732632423543772, gamma=1.0507009873554805)


@reads("SoftplusExt")
def _softplus(g: Context, x: Value, beta: float = 1.0, threshold: float = 20.0) -> Value:
    scaled = g.add(ops.mul, x, g.scalar_like(x, beta))
    curved = g.add(ops.div, g.add(ops.softplus, scaled), g.scalar_like(x, beta))
    straight = g.add(ops.greater, scaled, g.scalar_like(x, threshold))
    return g.add(ops.where, straight, x, curved)


@reads("LeakyReLU", "LeakyRelu", "LeakyReLUExt", other_names={"negative_slope": "alpha"})
def _leaky_relu(g: Context, x: Value, negative_slope: float = 0.01) -> Value:
    return g.add(ops.leaky_relu, x, alpha=negative_slope)


@reads("PReLU")
def _prelu(g: Context, x: Value, weight: Value) -> Value:
    if g.type(weight).size == 1:
        slope = g.reshape(weight, ())
    elif g.rank(x) < 2:
        slope = weight
    else:
        slope = g.reshape(weight, (g.shape(weight)[0], *(1,) * (g.rank(x) - 2)))
    return g.add(ops.prelu, x, slope)


@reads("HShrink")
def _hard_shrink(g: Context, x: Value, lambd: float = 0.5) -> Value:
    return g.add(ops.shrink, x, lambd=lambd, bias=0.0)


@reads("SoftShrink")
def _soft_shrink(g: Context, x: Value, lambd: float = 0.5) -> Value:
    return g.add(ops.shrink, x, lambd=lambd, bias=lambd)


@reads("LogSigmoid")
def _log_sigmoid(g: Context, x: Value) -> Value:
    return g.add(ops.neg, g.add(ops.softplus, g.add(ops.neg, x)))


@reads("Threshold", "InplaceThreshold")
def _threshold(g: Context, x: Value, threshold: float, value: float) -> Value:
    above = g.add(ops.greater, x, g.scalar_like(x, threshold))
    return g.add(ops.where, above, x, g.scalar_like(x, value))


@reads("GLU", other_names={"dim": "axis"})
def _glu(g: Context, x: Value, dim: int = -1) -> Value:
    left, right = _halves(g, x, dim)
    return g.add(ops.mul, left, g.add(ops.sigmoid, right))


@reads("Swiglu")
def _swiglu(g: Context, x: Value, dim: int = -1) -> Value:
    left, right = _halves(g, x, dim)
    return g.add(ops.mul, g.add(ops.swish, left), right)


def _halves(g: Context, x: Value, dim: int) -> tuple[Value, Value]:
    axis = g.axis(x, dim)
    size = g.shape(x)[axis]
    if isinstance(size, int) and size % 2:
        raise UnsupportedError(f"halves of {size} elements")
    half = size // 2
    return g.slice_axis(x, axis, 0, half), g.slice_axis(x, axis, half, half)


@reads("Softmax")
def _softmax(g: Context, x: Value, axis: Ints = (-1,)) -> Value:
    axes = g.axes(x, axis)
    if len(axes) == 1:
        return g.add(ops.softmax, x, axis=axes[0])
    # Over several axes: they are brought to the end and made one.
    rank = g.rank(x)
    order = [k for k in range(rank) if k not in axes] + list(axes)
    moved = g.transpose(x, order)
    shape = g.shape(moved)
    flat = g.flatten2(moved, rank - len(axes))
    result = g.reshape(g.add(ops.softmax, flat, axis=1), shape)
    return g.transpose(result, sorted(range(rank), key=order.__getitem__))


@reads("LogSoftmax")
def _log_softmax(g: Context, x: Value, axis: int = -1) -> Value:
    return g.add(ops.log_softmax, x, axis=g.axis(x, axis))


@reads("LogSoftmaxExt")
def _log_softmax_ext(
    g: Context, x: Value, dim: int | None = None, dtype: ElementType | None = None
) -> Value:
    if dim is None:
        dim = 0 if g.rank(x) in (0, 1, 3) else 1
    return g.add(ops.log_softmax, x, axis=g.axis(x, dim))
