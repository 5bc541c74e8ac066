"""The state of a graph, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from .data_type import Array
from .errors import ModelError
from .node import (
    INPUT,
    PARAMETER,
    Body,
    Equality,
    LazyArray,
    Node,
    Value,
    mentioned_symbols,
    read_array,
)
from .tensor_type import TensorType

# Networkx is imported where a graph is made: it takes a while, and saved models have none.
if TYPE_CHECKING:
    import networkx as nx


class GraphState(Body):
    """What a graph holds, for reading: the base of ``Graph``, which changes it."""

    def __init__(self, name: str = "graph") -> None:
        import networkx as nx

        self.name = name
        self._nx: nx.DiGraph[str] = nx.DiGraph()
        self._inputs: list[Value] = []
        self._outputs: list[Value] = []
        self._output_names: dict[str, None] = {}  # in order
        self._params: dict[str, Array | LazyArray] = {}
        self._symbols: dict[str, tuple[Value, int]] = {}
        self._equalities: dict[str, list[Equality]] = {}  # by the node that assumes them
        self._count = 0  # nodes ever added: their order, and the source of fresh names
        self._sorted: list[str] | None = []  # what nodes() yields, if it is known

    @property
    def nx(self) -> nx.DiGraph[str]:
        """A read-only networkx view: vertices are node names with the attribute ``node``."""
        import networkx as nx

        return nx.freeze(self._nx.copy(as_view=True))

    @property
    def inputs(self) -> tuple[Value, ...]:
        """Values given from outside, in order."""
        return tuple(self._inputs)

    @property
    def outputs(self) -> tuple[Value, ...]:
        """Values handed out, in order."""
        return tuple(self._outputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the outputs are called from outside."""
        return tuple(self._output_names)

    @property
    def params(self) -> Mapping[str, Array | LazyArray]:
        """Arrays of the parameter nodes, by node name."""
        return MappingProxyType(self._params)

    @property
    def symbols(self) -> Mapping[str, tuple[Value, int]]:
        """Symbols measured while running: name -> (integer tensor, flat position)."""
        return MappingProxyType(self._symbols)

    @property
    def equalities(self) -> tuple[Equality, ...]:
        """Assumptions about symbolic extents that must be checked."""
        return tuple(e for equalities in self._equalities.values() for e in equalities)

    def __contains__(self, name: object) -> bool:
        return name in self._nx

    def __len__(self) -> int:
        return len(self._nx)

    def node(self, name: str) -> Node:
        """The node called ``name``; raises ModelError if there is none."""
        try:
            found: Node = self._nx.nodes[name]["node"]
        except KeyError:
            raise ModelError(f"graph {self.name!r} has no node {name!r}") from None
        return found

    def nodes(self) -> Iterator[Node]:
        """All nodes, producers first, otherwise in the order they were added."""
        import networkx as nx

        if self._sorted is None:
            order = nx.lexicographical_topological_sort(
                self._nx, key=lambda name: self._nx.nodes[name]["order"]
            )
            self._sorted = list(order)
        return iter([self._nx.nodes[name]["node"] for name in self._sorted])

    def operators(self) -> list[Node]:
        """The nodes that compute something, producers first."""
        return [node for node in self.nodes() if node.op is not INPUT and node.op is not PARAMETER]

    def type(self, value: Value) -> TensorType:
        """The type of a value."""
        types = self.node(value.node).types
        if not 0 <= value.index < len(types):
            raise ModelError(f"{self.node(value.node)} has no output {value.index}")
        return types[value.index]

    def is_param(self, value: Value | None) -> bool:
        """True when the value is a parameter, known before running."""
        return value is not None and value.node in self._params

    def array(self, value: Value) -> Array:
        """The array of a parameter (read now if it is lazy); do not write to it."""
        return read_array(self._params[value.node])

    def users(self, value: Value) -> list[Node]:
        """Nodes that have ``value`` among their inputs, in the order they were added."""
        return [node for node in self._after(value.node) if value in node.inputs]

    def use_count(self, value: Value) -> int:
        """How often ``value`` is read: operands, graph outputs and measured symbols."""
        count = sum(node.inputs.count(value) for node in self.users(value))
        count += self._outputs.count(value)
        return count + sum(source == value for source, _ in self._symbols.values())

    def readers(self, name: str) -> list[str]:
        """Names of the nodes that depend directly on the node ``name``."""
        return list(self._nx.succ[name])

    @property
    def ever_added(self) -> int:
        """How many nodes were ever added: a mark for :meth:`added_since`."""
        return self._count

    def added_since(self, mark: int, name: str) -> list[str]:
        """The node ``name`` and what it depends on, as far as that is newer than the mark."""
        found: dict[str, None] = {}
        pending = [name]
        while pending:
            here = pending.pop()
            if here not in found and self._nx.nodes[here]["order"] >= mark:
                found[here] = None
                pending.extend(self._nx.predecessors(here))
        return list(found)

    def measured_nodes(self) -> set[str]:
        """Names of the nodes whose values give symbols while the graph runs."""
        return {source.node for source, _ in self._symbols.values()}

    def _after(self, name: str) -> list[Node]:
        """Nodes that depend directly on ``name``, in the order they were added."""
        order = self._nx.nodes
        return [
            self.node(user)
            for user in sorted(self._nx.successors(name), key=lambda user: order[user]["order"])
        ]

    def dependencies(self, node: Node) -> set[str]:
        """Names of the nodes that must run before ``node``: operands and measured symbols."""
        needed = {value.node for value in node.operands}
        if self._symbols:
            for name in mentioned_symbols(node):
                if name in self._symbols:
                    needed.add(self._symbols[name][0].node)
            needed.discard(node.name)
        return needed
