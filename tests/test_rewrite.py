"""The rewriting engine: what patterns find, what rules may do, and how they end."""

from __future__ import annotations

import time

import ml_dtypes
import numpy as np
import pytest

from opweave.compiler.passes import TIDY
from opweave.compiler.passes.recognise import RULES as RECOGNISING
from opweave.compiler.passes.simplify import RULES as SIMPLIFYING
from opweave.compiler.rewrite import (
    Match,
    Pattern,
    Rule,
    apply_rules,
    constant_of,
    explained,
    pattern,
    rule,
)
from opweave.ir import Graph, ModelError, TensorType, Value, check, symbol
from opweave.ops.convolution import convolution
from opweave.ops.elementwise_activation import leaky_relu, relu, sigmoid, swish
from opweave.ops.elementwise_arithmetic import add, mul, neg, sub
from opweave.ops.movement import transpose
from opweave.ops.reshape import identity
from opweave.ops.top_k import top_k

X = TensorType("float32", (symbol("n"), 4))


def start() -> tuple[Graph, Value]:
    graph = Graph("g")
    return graph, graph.input("x", X)


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.operators()]


def found(graph: Graph, wanted: Pattern) -> list[Match]:
    """All matches in a graph, which stays as it is."""
    matches: list[Match] = []
    apply_rules(graph, [Rule("look", wanted, lambda _, match: matches.append(match))])
    return matches


def number(graph: Graph, value: float, dtype: str = "float32") -> Value:
    return graph.param(np.array(value, dtype))


# --- patterns ----------------------------------------------------------------------------


def test_operands_are_ordered() -> None:
    graph, x = start()
    y = graph.add(sub, graph.add(neg, x), x)
    graph.output(y, "y")
    assert len(found(graph, pattern(sub, pattern(neg, "a"), "b"))) == 1
    assert not found(graph, pattern(sub, "a", pattern(neg, "b")))


def test_commuting_operands_are_tried_both_ways() -> None:
    graph, x = start()
    y = graph.add(mul, graph.add(neg, x), graph.add(relu, x))
    graph.output(y, "y")
    wanted = pattern(mul, pattern(relu, "a"), pattern(neg, "b"), commutes=True)
    assert len(found(graph, wanted)) == 1
    assert not found(graph, pattern(mul, pattern(relu, "a"), pattern(neg, "b")))
    nested = pattern(mul, pattern((neg, relu), "a"), pattern((neg, relu), "b"), commutes=True)
    assert len(found(graph, nested)) == 2


def test_a_name_means_one_value() -> None:
    graph, x = start()
    z = graph.input("z", X)
    graph.output(graph.add(mul, x, graph.add(sigmoid, x)), "a")
    graph.output(graph.add(mul, z, graph.add(sigmoid, x)), "b")
    matches = found(graph, pattern(mul, "x", pattern(sigmoid, "x"), commutes=True))
    assert [match["x"] for match in matches] == [x]


def test_values_inside_have_one_reader() -> None:
    graph, x = start()
    inner = graph.add(neg, x)
    graph.output(graph.add(relu, inner), "y")
    wanted = pattern(relu, pattern(neg, "x"))
    assert len(found(graph, wanted)) == 1
    graph.output(inner, "inner")
    assert not found(graph, wanted)


def test_a_value_read_twice_by_one_node_is_no_inner_value() -> None:
    graph, x = start()
    inner = graph.add(neg, x)
    graph.output(graph.add(mul, inner, inner), "y")
    assert not found(graph, pattern(mul, pattern(neg, "x"), pattern(neg, "x")))


@pytest.mark.parametrize(
    ("value", "dtype", "wanted", "matches"),
    [
        (0.1, "float32", 0.1, True),
        (0.1001, "float32", 0.1, False),
        (0.7071, "float16", 0.70710678, True),
        (0.72, "float16", 0.70710678, False),
        (3, "int64", 3.0, True),
        (-0.0, "float32", 0.0, True),
        (1e-30, "float32", 0.0, False),
        (float("nan"), "float32", 1.0, False),
    ],
)
def test_numbers(value: float, dtype: str, wanted: float, matches: bool) -> None:
    graph = Graph("g")
    x = graph.input("x", TensorType(dtype, (3,)))
    graph.output(graph.add(mul, x, number(graph, value, dtype)), "y")
    assert bool(found(graph, pattern(mul, "x", wanted))) == matches


