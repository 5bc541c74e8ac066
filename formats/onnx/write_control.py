"""Writers of control flow."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Array, Extent, Graph, Node, UnsupportedError, Value
from .writer import Writer, value_info, writes


def _body(w: Writer, graph: Graph, names: dict[Value, str]) -> Writer:
    """A writer for a subgraph whose inputs have the given names."""
    inner = Writer(graph, w.opset, w)
    inner.names.update(names)
    before = len(w.items)
    inner.write_nodes()
    if len(w.items) > before:
        refused = w.items[before:]
        del w.items[before:]
        raise UnsupportedError("; ".join(refused), refused)
    return inner


def _proto(inner: Writer, inputs: list[Any], outputs: list[Any], name: str) -> Any:
    from onnx import helper

    tensors = [_tensor(inner, key, held) for key, held in inner.initializers]
    return helper.make_graph(inner.nodes, name, inputs, outputs, tensors)


def _tensor(inner: Writer, name: str, held: Value | Array) -> Any:
    from onnx import numpy_helper

    array = inner.graph.array(held) if isinstance(held, Value) else held
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


@writes("if")
def _if(w: Writer, node: Node, condition: str, *captures: str) -> list[str]:
    protos = []
    for key in ("then_branch", "else_branch"):
        graph: Graph = node.attrs[key]
        inner = _body(w, graph, dict(zip(graph.inputs, captures, strict=True)))
        names = [inner.fresh(f"{key}_out") for _ in graph.outputs]
        protos.append(_proto(inner, [], inner.outputs(names), w.fresh(key)))
    return w.add_many(
        "If", (condition,), len(node.types), then_branch=protos[0], else_branch=protos[1]
    )


@writes("loop")
def _loop(
    w: Writer, node: Node, trip_count: str | None, condition: str | None, *values: str
) -> list[str]:
    """ONNX has no count of iterations: it is carried along."""
    graph: Graph = node.attrs["body"]
    carried: int = node.attrs["carried"]
    captured = graph.inputs[2 + carried :]
    names = {value: w.fresh(f"loop_{k}") for k, value in enumerate(graph.inputs[: 2 + carried])}
    names.update(zip(captured, values[carried:], strict=True))
    inner = _body(w, graph, names)
    count = w.fresh("count")
    next_count = inner.fresh("next_count")
    wanted = [inner.fresh(f"loop_out{k}") for k in range(len(graph.outputs))]
    infos = inner.outputs(wanted)
    one = inner.integers([1])
    inner.identity(inner.add("Add", count, one), next_count)
    count_type = w.graph.type(node.outputs[-1])
    inputs = [value_info(names[value], graph.type(value)) for value in graph.inputs[: 2 + carried]]
    inputs.append(value_info(count, count_type))
    infos.insert(1 + carried, value_info(next_count, count_type))
    proto = _proto(inner, inputs, infos, w.fresh("body"))
    zero = w.integers([0])
    scans = len(node.types) - 1 - carried
    operands = [trip_count, condition, *values[:carried], zero]
    found = w.add_many("Loop", operands, carried + 1 + scans, body=proto)
    final, run, stacks = found[:carried], found[carried], found[carried + 1 :]
    limit: Extent = node.attrs["trip_limit"]
    padded = []
    for stack, value in zip(stacks, node.outputs[carried:-1], strict=True):
        rank = w.graph.type(value).rank
        room = w.add("Sub", w.extents([limit]), run)
        pads = [w.integers([0] * rank), room, *([w.integers([0] * (rank - 1))] if rank > 1 else [])]
        dtype = w.graph.type(value).dtype
        source = w.cast(stack, "uint8") if dtype == "bool" else stack
        result = w.add("Pad", source, w.add("Concat", *pads, axis=0))
        padded.append(w.cast(result, dtype) if dtype == "bool" else result)
    return [*final, *padded, run]


@writes("cum_prod")
def _cum_prod(w: Writer, node: Node, x: str) -> str:
    """A scan that multiplies: CumProd came into ONNX with opset 26."""
    from onnx import helper

    type_ = node.types[0]
    axis = type_.axis(node.attrs["axis"])
    slice_ = type_.with_shape(type_.shape[:axis] + type_.shape[axis + 1 :])
    state, element, following, result = (
        w.fresh(f"product_{k}") for k in ("state", "in", "next", "out")
    )
    kept = state if node.attrs["exclusive"] else following
    nodes = [
        helper.make_node("Mul", [state, element], [following]),
        helper.make_node("Identity", [kept], [result]),
    ]
    inputs, outputs = (
        [value_info(name, slice_) for name in names]
        for names in ((state, element), (following, result))
    )
    body = helper.make_graph(nodes, w.fresh("product"), inputs, outputs)
    one = w.constant(np.ones((), slice_.numpy))
    first = w.add("Expand", one, w.extents(slice_.shape))
    back = [int(node.attrs["reverse"])]
    return w.add_many(
        "Scan",
        (first, x),
        2,
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_output_axes=[axis],
        scan_input_directions=back,
        scan_output_directions=back,
    )[1]
