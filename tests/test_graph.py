"""Graphs: building, replacing, removing, copies and symbols."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opweave.ir import (
    Array,
    Graph,
    LazyArray,
    LimitError,
    ModelError,
    Node,
    TensorType,
    Value,
    check,
    levels,
    symbol,
)
from opweave.ir import graph as graph_module
from opweave.ir.evaluate import evaluate
from opweave.ir.levels import level_of
from opweave.ir.same import same
from opweave.ops.cast import cast
from opweave.ops.control import if_
from opweave.ops.elementwise_activation import leaky_relu, relu
from opweave.ops.elementwise_arithmetic import add, mul, neg
from opweave.ops.movement import expand
from opweave.ops.reshape import identity, reshape
from opweave.ops.top_k import top_k

X = TensorType("float32", (symbol("n"), 3))


def chain(length: int) -> tuple[Graph, list[Value]]:
    graph = Graph("chain")
    values = [graph.input("x", X)]
    for _ in range(length):
        values.append(graph.add(relu, values[-1]))
    graph.output(values[-1], "y")
    return graph, values


def test_building() -> None:
    graph = Graph("g")
    x = graph.input("x", X)
    b = graph.param(np.ones(3, np.float32), "b")
    y = graph.add(add, x, b, origin="line 7")
    graph.output(y)
    check(graph)
    node = graph.node("add")
    assert str(node) == "add 'add' (from line 7)"
    assert node.operands == (x, b)
    assert [user.name for user in graph.users(x)] == ["add"]
    assert graph.readers("x") == ["add"]
    assert graph.use_count(y) == 1
    assert graph.is_param(b)
    assert not graph.is_param(x)
    assert not graph.is_param(None)
    assert graph.output_names == ("add",)
    assert graph.add(relu, y) == Value("relu")
    assert graph.add(relu, y) == Value("relu_4")
    with pytest.raises(nx.NetworkXError):
        graph.nx.add_edge("x", "b")
    with pytest.raises(TypeError):
        graph.params["b"] = np.ones(3)  # type: ignore[index]


def test_mistakes_are_named() -> None:
    graph = Graph("g")
    x = graph.input("x", X)
    with pytest.raises(ModelError, match="already has a node 'x'"):
        graph.input("x", X)
    with pytest.raises(ModelError, match="has no node 'z'"):
        graph.add(relu, Value("z"))
    with pytest.raises(ModelError, match="has no output 1"):
        graph.add(relu, Value("x", 1))
    with pytest.raises(ModelError, match=r"node 'add' \(from here\): .*do not broadcast"):
        graph.add(add, x, graph.param(np.ones(4, np.float32)), origin="here")
    with pytest.raises(ModelError, match="given 1 operands"):
        graph.add(add, x)
    with pytest.raises(ModelError, match=r"unknown attribute betta; it has: alpha"):
        graph.add(leaky_relu, x, betta=1.0)
    with pytest.raises(ModelError, match="attribute to must be given"):
        graph.add(cast, x)
    with pytest.raises(ModelError, match="has 2 outputs; use add_node"):
        graph.add(top_k, x, k=1)
    graph.output(x, "y")
    with pytest.raises(ModelError, match="already has an output 'y'"):
        graph.output(x, "y")
    with pytest.raises(ModelError, match="only int64 tensors give extents"):
        graph.measure(x, 0)
    count = graph.input("count", TensorType("int64", (2,)))
    with pytest.raises(ModelError, match="has no element 2"):
        graph.measure(count, 2)


def test_order_is_that_of_adding_where_it_can_be() -> None:
    graph, values = chain(3)
    late = graph.add(neg, values[0])
    assert [node.name for node in graph.nodes()] == ["x", "relu", "relu_2", "relu_3", late.node]


# --- replace -----------------------------------------------------------------------------


def test_replace() -> None:
    graph, values = chain(3)
    new = graph.add(identity, values[0])
    graph.replace(values[2], new)
    check(graph)
    assert graph.node(values[3].node).operands == (new,)
    assert graph.prune() == 2
    assert len(graph) == 3
    with pytest.raises(ModelError, match=r"is float32\[3\], is float32|is float32\[n, 3\]; "):
        graph.replace(new, graph.param(np.ones(3, np.float32)))


def test_replace_an_output_and_itself() -> None:
    graph, values = chain(2)
    graph.replace(values[2], values[1])
    assert graph.outputs == (values[1],)
    graph.replace(values[1], values[1])
    check(graph)


def test_replace_by_what_is_computed_from_it() -> None:
    graph, values = chain(3)
    wrapped = graph.add(neg, graph.add(neg, values[1]))
    graph.replace(values[1], wrapped)
    check(graph)
    assert graph.node(values[2].node).operands == (wrapped,)
    assert graph.node("neg").operands == (values[1],)
    before, after = (
        evaluate(chain(3)[0], [np.ones((2, 3), np.float32)]),
        evaluate(graph, [np.ones((2, 3), np.float32)]),
    )
    np.testing.assert_array_equal(before[0], after[0])


def test_replace_a_later_value_by_an_earlier_one_and_back() -> None:
    graph, values = chain(6)
    other = graph.input("other", X)
    deep = other
    for _ in range(20):
        deep = graph.add(neg, deep)
    graph.replace(values[1], deep)
    check(graph)
    again = graph.add(relu, values[0])
    graph.replace(deep, again)
    check(graph)
    assert graph.node(values[2].node).operands == (again,)


def test_replace_moves_measured_symbols_and_their_edges() -> None:
    graph = Graph("g")
    count = graph.input("count", TensorType("int64", (1,)))
    x = graph.input("x", TensorType("float32", (1,)))
    double = graph.add(add, count, count)
    size = graph.measure(double, 0, "size")
    y = graph.add(expand, x, shape=(size,))
    graph.output(y, "y")
    new = graph.add(mul, count, graph.param(np.array([2]), "two"))
    graph.replace(double, new)
    check(graph)
    assert graph.symbols["size"] == (new, 0)
    assert graph.prune() == 1
    check(graph)
    (result,) = evaluate(graph, [np.array([3]), np.ones(1, np.float32)])
    assert result.shape == (6,)
    assert graph.measured_nodes() == {"mul"}


def test_symbols_stay_where_moving_them_would_make_a_cycle() -> None:
    graph = Graph("g")
    count = graph.input("count", TensorType("int64", (1,)))
    x = graph.input("x", TensorType("float32", (1,)))
    double = graph.add(add, count, count)
    size = graph.measure(double, 0, "size")
    wide = graph.add(expand, double, shape=(size,))
    back = graph.add(reshape, wide, shape=(1,))
    graph.output(graph.add(expand, x, shape=(size,)), "y")
    graph.output(double, "z")
    graph.replace(double, back)
    check(graph)
    assert graph.symbols["size"] == (double, 0)
    assert graph.outputs[1] == back


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_random_replacements_never_make_a_cycle(seed: int) -> None:
    random = np.random.default_rng(seed)
    graph = Graph("random")
    values = [graph.input(name, X) for name in "ab"]
    for _ in range(15):
        picked = [values[k] for k in random.integers(len(values), size=2)]
        values.append(graph.add(add, *picked))
    graph.output(values[-1], "y")
    for _ in range(25):
        values = [value for value in values if value.node in graph]
        old, new = (values[k] for k in random.integers(len(values), size=2))
        if random.random() < 0.5:
            new = graph.add(neg, new)
            values.append(new)
        # Replacing what comes later by what comes before it, the other way, and unrelated ones.
        graph.replace(old, new)
        check(graph)
        if random.random() < 0.2:
            graph.drop(old.node)
            check(graph)
        for source, target in graph.nx.edges:
            assert level_of(graph.nx, source) < level_of(graph.nx, target)


def test_levels_are_set_anew_when_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "STEP", 1)
    graph, values = chain(4)
    deep = values[0]
    for _ in range(10):
        deep = graph.add(neg, deep)
    graph.replace(values[1], deep)
    check(graph)
    for source, target in graph.nx.edges:
        assert level_of(graph.nx, source) < level_of(graph.nx, target)


def test_many_replacements_are_fast() -> None:
    graph, values = chain(3000)
    for value in values[1:]:
        graph.replace(value, graph.add(identity, graph.node(value.node).operands[0]))
        graph.drop(value.node)
    check(graph)
    assert len(graph) == 3001


def test_rename() -> None:
    graph = Graph("g")
    count = graph.input("count", TensorType("int64", (2,)))
    p = graph.param(np.array([1, 2]), "p")
    total = graph.add(add, count, p, name="total")
    x = graph.input("x", TensorType("float32", (1, symbol("m"))))
    size = graph.measure(total, 1, "size")
    wide = graph.add(expand, x, shape=(size, symbol("n")), name="wide")
    graph.output(graph.add(mul, wide, wide), "y")
    graph.output(total, "total")
    before = graph.copy()
    for old, new in (("p", "constant"), ("total", "sum"), ("wide", "a b"), ("mul", "product")):
        graph.rename(old, new)
        check(graph)
        assert old not in graph
    assert same(graph, before)
    assert graph.output_names == ("y", "total")
    assert graph.symbols["size"] == (Value("sum"), 1)
    assert {equality.node for equality in graph.equalities} == {"a b"}
    with pytest.raises(ModelError, match="already has a node 'sum'"):
        graph.rename("product", "sum")
    with pytest.raises(ModelError, match="input 'x' is known by its name"):
        graph.rename("x", "z")


def test_take_over() -> None:
    graph, values = chain(3)
    new = graph.add(identity, values[1])
    graph.take_over(values[2].node, new.node)
    check(graph)
    assert graph.node("relu_2").op is identity
    assert len(graph) == 4
    wrapped = graph.add(neg, values[1])
    graph.take_over(values[1].node, wrapped.node)
    check(graph)
    assert graph.node("relu").op is relu, "it is still needed"
    assert graph.node("relu_2").operands == (wrapped,)


# --- removing ----------------------------------------------------------------------------


def test_drop() -> None:
    graph, values = chain(2)
    p = graph.param(np.ones(3, np.float32), "p")
    other = graph.add(mul, graph.add(neg, values[1]), p)
    assert graph.drop(values[1].node) == []
    assert [node.name for node in graph.drop(other.node)] == ["mul", "p", "neg"]
    assert "p" not in graph.params
    assert graph.drop("x") == []
    assert graph.drop("no such node") == []
    check(graph)


def test_prune_keeps_what_measured_symbols_need() -> None:
    graph = Graph("g")
    count = graph.input("count", TensorType("int64", (1,)))
    x = graph.input("x", TensorType("float32", (1,)))
    used, unused = graph.add(neg, count), graph.add(relu, count)
    graph.measure(unused, 0, "unused")
    graph.output(graph.add(expand, x, shape=(graph.measure(used, 0, "used"),)), "y")
    assert graph.prune() == 1
    assert set(graph.symbols) == {"used"}
    check(graph)


def test_assumptions_go_with_their_nodes() -> None:
    graph = Graph("g")
    x = graph.input("x", X)
    y = graph.input("y", TensorType("float32", (symbol("m"), 3)))
    total = graph.add(add, x, y)
    graph.output(graph.add(neg, x), "y")
    assert [(e.left, e.right, e.node) for e in graph.equalities] == [
        (symbol("n"), symbol("m"), "add")
    ]
    graph.drop(total.node)
    assert graph.equalities == ()


# --- copies, symbols, bodies -------------------------------------------------------------


def test_copies_are_independent() -> None:
    graph, values = chain(2)
    other = graph.copy()
    other.replace(values[2], values[0])
    other.prune()
    assert len(graph) == 3
    assert len(other) == 1
    assert same(graph, chain(2)[0])


def test_substitute() -> None:
    graph = Graph("g")
    n = symbol("n")
    x = graph.input("x", TensorType("float32", (n, 3)))
    graph.output(graph.add(reshape, x, shape=(3 * n,)), "y")
    fixed = graph.substitute({"n": 4})
    check(fixed)
    assert fixed.type(fixed.outputs[0]).shape == (12,)
    assert graph.type(graph.outputs[0]).shape == (3 * n,)


def body(name: str, inner: bool) -> Graph:
    """A branch that mentions ``n``: its surroundings' symbol, or one it measures itself."""
    branch = Graph(name)
    count = branch.input("count", TensorType("int64", (1,)))
    n = branch.measure(count, 0, "n") if inner else symbol("n")
    branch.output(branch.add(expand, count, shape=(n,)), "y")
    return branch


