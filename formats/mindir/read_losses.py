"""Readers of loss functions, which some exported networks contain."""

from __future__ import annotations

from ...ir import UnsupportedError, Value
from .context import Context, ops
from .convert import enumerated
from .items import Item
from .registry import reads

_REDUCTIONS = {0: "sum", 1: "mean", 2: "none"}


def _summed(g: Context, x: Value, reduction: Item) -> Value:
    mode = enumerated(reduction, _REDUCTIONS, "reduction")
    axes = tuple(range(g.rank(x)))
    if mode == "none" or not axes:
        return x
    if mode not in ("sum", "mean"):
        raise UnsupportedError(f"the reduction {mode!r}")
    op = ops.reduce_sum if mode == "sum" else ops.reduce_mean
    return g.add(op, x, axes=axes, keepdims=False)


@reads("SmoothL1Loss")
def _smooth_l1(
    g: Context, x: Value, target: Value, beta: float = 1.0, reduction: Item = "none"
) -> Value:
    distance = g.add(ops.abs, g.add(ops.sub, x, target))
    bound = g.scalar_like(distance, beta)
    square = g.add(ops.mul, distance, distance)
    near = g.add(ops.mul, square, g.scalar_like(distance, 0.5 / beta if beta else 0.0))
    far = g.add(ops.sub, distance, g.scalar_like(distance, 0.5 * beta))
    return _summed(g, g.add(ops.where, g.add(ops.less, distance, bound), near, far), reduction)


@reads("BinaryCrossEntropy")
def _cross_entropy(
    g: Context, x: Value, target: Value, weight: Value | None = None, reduction: Item = "mean"
) -> Value:
    one = g.scalar_like(x, 1)
    logs = [
        g.add(ops.maximum, g.add(ops.log, value), g.scalar_like(x, -100.0))
        for value in (x, g.add(ops.sub, one, x))
    ]
    hit = g.add(ops.mul, target, logs[0])
    miss = g.add(ops.mul, g.add(ops.sub, one, target), logs[1])
    loss = g.add(ops.neg, g.add(ops.add, hit, miss))
    return _summed(g, loss if weight is None else g.add(ops.mul, loss, weight), reduction)


@reads("SigmoidCrossEntropyWithLogits")
def _sigmoid_cross_entropy(g: Context, x: Value, target: Value) -> Value:
    # max(x, 0) - x t + log(1 + exp(-|x|))
    size = g.add(ops.abs, x)
    tail = g.add(ops.softplus, g.add(ops.neg, size))
    head = g.add(ops.sub, g.add(ops.relu, x), g.add(ops.mul, x, target))
    return g.add(ops.add, head, tail)


@reads("BCEWithLogitsLoss")
def _weighted_sigmoid_cross_entropy(
    g: Context,
    x: Value,
    target: Value,
    weight: Value | None = None,
    posWeight: Value | None = None,
    reduction: Item = "mean",
) -> Value:
    # (1 - t) x + (1 + (p - 1) t) log(1 + exp(-x))
    one = g.scalar_like(x, 1)
    tail = g.add(ops.softplus, g.add(ops.neg, x))
    if posWeight is not None:
        more = g.add(ops.mul, g.add(ops.sub, posWeight, one), target)
        tail = g.add(ops.mul, g.add(ops.add, one, more), tail)
    loss = g.add(ops.add, g.add(ops.mul, g.add(ops.sub, one, target), x), tail)
    return _summed(g, loss if weight is None else g.add(ops.mul, loss, weight), reduction)


@reads("SoftmaxCrossEntropyWithLogits")
def _softmax_cross_entropy(g: Context, x: Value, labels: Value) -> Item:
    logs = g.add(ops.log_softmax, x, axis=1)
    total = g.add(ops.reduce_sum, g.add(ops.mul, labels, logs), axes=(1,), keepdims=False)
    slope = g.add(ops.sub, g.add(ops.softmax, x, axis=1), labels)
    return g.add(ops.neg, total), slope


@reads("SparseSoftmaxCrossEntropyWithLogits")
def _sparse_cross_entropy(g: Context, x: Value, labels: Value, is_grad: bool = False) -> Value:
    if is_grad:
        raise UnsupportedError("the gradient of SparseSoftmaxCrossEntropyWithLogits")
    logs = g.add(ops.log_softmax, x, axis=1)
    places = g.unsqueeze(g.cast(labels, "int64"), 1)
    found = g.add(ops.neg, g.add(ops.gather_elements, logs, places, axis=1))
    return g.add(ops.reduce_mean, found, axes=(0, 1), keepdims=False)


@reads("NLLLoss")
def _negative_log_likelihood(
    g: Context,
    x: Value,
    labels: Value,
    weight: Value,
    reduction: Item = "mean",
    ignore_index: int = -100,
) -> Item:
    labels = g.cast(labels, "int64")
    ignored = g.add(ops.equal, labels, g.scalar_like(labels, ignore_index))
    places = g.add(ops.where, ignored, g.scalar_like(labels, 0), labels)
    weights = g.add(ops.gather, g.cast(weight, g.dtype(x)), places, axis=0)
    weights = g.add(ops.where, ignored, g.scalar_like(weights, 0), weights)
    if g.rank(x) == 1:
        found = g.add(ops.gather, x, places, axis=0)
    else:
        found = g.add(ops.gather_elements, x, g.unsqueeze(places, 1), axis=1)
        found = g.reshape(found, g.shape(labels))
    loss = g.add(ops.neg, g.add(ops.mul, found, weights))
    total = _summed(g, weights, "sum")
    mode = enumerated(reduction, _REDUCTIONS, "reduction")
    if mode == "mean":
        return g.add(ops.div, _summed(g, loss, "sum"), total), total
    return _summed(g, loss, mode), total


@reads("KLDivLoss")
def _divergence(g: Context, x: Value, target: Value, reduction: Item = "mean") -> Value:
    some = g.add(ops.greater, target, g.scalar_like(target, 0))
    safe = g.add(ops.where, some, target, g.scalar_like(target, 1))
    loss = g.add(ops.mul, target, g.add(ops.sub, g.add(ops.log, safe), x))
    loss = g.add(ops.where, some, loss, g.scalar_like(loss, 0))
    if reduction == "batchmean":
        batch = g.cast(g.whole(g.shape(x)[0]), g.dtype(x))
        return g.add(ops.div, _summed(g, loss, "sum"), batch)
    return _summed(g, loss, reduction)


@reads("L2Loss")
def _l2_loss(g: Context, x: Value) -> Value:
    total = g.add(ops.mul, x, x)
    if g.rank(x):
        total = g.add(ops.reduce_sum, total, axes=tuple(range(g.rank(x))), keepdims=False)
    return g.add(ops.mul, total, g.scalar_like(total, 0.5))


@reads("MSELossExt")
def _mean_squares(g: Context, x: Value, target: Value, reduction: Item = "mean") -> Value:
    distance = g.add(ops.sub, x, target)
    return _summed(g, g.add(ops.mul, distance, distance), reduction)


@reads("Dropout", "Dropout2D", "Dropout3D")
def _dropout(g: Context, x: Value, keep_prob: float = 0.5, Seed0: int = 0, Seed1: int = 0) -> Item:
    if keep_prob != 1.0:
        raise UnsupportedError("Dropout that drops (export the network for inference)")
    return x, g.add(ops.expand, g.scalar_like(x, 1), shape=g.shape(x))
