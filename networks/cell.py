"""``Cell``: a part of a network, and ``trace``: a network's graph.

The classes are MindSpore's in look and naming, so that its checkpoints fit: attributes that are
cells or parameters are registered in the order they are set, and a parameter is called by the
attributes that lead to it (``layer1.0.conv1.weight``). As in MindSpore, names are given when
attributes are set, from the inside out: of several places that share a parameter, the one set
last names it. Networks are for inference: batch
normalisation uses its moving statistics and dropout passes everything on.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from ..ir import Graph, ModelError, TensorType, UnsupportedError
from .parameter import Parameter, ParameterTuple
from .tensor import Operand, Tensor, value_of
from .tracing import Trace, current_trace, tracing


class Cell:
    """A part of a network; subclasses set attributes and define ``construct``.

    ``construct`` takes and returns tensors (or tuples and lists of them); cells are called in
    it like functions. Its control flow is Python's: it may depend on shapes and settings, not
    on what tensors hold. With ``auto_prefix`` off, the names of attributes do not go into the
    names of the parameters below them.
    """

    _cells: dict[str, Cell]
    _parameters: dict[str, Parameter]

    def __init__(self, auto_prefix: bool = True) -> None:
        object.__setattr__(self, "_cells", {})
        object.__setattr__(self, "_parameters", {})
        self._auto_prefix = auto_prefix
        self._input_types: tuple[TensorType, ...] = ()

    def construct(self, *values: Any) -> Any:
        """What the cell computes; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define construct")

    def __call__(self, *values: Any, **options: Any) -> Any:
        trace = current_trace()
        above = trace.scope[-1] if trace.scope else ""
        trace.scope.append(trace.cell_names.get(id(self), above))
        try:
            return self.construct(*values, **options)
        finally:
            trace.scope.pop()

    # --- attributes ----------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        cells, parameters = self.__dict__.get("_cells"), self.__dict__.get("_parameters")
        if isinstance(value, (Cell, Parameter, ParameterTuple)):
            if cells is None or parameters is None:
                raise ModelError(
                    f"{type(self).__name__}: call super().__init__() before setting {name!r}"
                )
            if isinstance(value, ParameterTuple):
                for item in value:
                    self.insert_param_to_cell(item.name or name, item)
                object.__setattr__(self, name, value)
                return
            self.__dict__.pop(name, None)
            if isinstance(value, Cell):
                parameters.pop(name, None)
                if self._auto_prefix:
                    value.update_parameters_name(f"{name}.")
                cells[name] = value
            else:
                cells.pop(name, None)
                self.insert_param_to_cell(name, value)
            return
        if cells is not None and parameters is not None:
            cells.pop(name, None)
            parameters.pop(name, None)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for registered in ("_cells", "_parameters"):
            found = self.__dict__.get(registered, {})
            if name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for registered in (self._cells, self._parameters):
            if name in registered:
                del registered[name]
                return
        object.__delattr__(self, name)

    def insert_child_to_cell(self, child_name: str, child_cell: Cell) -> None:
        """Register a cell under a name that need not be an identifier.

        Its parameters keep their names, as in MindSpore; ``update_parameters_name`` of the
        child puts the name in front of them.
        """
        if child_name in self._cells:
            raise ModelError(f"{type(self).__name__} already has a cell {child_name!r}")
        self._cells[child_name] = child_cell

    def insert_param_to_cell(self, param_name: str, param: Parameter) -> None:
        """Register a parameter, which takes the name if it has none."""
        if not param.name:
            param.name = param_name
        self._parameters[param_name] = param

    def update_parameters_name(self, prefix: str = "") -> None:
        """Name all parameters by the attributes that lead to them, with ``prefix`` in front."""
        for name, parameter in self.parameters_and_names():
            parameter.name = prefix + name

    # --- parts and parameters ------------------------------------------------------------

    def name_cells(self) -> dict[str, Cell]:
        """The cells directly below, by name."""
        return dict(self._cells)

    def cells_and_names(self, name_prefix: str = "") -> Iterator[tuple[str, Cell]]:
        """This cell and all below it with their names, in order; a shared one comes once."""
        seen: set[int] = set()
        # A stack of our own: depth is the user's to choose, Python's is not.
        pending: list[tuple[str, Cell]] = [(name_prefix, self)]
        while pending:
            name, cell = pending.pop()
            if id(cell) in seen:
                continue
            seen.add(id(cell))
            yield name, cell
            below = [
                (f"{name}.{child_name}" if name else child_name, child)
                for child_name, child in cell.name_cells().items()
            ]
            pending.extend(reversed(below))

    def parameters_and_names(self, name_prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """All parameters with the attributes that lead to them, as checkpoints order them.

        A parameter that several cells share comes once, where it is found first. Checkpoints
        know it by its ``name``, which mostly is the same.
        """
        seen: set[int] = set()
        for prefix, cell in self.cells_and_names(name_prefix):
            for attribute, parameter in cell._parameters.items():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield f"{prefix}.{attribute}" if prefix else attribute, parameter

    def get_parameters(self) -> Iterator[Parameter]:
        """All parameters, in the order of checkpoints."""
        return (parameter for _, parameter in self.parameters_and_names())

    def parameters_dict(self) -> dict[str, Parameter]:
        """All parameters by their names, in the order of checkpoints.

        Raises ModelError when two different parameters have one name.
        """
        found: dict[str, Parameter] = {}
        for parameter in self.get_parameters():
            if found.setdefault(parameter.name, parameter) is not parameter:
                raise ModelError(
                    f"{type(self).__name__} has two parameters called {parameter.name!r}; give "
                    "one of them another name"
                )
        return found

    def trainable_params(self) -> list[Parameter]:
        """The parameters that training would change: all but moving statistics."""
        return [parameter for parameter in self.get_parameters() if parameter.requires_grad]

    def untrainable_params(self) -> list[Parameter]:
        """The parameters that training would leave alone."""
        return [parameter for parameter in self.get_parameters() if not parameter.requires_grad]

    def init_parameters_data(self, seed: int = 0) -> None:
        """Give new parameters the numbers that follow from ``seed`` and their names.

        Nothing is drawn before it is needed. Parameters whose data was set keep it.
        """
        for parameter in self.parameters_dict().values():
            parameter.begin(seed)

    def set_train(self, mode: bool = True) -> Cell:
        """The cell itself, which always infers; raises UnsupportedError for training."""
        if mode:
            raise UnsupportedError(f"{type(self).__name__}: opweave infers, it does not train")
        return self

    # --- inputs --------------------------------------------------------------------------

    def set_inputs(self, *types: TensorType) -> None:
        """Set the types of the inputs that the network is traced with by default."""
        self._input_types = tuple(types)

    def get_inputs(self) -> tuple[TensorType, ...]:
        """The types of the inputs that :meth:`set_inputs` set."""
        return self._input_types

    def input_names(self, count: int) -> tuple[str, ...]:
        """What ``count`` inputs are called: the parameters of ``construct``."""
        names: list[str] = []
        for parameter in inspect.signature(self.construct).parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                more = count - len(names)
                names += [f"{parameter.name}_{place}" for place in range(more)]
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                names.append(parameter.name)
        if len(names) < count:
            raise ModelError(
                f"{type(self).__name__} takes {len(names)} inputs ({', '.join(names)}), not {count}"
            )
        return tuple(names[:count])

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}<"]
        for name, cell in self.name_cells().items():
            text = repr(cell).replace("\n", "\n  ")
            lines.append(f"  ({name}): {text}")
        return "\n".join([*lines, ">"]) if len(lines) > 1 else lines[0] + ">"


