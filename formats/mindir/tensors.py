"""MindIR tensors to arrays: raw data in the file or in data files beside it, read when needed."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from ...ir import (
    Array,
    FormatError,
    LazyArray,
    LimitError,
    ModelError,
    TensorType,
    UnsupportedError,
)
from ...ir.data_type import item_size
from ..external import ExternalData
from ..limits import Limits
from ..payloads import Payloads
from .element_types import element_type

# Larger arrays stay in the file's bytes until they are used.
_SMALL = 4096
_TYPED = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


class TensorReader:
    """Reads the tensors of one model."""

    def __init__(
        self, limits: Limits, external: ExternalData, payloads: Payloads | None = None
    ) -> None:
        self._limits = limits
        self._external = external
        self._payloads = payloads or Payloads()

    def type_of(self, proto: Any, what: str) -> TensorType:
        """Element type and shape, checked against the limits."""
        dtype = element_type(proto.data_type, what)
        dims = list(proto.dims)
        if any(extent < 0 for extent in dims):
            raise ModelError(f"{what}: its shape {dims[:16]} has negative extents")
        if len(dims) > 64:
            raise ModelError(f"{what}: it has {len(dims)} dimensions; 64 is the most")
        # Without elements too: an array keeps the distances between its elements.
        if math.prod(max(e, 1) for e in dims) * item_size(dtype) > self._limits.tensor_bytes:
            raise LimitError(f"{what}: a tensor of shape {dims[:16]} is larger than allowed")
        if proto.compression_type:
            raise UnsupportedError(f"{what}: compressed tensors are not supported")
        return TensorType(dtype, tuple(dims))

    def lazy(self, proto: Any, what: str) -> LazyArray | Array:
        """The tensor; its size is checked now, its elements are read when needed."""
        type_ = self.type_of(proto, what)
        nbytes = math.prod(type_.static_shape) * item_size(type_.dtype)
        if proto.HasField("external_data") and proto.external_data.location:
            if proto.raw_data:
                raise FormatError(f"{what}: it has both external and own data")
            given = proto.external_data
            entries = [("location", given.location), ("offset", str(given.offset))]
            if given.HasField("length"):
                entries.append(("length", str(given.length)))
            data = self._external.find(entries, nbytes, what)
            return LazyArray(type_, lambda: from_bytes(data, type_))
        held = self._payloads.bytes_of(proto.raw_data)
        stored = len(held)
        if not stored and nbytes and any(len(getattr(proto, field)) for field in _TYPED):
            raise UnsupportedError(f"{what}: MindIR keeps elements in raw_data, not typed fields")
        if stored != nbytes:
            raise FormatError(f"{what}: {type_} needs {nbytes} bytes, {stored} are stored")
        if nbytes < _SMALL:
            return from_bytes(held, type_)
        return LazyArray(type_, lambda: from_bytes(held, type_))

    def array(self, proto: Any, what: str) -> Array:
        """The tensor, read now."""
        held = self.lazy(proto, what)
        array: Array = held.load() if isinstance(held, LazyArray) else held
        return array


def from_bytes(data: Any, type_: TensorType) -> Array:
    """An array over little-endian bytes."""
    if type_.dtype == "bool":
        truth: Array = np.reshape(np.frombuffer(data, np.uint8) != 0, type_.static_shape)
        return truth
    if len(data) == 0:
        return np.zeros(type_.static_shape, type_.numpy)
    array: Array = np.frombuffer(data, type_.numpy)
    if sys.byteorder == "big":
        array = array.byteswap()
    found: Array = array.reshape(type_.static_shape)
    return found
