"""Rewrite rules as data: a pattern anchored at its root, and a function that builds the new value.

Inside a pattern operands are ordered. A string binds the value at that place (the same string
twice must find the same value twice), a number asks for a parameter of one element with that
value, None for an operand that is left out, a nested pattern for a node. Values inside a
pattern, apart from its root, must have no other reader, so that the old nodes die. ::

    @rule(pattern(mul, "x", pattern(sigmoid, "x"), commutes=True))
    def swish_of_x(graph: Graph, match: Match) -> Value | None:
        return graph.add(swish, match["x"])
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..ir import Error, Graph, ModelError, Node, Op, Value
from ..ir.data_type import is_float

# A rule that fires this often on one graph undoes its own work, or another rule's.
_FIRINGS_PER_NODE = 20
_LEAST_LIMIT = 1000
# How far a constant may be from the number that a pattern asks for, relative to it. Exported
# models have constants that were rounded to float32, or written with seven digits.
_TOLERANCE = {"float16": 2e-3, "bfloat16": 1e-2}
_USUAL_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Pattern:
    """A node with one of ``ops`` and these operands; ``commutes``: the first two in any order."""

    ops: tuple[Op, ...]
    operands: tuple[Operand, ...]
    name: str = ""
    commutes: bool = False

    @property
    def depth(self) -> int:
        """Nodes on the longest way through the pattern."""
        inner = (part.depth for part in self.operands if isinstance(part, Pattern))
        return 1 + max(inner, default=0)


Operand: TypeAlias = Pattern | str | float | None


def pattern(
    op: Op | Sequence[Op], *operands: Operand, name: str = "", commutes: bool = False
) -> Pattern:
    """A pattern for a node with at least these operands.

    ``name`` lets the rule look at the node itself.
    """
    ops = (op,) if isinstance(op, Op) else tuple(op)
    return Pattern(ops, operands, name, commutes)


@dataclass(slots=True)
class Match:
    """What a pattern found: the root, bound values, named nodes."""

    graph: Graph
    root: Node
    values: dict[str, Value] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    reason: str = ""

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def attribute(self, name: str, node: str = "") -> Any:
        """An attribute of the root, or of a named node."""
        return (self.nodes[node] if node else self.root).attrs[name]

    def constant(self, name: str) -> Any:
        """The number that a bound value is if it is a parameter of one element, else None."""
        return constant_of(self.graph, self.values[name])

    def keeps_type(self, name: str) -> bool:
        """True when a bound value has the type of the root: no operand made it larger."""
        return self.graph.type(self.values[name]) == self.root.types[0]

    def decline(self, reason: str) -> Value | None:
        """None, after noting for ``explained`` why the rule does not fire after all."""
        self.reason = reason
        return None


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


_declined: ContextVar[list[str] | None] = ContextVar("declined", default=None)


@contextmanager
def explained() -> Iterator[list[str]]:
    """Collect where and why a rule did not fire though its pattern was found.

    Passes that are no rules add their own lines.
    """
    found: list[str] = []
    token = _declined.set(found)
    try:
        yield found
    finally:
        _declined.reset(token)


def note(text: str) -> None:
    """Add a line to what ``explained`` collects, if somebody listens."""
    notes = _declined.get()
    if notes is not None:
        notes.append(text)


def constant_of(graph: Graph, value: Value) -> Any:
    """The Python number that a parameter of one element holds; None for any other value."""
    if not graph.is_param(value) or graph.type(value).size != 1:
        return None
    number = graph.array(value).reshape(-1)[0]
    # ml_dtypes' bfloat16 is no float to Python.
    return float(number) if is_float(graph.type(value).dtype) else number.item()


def apply_rules(graph: Graph, rules: Sequence[Rule]) -> int:
    """Apply rules until none fires; returns how many rewritings were made.

    Earlier rules go first at a node. Raises ModelError naming the rule and the node when a rule
    changes a type, fails, or does not come to an end.
    """
    by_op: dict[Op, list[Rule]] = {}
    for one in rules:
        for op in one.pattern.ops:
            by_op.setdefault(op, []).append(one)
    depth = max((one.pattern.depth for one in rules), default=0)
    fired: dict[str, int] = {}
    limit = max(_LEAST_LIMIT, _FIRINGS_PER_NODE * len(graph))
    queue = deque(node.name for node in graph.operators() if node.op in by_op)
    waiting = set(queue)
    while queue:
        name = queue.popleft()
        waiting.discard(name)
        if name not in graph:
            continue
        node, mark = graph.node(name), graph.ever_added
        for one in by_op.get(node.op, ()):
            new = _try(graph, one, node)
            if new is None:
                continue
            fired[one.name] = fired.get(one.name, 0) + 1
            if fired[one.name] > limit:
                raise ModelError(f"the rule {one.name!r} does not come to an end at {node}")
            fresh = graph.added_since(mark, new.node)
            gone = graph.drop(name)
            if new.node in fresh and name not in graph and not graph.is_param(new):
                graph.rename(new.node, name)  # messages and profiles know the old node's name
                fresh[fresh.index(new.node)] = name
            elif new.node not in fresh:
                fresh.append(new.node)
            for other in _near(graph, fresh, gone, depth):
                if other not in waiting and graph.node(other).op in by_op:
                    queue.append(other)
                    waiting.add(other)
            break
    graph.prune()  # also what rules made before they declined
    return sum(fired.values())


def _near(graph: Graph, new: Sequence[str], gone: Sequence[Node], depth: int) -> list[str]:
    """Nodes that may match now: new ones, and readers as far as patterns see.

    What the old nodes read may have a single reader left, which patterns ask for.
    """
    lonely = [
        value.node
        for node in gone
        for value in node.operands
        if value.node in graph and not graph.is_param(value) and graph.use_count(value) == 1
    ]
    found = dict.fromkeys(new)
    level = [*new, *lonely]
    for _ in range(depth):
        level = list(dict.fromkeys(user for name in level for user in graph.readers(name)))
        found.update(dict.fromkeys(level))
    return list(found)


def _try(graph: Graph, one: Rule, node: Node) -> Value | None:
    """The value that replaced the node's, if the rule fired."""
    if len(node.outputs) != 1:
        return None
    old = node.outputs[0]
    for match in _bind(graph, one.pattern, node, Match(graph, node), at_root=True):
        try:
            new = one.build(graph, match)
            if new is not None and new != old:
                if graph.type(new) != graph.type(old):
                    raise ModelError(f"{graph.type(old)} would become {graph.type(new)}")
                graph.replace(old, new)
                return new
        except Error as error:
            raise type(error)(f"the rule {one.name!r} fails at {node}: {error}") from error
        note(f"{one.name} at {node}: {match.reason or 'no reason given'}")
    return None


