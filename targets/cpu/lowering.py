"""What each node of a graph becomes: Calls, grouped into kernels, with scratch memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...ir import Call, Graph, ModelError, Node, NoKernelError, TensorType, Value, Workspace
from .elementwise import RECTANGLE, elementwise_call
from .emitted import EmittedBody
from .placement import Scratch

MOVEMENT = frozenset({"movement", "view"})


@dataclass(frozen=True, slots=True)
class Step:
    """Calls that one kernel function runs item by item; ``movement``: types do not matter."""

    calls: tuple[Call, ...]
    movement: bool = False


def is_elementwise(node: Node) -> bool:
    """True for an elementwise operator or a fused group without an anchor."""
    return "elementwise" in node.op.traits or ("group" in node.attrs and anchor_of(node) is None)


def anchor_of(node: Node) -> Node | None:
    """The member of a fused group that is not elementwise, if there is one."""
    group: Graph = node.attrs["group"]
    found = [m for m in group.operators() if "elementwise" not in m.op.traits]
    if len(found) > 1:
        raise ModelError(f"{node}: a fused group has one anchor at the most")
    return found[0] if found else None


def reusable_operands(graph: Graph, node: Node) -> list[int]:
    """Operand positions whose memory an elementwise node's result may take over."""
    if not is_elementwise(node) or len(node.types) != 1:
        return []
    result = node.types[0]
    found = []
    for position, value in enumerate(node.inputs):
        if value is not None and not graph.is_param(value) and graph.type(value) == result:
            found.append(position)
    return found


def steps_of(graph: Graph, node: Node, in_place: int | None) -> list[Step]:
    """The kernels that compute ``node``; operands are numbered inputs first, then outputs."""
    if "group" in node.attrs or "elementwise" in node.op.traits:
        return _group_steps(graph, node, in_place)
    types = [None if value is None else graph.type(value) for value in node.inputs]
    movement = bool(node.op.traits & MOVEMENT)
    return [Step((call,), movement) for call in _calls(node, types)]


def _calls(node: Node, types: Sequence[TensorType | None]) -> list[Call]:
    try:
        return node.op.calls(types, node.types, node.attrs)
    except NoKernelError as error:
        raise NoKernelError(f"{node}, target cpu: {error}") from None


def _group_steps(graph: Graph, node: Node, in_place: int | None) -> list[Step]:
    output = len(node.inputs)
    if "group" not in node.attrs:
        group, positions = single_group(graph, node)
        return [Step((elementwise_call(group, positions, output, in_place),))]
    group = node.attrs["group"]
    positions = {value: number for number, value in enumerate(group.inputs)}
    anchor = anchor_of(node)
    if anchor is None:
        return [Step((elementwise_call(group, positions, output, in_place),))]
    types = [None if value is None else group.type(value) for value in anchor.inputs]
    operands = [
        None if value is None else positions.get(value, output)  # from a head: in place
        for value in anchor.inputs
    ]
    calls = [_moved(call, operands, output) for call in _calls(anchor, types)]
    last = calls[-1]
    head = _head(group, anchor)
    if head:
        return [_headed_step(group, anchor, head, last, positions, output)]
    tail_operands = _tail_operands(group, anchor, positions, output)
    if isinstance(last.body, EmittedBody):
        return [
            *(Step((call,)) for call in calls[:-1]),
            Step((_finished(last, group, tail_operands, output),)),
        ]
    tail = elementwise_call(group, tail_operands, output, output, last.chunk)
    return [*(Step((call,)) for call in calls[:-1]), Step((last, replace(tail, items=last.items)))]


def _head(group: Graph, anchor: Node) -> set[str]:
    """Names of the members that are computed before the anchor."""
    found: set[str] = set()
    pending = list(anchor.operands)
    while pending:
        node = group.node(pending.pop().node)
        if node.inputs and node.name not in found:
            found.add(node.name)
            pending += node.operands
    return found


