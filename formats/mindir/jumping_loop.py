"""Loops with ``break``, ``continue`` and ``return`` in their bodies.

One iteration is a tree of decisions. At its ends the next iteration starts, or the loop is
left, in one of several ways. The loop carries which way that was and what is needed to go on;
what follows is read behind the loop. (Plain loops are read by plain_loop.py.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...ir import ModelError, TensorType, UnsupportedError, Value
from ...ops.control import if_, loop
from ...ops.registry import operator_named
from . import control
from .items import (
    MISSING,
    Again,
    Choice,
    Fork,
    Function,
    Given,
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

_NUMBER = TensorType("int64")


@dataclass
class _End:
    """The end of an iteration in ``region``: the next one (``way`` None) or a way out."""

    region: Region
    state: Mapping[str, Item]
    way: int | None
    parts: list[Item]


@dataclass
class _Decision:
    """Two ways on, each in a region of its own."""

    region: Region
    condition: Item
    accepted: _Decision | _End
    refused: _Decision | _End


@dataclass
class _Way:
    """A way out: what is called with what behind the loop."""

    callee: Item
    end: _End


@dataclass
class _Iteration:
    """One reading of the body."""

    region: Region
    start: list[Item]
    inputs: list[Value]
    tree: _Decision | _End
    ways: list[_Way] = field(default_factory=list)
    ends: list[_End] = field(default_factory=list)


def read_jumping_loop(
    machine: Machine, name: str, arguments: tuple[Item, ...], carried: set[int], region: Region
) -> Item:
    """Call a graph that calls itself at some of its ends."""
    first = leaves(arguments)
    written: set[str] = set()
    leaving: list[TensorType] = []
    before, refused = machine.state, len(machine.items)
    for _ in range(2 * len(first) + len(machine.model.parameters) + 4):
        machine.state = before
        iteration = _read(
            machine, name, arguments, sorted(carried), sorted(written), leaving, region
        )
        if iteration is None or len(machine.items) > refused:
            return MISSING
        if not iteration.ways:
            raise ModelError(f"the loop {name!r} never ends")
        changed = _changed(iteration, carried)
        changed_states = {
            key
            for end in iteration.ends
            for key, item in end.state.items()
            if not control.same(item, before.get(key)) and key not in written
        }
        types = [t for way in iteration.ways for t in _leaving_types(way, iteration)]
        if changed < carried and not changed_states and types == leaving:
            # What stays the same need not be carried.
            carried = changed
            continue
        if changed == carried and not changed_states and types == leaving:
            machine.state = before
            return _add(
                machine, name, arguments, iteration, sorted(carried), sorted(written), region
            )
        carried, written = carried | changed, written | changed_states
        leaving = types
    raise UnsupportedError(f"what the loop {name!r} carries cannot be found")


def _changed(iteration: _Iteration, carried: set[int]) -> set[int]:
    return {
        position
        for end in iteration.ends
        if end.way is None
        for position, (old, new) in enumerate(zip(iteration.start, end.parts, strict=True))
        if not control.same(old, new)
    }


def _read(
    machine: Machine,
    name: str,
    arguments: tuple[Item, ...],
    carried: list[int],
    written: list[str],
    leaving: list[TensorType],
    region: Region,
) -> _Iteration | None:
    first = leaves(arguments)
    inner = control.new_region(machine, f"loop{machine.regions}", region)
    graph = inner.graph
    graph.input("iteration", _NUMBER)
    graph.input("going", TensorType("bool"))
    start = list(first)
    states = dict(machine.state)
    inputs: list[Value] = []

    def take(stem: str, type_: TensorType) -> Tensor:
        inputs.append(graph.input(f"{stem}{len(inputs)}", type_))
        return Tensor(inner, inputs[-1])

    for position in carried:
        value = control.as_value(machine, first[position], region)
        start[position] = take("carried", region.graph.type(value))
    for parameter in written:
        value = control.as_value(machine, Reference(parameter), region)
        states[parameter] = take("state", region.graph.type(value))
    for type_ in (_NUMBER, *leaving):
        take("way", type_)
    machine.state = states
    machine.active.append(name)
    try:
        iteration = _Iteration(inner, start, inputs, _End(inner, {}, None, []))
        outcome = machine.enter(name, control.with_leaves(machine, arguments, start), inner)
        tree = _grow(machine, name, arguments, outcome, inner, iteration)
    finally:
        machine.active.pop()
    if tree is None:
        return None
    iteration.tree = tree
    return iteration


def _grow(
    machine: Machine,
    name: str,
    arguments: tuple[Item, ...],
    outcome: Item,
    region: Region,
    iteration: _Iteration,
) -> _Decision | _End | None:
    if any(isinstance(leaf, Missing) for leaf in leaves(outcome)):
        return None
    if isinstance(outcome, Again) and outcome.name == name:
        if structure(outcome.arguments) != structure(arguments):
            raise UnsupportedError(f"the loop {name!r} changes the structure of its values")
        end = _End(region, machine.state, None, leaves(outcome.arguments))
        iteration.ends.append(end)
        return end
    outcome = control.settled(machine, outcome, region)
    if isinstance(outcome, Again) and outcome.name == name:
        return _grow(machine, name, arguments, outcome, region, iteration)
    if not isinstance(outcome, Fork):
        return _leave(machine, Given(outcome), region, iteration)
    choice, given = outcome.choice, outcome.arguments
    state = machine.state
    found: list[_Decision | _End] = []
    for callee in (choice.accepted, choice.refused):
        inner = control.new_region(machine, f"way{machine.regions}", region)
        machine.state = state
        if isinstance(callee, Choice):
            part = _grow(machine, name, arguments, Fork(callee, given), inner, iteration)
        elif control.returns_to(machine, callee, name):
            result = machine.apply(callee, given, inner)
            part = _grow(machine, name, arguments, result, inner, iteration)
        elif not isinstance(callee, Function):
            part = (
                None if isinstance(callee, Missing) else _leave(machine, callee, inner, iteration)
            )
        else:
            whole = Function(callee.name, (*callee.bound, *given))
            part = _leave(machine, whole, inner, iteration)
        if part is None:
            return None
        found.append(part)
    machine.state = state
    return _Decision(region, choice.condition, found[0], found[1])


def _leave(machine: Machine, callee: Item, region: Region, iteration: _Iteration) -> _End:
    end = _End(region, machine.state, len(iteration.ways), _parts(callee))
    iteration.ways.append(_Way(callee, end))
    iteration.ends.append(end)
    return end


def _parts(callee: Item) -> list[Item]:
    """The values with which a way out goes on."""
    if isinstance(callee, Given):
        found = callee.result
        return leaves(found.arguments if isinstance(found, Again) else found)
    return leaves(callee)


def _inside(item: Item, iteration: _Iteration) -> bool:
    """True for a tensor that only the loop's body has."""
    if not isinstance(item, Tensor):
        return False
    region: Region | None = item.region
    while region is not None and region is not iteration.region:
        region = region.parent
    return region is not None


