"""One interface for every choice among kernels: candidates with estimates; the least is taken.

What was measured on this machine (see :mod:`.records`) overrules the estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from ....ir import Array, Graph, LazyArray, Node, TensorType, Value
from ..choices import Choices
from .records import Question

Made = TypeVar("Made")

# What a candidate that a rule of thumb leaves out is taken to need, beside the one it takes.
OTHERWISE = 1.05


@dataclass(frozen=True, slots=True)
class Candidate(Generic[Made]):
    """One way to compute something.

    ``name`` says which, with its parameters; ``seconds`` is the estimate, which only has to
    compare with the other candidates'; ``build`` makes it; ``note`` says why it was chosen.
    """

    name: str
    seconds: float
    build: Callable[[], Made]
    note: str = ""


def choose(
    graph: Graph,
    nodes: Sequence[Node],
    candidates: Sequence[Candidate[Made]],
    choices: Choices,
    *,
    prepared: bool = False,
) -> Candidate[Made]:
    """The candidate to compute ``nodes`` with, the last of which gives the result.

    Each of ``nodes`` but the first reads one before. The first candidate of the least estimate
    is taken unless a record names another one. ``prepared``: passes before the chooser's own
    are not to be run on ``nodes`` again.
    """
    least = min(candidates, key=lambda candidate: candidate.seconds)
    if len(candidates) < 2 or not _is_static(graph, nodes):
        return least
    text = _text(graph, nodes)
    name = choices.tuning.answer(text)
    if choices.tuning.collects:
        shape = ", ".join(str(graph.type(value)) for value in nodes[0].operands[:2])
        names = {candidate.name: candidate.seconds for candidate in candidates}
        title = " + ".join(_title(node) for node in nodes)
        fragment = fragment_of(graph, nodes)
        choices.tuning.ask(Question(text, title, shape, names, least.name, fragment, prepared))
    for candidate in candidates:
        if candidate.name == name:
            found = f"tuned: {name}" if candidate is least else f"tuned: {name}, not {least.name}"
            return _noted(candidate, found, choices)
    return _noted(least, "", choices)


def _noted(candidate: Candidate[Made], found: str, choices: Choices) -> Candidate[Made]:
    """The candidate with notes on where its choice comes from."""
    parts = (choices.tuning.mark(), found, candidate.note)
    return replace(candidate, note="; ".join(filter(None, parts)))


def _is_static(graph: Graph, nodes: Sequence[Node]) -> bool:
    """True where what is read can be made up: float32 of known shapes."""
    values = [value for node in nodes for value in node.operands]
    types = [graph.type(value) for value in values]
    types += [type_ for node in nodes for type_ in node.types]
    return all(type_.is_static and type_.dtype == "float32" for type_ in types)


def _title(node: Node) -> str:
    group = node.attrs.get("group")
    if not isinstance(group, Graph):
        return node.op.name
    return "-".join(member.op.name for member in group.operators())


def _text(graph: Graph, nodes: Sequence[Node]) -> str:
    """All that the time of ``nodes`` depends on."""
    return "\n".join(part for node in nodes for part in _parts(graph, node))


def _parts(graph: Graph, node: Node) -> Iterator[str]:
    operands = [
        "-" if value is None else f"{'=' * graph.is_param(value)}{graph.type(value)}"
        for value in node.inputs
    ]
    attrs = {key: value for key, value in node.attrs.items() if not isinstance(value, Graph)}
    shown = " ".join(f"{key}={value}" for key, value in sorted(attrs.items()))
    yield f"{node.op.name}({', '.join(operands)}) {shown}"
    for value in node.attrs.values():
        if isinstance(value, Graph):
            for member in value.operators():
                yield from _parts(value, member)


def fragment_of(graph: Graph, nodes: Sequence[Node], copies: int = 1) -> Graph:
    """``nodes`` alone, so many times side by side, each with inputs and parameters of its own.

    Parameters have made-up values.
    """
    fragment = Graph("fragment")
    for copy in range(copies):
        inside: dict[Value, Value] = {}
        for node in nodes:
            inputs = [
                None if value is None else _operand(graph, value, fragment, inside, copy)
                for value in node.inputs
            ]
            member = fragment.add_node(node.op, inputs, node.attrs, f"{node.name}.{copy}")
            inside.update(zip(node.outputs, member.outputs, strict=True))
        for number, value in enumerate(nodes[-1].outputs):
            fragment.output(inside[value], f"y{number}.{copy}")
    return fragment


def _operand(
    graph: Graph, value: Value, fragment: Graph, inside: dict[Value, Value], copy: int
) -> Value:
    if value not in inside:
        name, type_ = f"x{len(inside)}.{copy}", graph.type(value)
        if not graph.is_param(value):
            inside[value] = fragment.input(name, type_)
        elif not isinstance(type_.size, int) or type_.size < 2:
            inside[value] = fragment.param(graph.array(value), name)
        else:
            held = LazyArray(type_, lambda: made_up(type_))
            inside[value] = fragment.param(held, name)
    return inside[value]


def made_up(type_: TensorType) -> Array:
    """Numbers of about the size that weights have; zeros if they are no float32."""
    if type_.dtype != "float32":
        return np.zeros(type_.static_shape, type_.numpy)
    some = np.random.default_rng(0).uniform(-0.1, 0.1, 4099).astype(np.float32)
    return np.resize(some, type_.static_shape)
