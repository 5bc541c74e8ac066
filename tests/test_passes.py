"""Constants, repeated and dead code, half precision, bodies; all passes on random graphs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from opweave.compiler.passes import CANONICALISE, DEAD_CODE, FUSE, LEGALISE_HALF
from opweave.compiler.passes.common_subexpressions import COMMON_SUBEXPRESSIONS
from opweave.compiler.passes.fold_constants import FOLD_CONSTANTS
from opweave.compiler.passes.simplify import SIMPLIFY
from opweave.compiler.rewrite import explained
from opweave.ir import Graph, TensorType, Value, check, symbol
from opweave.ir.same import same
from opweave.ir.text import large_parameters, parse_graph, print_graph
from opweave.ops.registry import operators

from .rewriting import X, Y, assert_becomes, assert_close, assert_stays, graph_of, members


def test_fold_constants() -> None:
    before = (
        X + "param a: float32[2, 2] = [1.0, 2.0, 3.0, 4.0]\nb: float32[2, 2] = relu(a)\n"
        "c: float32[4] = reshape(b, shape=(4,))\ny: float32[n, 4] = add(x, c)" + Y
    )
    after = X + "param c: float32[4] = [1.0, 2.0, 3.0, 4.0]\ny: float32[n, 4] = add(x, c)" + Y
    assert_becomes(FOLD_CONSTANTS, before, after)


def test_fold_constants_makes_extents_known() -> None:
    before = (
        "input x: float32[2, 3]\nshape: int64[2] = extents(values=(3, 2))\nmeasure m = shape at 0\n"
        "y: float32[m, 2] = reshape(x, shape=(m, 2))\noutput y = y"
    )
    after = "input x: float32[2, 3]\ny: float32[3, 2] = reshape(x, shape=(3, 2))\noutput y = y"
    assert_becomes(FOLD_CONSTANTS, before, after)


def test_fold_constants_keeps_what_grows_or_fails() -> None:
    graph = graph_of(
        "param a: float32[1] = [1.0]\nbig: float32[3000000] = tile(a, repeats=(3000000,))\n"
        "input x: float32[3000000]\ny: float32[3000000] = add(x, big)\noutput y = y\n"
        "param i: int64[1] = [7]\nbad: float32[1] = gather(a, i)\noutput bad = bad"
    )
    with explained() as notes:
        assert FOLD_CONSTANTS(graph) == 0
    assert len(notes) == 1
    assert "fold_constants at gather 'bad': gather: an index is outside" in notes[0]
    symbolic = X + "e: int64[1] = extents(values=(n,))\noutput e = e"
    assert_stays(FOLD_CONSTANTS, symbolic)


def test_common_subexpressions() -> None:
    before = (
        X + "param p: float32[1] = [2.0]\nparam q: float32[1] = [2.0]\n"
        "a: float32[n, 4] = mul(x, p)\nb: float32[n, 4] = mul(x, q)\n"
        "c: float32[n, 4] = leaky_relu(a, alpha=1.0)\nd: float32[n, 4] = leaky_relu(b, alpha=1)\n"
        "y: float32[n, 4] = add(c, d)" + Y
    )
    after = (
        X + "param p: float32[1] = [2.0]\na: float32[n, 4] = mul(x, p)\n"
        "c: float32[n, 4] = leaky_relu(a, alpha=1.0)\nd: float32[n, 4] = leaky_relu(a, alpha=1)\n"
        "y: float32[n, 4] = add(c, d)" + Y
    )
    assert_becomes(COMMON_SUBEXPRESSIONS, before, after)


def test_dead_code() -> None:
    assert_becomes(DEAD_CODE, X + "a: float32[n, 4] = relu(x)\noutput y = x", X + "output y = x")


def test_legalise_half() -> None:
    before = (
        "input x: float16[n, 4]\na: float16[n, 4] = softmax(x)\nb: float16[n, 4] = relu(a)\n"
        "y: float16[4, n] = transpose(b, permutation=(1, 0))" + Y
    )
    after = (
        'input x: float16[n, 4]\nw: float32[n, 4] = cast(x, to="float32")\n'
        'a: float32[n, 4] = softmax(w)\nh: float16[n, 4] = cast(a, to="float16")\n'
        "b: float16[n, 4] = relu(h)\ny: float16[4, n] = transpose(b, permutation=(1, 0))" + Y
    )
    assert_becomes(LEGALISE_HALF, before, after, 1e-3)


def test_legalise_half_widens_parameters() -> None:
    text = (
        "input x: bfloat16[n, 2]\nparam w: bfloat16[2, 2] = [1.0, 2.0, 3.0, 4.0]\n"
        "y: bfloat16[n, 2] = matmul(x, w)" + Y
    )
    graph = graph_of(text)
    original = graph.copy()
    LEGALISE_HALF(graph)
    check(graph)
    (product,) = (node for node in graph.operators() if node.op.name == "matmul")
    assert graph.is_param(product.operands[1])
    assert product.types[0].dtype == "float32"
    assert_close(original, graph, 1e-2)


LOOP = """
input x: float32[4]
param count: int64[] = 3
y: float32[4], int64[1] = loop(count, None, x, carried=1) {
  body = graph body {
    input i: int64[]
    input going: bool[]
    input state: float32[4]
    %s
    output going = going
    output next = next
  }
}
output y = y
"""


def test_passes_reach_bodies() -> None:
    before = (
        LOOP % "a: float32[4] = identity(state)\nb: float32[4] = neg(a)\nnext: float32[4] = exp(b)"
    )
    after = LOOP % "b: float32[4] = neg(state)\nnext: float32[4] = exp(b)"
    graph = graph_of(before)
    held = graph.node("y").attrs["body"]
    count = len(held)
    SIMPLIFY(graph)
    assert len(held) == count, "graphs in attributes are shared: they stay as they are"
    assert_becomes(SIMPLIFY, before, after)
    fused = graph_of(after)
    original = fused.copy()
    FUSE(fused)
    check(fused)
    (loop,) = fused.operators()
    assert members(loop.attrs["body"]) == ["neg+exp"]
    assert_close(original, fused)


def random_graph(seed: int, size: int = 25) -> Graph:
    """Random operators on [n, 4] tensors, with constants in many places."""
    random = np.random.default_rng(seed)
    graph = Graph("random")
    found = operators()
    n = symbol("n")
    shape = (n, 4)
    values = [graph.input(name, TensorType("float32", shape)) for name in "abc"]
    numbers = [0.0, -0.0, 1.0, -1.0, 2.0, 3.0, 0.5, 6.0, 0.044715]

    def constant() -> Value:
        extents = [(), (1,), (4,), (1, 4)][random.integers(4)]
        return graph.param(np.full(extents, random.choice(numbers), np.float32))

    for _ in range(size):
        kind = random.integers(10)
        x = values[random.integers(len(values))]
        y = values[random.integers(len(values))] if random.random() < 0.5 else constant()
        if kind < 3:
            name = random.choice(["relu", "neg", "abs", "sigmoid", "tanh", "identity", "exp"])
            value = graph.add(found[name], graph.add(found["clip"], x, low=-4.0, high=4.0))
        elif kind < 7:
            name = random.choice(["add", "sub", "mul", "maximum", "minimum"])
            operands = (x, y) if random.random() < 0.5 else (y, x)
            value = graph.add(found[name], *operands)
        elif kind == 7:
            turned = graph.add(found["transpose"], x, permutation=(1, 0))
            turned = graph.add(found["relu"], turned)
            value = graph.add(found["transpose"], turned, permutation=(1, 0))
        elif kind == 8:
            value = graph.add(found["softmax"], x, axis=int(random.integers(2)))
        else:
            both = graph.add(found["concat"], x, values[0], axis=0)
            value = graph.add(found["slice"], both, starts=(n, 0), sizes=(n, 4), steps=(1, 1))
        values.append(value)
    for number, value in enumerate(value for value in values if not graph.use_count(value)):
        graph.output(value, f"y{number}")
    return graph


def random_images(seed: int, size: int = 14) -> Graph:
    """Random layers on images of four channels, as convolutional networks have them."""
    random = np.random.default_rng(seed)
    graph = Graph("images")
    found = operators()
    values = [graph.input("x", TensorType("float32", (symbol("n"), 4, 6, 6)))]

    def weights(*shape: int) -> Value:
        return graph.param(random.standard_normal(shape).astype(np.float32))

    for _ in range(size):
        x, kind = values[random.integers(len(values))], random.integers(9)
        if kind == 0:
            bias = [weights(4)] if random.random() < 0.5 else []
            value = graph.add(found["convolution"], x, weights(4, 4, 1, 1), *bias)
        elif kind == 1:
            around = graph.add(found["pad"], x, before=(0, 0, 1, 1), after=(0, 0, 1, 1))
            value = graph.add(found["convolution"], around, weights(4, 2, 3, 3), groups=2)
        elif kind == 2:
            variance = graph.param(random.uniform(0.1, 2.0, 4).astype(np.float32))
            operands = [x, weights(4), weights(4), weights(4), variance]
            value = graph.add(found["batch_normalization"], *operands)
        elif kind == 3:
            shape = [(4, 1, 1), (1, 4, 1, 1), (), (1,)][random.integers(4)]
            name = random.choice(["mul", "add", "sub"])
            value = graph.add(found[name], x, weights(*shape))
        elif kind == 4:
            value = graph.add(found["relu"], x)
        elif kind == 5:
            last = graph.add(found["transpose"], x, permutation=(0, 2, 3, 1))
            last = graph.add(found[random.choice(["mul", "add"])], last, weights(4))
            last = graph.add(found["clip"], last, low=-3.0, high=3.0)
            value = graph.add(found["transpose"], last, permutation=(0, 3, 1, 2))
        elif kind == 6:
            around = graph.add(found["pad"], x, before=(0, 0, 1, 0), after=(0, 0, 0, 1))
            value = graph.add(found["average_pool"], around, kernel=(2, 2))
        elif kind == 7:
            turned = weights(4, 2, 1, 1)
            value = graph.add(found["convolution_transpose"], x, turned, groups=2)
        else:
            value = graph.add(found["add"], x, values[random.integers(len(values))])
        values.append(value)
    for number, value in enumerate(value for value in values if not graph.use_count(value)):
        graph.output(value, f"y{number}")
    return graph


@pytest.mark.parametrize("make", [random_graph, random_images])
@pytest.mark.parametrize("seed", range(20))
def test_random_graphs(
    make: Callable[[int], Graph], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPWEAVE_CHECK", "1")
    graph = make(seed)
    original = graph.copy()
    for pass_ in (*CANONICALISE, LEGALISE_HALF, FUSE):
        pass_(graph)
        assert_close(original, graph, 2e-5)
    assert list(graph.inputs) == list(original.inputs)
    assert graph.output_names == original.output_names
    assert same(original, make(seed)), "what was given stays as it was"
    again = parse_graph(print_graph(graph), operators(), large_parameters(graph))
    assert same(graph, again)
