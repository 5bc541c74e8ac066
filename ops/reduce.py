"""Reductions over any axes: sum, mean, max, min, product, norms, logarithms of sums.

References compute floats in float64. Reducing no elements gives 0 for sums, 1 for products, the
least value of the type for max and the greatest for min, NaN for a mean of floats.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir import Array, ModelError, Op, Operand, TensorType, dim
from ..ir.data_type import is_float, kind_of
from .define import operator
from .reduce_kernels import Reduction, reduction_calls
from .reduce_log_sum_exp import log_sum_exp_calls
from .samples import sample, tensor, values

Axes = tuple[int, ...]


def _wide(x: Array) -> Array:
    return x.astype(np.float64) if x.dtype != object and is_float(x.dtype.name) else x


def _extremes(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The least and the greatest value of an element type (floats are in float64)."""
    if dtype.kind == "b":
        return False, True
    if dtype.kind == "f":
        return -np.inf, np.inf
    limits = np.iinfo(dtype)
    return limits.min, limits.max


def _extremum(what: str, x: Array, axes: Axes, keepdims: bool) -> Array:
    if x.dtype == object:
        function = np.frompyfunc(getattr(dim, what), 2, 1)
        for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
            x = np.asarray(function.reduce(x, axis=axis, keepdims=keepdims))
        return x
    wide = _wide(x)
    least, greatest = _extremes(wide.dtype)
    if what == "maximum":
        result = np.max(wide, axis=axes, keepdims=keepdims, initial=least)
    else:
        result = np.min(wide, axis=axes, keepdims=keepdims, initial=greatest)
    return np.asarray(result).astype(x.dtype)


# --- the operators -----------------------------------------------------------------------


@operator(traits=("reduction", "shape"))
def reduce_sum(x: Array, *, axes: Axes, keepdims: bool = True) -> Array:
    """The sum over ``axes`` (ONNX ReduceSum-13); integers wrap around."""
    wide = _wide(x)
    return np.asarray(np.sum(wide, axes, dtype=wide.dtype, keepdims=keepdims)).astype(x.dtype)


@operator(traits=("reduction",))
def reduce_mean(x: Array, *, axes: Axes, keepdims: bool = True) -> Array:
    """The mean over ``axes`` (ONNX ReduceMean-18).

    Integers are summed in 64 bits and divided towards zero; the mean of none is 0.
    """
    if is_float(x.dtype.name):
        wide = _wide(x)
        count = np.prod([x.shape[axis] for axis in axes], dtype=np.float64)
        return np.asarray(np.sum(wide, axes, keepdims=keepdims) / count).astype(x.dtype)
    number = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    kind = np.int64 if x.dtype.kind == "i" else np.uint64
    total = np.asarray(np.sum(x, axes, dtype=kind, keepdims=keepdims))
    if number == 0:
        return np.zeros(total.shape, x.dtype)
    size = np.abs(total).view(np.uint64) // np.uint64(number)
    return np.where(total < 0, (np.uint64(0) - size).view(kind), size.view(kind)).astype(x.dtype)


@operator(traits=("reduction", "shape"))
def reduce_max(x: Array, *, axes: Axes, keepdims: bool = True) -> Array:
    """The largest element over ``axes``; NaN if there is one (ONNX ReduceMax-20)."""
    return _extremum("maximum", x, axes, keepdims)


@operator(traits=("reduction", "shape"))
def reduce_min(x: Array, *, axes: Axes, keepdims: bool = True) -> Array:
    """The smallest element over ``axes``; NaN if there is one (ONNX ReduceMin-20)."""
    return _extremum("minimum", x, axes, keepdims)


@operator(traits=("reduction", "shape"))
def reduce_prod(x: Array, *, axes: Axes, keepdims: bool = True) -> Array:
    """The product over ``axes`` (ONNX ReduceProd-18); integers wrap around."""
    wide = _wide(x)
    return np.asarray(np.prod(wide, axes, dtype=wide.dtype, keepdims=keepdims)).astype(x.dtype)


