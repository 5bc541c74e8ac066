"""Building a graph while a model file is read: ways to add nodes and to ask about values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from ..ir import (
    Array,
    Dim,
    Extent,
    Graph,
    LazyArray,
    LimitError,
    ModelError,
    Node,
    Op,
    TensorType,
    UnsupportedError,
    Value,
)
from ..ir import dim as dims
from ..ops.registry import operator_named
from .shape_values import ShapeValues


class _Operators:
    """The built-in operators as attributes, looked up when they are first used."""

    def __getattr__(self, name: str) -> Op:
        return operator_named(name.rstrip("_"))


ops = _Operators()


@dataclass
class Place:
    """A Graph that is being built, and what its shape tensors hold."""

    graph: Graph
    shapes: ShapeValues


# Operators that one node of a file may become; unrolled recurrences have some thousands.
MAXIMUM_OPERATORS = 10_000
# Elements of an array that reading computes, such as the weights of an interpolation.
MAXIMUM_COMPUTED = 1 << 22


class Builder:
    """What the reader of one node is given: its graph and ways to add to it.

    ``origin`` names the file's node in messages, ``stem`` starts the names of added nodes.
    """

    def __init__(self, place: Place, origin: str, stem: str) -> None:
        self.place = place
        self.origin = origin
        self._stem = stem
        self._added = 0

    @property
    def graph(self) -> Graph:
        """The graph that is being built."""
        return self.place.graph

    @property
    def shapes(self) -> ShapeValues:
        """What the graph's shape tensors hold."""
        return self.place.shapes

    def unsupported(self, text: str) -> NoReturn:
        """Refuse the node."""
        raise UnsupportedError(text)

    # --- adding --------------------------------------------------------------------------

    def add(self, op: Op, *inputs: Value | None, **attributes: Any) -> Value:
        """Add a node with one output."""
        self._count()
        return self.graph.add(op, *inputs, name=self._stem, origin=self.origin, **attributes)

    def add_node(
        self, op: Op, inputs: Sequence[Value | None], attributes: Mapping[str, Any]
    ) -> Node:
        """Add a node with any number of outputs."""
        self._count()
        return self.graph.add_node(op, inputs, attributes, name=self._stem, origin=self.origin)

    def _count(self) -> None:
        self._added += 1
        if self._added > MAXIMUM_OPERATORS:
            raise LimitError(f"the node becomes more than {MAXIMUM_OPERATORS} operators")

    def check_computed(self, *extents: int) -> None:
        """Raise LimitError unless reading may compute an array of these extents."""
        if math.prod(max(extent, 1) for extent in extents) > MAXIMUM_COMPUTED:
            shown = " x ".join(map(str, extents))
            raise LimitError(
                f"an array of {shown} elements would have to be computed while the model is read; "
                f"the most are {MAXIMUM_COMPUTED}"
            )

    def constant(self, array: Any, dtype: str | None = None) -> Value:
        """A parameter holding ``array``, in element type ``dtype``."""
        held = np.asarray(array)
        if dtype is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                held = held.astype(TensorType(dtype).numpy)
        return self.graph.param(held, f"{self._stem}.constant")

    def scalar_like(self, x: Value, number: float) -> Value:
        """A 0-d parameter of the element type of ``x``."""
        return self.constant(np.array(number), self.dtype(x))

    def lazy(self, held: Array | LazyArray) -> Value:
        """A parameter that may be read later."""
        return self.graph.param(held, self._stem)

    # --- asking --------------------------------------------------------------------------

    def type(self, value: Value) -> TensorType:
        """The type of a value."""
        return self.graph.type(value)

    def shape(self, value: Value) -> tuple[Extent, ...]:
        """The shape of a value."""
        return self.graph.type(value).shape

    def dtype(self, value: Value) -> str:
        """The element type of a value."""
        return self.graph.type(value).dtype

    def rank(self, value: Value) -> int:
        """The rank of a value."""
        return self.graph.type(value).rank

    def axis(self, value: Value, axis: int) -> int:
        """``axis`` of a value, counted from the front."""
        return self.graph.type(value).axis(axis)

    def axes(self, value: Value, axes: Sequence[int]) -> tuple[int, ...]:
        """``axes`` of a value, counted from the front, in order and each once."""
        return tuple(sorted({self.axis(value, axis) for axis in axes}))

    def numbers(self, value: Value) -> Array | None:
        """What ``value`` holds if that is known now."""
        return self.shapes.numbers(value)

    def known(self, value: Value, what: str) -> Array:
        """What ``value`` holds; raises UnsupportedError when only a run tells."""
        found = self.shapes.numbers(value)
        if found is None:
            raise UnsupportedError(f"{what} must be known before the model runs")
        return found

    def integers(self, value: Value, what: str) -> tuple[int, ...]:
        """The elements of an integer tensor that must be known now."""
        found = self.known(value, what)
        if found.dtype.kind not in "iu":
            raise ModelError(f"{what}: {self.type(value)} does not hold integers")
        return tuple(int(item) for item in found.reshape(-1))

    def integer(self, value: Value, what: str) -> int:
        """The one element of an integer tensor that must be known now."""
        found = self.integers(value, what)
        if len(found) != 1:
            raise ModelError(f"{what} has {len(found)} elements; one is wanted")
        return found[0]

    def extent(self, value: Value, what: str) -> Extent:
        """The one element of an integer tensor as an extent, see :meth:`extents`."""
        if self.type(value).size != 1:
            raise ModelError(f"{what} is {self.type(value)}; one element is wanted")
        return self.extents(value, what)[0]

    def number(self, value: Value, what: str) -> Any:
        """The one element of a tensor that must be known now, as a Python number."""
        found = self.known(value, what)
        if found.size != 1:
            raise UnsupportedError(f"{what} has {found.size} elements; one is wanted")
        item = found.reshape(-1)[0]
        return float(item) if found.dtype.kind not in "iub" else item.item()

    def contents(self, value: Value) -> Array | None:
        """What ``value`` holds, see ShapeValues.contents."""
        return self.shapes.contents(value)

    def extents(self, value: Value, what: str) -> tuple[Extent, ...]:
        """The elements of an integer tensor as extents, see ShapeValues.extents."""
        return self.shapes.extents(value, what)

    def measured(self, value: Value) -> tuple[Extent, ...]:
        """All elements of an int64 tensor as measured symbols."""
        count = self.type(value).static_shape[0]
        return tuple(self.shapes.measure(value, position) for position in range(count))

    # --- often needed --------------------------------------------------------------------

    def cast(self, x: Value, dtype: str) -> Value:
        """``x`` in another element type."""
        return x if self.dtype(x) == dtype else self.add(ops.cast, x, to=dtype)

    def reshape(self, x: Value, shape: Sequence[Extent]) -> Value:
        """``x`` with another shape."""
        if tuple(shape) == self.shape(x):
            return x
        return self.add(ops.reshape, x, shape=tuple(shape))

    def flatten2(self, x: Value, axis: int) -> Value:
        """``x`` as a matrix: the dimensions before ``axis`` and the others."""
        shape = self.shape(x)
        rank = len(shape)
        if not -rank <= axis <= rank:
            raise ModelError(f"axis {axis} is out of range for {self.type(x)}")
        axis = axis + rank if axis < 0 else axis
        return self.reshape(x, (dims.product(shape[:axis]), dims.product(shape[axis:])))

    def transpose(self, x: Value, permutation: Sequence[int]) -> Value:
        """``x`` with its dimensions in another order."""
        if tuple(permutation) == tuple(range(self.rank(x))):
            return x
        return self.add(ops.transpose, x, permutation=tuple(permutation))

    def unsqueeze(self, x: Value, *axes: int) -> Value:
        """``x`` with extents 1 at ``axes`` of the result."""
        rank = self.rank(x) + len(axes)
        places = {axis % rank for axis in axes}
        rest = iter(self.shape(x))
        return self.reshape(x, [1 if k in places else next(rest) for k in range(rank)])

    def slice_axis(self, x: Value, axis: int, start: Extent, size: Extent) -> Value:
        """``size`` elements from ``start`` along one axis."""
        shape = list(self.shape(x))
        starts: list[Extent] = [0] * len(shape)
        starts[axis], shape[axis] = start, size
        return self.add(
            ops.slice, x, starts=tuple(starts), sizes=tuple(shape), steps=(1,) * len(shape)
        )

    def symbolic(self, values: Sequence[Extent]) -> Value:
        """A 1-d int64 tensor of extents."""
        if any(isinstance(value, Dim) for value in values):
            return self.add(ops.extents, values=tuple(values))
        numbers = [int(value) for value in values if isinstance(value, int)]
        if any(not -(2**63) <= number < 2**63 for number in numbers):
            raise LimitError(f"the extents {tuple(values)} do not fit into 64 bits")
        return self.constant(np.array(numbers, np.int64))
