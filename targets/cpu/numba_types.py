"""Numba types of a body's parameters."""

from __future__ import annotations

from numba.core import types

from .buffer_type import BufferType
from .kernels import BodySignature


def argument_types(body: BodySignature) -> list[types.Type]:
    """The item's number, a buffer for each operand, then the scalars."""
    floating = types.float64 if body.literal_type in (None, "float64") else types.float32
    scalars = {"int64": types.int64, "float": floating}
    return [
        types.int64,
        *(_buffer(dtype, rank) for dtype, rank in body.operands),
        *(scalars[kind] for kind in body.scalars),
    ]


def _buffer(dtype: str, rank: int) -> BufferType:
    if dtype in ("float16", "bfloat16"):
        return BufferType(types.float32, rank, storage=dtype)
    return BufferType(types.boolean if dtype == "bool" else getattr(types, dtype), rank)
