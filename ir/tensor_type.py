"""What is known of a tensor before it is computed: element type and shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import dim
from .data_type import item_size, kind_of, name_of, numpy_type
from .dim import Dim, Extent
from .errors import ModelError


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type (a name such as "float32") and shape (non-negative ints and Dims)."""

    dtype: str
    shape: tuple[Extent, ...] = ()

    def __post_init__(self) -> None:
        kind_of(self.dtype)
        object.__setattr__(self, "shape", dim.extents_of(self.shape))
        for extent in self.shape:
            if isinstance(extent, int) and extent < 0:
                raise ModelError(f"a tensor cannot have the shape {self.shape}: {extent} < 0")

    @classmethod
    def of(cls, array: np.ndarray[Any, Any]) -> TensorType:
        """The type of a NumPy array."""
        return cls(name_of(array.dtype), array.shape)

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> Extent:
        """Number of elements."""
        return dim.product(self.shape)

    @property
    def nbytes(self) -> Extent:
        """Bytes of the elements, stored without gaps."""
        return self.size * item_size(self.dtype)

    @property
    def is_static(self) -> bool:
        """True when every extent is a number."""
        return all(isinstance(extent, int) for extent in self.shape)

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape when it is all numbers; raises ModelError otherwise."""
        if not self.is_static:
            raise ModelError(f"{self} has symbolic extents where numbers are needed")
        return tuple(int(extent) for extent in self.shape if isinstance(extent, int))

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        return numpy_type(self.dtype)

    def with_shape(self, shape: Sequence[Any]) -> TensorType:
        """The same element type with another shape."""
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: str) -> TensorType:
        """The same shape with another element type."""
        return TensorType(dtype, self.shape)

    def substitute(self, values: Mapping[str, Extent]) -> TensorType:
        """The type with symbols of its shape replaced by name."""
        return self.with_shape(tuple(dim.substitute(extent, values) for extent in self.shape))

    def axis(self, axis: int) -> int:
        """``axis`` counted from the front; raises ModelError when it is out of range."""
        if not -self.rank <= axis < self.rank:
            raise ModelError(f"axis {axis} is out of range for {self} of rank {self.rank}")
        return axis % self.rank if self.rank else 0

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


_equalities: ContextVar[list[tuple[Extent, Extent]] | None] = ContextVar("equalities", default=None)


@contextmanager
def recorded_equalities() -> Iterator[list[tuple[Extent, Extent]]]:
    """Collect the pairs of symbolic extents that inference had to assume equal."""
    found: list[tuple[Extent, Extent]] = []
    token = _equalities.set(found)
    try:
        yield found
    finally:
        _equalities.reset(token)


def unify(left: Extent, right: Extent, what: str) -> Extent:
    """The extent that ``left`` and ``right`` must both have.

    Two numbers that differ raise ModelError. Two symbolic extents that differ are assumed
    equal, and the assumption is recorded, so that it is checked when values are known.
    """
    if left == right:
        return left
    if isinstance(left, int) and isinstance(right, int):
        raise ModelError(f"{what}: extents {left} and {right} differ")
    found = _equalities.get()
    if found is not None:
        found.append((left, right))
    if isinstance(left, int):
        return left
    return (
        right
        if isinstance(right, int)
        else min(left, right, key=lambda extent: (len(repr(extent)), repr(extent)))
    )


def broadcast(*shapes: Sequence[Extent], what: str = "broadcast") -> tuple[Extent, ...]:
    """The shape NumPy broadcasting gives; raises ModelError when shapes do not fit."""
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[Extent] = []
    for position in range(-rank, 0):
        extent: Extent = 1
        for shape in shapes:
            if len(shape) < -position or shape[position] == 1:
                continue
            here = shape[position]
            if extent == 1:
                extent = here
                continue
            try:
                extent = unify(extent, here, what)
            except ModelError:
                listed = " and ".join(str(tuple(shape)) for shape in shapes)
                raise ModelError(f"{what}: shapes {listed} do not broadcast") from None
        result.append(extent)
    return tuple(result)


__all__ = ["Dim", "TensorType", "broadcast", "recorded_equalities", "unify"]
