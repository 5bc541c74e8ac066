"""ONNX tensors to arrays: all typed fields, raw data, external data, sparse tensors."""

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

# Which typed field holds an element type without raw data.
_FIELDS = {
    "float32": "float_data",
    "float64": "double_data",
    "int64": "int64_data",
    "uint64": "uint64_data",
    "uint32": "uint64_data",
}
_ALL_FIELDS = (*sorted(set(_FIELDS.values())), "int32_data", "string_data")
_EXTERNAL = 1


class TensorReader:
    """Reads tensors of one model; large ones stay in the file's bytes until they are needed."""

    def __init__(
        self, limits: Limits, external: ExternalData, payloads: Payloads | None = None
    ) -> None:
        self._limits = limits
        self._external = external
        self._payloads = payloads or Payloads()

    def type_of(self, proto: Any, what: str) -> TensorType:
        """Element type and shape of a TensorProto, checked against the limits."""
        dtype = element_type(proto.data_type, what)
        if any(extent < 0 for extent in proto.dims):
            raise ModelError(f"{what}: its shape {list(proto.dims)[:16]} has negative extents")
        if len(proto.dims) > 64:
            raise ModelError(f"{what}: it has {len(proto.dims)} dimensions; 64 is the most")
        type_ = TensorType(dtype, tuple(proto.dims))
        # Without elements too: an array keeps the distances between its elements.
        if math.prod(max(e, 1) for e in proto.dims) * item_size(dtype) > self._limits.tensor_bytes:
            raise LimitError(f"{what}: {type_} is larger than {self._limits.tensor_bytes} bytes")
        if proto.HasField("segment"):
            raise UnsupportedError(f"{what}: tensors in segments are not supported")
        return type_

    def lazy(self, proto: Any, what: str) -> LazyArray | Array:
        """The tensor; its size is checked now, its elements are read when needed."""
        type_ = self.type_of(proto, what)
        count, nbytes = math.prod(type_.static_shape), int(type_.nbytes)  # type: ignore[arg-type]
        if proto.data_location == _EXTERNAL:
            if proto.HasField("raw_data") or any(len(getattr(proto, f)) for f in _ALL_FIELDS):
                raise FormatError(f"{what}: it has both external and own data")
            entries = [(entry.key, entry.value) for entry in proto.external_data]
            data = self._external.find(entries, nbytes, what)
            return LazyArray(type_, lambda: _from_bytes(data, type_))
        if proto.HasField("raw_data"):
            held = self._payloads.bytes_of(proto.raw_data)
            if len(held) != nbytes:
                stored = len(held)
                raise FormatError(f"{what}: {type_} needs {nbytes} bytes, {stored} are stored")
            if nbytes < 4096:
                return _from_bytes(held, type_)
            return LazyArray(type_, lambda: _from_bytes(held, type_))
        field = _FIELDS.get(type_.dtype, "int32_data")
        stored = len(getattr(proto, field))
        if stored != count:
            raise FormatError(f"{what}: {type_} needs {count} elements, {stored} are stored")
        if nbytes < 4096:
            return _from_field(proto, field, type_, what)
        return LazyArray(type_, lambda: _from_field(proto, field, type_, what))

    def array(self, proto: Any, what: str) -> Array:
        """The tensor, read now."""
        held = self.lazy(proto, what)
        return np.asarray(held.load()) if isinstance(held, LazyArray) else held

    def sparse(self, proto: Any, what: str) -> Array:
        """A SparseTensorProto as a dense array; zeros take memory, so the size is limited."""
        values = self.array(proto.values, what)
        indices = self.array(proto.indices, f"{what}, indices")
        shape = tuple(proto.dims)
        if any(extent < 0 for extent in shape) or values.ndim != 1 or indices.dtype != np.int64:
            raise FormatError(f"{what}: not a valid sparse tensor")
        size = math.prod(shape)
        if size * values.itemsize > self._limits.built_bytes:
            raise LimitError(f"{what}: a sparse tensor of shape {shape} is too large to be filled")
        count = values.shape[0]
        if indices.shape == (count, len(shape)) and indices.ndim == 2:
            if np.any(indices < 0) or np.any(indices >= np.array(shape, np.int64)):
                raise FormatError(f"{what}: an index is outside its shape {shape}")
            flat = np.zeros(count, np.int64)
            for axis, extent in enumerate(shape):
                flat = flat * extent + indices[:, axis]
        elif indices.shape == (count,):
            flat = indices
        else:
            raise FormatError(f"{what}: indices of shape {indices.shape} for {count} values")
        if np.any(flat < 0) or np.any(flat >= size):
            raise FormatError(f"{what}: an index is outside its shape {shape}")
        dense = np.zeros(size, values.dtype)
        dense[flat] = values
        return dense.reshape(shape)


def _from_bytes(data: Any, type_: TensorType) -> Array:
    """An array over little-endian bytes."""
    if type_.dtype == "bool":
        return np.asarray(np.frombuffer(data, np.uint8) != 0).reshape(type_.static_shape)
    if len(data) == 0:
        return np.zeros(type_.static_shape, type_.numpy)
    array = np.frombuffer(data, type_.numpy)
    if sys.byteorder == "big":
        array = array.byteswap()
    return array.reshape(type_.static_shape)


def _from_field(proto: Any, field: str, type_: TensorType, what: str) -> Array:
    stored = getattr(proto, field)
    shape = type_.static_shape
    if field != "int32_data":
        if type_.dtype == "uint32" and any(item >> 32 for item in stored):
            raise FormatError(f"{what}: an element does not fit into uint32")
        return np.array(stored, type_.numpy).reshape(shape)
    wide = np.array(stored, np.int32)
    if type_.dtype == "bool":
        return np.asarray(wide != 0).reshape(shape)
    if type_.dtype in ("float16", "bfloat16"):
        if np.any((wide < 0) | (wide > 0xFFFF)):
            raise FormatError(f"{what}: an element does not fit into {type_.dtype}")
        return np.asarray(wide.astype(np.uint16).view(type_.numpy)).reshape(shape)
    narrow = wide.astype(type_.numpy)
    if np.any(narrow.astype(np.int64) != wide):
        raise FormatError(f"{what}: an element does not fit into {type_.dtype}")
    return narrow.reshape(shape)
