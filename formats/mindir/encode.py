"""Python values and types as MindIR messages, in the encoding of MindSpore 1.7 and later."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Array, ModelError, TensorType
from .element_types import NUMBERS

# Numbers of mind_ir.AttributeProto.AttributeType.
_FLOAT, _INT64, _STRING, _BOOL = 1, 7, 8, 9
_TENSORS, _TUPLE, _NONE = 19, 20, 25
_CLOSURE = 27


def fill_value(proto: Any, item: Any, inside: bool = False) -> None:
    """Put a Python value or an array into an AttributeProto."""
    if isinstance(item, (bool, np.bool_)):
        proto.type = _BOOL
        _number(proto, "i", "ints", int(item), inside)
    elif isinstance(item, (int, np.integer)):
        proto.type = _INT64
        _number(proto, "i", "ints", int(item), inside)
    elif isinstance(item, (float, np.floating)):
        proto.type = _FLOAT
        _number(proto, "f", "floats", float(item), inside)
    elif isinstance(item, str):
        proto.type = _STRING
        _number(proto, "s", "strings", item.encode(), inside)
    elif item is None:
        proto.type = _NONE
    elif isinstance(item, (tuple, list)):
        proto.type = _TUPLE
        for part in item:
            fill_value(proto.values.add(), part, inside=True)
    elif isinstance(item, np.ndarray):
        proto.type = _TENSORS
        fill_tensor(proto.tensors.add(name="value0"), item)
    else:
        raise ModelError(f"{type(item).__name__} is no value of MindIR")


def _number(proto: Any, field: str, repeated: str, value: Any, inside: bool) -> None:
    # Inside a tuple a leaf is a list of one.
    if inside:
        getattr(proto, repeated).append(value)
    else:
        setattr(proto, field, value)


def fill_tensor(proto: Any, array: Array) -> None:
    """Put an array into a TensorProto."""
    fill_type(proto, TensorType.of(array))
    proto.raw_data = little_endian(array)


def fill_type(proto: Any, type_: TensorType) -> None:
    """Element type and shape of a TensorProto; -1 stands for extents that vary."""
    proto.data_type = NUMBERS[type_.dtype]
    proto.dims.extend(extent if isinstance(extent, int) else -1 for extent in type_.shape)


def fill_result(proto: Any, types: Sequence[TensorType], single: bool) -> None:
    """The attribute that tells the type of a node's result."""
    proto.name = "shape"
    if single:
        proto.type = _TENSORS
        fill_type(proto.tensors.add(name="shape1"), types[0])
        return
    proto.type = _TUPLE
    for position, type_ in enumerate(types):
        part = proto.values.add(type=_TENSORS)
        fill_type(part.tensors.add(name=f"shape{position + 1}"), type_)
    proto.seq_info.is_dyn_len = False


def fill_function_result(proto: Any) -> None:
    """The same for a node whose result is a function."""
    proto.name, proto.type = "shape", _CLOSURE


def little_endian(array: Array) -> bytes:
    """The elements' bytes, row by row."""
    held = np.ascontiguousarray(array)
    if sys.byteorder == "big":
        held = held.byteswap()
    return bytes(held.tobytes())
