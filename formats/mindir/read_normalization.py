"""Readers of normalizations."""

from __future__ import annotations

from ...ir import UnsupportedError, Value
from .context import Context, ops
from .convert import Extents, Ints, Layout
from .items import Item
from .read_convolution import as_before, channels_first
from .read_plumbing import write
from .registry import reads


@reads("BatchNorm", other_names={"data_format": "format", "epsilon": "eps"})
def _batch_norm(
    g: Context,
    x: Value,
    scale: Value,
    offset: Value,
    mean: Item,
    variance: Item,
    is_training: bool = False,
    epsilon: float = 1e-5,
    momentum: float = 0.1,
    data_format: Layout = "NCHW",
) -> Item:
    x = channels_first(g, x, data_format)
    held = g.value(mean), g.value(variance)
    used = _statistics(g, x) if is_training else held
    result = as_before(g, _normalized(g, x, scale, offset, *used, epsilon), data_format)
    if not is_training:
        return result, *held, *held
    count = g.type(x).size // g.shape(x)[1]
    if not isinstance(count, int):
        raise UnsupportedError("BatchNorm in training mode of a batch that only a run tells")
    spread = g.add(ops.mul, used[1], g.scalar_like(used[1], count / max(count - 1, 1)))
    for target, old, new in ((mean, held[0], used[0]), (variance, held[1], spread)):
        kept = g.add(ops.mul, old, g.scalar_like(old, 1.0 - momentum))
        write(g, target, g.add(ops.add, kept, g.add(ops.mul, new, g.scalar_like(new, momentum))))
    return result, *used, *used


def _statistics(g: Context, x: Value) -> tuple[Value, Value]:
    """Mean and variance of each channel of a batch."""
    axes = tuple(k for k in range(g.rank(x)) if k != 1)
    mean = g.add(ops.reduce_mean, x, axes=axes, keepdims=True)
    apart = g.add(ops.sub, x, mean)
    square = g.add(ops.mul, apart, apart)
    variance = g.add(ops.reduce_mean, square, axes=axes, keepdims=False)
    return g.reshape(mean, (g.shape(x)[1],)), variance


def _normalized(
    g: Context, x: Value, scale: Value, offset: Value, mean: Value, variance: Value, epsilon: float
) -> Value:
    dtype = g.dtype(x)
    vectors = [g.cast(v, dtype) for v in (scale, offset, mean, variance)]
    return g.add(ops.batch_normalization, x, *vectors, epsilon=epsilon)


@reads("BatchNormExt")
def _batch_norm_ext(
    g: Context,
    x: Value,
    weight: Value | None = None,
    bias: Value | None = None,
    running_mean: Value | None = None,
    running_var: Value | None = None,
    training: bool = False,
    momentum: float = 0.1,
    epsilon: float = 1e-5,
) -> Item:
    if training or running_mean is None or running_var is None:
        raise UnsupportedError("BatchNorm in training mode (export the network for inference)")
    shape = g.shape(running_mean)
    scale = _filled(g, x, shape, 1) if weight is None else weight
    offset = _filled(g, x, shape, 0) if bias is None else bias
    result = _normalized(g, x, scale, offset, running_mean, running_var, epsilon)
    return result, running_mean, running_var


def _filled(g: Context, like: Value, shape: Extents, number: float) -> Value:
    return g.add(ops.expand, g.scalar_like(like, number), shape=tuple(shape))


@reads("LayerNorm", other_names={"epsilon": "eps"})
def _layer_norm(
    g: Context,
    x: Value,
    gamma: Value,
    beta: Value,
    begin_norm_axis: int = 1,
    begin_params_axis: int = 1,
    epsilon: float = 1e-7,
) -> Item:
    first = g.axis(x, begin_norm_axis)
    if g.axis(x, begin_params_axis) == first:
        result = g.add(ops.layer_normalization, x, gamma, beta, axis=first, epsilon=epsilon)
    else:
        unit = _filled(g, x, g.shape(x)[first:], 1)
        result = g.add(ops.layer_normalization, x, unit, None, axis=first, epsilon=epsilon)
        result = g.add(ops.add, g.add(ops.mul, result, gamma), beta)
    return result, *_moments(g, x, first)


def _moments(g: Context, x: Value, first: int) -> tuple[Value, Value]:
    axes = tuple(range(first, g.rank(x)))
    mean = g.add(ops.reduce_mean, x, axes=axes, keepdims=True)
    apart = g.add(ops.sub, x, mean)
    square = g.add(ops.mul, apart, apart)
    return mean, g.add(ops.reduce_mean, square, axes=axes, keepdims=True)


