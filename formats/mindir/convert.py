"""From the items on a node's edges to what a reader's parameters ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir import Dim, Extent, ModelError, UnsupportedError, Value
from .element_types import type_of_id
from .items import Constant, DataType, Item, Reference, Tensor

if TYPE_CHECKING:
    from .context import Context

# What a parameter's annotation may say, besides Value and Item.
Values = list[Value]
Ints = tuple[int, ...]
Extents = tuple[Extent, ...]
Layout = str
PadMode = str
ElementType = str

# Numbers of MindSpore's enumerations (mindspore/core/mindapi/base/format.h, ops/op_enum.h).
_LAYOUTS = {-1: "NCHW", 0: "NCHW", 1: "NHWC", 14: "NCDHW", 17: "NDHWC", 20: "ND", 58: "NCL"}
_PAD_MODES = {0: "pad", 1: "same", 2: "valid", 3: "full"}

_HELD = (Tensor, Constant, Reference)


def _value(g: Context, item: Item, what: str) -> Value:
    return g.value(item)


def _values(g: Context, item: Item, what: str) -> list[Value]:
    if not isinstance(item, tuple):
        raise ModelError(f"{what} is not a tuple of tensors")
    return [g.value(part) for part in item]


def _scalar(g: Context, item: Item, what: str) -> Any:
    """A number that is known before the model runs."""
    if isinstance(item, _HELD):
        return g.number(g.value(item), what)
    if isinstance(item, tuple) and len(item) == 1:
        return _scalar(g, item[0], what)
    if isinstance(item, (bool, int, float)):
        return item
    if isinstance(item, Dim):
        raise UnsupportedError(f"{what} is {item}; it must be known before the model runs")
    raise ModelError(f"{what} is {_shown(item)}, not a number")


def _int(g: Context, item: Item, what: str) -> int:
    found = _scalar(g, item, what)
    if int(found) != found:
        raise ModelError(f"{what} is {found}, not a whole number")
    return int(found)


def _float(g: Context, item: Item, what: str) -> float:
    return float(_scalar(g, item, what))


def _bool(g: Context, item: Item, what: str) -> bool:
    return bool(_scalar(g, item, what))


def _text(g: Context, item: Item, what: str) -> str:
    if not isinstance(item, str):
        raise ModelError(f"{what} is {_shown(item)}, not a string")
    return item


def _ints(g: Context, item: Item, what: str) -> tuple[int, ...]:
    if isinstance(item, tuple):
        return tuple(_int(g, part, what) for part in item)
    if isinstance(item, _HELD):
        return g.integers(g.value(item), what)
    return (_int(g, item, what),)


def _extents(g: Context, item: Item, what: str) -> tuple[Extent, ...]:
    """Extents: known, in terms of the inputs' shapes, or measured while running."""
    if isinstance(item, tuple):
        return tuple(_extent(g, part, what) for part in item)
    if isinstance(item, _HELD):
        return g.extents(g.value(item), what)
    return (_extent(g, item, what),)


def _extent(g: Context, item: Item, what: str) -> Extent:
    if isinstance(item, Dim):
        return item
    if isinstance(item, _HELD):
        value = g.value(item)
        found = g.extents(g.reshape(value, (1,)) if g.rank(value) == 0 else value, what)
        if len(found) != 1:
            raise ModelError(f"{what} has {len(found)} elements; one is wanted")
        return found[0]
    return _int(g, item, what)


def _layout(g: Context, item: Item, what: str) -> str:
    if isinstance(item, str):
        return "NCHW" if item in ("", "DefaultFormat", "DEFAULT") else item.upper()
    number = _int(g, item, what)
    if number not in _LAYOUTS:
        raise UnsupportedError(f"{what}: the data format number {number} is not supported")
    return _LAYOUTS[number]


def _pad_mode(g: Context, item: Item, what: str) -> str:
    if isinstance(item, str):
        return item.lower()
    number = _int(g, item, what)
    if number not in _PAD_MODES:
        raise UnsupportedError(f"{what}: the padding mode number {number} is not supported")
    return _PAD_MODES[number]


def _element_type(g: Context, item: Item, what: str) -> str:
    if isinstance(item, DataType):
        return item.name
    return type_of_id(_int(g, item, what), what)


CONVERTERS: Mapping[str, Callable[[Any, Item, str], Any]] = {
    "Item": lambda g, item, what: item,
    "Value": _value,
    "Values": _values,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "str": _text,
    "Ints": _ints,
    "Extent": _extent,
    "Extents": _extents,
    "Layout": _layout,
    "PadMode": _pad_mode,
    "ElementType": _element_type,
}


def converted(g: Context, kind: str, item: Item, what: str) -> Any:
    """``item`` as the annotation ``kind`` of a reader's parameter says; "X | None" allows None."""
    plain = kind.removesuffix(" | None")
    if item is None and plain != kind:
        return None
    if item is None and plain != "Item":
        raise ModelError(f"{what} is None")
    return CONVERTERS[plain](g, item, what)


def enumerated(item: Item, names: Mapping[int, str], what: str) -> str:
    """An enumeration that is a string in older files and a number in newer ones."""
    if isinstance(item, str):
        return item.lower()
    if isinstance(item, (int, np.integer)) and int(item) in names:
        return names[int(item)]
    raise UnsupportedError(f"{what} is {_shown(item)}, which is not supported")


def _shown(item: Item) -> str:
    return repr(item)[:60] if isinstance(item, (str, int, float)) else type(item).__name__