def _headed_step(
    group: Graph,
    anchor: Node,
    head: set[str],
    call: Call,
    positions: dict[Value, int],
    output: int,
) -> Step:
    """A chunk of the output: what is before the anchor, the anchor in place, and what follows."""
    part, operands = _part(group, head, anchor.operands[0], positions)
    before = elementwise_call(part, operands, output, None, call.chunk)
    found = [replace(before, items=call.items), call]
    tail = {node.name for node in group.operators()} - head - {anchor.name}
    if tail:
        known = {**positions, anchor.outputs[0]: output}
        part, operands = _part(group, tail, group.outputs[0], known)
        after = elementwise_call(part, operands, output, output, call.chunk)
        found.append(replace(after, items=call.items))
    return Step(tuple(found))


def _part(
    group: Graph, names: set[str], result: Value, positions: dict[Value, int]
) -> tuple[Graph, dict[Value, int]]:
    """Members of a group as one of their own, and the operand position of each of its inputs."""
    part = Graph(group.name)
    held: dict[Value, Value] = {}
    operands: dict[Value, int] = {}
    for node in group.operators():
        if node.name not in names:
            continue
        for value in node.operands:
            if value in held:
                continue
            if group.is_param(value):
                held[value] = part.param(group.params[value.node], value.node)
            else:
                held[value] = part.input(f"x{len(operands)}", group.type(value))
                operands[held[value]] = positions[value]
        inputs = [None if value is None else held[value] for value in node.inputs]
        held[node.outputs[0]] = part.add_node(node.op, inputs, node.attrs, node.name).outputs[0]
    part.output(held[result])
    return part, operands


def _finished(call: Call, group: Graph, operands: dict[Value, int], output: int) -> Call:
    """An emitted body that runs the group's elementwise members on each finished rectangle."""
    body = call.body
    assert isinstance(body, EmittedBody), "only emitted bodies finish rectangles"
    tail = elementwise_call(group, operands, output, output, body.columns, rectangle=True)
    return replace(
        call,
        body=replace(body, tail=tail),
        operands=(*call.operands, *tail.operands),
        scalars=(*call.scalars, *tail.scalars[len(RECTANGLE) :]),
    )


def _moved(call: Call, operands: Sequence[int | None], output: int) -> Call:
    """The anchor's Call with operand numbers of the group's node in place of its own."""
    views = []
    for view in call.operands:
        if isinstance(view.source, Workspace):
            views.append(view)
            continue
        inside = view.source < len(operands)
        place = operands[view.source] if inside else output
        if place is None:
            raise ModelError("a kernel looks at an operand that was left out")
        views.append(replace(view, source=place))
    return replace(call, operands=tuple(views))


def _tail_operands(
    group: Graph, anchor: Node, positions: dict[Value, int], output: int
) -> dict[Value, int]:
    """Operands of the elementwise members alone; the anchor's value is the output's memory."""
    read = {
        value for node in group.operators() if node.name != anchor.name for value in node.operands
    }
    found = {value: number for value, number in positions.items() if value in read}
    return {**found, anchor.outputs[0]: output}


def single_group(graph: Graph, node: Node) -> tuple[Graph, dict[Value, int]]:
    """One elementwise node as a group of its own, and the operand position of each input."""
    group = Graph(node.name)
    positions: dict[Value, int] = {}
    operands: list[Value | None] = []
    known: dict[Value, Value] = {}
    for position, value in enumerate(node.inputs):
        if value is None:
            operands.append(None)
            continue
        if value not in known:
            known[value] = group.input(f"x{position}", graph.type(value))
            positions[known[value]] = position
        operands.append(known[value])
    member = group.add_node(node.op, operands, node.attrs, name=f"{node.op.name}_")
    group.output(member.outputs[0])
    return group, positions


def scratch_of(node: Node, steps: Sequence[Step]) -> list[Scratch]:
    """The workspaces that a node's Calls use."""
    found: dict[str, Scratch] = {}
    for step in steps:
        for call in step.calls:
            for view in call.operands:
                if isinstance(view.source, Workspace):
                    key, type_ = view.source.key, view.source.type
                    found[key] = Scratch(node.name, key, type_.nbytes)
    return list(found.values())
