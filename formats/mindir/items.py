"""What a name in a MindIR graph may stand for while the graph is read.

Besides tensors MindIR passes tuples, Python scalars, data types, functions and "monads" (which
order side effects) along the edges of its graphs. Scalars are Python's (or symbolic extents),
tuples and lists Python tuples; the rest are the classes below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ...ir import Array, Extent, LazyArray, Value

if TYPE_CHECKING:
    from .region import Region

# A Tensor, Constant, Reference, Function, Choice, ..., a Python scalar, a tuple, None.
Item: TypeAlias = Any


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the graph that belongs to ``region``."""

    region: Region
    value: Value


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that the file holds."""

    array: Array | LazyArray
    name: str


class Shape(tuple[Extent, ...]):
    """The shape of a tensor: a tuple whose elements are known not to be negative."""

    __slots__ = ()


@dataclass(frozen=True)
class DataType:
    """An element type as a value, by name."""

    name: str


@dataclass(frozen=True)
class Reference:
    """A parameter by name: what it holds depends on when it is read."""

    name: str


@dataclass(frozen=True, eq=False)
class Monad:
    """A point in the order of side effects: what the changed parameters hold there.

    None is the state at which the function that mentions it was entered.
    """

    state: Mapping[str, Item] | None


@dataclass(frozen=True, eq=False)
class Function:
    """A graph of the file, by name, with its first arguments."""

    name: str
    bound: tuple[Item, ...] = ()


@dataclass(frozen=True, eq=False)
class Given:
    """A function of no arguments whose result is known."""

    result: Item


@dataclass(frozen=True, eq=False)
class Choice:
    """One of two values, mostly functions, by a run-time condition."""

    condition: Item
    accepted: Item
    refused: Item


@dataclass(frozen=True, eq=False)
class Again:
    """The result of a call that starts the next iteration of a loop being read."""

    name: str
    arguments: tuple[Item, ...]


@dataclass(frozen=True, eq=False)
class Fork:
    """The result of calling a Choice whose functions may start the next iteration."""

    choice: Choice
    arguments: tuple[Item, ...]


@dataclass(frozen=True, eq=False)
class Part:
    """One element of the result of an :class:`Again` or :class:`Fork`."""

    whole: Item
    index: int


@dataclass(frozen=True, eq=False)
class Missing:
    """A value that could not be read because something before it is not supported."""


@dataclass(frozen=True, eq=False)
class Table:
    """A dictionary; its keys are known."""

    entries: Mapping[str, Item] = field(default_factory=dict)


MISSING = Missing()


def leaves(item: Item, count: Callable[[int], None] | None = None) -> list[Item]:
    """The parts of a tree of tuples, in order; ``count`` is told how many each tuple has."""
    found: list[Item] = []
    pending = [item]
    while pending:
        current = pending.pop()
        if isinstance(current, tuple):
            if count is not None:
                count(len(current))
            pending.extend(reversed(current))
        elif isinstance(current, Function) and current.bound:
            pending.extend(reversed(current.bound))
        elif isinstance(current, Table):
            pending.extend(reversed(list(current.entries.values())))
        else:
            found.append(current)
    return found


def rebuilt(item: Item, next_leaf: Callable[[], Item]) -> Item:
    """A tree of the same structure with other leaves, which ``next_leaf`` gives in order."""
    if isinstance(item, tuple):
        return tuple(rebuilt(part, next_leaf) for part in item)
    if isinstance(item, Function) and item.bound:
        return Function(item.name, tuple(rebuilt(part, next_leaf) for part in item.bound))
    if isinstance(item, Table):
        return Table({key: rebuilt(part, next_leaf) for key, part in item.entries.items()})
    return next_leaf()


def structure(item: Item) -> Item:
    """What two trees must share to have corresponding leaves."""
    if isinstance(item, tuple):
        return ("tuple", *(structure(part) for part in item))
    if isinstance(item, Function) and item.bound:
        return ("function", item.name, *(structure(part) for part in item.bound))
    if isinstance(item, Table):
        return ("table", *((key, structure(part)) for key, part in item.entries.items()))
    return "leaf"