def _bind(
    graph: Graph, wanted: Pattern, node: Node, match: Match, at_root: bool = False
) -> Iterator[Match]:
    """All ways in which ``node`` fits a pattern, given what is bound already."""
    if node.op not in wanted.ops:
        return
    if not at_root and (len(node.outputs) != 1 or graph.use_count(node.outputs[0]) != 1):
        return
    orders = [node.inputs]
    if wanted.commutes and len(node.inputs) >= 2 and node.inputs[0] != node.inputs[1]:
        orders.append((node.inputs[1], node.inputs[0], *node.inputs[2:]))
    for inputs in orders:
        start = Match(graph, match.root, dict(match.values), dict(match.nodes))
        if wanted.name:
            start.nodes[wanted.name] = node
        yield from _bind_operands(graph, wanted.operands, inputs, start)


def _bind_operands(
    graph: Graph, wanted: Sequence[Operand], inputs: Sequence[Value | None], match: Match
) -> Iterator[Match]:
    if not wanted:
        yield match
        return
    first, value = wanted[0], inputs[0] if inputs else None
    if first is None or value is None:
        if first is None and value is None:
            yield from _bind_operands(graph, wanted[1:], inputs[1:], match)
    elif isinstance(first, Pattern):
        for bound in _bind(graph, first, graph.node(value.node), match):
            yield from _bind_operands(graph, wanted[1:], inputs[1:], bound)
    elif isinstance(first, str):
        if match.values.setdefault(first, value) == value:
            yield from _bind_operands(graph, wanted[1:], inputs[1:], match)
    elif _is_number(graph, value, first):
        yield from _bind_operands(graph, wanted[1:], inputs[1:], match)


def _is_number(graph: Graph, value: Value, wanted: float) -> bool:
    number = constant_of(graph, value)
    if number is None:
        return False
    tolerance = _TOLERANCE.get(graph.type(value).dtype, _USUAL_TOLERANCE)
    return math.isclose(number, wanted, rel_tol=tolerance, abs_tol=0.0)
