"""Views: the same elements, in the same order, with another shape."""

from __future__ import annotations

import numpy as np

from ..ir import Array, Extent, ModelError, TensorType, unify
from ..ir.dim import product
from .define import operator
from .samples import sample, tensor


@operator(traits=("view", "shape"))
def reshape(x: Array, *, shape: tuple[Extent, ...]) -> Array:
    """``x`` with the extents ``shape``, none of them 0 or -1 in the sense of ONNX Reshape."""
    return np.reshape(x, shape)


@reshape.infer
def _(x: TensorType, *, shape: tuple[Extent, ...]) -> TensorType:
    result = x.with_shape(shape)
    if isinstance(x.size, int) and isinstance(result.size, int) and x.size != result.size:
        raise ModelError(f"reshape: {x} of {x.size} elements cannot have the shape {shape}")
    unify(x.size, product(shape), f"reshape of {x} to {shape}")
    return result


@operator(traits=("view", "shape"))
def identity(x: Array) -> Array:
    """``x`` (ONNX Identity)."""
    return x


@identity.infer
def _(x: TensorType) -> TensorType:
    return x


reshape.samples = [
    sample(tensor((2, 3, 4)), shape=(4, 6)),
    sample(tensor(()), shape=(1, 1)),
    sample(tensor((1,), "int64"), shape=()),
    sample(tensor((0, 3)), shape=(3, 0, 2)),
    sample(tensor((6,), "bfloat16"), shape=(3, 2)),
    sample(tensor((6,), "bool"), shape=(1, 6, 1)),
]
identity.samples = [sample(tensor((2, 3))), sample(tensor((), "float16")), sample(tensor((0,)))]
