"""What checkpoints hold: arrays that are read when needed, texts, and hash tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from ...ir import Array, FormatError, LazyArray, TensorType, UnsupportedError
from ...ir.data_type import DATA_TYPES

TEXT = "str"
# Arrays keep the distances between their elements, also where an extent is 0.
_MOST_ELEMENTS = 1 << 56

INT4 = "Int4"  # two 4-bit numbers an element; elements are int8

# MindSpore's name of an element type -> NumPy's.
ELEMENT_TYPES: dict[str, np.dtype[np.generic]] = {
    "Float16": np.dtype(np.float16),
    "Float32": np.dtype(np.float32),
    "Float64": np.dtype(np.float64),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Int8": np.dtype(np.int8),
    "Int16": np.dtype(np.int16),
    "Int32": np.dtype(np.int32),
    "Int64": np.dtype(np.int64),
    "UInt8": np.dtype(np.uint8),
    "UInt16": np.dtype(np.uint16),
    "UInt32": np.dtype(np.uint32),
    "UInt64": np.dtype(np.uint64),
    "Bool": np.dtype(np.bool_),
    INT4: np.dtype(np.int8),
    "Complex64": np.dtype(np.complex64),
    "Complex128": np.dtype(np.complex128),
}
TYPE_NAMES = {dtype.name: name for name, dtype in ELEMENT_TYPES.items() if name != INT4}


@dataclass(frozen=True, slots=True)
class StoredArray:
    """One array of a file: its bytes, in pieces, are looked at when they are asked for.

    ``type`` is MindSpore's name of the element type (a key of ``ELEMENT_TYPES``).
    """

    name: str
    type: str
    shape: tuple[int, ...]
    pieces: tuple[memoryview, ...]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """NumPy's element type."""
        return ELEMENT_TYPES[self.type]

    @property
    def size(self) -> int:
        """Number of elements."""
        result = 1
        for extent in self.shape:
            result *= extent
        return result

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    def array(self) -> Array:
        """The elements; a read-only look into the file where its layout allows that."""
        data = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        if self.type == "Bool":
            if np.frombuffer(data, np.uint8).max(initial=0) > 1:
                raise FormatError(f"{self.name}: a truth value is neither 0 nor 1")
        result = np.frombuffer(data, self.dtype.newbyteorder("<")).reshape(self.shape)
        result = result.astype(self.dtype, copy=False)
        return result if result.flags.aligned else result.copy()

    def lazy(self) -> LazyArray:
        """The array as graphs and networks hold it; raises UnsupportedError for complex ones."""
        if self.dtype.name not in DATA_TYPES:
            raise UnsupportedError(
                f"{self.name} has elements of type {self.type}; opweave has {', '.join(DATA_TYPES)}"
            )
        return LazyArray(TensorType(self.dtype.name, self.shape), self.array)


@dataclass(frozen=True, slots=True)
class StoredText:
    """A text among the arrays."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class StoredMap:
    """A hash table (MindSpore's MapParameter): keys [n], values [n, ...], status [n]."""

    name: str
    keys: Array
    values: Array
    status: Array


Entry = StoredArray | StoredText | StoredMap


class Checkpoint(Mapping[str, Entry]):
    """The entries of a checkpoint by name, in the order of the file."""

    def __init__(self, entries: Sequence[Entry], metadata: Mapping[str, str] | None = None) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self.metadata = dict(metadata or {})

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def stored(name: str, array: Array) -> StoredArray:
    """An array in memory as an entry; raises UnsupportedError for a type no checkpoint has."""
    if array.dtype.name not in TYPE_NAMES:
        known = ", ".join(TYPE_NAMES)
        raise UnsupportedError(f"{name} is of type {array.dtype}; checkpoints hold {known}")
    ordered = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    raw: Any = ordered.reshape(-1).view(np.uint8) if array.size else b""
    return StoredArray(name, TYPE_NAMES[array.dtype.name], array.shape, (memoryview(raw),))


def check_sizes(entry: StoredArray) -> StoredArray:
    """The entry, if it has as many bytes as its shape says; else FormatError."""
    there = sum(len(piece) for piece in entry.pieces)
    if math.prod(max(extent, 1) for extent in entry.shape) >= _MOST_ELEMENTS:
        raise FormatError(f"{entry.name}: its shape {list(entry.shape)[:16]} is impossible")
    if there != entry.nbytes:
        raise FormatError(
            f"{entry.name} is {entry.type}{list(entry.shape)}, which takes {entry.nbytes} bytes; "
            f"the file has {there}"
        )
    return entry


__all__ = [
    "ELEMENT_TYPES",
    "INT4",
    "TEXT",
    "TYPE_NAMES",
    "Checkpoint",
    "Entry",
    "StoredArray",
    "StoredMap",
    "StoredText",
    "check_sizes",
    "stored",
]
