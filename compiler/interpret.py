"""Running a graph in plain Python: by the operators' references, or by their kernel bodies.

The references are the meaning of a graph; folding constants and tests use them. Running the
kernel bodies without a compiler finds their mistakes with Python's own tools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..ir import Array, Graph, ModelError, Node, TensorType, Value, View, Workspace
from ..ir import dim as dims
from ..ir.data_type import numpy_type
from ..ir.graph import INPUT, PARAMETER


def run_reference(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of ``graph``, each node computed by its NumPy reference."""
    return _run(graph, inputs, reference_of)


def run_kernels(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of ``graph``, each node computed by its kernel bodies in plain Python."""
    return _run(graph, inputs, kernels_of)


def reference_of(
    node: Node, operands: Sequence[Array | None], types: Sequence[TensorType], attrs: Mapping[str, Any]
) -> list[Array]:
    """Results of one node by its reference, of the declared types."""
    with np.errstate(all="ignore"):
        found = node.op.reference(*operands, **attrs)
    results = list(found) if isinstance(found, tuple) else [found]
    if len(results) != len(types):
        raise ModelError(f"{node}: the reference gives {len(results)} results, not {len(types)}")
    arrays = []
    for result, type_ in zip(results, types, strict=True):
        array = np.asarray(result).astype(type_.numpy, copy=False)
        if array.shape != type_.shape:
            raise ModelError(f"{node}: the reference gives {array.shape}, inference {type_}")
        arrays.append(array)
    return arrays


def kernels_of(
    node: Node, operands: Sequence[Array | None], types: Sequence[TensorType], attrs: Mapping[str, Any]
) -> list[Array]:
    """Results of one node by its kernel bodies (elementwise: by its scalar function).

    Half-precision operands are computed in float32, as targets do.
    """
    op = node.op
    if op.scalars:
        return reference_of(node, operands, types, attrs)
    wide = [None if a is None else widened(a, op.traits) for a in operands]
    input_types = [None if array is None else TensorType.of(array) for array in wide]
    output_types = [widened_type(type_, op.traits) for type_ in types]
    memory: list[Array | None] = [
        *(None if array is None else np.ascontiguousarray(array) for array in wide),
        *(_uninitialised(type_) for type_ in output_types),
    ]
    workspaces: dict[str, Array] = {}
    empty = all(type_.size == 0 for type_ in output_types)
    for call in () if empty else op.calls(input_types, output_types, attrs):
        arrays = [_seen(view, memory, workspaces) for view in call.operands]
        kind = numpy_type(call.computing_type).type if call.computing_type else float
        scalars = [kind(s) if isinstance(s, float) else s for s in call.scalars]
        with np.errstate(all="ignore"):
            for item in range(dims.evaluate(call.items, {})):
                if call.body(item, *arrays, *scalars):
                    raise ModelError(f"{node}: {call.error or 'the kernel failed'}")
    results = [array for array in memory[len(operands) :] if array is not None]
    return [r.astype(t.numpy, copy=False) for r, t in zip(results, types, strict=True)]


def widened_type(type_: TensorType, traits: frozenset[str]) -> TensorType:
    """float32 in place of the half types, unless the operator only moves elements."""
    if type_.dtype in ("float16", "bfloat16") and not traits & {"movement", "view"}:
        return type_.with_dtype("float32")
    return type_


def widened(array: Array, traits: frozenset[str]) -> Array:
    """The array with the type :func:`widened_type` gives it."""
    return array.astype(widened_type(TensorType.of(array), traits).numpy, copy=False)


def _uninitialised(type_: TensorType) -> Array:
    """Memory filled with a pattern, so that a kernel that forgets an element is found."""
    array = np.empty(type_.static_shape, type_.numpy)
    array.reshape(-1).view(np.uint8)[...] = 0xA5 if type_.dtype != "bool" else 1
    return array


def _seen(view: View, memory: Sequence[Array | None], workspaces: dict[str, Array]) -> Array:
    if isinstance(view.source, Workspace):
        held: Array | None = workspaces.setdefault(
            view.source.key, _uninitialised(view.source.type)
        )
    else:
        held = memory[view.source]
    if held is None:
        raise ModelError("a kernel looks at an operand that was left out")
    shape = [dims.evaluate(extent, {}) for extent in view.shape]
    seen = held.reshape(shape)
    if not np.shares_memory(seen, held) and held.size:
        raise ModelError("a kernel's view of an operand is a copy")
    return seen


def _run(graph: Graph, inputs: Sequence[Array], compute: Any) -> list[Array]:
    if len(inputs) != len(graph.inputs):
        raise ModelError(f"graph {graph.name!r} has {len(graph.inputs)} inputs, not {len(inputs)}")
    values: dict[Value, Array] = dict(zip(graph.inputs, map(np.asarray, inputs), strict=True))
    symbols = bind_symbols([graph.type(value) for value in graph.inputs], inputs)
    by_source: dict[Value, list[tuple[str, int]]] = {}
    for name, (source, position) in graph.symbols.items():
        by_source.setdefault(source, []).append((name, position))
    for node in graph.nodes():
        if node.op is PARAMETER:
            values[node.outputs[0]] = graph.array(node.outputs[0])
        elif node.op is not INPUT:
            types = [type_.substitute(symbols) for type_ in node.types]
            operands = [None if value is None else values[value] for value in node.inputs]
            attrs = {name: bound(value, symbols) for name, value in node.attrs.items()}
            values.update(zip(node.outputs, compute(node, operands, types, attrs), strict=True))
        for value in node.outputs:
            for name, position in by_source.get(value, ()):
                symbols[name] = int(values[value].reshape(-1)[position])
    return [values[value] for value in graph.outputs]


def bound(value: Any, symbols: Mapping[str, int]) -> Any:
    """An attribute value with its symbolic extents replaced by numbers where known."""
    if isinstance(value, dims.Dim):
        return dims.substitute(value, symbols)
    if isinstance(value, tuple):
        return tuple(bound(item, symbols) for item in value)
    return value


def bind_symbols(types: Sequence[TensorType], inputs: Sequence[Array]) -> dict[str, int]:
    """Values of the symbols that stand alone as extents of inputs; checks all other extents."""
    symbols: dict[str, int] = {}
    for type_, array in zip(types, inputs, strict=True):
        shape = np.shape(array)
        if len(shape) != type_.rank:
            raise ModelError(f"an input of shape {shape} was given where {type_} is declared")
        for extent, size in zip(type_.shape, shape, strict=True):
            if isinstance(extent, dims.Dim) and (name := dims.symbol_name(extent)) is not None:
                symbols.setdefault(name, size)
    for type_, array in zip(types, inputs, strict=True):
        found = type_.substitute(symbols)
        if found.shape != np.shape(array):
            raise ModelError(f"an input of shape {np.shape(array)} was given where {found} is needed")
    return symbols
