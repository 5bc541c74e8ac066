"""Where every value of a graph lives while it runs: argument, parameter, arena or late memory.

A value whose size depends on a symbol measured during the run cannot be placed beforehand: it
is *late*, allocated when its node runs and freed after its last use. All others have a place
in the arena, decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from ...compiler.memory import Buffer, MemoryPlan, plan_memory
from ...ir import Extent, Graph, Node, TensorType, Value
from ...ir.dim import symbols_of
from ...ir.node import INPUT, PARAMETER


class Kind(Enum):
    """The sort of memory a value lives in."""

    INPUT = "input"
    OUTPUT = "output"
    PARAMETER = "parameter"
    ARENA = "arena"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Place:
    """A sort of memory and the number or byte offset in it."""

    kind: Kind
    where: Extent = 0


@dataclass(frozen=True, slots=True)
class Scratch:
    """Memory that one node needs only while it runs."""

    node: str
    key: str
    nbytes: Extent


@dataclass
class Placement:
    """The places of a graph's values and scratch memory.

    ``in_place`` maps a node to the operand position whose memory its output takes over.
    ``late_end`` lists for a step the late buffers that are not needed after it.
    """

    places: dict[Value, Place] = field(default_factory=dict)
    scratch: dict[tuple[str, str], Place] = field(default_factory=dict)
    in_place: dict[str, int] = field(default_factory=dict)
    late_end: dict[int, list[int]] = field(default_factory=dict)
    late_count: int = 0
    plan: MemoryPlan = field(default_factory=lambda: MemoryPlan({}, 0))


class _Values:
    """Values that share memory (views, results in place) and how long each memory is needed."""

    def __init__(self, graph: Graph, nodes: Sequence[Node]) -> None:
        self.graph = graph
        self.parent: dict[Value, Value] = {}
        self.last: dict[Value, int] = {}
        for step, node in enumerate(nodes):
            for value in node.operands:
                self.last[value] = step
        # A measured value is read right after it is computed, an output at the very end.
        for value in graph.outputs:
            self.last[value] = len(nodes)

    def root(self, value: Value) -> Value:
        """The value whose memory ``value`` uses."""
        while value in self.parent:
            value = self.parent[value]
        return value

    def share(self, value: Value, memory: Value) -> None:
        """Let ``value`` live in the memory of ``memory``, for as long as either is needed."""
        root = self.root(memory)
        self.parent[value] = root
        self.last[root] = max(self.last.get(root, -1), self.last.get(value, -1))


def place(
    graph: Graph,
    scratch: Mapping[str, Sequence[Scratch]],
    late_symbols: frozenset[str],
    reusable: Mapping[str, Sequence[int]],
) -> Placement:
    """Place all values of ``graph``.

    ``scratch`` is each node's scratch memory, ``late_symbols`` the symbols measured in this
    graph, ``reusable`` the operand positions that each node's result may take over.
    """
    nodes = graph.operators()
    result = Placement()
    values = _Values(graph, nodes)
    for number, value in enumerate(graph.inputs):
        result.places[value] = Place(Kind.INPUT, number)
    for name in graph.params:
        result.places[Value(name)] = Place(Kind.PARAMETER)
    for node in nodes:
        if "view" in node.op.traits:
            values.share(node.outputs[0], node.operands[0])
    outputs = _direct_outputs(graph, values, late_symbols)
    buffers: dict[Value, tuple[Extent, int]] = {}
    for step, node in enumerate(nodes):
        if "view" in node.op.traits:
            continue
        taken = _reuse(graph, node, step, values, buffers, outputs, reusable)
        if taken is not None:
            result.in_place[node.name] = taken
            continue
        for value in node.outputs:
            if value in outputs:
                result.places[value] = Place(Kind.OUTPUT, outputs[value])
            else:
                buffers[value] = (graph.type(value).nbytes, step)
    _assign(result, values, buffers, nodes, scratch, late_symbols)
    for node in nodes:
        for value in node.outputs:
            result.places.setdefault(value, result.places[values.root(value)])
    return result


def _direct_outputs(
    graph: Graph, values: _Values, late_symbols: frozenset[str]
) -> dict[Value, int]:
    """Memory that can be the caller's output buffer from the start."""
    found: dict[Value, int] = {}
    for number, value in enumerate(graph.outputs):
        root = values.root(value)
        computed = graph.node(root.node).op not in (INPUT, PARAMETER)
        late = is_late_type(graph.type(value), late_symbols)
        if computed and root not in found and not late:
            found[root] = number
    return found


def is_late(extent: Extent, late_symbols: frozenset[str]) -> bool:
    """True when an extent depends on a symbol measured during the run."""
    return any(symbol.name in late_symbols for symbol in symbols_of(extent))


def is_late_type(type_: TensorType, late_symbols: frozenset[str]) -> bool:
    """True when a tensor's shape depends on a symbol measured during the run."""
    return any(is_late(extent, late_symbols) for extent in type_.shape)


def _reuse(
    graph: Graph,
    node: Node,
    step: int,
    values: _Values,
    buffers: Mapping[Value, tuple[Extent, int]],
    outputs: Mapping[Value, int],
    reusable: Mapping[str, Sequence[int]],
) -> int | None:
    """The operand position whose dying memory the node's only result takes over."""
    if len(node.outputs) != 1 or node.outputs[0] in outputs:
        return None
    output = node.outputs[0]
    for position in reusable.get(node.name, ()):
        operand = node.inputs[position]
        if operand is None:
            continue
        root = values.root(operand)
        dies = values.last.get(root, -1) == step and node.inputs.count(operand) == 1
        shared = any(
            other is not None and other != operand and values.root(other) == root
            for other in node.inputs
        )
        if root in buffers and dies and not shared:
            values.share(output, operand)
            return position
    return None


def _assign(
    result: Placement,
    values: _Values,
    buffers: Mapping[Value, tuple[Extent, int]],
    nodes: Sequence[Node],
    scratch: Mapping[str, Sequence[Scratch]],
    late_symbols: frozenset[str],
) -> None:
    early: list[Buffer] = []
    for value, (nbytes, first) in buffers.items():
        last = max(values.last.get(value, first), first)
        if is_late(nbytes, late_symbols):
            result.places[value] = Place(Kind.LATE, result.late_count)
            result.late_end.setdefault(last, []).append(result.late_count)
            result.late_count += 1
        else:
            early.append(Buffer(value, nbytes, first, last))
    for step, node in enumerate(nodes):
        for item in scratch.get(node.name, ()):
            key = (item.node, item.key)
            if is_late(item.nbytes, late_symbols):
                result.scratch[key] = Place(Kind.LATE, result.late_count)
                result.late_end.setdefault(step, []).append(result.late_count)
                result.late_count += 1
            else:
                early.append(Buffer(key, item.nbytes, step, step))
    result.plan = plan_memory(early)
    for buffer in early:
        place_ = Place(Kind.ARENA, result.plan.offsets[buffer.key])
        if isinstance(buffer.key, Value):
            result.places[buffer.key] = place_
        else:
            result.scratch[buffer.key] = place_  # type: ignore[index]
