"""Running a graph by its operators' kernel bodies in plain Python.

Slow, but mistakes in a body show up with Python's own tools, before any compiler is involved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..ir import Array, Graph, ModelError, Node, TensorType, View, Workspace
from ..ir import dim as dims
from ..ir.data_type import numpy_type
from ..ir.evaluate import by_reference, evaluate


def run_reference(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of ``graph``, each node computed by its NumPy reference."""
    return evaluate(graph, inputs)


def run_kernels(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of ``graph``, each node computed by its kernel bodies in plain Python."""
    return evaluate(graph, inputs, kernels_of)


def kernels_of(
    node: Node,
    operands: Sequence[Array | None],
    types: Sequence[TensorType],
    attrs: Mapping[str, Any],
) -> list[Array]:
    """Results of one node by its kernel bodies (elementwise: and control flow: by the
    reference).

    Half-precision operands are computed in float32, as targets do.
    """
    op = node.op
    if "fused" in op.traits:
        return evaluate(attrs["group"], [a for a in operands if a is not None], kernels_of)
    if op.traits & {"elementwise", "view", "control", "fused"}:
        return by_reference(node, operands, types, attrs)
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
