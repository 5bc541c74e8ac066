"""What shape tensors hold: numbers, or extents in terms of the graph's symbols.

Model files compute shapes with tensors (Shape, Gather, Concat, Reshape); opweave's operators
have extents as attributes. ``ShapeValues`` finds what a small tensor holds by evaluating the
nodes before it on numbers and symbolic extents. Elements that only a run can tell become
symbols that the graph measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..ir import PARAMETER, Array, Dim, Extent, Graph, ModelError, Node, UnsupportedError, Value
from ..ir import dim as dims
from ..ir.data_type import is_float, is_integer
from ..ir.evaluate import by_reference
from ..ops.registry import operator_named

# Tensors with more elements are data, not shapes.
MAXIMUM_ELEMENTS = 4096
# A run-time tensor up to this size may be measured element by element.
MAXIMUM_MEASURED = 64

# A symbol of an element that only a run tells; of unknown sign, never left in a graph.
_RUN_TIME = "?"
_LEAST = -(2**63)

# What a reference may raise on operands it was not made for; the contents are then unknown.
_NOT_EVALUABLE = (
    ModelError,
    TypeError,
    ValueError,
    IndexError,
    ZeroDivisionError,
    OverflowError,
    AttributeError,
)


def is_known(array: Array | None) -> bool:
    """True when every element is a number."""
    if array is None:
        return False
    return array.dtype != object or not any(isinstance(item, Dim) for item in array.flat)


def needs_run(extent: Any) -> bool:
    """True when an element depends on values that only a run can tell."""
    return isinstance(extent, Dim) and any(
        symbol.name.startswith(_RUN_TIME) for symbol in dims.symbols_of(extent)
    )


class ShapeValues:
    """Contents of the small tensors of one graph; ``prefix`` starts measured symbols' names.

    ``outer`` may tell what an input of a subgraph holds, in terms of outer symbols.
    """

    def __init__(
        self,
        graph: Graph,
        prefix: str = "",
        outer: Callable[[Value], Array | None] | None = None,
    ) -> None:
        self.graph = graph
        self._prefix = prefix
        self._outer = outer
        self._contents: dict[Value, Array | None] = {}
        self._measured: dict[tuple[Value, int], Dim] = {}
        self._as_int64: dict[Value, Value] = {}

    # --- what is asked -------------------------------------------------------------------

    def numbers(self, value: Value) -> Array | None:
        """The array ``value`` always holds, in its own element type; None if it varies."""
        if self.graph.is_param(value):
            return self.graph.array(value)
        found = self.contents(value)
        if found is None or not is_known(found):
            return None
        return found.astype(self.graph.type(value).numpy)

    def extents(self, value: Value, what: str) -> tuple[Extent, ...]:
        """The elements of an integer tensor as extents, none of them negative at run time.

        Known numbers may be negative. Elements that depend on run-time values are measured;
        a run in which one is negative ends with an error.
        """
        type_ = self.graph.type(value)
        if not is_integer(type_.dtype):
            raise ModelError(f"{what}: {type_} does not hold integers")
        found = self.contents(value)
        if found is None:
            if not isinstance(type_.size, int):
                raise UnsupportedError(f"{what} cannot be found: {type_} is computed by the run")
            if type_.size > MAXIMUM_MEASURED:
                raise UnsupportedError(f"{what} has {type_.size} elements that only a run tells")
            return tuple(self.measure(value, position) for position in range(type_.size))
        return tuple(
            self.measure(value, position) if needs_run(item) else _plain(item)
            for position, item in enumerate(found.reshape(-1).tolist())
        )

    def measure(self, value: Value, position: int, lower: int = 0) -> Dim:
        """The symbol for one element of an integer tensor, which must not be below ``lower``."""
        key = (value, position)
        if key not in self._measured:
            source = self.as_int64(value)
            # Without the number that the graph appended, which another reading may not give.
            stem, _, number = value.node.rpartition("_")
            node = stem if number.isdecimal() and stem in self.graph else value.node
            name = f"{self._prefix}{node}.{position}".replace(" ", "_")
            self._measured[key] = self.graph.measure(source, position, name, lower)
        return self._measured[key]

    def as_int64(self, value: Value) -> Value:
        """``value`` as an int64 tensor."""
        if self.graph.type(value).dtype == "int64":
            return value
        if value not in self._as_int64:
            self._as_int64[value] = self.graph.add(operator_named("cast"), value, to="int64")
        return self._as_int64[value]

    # --- evaluation ----------------------------------------------------------------------

    def contents(self, value: Value) -> Array | None:
        """What ``value`` holds, as numbers or an object array of ints and Dims; None: unknown.

        Elements of an integer tensor computed by the run are symbols of unknown sign
        (see :func:`needs_run`).
        """
        pending = [value]
        while pending:
            current = pending[-1]
            if current in self._contents:
                pending.pop()
                continue
            node = self.graph.node(current.node)
            missing = [v for v in self._needed(node, current) if v not in self._contents]
            if missing:
                pending.extend(missing)
                continue
            self._evaluate(node)
            pending.pop()
        return self._contents[value]

    def _needed(self, node: Node, value: Value) -> Iterator[Value]:
        if self._evaluable(node):
            yield from node.operands

    def _evaluable(self, node: Node) -> bool:
        """True for nodes whose results are small and whose operands are small too."""
        if not node.operands or node.op.traits & {"impure", "control"}:
            return False
        types = [*node.types, *(self.graph.type(value) for value in node.operands)]
        return all(isinstance(t.size, int) and t.size <= MAXIMUM_ELEMENTS for t in types)

    def _evaluate(self, node: Node) -> None:
        found: tuple[Array | None, ...] | None = None
        if node.op is PARAMETER:
            size = node.types[0].size
            small = isinstance(size, int) and size <= MAXIMUM_ELEMENTS
            found = (self.graph.array(node.outputs[0]) if small else None,)
        elif node.op.name == "extents":
            found = (np.array(node.attrs["values"], object),)
        elif self._evaluable(node):
            operands = [None if v is None else self._operand(v) for v in node.inputs]
            given = zip(node.inputs, operands, strict=True)
            if not any(value is not None and array is None for value, array in given):
                found = _results(node, operands)
        elif self._outer is not None and not node.inputs:
            found = tuple(self._outer(value) for value in node.outputs)
        if found is None:
            found = (None,) * len(node.types)
        for value, array in zip(node.outputs, found, strict=True):
            self._contents[value] = array if array is not None else self._run_time(value)

    def _operand(self, value: Value) -> Array | None:
        """Contents for evaluation: in the value's own element type where all are numbers."""
        found = self._contents[value]
        if found is not None and found.dtype == object and is_known(found):
            return found.astype(self.graph.type(value).numpy)
        return found

    def _run_time(self, value: Value) -> Array | None:
        type_ = self.graph.type(value)
        if not is_integer(type_.dtype) or not type_.is_static or not isinstance(type_.size, int):
            return None
        if type_.size > MAXIMUM_MEASURED or max(type_.static_shape, default=0) > MAXIMUM_MEASURED:
            return None
        items = np.empty(type_.size, object)
        for position in range(type_.size):
            items[position] = dims.symbol(f"{_RUN_TIME}{value}.{position}", _LEAST)
        return items.reshape(type_.static_shape)


