"""The graph being read, or the body of one branch or loop in it, and what it captures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...ir import Array, Graph, LazyArray, TensorType, Value
from ..builder import Place
from ..shape_values import ShapeValues, needs_run
from .items import Constant, Tensor


class Region(Place):
    """A Graph under construction; values of the surrounding regions are captured when used."""

    def __init__(self, name: str, number: int = 0, parent: Region | None = None) -> None:
        graph = Graph(name)
        self._known: dict[Value, Array | None] = {}
        prefix = f"b{number}." if number else ""
        super().__init__(graph, ShapeValues(graph, prefix, self._known.get))
        self.parent = parent
        # Values of the parent that are passed in -> the inputs they became, in order.
        self.captures: dict[Value, Value] = {}
        self.outside: dict[Value, Value] = {}  # the same, turned round
        self._ever_captured = 0
        self._copied: dict[Value, Value] = {}
        # Keyed by identity; the constants are kept, so that no other can take their places.
        self._constants: dict[int, tuple[Constant, Value]] = {}
        self._scalars: dict[tuple[str, str], Value] = {}

    def local(self, tensor: Tensor) -> Value:
        """The tensor as a value of this region's graph."""
        if tensor.region is self:
            return tensor.value
        assert self.parent is not None, "a value of another region cannot be reached"
        outer = self.parent.local(tensor)
        return self.capture(outer)

    def capture(self, outer: Value) -> Value:
        """A value of the parent's graph in this one: a copied parameter or a new input."""
        assert self.parent is not None
        if self.parent.graph.is_param(outer):
            if outer not in self._copied:
                held = self.parent.graph.params[outer.node]
                self._copied[outer] = self.graph.param(held, outer.node)
            return self._copied[outer]
        if outer not in self.captures:
            type_ = self.parent.graph.type(outer)
            inner = self.graph.input(f"capture{self._ever_captured}", type_)
            self._ever_captured += 1
            found = self.parent.shapes.contents(outer)
            if found is not None and not any(map(needs_run, found.reshape(-1).tolist())):
                self._known[inner] = found
            self.captures[outer], self.outside[inner] = inner, outer
        return self.captures[outer]

    def forget_unread(self) -> None:
        """Remove what the outputs do not need, and captured values that are not read then."""
        self.graph.prune()
        for outer, inner in list(self.captures.items()):
            if not self.graph.use_count(inner):
                self.graph.drop_input(inner)
                del self.captures[outer], self.outside[inner]

    def in_order(self, captured: Iterable[Value]) -> list[Value]:
        """Values of this region's graph, inputs first, nodes in the order of their addition.

        Captured inputs go by what they are outside, as they may be captured at any time.
        """
        return sorted(captured, key=self._place)

    def _place(self, value: Value) -> tuple[Any, ...]:
        if value in self.outside:
            assert self.parent is not None
            return (1, self.parent._place(self.outside[value]))
        order = self.graph.nx.nodes[value.node]["order"]
        return (0 if value in self.graph.inputs else 2, order, value.index)

    def constant(self, constant: Constant) -> Value:
        """A parameter that holds a constant of the file; one for each region."""
        key = id(constant)
        if key not in self._constants:
            value = self.graph.param(constant.array, constant.name or "constant")
            self._constants[key] = (constant, value)
        return self._constants[key][1]

    def scalar(self, number: bool | int | float, dtype: str) -> Value:
        """A 0-d parameter."""
        key = (repr(number), dtype)
        if key not in self._scalars:
            with np.errstate(over="ignore", invalid="ignore"):
                array = np.array(number).astype(TensorType(dtype).numpy)
            self._scalars[key] = self.graph.param(array, "scalar")
        return self._scalars[key]


def type_of_array(array: Array | LazyArray) -> TensorType:
    """The type of an array that may not have been read yet."""
    return array.type if isinstance(array, LazyArray) else TensorType.of(array)