@reads("LayerNormExt")
def _layer_norm_ext(
    g: Context,
    x: Value,
    normalized_shape: Ints,
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
) -> Item:
    first = g.rank(x) - len(normalized_shape)
    scale = _filled(g, x, g.shape(x)[first:], 1) if weight is None else weight
    result = g.add(ops.layer_normalization, x, scale, bias, axis=first, epsilon=eps)
    return result, *_moments(g, x, first)


@reads("GroupNorm")
def _group_norm(
    g: Context,
    x: Value,
    num_groups: int,
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
) -> Item:
    shape = g.shape(x)
    scale = _filled(g, x, shape[1:2], 1) if weight is None else weight
    offset = _filled(g, x, shape[1:2], 0) if bias is None else bias
    result = g.add(ops.group_normalization, x, scale, offset, groups=num_groups, epsilon=eps)
    grouped = g.flatten2(x, 1)
    grouped = g.reshape(grouped, (shape[0], num_groups, g.shape(grouped)[1] // num_groups))
    mean, variance = _moments(g, grouped, 2)
    deviation = g.add(ops.sqrt, g.add(ops.add, variance, g.scalar_like(variance, eps)))
    pair = (shape[0], num_groups)
    return result, g.reshape(mean, pair), g.reshape(g.add(ops.reciprocal, deviation), pair)


@reads("InstanceNorm", other_names={"epsilon": "eps"})
def _instance_norm(
    g: Context,
    x: Value,
    gamma: Value,
    beta: Value,
    mean: Value,
    variance: Value,
    epsilon: float = 1e-5,
    momentum: float = 0.1,
) -> Item:
    result = g.add(ops.instance_normalization, x, gamma, beta, epsilon=epsilon)
    return result, mean, variance


@reads("RmsNorm", other_names={"epsilon": "eps"})
def _rms_norm(g: Context, x: Value, gamma: Value, epsilon: float = 1e-6) -> Item:
    first = g.rank(x) - g.rank(gamma)
    result = g.add(ops.rms_normalization, x, gamma, axis=first, epsilon=epsilon)
    axes = tuple(range(first, g.rank(x)))
    mean = g.add(ops.reduce_mean, g.add(ops.mul, x, x), axes=axes, keepdims=True)
    root = g.add(ops.sqrt, g.add(ops.add, mean, g.scalar_like(mean, epsilon)))
    return result, g.add(ops.reciprocal, root)


@reads("LRN")
def _lrn(
    g: Context,
    x: Value,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
    norm_region: str = "ACROSS_CHANNELS",
) -> Value:
    if norm_region != "ACROSS_CHANNELS":
        raise UnsupportedError(f"LRN over {norm_region}")
    # ONNX divides alpha by the window's size, MindSpore does not.
    size = 2 * depth_radius + 1
    return g.add(ops.lrn, x, size=size, alpha=alpha * size, beta=beta, bias=bias)


@reads("L2Normalize")
def _l2_normalize(g: Context, x: Value, axis: Ints = (0,), epsilon: float = 1e-4) -> Value:
    total = g.add(ops.reduce_sum, g.add(ops.mul, x, x), axes=g.axes(x, axis), keepdims=True)
    total = g.add(ops.maximum, total, g.scalar_like(total, epsilon))
    return g.add(ops.div, x, g.add(ops.sqrt, total))


@reads("Renorm")
def _renorm(g: Context, x: Value, p: float, dim: int, maxnorm: float) -> Value:
    """Parts along an axis whose norm exceeds ``maxnorm`` are scaled down to it."""
    place = g.axis(x, dim)
    axes = tuple(k for k in range(g.rank(x)) if k != place)
    if p not in (1.0, 2.0):
        raise UnsupportedError(f"Renorm with p={p}")
    norm = g.add(ops.reduce_l2 if p == 2.0 else ops.reduce_l1, x, axes=axes, keepdims=True)
    limit = g.scalar_like(x, maxnorm)
    factor = g.add(ops.div, limit, g.add(ops.add, norm, g.scalar_like(x, 1e-7)))
    scaled = g.add(ops.where, g.add(ops.greater, norm, limit), factor, g.scalar_like(x, 1))
    return g.add(ops.mul, x, scaled)