def test_numbers_are_parameters_of_one_element() -> None:
    graph, x = start()
    graph.output(graph.add(mul, x, x), "a")
    graph.output(graph.add(mul, x, graph.param(np.ones(4, np.float32))), "b")
    assert not found(graph, pattern(mul, "x", 1.0))


def test_constant_of() -> None:
    graph, x = start()
    assert constant_of(graph, x) is None
    assert constant_of(graph, graph.param(np.array([[7]]))) == 7
    assert type(constant_of(graph, graph.param(np.array(7)))) is int
    half = constant_of(graph, graph.param(np.array([0.5], ml_dtypes.bfloat16)))
    assert (type(half), half) == (float, 0.5)
    assert constant_of(graph, graph.param(np.array(True))) is True


def test_operands_left_out() -> None:
    graph = Graph("g")
    x = graph.input("x", TensorType("float32", (1, 1, 4)))
    w, b = graph.param(np.ones((1, 1, 1), np.float32)), graph.param(np.ones(1, np.float32))
    graph.output(graph.add(convolution, x, w), "a")
    graph.output(graph.add(convolution, x, w, None), "b")
    graph.output(graph.add(convolution, x, w, b), "c")
    assert len(found(graph, pattern(convolution, "x", "w"))) == 3
    assert len(found(graph, pattern(convolution, "x", "w", None))) == 2
    assert len(found(graph, pattern(convolution, "x", "w", "b"))) == 1


def test_names_and_attributes() -> None:
    graph, x = start()
    graph.output(graph.add(relu, graph.add(leaky_relu, x, alpha=0.25)), "y")
    (match,) = found(graph, pattern(relu, pattern(leaky_relu, "x", name="leaky")))
    assert match.attribute("alpha", "leaky") == 0.25
    assert match.keeps_type("x")
    assert match.constant("x") is None


def test_nodes_of_several_results_do_not_match() -> None:
    graph, x = start()
    best = graph.add_node(top_k, [x], {"k": 1})
    graph.output(graph.add(relu, best.outputs[0]), "y")
    assert not found(graph, pattern(relu, pattern(top_k, "x")))
    assert not found(graph, pattern(top_k, "x"))


def test_depth() -> None:
    assert pattern(relu, "x").depth == 1
    assert pattern(add, pattern(relu, "x"), pattern(mul, "x", pattern(neg, "x"))).depth == 3


# --- rules -------------------------------------------------------------------------------


@rule(pattern(mul, "x", pattern(sigmoid, "x"), commutes=True))
def swish_rule(graph: Graph, match: Match) -> Value | None:
    """x * sigmoid(x) -> swish(x)"""
    return graph.add(swish, match["x"], origin=match.root.name)


@rule(pattern(neg, pattern(neg, "x")))
def twice(graph: Graph, match: Match) -> Value | None:
    """-(-x) -> x"""
    return match["x"]


def test_a_rule() -> None:
    graph, x = start()
    graph.output(graph.add(relu, graph.add(mul, graph.add(sigmoid, x), x)), "y")
    assert apply_rules(graph, [swish_rule]) == 1
    check(graph)
    assert names(graph) == ["swish", "relu"]
    assert swish_rule.name == "swish_rule"
    assert graph.node("mul").op is swish, "the new node has the old one's name"


def test_rules_go_on_until_nothing_fires() -> None:
    graph, x = start()
    value = x
    for _ in range(10):
        value = graph.add(neg, value)
    graph.output(value, "y")
    assert apply_rules(graph, [twice]) == 5
    assert names(graph) == []
    assert graph.outputs == (x,)


def test_a_rewriting_lets_readers_far_down_match() -> None:
    graph, x = start()
    # identity hides that the operand of the outer pattern's inner node is a sigmoid.
    hidden = graph.add(identity, graph.add(sigmoid, x))
    graph.output(graph.add(neg, graph.add(mul, x, hidden)), "y")

    @rule(pattern(neg, pattern(mul, "x", pattern(sigmoid, "x"))))
    def outer(graph: Graph, match: Match) -> Value | None:
        return graph.add(relu, match["x"])

    @rule(pattern(identity, "x"))
    def nothing(graph: Graph, match: Match) -> Value | None:
        return match["x"]

    assert apply_rules(graph, [outer, nothing]) == 2
    assert names(graph) == ["relu"]