def _leaving_types(way: _Way, iteration: _Iteration) -> list[TensorType]:
    found = []
    for item in way.end.parts:
        if _inside(item, iteration):
            type_ = item.region.graph.type(item.value)
            region: Region | None = item.region
            while region is not None and region is not iteration.region.parent:
                control.check_outside(type_, region)
                region = region.parent
            found.append(type_)
    return found


# --- the loop's nodes ------------------------------------------------------------------------


def _emit(
    machine: Machine,
    node: _Decision | _End,
    iteration: _Iteration,
    carried: list[int],
    written: list[str],
    region: Region,
) -> list[Value]:
    """The body's results, in ``region``: going on, the carried values, states, way and parts."""
    if isinstance(node, _End):
        return _end_values(machine, node, iteration, carried, written)
    regions = [node.accepted.region, node.refused.region]
    results = []
    for part, inner in zip((node.accepted, node.refused), regions, strict=True):
        results.append(_emit(machine, part, iteration, carried, written, inner))
    # What both hand through from here is no result of the ``if``.
    outside = [inner.outside for inner in regions]
    through: list[Value | None] = []
    for position, (left, right) in enumerate(zip(*results, strict=True)):
        outer = outside[0].get(left)
        through.append(outer if outer == outside[1].get(right) else None)
        if through[-1] is None:
            for inner, value in zip(regions, (left, right), strict=True):
                inner.graph.output(value, f"out{position}")
    captured = control.aligned_captures(regions, region)
    condition = control.condition_value(machine, node.condition, region)
    attributes = {"then_branch": regions[0].graph, "else_branch": regions[1].graph}
    chosen = iter(region.graph.add_node(if_, [condition, *captured], attributes).outputs)
    return [next(chosen) if outer is None else outer for outer in through]


