"""Readers of If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Extent, Graph, ModelError, TensorType, UnsupportedError, Value
from ...ir import dim as dims
from ...ops.control import if_, loop
from .context import Context, ops
from .registry import reads

_BOOL = TensorType("bool")
_COUNT = TensorType("int64")
_VERSIONS = (1, 11, 13, 16, 19, 21, 23, 24, 25)


def _mentions_inner(type_: TensorType, graph: Graph) -> bool:
    """True when a shape depends on values that only the subgraph computes."""
    return any(symbol.name in graph.symbols for symbol in dims.symbols_of(type_.shape))


# --- If ------------------------------------------------------------------------------------


@reads("If", since=_VERSIONS)
def _if(g: Context, condition: Value, *, then_branch: Any, else_branch: Any) -> list[Any]:
    if len(then_branch.output) != len(else_branch.output):
        raise ModelError("If has branches with different numbers of outputs")
    known = g.numbers(condition)
    if known is not None:
        if known.size != 1:
            raise ModelError(f"If has a condition of {known.size} elements")
        chosen = then_branch if known.reshape(-1)[0] else else_branch
        return g.scope.inline_graph(chosen, g.origin)
    protos = (then_branch, else_branch)
    captures = g.scope.captured(protos)
    branches: list[Graph] = []
    results: list[list[Value]] = []
    refused: list[str] = []
    for proto in protos:
        try:
            scope, _ = g.scope.open_subgraph(proto.name, [], captures, g.origin)
            results.append(scope.read_body(proto, g.origin))
            branches.append(scope.place.graph)
        except UnsupportedError as error:
            refused += error.items
    if refused:
        raise UnsupportedError("; ".join(refused), refused)
    plans = []
    for position, (left, right) in enumerate(zip(*results, strict=True)):
        plans.append(_join(g, position, branches, (left, right)))
    condition = g.reshape(condition, ())
    for branch in branches:
        branch.prune()
    operands = [condition, *g.scope.passed(captures, g.origin)]
    attributes = {"then_branch": branches[0], "else_branch": branches[1]}
    outputs = iter(g.add_node(if_, operands, attributes).outputs)
    return [_restored(g, outputs, plan) for plan in plans]


def _join(
    g: Context, position: int, branches: Sequence[Graph], values: Sequence[Value]
) -> tuple[Extent | None, ...] | None:
    """Hand out one output of both branches; returns how its shape is found, None: as it is.

    Outputs whose shapes differ are handed out flat, padded to the larger size, together
    with the shape that they have; the extents to be measured are None in the result.
    """
    types = [graph.type(value) for graph, value in zip(branches, values, strict=True)]
    left, right = types
    if left.dtype != right.dtype:
        raise ModelError(f"If: the branches give {left} and {right} for output {position}")
    inner = any(_mentions_inner(t, b) for t, b in zip(types, branches, strict=True))
    if left.shape == right.shape and not inner:
        for graph, value in zip(branches, values, strict=True):
            graph.output(value, f"out{position}")
        return None
    if left.rank != right.rank:
        raise UnsupportedError(f"If gives {left} or {right}: the number of dimensions varies")
    if inner:
        raise UnsupportedError(f"If gives {left} or {right}: a size is found inside the branch")
    most = dims.maximum(left.size, right.size)
    for graph, value, type_ in zip(branches, values, types, strict=True):
        flat = graph.add(ops.reshape, value, shape=(type_.size,))
        padded = graph.add(ops.pad, flat, before=(0,), after=(most - type_.size,), mode="constant")
        graph.output(padded, f"out{position}")
        graph.output(graph.add(ops.extents, values=type_.shape), f"shape{position}")
    return tuple(a if a == b else None for a, b in zip(left.shape, right.shape, strict=True))


def _restored(g: Context, outputs: Any, plan: tuple[Extent | None, ...] | None) -> Value:
    value: Value = next(outputs)
    if plan is None:
        return value
    held = next(outputs)
    shape = [
        g.shapes.measure(held, axis) if extent is None else extent
        for axis, extent in enumerate(plan)
    ]
    return g.reshape(g.slice_axis(value, 0, 0, dims.product(shape)), shape)


# --- Loop ----------------------------------------------------------------------------------


@reads("Loop", since=_VERSIONS)
def _loop(
    g: Context,
    trip_count: Value | None = None,
    condition: Value | None = None,
    *initial: Value,
    body: Any,
) -> list[Value]:
    carried = len(initial)
    if len(body.input) != 2 + carried or len(body.output) < 1 + carried:
        raise ModelError(
            f"Loop carries {carried} values; its body has {len(body.input)} inputs and "
            f"{len(body.output)} outputs"
        )
    names = [value.name for value in body.input]

    def inside(inner: Context, arguments: list[Value]) -> list[Value]:
        for name, value in zip(names, arguments, strict=True):
            inner.scope.bind(name, value)
        return inner.scope.read_body(body, g.origin)

    captures = g.scope.captured([body])
    return _add_loop(g, trip_count, condition, list(initial), [], captures, body.name, inside)


def _add_loop(
    g: Context,
    trip_count: Value | None,
    condition: Value | None,
    initial: list[Value],
    extra: list[Value],
    captures: list[str],
    name: str,
    inside: Any,
) -> list[Value]:
    """Add a loop; ``inside(context, arguments)`` reads the body's nodes.

    The arguments are iteration, condition, carried values and ``extra`` values that stay.
    Returns the final carried values and the scanned outputs, cut to the iterations run.
    """
    if trip_count is not None:
        trip_count = g.reshape(trip_count, ())
    types = [_COUNT, _BOOL, *(g.type(value) for value in (*initial, *extra))]
    scope, arguments = g.scope.open_subgraph(name, types, captures, g.origin)
    inner = Context(scope, g.proto, g.origin, g.opset)
    results = inside(inner, arguments)
    going = inner.reshape(results[0], ())
    endless = _always(inner, going, arguments[1])
    results[0] = going
    for position, value in enumerate(results):
        type_ = inner.type(value)
        if _mentions_inner(type_, scope.place.graph):
            g.unsupported(f"its body's output {position} is {type_}: a size found inside the loop")
        if 0 < position <= len(initial) and type_ != g.type(initial[position - 1]):
            before = g.type(initial[position - 1])
            g.unsupported(f"a carried value changes its type from {before} to {type_}")
        scope.place.graph.output(value, f"out{position}")
    scope.place.graph.prune()
    scans = len(results) - 1 - len(initial)
    limit: Extent = 0
    if scans:
        limit = _trip_limit(g, trip_count)
    if condition is not None:
        start = g.numbers(condition)
        if endless and start is not None and start.size == 1 and start.reshape(-1)[0]:
            condition = None
        else:
            condition = g.reshape(condition, ())
    operands = [
        trip_count,
        condition,
        *initial,
        *extra,
        *g.scope.passed(captures, g.origin),
    ]
    attributes = {"body": scope.place.graph, "carried": len(initial), "trip_limit": limit}
    outputs = g.add_node(loop, operands, attributes).outputs
    final, stacks, count = list(outputs[: len(initial)]), outputs[len(initial) : -1], outputs[-1]
    if stacks and not (endless and condition is None):
        size = g.shapes.measure(count, 0)
        stacks = tuple(g.slice_axis(stack, 0, 0, size) for stack in stacks)
    return [*final, *stacks]


def _always(inner: Context, going: Value, given: Value) -> bool:
    """True when the body's condition never ends the loop by itself."""
    if going == given:
        return True
    node = inner.graph.node(going.node)
    if node.op.name == "identity" and node.inputs[0] == given:
        return True
    found = inner.numbers(going)
    return found is not None and bool(found.reshape(-1)[0])


