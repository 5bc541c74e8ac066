"""Readers of derivatives: what ``ops.grad`` leaves in exported networks, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...ir import ModelError, UnsupportedError, Value
from .context import Context, ops
from .convert import Ints
from .items import Item
from .registry import reads


class Terms:
    """Arithmetic of tensors and numbers, which take the tensors' element type."""

    def __init__(self, g: Context, like: Value) -> None:
        self._g, self._like = g, like

    def __call__(self, op: str, *operands: Value | float) -> Value:
        g = self._g
        values = [v if isinstance(v, Value) else g.scalar_like(self._like, v) for v in operands]
        return g.add(getattr(ops, op), *values)

    def total(self, x: Value, axes: tuple[int, ...], keep: bool = False) -> Value:
        """The sum over ``axes``."""
        return self._g.add(ops.reduce_sum, x, axes=axes, keepdims=keep) if axes else x

    def mean(self, x: Value, axes: tuple[int, ...]) -> Value:
        """The mean over ``axes``, which stay with extent 1."""
        return self._g.add(ops.reduce_mean, x, axes=axes, keepdims=True)


# --- functions of one element ----------------------------------------------------------------

# What the derivative is times: by the result y or the operand x, as the primitive is given.
_Slope = Callable[[Terms, Value], Value]


def _normal_slope(f: Terms, x: Value) -> Value:
    # Of x Phi(x): Phi(x) + x phi(x), with GeLU's approximation by the hyperbolic tangent.
    factor = math.sqrt(2 / math.pi)
    square = f("mul", x, x)
    bent = f("tanh", f("mul", f("mul", x, factor), f("add", f("mul", square, 0.044715), 1.0)))
    half = f("mul", f("add", bent, 1.0), 0.5)
    rest = f("sub", 1.0, f("mul", bent, bent))
    inner = f("mul", f("add", f("mul", square, 3 * 0.044715), 1.0), factor)
    return f("add", half, f("mul", f("mul", f("mul", x, 0.5), rest), inner))


def _between(f: Terms, x: Value, low: float, high: float, slope: Value | float) -> Value:
    inside = f("logical_and", f("greater", x, low), f("less", x, high))
    return f("where", inside, slope, 0.0)


def _swish_slope(f: Terms, x: Value) -> Value:
    share = f("sigmoid", x)
    rest = f("mul", x, f("sub", 1.0, share))
    return f("mul", share, f("add", rest, 1.0))


def _hard_swish_slope(f: Terms, x: Value) -> Value:
    line = f("add", f("mul", x, 1 / 3), 0.5)
    upper = f("where", f("less", x, 3.0), line, 1.0)
    return f("where", f("less", x, -3.0), 0.0, upper)


_BY_RESULT: dict[str, _Slope] = {
    "TanhGrad": lambda f, y: f("sub", 1.0, f("mul", y, y)),
    "SigmoidGrad": lambda f, y: f("mul", y, f("sub", 1.0, y)),
    "SqrtGrad": lambda f, y: f("div", 0.5, y),
    "RsqrtGrad": lambda f, y: f("mul", f("mul", y, f("mul", y, y)), -0.5),
    "ReciprocalGrad": lambda f, y: f("neg", f("mul", y, y)),
    "InvGrad": lambda f, y: f("neg", f("mul", y, y)),
}
_BEHIND: dict[str, _Slope] = {
    "ReluGrad": lambda f, y: f("where", f("greater", y, 0.0), 1.0, 0.0),
    "ReLU6Grad": lambda f, x: _between(f, x, 0.0, 6.0, 1.0),
    "EluGrad": lambda f, y: f("where", f("less", y, 0.0), f("add", y, 1.0), 1.0),
    "SiLUGrad": _swish_slope,
    "HSigmoidGrad": lambda f, x: _between(f, x, -3.0, 3.0, 1 / 6),
    "HSwishGrad": _hard_swish_slope,
    "SoftplusGrad": lambda f, x: f("sigmoid", x),
}
_OPERAND_FIRST: dict[str, _Slope] = {
    "AbsGrad": lambda f, x: f("sign", x),
    "AtanGrad": lambda f, x: f("div", 1.0, f("add", f("mul", x, x), 1.0)),
    "AsinGrad": lambda f, x: f("div", 1.0, f("sqrt", f("sub", 1.0, f("mul", x, x)))),
    "ACosGrad": lambda f, x: f("div", -1.0, f("sqrt", f("sub", 1.0, f("mul", x, x)))),
    "AsinhGrad": lambda f, y: f("div", 1.0, f("cosh", y)),
    "AcoshGrad": lambda f, y: f("div", 1.0, f("sinh", y)),
}


