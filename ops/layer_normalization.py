"""Normalisations over trailing dimensions."""

from __future__ import annotations

import numpy as np

from ..ir import Array, Call, ModelError, Operand, TensorType, View, unify
from ..ir.dim import product
from .define import operator
from .half import widened
from .normalization import centred_and_scaled, check_floating, normalization_cost
from .normalization_kernels import (
    normalize_layers,
    normalize_layers_statistics,
    normalize_roots,
)
from .rows import item_count, rows_per_item
from .samples import sample, tensor, values


@operator(traits=("normalization",))
def layer_normalization_statistics(
    x: Array, scale: Array, bias: Array | None = None, *, axis: int = -1, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """``layer_normalization`` with the mean and the inverse standard deviation.

    ONNX LayerNormalization-17 with all its outputs. The statistics have extent 1 from ``axis``
    on and are float32 for half-precision inputs.
    """
    centred, mean, inverse = centred_and_scaled(x, axis, epsilon)
    result = centred * inverse * widened(scale)
    if bias is not None:
        result = result + widened(bias)
    return result.astype(x.dtype, copy=False), mean, inverse


@operator(traits=("normalization",))
def layer_normalization(
    x: Array, scale: Array, bias: Array | None = None, *, axis: int = -1, epsilon: float = 1e-5
) -> Array:
    """Zero mean and unit variance over the dimensions from ``axis`` on, then ``scale``, ``bias``.

    ONNX LayerNormalization-17; ``scale`` and ``bias`` have the shape ``x.shape[axis:]``.
    """
    result: Array = layer_normalization_statistics.reference(
        x, scale, bias, axis=axis, epsilon=epsilon
    )[0]
    return result


def _infer_layer(
    what: str, x: TensorType, scale: TensorType, bias: TensorType | None, axis: int
) -> int:
    check_floating(what, x, scale, bias)
    axis = x.axis(axis)
    for vector in (scale, bias):
        if vector is None:
            continue
        if vector.rank != x.rank - axis:
            raise ModelError(f"{what}: {vector} for {x} from axis {axis} on; expand it first")
        for left, right in zip(vector.shape, x.shape[axis:], strict=True):
            unify(left, right, f"{what}: {vector} for {x} from axis {axis} on")
    return axis


@layer_normalization.infer
def _(
    x: TensorType, scale: TensorType, bias: TensorType | None = None, *, axis: int, epsilon: float
) -> TensorType:
    _infer_layer("layer_normalization", x, scale, bias, axis)
    return x


@layer_normalization_statistics.infer
def _(
    x: TensorType, scale: TensorType, bias: TensorType | None = None, *, axis: int, epsilon: float
) -> tuple[TensorType, TensorType, TensorType]:
    axis = _infer_layer("layer_normalization_statistics", x, scale, bias, axis)
    statistics = TensorType(
        "float64" if x.dtype == "float64" else "float32",
        (*x.shape[:axis], *(1,) * (x.rank - axis)),
    )
    return x, statistics, statistics


@operator(traits=("normalization",))
def rms_normalization(x: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5) -> Array:
    """``x / sqrt(mean(x ** 2) + epsilon) * scale`` over the dimensions from ``axis`` on.

    ONNX RMSNormalization-23; ``scale`` has the shape ``x.shape[axis:]``.
    """
    wide = widened(x)
    axes = tuple(range(axis % x.ndim, x.ndim))
    square = np.square(wide).mean(axis=axes, keepdims=True)
    result = wide / np.sqrt(square + wide.dtype.type(epsilon)) * widened(scale)
    return np.asarray(result).astype(x.dtype, copy=False)


@rms_normalization.infer
def _(x: TensorType, scale: TensorType, *, axis: int, epsilon: float) -> TensorType:
    _infer_layer("rms_normalization", x, scale, None, axis)
    return x


def _rows(operand: Operand, axis: int) -> View:
    axis = operand.type.axis(axis)
    return operand.view(product(operand.shape[:axis]), product(operand.shape[axis:]))


@layer_normalization.kernel
def _(
    x: Operand, scale: Operand, bias: Operand | None, out: Operand, *, axis: int, epsilon: float
) -> Call:
    seen = _rows(x, axis)
    rows = rows_per_item(seen.shape[1])
    return Call(
        normalize_layers,
        (seen, scale.flat(), (bias or scale).flat(), _rows(out, axis)),
        items=item_count(seen.shape[0], rows),
        scalars=(float(epsilon), rows, int(bias is not None)),
        chunk=rows * seen.shape[1],
        reassociate=True,
    )


@layer_normalization_statistics.kernel
def _(
    x: Operand,
    scale: Operand,
    bias: Operand | None,
    out: Operand,
    mean: Operand,
    inverse: Operand,
    *,
    axis: int,
    epsilon: float,
) -> Call:
    seen = _rows(x, axis)
    rows = rows_per_item(seen.shape[1])
    outputs = (_rows(out, axis), mean.flat(), inverse.flat())
    return Call(
        normalize_layers_statistics,
        (seen, scale.flat(), (bias or scale).flat(), *outputs),
        items=item_count(seen.shape[0], rows),
        scalars=(float(epsilon), rows, int(bias is not None)),
        chunk=rows * seen.shape[1],
        reassociate=True,
    )


@rms_normalization.kernel
def _(x: Operand, scale: Operand, out: Operand, *, axis: int, epsilon: float) -> Call:
    seen = _rows(x, axis)
    rows = rows_per_item(seen.shape[1])
    return Call(
        normalize_roots,
        (seen, scale.flat(), _rows(out, axis)),
        items=item_count(seen.shape[0], rows),
        scalars=(float(epsilon), rows),
        chunk=rows * seen.shape[1],
        reassociate=True,
    )


for _op in (layer_normalization, layer_normalization_statistics, rms_normalization):
    _op.cost(normalization_cost)

_HALF = ("float64", "float16", "bfloat16")
layer_normalization.samples = [
    sample(tensor((4, 33)), tensor((33,)), tensor((33,), seed=1)),
    sample(tensor((2, 3, 4)), tensor((3, 4)), axis=1),
    sample(tensor((2, 3, 4)), tensor((2, 3, 4)), tensor((2, 3, 4), seed=1), axis=-3, epsilon=0.1),
    sample(tensor((0, 4)), tensor((4,))),
    sample(tensor((2, 0)), tensor((0,))),
    sample(values([[1.0, 1.0], [np.inf, 0.0], [np.nan, 0.0]]), values([1.0, 2.0])),
    *(sample(tensor((2, 9), d), tensor((9,), d), tensor((9,), d, seed=1)) for d in _HALF),
]
layer_normalization_statistics.samples = [*layer_normalization.samples]
rms_normalization.samples = [
    sample(tensor((4, 33)), tensor((33,))),
    sample(tensor((2, 3, 4)), tensor((3, 4)), axis=1, epsilon=0.1),
    sample(tensor((0, 4)), tensor((4,))),
    *(sample(tensor((2, 9), d), tensor((9,), d)) for d in _HALF),
]
