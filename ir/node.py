"""What graphs are made of: values, nodes, parameters' arrays, assumptions about extents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import dim
from .data_type import Array
from .dim import Dim, Extent
from .errors import ModelError
from .op import Op
from .tensor_type import TensorType


def _no_meaning() -> None:
    """Inputs and parameters are given from outside; they compute nothing."""


INPUT = Op("input", _no_meaning)
PARAMETER = Op("parameter", _no_meaning)


@dataclass(frozen=True, slots=True)
class Value:
    """One output of one node."""

    node: str
    index: int = 0

    def __str__(self) -> str:
        return self.node if self.index == 0 else f"{self.node}:{self.index}"


@dataclass(frozen=True, slots=True)
class Node:
    """One application of an operator.

    ``origin`` is for messages only, ``note`` for reports: why this kernel was chosen.
    """

    name: str
    op: Op
    inputs: tuple[Value | None, ...]
    attrs: Mapping[str, Any]
    types: tuple[TensorType, ...]
    origin: str = field(default="", compare=False)
    note: str = field(default="", compare=False)

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The values this node computes."""
        return tuple(Value(self.name, index) for index in range(len(self.types)))

    @property
    def operands(self) -> tuple[Value, ...]:
        """The inputs that are there."""
        return tuple(value for value in self.inputs if value is not None)

    def __str__(self) -> str:
        where = f" (from {self.origin})" if self.origin and self.origin != self.name else ""
        return f"{self.op.name} {self.name!r}{where}"


@dataclass(frozen=True, slots=True)
class LazyArray:
    """An array that is read when it is needed, as parameters of a file are."""

    type: TensorType
    load: Callable[[], Array]


def read_array(held: Array | LazyArray) -> Array:
    """The array itself; a lazy one is read now and must be what it was declared to be."""
    if not isinstance(held, LazyArray):
        return held
    array = np.asarray(held.load())
    if TensorType.of(array) != held.type:
        raise ModelError(f"a parameter is {TensorType.of(array)}, not {held.type} as declared")
    return array


@dataclass(frozen=True, slots=True)
class Equality:
    """Two symbolic extents that node ``node`` needs to be equal; checked when values are known."""

    left: Extent
    right: Extent
    node: str


class Body:
    """A graph where it is an attribute of a node: the base of ``Graph``, which comes later."""

    @property
    def symbols(self) -> Mapping[str, tuple[Value, int]]:
        """Symbols measured while the body runs."""
        raise NotImplementedError

    def nodes(self) -> Iterator[Node]:
        """The body's nodes, producers first."""
        raise NotImplementedError

    def substitute(self, values: Mapping[str, Extent]) -> Body:
        """A copy with symbols replaced by name."""
        raise NotImplementedError


def substituted(value: Any, values: Mapping[str, Extent]) -> Any:
    """An attribute value with its symbols replaced by name where ``values`` has them."""
    if isinstance(value, Dim):
        return dim.substitute(value, values)
    if isinstance(value, tuple):
        return tuple(substituted(item, values) for item in value)
    if isinstance(value, Body):
        # A symbol that the body measures itself is another one, whatever its name.
        return value.substitute({k: v for k, v in values.items() if k not in value.symbols})
    return value


def mentioned_symbols(node: Node) -> frozenset[str]:
    """Names of the symbols in a node's types and attributes, bodies of control flow included."""
    extents = (*(type_.shape for type_ in node.types), node.attrs)
    names = {symbol.name for symbol in dim.symbols_of(extents)}
    for attribute in node.attrs.values():
        if isinstance(attribute, Body):
            names.update(*(mentioned_symbols(inner) for inner in attribute.nodes()))
            names -= set(attribute.symbols)
    return frozenset(names)
