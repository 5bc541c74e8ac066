"""Conditional calls and loops of MindIR.

A ``while`` loop is a graph that computes the condition, switches between two functions, the
body and the rest, and calls the chosen one; the body ends in a call of the graph itself. While
such a graph is read, a call back to it gives an :class:`Again`, and a conditional call that may
lead to one a :class:`Fork`; they may only be handed on, until they are the graph's result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir import LimitError, ModelError, TensorType, UnsupportedError, Value
from ...ir import dim as dims
from ...ops.control import if_, loop
from ...ops.registry import operator_named
from .items import (
    MISSING,
    Again,
    Choice,
    Constant,
    Fork,
    Function,
    Item,
    Missing,
    Monad,
    Reference,
    Tensor,
    leaves,
    rebuilt,
    structure,
)
from .region import Region

if TYPE_CHECKING:
    from .machine import Machine

_BOOL = TensorType("bool")
_COUNT = TensorType("int64")
MAXIMUM_LOOP_DEPTH = 6


# --- helpers -------------------------------------------------------------------------------


def new_region(machine: Machine, name: str, parent: Region) -> Region:
    """A region for a branch or a loop's body."""
    machine.regions += 1
    depth = 0
    region: Region | None = parent
    while region is not None:
        depth, region = depth + 1, region.parent
    if depth > machine.limits.subgraph_depth:
        raise LimitError(f"branches and loops nest deeper than {machine.limits.subgraph_depth}")
    return Region(name, machine.regions, parent)


def condition_value(machine: Machine, item: Item, region: Region) -> Value:
    """A condition as a boolean 0-d value of ``region``."""
    value = as_value(machine, item, region)
    graph = region.graph
    if graph.type(value).dtype != "bool":
        value = graph.add(operator_named("cast"), value, to="bool")
    if graph.type(value).rank:
        if graph.type(value).size != 1:
            raise ModelError(f"a condition is {graph.type(value)}, not one boolean")
        value = graph.add(operator_named("reshape"), value, shape=())
    return value


def known_condition(machine: Machine, item: Item, region: Region) -> bool | None:
    """The condition where it is known now."""
    if isinstance(item, (bool, int)):
        return bool(item)
    found = region.shapes.numbers(condition_value(machine, item, region))
    return None if found is None else bool(found.reshape(-1)[0])


def as_value(machine: Machine, item: Item, region: Region, dtype: str = "") -> Value:
    """A leaf as a value of ``region``; numbers become 0-d tensors."""
    if isinstance(item, Reference):
        item = machine.read_parameter(item.name)
    if isinstance(item, Tensor):
        return region.local(item)
    if isinstance(item, Constant):
        return region.constant(item)
    if isinstance(item, (bool, int, float)):
        plain = "bool" if isinstance(item, bool) else "int64" if isinstance(item, int) else ""
        return region.scalar(item, dtype or plain or "float32")
    if isinstance(item, dims.Dim):
        held = region.graph.add(operator_named("extents"), values=(item,))
        return region.graph.add(operator_named("reshape"), held, shape=())
    raise UnsupportedError(f"a {type(item).__name__} cannot be passed into or out of a branch")


def same(left: Item, right: Item) -> bool:
    """True when two leaves stand for the same thing."""
    if left is right:
        return True
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return left.region is right.region and left.value == right.value
    if isinstance(left, Constant) or isinstance(right, Constant):
        return False
    if isinstance(left, Monad) and isinstance(right, Monad):
        return True
    return type(left) is type(right) and bool(left == right)


def may_return(machine: Machine, callee: Item) -> bool:
    """True when calling ``callee`` may start the next iteration of a loop being read."""
    if isinstance(callee, Choice):
        return may_return(machine, callee.accepted) or may_return(machine, callee.refused)
    if not isinstance(callee, Function):
        return False
    if machine.model.reaches_any(callee.name, machine.active):
        return True
    return any(isinstance(b, (Function, Choice)) and may_return(machine, b) for b in callee.bound)


def returns_to(machine: Machine, callee: Item, name: str) -> bool:
    """True when calling ``callee`` may start the next iteration of the loop ``name`` itself.

    Ways through the loops around it do not count: they leave this one first.
    """
    if isinstance(callee, Choice):
        return any(returns_to(machine, part, name) for part in (callee.accepted, callee.refused))
    if not isinstance(callee, Function):
        return False
    closed = frozenset(machine.active) - {name}
    if callee.name == name or machine.model.reaches(callee.name, name, closed):
        return callee.name not in closed
    return any(returns_to(machine, part, name) for part in callee.bound)


# --- conditional calls ---------------------------------------------------------------------


def call_choice(
    machine: Machine, choice: Choice, arguments: tuple[Item, ...], region: Region
) -> Item:
    """Call one of two functions."""
    if isinstance(choice.condition, Missing):
        return MISSING
    if may_return(machine, choice):
        return Fork(choice, arguments)
    known = known_condition(machine, choice.condition, region)
    if known is not None:
        return machine.apply(choice.accepted if known else choice.refused, arguments, region)
    return _read_if(machine, choice, arguments, region)


def settled(machine: Machine, outcome: Item, region: Region) -> Item:
    """The result of a conditional call whose condition is known after all."""
    while isinstance(outcome, Fork):
        choice = outcome.choice
        known = known_condition(machine, choice.condition, region)
        if known is None:
            break
        callee = choice.accepted if known else choice.refused
        outcome = machine.apply(callee, outcome.arguments, region)
    return outcome


