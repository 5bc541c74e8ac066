"""The graph: one networkx DiGraph of frozen nodes, changed only through its methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import networkx as nx
import numpy as np

from . import dim
from .dim import Dim, Extent
from .errors import LimitError, ModelError
from .op import Array, Op
from .tensor_type import TensorType, recorded_equalities

# A malicious or runaway graph must end in an error, not in exhausted memory.
MAXIMUM_NODES = 2_000_000


def _no_meaning() -> None:
    """Inputs and parameters are given from outside; they compute nothing."""


INPUT = Op("input", _no_meaning)
PARAMETER = Op("parameter", _no_meaning)


@dataclass(frozen=True, slots=True)
class Value:
    """One output of one node."""

    node: str
    index: int = 0

    def __str__(self) -> str:
        return self.node if self.index == 0 else f"{self.node}:{self.index}"


@dataclass(frozen=True, slots=True)
class Node:
    """One application of an operator. ``origin`` is for messages only."""

    name: str
    op: Op
    inputs: tuple[Value | None, ...]
    attrs: Mapping[str, Any]
    types: tuple[TensorType, ...]
    origin: str = field(default="", compare=False)

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The values this node computes."""
        return tuple(Value(self.name, index) for index in range(len(self.types)))

    @property
    def operands(self) -> tuple[Value, ...]:
        """The inputs that are there."""
        return tuple(value for value in self.inputs if value is not None)

    def __str__(self) -> str:
        where = f" (from {self.origin})" if self.origin and self.origin != self.name else ""
        return f"{self.op.name} {self.name!r}{where}"


@dataclass(frozen=True, slots=True)
class LazyArray:
    """An array that is read when it is needed, as parameters of a file are."""

    type: TensorType
    load: Callable[[], Array]


def read_array(held: Array | LazyArray) -> Array:
    """The array itself; a lazy one is read now and must be what it was declared to be."""
    if not isinstance(held, LazyArray):
        return held
    array = np.asarray(held.load())
    if TensorType.of(array) != held.type:
        raise ModelError(f"a parameter is {TensorType.of(array)}, not {held.type} as declared")
    return array


@dataclass(frozen=True, slots=True)
class Equality:
    """Two symbolic extents that node ``node`` needs to be equal; checked when values are known."""

    left: Extent
    right: Extent
    node: str