def trace(
    network: Cell,
    *types: TensorType,
    names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    name: str = "",
) -> Graph:
    """The graph of a network for inputs of these types, by default those of ``set_inputs``.

    Parameter nodes are called as checkpoints call the parameters; inputs are called
    ``names``, by default as ``construct`` calls them; outputs ``output``, or ``output_0`` and
    on. Extents of the types may be symbols. Parameters of a network that has not been named
    get their names and numbers (seed 0) here.
    """
    types = types or network.get_inputs()
    held = network.parameters_dict()
    for parameter in held.values():
        if not parameter.has_numbers:
            parameter.begin(0)
    graph = Graph(name or type(network).__name__)
    under_way = Trace(
        graph,
        {id(cell): cell_name for cell_name, cell in network.cells_and_names()},
        {id(parameter): full_name for full_name, parameter in held.items()},
    )
    called = tuple(names) if names is not None else network.input_names(len(types))
    if len(called) != len(types):
        raise ModelError(f"{len(called)} names for {len(types)} inputs of {type(network).__name__}")
    inputs = [
        Tensor(under_way, graph.input(input_name, type_))
        for input_name, type_ in zip(called, types, strict=True)
    ]
    for full_name, parameter in held.items():
        graph.param(parameter.held(), full_name, exact=True)
    with tracing(under_way):
        outputs = _flat(network(*inputs), network)
        values = [value_of(under_way, output) for output in outputs]
    if output_names is None:
        several = [f"output_{place}" for place in range(len(values))]
        output_names = ["output"] if len(values) == 1 else several
    for value, output_name in zip(values, output_names, strict=True):
        graph.output(value, output_name)
    graph.prune()
    return graph


def _flat(result: Any, network: Cell) -> list[Operand]:
    """The tensors of a result, those of tuples and lists one by one."""
    if isinstance(result, (tuple, list)):
        return [item for part in result for item in _flat(part, network)]
    if result is None:
        raise ModelError(f"construct of {type(network).__name__} returns None")
    return [result]
