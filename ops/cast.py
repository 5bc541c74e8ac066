"""Conversion between element types."""

from __future__ import annotations

import numpy as np

from ..ir import Array, ModelError, TensorType
from ..ir.data_type import DATA_TYPES, is_float, is_integer, kind_of, numpy_type
from .define import operator
from .samples import sample, tensor, values


@operator(traits=("elementwise", "cast", "shape"))
def cast(x: Array, *, to: str) -> Array:
    """``x`` in the element type ``to`` (ONNX Cast-19).

    Floats become integers by truncation; what does not fit is moved into int64 (for uint64:
    numbers above 0 into uint64) and its low bits are kept, NaN gives 0. Integers keep their low
    bits. Floats are rounded to the nearest, ties to even. Bool is "not 0". Integers become
    16-bit floats by way of float32.
    """
    if x.dtype == object:
        if not is_integer(to):
            raise ModelError(f"cast of symbolic extents to {to}")
        return x.copy()
    source = x.dtype.name
    if source == to:
        return x.copy()
    if to == "bool":
        return np.asarray(x != np.zeros((), x.dtype))
    if is_float(source) and is_integer(to):
        return _truncated(x, to)
    if to in ("float16", "bfloat16"):
        if source != "float64":
            return x.astype(np.float32).astype(numpy_type(to))
        return _to_bfloat16(x) if to == "bfloat16" else x.astype(np.float16)
    return x.astype(numpy_type(to))


# The largest floats below 2**63 and 2**64, of float32 and of float64.
_LIMITS = {
    "float32": (9223371487098961920.0, 18446742974197923840.0),
    "float64": (9223372036854774784.0, 18446744073709549568.0),
}


def _truncated(x: Array, to: str) -> Array:
    signed_limit, limit = _LIMITS["float64" if x.dtype == np.float64 else "float32"]
    wide = x.astype(np.float64)
    wide = np.where(np.isnan(wide), 0.0, wide)
    whole = np.clip(wide, -(2.0**63), signed_limit).astype(np.int64)
    if to == "uint64":
        positive = np.clip(wide, 0.0, limit).astype(np.uint64)
        return np.where(wide >= 0, positive, whole.astype(np.uint64))
    return whole.astype(numpy_type(to))


def _to_bfloat16(x: Array) -> Array:
    """float64 to bfloat16 in one rounding: by way of float32 rounded to odd, which is exact."""
    near = x.astype(np.float32)
    back = near.astype(np.float64)
    bits = near.view(np.uint32) if near.ndim else near.reshape(1).view(np.uint32).reshape(())
    inexact = np.isfinite(x) & np.isfinite(near) & (back != x)
    # Truncated towards zero, then made odd; beyond the largest float32 nothing has to be done.
    above = inexact & (np.abs(back) > np.abs(x))
    odd = np.where(inexact, (bits - above.astype(np.uint32)) | np.uint32(1), bits)
    return np.asarray(odd.astype(np.uint32)).view(np.float32).astype(numpy_type("bfloat16"))


@cast.infer
def _(x: TensorType, *, to: str) -> TensorType:
    kind_of(to)
    return x.with_dtype(to)


_NUMBERS = [-3.7, -1.0, -0.5, 0.0, 0.5, 1.0, 2.5, 3.5, 100.7]
_EXTREME = [np.nan, np.inf, -np.inf, 1e30, -1e30, 300.5, -300.5, 3e9, 1e19]

cast.samples = [
    *(
        sample(
            tensor((7,), source, -4.0, 100.0)
            if source.startswith(("float", "bfloat"))
            else tensor((7,), source, -100, 100),
            to=target,
        )
        for source in DATA_TYPES
        for target in DATA_TYPES
    ),
    *(sample(values(_NUMBERS), to=target) for target in ("int8", "uint8", "bool", "int64")),
    *(
        sample(values(_EXTREME, source), to=target)
        for source in ("float32", "float64")
        for target in ("int8", "int32", "uint32", "int64", "uint64", "bool", "float16")
    ),
    sample(values([-(2**63), 2**63 - 1, 2**40 + 7, -1], "int64"), to="int32"),
    sample(values([2**64 - 1, 2**63, 2**53 + 1], "uint64"), to="float32"),
    sample(values([2**64 - 1, 2**63, 2**53 + 1], "uint64"), to="float64"),
    sample(values([65504, 65520, 65519, 2049, 2051], "int32"), to="float16"),
    sample(values([1.0 + 2.0**-8 + 2.0**-40, 1.0 + 2.0**-8, 1e300], "float64"), to="bfloat16"),
    sample(values([1e-8, 6e-8, 65519.9, 65520.0, np.nan], "float64"), to="float16"),
    sample(values(1.5), to="float64"),
    sample(tensor((0, 3)), to="int32"),
]