def _register(name: str, slope: _Slope, behind: bool) -> None:
    def read(g: Context, first: Value, second: Value) -> Value:
        known, incoming = (second, first) if behind else (first, second)
        f = Terms(g, known)
        return f("mul", incoming, slope(f, known))

    reads(name)(read)


for _name, _slope in {**_BY_RESULT, **_OPERAND_FIRST}.items():
    _register(_name, _slope, False)
for _name, _slope in _BEHIND.items():
    _register(_name, _slope, True)


@reads("GeLUGrad")
def _gelu(g: Context, dy: Value, x: Value, y: Value) -> Value:
    f = Terms(g, x)
    return f("mul", dy, _normal_slope(f, x))


@reads("LeakyReLUGradExt")
def _leaky_relu(
    g: Context, dy: Value, x: Value, negative_slope: float = 0.01, is_result: bool = False
) -> Value:
    f = Terms(g, x)
    return f("where", f("greater", x, 0.0), dy, f("mul", dy, negative_slope))


@reads("MaximumGrad", "MinimumGrad")
def _extreme(
    g: Context, x: Value, y: Value, dy: Value, grad_x: bool = True, grad_y: bool = True
) -> Item:
    f = Terms(g, x)
    op = "greater_equal" if g.primitive == "MaximumGrad" else "less_equal"
    first = f(op, x, y)
    parts = f("where", first, dy, 0.0), f("where", first, 0.0, dy)
    return tuple(summed_to(g, part, like) for part, like in zip(parts, (x, y), strict=True))


def summed_to(g: Context, x: Value, like: Value) -> Value:
    """``x`` summed over the axes along which ``like`` was repeated."""
    shape, wanted = g.shape(x), g.shape(like)
    ahead = len(shape) - len(wanted)
    axes = tuple(
        k for k in range(len(shape)) if k < ahead or (wanted[k - ahead] == 1 and shape[k] != 1)
    )
    return g.reshape(Terms(g, x).total(x, axes, keep=True), wanted)


# --- sums over axes --------------------------------------------------------------------------


@reads("SoftmaxBackward")
def _softmax(g: Context, dy: Value, y: Value, dim: int = -1) -> Value:
    f = Terms(g, y)
    product = f("mul", dy, y)
    return f("sub", product, f("mul", y, f.total(product, (g.axis(y, dim),), True)))


@reads("LogSoftmaxGrad")
def _log_softmax(g: Context, y: Value, dy: Value, axis: int = -1) -> Value:
    f = Terms(g, y)
    return f("sub", dy, f("mul", f("exp", y), f.total(dy, (g.axis(y, axis),), True)))


@reads("BiasAddGrad")
def _bias(g: Context, dy: Value, data_format: Item = None) -> Value:
    return Terms(g, dy).total(dy, tuple(k for k in range(g.rank(dy)) if k != 1))


@reads("LayerNormGrad")
def _layer_norm(
    g: Context,
    x: Value,
    dy: Value,
    variance: Value,
    mean: Value,
    gamma: Value,
    begin_norm_axis: int = 1,
    begin_params_axis: int = 1,
    epsilon: float = 1e-7,
) -> Item:
    f = Terms(g, x)
    axes = tuple(range(g.axis(x, begin_norm_axis), g.rank(x)))
    outer = tuple(range(g.axis(x, begin_params_axis)))
    scale = f("div", 1.0, f("sqrt", f("add", variance, epsilon)))
    unit = f("mul", f("sub", x, mean), scale)
    dx = _centred(f, f("mul", dy, gamma), unit, axes)
    parts = f.total(f("mul", dy, unit), outer), f.total(dy, outer)
    return f("mul", dx, scale), *(g.reshape(part, g.shape(gamma)) for part in parts)


def _centred(f: Terms, dy: Value, unit: Value, axes: tuple[int, ...]) -> Value:
    """What is left of ``dy`` where mean and variance over ``axes`` cannot change."""
    rest = f("sub", dy, f.mean(dy, axes))
    return f("sub", rest, f("mul", unit, f.mean(f("mul", dy, unit), axes)))


@reads("BatchNormGrad", other_names={"data_format": "format"})
def _batch_norm(
    g: Context,
    dy: Value,
    x: Value,
    scale: Value,
    mean: Value,
    variance: Value,
    reserve: Item = None,
    is_training: bool = False,
    epsilon: float = 1e-5,
    data_format: Item = None,
) -> Item:
    f = Terms(g, x)
    axes = tuple(k for k in range(g.rank(x)) if k != 1)
    shape = tuple(extent if k == 1 else 1 for k, extent in enumerate(g.shape(x)))
    factor, centre, spread = (g.reshape(v, shape) for v in (scale, mean, variance))
    if is_training:
        centre = f.mean(x, axes)
        apart = f("sub", x, centre)
        spread = f.mean(f("mul", apart, apart), axes)
    inverse = f("div", 1.0, f("sqrt", f("add", spread, epsilon)))
    unit = f("mul", f("sub", x, centre), inverse)
    inner = _centred(f, dy, unit, axes) if is_training else dy
    dx = f("mul", inner, f("mul", factor, inverse))
    return dx, f.total(f("mul", dy, unit), axes), f.total(dy, axes)


