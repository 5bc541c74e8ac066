"""The ways to compute a product with a constant matrix, as candidates."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

from ....ir import Array, Extent, Graph, LazyArray, Node, TensorType, Value
from ....ir.node import read_array
from ..choices import Choices
from ..tuning.choose import OTHERWISE, Candidate
from .matmul import pack_columns, packed_matmul, panel_columns
from .strassen import strassen_matmul
from .strassen_plan import StrassenPlan, pack_quarters, strassen_plan

# Multiply-adds a second of one core; only ratios matter.
_FLOPS_A_SECOND = 230e9
_SAVED = 7 / 8  # of the multiplications, by Strassen's algorithm
# Results (floats) that only memory holds take the time that Strassen's algorithm saves on
# sums of fewer steps than these: they are written in narrower pieces.
_FAR_RESULTS, _LONG_SUMS = 4_000_000, 128
# Vectors of a panel of packed columns.
_PANELS = (1, 2, 3, 4, 8)


@dataclass(frozen=True, slots=True)
class Product:
    """``x`` [..., inner] times a matrix [inner, columns] made of the parameter ``weights``.

    ``node`` is what the product computes; ``matrix`` gives the matrix from the array of weights,
    and products of equal ``form`` the same from the same array.
    """

    node: Node
    x: Value
    weights: Value
    rows: Extent
    inner: int
    columns: int
    matrix: Callable[[Array], Array]
    form: str


def product_candidates(graph: Graph, product: Product, choices: Choices) -> list[Candidate[Value]]:
    """Packed products with panels of several widths, and Strassen's algorithm where it pays."""
    width, rows = choices.width, product.rows
    flops = 2 * (rows if isinstance(rows, int) else 1) * product.inner * product.columns
    seconds = flops / _FLOPS_A_SECOND
    usual = panel_columns(rows, product.columns, width)
    most = -(-product.columns // width)
    panels = [usual, *(n * width for n in _PANELS if n <= most and n * width != usual)]
    found = [
        Candidate(
            f"packed {panel // width}",
            seconds if panel == usual else seconds * OTHERWISE,
            lambda panel=panel: _packed(graph, product, panel, width),  # type: ignore[misc]
        )
        for panel in panels
    ]
    for levels, name in () if choices.exact else ((1, "strassen"), (2, "strassen twice")):
        plan = strassen_plan(rows, product.inner, product.columns, width, levels)
        if plan is not None:
            made = partial(_strassen, graph, product, plan, choices.threads)
            far = plan.rows * plan.columns > _FAR_RESULTS and plan.depth < _LONG_SUMS
            found.append(Candidate(name, seconds * (OTHERWISE if far else _SAVED**levels), made))
    return found


def _packed(graph: Graph, product: Product, panel: int, width: int) -> Value:
    node = product.node
    shape = (-(-product.columns // panel), product.inner, panel)
    packed = packed_parameter(
        graph,
        product.weights,
        shape,
        lambda array: pack_columns(product.matrix(array), panel),
        ("columns", product.form),
    )
    return graph.add(
        packed_matmul,
        product.x,
        packed,
        columns=product.columns,
        width=width,
        name=node.name,
        origin=node.origin,
    )


def _strassen(graph: Graph, product: Product, plan: StrassenPlan, threads: int) -> Value:
    node = product.node
    packed = packed_parameter(
        graph,
        product.weights,
        plan.packed_shape,
        lambda array: pack_quarters(product.matrix(array), plan),
        ("quarters", product.form, plan),
    )
    attributes = {"columns": plan.columns, "width": plan.width, "threads": threads}
    return graph.add(
        strassen_matmul, product.x, packed, name=node.name, origin=node.origin, **attributes
    )


# What was packed in a graph: from which array, for whom it is, and the parameter it became.
_Packed = dict[tuple[str, tuple[int, ...], Hashable], tuple[Array | LazyArray, str, LazyArray]]
_PACKED: WeakKeyDictionary[Graph, _Packed] = WeakKeyDictionary()


def packed_parameter(
    graph: Graph,
    value: Value,
    shape: tuple[int, ...],
    pack: Callable[[Array], Array],
    layout: Hashable,
) -> Value:
    """A parameter made from another one when the program is loaded.

    Equal ``layout`` and ``shape`` of the same parameter are the same array, made once: the
    steps of a loop that was written out share their weights, and find them in the cache.
    """
    source = graph.params[value.node]
    known = _PACKED.setdefault(graph, {})
    made = known.get((value.node, shape, layout))
    if made is not None and made[0] is source and graph.params.get(made[1]) is made[2]:
        return Value(made[1])

    def load() -> Array:
        return pack(read_array(source))

    held = LazyArray(TensorType("float32", shape), load)
    result = graph.param(held, f"{value.node}.packed")
    known[value.node, shape, layout] = (source, result.node, held)
    return result
