"""Rewrite rules as data: a pattern anchored at its root, and a function that builds the new value.

Inside a pattern, operands are ordered; a string binds the value at that place (the same string
twice must find the same value twice), a nested pattern asks for a node. Values inside a
pattern, apart from its root, must have no other reader, so that the old nodes die.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..ir import Graph, ModelError, Node, Op, Value

# A rule that fires this often on one graph undoes its own work, or another rule's.
_FIRINGS_PER_NODE = 50


@dataclass(frozen=True, slots=True)
class Pattern:
    """A node with one of ``ops`` and these operands; ``commutes``: the first two in any order."""

    ops: tuple[Op, ...]
    operands: tuple[Operand, ...]
    name: str = ""
    commutes: bool = False


Operand: TypeAlias = Pattern | str


def pattern(
    op: Op | Sequence[Op], *operands: Operand, name: str = "", commutes: bool = False
) -> Pattern:
    """A pattern for a node; ``name`` lets the rule look at the node itself."""
    ops = (op,) if isinstance(op, Op) else tuple(op)
    return Pattern(ops, operands, name, commutes)


@dataclass(slots=True)
class Match:
    """What a pattern found: the root, bound values, named nodes."""

    graph: Graph
    root: Node
    values: dict[str, Value] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def attribute(self, name: str, node: str = "") -> Any:
        """An attribute of the root, or of a named node."""
        return (self.nodes[node] if node else self.root).attrs[name]

    def constant(self, name: str) -> float | None:
        """The number a bound value stands for if it is a parameter of one element."""
        value = self.values[name]
        if not self.graph.is_param(value) or self.graph.type(value).size != 1:
            return None
        return float(self.graph.array(value).reshape(-1)[0])


Build: TypeAlias = Callable[[Graph, Match], Value | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rewriting; ``build`` returns a value of the root's type, or None to decline."""

    name: str
    pattern: Pattern
    build: Build


def rule(wanted: Pattern) -> Callable[[Build], Rule]:
    """Decorator: make a Rule of the function that builds its result; the rule has its name."""

    def make(build: Build) -> Rule:
        return Rule(build.__name__, wanted, build)

    return make


def apply_rules(graph: Graph, rules: Sequence[Rule]) -> int:
    """Apply rules until none fires; returns how many rewritings were made.

    Raises ModelError naming the rule when it changes a type or does not come to an end.
    """
    by_op: dict[Op, list[Rule]] = {}
    for one in rules:
        for op in one.pattern.ops:
            by_op.setdefault(op, []).append(one)
    fired: dict[str, int] = {}
    limit = _FIRINGS_PER_NODE * (len(graph) + 1)
    queue = deque(node.name for node in graph.operators() if node.op in by_op)
    waiting = set(queue)
    while queue:
        name = queue.popleft()
        waiting.discard(name)
        if name not in graph:
            continue
        node = graph.node(name)
        for one in by_op.get(node.op, ()):
            new = _try(graph, one, node)
            if new is None:
                continue
            fired[one.name] = fired.get(one.name, 0) + 1
            if fired[one.name] > limit:
                raise ModelError(f"the rule {one.name!r} does not come to an end at {node}")
            for other in _near(graph, new):
                if other.name not in waiting and other.op in by_op:
                    queue.append(other.name)
                    waiting.add(other.name)
            break
    if fired:
        graph.prune()
    return sum(fired.values())


def _near(graph: Graph, value: Value) -> Iterable[Node]:
    """Nodes that may match now: the new one, what it reads, and its readers."""
    node = graph.node(value.node)
    yield node
    yield from (graph.node(operand.node) for operand in node.operands)
    for output in node.outputs:
        for user in graph.users(output):
            yield user
            yield from graph.users(user.outputs[0])


def _try(graph: Graph, one: Rule, node: Node) -> Value | None:
    if len(node.outputs) != 1 or not graph.use_count(node.outputs[0]):
        return None
    for match in _bind(graph, one.pattern, node, Match(graph, node), at_root=True):
        new = one.build(graph, match)
        if new is None or new == node.outputs[0]:
            continue
        if graph.type(new) != graph.type(node.outputs[0]):
            raise ModelError(
                f"the rule {one.name!r} makes {graph.type(new)} of "
                f"{graph.type(node.outputs[0])} at {node}"
            )
        graph.replace(node.outputs[0], new)
        return new
    return None


def _bind(
    graph: Graph, wanted: Pattern, node: Node, match: Match, at_root: bool = False
) -> Iterable[Match]:
    """All ways in which ``node`` fits a pattern, given what is bound already."""
    if node.op not in wanted.ops or len(node.inputs) < len(wanted.operands):
        return
    if not at_root and (len(node.outputs) != 1 or graph.use_count(node.outputs[0]) != 1):
        return
    orders = [node.inputs]
    if wanted.commutes and len(node.inputs) >= 2:
        orders.append((node.inputs[1], node.inputs[0], *node.inputs[2:]))
    for inputs in orders:
        start = Match(graph, match.root, dict(match.values), dict(match.nodes))
        if wanted.name:
            start.nodes[wanted.name] = node
        yield from _bind_operands(graph, wanted.operands, inputs, start)


def _bind_operands(
    graph: Graph, wanted: Sequence[Operand], inputs: Sequence[Value | None], match: Match
) -> Iterable[Match]:
    if not wanted:
        yield match
        return
    value, first = inputs[0], wanted[0]
    if value is None:
        return
    if isinstance(first, str):
        if match.values.get(first, value) == value:
            match.values[first] = value
            yield from _bind_operands(graph, wanted[1:], inputs[1:], match)
        return
    for bound in _bind(graph, first, graph.node(value.node), match):
        yield from _bind_operands(graph, wanted[1:], inputs[1:], bound)
