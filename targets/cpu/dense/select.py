"""The pass that hands dense operators with constant weights to the generated kernels."""

from __future__ import annotations

from collections.abc import Callable

from ....compiler.pass_ import Pass
from ....ir import Array, Graph, LazyArray, Node, TensorType, Value
from ....ir.dim import product
from ....ir.graph import read_array
from ....ops.matmul import matmul
from ..choices import Choices
from .matmul import pack_columns, packed_matmul, panel_columns
from .strassen import strassen_matmul
from .strassen_plan import StrassenPlan, pack_quarters, strassen_plan


def select_dense_pass(choices: Choices) -> Pass:
    """The pass for these choices."""
    return Pass("select_dense", lambda graph: select_dense(graph, choices))


def select_dense(graph: Graph, choices: Choices) -> int:
    """Replace products with constant float32 weights by packed ones."""
    changes = 0
    for name in [node.name for node in graph.operators()]:
        node = graph.node(name)  # as it is now: replacing others has changed its operands
        replacement = None
        if node.op is matmul:
            replacement = _packed_matmul(graph, node, choices)
        if replacement is not None:
            graph.replace(node.outputs[0], replacement)
            changes += 1
    if changes:
        graph.prune()
    return changes


def _packed(
    graph: Graph, value: Value, shape: tuple[int, ...], pack: Callable[[Array], Array]
) -> Value:
    """A parameter made from another one when the program is loaded."""

    source = graph.params[value.node]

    def load() -> Array:
        return pack(read_array(source))

    held = LazyArray(TensorType("float32", shape), load)
    return graph.param(held, f"{value.node}.packed")


def _packed_matmul(graph: Graph, node: Node, choices: Choices) -> Value | None:
    x, w = node.operands
    types = graph.type(x), graph.type(w)
    if not graph.is_param(w) or types[1].rank != 2 or types[0].dtype != "float32":
        return None
    if types[0].rank < 2 or (node.attrs["transpose_a"] and types[0].rank > 1):
        return None
    transposed = node.attrs["transpose_b"]
    inner, columns = types[1].static_shape[::-1] if transposed else types[1].static_shape
    # A symbolic extent that is only assumed to be the matrix's stays with the plain kernel.
    if 0 in (inner, columns) or types[0].shape[-1] != inner:
        return None
    width, rows = choices.width, product(types[0].shape[:-1])
    if not choices.exact:
        plan = strassen_plan(rows, inner, columns, width)
        if plan is not None:
            return _strassen_matmul(graph, node, plan)
    panel = panel_columns(rows, columns, width)
    shape = (-(-columns // panel), inner, panel)
    packed = _packed(
        graph, w, shape, lambda array: pack_columns(array.T if transposed else array, panel)
    )
    return graph.add(
        packed_matmul, x, packed, columns=columns, width=width, name=node.name, origin=node.origin
    )


def _strassen_matmul(graph: Graph, node: Node, plan: StrassenPlan) -> Value:
    x, w = node.operands
    transposed = node.attrs["transpose_b"]
    packed = _packed(
        graph,
        w,
        plan.packed_shape,
        lambda array: pack_quarters(array.T if transposed else array, plan),
    )
    attributes = {"columns": plan.columns, "width": plan.width}
    return graph.add(strassen_matmul, x, packed, name=node.name, origin=node.origin, **attributes)
