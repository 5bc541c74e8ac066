"""Attributes of MindIR as items: the encodings of 1.6 and before, and of 1.7 and later."""

from __future__ import annotations

from typing import Any

from ...ir import FormatError, UnsupportedError
from .element_types import element_type
from .items import Constant, DataType, Item, Monad, Table
from .tensors import TensorReader

# Numbers of mind_ir.AttributeProto.AttributeType.
_FLOAT, _STRING, _BOOL, _DOUBLE = 1, 8, 9, 11
_INTEGERS = {2, 3, 4, 5, 6, 7, 12, 13}
_TENSOR, _TENSORS, _TUPLE, _LIST, _DICT = 17, 19, 20, 21, 22
_MONADS = {23, 24}
_NONE, _TYPE_NULL = 25, 36
_MAXIMUM_DEPTH = 32


def attribute_item(proto: Any, tensors: TensorReader, what: str) -> Item:
    """What an AttributeProto holds; raises UnsupportedError for kinds that opweave lacks."""
    if proto.ref_attr_name:
        return _OldReader(proto, tensors, what).item()
    return _item(proto, tensors, what, 0)


def _item(proto: Any, tensors: TensorReader, what: str, depth: int) -> Item:
    kind = int(proto.type)
    if depth > _MAXIMUM_DEPTH:
        raise FormatError(f"{what}: its value nests deeper than {_MAXIMUM_DEPTH}")
    if kind in (_TUPLE, _LIST):
        return tuple(_item(value, tensors, what, depth + 1) for value in proto.values)
    if kind == _DICT:
        return Table(
            {
                value.name: _item(value.values[0], tensors, what, depth + 1)
                for value in proto.values
                if len(value.values)
            }
        )
    if kind in _INTEGERS or kind == _BOOL:
        plain = bool if kind == _BOOL else int
        return _single(proto, "i", "ints", plain, what)
    if kind == _FLOAT:
        return _single(proto, "f", "floats", float, what)
    if kind == _DOUBLE:
        return _single(proto, "d", "doubles", float, what)
    if kind == _STRING:
        return _single(proto, "s", "strings", lambda raw: _text(raw, what), what)
    if kind in (_TENSOR, _TENSORS):
        found = [proto.t] if proto.HasField("t") else list(proto.tensors)
        if len(found) != 1:
            return tuple(_tensor(tensor, tensors, what) for tensor in found)
        return _tensor(found[0], tensors, what)
    if kind in _MONADS:
        return Monad(None)
    if kind in (_NONE, _TYPE_NULL) or (kind == 0 and proto.name in ("none", "None")):
        return None
    raise UnsupportedError(f"{what}: a value of kind {kind} is not supported")


def _single(proto: Any, field: str, repeated: str, plain: Any, what: str) -> Item:
    if proto.HasField(field):
        return plain(getattr(proto, field))
    stored = getattr(proto, repeated)
    if len(stored) == 1:
        return plain(stored[0])
    if not len(stored):
        raise FormatError(f"{what}: attribute {proto.name!r} has no value")
    return tuple(plain(value) for value in stored)


def _tensor(proto: Any, tensors: TensorReader, what: str) -> Item:
    """A tensor, or a data type: that one has neither a shape nor elements."""
    if not proto.HasField("raw_data") and not proto.dims and not proto.HasField("external_data"):
        return DataType(element_type(proto.data_type, what))
    return Constant(tensors.lazy(proto, what), proto.name)


def _text(raw: bytes, what: str) -> str:
    try:
        return bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{what}: a string is not UTF-8 text") from None


class _OldReader:
    """The encoding up to 1.6: ``ref_attr_name`` tells the structure, the leaves lie in order.

    Examples: "scalar:value0", "scalar:Tuple[Tuple[value1,value2,],value3,],", "tensor:value0",
    "type:value0", "none", "Monad:UMonad".
    """

    def __init__(self, proto: Any, tensors: TensorReader, what: str) -> None:
        self._proto, self._tensors, self._what = proto, tensors, what
        self._prefix, _, self._rest = proto.ref_attr_name.partition(":")
        self._position = 0
        self._count = 0

    def item(self) -> Item:
        if self._prefix.lower() == "none":
            return None
        if self._prefix == "Monad" or self._rest.startswith(("UMonad", "IOMonad")):
            return Monad(None)
        if self._prefix not in ("scalar", "tensor", "type"):
            raise UnsupportedError(f"{self._what}: a value {self._prefix[:40]!r} is not supported")
        return self._next(0)

    def _next(self, depth: int) -> Item:
        if depth > _MAXIMUM_DEPTH:
            raise FormatError(f"{self._what}: its value nests deeper than {_MAXIMUM_DEPTH}")
        text = self._rest
        for opening in ("Tuple[", "List["):
            if text.startswith(opening, self._position):
                self._position += len(opening)
                return self._sequence(depth)
        end = self._position
        while end < len(text) and text[end] not in ",[]":
            end += 1
        leaf, self._position = text[self._position : end], end
        if not leaf:
            raise FormatError(f"{self._what}: the structure {text[:80]!r} is broken")
        if leaf.lower() == "none":
            return None
        return self._leaf()

    def _sequence(self, depth: int) -> Item:
        found: list[Item] = []
        text = self._rest
        while True:
            if self._position >= len(text):
                raise FormatError(f"{self._what}: the structure {text[:80]!r} is cut off")
            if text[self._position] == "]":
                self._position += 1
                return tuple(found)
            if text[self._position] == ",":
                self._position += 1
                continue
            found.append(self._next(depth + 1))

    def _leaf(self) -> Item:
        proto, kind, what = self._proto, int(self._proto.type), self._what
        position = self._count
        self._count += 1
        if self._prefix == "type":
            if position >= len(proto.tensors):
                raise FormatError(f"{what}: a data type is missing")
            return DataType(element_type(proto.tensors[position].data_type, what))
        if kind in (_TENSOR, _TENSORS):
            if position >= len(proto.tensors):
                raise FormatError(f"{what}: a tensor is missing")
            tensor = proto.tensors[position]
            return Constant(self._tensors.lazy(tensor, what), tensor.name)
        for kinds, field, repeated in (
            ({_FLOAT}, "f", "floats"),
            ({_DOUBLE}, "d", "doubles"),
            ({_STRING}, "s", "strings"),
            (_INTEGERS | {_BOOL}, "i", "ints"),
        ):
            if kind in kinds:
                stored = getattr(proto, repeated)
                if position < len(stored):
                    value = stored[position]
                elif position == 0 and proto.HasField(field):
                    value = getattr(proto, field)
                else:
                    raise FormatError(f"{what}: attribute {proto.name!r} lacks element {position}")
                if kind == _STRING:
                    return _text(value, what)
                return bool(value) if kind == _BOOL else value
        raise UnsupportedError(f"{what}: a value of kind {kind} is not supported")
