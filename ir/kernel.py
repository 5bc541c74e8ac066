"""What an operator tells a target about computing it: calls of plain-Python loop bodies.

A body computes one of ``items`` independent work items. Its parameters are the item's
number, then one array an operand (row-major, of the view's shape), then the scalars. It is
written in the part of Python that Numba compiles, indexes arrays with non-negative integers
only, allocates nothing, and returns None, or 0 for success and another number for an error.
``math`` functions in it stand for the target's own. Float literals take the computing type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import dim
from .dim import Extent
from .errors import ModelError
from .tensor_type import TensorType


@dataclass(frozen=True, slots=True)
class Workspace:
    """Scratch memory of one node, uninitialised; ``key`` tells several apart."""

    key: str
    type: TensorType


@dataclass(frozen=True, slots=True)
class View:
    """An operand (by position: inputs first, then outputs) or workspace, seen with a shape."""

    source: int | Workspace
    dtype: str
    shape: tuple[Extent, ...]


@dataclass(frozen=True, slots=True)
class Operand:
    """One tensor of the node a kernel is built for."""

    position: int
    type: TensorType

    @property
    def shape(self) -> tuple[Extent, ...]:
        """The operand's shape."""
        return self.type.shape

    @property
    def dtype(self) -> str:
        """The operand's element type."""
        return self.type.dtype

    @property
    def rank(self) -> int:
        """The operand's rank."""
        return self.type.rank

    @property
    def size(self) -> Extent:
        """The operand's number of elements."""
        return self.type.size

    def view(self, *shape: Extent) -> View:
        """The operand's memory with another shape of the same size."""
        extents = dim.extents_of(shape)
        if dim.product(extents) != self.type.size:
            raise ModelError(f"{self.type} cannot be seen with the shape {extents}")
        return View(self.position, self.type.dtype, extents)

    def whole(self) -> View:
        """The operand with its own shape."""
        return View(self.position, self.type.dtype, self.type.shape)

    def flat(self) -> View:
        """The operand as one row of elements."""
        return View(self.position, self.type.dtype, (self.type.size,))

    def split(self, axis: int) -> View:
        """The operand as three dimensions: those before ``axis``, ``axis``, those after."""
        axis = self.type.axis(axis)
        before, after = self.shape[:axis], self.shape[axis + 1 :]
        return self.view(dim.product(before), self.shape[axis], dim.product(after))


def workspace(key: str, dtype: str, shape: Sequence[Extent]) -> View:
    """Scratch memory for a Call, shared by the Calls of the node that use the same key."""
    extents = dim.extents_of(shape)
    return View(Workspace(key, TensorType(dtype, extents)), dtype, extents)


@dataclass(frozen=True, slots=True)
class Call:
    """``for item in range(items): body(item, *operands, *scalars)``, in any order.

    The Calls of a node run one after the other, and not at all when all outputs are empty.
    Items are independent: no item reads what another writes. ``chunk`` says that item ``i``
    writes exactly the elements ``i * chunk`` up to ``(i + 1) * chunk`` of the first output
    (the last item: up to its end), so that what follows can be computed item by item.
    ``reassociate`` allows sums in another order. ``error`` explains a non-zero return.
    Scalars are integers (also symbolic) and floats; floats take the computing type, which is
    that of the first floating operand.
    """

    body: Callable[..., Any]
    operands: tuple[View, ...]
    items: Extent = 1
    scalars: tuple[Extent | float, ...] = ()
    chunk: Extent | None = None
    reassociate: bool = False
    error: str | None = None

    @property
    def continuable(self) -> bool:
        """True when what follows can be computed piece by piece, on what is still in a cache."""
        return self.chunk is not None or bool(getattr(self.body, "continuable", False))

    @property
    def computing_type(self) -> str | None:
        """Element type of the first floating operand; None if there is none."""
        return next(
            (v.dtype for v in self.operands if v.dtype.startswith(("float", "bfloat"))), None
        )