def _end_values(
    machine: Machine,
    end: _End,
    iteration: _Iteration,
    carried: list[int],
    written: list[str],
) -> list[Value]:
    region = end.region
    types = [iteration.region.graph.type(value) for value in iteration.inputs]
    parts = end.parts if end.way is None else iteration.start
    items: list[Item] = [parts[position] for position in carried]
    items += [machine.read_parameter(parameter, end.state) for parameter in written]
    place = len(items)
    items += [Tensor(iteration.region, value) for value in iteration.inputs[place:]]
    if end.way is not None:
        items[place] = end.way
        at = place + 1
        for number, way in enumerate(iteration.ways):
            for item in way.end.parts:
                if _inside(item, iteration):
                    if number == end.way:
                        items[at] = item
                    at += 1
    current = machine.state
    machine.state = end.state
    values = [region.scalar(end.way is None, "bool")]
    for item, type_ in zip(items, types, strict=True):
        value = control.as_value(machine, item, region, type_.dtype)
        if region.graph.type(value) != type_:
            raise UnsupportedError(
                f"a loop changes a value's type from {type_} to {region.graph.type(value)}"
            )
        values.append(value)
    machine.state = current
    return values


def _add(
    machine: Machine,
    name: str,
    arguments: tuple[Item, ...],
    iteration: _Iteration,
    carried: list[int],
    written: list[str],
    region: Region,
) -> Item:
    inner = iteration.region
    first = leaves(arguments)
    results = _emit(machine, iteration.tree, iteration, carried, written, inner)
    for position, value in enumerate(results):
        inner.graph.output(value, f"out{position}")
    initial = [control.as_value(machine, first[position], region) for position in carried]
    initial += [control.as_value(machine, Reference(parameter), region) for parameter in written]
    for value in iteration.inputs[len(initial) :]:
        initial.append(_zeros(region, inner.graph.type(value)))
    captured = control.aligned_captures([inner], region)
    operands: list[Any] = [None, region.scalar(True, "bool"), *initial, *captured]
    attributes = {"body": inner.graph, "carried": len(initial)}
    outputs = region.graph.add_node(loop, operands, attributes).outputs
    final = [Tensor(region, value) for value in outputs[: len(initial)]]
    for parameter, item in zip(written, final[len(carried) :], strict=False):
        machine.write_parameter(parameter, item)
    place = len(carried) + len(written)
    chosen, at = final[place], place + 1
    callees: list[Item] = []
    for way in iteration.ways:
        moved: list[Item] = []
        for item in way.end.parts:
            if _inside(item, iteration):
                moved.append(final[at])
                at += 1
            else:
                moved.append(Monad(machine.state) if isinstance(item, Monad) else item)
        callees.append(_moved(way.callee, moved))
    result = callees[-1]
    for number in range(len(callees) - 2, -1, -1):
        here = region.graph.add(
            operator_named("equal"), chosen.value, region.scalar(number, "int64")
        )
        result = Choice(Tensor(region, here), callees[number], result)
    return machine.apply(result, (), region)


def _moved(callee: Item, parts: list[Item]) -> Item:
    """The way out with other values."""
    fresh = iter(parts)
    if isinstance(callee, Given) and isinstance(callee.result, Again):
        again = callee.result
        return Given(Again(again.name, rebuilt(again.arguments, lambda: next(fresh))))
    if isinstance(callee, Given):
        return Given(rebuilt(callee.result, lambda: next(fresh)))
    return rebuilt(callee, lambda: next(fresh))


def _zeros(region: Region, type_: TensorType) -> Value:
    zero = region.scalar(False if type_.dtype == "bool" else 0, type_.dtype)
    if not type_.rank:
        return zero
    return region.graph.add(operator_named("expand"), zero, shape=type_.shape)
