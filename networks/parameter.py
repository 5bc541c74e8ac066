"""``Parameter``: an array of a network with the name that its checkpoints know it by."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..ir import Array, LazyArray, ModelError, TensorType, Value
from ..ir.node import read_array
from .initializers import Drawn, Initialization
from .tensor import Expression
from .tracing import Trace


class Parameter(Expression):
    """An array that belongs to a network.

    ``data`` is an array, a lazily read one (a file's), or what :func:`initializer` gives:
    then the numbers are drawn when they are first asked for, once the network has been
    named. ``name`` is by default the attribute's that the parameter is assigned to; cells give
    it the names that lead to it when they are assigned themselves, as MindSpore's do.
    ``requires_grad`` is kept for MindSpore's sake: opweave does not train.
    """

    def __init__(
        self,
        data: Array | LazyArray | Initialization,
        name: str = "",
        requires_grad: bool = True,
    ) -> None:
        self._type = TensorType.of(data) if isinstance(data, np.ndarray) else data.type
        self._data: Array | LazyArray | Initialization = data
        self._drawn: Drawn | None = None
        self.requires_grad = requires_grad
        self.name = name
        # Counts how often the numbers became others, so that nothing old is run.
        self.version = 0
        # What checkpoints call the element type where NumPy has no name of its own for it.
        self.stored_type = ""

    def __repr__(self) -> str:
        return f"Parameter({self.name or 'unnamed'}: {self._type})"

    @property
    def type(self) -> TensorType:
        """Element type and shape."""
        return self._type

    @property
    def has_numbers(self) -> bool:
        """False as long as the numbers are still to be drawn and :meth:`begin` was not called."""
        return self._drawn is not None or not isinstance(self._data, Initialization)

    def begin(self, seed: int) -> None:
        """Numbers that are still to be drawn follow from the name and ``seed`` from here on."""
        if isinstance(self._data, Initialization):
            self._drawn = Drawn(self._data, self.name, seed)
            self.version += 1

    def set_data(self, data: Array | LazyArray) -> None:
        """Replace the numbers; raises ModelError when type or shape differ."""
        given = data.type if isinstance(data, LazyArray) else TensorType.of(data)
        if given != self._type:
            raise ModelError(f"parameter {self.name!r} is {self._type}; it cannot become {given}")
        self._data, self._drawn = data, None
        self.version += 1

    def held(self) -> Array | LazyArray:
        """The numbers as a graph keeps them."""
        if not isinstance(self._data, Initialization):
            return self._data
        if self._drawn is None:
            raise ModelError(
                f"parameter {self.name!r} has no numbers yet: they follow from its full name; "
                "call init_parameters_data of the network it belongs to"
            )
        return self._drawn.lazy()

    def asnumpy(self) -> Array:
        """The numbers, drawn or read now; do not write to them."""
        return read_array(self.held())

    def value_in(self, trace: Trace) -> Value:
        """The parameter's node; raises ModelError when it is not part of the traced network."""
        name = trace.parameter_names.get(id(self))
        if name is None:
            raise ModelError(
                f"parameter {self.name!r} ({self._type}) is not part of the traced network: "
                "assign it, or the cell that has it, to an attribute of a cell; keep lists of "
                "cells in CellList or SequentialCell, not in Python's"
            )
        return Value(name)


class ParameterTuple(tuple[Parameter, ...]):
    """Several parameters; as an attribute of a cell they are registered by their own names.

    Raises ModelError for what is not a parameter, and for two of one name.
    """

    def __new__(cls, parameters: Iterable[Parameter] = ()) -> ParameterTuple:
        """The parameters in order; one may come more than once."""
        found = tuple(parameters)
        by_name: dict[str, Parameter] = {}
        for item in found:
            if not isinstance(item, Parameter):
                raise ModelError(f"ParameterTuple holds parameters, not {type(item).__name__}")
            if item.name and by_name.setdefault(item.name, item) is not item:
                raise ModelError(f"ParameterTuple: two parameters are called {item.name!r}")
        return super().__new__(cls, found)
