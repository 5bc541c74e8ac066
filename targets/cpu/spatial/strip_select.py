"""The pass that computes chains of operators strip by strip where large tensors lie between."""

from __future__ import annotations

from functools import partial

from ....compiler.pass_ import Pass
from ....ir import Extent, Graph, Node, TensorType, Value
from ....ops.fused import fused
from ..choices import Choices
from ..tuning.choose import OTHERWISE, Candidate, choose
from .strip_stages import Stage, anchor, regrouped, source_position, stage_of
from .strip_writer import strip_floats
from .strips import strips

# Smaller tensors stay in the second cache by themselves.
_LEAST_BYTES = 1024 * 1024
# Strips of a chain; with the weights and the rows they are computed from, they must stay there.
_STRIP_FLOATS = 96 * 1024
_WEIGHT_BYTES = 128 * 1024
# Rows of a work item: those around it are computed once more for the next.
_LEAST_ITEM_ROWS = 14
_ITEMS_A_THREAD = 4


def strips_pass(choices: Choices) -> Pass:
    """The pass for these choices; it comes after fusion."""
    return Pass("strips", lambda graph: compute_in_strips(graph, choices))


def compute_in_strips(graph: Graph, choices: Choices) -> int:
    """Replace chains of operators; returns how many."""
    taken: set[str] = set()
    changes = 0
    for name in [node.name for node in graph.operators()]:
        if name in taken:
            continue
        chain = _chain(graph, graph.node(name), taken)
        taken |= {node.name for node, _ in chain}
        if len(chain) > 1:
            changes += _choose(graph, chain, choices)
    if changes:
        graph.prune()
    return changes


def _chain(graph: Graph, node: Node, taken: set[str]) -> list[tuple[Node, Stage]]:
    """The node and those that follow it in a chain."""
    found: list[tuple[Node, Stage]] = []
    stage = _stage(graph, node)
    while stage is not None:
        longer = [*found, (node, stage)]
        if len(longer) > 1 and _rows([stage for _, stage in longer]) == 0:
            break
        found = longer
        following = _following(graph, node)
        if following is None or following.name in taken:
            break
        node, stage = following, _stage(graph, following)
    return found


def _stage(graph: Graph, node: Node) -> Stage | None:
    found = stage_of(graph, node)
    if found is None:
        return None
    weights = node.inputs[source_position(node, 1)]
    assert weights is not None, "stages have weights"
    size = graph.type(weights).nbytes
    return found if isinstance(size, int) and size <= _WEIGHT_BYTES else None


def _following(graph: Graph, node: Node) -> Node | None:
    """The only reader of a large result, if that is its source."""
    value = node.outputs[0]
    users = graph.users(value)
    if len(users) != 1 or graph.use_count(value) != 1:
        return None
    nbytes = _image_bytes(graph.type(value))
    if nbytes is None or nbytes < _LEAST_BYTES:
        return None
    (user,) = users
    if (user.op is not fused and "dot" not in user.op.traits) or anchor(user) is None:
        return None
    return user if user.inputs[source_position(user)] == value else None


def _image_bytes(type_: TensorType) -> int | None:
    size: Extent = type_.with_shape((1, *type_.shape[1:])).nbytes
    return size if isinstance(size, int) else None


def _rows(stages: list[Stage]) -> int:
    """Rows of a strip of the output; 0 if not even one fits."""
    rows = 0
    while rows < stages[-1].rows and sum(strip_floats(stages, rows + 1)) <= _STRIP_FLOATS:
        rows += 1
    # As many strips, of about the same number of rows.
    return -(-stages[-1].rows // -(-stages[-1].rows // rows)) if rows else 0


# A smaller tensor between is worth a strip less; chains are taken to gain so much at the least.
_APART = 1.1


def _choose(graph: Graph, chain: list[tuple[Node, Stage]], choices: Choices) -> int:
    """Compute a chain in strips of some height, or leave it; how many chains were replaced."""
    usual, total = _rows([stage for _, stage in chain]), chain[-1][1].rows
    heights = [usual, *(rows for rows in (-(-usual // 2), -(-usual // 4)) if rows != usual)]
    parts = _ITEMS_A_THREAD * choices.threads
    item_rows = min(total, max(-(-total // parts), _LEAST_ITEM_ROWS))
    items = (
        [item_rows, min(total, -(-total // choices.threads))] if choices.threads > 1 else [total]
    )
    ways = [(rows, size) for size in dict.fromkeys(items) for rows in dict.fromkeys(heights)]
    found: list[Candidate[int]] = [
        Candidate(
            f"strips of {rows} in {size}",
            OTHERWISE if number else 1.0,
            partial(_replace, graph, chain, rows, size),
        )
        for number, (rows, size) in enumerate(ways)
    ]
    found.append(Candidate("apart", _APART, lambda: 0))
    nodes = [node for node, _ in chain]
    chosen = choose(graph, nodes, found, choices, prepared=True)
    replaced = chosen.build()
    if chosen.note:
        graph.annotate(nodes[-1].name, chosen.note)
    return replaced


def _replace(graph: Graph, found: list[tuple[Node, Stage]], rows: int, item_rows: int) -> int:
    """Put strips in the place of a chain."""
    chain = Graph(found[-1][0].name)
    inside: dict[Value, Value] = {}
    operands: list[Value] = []
    for node, _ in found:
        spare = _spare(node)
        inputs: list[Value | None] = []
        for value in node.inputs:
            if value is None or value in spare:
                if node.op is not fused:
                    inputs.append(None)
                continue
            if value not in inside:
                inside[value] = chain.input(f"x{len(operands)}", graph.type(value))
                operands.append(value)
            inputs.append(inside[value])
        attrs = dict(node.attrs)
        if node.op is fused:
            group: Graph = node.attrs["group"]
            dropped = frozenset(
                v for v, o in zip(group.inputs, node.inputs, strict=True) if o in spare
            )
            attrs["group"] = regrouped(group, [group.type(v) for v in group.inputs], dropped)
        member = chain.add_node(node.op, inputs, attrs, node.name, node.origin)
        chain.annotate(member.name, node.note)
        inside[node.outputs[0]] = member.outputs[0]
    last = found[-1][0]
    chain.output(inside[last.outputs[0]], "result")
    origin = ", ".join(dict.fromkeys(node.origin or node.name for node, _ in found))
    new = graph.add(
        strips,
        *operands,
        chain=chain,
        rows=rows,
        item_rows=item_rows,
        name=last.name,
        origin=origin,
    )
    graph.take_over(last.name, new.node)
    return 1


def _spare(node: Node) -> set[Value]:
    """What the node only reads ahead, for other nodes."""
    found = anchor(node)
    assert found is not None, "stages have an anchor"
    names = [parameter.name for parameter in found.op.parameters]
    place = names.index("ahead") if "ahead" in names else len(found.inputs)
    if place >= len(found.inputs) or found.inputs[place] is None:
        return set()
    value = node.inputs[source_position(node, place)]
    assert value is not None, "what is read ahead is there"
    readers = 1
    if node.op is fused:
        group: Graph = node.attrs["group"]
        ahead = found.inputs[place]
        readers = sum(user.inputs.count(ahead) for user in group.operators())
    return {value} if readers == node.inputs.count(value) == 1 else set()
