"""Graphs as text: printed, read back, and refused where the text is broken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opweave.ir import (
    Array,
    Graph,
    LazyArray,
    ModelError,
    TensorType,
    UnsupportedError,
    check,
    symbol,
)
from opweave.ir import dim as dims
from opweave.ir.dot import to_dot
from opweave.ir.same import same
from opweave.ir.text import large_parameters, parse_graph, print_graph
from opweave.ops.control import if_
from opweave.ops.create import extents
from opweave.ops.elementwise_activation import leaky_relu, relu
from opweave.ops.elementwise_arithmetic import add, clip, mul
from opweave.ops.fused import fused
from opweave.ops.matmul import matmul
from opweave.ops.movement import concat, slice_
from opweave.ops.registry import operators
from opweave.ops.reshape import reshape
from opweave.ops.top_k import top_k


def round_trip(graph: Graph) -> Graph:
    """The graph read from its text; printing it again must give the same text."""
    text = print_graph(graph)
    again = parse_graph(text, operators(), large_parameters(graph))
    check(again)
    assert print_graph(again) == text
    assert same(graph, again)
    assert same(again, graph)
    assert dict(again.symbols) == dict(graph.symbols)
    assert set(again.equalities) == set(graph.equalities)
    return again


def test_text_of_a_small_graph() -> None:
    graph = Graph("example")
    n = symbol("n", 1, 8)
    x = graph.input("x", TensorType("float32", (n, 2)))
    w = graph.param(np.array([[1, 0.1], [-0.0, np.inf]], np.float32), "w")
    product = graph.add(matmul, x, w, name="product")
    graph.output(graph.add(leaky_relu, product, alpha=0.5, name="y"), "result")
    assert print_graph(graph) == (
        "graph example {\n"
        "  symbol n: 1 .. 8\n"
        "  input x: float32[n, 2]\n"
        "  param w: float32[2, 2] = [1.0, 0.1, -0.0, inf]\n"
        "  product: float32[n, 2] = matmul(x, w, transpose_a=False, transpose_b=False)\n"
        "  y: float32[n, 2] = leaky_relu(product, alpha=0.5)\n"
        "  output result = y\n"
        "}\n"
    )
    assert str(graph) == print_graph(graph)
    assert round_trip(graph).type(graph.outputs[0]).shape == (n, 2)


def test_strange_names() -> None:
    graph = Graph('a "graph" {\n')
    n = symbol("sequence length", 2)
    x = graph.input("x:0", TensorType("int64", (n,)))
    y = graph.input("größe/\u2028", TensorType("int64", (symbol("None"),)))
    output = graph.input("output", TensorType("int64", (1,)))
    joined = graph.add(concat, x, y, output, axis=0, name="[0] = (")
    graph.output(graph.add(relu, joined, name="param"), "the\nresult # {")
    again = round_trip(graph)
    assert again.output_names == graph.output_names
    assert again.name == graph.name


def test_large_parameters_are_taken_from_outside() -> None:
    graph = Graph("large")
    x = graph.input("x", TensorType("float32", (3, 5)))
    weights = np.arange(40, dtype=np.float32).reshape(5, 8)
    held = LazyArray(TensorType.of(weights), lambda: weights)
    graph.output(graph.add(matmul, x, graph.param(held, "w")), "y")
    text = print_graph(graph)
    assert "..." in str(graph)
    round_trip(graph)
    with pytest.raises(ModelError, match=r"line 3: parameter 'w' needs an array with the digest"):
        parse_graph(text, operators())
    by_name = parse_graph(text, operators(), {"w": weights})
    assert same(graph, by_name)
    with pytest.raises(ModelError, match="another digest"):
        parse_graph(text, operators(), {"w": weights + 1})
    lazy = LazyArray(held.type, lambda: weights + 1)
    with pytest.raises(ModelError, match="another digest"):
        same(graph, parse_graph(text, operators(), {"w": lazy}))
    with pytest.raises(ModelError, match=r"is float32\[5, 8\]; the array given for it is"):
        parse_graph(text, operators(), {"w": weights.T})
    assert same(graph, parse_graph(str(graph), operators(), {"w": weights}))


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.1, 1e-45, -1e38, np.nan, -np.inf], np.float32),
        np.array([0.1, 5e-324, 1e308], np.float64),
        np.array([0.1, 6e-8, 65504], np.float16),
        np.array([-128, 127], np.int8),
        np.array([2**64 - 1, 0], np.uint64),
        np.array([[True], [False]]),
        np.array(7, np.int32),
        np.zeros((0, 3), np.float32),
        np.array([0x7FC00001, 0xFFC00000], np.uint32).view(np.float32),
    ],
    ids=lambda array: str(array.dtype),
)
def test_parameters_keep_every_bit(array: Array) -> None:
    graph = Graph("bits")
    graph.output(graph.param(array, "p"), "y")
    again = round_trip(graph)
    assert again.array(again.outputs[0]).tobytes() == array.tobytes()


def test_bfloat16_parameters() -> None:
    import ml_dtypes

    graph = Graph("bits")
    graph.output(graph.param(np.array([0.1, -3e38, np.inf], ml_dtypes.bfloat16), "p"), "y")
    round_trip(graph)


def test_measured_symbols_equalities_and_results() -> None:
    graph = Graph("measured")
    n, m = symbol("n"), symbol("m", 1)
    x = graph.input("x", TensorType("float32", (n, m)))
    y = graph.input("y", TensorType("float32", (m, n)))
    count = graph.input("count", TensorType("int64", (2,)))
    both = graph.add(add, x, y, name="both")
    rows = graph.measure(count, 1, lower=0)
    part = graph.add(slice_, both, starts=(0, 0), sizes=(rows, n), steps=(1, 1), name="part")
    best = graph.add_node(top_k, [part], {"k": 1, "axis": 1}, name="best")
    flat = graph.add(reshape, part, shape=(rows * n,), name="flat")
    graph.output(best.outputs[1], "places")
    graph.output(best.outputs[0], "largest")
    graph.output(flat, "flat")
    text = print_graph(graph)
    assert '  measure "count.1" = count at 1\n' in text
    assert "equal n, m for both" in text
    assert 'symbol("count.1")' in text
    assert "output places = best[1]" in text
    round_trip(graph)


def branches(n: dims.Extent) -> tuple[Graph, Graph]:
    made = []
    for name, op in (("then", relu), ("else", leaky_relu)):
        branch = Graph(name)
        branch.output(branch.add(op, branch.input("x", TensorType("float32", (n,)))), "y")
        made.append(branch)
    return made[0], made[1]


def test_graphs_in_attributes() -> None:
    graph = Graph("nested")
    n = symbol("n", 3)
    condition = graph.input("if", TensorType("bool"))
    x = graph.input("x", TensorType("float32", (n,)))
    then_branch, else_branch = branches(n)
    attributes = {"then_branch": then_branch, "else_branch": else_branch}
    chosen = graph.add_node(if_, [condition, x], attributes, name="chosen")
    group = Graph("group")
    inside = group.input("x0", TensorType("float32", (n,)))
    scale = group.param(np.arange(17, dtype=np.float32), "scale")
    group.output(
        group.add(mul, inside, group.add(slice_, scale, starts=(0,), sizes=(n,), steps=(1,))),
        "result",
    )
    graph.output(graph.add(fused, chosen.outputs[0], group=group, name="both"), "y")
    text = print_graph(graph)
    assert '  chosen: float32[n] = "if"("if", x) {\n    then_branch = graph then {\n' in text
    round_trip(graph)


def test_bounds_are_kept_even_where_they_differ() -> None:
    graph = Graph("bounds")
    x = graph.input("x", TensorType("float32", (symbol("n", 1, 5), symbol("n", 2))))
    graph.output(x, "y")
    assert 'symbol("n", 2, None)' in print_graph(graph)
    round_trip(graph)


SYMBOLS = [symbol("n"), symbol("m", 1, 9), symbol("a b", 2)]


def combined(children: st.SearchStrategy[dims.Extent]) -> st.SearchStrategy[dims.Extent]:
    def apply(operation: str, left: dims.Extent, right: dims.Extent) -> dims.Extent:
        if operation == "//":
            return dims.floor_divide(left, right) if right != 0 else left
        functions = {
            "+": lambda: left + right,
            "-": lambda: left - right,
            "*": lambda: left * right,
            "max": lambda: dims.maximum(left, right),
            "min": lambda: dims.minimum(left, right),
        }
        return functions[operation]()

    return st.builds(
        apply, st.sampled_from(["+", "-", "*", "//", "max", "min"]), children, children
    )


EXTENTS = st.recursive(st.sampled_from(SYMBOLS) | st.integers(-3, 9), combined, max_leaves=6)


@given(st.lists(EXTENTS, max_size=3), st.floats(), st.text(max_size=4))
@settings(max_examples=60, deadline=None)
def test_attributes_round_trip(values: list[dims.Extent], low: float, name: str) -> None:
    graph = Graph(name)
    table = graph.add(extents, values=tuple(values))
    x = graph.input("x", TensorType("float32", ()))
    if low == low:
        graph.output(graph.add(clip, x, low=low), name)
    graph.output(table, name + "2")
    round_trip(graph)


GOOD = """graph g {
  input x: float32[n]
  y: float32[n] = relu(x)
  output y = y
}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("graph g {", "g {", "line 1: a graph begins with"),
        ("}", "", "line 6: the text ends inside a graph"),
        ("}\n", "}\nmore", "line 6: there is text after the graph"),
        ("relu(x)", "relux(x)", "line 3: there is no operator 'relux'"),
        ("relu(x)", "relu(x, slope=1)", "line 3: .*unknown attribute slope"),
        ("relu(x)", "relu(z)", "line 3: .*no node 'z'"),
        ("relu(x)", "relu(x[1])", "line 3: .*no output 1"),
        ("relu(x)", "relu(x", "line 3: relu.x is no expression"),
        ("relu(x)", "relu", "line 3: relu is no operator with operands"),
        ("y: float32[n] =", "y: float32[m] =", r"line 3: inference gives float32\[n\]"),
        ("y: float32[n] =", "y: float32 =", "line 3: float32 is no type such as"),
        ("y: float32[n] =", "y float32[n] =", "line 3: ':' is missing"),
        ("y: float32[n] =", "x: float32[n] =", "line 3: there are two nodes called 'x'"),
        ("output y = y", "output y", "line 4: '=' is missing"),
        ("output y = y", "output y = q", "line 4: .*no node 'q'"),
        ("output y = y", "measure k = y at 0", "line 4: .*only int64"),
        ("output y = y", "measure k = y at -1", "line 4: -1 is no position"),
        ("output y = y", "symbol n: two", "line 4: two are no bounds"),
        ("output y = y", "symbol n: 5 .. 4\n input z: float32[n]", "line 5: .*below lower"),
        ("output y = y", "equal n for y", "line 4: two extents are equal"),
        ("output y = y", "equal n, m for z", "line 4: .*no node 'z'"),
        ("output y = y", "param p: float32[2] = [1.0]", r"line 4: 1 numbers are given"),
        ("output y = y", "param p: int8[1] = [300]", "line 4: .*cannot be int8"),
        ("output y = y", "param p: int8[1] = [1.5]", "line 4: .*cannot be int8"),
        ("output y = y", "param p: int8[n] = [1]", "line 4: "),
        ("output y = y", "param p: int8[1] = [__import__('os')]", "line 4: .*with these arg"),
        ("float32[n]\n", "float32[n % 2]\n", "line 2: extents know"),
        ("float32[n]\n", "float32[1.5]\n", "line 2: 1.5 is not an extent"),
        ("float32[n]\n", "float32[n // 0]\n", "line 2: .*by zero"),
        ("float32[n]\n", "float32[" + "-" * 5000 + "n]\n", "line 2: "),
        ("float32[n]\n", "float32[" + "(" * 5000 + "n]\n", "line 2: "),
        ("float32[n]\n", "float32[" + "9" * 5000 + "]\n", "line 2: "),
        ("float32[n]\n", 'float32["n]\n', "line 2: .*unterminated"),
        ("y: float32[n]", '"y: float32[n]', "line 3: a quotation mark"),
        ("graph g {", "graph g {\n" + "a: float32[1] = fused() {\n b = graph q {\n" * 40, "deep"),
    ],
)
def test_broken_text(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ModelError, match=message):
        parse_graph(GOOD.replace(old, new), operators())


