"""Fusion: elementwise operators, and at most one anchor before them, in one pass over memory."""

from __future__ import annotations

from ...ir import Graph, Node, NoKernelError, Value
from ...ir.node import PARAMETER
from ...ops.fused import fused
from .bodies import everywhere

MAXIMUM_MEMBERS = 32
MAXIMUM_OPERANDS = 24
_ANCHORS = frozenset({"dot", "reduction", "normalization", "pool"})
_HALVES = ("float16", "bfloat16")


def fuse(graph: Graph) -> int:
    """Make groups of elementwise nodes, and of an anchor with what follows it."""
    changes = 0
    taken: set[str] = set()
    nodes = graph.operators()
    positions = {node.name: number for number, node in enumerate(nodes)}
    for root in reversed(nodes):
        if root.name in taken or "elementwise" not in root.op.traits:
            continue
        members = _grow(graph, root)
        taken |= {member.name for member in members}
        if len(members) > 1:
            _replace(graph, root, sorted(members, key=lambda node: positions[node.name]))
            changes += 1
    if changes:
        graph.prune()
    return changes


def _grow(graph: Graph, root: Node) -> list[Node]:
    """The root and the producers that only the group needs, the anchor last."""
    members = {root.name: root}
    kept = {value.node for value in graph.outputs} | graph.measured_nodes()
    anchor: Node | None = None
    pending = list(root.operands)
    while pending and len(members) < MAXIMUM_MEMBERS:
        value = pending.pop(0)
        node = graph.node(value.node)
        if node.name in members or node.name in kept or len(node.outputs) != 1:
            continue
        if node.types[0].shape != root.types[0].shape:
            continue
        readers = {user.name for user in graph.users(value)}
        if not readers <= set(members) or (anchor is not None and anchor.name in readers):
            continue  # others need it too, or the anchor, which comes before all other members
        if "elementwise" in node.op.traits:
            if _operand_count(graph, [*members.values(), node]) <= MAXIMUM_OPERANDS:
                members[node.name] = node
                pending += node.operands
        elif anchor is None and _can_anchor(graph, node, root):
            anchor = node
            members[node.name] = node
    return list(members.values())


def _operand_count(graph: Graph, members: list[Node]) -> int:
    inside = {member.name for member in members}
    return len({v for m in members for v in m.operands if v.node not in inside})


def _can_anchor(graph: Graph, node: Node, root: Node) -> bool:
    """True when the node's kernel lets others go on with what it has just computed."""
    if not node.op.traits & _ANCHORS or node.types[0].dtype != root.types[0].dtype:
        return False
    types = [None if value is None else graph.type(value) for value in node.inputs]
    try:
        calls = node.op.calls(types, node.types, node.attrs)
    except NoKernelError:
        return False
    output = len(types)
    return calls[-1].continuable and any(view.source == output for view in calls[-1].operands)


def _replace(graph: Graph, root: Node, order: list[Node]) -> None:
    """Put one fused node in the place of the members, given producers first."""
    names = {member.name for member in order}
    group = Graph(root.name)
    inside: dict[Value, Value] = {}
    operands: list[Value] = []
    for node in order:
        for value in node.operands:
            if value in inside or value.node in names:
                continue
            if _is_scalar(graph, order, value):
                inside[value] = group.param(graph.array(value), "scalar")
            else:
                inside[value] = group.input(f"x{len(operands)}", graph.type(value))
                operands.append(value)
    for node in order:
        inputs = [None if value is None else inside[value] for value in node.inputs]
        member = group.add_node(node.op, inputs, node.attrs, f"{node.op.name}_", node.origin)
        group.annotate(member.name, node.note)
        inside[node.outputs[0]] = member.outputs[0]
    group.output(inside[root.outputs[0]], "result")
    origin = ", ".join(dict.fromkeys(node.origin or node.name for node in order))
    new = graph.add(fused, *operands, group=group, name=root.name, origin=origin)
    graph.take_over(root.name, new.node)


def _is_scalar(graph: Graph, members: list[Node], value: Value) -> bool:
    """A parameter of one element is written into the loop, except where an anchor reads it."""
    type_ = graph.type(value)
    if graph.node(value.node).op is not PARAMETER or type_.size != 1 or type_.dtype in _HALVES:
        return False
    readers = [node for node in members if value in node.inputs]
    return all(
        "elementwise" in node.op.traits and type_.rank <= node.types[0].rank for node in readers
    )


FUSE = everywhere("fuse", fuse)
