"""The pass that hands dense operators with constant weights to the generated kernels."""

from __future__ import annotations

from ....compiler.pass_ import Pass
from ....ir import Graph, Node, Value
from ....ir.dim import product
from ....ops.matmul import matmul
from ..choices import Choices
from ..tuning.choose import choose
from .products import Product, product_candidates


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
    rows = product(types[0].shape[:-1])
    known = Product(
        node, x, w, rows, inner, columns, lambda array: array.T if transposed else array,
        "transposed" if transposed else "plain",
    )  # fmt: skip
    chosen = choose(graph, [node], product_candidates(graph, known, choices, True), choices)
    result = chosen.build()
    graph.annotate(result.node, chosen.note)
    return result