def test_symbols_of_bodies() -> None:
    outer, own = body("outer", False), body("own", True)
    fixed_outer, fixed_own = outer.substitute({"n": 3}), own.substitute({"m": 3})
    assert fixed_outer.type(fixed_outer.outputs[0]).shape == (3,)
    assert same(fixed_own, own)
    graph = Graph("g")
    condition = graph.input("condition", TensorType("bool"))
    count = graph.input("count", TensorType("int64", (1,)))
    attributes = {"then_branch": outer, "else_branch": body("else", False)}
    node = graph.add_node(if_, [condition, count], attributes)
    graph.output(node.outputs[0], "y")
    fixed = graph.substitute({"n": 5})
    check(fixed)
    assert fixed.node("if").types[0].shape == (5,)
    assert graph_module.mentioned_symbols(node) == {"n"}
    inside = Node("own", if_, (), {"then_branch": own}, ())
    assert graph_module.mentioned_symbols(inside) == frozenset()
    kept = graph_module.substituted(own, {"n": 7})
    assert same(kept, own)


def test_lazy_arrays() -> None:
    graph = Graph("g")
    reads = []

    def load() -> Array:
        reads.append(1)
        return np.ones((2, 3), np.float32)

    p = graph.param(LazyArray(TensorType("float32", (2, 3)), load), "p")
    graph.output(p)
    check(graph)
    assert not reads
    assert graph.array(p).shape == (2, 3)
    wrong = graph.param(LazyArray(TensorType("float32", (3, 2)), load), "wrong")
    with pytest.raises(ModelError, match=r"is float32\[2, 3\], not float32\[3, 2\] as declared"):
        graph.array(wrong)


def test_limit_on_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "MAXIMUM_NODES", 5)
    with pytest.raises(LimitError, match="more than 5 nodes"):
        chain(5)
