"""The module of a graph, and what the host must know to run it.

``ow_run(context)`` computes the whole graph. ``context`` points to the fields of
:class:`Context`; pointers to the addresses of the inputs, then of the outputs, follow them.
Inside, a graph is a function of ``values`` (the addresses), ``arena`` (memory of the planned
size) and ``context``; bodies of control flow are functions of the same form. The result is 0, or 1
when ``context.failure`` says which step failed and how.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llvmlite import ir

from ...ir import Extent, Graph, Value
from .calling import StepInfo
from .kernels import POINTER, KernelSet

GRAPH_TYPE = ir.FunctionType(ir.IntType(32), [POINTER, POINTER, POINTER])


@dataclass
class Program:
    """The module of a graph and what the host must know to run it."""

    module: ir.Module
    kernels: KernelSet
    params: list[tuple[Graph, Value]] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    steps: list[StepInfo] = field(default_factory=list)
    arena: Extent = 0
    late_outputs: frozenset[int] = frozenset()
    shares: bool = False  # some kernel may run on several threads
    missing: list[str] = field(default_factory=list)  # what there are no kernels for
    checks: list[str] = field(default_factory=list)  # what PREPARE may find, in its order
    exports: list[str] = field(default_factory=list)  # what the host looks at, beside ENTRY
    _param_numbers: dict[tuple[int, Value], int] = field(default_factory=dict)
    _functions: int = 0

    def param_number(self, graph: Graph, value: Value) -> int:
        """The number of a parameter in the table of addresses."""
        key = (id(graph), value)
        if key not in self._param_numbers:
            self._param_numbers[key] = len(self.params)
            self.params.append((graph, value))
        return self._param_numbers[key]

    def symbol_number(self, name: str) -> int:
        """The number of a symbol in the table of values."""
        if name not in self.symbols:
            self.symbols.append(name)
        return self.symbols.index(name)

    def step(self, info: StepInfo) -> int:
        """The number of a new step."""
        self.steps.append(info)
        return len(self.steps) - 1

    def function(self, stem: str) -> ir.Function:
        """A new internal function that computes a graph."""
        self._functions += 1
        function = ir.Function(self.module, GRAPH_TYPE, f"{stem}_{self._functions}")
        function.linkage = "internal"
        return function