@operator(traits=("reduction",))
def reduce_l1(x: Array, *, axes: Axes, keepdims: bool = True) -> Array:
    """The sum of absolute values over ``axes`` (ONNX ReduceL1-18)."""
    return np.asarray(reduce_sum.reference(np.abs(_wide(x)), axes=axes, keepdims=keepdims)).astype(
        x.dtype
    )


@operator(traits=("reduction",))
def reduce_l2(x: Array, *, axes: Axes, keepdims: bool = True) -> Array:
    """The root of the sum of squares over ``axes``, of floats (ONNX ReduceL2-18)."""
    wide = _wide(x)
    return np.asarray(np.sqrt(np.sum(wide * wide, axes, keepdims=keepdims)), x.dtype)


@operator(traits=("reduction",))
def reduce_sum_square(x: Array, *, axes: Axes, keepdims: bool = True) -> Array:
    """The sum of squares over ``axes`` (ONNX ReduceSumSquare-18); integers wrap around."""
    wide = _wide(x)
    squares = wide * wide
    return np.asarray(np.sum(squares, axes, dtype=wide.dtype, keepdims=keepdims)).astype(x.dtype)


@operator(traits=("reduction",))
def reduce_log_sum(x: Array, *, axes: Axes, keepdims: bool = True) -> Array:
    """The logarithm of the sum over ``axes``, of floats (ONNX ReduceLogSum-18)."""
    return np.asarray(np.log(np.sum(_wide(x), axes, keepdims=keepdims)), x.dtype)


