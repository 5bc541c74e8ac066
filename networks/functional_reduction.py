"""Functions that sum for ``construct``: products, normalisation, softmax, reductions."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Op
from ..ops.arg_reduce import arg_max, arg_min
from ..ops.layer_normalization import layer_normalization
from ..ops.matmul import matmul as _matmul
from ..ops.normalization import batch_normalization, group_normalization, instance_normalization
from ..ops.reduce import (
    reduce_l2,
    reduce_log_sum_exp,
    reduce_max,
    reduce_min,
    reduce_prod,
)
from ..ops.scan import cum_sum
from ..ops.softmax import log_softmax as _log_softmax
from ..ops.softmax import softmax as _softmax
from ..ops.top_k import top_k
from .tensor import Expression, Tensor, apply, apply_all, axes_of

Axis = int | Sequence[int] | None


def matmul(
    x: Expression, y: Expression, transpose_a: bool = False, transpose_b: bool = False
) -> Tensor:
    """The matrix product of the last two axes; those in front broadcast."""
    return apply(_matmul, x, y, transpose_a=transpose_a, transpose_b=transpose_b)


def dense(x: Expression, weight: Expression, bias: Expression | None = None) -> Tensor:
    """``x @ weight.T + bias`` along the last axis; ``weight`` is [out, in]."""
    # One product of two matrices, however many axes there are in front.
    flat = x.reshape(-1, x.shape[-1]) if x.ndim > 2 else x
    found = matmul(flat, weight, transpose_b=True)
    if bias is not None:
        found = found + bias
    return found.reshape(*x.shape[:-1], weight.shape[0]) if x.ndim > 2 else found


def batch_norm(
    x: Expression,
    running_mean: Expression,
    running_var: Expression,
    weight: Expression,
    bias: Expression,
    eps: float = 1e-5,
) -> Tensor:
    """``(x - running_mean) / sqrt(running_var + eps) * weight + bias`` for each channel."""
    return apply(
        batch_normalization, x, weight, bias, running_mean, running_var, epsilon=float(eps)
    )


def layer_norm(
    x: Expression,
    weight: Expression,
    bias: Expression | None = None,
    axis: int = -1,
    eps: float = 1e-5,
) -> Tensor:
    """Zero mean and unit variance over the axes from ``axis`` on, then ``weight`` and ``bias``."""
    shift = bias if bias is None else _typed(bias, x)
    scale = _typed(weight, x)
    return apply(layer_normalization, x, scale, shift, axis=axis, epsilon=float(eps))


def softmax(x: Expression, axis: int = -1) -> Tensor:
    """``exp(x)`` divided by its sum along ``axis``."""
    return apply(_softmax, x, axis=axis)


def log_softmax(x: Expression, axis: int = -1) -> Tensor:
    """The logarithm of :func:`softmax`."""
    return apply(_log_softmax, x, axis=axis)


def group_norm(
    x: Expression, num_groups: int, weight: Expression, bias: Expression, eps: float = 1e-5
) -> Tensor:
    """Zero mean and unit variance over each group of channels, then ``weight`` and ``bias``."""
    operands = (x, _typed(weight, x), _typed(bias, x))
    return apply(group_normalization, *operands, groups=num_groups, epsilon=float(eps))


def instance_norm(x: Expression, weight: Expression, bias: Expression, eps: float = 1e-5) -> Tensor:
    """Zero mean and unit variance over each channel of each image, then ``weight``, ``bias``."""
    operands = (x, _typed(weight, x), _typed(bias, x))
    return apply(instance_normalization, *operands, epsilon=float(eps))


def _typed(parameter: Expression, x: Expression) -> Expression:
    return parameter if parameter.dtype == x.dtype else parameter.astype(x.dtype)


def softmin(x: Expression, axis: int = -1) -> Tensor:
    """:func:`softmax` of ``-x``."""
    return softmax(-x, axis)


# --- reductions --------------------------------------------------------------------------


def _reduced(op: Op, x: Expression, axis: Axis, keep_dims: bool) -> Tensor:
    return apply(op, x, axes=axes_of(x.type, axis), keepdims=keep_dims)


def mean(x: Expression, axis: Axis = None, keep_dims: bool = False) -> Tensor:
    """The mean over ``axis``, or over everything."""
    return x.mean(axis, keep_dims)


def sum(x: Expression, axis: Axis = None, keep_dims: bool = False) -> Tensor:
    """The sum over ``axis``, or over everything."""
    return x.sum(axis, keep_dims)


def amax(x: Expression, axis: Axis = None, keep_dims: bool = False) -> Tensor:
    """The largest element over ``axis``, or over everything."""
    return _reduced(reduce_max, x, axis, keep_dims)


def amin(x: Expression, axis: Axis = None, keep_dims: bool = False) -> Tensor:
    """The smallest element over ``axis``, or over everything."""
    return _reduced(reduce_min, x, axis, keep_dims)


def prod(x: Expression, axis: Axis = None, keep_dims: bool = False) -> Tensor:
    """The product over ``axis``, or over everything."""
    return _reduced(reduce_prod, x, axis, keep_dims)


def logsumexp(x: Expression, axis: Axis = None, keep_dims: bool = False) -> Tensor:
    """The logarithm of the sum of exponentials over ``axis``."""
    return _reduced(reduce_log_sum_exp, x, axis, keep_dims)


def norm(x: Expression, axis: Axis = None, keep_dims: bool = False) -> Tensor:
    """The square root of the sum of squares over ``axis``."""
    return _reduced(reduce_l2, x, axis, keep_dims)


def argmax(x: Expression, axis: int = -1, keepdims: bool = False) -> Tensor:
    """Where the largest element along ``axis`` is, the first of several; int64."""
    return apply(arg_max, x, axis=axis, keepdims=keepdims)


def argmin(x: Expression, axis: int = -1, keepdims: bool = False) -> Tensor:
    """Where the smallest element along ``axis`` is, the first of several; int64."""
    return apply(arg_min, x, axis=axis, keepdims=keepdims)


def topk(x: Expression, k: int, axis: int = -1) -> tuple[Tensor, Tensor]:
    """The ``k`` largest elements along ``axis``, in falling order, and their places (int32)."""
    values, places = apply_all(top_k, x, k=k, axis=axis)
    return values, places.astype("int32")


def cumsum(x: Expression, axis: int) -> Tensor:
    """The sums of the elements along ``axis`` up to each."""
    return apply(cum_sum, x, axis=axis)


bmm = matmul