class Graph:
    """A directed acyclic graph of operators.

    ``inputs`` and ``outputs`` are Values in order, ``output_names`` what the outputs are
    called from outside. ``params`` maps the names of parameter nodes to arrays (read on
    demand through :meth:`array`). ``symbols`` maps a symbol that is measured while the
    graph runs to the element of an integer tensor that gives it; all other symbols belong
    to the inputs' shapes. ``equalities`` are the assumptions inference made.
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self._nx: nx.DiGraph[str] = nx.DiGraph()
        self._inputs: list[Value] = []
        self._outputs: list[Value] = []
        self._output_names: list[str] = []
        self._params: dict[str, Array | LazyArray] = {}
        self._symbols: dict[str, tuple[Value, int]] = {}
        self._equalities: list[Equality] = []
        self._count = 0  # nodes ever added: their order, and the source of fresh names

    # --- reading -------------------------------------------------------------------------

    @property
    def nx(self) -> nx.DiGraph[str]:
        """A read-only networkx view: vertices are node names with the attribute ``node``."""
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
        return tuple(self._equalities)

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
        order = nx.lexicographical_topological_sort(
            self._nx, key=lambda name: self._nx.nodes[name]["order"]
        )
        return iter([self._nx.nodes[name]["node"] for name in order])

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
        names = sorted(
            self._nx.successors(value.node), key=lambda name: int(self._nx.nodes[name]["order"])
        )
        found = [self.node(name) for name in names]
        return [node for node in found if value in node.inputs]

    def use_count(self, value: Value) -> int:
        """How often ``value`` is read: operands, graph outputs and measured symbols."""
        count = sum(node.inputs.count(value) for node in self.users(value))
        count += self._outputs.count(value)
        return count + sum(source == value for source, _ in self._symbols.values())

    def measured_nodes(self) -> set[str]:
        """Names of the nodes whose values give symbols while the graph runs."""
        return {source.node for source, _ in self._symbols.values()}

    # --- building ------------------------------------------------------------------------

    def input(self, name: str, type_: TensorType) -> Value:
        """Add an input."""
        value = self._insert(Node(self._fresh(name, exact=True), INPUT, (), {}, (type_,)))
        self._inputs.append(value)
        return value

    def param(self, array: Array | LazyArray, name: str = "constant", exact: bool = False) -> Value:
        """Add a parameter; the array must not be changed afterwards."""
        if isinstance(array, LazyArray):
            held: Array | LazyArray = array
            type_ = array.type
        else:
            held = np.asarray(array)
            type_ = TensorType.of(held)
        value = self._insert(Node(self._fresh(name, exact), PARAMETER, (), {}, (type_,)))
        self._params[value.node] = held
        return value

    def add(
        self, op: Op, *inputs: Value | None, name: str = "", origin: str = "", **attributes: Any
    ) -> Value:
        """Add a node with one output and return that output; types are inferred here."""
        node = self.add_node(op, inputs, attributes, name=name, origin=origin)
        if len(node.types) != 1:
            raise ModelError(f"{node} has {len(node.types)} outputs; use add_node")
        return node.outputs[0]

    def add_node(
        self,
        op: Op,
        inputs: Sequence[Value | None],
        attributes: Mapping[str, Any],
        name: str = "",
        origin: str = "",
    ) -> Node:
        """Add a node with any number of outputs; raises ModelError when operands do not fit."""
        name = self._fresh(name or op.name)
        try:
            op.check_inputs(inputs)
            attrs = op.complete_attributes(attributes)
            types = [None if value is None else self.type(value) for value in inputs]
            with recorded_equalities() as equalities:
                inferred = op.infer_types(types, attrs)
        except ModelError as error:
            where = f" (from {origin})" if origin else ""
            raise type(error)(f"node {name!r}{where}: {error}") from error
        node = Node(name, op, tuple(inputs), attrs, inferred, origin)
        self._insert(node)
        self._equalities += [Equality(left, right, name) for left, right in equalities]
        return node

    def output(self, value: Value, name: str = "") -> None:
        """Hand ``value`` out under ``name`` (its node's name by default)."""
        self.type(value)
        name = name or str(value)
        if name in self._output_names:
            raise ModelError(f"graph {self.name!r} already has an output {name!r}")
        self._outputs.append(value)
        self._output_names.append(name)

    def measure(self, value: Value, position: int, name: str = "", lower: int = 0) -> Dim:
        """A new symbol: the element at flat ``position`` of the integer tensor ``value``.

        Nodes whose types or attributes mention the symbol run after ``value`` is computed.
        A run in which the element is below ``lower`` ends with an error.
        """
        if self.type(value).dtype != "int64":
            raise ModelError(f"{value} is {self.type(value)}; only int64 tensors give extents")
        size = self.type(value).size
        if isinstance(size, int) and not 0 <= position < size:
            raise ModelError(f"{value} has no element {position}")
        stem = name or f"{value.node}.{position}"
        while stem in self._symbols:
            stem += "'"
        self._symbols[stem] = (value, position)
        return dim.symbol(stem, lower)

    # --- changing ------------------------------------------------------------------------

    def replace(self, old: Value, new: Value) -> None:
        """Make every reader of ``old`` read ``new``, which must have the same type."""
        if old == new:
            return
        if self.type(old) != self.type(new):
            raise ModelError(
                f"{old} is {self.type(old)}; {new}, which is to replace it, is {self.type(new)}"
            )
        if nx.has_path(self._nx, old.node, new.node) and old.node != new.node:
            self._replace_inputs(old, new, skip=nx.ancestors(self._nx, new.node) | {new.node})
        else:
            self._replace_inputs(old, new, skip=set())
        self._outputs = [new if value == old else value for value in self._outputs]
        for name, (source, position) in list(self._symbols.items()):
            if source == old:
                self._symbols[name] = (new, position)

    def _replace_inputs(self, old: Value, new: Value, skip: set[str]) -> None:
        for user in self.users(old):
            if user.name not in skip:
                inputs = tuple(new if value == old else value for value in user.inputs)
                self._update(replace(user, inputs=inputs))

    def prune(self) -> int:
        """Remove nodes that no output needs (inputs stay); returns how many went."""
        live: set[str] = set()
        pending = [value.node for value in self._outputs]
        while pending:
            name = pending.pop()
            if name not in live:
                live.add(name)
                pending.extend(self._nx.predecessors(name))
        live.update(value.node for value in self._inputs)
        dead = [name for name in self._nx if name not in live]
        self._nx.remove_nodes_from(dead)
        for name in dead:
            self._params.pop(name, None)
        if dead:
            self._symbols = {k: v for k, v in self._symbols.items() if v[0].node in live}
            self._equalities = [e for e in self._equalities if e.node in live]
        return len(dead)

    def substitute(self, values: Mapping[str, Extent]) -> Graph:
        """A copy in which symbols, in bodies of control flow too, are replaced by name."""
        other = self.copy()
        for name in other._nx:
            node = other.node(name)
            attrs = {key: substituted(value, values) for key, value in node.attrs.items()}
            types = tuple(type_.substitute(values) for type_ in node.types)
            other._nx.nodes[name]["node"] = replace(
                node, attrs=MappingProxyType(attrs), types=types
            )
        other._equalities = [
            Equality(dim.substitute(e.left, values), dim.substitute(e.right, values), e.node)
            for e in self._equalities
        ]
        return other

    def copy(self) -> Graph:
        """An independent graph with the same frozen nodes and arrays."""
        other = Graph(self.name)
        other._nx = self._nx.copy()
        other._inputs, other._outputs = list(self._inputs), list(self._outputs)
        other._output_names = list(self._output_names)
        other._params, other._symbols = dict(self._params), dict(self._symbols)
        other._equalities, other._count = list(self._equalities), self._count
        return other

    # --- inside --------------------------------------------------------------------------

    def _fresh(self, stem: str, exact: bool = False) -> str:
        if stem not in self._nx:
            return stem
        if exact:
            raise ModelError(f"graph {self.name!r} already has a node {stem!r}")
        number = self._count
        while f"{stem}_{number}" in self._nx:
            number += 1
        return f"{stem}_{number}"

    def _insert(self, node: Node) -> Value:
        if len(self._nx) >= MAXIMUM_NODES:
            raise LimitError(f"graph {self.name!r} has more than {MAXIMUM_NODES} nodes")
        self._nx.add_node(node.name, node=node, order=self._count)
        self._count += 1
        self._connect(node)
        return Value(node.name)

    def _update(self, node: Node) -> None:
        self._nx.remove_edges_from(list(self._nx.in_edges(node.name)))
        self._nx.nodes[node.name]["node"] = node
        self._connect(node)

    def _connect(self, node: Node) -> None:
        for source in self.dependencies(node):
            if source not in self._nx:
                raise ModelError(f"{node} reads {source!r}, which is not in graph {self.name!r}")
            self._nx.add_edge(source, node.name)

    def dependencies(self, node: Node) -> set[str]:
        """Names of the nodes that must run before ``node``: operands and measured symbols."""
        needed = {value.node for value in node.operands}
        if self._symbols:
            for name in mentioned_symbols(node):
                if name in self._symbols:
                    needed.add(self._symbols[name][0].node)
            needed.discard(node.name)
        return needed


def substituted(value: Any, values: Mapping[str, Extent]) -> Any:
    """An attribute value with its symbols replaced by name where ``values`` has them."""
    if isinstance(value, Dim):
        return dim.substitute(value, values)
    if isinstance(value, tuple):
        return tuple(substituted(item, values) for item in value)
    return value.substitute(values) if isinstance(value, Graph) else value


def mentioned_symbols(node: Node) -> frozenset[str]:
    """Names of the symbols in a node's types and attributes, bodies of control flow included."""
    extents = (*(type_.shape for type_ in node.types), node.attrs)
    names = {symbol.name for symbol in dim.symbols_of(extents)}
    for attribute in node.attrs.values():
        if isinstance(attribute, Graph):
            names.update(*(mentioned_symbols(inner) for inner in attribute.nodes()))
            names -= set(attribute.symbols)
    return frozenset(names)
