"""Readers of normalizations and softmax."""

from __future__ import annotations

from typing import Any

from ...ir import ModelError, Op, Value
from .context import Context, ops
from .registry import reads


def _flattened(g: Context, op: Op, x: Value, axis: int) -> Value:
    """Until opset 12, softmax and its kin see a matrix split at ``axis``."""
    shape = g.shape(x)
    return g.reshape(g.add(op, g.flatten2(x, axis), axis=1), shape)


def _register_softmax(name: str, op: Op) -> None:
    @reads(name, since=(1, 11))
    def split(g: Context, x: Value, *, axis: int = 1) -> Value:
        return _flattened(g, op, x, axis)

    @reads(name, since=13)
    def along(g: Context, x: Value, *, axis: int = -1) -> Value:
        return g.add(op, x, axis=g.axis(x, axis))


_register_softmax("Softmax", ops.softmax)
_register_softmax("LogSoftmax", ops.log_softmax)
_register_softmax("Hardmax", ops.hardmax)


# Which of the attributes there are depends on the version; what a version lacks is refused before.
@reads("BatchNormalization", since=(6, 7, 9, 14, 15))
def _batch_norm(
    g: Context,
    x: Value,
    scale: Value,
    bias: Value,
    mean: Value,
    variance: Value,
    *,
    epsilon: float = 1e-5,
    is_test: int = 0,
    momentum: float = 0.9,
    spatial: int = 1,
    training_mode: int = 0,
) -> list[Any]:
    if not spatial:
        g.unsupported("BatchNormalization with spatial=0")
    if training_mode:
        g.unsupported("BatchNormalization in training mode")
    if any(g.wants(index) for index in range(1, g.output_count)):
        g.unsupported("BatchNormalization with training outputs")
    # Newer opsets let the statistics have another type than the data.
    same = [x, *(g.cast(value, g.dtype(x)) for value in (scale, bias, mean, variance))]
    return [g.add(ops.batch_normalization, *same, epsilon=epsilon)]


@reads("InstanceNormalization", since=(6, 22))
def _instance_norm(
    g: Context, x: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5
) -> Value:
    return g.add(ops.instance_normalization, x, scale, bias, epsilon=epsilon)


def _fitted(g: Context, x: Value, value: Value, axis: int) -> Value:
    """A scale or bias, which may broadcast, with the shape of the normalized dimensions."""
    shape = g.shape(x)[axis:]
    return value if g.shape(value) == shape else g.add(ops.expand, value, shape=shape)


@reads("LayerNormalization", since=17)
def _layer_norm(
    g: Context,
    x: Value,
    scale: Value,
    bias: Value | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> list[Any]:
    axis = g.axis(x, axis)
    scale = _fitted(g, x, scale, axis)
    bias = None if bias is None else _fitted(g, x, bias, axis)
    if not (g.wants(1) or g.wants(2)):
        return [g.add(ops.layer_normalization, x, scale, bias, axis=axis, epsilon=epsilon)]
    attributes = {"axis": axis, "epsilon": epsilon}
    op = ops.layer_normalization_statistics
    y, mean, inverse = g.add_node(op, (x, scale, bias), attributes).outputs
    # The statistics are float32 whatever the input is.
    return [y, g.cast(mean, "float32"), g.cast(inverse, "float32")]


@reads("RMSNormalization", since=23)
def _rms_norm(
    g: Context,
    x: Value,
    scale: Value,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Value:
    axis = g.axis(x, axis)
    scale = _fitted(g, x, g.cast(scale, g.dtype(x)), axis)
    return g.add(ops.rms_normalization, x, scale, axis=axis, epsilon=epsilon)


@reads("GroupNormalization", since=18)
def _group_norm_18(
    g: Context,
    x: Value,
    scale: Value,
    bias: Value,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
) -> Value:
    """Scale and bias are per group here; spread to the group's channels."""
    if g.rank(x) < 2 or g.rank(scale) != 1 or g.rank(bias) != 1 or num_groups < 1:
        raise ModelError(f"GroupNormalization of {g.type(x)} in {num_groups} groups")
    channels = g.shape(x)[1]
    each = channels // num_groups
    spread = []
    for value in (scale, bias):
        column = g.reshape(value, (num_groups, 1))
        wide = g.add(ops.expand, column, shape=(num_groups, each))
        spread.append(g.reshape(wide, (channels,)))
    return g.add(ops.group_normalization, x, *spread, groups=num_groups, epsilon=epsilon)


@reads("GroupNormalization", since=21)
def _group_norm(
    g: Context,
    x: Value,
    scale: Value,
    bias: Value,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Value:
    return g.add(ops.group_normalization, x, scale, bias, groups=num_groups, epsilon=epsilon)


@reads("LRN", since=(1, 13))
def _lrn(
    g: Context,
    x: Value,
    *,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    bias: float = 1.0,
) -> Value:
    return g.add(ops.lrn, x, size=size, alpha=alpha, beta=beta, bias=bias)


@reads("LpNormalization", since=(1, 22))
def _lp_norm(g: Context, x: Value, *, axis: int = -1, p: int = 2) -> Value:
    return g.add(ops.lp_normalization, x, axis=g.axis(x, axis), p=p)
