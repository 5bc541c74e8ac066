"""Writers of control flow: functions, a choice between them, and loops as recursion."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import Graph, Node, TensorType, UnsupportedError, Value
from .encode import fill_type
from .schema import message
from .writer import Name, Writer, writes


def _function(
    w: Writer, graph: Graph, name: Name, inputs: Sequence[Name], types: Sequence[TensorType]
) -> Writer:
    """A writer for the body of a function whose graph's inputs have these names."""
    inner = Writer(graph, w.model, name, w)
    before = len(w.model.items)
    inner.names.update(zip(graph.inputs, inputs, strict=True))
    inner.write_nodes()
    if len(w.model.items) > before:
        refused = w.model.items[before:]
        del w.model.items[before:]
        raise UnsupportedError("; ".join(refused), refused)
    return inner


def _add(
    inner: Writer, name: Name, inputs: Sequence[tuple[Name, TensorType]], result: Name
) -> None:
    """Put a function into the model."""
    proto = message("GraphProto")(name=name)
    for own, type_ in inputs:
        info = proto.input.add(name=own)
        fill_type(info.tensor.add(name=own), type_)
    for own in inner.extra:
        info = proto.input.add(name=own)
        fill_type(info.tensor.add(name=own), TensorType("int64"))
    proto.output.add(name=result)
    proto.node.extend(inner.used_nodes([result]))
    inner.model.functions.append(proto)


def _result(inner: Writer, values: Sequence[Value]) -> Name:
    # MindSpore's functions cannot hand out a parameter of the model itself, but a copy of it.
    names = [
        inner.primitive("TensorMove", inner.name(value), type=inner.type(value))
        if inner.graph.is_param(value)
        else inner.name(value)
        for value in values
    ]
    return names[0] if len(names) == 1 else inner.tuple_of(names, [inner.type(v) for v in values])


def _items(w: Writer, whole: Name, types: Sequence[TensorType]) -> list[Name]:
    if len(types) == 1:
        return [whole]
    return [w.item(whole, position, type_) for position, type_ in enumerate(types)]


@writes("if")
def _if(w: Writer, node: Node, condition: Name, *captures: Name) -> list[Name]:
    partials = []
    for word, key in (("then", "then_branch"), ("else", "else_branch")):
        graph: Graph = node.attrs[key]
        name = w.model.fresh(f"{w.graph_name}_{word}")
        inputs = [w.model.fresh(f"{name}:{value.node}") for value in graph.inputs]
        types = [graph.type(value) for value in graph.inputs]
        inner = _function(w, graph, name, inputs, types)
        _add(inner, name, list(zip(inputs, types, strict=True)), _result(inner, graph.outputs))
        extra = list(inner.extra.values())
        partials.append(w.primitive("Partial", name, *captures, *extra, type="function"))
    chosen = w.primitive("Switch", condition, *partials, type="function")
    types = list(node.types)
    whole = w.call(f"REF::{chosen}", [], types[0] if len(types) == 1 else types, "call")
    return _items(w, whole, types)


@writes("loop")
def _loop(
    w: Writer, node: Node, trip_count: Name | None, condition: Name | None, *values: Name
) -> list[Name | None]:
    """``head(going, values) = switch(going, body, rest)``, where the body calls the head.

    A loop that counts has two more values: the number of iterations so far and their limit.
    """
    graph: Graph = node.attrs["body"]
    carried: int = node.attrs["carried"]
    if len(graph.outputs) > 1 + carried:
        raise UnsupportedError("a loop that stacks its results")
    counted = any(user for user in w.graph.users(node.outputs[-1])) or (
        node.outputs[-1] in w.graph.outputs
    )
    counting = counted or trip_count is not None or _is_used(graph, graph.inputs[0])
    going = condition if condition is not None else w.scalar(True, "bool")
    types = [graph.type(value) for value in graph.inputs[2:]]
    given: list[Name] = list(values)
    if counting:
        given.append(w.scalar(0, "int64"))
        types.append(_WHOLE)
    if trip_count is not None:
        limit = w.reshape(trip_count, (), "int64") if w.type(node.inputs[0]).rank else trip_count
        given.append(limit)
        types.append(_WHOLE)
        going = _goes_on(w, going, w.scalar(0, "int64"), limit)
    head, body, rest = (w.model.fresh(f"{w.graph_name}_{s}") for s in ("while", "body", "after"))
    # The body.
    names = [w.model.fresh(f"{body}:{value.node}") for value in graph.inputs]
    names[1] = w.scalar(True, "bool")
    own = [*names[2:], *([names[0]] if counting else [])]
    if trip_count is not None:
        own.append(w.model.fresh(f"{body}:limit"))
    inner = _function(w, graph, body, names, types)
    following = [inner.name(value) for value in graph.outputs] + own[carried:]
    if counting:
        place = 1 + len(names) - 2  # behind the condition and the values of the loop
        one_more = inner.function("Add", names[0], w.scalar(1, "int64"), type=_WHOLE)
        following[place] = one_more
        if trip_count is not None:
            following[0] = _goes_on(inner, following[0], one_more, own[-1])
    extra = list(inner.extra)
    results = list(range(carried)) + ([len(names) - 2] if counted else [])
    final_types = [types[k] for k in results]
    call_type = final_types[0] if len(results) == 1 else final_types
    result = inner.call(f"REF::{head}", [*following, *extra], call_type, "call")
    _add(inner, body, list(zip(own, types, strict=True)), result)
    # What follows: the carried values.
    after = Writer(Graph(str(rest)), w.model, rest, w)
    ends = [w.model.fresh(f"{rest}:value{k}") for k in range(len(results))]
    whole = ends[0] if len(ends) == 1 else after.tuple_of(ends, final_types)
    _add(after, rest, list(zip(ends, final_types, strict=True)), whole)
    # The head.
    top = Writer(Graph(str(head)), w.model, head, w)
    own = [w.model.fresh(f"{head}:value{k}") for k in range(len(types))]
    test = w.model.fresh(f"{head}:going")
    passed = [w.model.fresh(f"{head}:extent{k}") for k in range(len(extra))]
    top.extra = dict(zip(passed, inner.extra.values(), strict=True))
    one = top.primitive("Partial", body, *own, *passed, type="function")
    other = top.primitive("Partial", rest, *(own[k] for k in results), type="function")
    chosen = top.primitive("Switch", test, one, other, type="function")
    found = top.call(f"REF::{chosen}", [], call_type, "call")
    inputs = [(test, TensorType("bool")), *zip(own, types, strict=True)]
    _add(top, head, inputs, found)
    called = w.call(f"REF::{head}", [going, *given, *inner.extra.values()], call_type, "call")
    items: list[Name | None] = list(_items(w, called, final_types))
    if not counted:
        return [*items, None]
    count, type_ = items[-1], node.types[-1]
    assert count is not None
    return [*items[:-1], w.reshape(count, type_.shape, "int64") if type_.rank else count]


_WHOLE = TensorType("int64")


def _goes_on(w: Writer, going: Name, count: Name, limit: Name) -> Name:
    """Whether a loop goes on that has run ``count`` times and may ``limit`` times."""
    flag = TensorType("bool")
    return w.function("LogicalAnd", going, w.function("Less", count, limit, type=flag), type=flag)


def _is_used(graph: Graph, value: Value) -> bool:
    return bool(graph.users(value)) or value in graph.outputs