def test_losing_a_reader_lets_a_pattern_match() -> None:
    graph, x = start()
    inner = graph.add(neg, x)
    graph.output(graph.add(neg, inner), "a")
    graph.output(graph.add(relu, graph.add(sub, inner, inner)), "b")

    @rule(pattern(relu, pattern(sub, "y", "y")))
    def gone(graph: Graph, match: Match) -> Value | None:
        return graph.add(mul, x, x)

    assert apply_rules(graph, [twice, gone]) == 2
    assert names(graph) == ["mul"]


def test_earlier_rules_go_first() -> None:
    graph, x = start()
    graph.output(graph.add(relu, x), "y")
    one = Rule("one", pattern(relu, "x"), lambda graph, match: graph.add(neg, match["x"]))
    two = Rule("two", pattern(relu, "x"), lambda graph, match: graph.add(sigmoid, match["x"]))
    apply_rules(graph, [one, two])
    assert names(graph) == ["neg"]


def test_a_rule_may_build_several_nodes() -> None:
    graph, x = start()
    graph.output(graph.add(swish, x), "y")

    @rule(pattern(swish, "x"))
    def apart(graph: Graph, match: Match) -> Value | None:
        return graph.add(mul, match["x"], graph.add(sigmoid, match["x"]))

    @rule(pattern(sigmoid, "x"))
    def leak(graph: Graph, match: Match) -> Value | None:
        return graph.add(leaky_relu, match["x"])

    assert apply_rules(graph, [apart, leak]) == 2
    assert names(graph) == ["leaky_relu", "mul"]


def test_declining() -> None:
    graph, x = start()
    graph.output(graph.add(relu, x), "y")

    @rule(pattern(relu, "x"))
    def shy(graph: Graph, match: Match) -> Value | None:
        graph.add(neg, match["x"])  # what was made in vain goes away again
        return match.decline("not today")

    silent = Rule("silent", pattern(relu, "x"), lambda graph, match: None)
    with explained() as reasons:
        assert apply_rules(graph, [shy, silent]) == 0
    assert reasons == ["shy at relu 'relu': not today", "silent at relu 'relu': no reason given"]
    assert names(graph) == ["relu"]
    assert apply_rules(graph, [shy]) == 0


def test_another_type_is_an_error() -> None:
    graph, x = start()
    graph.output(graph.add(relu, x), "y")

    @rule(pattern(relu, "x"))
    def turned(graph: Graph, match: Match) -> Value | None:
        return graph.add(transpose, match["x"], permutation=(1, 0))

    message = (
        r"the rule 'turned' fails at relu 'relu': float32\[n, 4\] would become float32\[4, n\]"
    )
    with pytest.raises(ModelError, match=message):
        apply_rules(graph, [turned])


def test_errors_name_rule_and_node() -> None:
    graph, x = start()
    graph.output(graph.add(relu, x, origin="layer 3"), "y")

    @rule(pattern(relu, "x"))
    def wrong(graph: Graph, match: Match) -> Value | None:
        return graph.add(leaky_relu, match["x"], betta=1.0)

    with pytest.raises(ModelError, match=r"rule 'wrong' fails at relu 'relu' \(from layer 3\): "):
        apply_rules(graph, [wrong])


def test_rules_that_undo_each_other_are_named() -> None:
    graph, x = start()
    graph.output(graph.add(relu, x), "y")
    there = Rule("there", pattern(relu, "x"), lambda graph, match: graph.add(neg, match["x"]))
    back = Rule("back", pattern(neg, "x"), lambda graph, match: graph.add(relu, match["x"]))
    with pytest.raises(ModelError, match="the rule 'there' does not come to an end at relu"):
        apply_rules(graph, [there, back])


def test_a_graph_of_thousands_of_nodes() -> None:
    graph, x = start()
    one = number(graph, 1.0)
    value = x
    for _ in range(400):
        value = graph.add(mul, graph.add(identity, graph.add(relu, value)), one)
        value = graph.add(transpose, value, permutation=(1, 0))
        value = graph.add(transpose, value, permutation=(1, 0))
        value = graph.add(mul, graph.add(sigmoid, value), value)
    graph.output(value, "y")
    rules = (*SIMPLIFYING, *RECOGNISING)
    begin = time.perf_counter()
    assert apply_rules(graph, rules) == 2000
    assert time.perf_counter() - begin < 5  # it takes less than 1; machines are busy
    assert len(graph) == 801
    assert TIDY(graph) == 0
