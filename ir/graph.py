"""The graph: one networkx DiGraph of frozen nodes, changed only through its methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from . import dim, levels
from .data_type import Array
from .dim import Dim, Extent
from .errors import LimitError, ModelError
from .graph_state import GraphState
from .node import INPUT, PARAMETER, Equality, LazyArray, Node, Value, mentioned_symbols, substituted
from .op import Op
from .tensor_type import TensorType, recorded_equalities

# A malicious or runaway graph must end in an error, not in exhausted memory.
MAXIMUM_NODES = 2_000_000


class Graph(GraphState):
    """A directed acyclic graph of operators.

    ``inputs`` and ``outputs`` are Values in order, ``output_names`` what the outputs are
    called from outside. ``params`` maps the names of parameter nodes to arrays (read on
    demand through :meth:`array`). ``symbols`` maps a symbol that is measured while the
    graph runs to the element of an integer tensor that gives it; all other symbols belong
    to the inputs' shapes. ``equalities`` are the assumptions inference made.
    """

    def __str__(self) -> str:
        from .text import print_graph  # it needs this module

        return print_graph(self, digests=False)

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
        if equalities:
            self._equalities[name] = [Equality(left, right, name) for left, right in equalities]
        return node

    def annotate(self, name: str, note: str) -> None:
        """Say of a node, for reports, why it is what it is."""
        self._nx.nodes[name]["node"] = replace(self.node(name), note=note)

    def output(self, value: Value, name: str = "") -> None:
        """Hand ``value`` out under ``name`` (its node's name by default)."""
        self.type(value)
        name = name or str(value)
        if name in self._output_names:
            raise ModelError(f"graph {self.name!r} already has an output {name!r}")
        self._outputs.append(value)
        self._output_names[name] = None

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

    def assume(self, equalities: Iterable[Equality]) -> None:
        """Put these assumptions in place of the recorded ones; each names a node of the graph."""
        found: dict[str, list[Equality]] = {}
        for equality in equalities:
            found.setdefault(self.node(equality.node).name, []).append(equality)
        self._equalities = found

    # --- changing ------------------------------------------------------------------------

    def arrange_inputs(self, order: Sequence[Value]) -> None:
        """Put the inputs into another order; ``order`` must have each of them once."""
        if len(order) != len(self._inputs) or set(order) != set(self._inputs):
            raise ModelError(f"graph {self.name!r}: the new order is not one of its inputs")
        self._inputs = list(order)

    def drop_input(self, value: Value) -> None:
        """Remove an input that nothing reads; raises ModelError for others."""
        if value not in self._inputs or self.use_count(value):
            raise ModelError(f"graph {self.name!r}: {value} is no input that nothing reads")
        self._inputs.remove(value)
        self._remove([value.node])

    def replace(self, old: Value, new: Value) -> None:
        """Make every reader of ``old`` read ``new``, which must have the same type.

        Readers that ``new`` itself depends on stay as they are, so that a value can be replaced
        by something computed from it.
        """
        if old == new:
            return
        if self.type(old) != self.type(new):
            raise ModelError(
                f"{old} is {self.type(old)}; {new}, which is to replace it, is {self.type(new)}"
            )
        before = levels.between(self._nx, old.node, new.node)
        readers = [user for user in self.users(old) if user.name not in before]
        measured = {name for name, (source, _) in self._symbols.items() if source == old}
        if measured:
            named = [n for n in self._after(old.node) if measured & mentioned_symbols(n)]
            if any(node.name in before for node in named):
                measured = set()
            else:
                readers = list({n.name: n for n in (*readers, *named)}.values())
        for name in measured:
            self._symbols[name] = (new, self._symbols[name][1])
        fits = levels.put_below(self._nx, new.node, [user.name for user in readers])
        for user in readers:
            inputs = tuple(new if value == old else value for value in user.inputs)
            self._update(replace(user, inputs=inputs))
        if not fits:
            levels.set_levels(self._nx)
        self._outputs = [new if value == old else value for value in self._outputs]

    def take_over(self, old: str, new: str) -> None:
        """Let ``new``, a node with results of the same types, have readers and name of ``old``."""
        for mine, theirs in zip(self.node(old).outputs, self.node(new).outputs, strict=True):
            self.replace(mine, theirs)
        self.drop(old)
        if old not in self._nx:
            self.rename(new, old)

    def rename(self, name: str, new: str) -> None:
        """Give a node another name, which no node has; inputs keep theirs."""
        node = self.node(name)
        self._fresh(new, exact=True)
        if node.op is INPUT:
            raise ModelError(f"input {name!r} is known by its name outside graph {self.name!r}")
        order, level = (self._nx.nodes[name][key] for key in ("order", "level"))
        self._nx.add_node(new, node=replace(node, name=new), order=order, level=level)
        self._nx.add_edges_from((source, new) for source in self._nx.pred[name])
        self._sorted = None

        def renamed(value: Value) -> Value:
            return Value(new, value.index) if value.node == name else value

        self._symbols = {key: (renamed(v), at) for key, (v, at) in self._symbols.items()}
        for user in self._after(name):
            inputs = tuple(None if value is None else renamed(value) for value in user.inputs)
            self._update(replace(user, inputs=inputs))
        self._outputs = [renamed(value) for value in self._outputs]
        if name in self._params:
            self._params[new] = self._params[name]
        if name in self._equalities:
            held = [replace(equality, node=new) for equality in self._equalities[name]]
            self._equalities[new] = held
        self._remove([name])

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
        self._remove(dead)
        return len(dead)

    def drop(self, name: str) -> list[Node]:
        """Remove one node if nothing needs it, then what only it needed; returns what went."""
        kept = {value.node for value in (*self._outputs, *self._inputs)}
        pending, gone = [name], []
        while pending:
            here = pending.pop()
            if here in self._nx and here not in kept and not self._nx.succ[here]:
                pending.extend(self._nx.predecessors(here))
                gone.append(self.node(here))
                self._remove([here])
        return gone

    def _remove(self, names: Sequence[str]) -> None:
        self._nx.remove_nodes_from(names)
        if self._sorted is not None:  # the others stay in order: nothing reads what goes
            self._sorted = [name for name in self._sorted if name in self._nx]
        for name in names:
            self._params.pop(name, None)
            self._equalities.pop(name, None)
        gone = set(names)
        for symbol in [k for k, (source, _) in self._symbols.items() if source.node in gone]:
            del self._symbols[symbol]

    def substitute(self, values: Mapping[str, Extent]) -> Graph:
        """A copy in which symbols, in bodies of control flow too, are replaced by name."""
        other = self.copy()
        other.fix_symbols(values)
        return other

    def fix_symbols(self, values: Mapping[str, Extent]) -> None:
        """Replace symbols by name in this graph; measured ones among them are not measured."""
        if not values:
            return
        for name in values:
            self._symbols.pop(name, None)
        for name in list(self._nx):
            node = self.node(name)
            attrs = {key: substituted(value, values) for key, value in node.attrs.items()}
            types = tuple(type_.substitute(values) for type_ in node.types)
            self._update(replace(node, attrs=MappingProxyType(attrs), types=types))
        self.assume(
            Equality(dim.substitute(e.left, values), dim.substitute(e.right, values), e.node)
            for e in self.equalities
        )

    def copy(self) -> Graph:
        """An independent graph with the same frozen nodes and arrays."""
        other = Graph(self.name)
        other._nx = self._nx.copy()
        other._sorted = None if self._sorted is None else list(self._sorted)
        other._inputs, other._outputs = list(self._inputs), list(self._outputs)
        other._output_names = dict(self._output_names)
        other._params, other._symbols = dict(self._params), dict(self._symbols)
        other._equalities, other._count = dict(self._equalities), self._count
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
        sources = self._sources(node)
        level = levels.level_above(self._nx, sources)
        self._nx.add_node(node.name, node=node, order=self._count, level=level)
        self._nx.add_edges_from((source, node.name) for source in sources)
        if self._sorted is not None:
            self._sorted.append(node.name)  # nothing reads it yet, and it is the newest
        self._count += 1
        return Value(node.name)

    def _update(self, node: Node) -> None:
        self._nx.nodes[node.name]["node"] = node
        sources = self._sources(node)
        if list(self._nx.pred[node.name]) != sources:
            self._nx.remove_edges_from(list(self._nx.in_edges(node.name)))
            self._nx.add_edges_from((source, node.name) for source in sources)
            self._sorted = None

    def _sources(self, node: Node) -> list[str]:
        """What ``dependencies`` has, in an order that is the same in every process."""
        sources = dict.fromkeys(value.node for value in node.operands)
        if self._symbols:
            sources |= dict.fromkeys(sorted(self.dependencies(node)))
        for source in sources:
            if source not in self._nx:
                raise ModelError(f"{node} reads {source!r}, which is not in graph {self.name!r}")
        return list(sources)
