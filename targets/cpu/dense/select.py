"""The pass that hands dense operators to the generated kernels."""

from __future__ import annotations

from ....compiler.pass_ import Pass
from ....ir import Graph, Node, Value
from ....ir.dim import product
from ....ops.matmul import matmul
from ....ops.reshape import reshape
from ..choices import Choices
from ..tuning.choose import choose
from .matmul import packed_matmul, panel_columns
from .pack import packed_columns
from .products import Product, product_candidates

# Fewer rows are not worth packing a matrix for, in every run.
_LEAST_ROWS = 16


def select_dense_pass(choices: Choices) -> Pass:
    """The pass for these choices."""
    return Pass("select_dense", lambda graph: select_dense(graph, choices))


def select_dense(graph: Graph, choices: Choices) -> int:
    """Replace products with a single float32 matrix, constant or large enough, by packed ones."""
    changes = 0
    for name in [node.name for node in graph.operators()]:
        node = graph.node(name)  # as it is now: replacing others has changed its operands
        replacement = None
        if node.op is matmul:
            replacement = _packed_matmul(graph, node, choices)
            if replacement is None:
                replacement = _packed_when_run(graph, node, choices.width)
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
    chosen = choose(graph, [node], product_candidates(graph, known, choices), choices)
    result = chosen.build()
    graph.annotate(result.node, chosen.note)
    return result


def _packed_when_run(graph: Graph, node: Node, width: int) -> Value | None:
    """A product with one matrix that is computed or given, packed in every run."""
    x, w = node.operands
    left, right = graph.type(x), graph.type(w)
    if graph.is_param(w) or left.dtype != "float32" or min(left.rank, right.rank) < 2:
        return None
    rows, (inner, columns) = product(left.shape[:-1]), right.shape[-2:]
    if node.attrs["transpose_b"]:
        inner, columns = columns, inner
    if not (isinstance(rows, int) and isinstance(inner, int) and isinstance(columns, int)):
        return None
    if node.attrs["transpose_a"] or product(right.shape[:-2]) != 1 or right.rank > left.rank:
        return None
    if rows < _LEAST_ROWS or 0 in (inner, columns):
        return None
    matrix = graph.add(reshape, w, shape=right.shape[-2:]) if right.rank > 2 else w
    packed = graph.add(
        packed_columns,
        matrix,
        panel=panel_columns(rows, columns, width),
        transposed=node.attrs["transpose_b"],
        origin=node.origin,
    )
    attributes = {"columns": columns, "width": width}
    result = graph.add(packed_matmul, x, packed, name=node.name, origin=node.origin, **attributes)
    graph.annotate(result.node, "a matrix that is packed in every run")
    return result