def _trip_limit(g: Context, trip_count: Value | None) -> Extent:
    if trip_count is None:
        g.unsupported("scanned outputs of a loop without a trip count")
    found = g.numbers(trip_count)
    if found is None:
        floor = g.add(ops.maximum, trip_count, g.constant(np.array(0, np.int64)))
        return g.extents(floor, "the trip count")[0]
    number = int(found.reshape(-1)[0])
    if number > 2**31:
        g.unsupported(f"scanned outputs of a loop of up to {number} iterations")
    return max(number, 0)


# --- Scan ----------------------------------------------------------------------------------


@reads("Scan", since=(9, 11, 16, 19, 21, 23, 24, 25))
def _scan(
    g: Context,
    *inputs: Value,
    body: Any,
    num_scan_inputs: int,
    scan_input_axes: tuple[int, ...] = (),
    scan_input_directions: tuple[int, ...] = (),
    scan_output_axes: tuple[int, ...] = (),
    scan_output_directions: tuple[int, ...] = (),
) -> list[Value]:
    states = len(inputs) - num_scan_inputs
    if not 0 <= states < len(inputs) or len(body.input) != len(inputs):
        raise ModelError(f"Scan has {len(inputs)} inputs, {num_scan_inputs} of them scanned")
    if len(body.output) < states:
        raise ModelError("Scan's body has too few outputs")
    initial, scanned = list(inputs[:states]), list(inputs[states:])
    given = scan_input_axes or (0,) * len(scanned)
    backward = scan_input_directions or (0,) * len(scanned)
    if len(given) != len(scanned) or len(backward) != len(scanned):
        raise ModelError(f"Scan of {len(scanned)} inputs has {len(given)} axes")
    axes = [g.axis(x, axis) for x, axis in zip(scanned, given, strict=True)]
    length = g.shape(scanned[0])[axes[0]]
    names = [value.name for value in body.input]

    def inside(inner: Context, arguments: list[Value]) -> list[Value]:
        iteration, going = arguments[:2]
        for name, value in zip(names, arguments[2 : 2 + states], strict=False):
            inner.scope.bind(name, value)
        held = arguments[2 + states :]
        for name, x, axis, back in zip(names[states:], held, axes, backward, strict=True):
            place = iteration
            if back:
                last = inner.reshape(inner.symbolic([length - 1]), ())
                place = inner.add(ops.sub, last, iteration)
            inner.scope.bind(name, inner.add(ops.gather, x, place, axis=axis))
        return [going, *inner.scope.read_body(body, g.origin)]

    captures = g.scope.captured([body])
    count = g.reshape(g.symbolic([length]), ())
    results = _add_loop(g, count, None, initial, scanned, captures, body.name, inside)
    stacks = []
    for position, stack in enumerate(results[states:]):
        if scan_output_directions and scan_output_directions[position]:
            shape = g.shape(stack)
            starts = (shape[0] - 1, *(0 for _ in shape[1:]))
            steps = (-1, *(1 for _ in shape[1:]))
            stack = g.add(ops.slice, stack, starts=starts, sizes=shape, steps=steps)
        axis = g.axis(stack, scan_output_axes[position]) if scan_output_axes else 0
        order = list(range(1, g.rank(stack)))
        order.insert(axis, 0)
        stacks.append(g.transpose(stack, order))
    return [*results[:states], *stacks]
