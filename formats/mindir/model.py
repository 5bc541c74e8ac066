"""The text of a MindIR model: graphs, constants, parameters and primitives by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...ir import FormatError, ModelError
from . import registry

_REFERENCE = "REF::"


@dataclass
class GraphText:
    """One graph: its message, the names of its inputs and outputs, its nodes in running order."""

    proto: Any
    name: str
    inputs: list[str]
    outputs: list[str]
    nodes: list[Any] = field(default_factory=list)


class ModelText:
    """Everything that is called by name in one model."""

    def __init__(self, proto: Any) -> None:
        self.proto = proto
        self.graphs: dict[str, GraphText] = {}
        self.constants: dict[str, Any] = {}
        # Parameter name -> its tensor; names in graphs -> parameter names.
        self.parameters: dict[str, Any] = {}
        self.references: dict[str, str] = {}
        self.primitives: dict[str, Any] = {}
        self._calls: dict[str, set[str]] = {}
        self._reached: dict[tuple[str, str, frozenset[str]], bool] = {}
        for primitive in proto.primitives:
            self.primitives[primitive.name] = primitive
        for graph in (proto.graph, *proto.functions):
            self._add_graph(graph)
        for text in self.graphs.values():
            self._calls[text.name] = self._called(text)

    @property
    def main(self) -> GraphText:
        """The graph that is the model."""
        return self.graphs[self.proto.graph.name]

    def _add_graph(self, proto: Any) -> None:
        if not proto.name:
            raise FormatError("a graph of the MindIR file has no name")
        if proto.name in self.graphs:
            raise ModelError(f"the graph {proto.name!r} is defined twice")
        for tensor in proto.parameter:
            name = tensor.ref_key or tensor.name.partition(":")[2] or tensor.name
            if not tensor.name:
                raise FormatError(f"a parameter of the graph {proto.name!r} has no name")
            if name in self.parameters or tensor.name in self.references:
                raise ModelError(f"the parameter {name!r} is defined twice")
            self.parameters[name] = tensor
            self.references[tensor.name] = name
        text = GraphText(
            proto,
            proto.name,
            [value.name for value in proto.input],
            [value.name for value in proto.output],
        )
        if not text.outputs:
            raise FormatError(f"the graph {proto.name!r} has no output")
        for node in proto.node:
            if node.op_type == "Constant":
                for name in node.output[:1] or [node.name]:
                    self.constants[name] = node
            else:
                text.nodes.append(node)
        text.nodes = _in_order(text.nodes, proto.name)
        self.graphs[proto.name] = text

    # --- what a node's op_type means -----------------------------------------------------

    def primitive_of(self, node: Any) -> Any:
        """The entry of the table of primitives, or None."""
        if node.op_type.startswith(_REFERENCE):
            return self.primitives.get(node.op_type[len(_REFERENCE) :])
        return None

    def resolve(self, node: Any) -> tuple[str, str]:
        """("primitive", its name), ("graph", its name) or ("value", name of what is called)."""
        if not node.op_type.startswith(_REFERENCE):
            return "primitive", registry.plain_name(node.op_type)
        target = node.op_type[len(_REFERENCE) :]
        if target in self.primitives:
            return "primitive", registry.plain_name(self.primitives[target].op_type)
        return ("graph" if target in self.graphs else "value"), target

    # --- which graph calls which ---------------------------------------------------------

    def _called(self, text: GraphText) -> set[str]:
        found: set[str] = set()
        for node in text.nodes:
            kind, target = self.resolve(node)
            if kind == "graph":
                found.add(target)
            found.update(name for name in node.input if name in self.graphs)
        found.update(name for name in text.outputs if name in self.graphs)
        return found

    def reaches(self, start: str, goal: str, closed: frozenset[str] = frozenset()) -> bool:
        """True when calls lead from ``start`` to ``goal`` without passing ``closed`` graphs."""
        key = (start, goal, closed)
        if key not in self._reached:
            seen: set[str] = set()
            pending = list(self._calls.get(start, ()))
            while pending:
                name = pending.pop()
                if name == goal:
                    break
                if name not in seen and name not in closed:
                    seen.add(name)
                    pending.extend(self._calls.get(name, ()))
            else:
                self._reached[key] = False
                return False
            self._reached[key] = True
        return self._reached[key]

    def reaches_any(self, start: str, goals: Iterable[str]) -> bool:
        """True when ``start`` is one of ``goals`` or calls lead to one."""
        return any(start == goal or self.reaches(start, goal) for goal in goals)


def _in_order(nodes: Sequence[Any], graph: str) -> list[Any]:
    """The nodes with producers first, otherwise in the file's order; cycles raise ModelError."""
    producer: dict[str, int] = {}
    for position, node in enumerate(nodes):
        for name in node.output[:1]:
            if name in producer:
                raise ModelError(f"graph {graph!r}: the value {name!r} is defined twice")
            producer[name] = position
    if all(
        producer.get(name, -1) < position
        for position, node in enumerate(nodes)
        for name in _needs(node)
    ):
        return list(nodes)
    order: list[Any] = []
    done: set[int] = set()
    for start in range(len(nodes)):
        stack = [(start, iter(_needs(nodes[start])))]
        open_: set[int] = {start}
        while stack and stack[0][0] not in done:
            position, needs = stack[-1]
            following = next((p for n in needs if (p := producer.get(n, -1)) >= 0), -1)
            if following < 0:
                stack.pop()
                open_.discard(position)
                done.add(position)
                order.append(nodes[position])
            elif following in open_:
                raise ModelError(f"graph {graph!r}: the nodes depend on each other in a cycle")
            elif following not in done:
                stack.append((following, iter(_needs(nodes[following]))))
                open_.add(following)
    return order


def _needs(node: Any) -> list[str]:
    called = node.op_type[len(_REFERENCE) :] if node.op_type.startswith(_REFERENCE) else ""
    return [*node.input, called]