def _plain(item: Any) -> Extent:
    return item if isinstance(item, Dim) else int(item)


def _results(node: Node, operands: list[Array | None]) -> tuple[Array | None, ...] | None:
    """The node's results; None when they cannot be told from these operands."""
    if any(dims.symbols_of(tuple(node.attrs.values()))):
        return None
    try:
        if all(array is None or is_known(array) for array in operands):
            return tuple(by_reference(node, operands, node.types, node.attrs))
        special = _SPECIAL.get(node.op.name)
        if special is not None:
            return (special(node, operands),)
        if "shape" not in node.op.traits or any(is_float(type_.dtype) for type_ in node.types):
            return None
        symbolic = [None if a is None or a.dtype == bool else a.astype(object) for a in operands]
        given = [a if s is None else s for a, s in zip(operands, symbolic, strict=True)]
        results = node.op.reference(*given, **node.attrs)
    except _NOT_EVALUABLE:
        return None
    arrays = [np.asarray(r) for r in (results if isinstance(results, tuple) else (results,))]
    if any(a.shape != t.shape for a, t in zip(arrays, node.types, strict=True)):
        return None
    return tuple(arrays)


# --- operators on symbolic extents whose reference cannot know the answer ----------------


def _cast(node: Node, operands: list[Array | None]) -> Array | None:
    """Extents stay exact through casts between integers and to floats and back."""
    array = operands[0]
    return None if array is None or node.types[0].dtype == "bool" else array


