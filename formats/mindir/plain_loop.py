"""Loops of MindIR of the plain form: a condition, a body, and what follows.

A ``while`` loop is a graph that computes the condition, switches between two functions, the
body and the rest, and calls the chosen one; the body ends in a call of the graph itself. While
such a graph is read, a call back to it gives an :class:`Again`, and a conditional call that may
lead to one a :class:`Fork`; they may only be handed on, until they are the graph's result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...ir import LimitError, TensorType, UnsupportedError, Value
from ...ops.control import loop
from ...ops.registry import operator_named
from .control import (
    aligned_captures,
    as_value,
    check_outside,
    condition_value,
    new_region,
    returns_to,
    same,
    settled,
    with_leaves,
)
from .items import (
    MISSING,
    Again,
    Constant,
    Fork,
    Item,
    Missing,
    Reference,
    Tensor,
    leaves,
    structure,
)
from .region import Region

if TYPE_CHECKING:
    from .machine import Machine

_BOOL = TensorType("bool")
_COUNT = TensorType("int64")
MAXIMUM_LOOP_DEPTH = 6


class NotSimple(Exception):
    """A loop is not of the plain form: a condition, a body, and no way out of the body."""


@dataclass
class _Trial:
    """One reading of a loop's body: what changed in it."""

    region: Region
    inputs: list[Value]
    going: Value
    arguments: list[Item]
    states: dict[str, Item]
    changed: set[int]
    changed_states: set[str]
    accepted_returns: bool
    # The argument that is the condition itself: the loop's own condition carries it.
    condition_at: int | None


def read_loop(machine: Machine, name: str, arguments: tuple[Item, ...], region: Region) -> Item:
    """Call a graph that calls itself at its end."""
    if len(machine.active) >= MAXIMUM_LOOP_DEPTH:
        raise LimitError(f"loops nest deeper than {MAXIMUM_LOOP_DEPTH}")
    first = leaves(arguments)
    if any(isinstance(leaf, Missing) for leaf in first):
        return MISSING
    carried = {
        position
        for position, leaf in enumerate(first)
        if (isinstance(leaf, Tensor) and not leaf.region.graph.is_param(leaf.value))
        or (isinstance(leaf, Constant) and leaf.name not in machine.model.parameters)
    }
    written: set[str] = set()
    condition_at: int | None = None
    before = machine.state
    refused = len(machine.items)
    for _ in range(len(first) + len(machine.model.parameters) + 2):
        machine.state = before
        try:
            trial = _try(machine, name, arguments, carried, written, condition_at, region)
        except NotSimple:
            machine.state = before
            del machine.items[refused:]
            from .jumping_loop import read_jumping_loop

            return read_jumping_loop(machine, name, arguments, carried, region)
        if trial is None or len(machine.items) > refused:
            return MISSING
        if trial.condition_at != condition_at:
            condition_at = trial.condition_at
            carried = (carried | trial.changed) - {condition_at}
            written = written | trial.changed_states
            continue
        if trial.changed == carried and trial.changed_states == written:
            break
        if trial.changed <= carried and trial.changed_states <= written:
            # Only captured, not carried: one more reading without them.
            carried, written = trial.changed, trial.changed_states
            continue
        carried, written = carried | trial.changed, written | trial.changed_states
    machine.state = before
    assert trial is not None
    return _add_loop(machine, name, arguments, trial, sorted(carried), sorted(written), region)


