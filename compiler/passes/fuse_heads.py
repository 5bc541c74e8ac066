"""Fusion of elementwise operators into the softmax that alone reads them.

A softmax works row by row: what is computed just before it, for the same rows, lies in the
nearest cache, and is never written to memory.
"""

from __future__ import annotations

from ...ir import Graph, Node, NoKernelError, Value
from ...ops.fused import fused
from ...ops.softmax import log_softmax, softmax
from .bodies import everywhere
from .fuse import MAXIMUM_MEMBERS, MAXIMUM_OPERANDS

# These read an element of a row before they write it, so that they may work in place.
HEADED = (softmax, log_softmax)


def fuse_heads(graph: Graph) -> int:
    """Make groups of a softmax, alone or an anchor, and the elementwise group before it."""
    changes = 0
    kept = {value.node for value in graph.outputs} | graph.measured_nodes()
    for name in [node.name for node in graph.operators()]:
        node = graph.node(name)
        place = _headed(node)
        value = None if place is None else node.inputs[place]
        if value is None or value.node in kept or len(node.types) != 1:
            continue
        head = graph.node(value.node)
        if not _is_elementwise(head) or graph.type(value) != node.types[0]:
            continue
        if [user.name for user in graph.users(value)] != [name] or node.inputs.count(value) > 1:
            continue
        if _fits(head, node) and _works_in_place(graph, node):
            _merge(graph, head, value, node)
            changes += 1
    if changes:
        graph.prune()
    return changes


def _members(node: Node) -> list[Node]:
    return node.attrs["group"].operators() if node.op is fused else [node]


def _is_elementwise(node: Node) -> bool:
    if node.op is not fused and "elementwise" not in node.op.traits:
        return False
    return all("elementwise" in member.op.traits for member in _members(node))


def _headed(node: Node) -> int | None:
    """The operand of ``node`` that its softmax, if it has one, reads."""
    if node.op in HEADED:
        return 0
    if node.op is not fused:
        return None
    group: Graph = node.attrs["group"]
    anchors = [member for member in group.operators() if member.op in HEADED]
    if len(anchors) != 1 or anchors[0].operands[0] not in group.inputs:
        return None
    value = anchors[0].operands[0]
    return group.inputs.index(value) if len(group.users(value)) == 1 else None


def _fits(head: Node, node: Node) -> bool:
    operands = {*head.operands, *node.operands}
    members = len(_members(head)) + len(_members(node))
    return members <= MAXIMUM_MEMBERS and len(operands) <= MAXIMUM_OPERANDS


def _works_in_place(graph: Graph, node: Node) -> bool:
    """True when the softmax runs along contiguous rows, and needs no memory besides them."""
    (anchor,) = [member for member in _members(node) if member.op in HEADED]
    try:
        calls = anchor.op.calls([node.types[0]], node.types, anchor.attrs)
    except NoKernelError:
        return False
    return len(calls) == 1 and calls[0].chunk is not None and len(calls[0].operands) == 2


def _merge(graph: Graph, head: Node, value: Value, node: Node) -> None:
    """One fused node in the place of ``head``, which makes ``value``, and ``node``."""
    group = Graph(node.name)
    inside: dict[Value, Value] = {}
    operands: list[Value] = []
    for part in (head, node):
        given = []
        for operand in part.operands:
            if operand not in inside:
                inside[operand] = group.input(f"x{len(operands)}", graph.type(operand))
                operands.append(operand)
            given.append(inside[operand])
        result = _add(group, part, given)
        inside[value if part is head else node.outputs[0]] = result
    group.output(inside[node.outputs[0]], "result")
    origin = ", ".join(dict.fromkeys(part.origin or part.name for part in (head, node)))
    new = graph.add(fused, *operands, group=group, name=node.name, origin=origin)
    graph.take_over(node.name, new.node)


def _add(group: Graph, part: Node, given: list[Value]) -> Value:
    """The members of ``part`` as members of ``group``; returns what they compute."""
    if part.op is not fused:
        inputs = iter(given)
        operands = [None if value is None else next(inputs) for value in part.inputs]
        member = group.add_node(part.op, operands, part.attrs, f"{part.op.name}_", part.origin)
        group.annotate(member.name, part.note)
        return member.outputs[0]
    own: Graph = part.attrs["group"]
    held: dict[Value, Value] = dict(zip(own.inputs, given, strict=True))
    for name, array in own.params.items():
        held[Value(name)] = group.param(array, name)
    for node in own.operators():
        operands = [None if value is None else held[value] for value in node.inputs]
        member = group.add_node(node.op, operands, node.attrs, f"{node.op.name}_", node.origin)
        group.annotate(member.name, node.note)
        held[node.outputs[0]] = member.outputs[0]
    return held[own.outputs[0]]


FUSE_HEADS = everywhere("fuse_heads", fuse_heads)