@operator(traits=("reduction",))
def reduce_log_sum_exp(x: Array, *, axes: Axes, keepdims: bool = True) -> Array:
    """The logarithm of the sum of exponentials over ``axes``, of floats (ONNX
    ReduceLogSumExp-18); it does not overflow.
    """
    wide = _wide(x)
    largest = np.max(wide, axis=axes, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    total = np.log(np.sum(np.exp(wide - shift), axes, keepdims=True)) + shift
    return np.asarray(total if keepdims else total.reshape(np.sum(wide, axes).shape), x.dtype)


# --- inference ---------------------------------------------------------------------------

_WITH_BOOL = {"reduce_max", "reduce_min"}
_FLOATS_ONLY = {"reduce_l2", "reduce_log_sum", "reduce_log_sum_exp"}


def _infer(op: Op) -> Callable[..., TensorType]:
    def infer(x: TensorType, *, axes: Axes, keepdims: bool) -> TensorType:
        chosen = {x.axis(axis) for axis in axes}
        if len(chosen) != len(axes) or (axes and x.rank == 0):
            raise ModelError(f"{op.name}: the axes {axes} do not fit {x}")
        kind = kind_of(x.dtype)
        if (kind == "bool" and op.name not in _WITH_BOOL) or (
            kind != "float" and op.name in _FLOATS_ONLY
        ):
            raise ModelError(f"{op.name} does not take {x.dtype} tensors")
        if keepdims:
            return x.with_shape([1 if k in chosen else e for k, e in enumerate(x.shape)])
        return x.with_shape([e for k, e in enumerate(x.shape) if k not in chosen])

    return infer


# --- kernels -----------------------------------------------------------------------------


def _kernel(reduction: Reduction) -> Callable[..., Any]:
    def build(x: Operand, out: Operand, *, axes: Axes, keepdims: bool) -> Any:
        return reduction_calls(reduction, x, out, axes)

    return build


@reduce_log_sum_exp.kernel
def _(x: Operand, out: Operand, *, axes: Axes, keepdims: bool) -> Any:
    return log_sum_exp_calls(x, out, axes)


REDUCTIONS: tuple[Op, ...] = (
    *(reduce_sum, reduce_mean, reduce_max, reduce_min, reduce_prod, reduce_l1, reduce_l2),
    *(reduce_log_sum, reduce_log_sum_exp, reduce_sum_square),
)
for _op in REDUCTIONS:
    _op.infer(_infer(_op))
for _op, _reduction in (
    (reduce_sum, Reduction("sum")),
    (reduce_mean, Reduction("sum", last="mean")),
    (reduce_max, Reduction("max")),
    (reduce_min, Reduction("min")),
    (reduce_prod, Reduction("product")),
    (reduce_l1, Reduction("sum", first="absolute")),
    (reduce_l2, Reduction("sum", first="square", last="root")),
    (reduce_sum_square, Reduction("sum", first="square")),
    (reduce_log_sum, Reduction("sum", last="log")),
):
    _op.kernel(_kernel(_reduction))


# --- samples -----------------------------------------------------------------------------


def _give_samples(op: Op, low: float) -> None:
    make = functools.partial(tensor, low=low)
    op.samples = [
        sample(make((2, 3, 4)), axes=(1,)),
        sample(make((2, 3, 4)), axes=(0, 1, 2)),
        sample(make((2, 3, 4, 5)), axes=(0, 2), keepdims=False),
        sample(make((2, 3, 4, 5)), axes=(-1, 1)),
        sample(make((3, 2, 2, 3, 2, 2)), axes=(0, 2, 4)),
        sample(make((5, 37)), axes=(1,), keepdims=False),
        sample(make((3, 1030)), axes=(-1,)),
        sample(make((5, 37)), axes=(0,)),
        sample(make((5, 3)), axes=()),
        sample(make(()), axes=()),
        sample(make((3, 0)), axes=(1,)),
        sample(make((0, 3)), axes=(0,), keepdims=False),
        sample(make((0, 3)), axes=(1,)),
        sample(make((2, 0, 3)), axes=(0, 2)),
        sample(make((4, 6), "float64"), axes=(1,)),
        sample(make((4, 6), "float16"), axes=(1,)),
        sample(make((4, 6), "bfloat16"), axes=(0,)),
    ]
    if op.name in _FLOATS_ONLY:
        return
    op.samples += [
        sample(tensor((3, 5), "int8", -9, 9), axes=(1,)),
        sample(tensor((3, 5), "int8", -128, 127), axes=(0,)),
        sample(tensor((3, 5), "uint8", 0, 255), axes=(0, 1)),
        sample(tensor((3, 5), "int32", -99, 99), axes=(0,)),
        sample(tensor((2, 3, 5), "int64", -99, 99), axes=(0, 2)),
        sample(tensor((3, 5), "uint64", 0, 99), axes=(1,)),
        sample(tensor((3, 0), "int32"), axes=(1,)),
        sample(tensor((3, 0), "uint64"), axes=(1,)),
    ]


for _op in REDUCTIONS:
    _give_samples(_op, 0.1 if _op is reduce_log_sum else -2.0)
for _op in (reduce_max, reduce_min):
    _op.samples += [
        sample(values([[np.nan, 1.0], [1.0, np.nan], [-np.inf, np.inf]]), axes=(1,)),
        sample(values([[np.nan, 1.0], [1.0, np.nan], [-np.inf, np.inf]]), axes=(0,)),
        sample(values([[-0.0, -np.inf]]), axes=(0, 1)),
        sample(tensor((3, 300)), axes=(1,)),
        sample(tensor((70, 49)), axes=(1,)),
        sample(np.where(tensor((9, 70)) > 1.9, np.nan, 1.0).astype(np.float32), axes=(1,)),
        sample(tensor((2, 33000)), axes=(1,)),
        sample(tensor((3, 4), "bool"), axes=(1,)),
        sample(tensor((3, 4), "bool"), axes=(0,)),
        sample(tensor((3, 0), "bool"), axes=(1,)),
    ]
_special = values([[np.inf, 1.0], [-np.inf, -np.inf], [np.nan, 1.0], [1000.0, 999.0]])
reduce_log_sum_exp.samples += [sample(_special, axes=(1,)), sample(_special, axes=(0,))]