def _floating(function: Callable[[Any, Any], Any]) -> Callable[[Node, list[Array | None]], Any]:
    """Arithmetic of extents that were cast to floats, as long as it stays whole."""

    def apply(node: Node, operands: list[Array | None]) -> Array | None:
        arrays = [_whole(a) for a in operands]
        if any(a is None for a in arrays):
            return None
        return np.asarray(function(*arrays), object).reshape(node.types[0].static_shape)

    return apply


def _whole(array: Array | None) -> Array | None:
    """An array of Python ints and Dims; None when an element is not a whole number."""
    if array is None:
        return None
    if array.dtype == object:
        return array
    if array.dtype.kind in "iub":
        return array.astype(object)
    if not np.all(np.isfinite(array)) or not np.all(array == np.floor(array)):
        return None
    return np.array([int(item) for item in array.reshape(-1)], object).reshape(array.shape)


def _divide(node: Node, operands: list[Array | None]) -> Array | None:
    left, right = (_whole(a) for a in operands)
    if left is None or right is None:
        return None
    if is_float(node.types[0].dtype):
        # Only exact quotients can be told in floating point.
        quotient = np.asarray(left // right, object)
        if any(np.asarray(quotient * right - left, object).reshape(-1).tolist()):
            return None
    else:
        pairs = np.broadcast(left, right)
        quotient = np.array([_towards_zero(a, b) for a, b in pairs], object)
    return quotient.reshape(node.types[0].static_shape)


def _towards_zero(numerator: Any, divisor: Any) -> Extent:
    """ONNX integer division; extents divide down, so a negative numerator is divided apart."""
    low, _ = dims.bounds(_plain(divisor))
    if low is None or low < (0 if isinstance(divisor, Dim) else 1):
        raise ModelError("undecided")
    positive = dims.floor_divide(dims.maximum(_plain(numerator), 0), divisor)
    negative = dims.floor_divide(dims.maximum(-_plain(numerator), 0), divisor)
    if dims.bounds(negative) == (0, 0):
        return positive
    return positive - negative


def _unchanged(node: Node, operands: list[Array | None]) -> Array | None:
    return operands[0]


def _comparison(name: str) -> Callable[[Node, list[Array | None]], Array | None]:
    """Comparisons that the bounds of the difference decide."""

    def decide(left: Any, right: Any) -> bool:
        difference = left - right
        low, high = dims.bounds(_plain(difference))
        if name in ("equal", "not_equal"):
            if isinstance(difference, Dim):
                if not (low is not None and low > 0) and not (high is not None and high < 0):
                    raise ModelError("undecided")
                same = False
            else:
                same = difference == 0
            return same == (name == "equal")
        if name in ("less", "greater_equal"):
            if high is not None and high < 0:
                return name == "less"
            if low is not None and low >= 0:
                return name == "greater_equal"
        if name in ("greater", "less_equal"):
            if low is not None and low > 0:
                return name == "greater"
            if high is not None and high <= 0:
                return name == "less_equal"
        raise ModelError("undecided")

    def apply(node: Node, operands: list[Array | None]) -> Array | None:
        left, right = (_whole(a) for a in operands)
        if left is None or right is None:
            return None
        pairs = np.broadcast(left, right)
        return np.array([decide(a, b) for a, b in pairs], bool).reshape(node.types[0].static_shape)

    return apply


def _where(node: Node, operands: list[Array | None]) -> Array | None:
    condition, left, right = operands
    if condition is None or left is None or right is None or not is_known(condition):
        return None
    return np.where(condition.astype(bool), left.astype(object), right.astype(object))


_SPECIAL: dict[str, Callable[[Node, list[Array | None]], Array | None]] = {
    "cast": _cast,
    "add": _floating(lambda a, b: a + b),
    "sub": _floating(lambda a, b: a - b),
    "mul": _floating(lambda a, b: a * b),
    "neg": _floating(lambda a: -a),  # type: ignore[arg-type,misc]
    "div": _divide,
    "floor": _unchanged,
    "ceil": _unchanged,
    "round": _unchanged,
    "where": _where,
    "maximum": _floating(np.frompyfunc(dims.maximum, 2, 1)),
    "minimum": _floating(np.frompyfunc(dims.minimum, 2, 1)),
    **{
        name: _comparison(name)
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    },
}
