"""Attributes of ONNX nodes as plain values, checked against the operator's schema."""

from __future__ import annotations

from typing import Any

from ...ir import ModelError, UnsupportedError
from .tensors import TensorReader

# Numbers of onnx.AttributeProto.AttributeType and the fields that hold the values.
_SCALARS = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 11: "sparse_tensor", 13: "tp"}
_LISTS = {6: "floats", 7: "ints", 8: "strings", 9: "tensors", 10: "graphs"}
_NAMES = {
    1: "FLOAT",
    2: "INT",
    3: "STRING",
    4: "TENSOR",
    5: "GRAPH",
    6: "FLOATS",
    7: "INTS",
    8: "STRINGS",
    9: "TENSORS",
    10: "GRAPHS",
    11: "SPARSE_TENSOR",
    12: "SPARSE_TENSORS",
    13: "TYPE_PROTO",
    14: "TYPE_PROTOS",
}


def attribute_value(proto: Any, tensors: TensorReader, what: str) -> Any:
    """The value of an AttributeProto: number, text, array, GraphProto, or a tuple of them."""
    kind = int(proto.type)
    what = f"{what}: attribute {proto.name!r}"
    if kind in _SCALARS:
        field = _SCALARS[kind]
        if kind > 3 and not proto.HasField(field):
            raise ModelError(f"{what} has no value")
        return _plain(kind, getattr(proto, field), tensors, what)
    if kind in _LISTS:
        single = kind - 5
        return tuple(_plain(single, item, tensors, what) for item in getattr(proto, _LISTS[kind]))
    if kind in _NAMES:
        raise UnsupportedError(f"{what} is of type {_NAMES[kind]}, which is not supported")
    raise ModelError(f"{what} has no type (number {kind})")


def _plain(kind: int, value: Any, tensors: TensorReader, what: str) -> Any:
    if kind == 3:
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise ModelError(f"{what} is not UTF-8 text") from None
    if kind == 4:
        return tensors.array(value, what)
    if kind == 11:
        return tensors.sparse(value, what)
    return value


def check_type(proto: Any, wanted: int, what: str) -> None:
    """Raise ModelError unless the attribute has the type that the operator declares."""
    if int(proto.type) != wanted:
        found = _NAMES.get(int(proto.type), f"number {int(proto.type)}")
        raise ModelError(
            f"{what}: attribute {proto.name!r} is of type {found}, not {_NAMES.get(wanted, wanted)}"
        )