def test_unknown_element_type() -> None:
    with pytest.raises(UnsupportedError, match="line 2: element type 'float33'"):
        parse_graph(GOOD.replace("x: float32", "x: float33"), operators())


def test_comments_and_white_space() -> None:
    text = "# about\n\n" + GOOD.replace("\n", "\n\n  # note\n")
    assert same(parse_graph(text, operators()), parse_graph(GOOD, operators()))


def test_unprintable_attributes() -> None:
    graph = Graph("g")
    x = graph.input("x", TensorType("float32", (2,)))
    graph.output(graph.add(leaky_relu, x, alpha=object()), "y")
    with pytest.raises(ModelError, match="the type object cannot be written"):
        print_graph(graph)


def test_long_sums_are_read() -> None:
    n = symbol("n")
    total: dims.Extent = 0
    for k in range(200):
        total = total + dims.floor_divide(n, k + 2)
    graph = Graph("long")
    graph.output(graph.input("x", TensorType("float32", (total,))), "y")
    round_trip(graph)


def test_picture() -> None:
    graph = Graph("picture")
    n = symbol("n")
    condition = graph.input("condition", TensorType("bool"))
    x = graph.input('x"', TensorType("float32", (n,)))
    then_branch, else_branch = branches(n)
    attributes = {"then_branch": then_branch, "else_branch": else_branch}
    chosen = graph.add_node(if_, [condition, x], attributes, name="chosen")
    graph.output(chosen.outputs[0], "y")
    text = to_dot(graph)
    assert text.count("{") == text.count("}") == 3
    assert '"x\\"" -> "chosen" [label="1"];' in text
    assert '"condition" -> "chosen"' in text
    assert to_dot(graph) == text
