"""The element types a tensor may have, by name."""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np

from .errors import UnsupportedError

Array = np.ndarray[Any, Any]
Kind = Literal["float", "signed", "unsigned", "bool"]

_KINDS: dict[str, Kind] = {
    "float64": "float",
    "float32": "float",
    "float16": "float",
    "bfloat16": "float",
    "int64": "signed",
    "int32": "signed",
    "int16": "signed",
    "int8": "signed",
    "uint64": "unsigned",
    "uint32": "unsigned",
    "uint16": "unsigned",
    "uint8": "unsigned",
    "bool": "bool",
}

DATA_TYPES: tuple[str, ...] = tuple(_KINDS)
FLOATS = tuple(name for name, kind in _KINDS.items() if kind == "float")
INTEGERS = tuple(name for name, kind in _KINDS.items() if kind in ("signed", "unsigned"))


def kind_of(data_type: str) -> Kind:
    """Return the kind of an element type; raises UnsupportedError when there is no such type."""
    try:
        return _KINDS[data_type]
    except KeyError:
        raise UnsupportedError(
            f"element type {data_type!r} is not supported; opweave has {', '.join(_KINDS)}"
        ) from None


def is_float(data_type: str) -> bool:
    """True for the floating-point types."""
    return kind_of(data_type) == "float"


def is_integer(data_type: str) -> bool:
    """True for signed and unsigned integers; bool is not an integer."""
    return kind_of(data_type) in ("signed", "unsigned")


@functools.cache
def numpy_type(data_type: str) -> np.dtype[Any]:
    """The NumPy dtype that stores ``data_type`` (bfloat16 comes from ml_dtypes)."""
    kind_of(data_type)
    if data_type != "bfloat16":
        return np.dtype(data_type)
    import ml_dtypes  # takes as long as loading a saved model

    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return found


def item_size(data_type: str) -> int:
    """Bytes of one element."""
    return numpy_type(data_type).itemsize


def name_of(dtype: Any) -> str:
    """The name of a NumPy dtype; raises UnsupportedError when opweave has no such type."""
    name: str = np.dtype(dtype).name
    kind_of(name)
    return name
