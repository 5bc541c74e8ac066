"""Conditional calls of MindIR, and what they share with loops (plain_loop.py).

A call back to a function that is being read gives an :class:`Again`, and a conditional call that
may lead to one a :class:`Fork`; they may only be handed on, until they are the graph's result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...ir import LimitError, ModelError, TensorType, UnsupportedError, Value
from ...ir import dim as dims
from ...ops.control import if_
from ...ops.registry import operator_named
from .items import (
    MISSING,
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


def with_leaves(machine: Machine, tree: tuple[Item, ...], parts: list[Item]) -> tuple[Item, ...]:
    """The arguments with other leaves; monads stand for the current state."""
    now = Monad(machine.state)
    fresh = iter([now if isinstance(part, Monad) else part for part in parts])
    return tuple(rebuilt(tree, lambda: next(fresh)))


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