def _try(
    machine: Machine,
    name: str,
    arguments: tuple[Item, ...],
    carried: set[int],
    written: set[str],
    condition_at: int | None,
    region: Region,
) -> _Trial | None:
    """Read the body once, with these leaves of the arguments and parameters carried."""
    first = leaves(arguments)
    before = machine.state
    inner = new_region(machine, f"loop{machine.regions}", region)
    graph = inner.graph
    graph.input("iteration", _COUNT)
    still_going = graph.input("going", _BOOL)
    start: list[Item] = list(first)
    if condition_at is not None:
        start[condition_at] = Tensor(inner, still_going)
    inputs: list[Value] = []
    for position in sorted(carried):
        type_ = region.graph.type(as_value(machine, first[position], region))
        inputs.append(graph.input(f"carried{position}", type_))
        start[position] = Tensor(inner, inputs[-1])
    states = dict(before)
    for parameter in sorted(written):
        held = as_value(machine, Reference(parameter), region)
        inputs.append(graph.input(f"state{len(inputs)}", region.graph.type(held)))
        states[parameter] = Tensor(inner, inputs[-1])
    machine.state = states
    machine.active.append(name)
    try:
        outcome = machine.enter(name, with_leaves(machine, arguments, start), inner)
        if isinstance(outcome, Missing):
            return None
        if not isinstance(outcome, Fork):
            raise NotSimple
        if machine.state is not states and machine.state != states:
            raise NotSimple
        accepted = returns_to(machine, outcome.choice.accepted, name)
        if accepted == returns_to(machine, outcome.choice.refused, name):
            raise NotSimple
        callee = outcome.choice.accepted if accepted else outcome.choice.refused
        if accepted and condition_at is None:
            condition_at = next(
                (k for k in sorted(carried) if same(outcome.choice.condition, start[k])), None
            )
        result = settled(machine, machine.apply(callee, outcome.arguments, inner), inner)
        if isinstance(result, Missing):
            return None
        if not isinstance(result, Again) or result.name != name:
            raise NotSimple
        following = leaves(result.arguments)
        if structure(result.arguments) != structure(arguments):
            raise UnsupportedError(f"the loop {name!r} changes the structure of its values")
        if any(isinstance(leaf, Missing) for leaf in following):
            return None
        after = machine.state
        again = machine.enter(name, with_leaves(machine, arguments, following), inner)
        if not isinstance(again, Fork):
            raise NotSimple
        going = condition_value(machine, again.choice.condition, inner)
        if not accepted:
            going = graph.add(operator_named("logical_not"), going)
        machine.state = after
    finally:
        machine.active.pop()
    changed = {
        position
        for position, (old, new) in enumerate(zip(start, following, strict=True))
        if not same(old, new) and position != condition_at
    }
    changed_states = {key for key, item in after.items() if not same(item, states.get(key))}
    return _Trial(
        inner,
        inputs,
        going,
        following,
        {key: machine.read_parameter(key, after) for key in written},
        changed,
        changed_states,
        accepted,
        condition_at,
    )


def _add_loop(
    machine: Machine,
    name: str,
    arguments: tuple[Item, ...],
    trial: _Trial,
    carried: list[int],
    written: list[str],
    region: Region,
) -> Item:
    """Add the loop that ``trial`` read, then read what follows it."""
    inner, graph = trial.region, trial.region.graph
    first = leaves(arguments)
    initial = [as_value(machine, first[position], region) for position in carried]
    initial += [as_value(machine, Reference(parameter), region) for parameter in written]
    graph.output(trial.going, "going")
    ends = [trial.arguments[position] for position in carried]
    ends += [trial.states[parameter] for parameter in written]
    for position, (item, value) in enumerate(zip(ends, trial.inputs, strict=True)):
        type_ = graph.type(value)
        end = as_value(machine, item, inner, type_.dtype)
        found = graph.type(end)
        check_outside(found, inner)
        if found != type_:
            raise UnsupportedError(
                f"the loop {name!r} changes a value's type from {type_} to {found}"
            )
        graph.output(end, f"out{position}")
    # The condition before the first iteration.
    machine.active.append(name)
    try:
        outcome = machine.enter(name, arguments, region)
    finally:
        machine.active.pop()
    assert isinstance(outcome, Fork)
    going = condition_value(machine, outcome.choice.condition, region)
    if not trial.accepted_returns:
        going = region.graph.add(operator_named("logical_not"), going)
    captured = aligned_captures([inner], region)
    operands: list[Any] = [None, going, *initial, *captured]
    attributes = {"body": graph, "carried": len(initial)}
    outputs = region.graph.add_node(loop, operands, attributes).outputs
    final: list[Item] = list(first)
    for position, value in zip(carried, outputs, strict=False):
        final[position] = Tensor(region, value)
    if trial.condition_at is not None:
        final[trial.condition_at] = False
    for parameter, value in zip(written, outputs[len(carried) :], strict=False):
        machine.write_parameter(parameter, Tensor(region, value))
    # The condition is false now: what the graph does then is the loop's result.
    machine.active.append(name)
    try:
        outcome = machine.enter(name, with_leaves(machine, arguments, final), region)
    finally:
        machine.active.pop()
    if not isinstance(outcome, Fork):
        raise UnsupportedError(f"the graph {name!r} calls itself, but not as a loop does")
    callee = outcome.choice.refused if trial.accepted_returns else outcome.choice.accepted
    return machine.apply(callee, outcome.arguments, region)