def _read_if(machine: Machine, choice: Choice, arguments: tuple[Item, ...], region: Region) -> Item:
    before = machine.state
    regions: list[Region] = []
    results: list[Item] = []
    states: list[Mapping[str, Item]] = []
    for name, callee in (("then", choice.accepted), ("else", choice.refused)):
        inner = new_region(machine, f"{name}{machine.regions}", region)
        machine.state = before
        results.append(machine.apply(callee, arguments, inner))
        states.append(machine.state)
        regions.append(inner)
    machine.state = before
    if any(isinstance(leaf, Missing) for result in results for leaf in leaves(result)):
        return MISSING
    return join(machine, choice.condition, regions, results, states, region)


def join(
    machine: Machine,
    condition: Item,
    regions: list[Region],
    results: list[Item],
    states: list[Mapping[str, Item]],
    region: Region,
) -> Item:
    """Add an ``if`` of two regions that were read; returns its result, notes the new state."""
    left, right = results
    if structure(left) != structure(right):
        raise UnsupportedError("the branches of an if give results of different structures")
    before = machine.state
    # Leaves that differ become outputs; the others stay what they are.
    pairs = list(zip(leaves(left), leaves(right), strict=True))
    outputs: list[tuple[Item, Item]] = []
    plan: list[int | None] = []
    for a, b in pairs:
        if same(a, b) and not (isinstance(a, Tensor) and a.region in regions):
            plan.append(None)
        else:
            plan.append(len(outputs))
            outputs.append((a, b))
    changed = sorted(
        name
        for name in {*states[0], *states[1]}
        if not all(same(state.get(name), before.get(name)) for state in states)
    )
    for name in changed:
        held = [machine.read_parameter(name, state) for state in states]
        outputs.append((held[0], held[1]))
    for position, pair in enumerate(outputs):
        _hand_out(machine, regions, states, pair, position)
    captured = aligned_captures(regions, region)
    node = region.graph.add_node(
        if_,
        [condition_value(machine, condition, region), *captured],
        {"then_branch": regions[0].graph, "else_branch": regions[1].graph},
    )
    given = [Tensor(region, value) for value in node.outputs]
    for position, name in enumerate(changed):
        machine.write_parameter(name, given[len(outputs) - len(changed) + position])
    chosen = iter(
        [a if place is None else given[place] for (a, _), place in zip(pairs, plan, strict=True)]
    )
    now = Monad(machine.state)
    fresh = (now if isinstance(leaf, Monad) else leaf for leaf in chosen)
    return rebuilt(left, lambda: next(fresh))


def aligned_captures(regions: list[Region], region: Region) -> list[Value]:
    """Let the bodies capture the same values of ``region`` in the same order; returns these.

    The bodies have their outputs; what these do not need goes.
    """
    for inner in regions:
        inner.forget_unread()
    captured = region.in_order({outer for inner in regions for outer in inner.captures})
    for inner in regions:
        for outer in captured:
            inner.capture(outer)
        own = set(inner.captures.values())
        first = [value for value in inner.graph.inputs if value not in own]
        inner.graph.arrange_inputs([*first, *(inner.captures[outer] for outer in captured)])
    return captured


def _hand_out(
    machine: Machine,
    regions: list[Region],
    states: list[Mapping[str, Item]],
    pair: tuple[Item, Item],
    position: int,
) -> None:
    """Make a leaf of both branches an output of theirs, in one element type."""
    current = machine.state
    values: list[Value] = []
    dtype = ""
    for inner, state, item in zip(regions, states, pair, strict=True):
        machine.state = state
        if isinstance(item, (bool, int, float)):
            other = pair[1] if item is pair[0] else pair[0]
            if isinstance(other, (Tensor, Constant, Reference)):
                value = as_value(machine, other, regions[1] if item is pair[0] else regions[0])
                owner = regions[1] if item is pair[0] else regions[0]
                dtype = owner.graph.type(value).dtype
        values.append(as_value(machine, item, inner, dtype))
    machine.state = current
    types = [inner.graph.type(v) for inner, v in zip(regions, values, strict=True)]
    for inner, type_ in zip(regions, types, strict=True):
        check_outside(type_, inner)
    if types[0].dtype != types[1].dtype or types[0].rank != types[1].rank:
        raise UnsupportedError(f"an if gives {types[0]} or {types[1]}")
    if types[0].shape != types[1].shape:
        raise UnsupportedError(f"an if gives {types[0]} or {types[1]}: the shape varies")
    for inner, value in zip(regions, values, strict=True):
        inner.graph.output(value, f"out{position}")


def check_outside(type_: TensorType, inner: Region) -> None:
    if any(symbol.name in inner.graph.symbols for symbol in dims.symbols_of(type_.shape)):
        raise UnsupportedError(f"{type_} leaves a branch or loop inside which its size is found")


# --- loops ---------------------------------------------------------------------------------


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


def with_leaves(machine: Machine, tree: tuple[Item, ...], parts: list[Item]) -> tuple[Item, ...]:
    """The arguments with other leaves; monads stand for the current state."""
    now = Monad(machine.state)
    fresh = iter([now if isinstance(part, Monad) else part for part in parts])
    return tuple(rebuilt(tree, lambda: next(fresh)))


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


def checked_index(region: Region, index: Value, count: int) -> Value:
    """``index`` as 0 .. count - 1; negative ones count from the end, others end the run."""
    graph = region.graph
    flat = index
    if graph.type(index).rank:
        flat = graph.add(operator_named("reshape"), index, shape=())
    if graph.type(flat).dtype not in ("int32", "int64"):
        flat = graph.add(operator_named("cast"), flat, to="int64")
    places = graph.param(np.arange(count, dtype=np.int64), "branch_numbers")
    return graph.add(operator_named("gather"), places, flat, axis=0)