@reads("GroupNormGrad")
def _group_norm(
    g: Context,
    dy: Value,
    x: Value,
    mean: Value,
    rstd: Value,
    gamma: Value,
    num_groups: int = 1,
    dx_is_require: bool = True,
    dgamma_is_require: bool = True,
    dbeta_is_require: bool = True,
) -> Item:
    f = Terms(g, x)
    shape = g.shape(x)
    channels = shape[1]
    if not isinstance(channels, int) or channels % num_groups:
        raise ModelError(f"GroupNormGrad: {channels} channels in {num_groups} groups")
    wide = (shape[0], num_groups, channels // num_groups, *shape[2:])
    factor = g.reshape(gamma, (channels, *(1,) * (len(shape) - 2)))
    centre, inverse = (
        g.reshape(v, (shape[0], num_groups, *(1,) * (len(shape) - 1))) for v in (mean, rstd)
    )
    unit = f("mul", f("sub", g.reshape(x, wide), centre), inverse)
    scaled = g.reshape(f("mul", dy, factor), wide)
    dx = f("mul", _centred(f, scaled, unit, tuple(range(2, len(wide)))), inverse)
    outer = tuple(k for k in range(len(shape)) if k != 1)
    flat = g.reshape(unit, shape)
    return g.reshape(dx, shape), f.total(f("mul", dy, flat), outer), f.total(dy, outer)


# --- places ----------------------------------------------------------------------------------


@reads("GatherDGradV2")
def _gathered(g: Context, x: Value, dim: int, index: Value, dy: Value) -> Value:
    nothing = g.expand(g.scalar_like(x, 0), g.shape(x))
    places = g.cast(index, "int64")
    axis = g.axis(x, dim)
    return g.add(ops.scatter_elements, nothing, places, dy, axis=axis, reduction="add")


@reads("InplaceScatterSrc")
def _scattered(g: Context, x: Value, dim: int, index: Value, src: Value) -> Value:
    places = g.cast(index, "int64")
    axis = g.axis(x, dim)
    return g.add(ops.scatter_elements, x, places, src, axis=axis, reduction="none")


@reads("StridedSliceGrad", other_names={"shapex": "shape"})
def _sliced(
    g: Context,
    dy: Value,
    shapex: Ints,
    begin: Ints,
    end: Ints,
    strides: Ints,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> Value:
    if not len(begin) == len(end) == len(strides) or 0 in strides:
        raise ModelError(f"StridedSliceGrad of {begin}, {end} and {strides}")
    g.check_computed(*shapex)
    taken: list[object] = []
    for k, (low, high, step) in enumerate(zip(begin, end, strides, strict=True)):
        if ellipsis_mask >> k & 1:
            taken.append(...)
        elif new_axis_mask >> k & 1:
            taken.append(None)
        elif shrink_axis_mask >> k & 1:
            taken.append(low)
        else:
            start = None if begin_mask >> k & 1 else low
            stop = None if end_mask >> k & 1 else high
            taken.append(slice(start, stop, step))
    table = np.arange(int(np.prod(shapex)), dtype=np.int64).reshape(shapex)
    places = table[tuple(taken)].reshape(-1)  # type: ignore[arg-type]
    if g.type(dy).size != places.size:
        raise ModelError(f"StridedSliceGrad: {g.type(dy)} is not what was cut")
    nothing = g.expand(g.scalar_like(dy, 0), (table.size,))
    flat = g.reshape(dy, (places.size,))
    found = g.add(
        ops.scatter_nd, nothing, g.constant(places.reshape(-1, 1)), flat, reduction="none"
    )
    return g.reshape(found, shapex)


@reads("SmoothL1LossGrad")
def _smooth_l1(
    g: Context, x: Value, target: Value, dy: Value, beta: float = 1.0, reduction: Item = "none"
) -> Value:
    f = Terms(g, x)
    apart = f("sub", x, target)
    inner = f("less", f("abs", apart), beta)
    slope = f("where", inner, f("div", apart, beta or 1.0), f("sign", apart))
    if reduction in ("mean", 1):
        count = g.cast(g.whole(g.type(x).size), g.dtype(x))
        slope = f("div", slope, count)
    elif reduction not in ("none", "sum", 0, 2):
        raise UnsupportedError(f"the reduction {reduction!r}")
    return f("mul", slope, dy)
