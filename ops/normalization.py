"""Normalisations over channels, groups of channels and single dimensions."""

from __future__ import annotations

import math

import numpy as np

from ..ir import (
    Array,
    Call,
    Cost,
    Extent,
    ModelError,
    Operand,
    TensorType,
    unify,
    workspace,
)
from ..ir.data_type import is_float
from ..ir.dim import floor_divide, product
from .define import operator, same_type
from .half import widened
from .normalization_kernels import (
    divide_columns_by_norm,
    divide_rows_by_norm,
    normalize_batch,
    normalize_batch_rows,
    normalize_groups,
    normalize_responses,
)
from .rows import columns_per_item, item_count, rows_per_item
from .samples import sample, tensor, values


def check_floating(what: str, *types: TensorType | None) -> None:
    """Raise ModelError unless all are floating-point tensors of one element type."""
    dtype = same_type(what, *types)
    if not is_float(dtype):
        raise ModelError(f"{what} takes floating-point tensors, not {dtype}")


def _channels(what: str, x: TensorType, *vectors: TensorType) -> None:
    """Check an input [N, C, ...] and vectors of one number a channel."""
    check_floating(what, x, *vectors)
    if x.rank < 2:
        raise ModelError(f"{what}: {x} has no channels")
    for vector in vectors:
        if vector.rank != 1:
            raise ModelError(f"{what}: {vector} is not a vector of one number a channel")
        unify(vector.shape[0], x.shape[1], f"{what}: {vector} for the channels of {x}")


def _spread(vector: Array, rank: int) -> Array:
    return widened(vector).reshape(1, -1, *(1,) * (rank - 2))


def centred_and_scaled(x: Array, axis: int, epsilon: float) -> tuple[Array, Array, Array]:
    """``x`` without its mean, the mean, and the inverse deviation, from ``axis`` on."""
    wide = widened(x)
    axis = axis % x.ndim
    axes = tuple(range(axis, x.ndim))
    count = wide.dtype.type(math.prod(x.shape[axis:]))
    mean = wide.sum(axis=axes, keepdims=True) / count
    variance = np.square(wide - mean).sum(axis=axes, keepdims=True) / count
    return wide - mean, mean, 1 / np.sqrt(variance + wide.dtype.type(epsilon))


@operator(traits=("normalization",))
def batch_normalization(
    x: Array, scale: Array, bias: Array, mean: Array, variance: Array, *, epsilon: float = 1e-5
) -> Array:
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` for each channel.

    ONNX BatchNormalization-15 in inference; ``x`` is [N, C, ...], the others are [C].
    """
    wide, rank = widened(x), max(x.ndim, 2)
    factor = widened(scale) / np.sqrt(widened(variance) + wide.dtype.type(epsilon))
    result = (wide - _spread(mean, rank)) * _spread(factor, rank) + _spread(bias, rank)
    return np.asarray(result).astype(x.dtype, copy=False)


@batch_normalization.infer
def _(
    x: TensorType,
    scale: TensorType,
    bias: TensorType,
    mean: TensorType,
    variance: TensorType,
    *,
    epsilon: float,
) -> TensorType:
    _channels("batch_normalization", x, scale, bias, mean, variance)
    return x


@operator(traits=("normalization",))
def group_normalization(
    x: Array, scale: Array, bias: Array, *, groups: int, epsilon: float = 1e-5
) -> Array:
    """Zero mean and unit variance over each group of channels, then ``scale`` and ``bias``.

    ONNX GroupNormalization-21; ``x`` is [N, C, ...], ``scale`` and ``bias`` are [C].
    """
    if x.size == 0:
        return x.copy()
    wide = widened(x).reshape(x.shape[0], groups, -1)
    centred, _, inverse = centred_and_scaled(wide, 2, epsilon)
    normal = (centred * inverse).reshape(x.shape)
    result = normal * _spread(scale, x.ndim) + _spread(bias, x.ndim)
    return np.asarray(result).astype(x.dtype, copy=False)


@group_normalization.infer
def _(
    x: TensorType, scale: TensorType, bias: TensorType, *, groups: int, epsilon: float
) -> TensorType:
    _channels("group_normalization", x, scale, bias)
    if groups < 1:
        raise ModelError(f"group_normalization: {groups} groups")
    if isinstance(x.shape[1], int) and x.shape[1] % groups:
        raise ModelError(f"group_normalization: {groups} groups do not divide the channels of {x}")
    return x


@operator(traits=("normalization",))
def instance_normalization(x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5) -> Array:
    """Zero mean and unit variance over each channel of each image, then ``scale`` and ``bias``.

    ONNX InstanceNormalization-22; ``x`` is [N, C, ...], ``scale`` and ``bias`` are [C].
    """
    result: Array = group_normalization.reference(
        x, scale, bias, groups=max(x.shape[1], 1), epsilon=epsilon
    )
    return result


@instance_normalization.infer
def _(x: TensorType, scale: TensorType, bias: TensorType, *, epsilon: float) -> TensorType:
    _channels("instance_normalization", x, scale, bias)
    return x


@operator(traits=("normalization",))
def lrn(
    x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Array:
    """``x / (bias + alpha / size * sum(x ** 2)) ** beta``, the sum over ``size`` near channels.

    ONNX LRN-13: channel ``c`` looks at ``c - (size - 1) // 2`` up to ``c + size // 2``, as far
    as they exist.
    """
    wide = widened(x)
    square = np.square(wide)
    total = np.zeros_like(wide)
    for channel in range(x.shape[1]):
        first = max(channel - (size - 1) // 2, 0)
        total[:, channel] = square[:, first : channel + size // 2 + 1].sum(axis=1)
    kind = wide.dtype.type
    result = wide / (kind(bias) + kind(alpha / size) * total) ** kind(beta)
    return np.asarray(result).astype(x.dtype, copy=False)


@lrn.infer
def _(x: TensorType, *, size: int, alpha: float, beta: float, bias: float) -> TensorType:
    _channels("lrn", x)
    if size < 1:
        raise ModelError(f"lrn: a size of {size}")
    return x


@operator(traits=("normalization",))
def lp_normalization(x: Array, *, axis: int = -1, p: int = 2) -> Array:
    """``x`` divided by its L1 or L2 norm along ``axis`` (ONNX LpNormalization-22).

    Where the norm is zero the result is zero.
    """
    wide = widened(x)
    norm = (
        np.abs(wide).sum(axis=axis, keepdims=True)
        if p == 1
        else np.sqrt(np.square(wide).sum(axis=axis, keepdims=True))
    )
    result = np.where(norm == 0, wide.dtype.type(0), wide / norm)
    return np.asarray(result).astype(x.dtype, copy=False)


@lp_normalization.infer
def _(x: TensorType, *, axis: int, p: int) -> TensorType:
    check_floating("lp_normalization", x)
    x.axis(axis)
    if p not in (1, 2):
        raise ModelError(f"lp_normalization: p is {p}, not 1 or 2")
    return x


def normalization_cost(x: TensorType, *operands: TensorType | None, **attributes: object) -> Cost:
    """About five FLOPs an element."""
    return Cost(5 * x.size, 2 * x.nbytes)


for _op in (
    batch_normalization,
    group_normalization,
    instance_normalization,
    lrn,
    lp_normalization,
):
    _op.cost(normalization_cost)


@batch_normalization.kernel
def _(
    x: Operand,
    scale: Operand,
    bias: Operand,
    mean: Operand,
    variance: Operand,
    out: Operand,
    *,
    epsilon: float,
) -> Call:
    batch, channels = x.shape[:2]
    inner = product(x.shape[2:])
    vectors = [vector.whole() for vector in (scale, bias, mean, variance)]
    if inner == 1:
        rows = rows_per_item(channels)
        return Call(
            normalize_batch_rows,
            (x.view(batch, channels), *vectors, out.view(batch, channels)),
            items=item_count(batch, rows),
            scalars=(float(epsilon), rows),
            chunk=rows * channels,
        )
    return Call(
        normalize_batch,
        (x.split(1), *vectors, out.split(1)),
        items=batch * channels,
        scalars=(float(epsilon),),
        chunk=inner,
    )


def _group_call(
    x: Operand, scale: Operand, bias: Operand, out: Operand, groups: Extent, epsilon: float
) -> Call:
    batch, channels = x.shape[:2]
    inner = product(x.shape[2:])
    members = 1 if channels == groups else floor_divide(channels, groups)
    shape = (batch, groups, members, inner)
    return Call(
        normalize_groups,
        (x.view(*shape), scale.whole(), bias.whole(), out.view(*shape)),
        items=batch * groups,
        scalars=(float(epsilon),),
        chunk=members * inner,
        reassociate=True,
    )


@group_normalization.kernel
def _(
    x: Operand, scale: Operand, bias: Operand, out: Operand, *, groups: int, epsilon: float
) -> Call:
    return _group_call(x, scale, bias, out, groups, epsilon)


@instance_normalization.kernel
def _(x: Operand, scale: Operand, bias: Operand, out: Operand, *, epsilon: float) -> Call:
    return _group_call(x, scale, bias, out, x.shape[1], epsilon)


@lrn.kernel
def _(x: Operand, out: Operand, *, size: int, alpha: float, beta: float, bias: float) -> Call:
    batch, channels, inner = x.split(1).shape
    return Call(
        normalize_responses,
        (x.split(1), out.split(1)),
        items=batch * channels,
        scalars=((size - 1) // 2, size // 2, alpha / size, float(beta), float(bias)),
        chunk=inner,
        reassociate=True,
    )


@lp_normalization.kernel
def _(x: Operand, out: Operand, *, axis: int, p: int) -> Call:
    outer, extent, inner = x.split(axis).shape
    if inner == 1:
        rows = rows_per_item(extent)
        return Call(
            divide_rows_by_norm,
            (x.view(outer, extent), out.view(outer, extent)),
            items=item_count(outer, rows),
            scalars=(rows, p),
            chunk=rows * extent,
            reassociate=True,
        )
    columns = columns_per_item(outer, inner)
    norm = workspace("norm", x.dtype, (outer, inner))
    return Call(
        divide_columns_by_norm,
        (x.split(axis), norm, out.split(axis)),
        items=outer * item_count(inner, columns),
        scalars=(columns, p),
        chunk=extent * inner if columns == inner else None,
    )


def _vectors(count: int, number: int, dtype: str = "float32") -> list[Array]:
    return [tensor((count,), dtype, 0.1, 2.0, seed) for seed in range(number)]


_HALF = ("float64", "float16", "bfloat16")
batch_normalization.samples = [
    sample(tensor((2, 3, 4, 5)), *_vectors(3, 4)),
    sample(tensor((4, 3)), *_vectors(3, 4), epsilon=0.01),
    sample(tensor((2, 3, 4)), *_vectors(3, 4)),
    sample(tensor((0, 3, 4)), *_vectors(3, 4)),
    *(sample(tensor((2, 3, 4), d), *_vectors(3, 4, d)) for d in _HALF),
]
group_normalization.samples = [
    sample(tensor((2, 6, 3, 5)), *_vectors(6, 2), groups=2),
    sample(tensor((2, 6)), *_vectors(6, 2), groups=3),
    sample(tensor((2, 4, 3)), *_vectors(4, 2), groups=1, epsilon=0.1),
    sample(tensor((0, 4, 3)), *_vectors(4, 2), groups=2),
    *(sample(tensor((2, 4, 3), d), *_vectors(4, 2, d), groups=2) for d in _HALF),
]
instance_normalization.samples = [
    sample(tensor((2, 3, 4, 5)), *_vectors(3, 2)),
    sample(tensor((2, 3, 7)), *_vectors(3, 2), epsilon=0.1),
    sample(tensor((2, 0, 7)), *_vectors(0, 2)),
    *(sample(tensor((2, 3, 7), d), *_vectors(3, 2, d)) for d in _HALF),
]
lrn.samples = [
    sample(tensor((2, 7, 3, 2)), size=3, alpha=0.1),
    sample(tensor((2, 7, 3)), size=4, alpha=0.5, beta=0.5, bias=2.0),
    sample(tensor((2, 3)), size=9, alpha=1.0),
    sample(tensor((0, 3, 2)), size=2),
    *(sample(tensor((2, 5, 3), d), size=3, alpha=0.1) for d in _HALF),
]
lp_normalization.samples = [
    sample(tensor((2, 3, 4)), axis=1),
    sample(tensor((5, 7)), p=1),
    sample(values([[0.0, 0.0], [3.0, 4.0]])),
    sample(tensor((3, 0))),
    *(sample(tensor((4, 6), d), axis=0) for d in _HALF),
]
