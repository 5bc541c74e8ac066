"""Operators that are recognised in the arithmetic they were exported as."""

from __future__ import annotations

import numpy as np
import pytest

from opweave.compiler.passes.recognise import RECOGNISE
from opweave.compiler.passes.simplify import SIMPLIFY
from opweave.ir import check
from opweave.ir.same import same

from .rewriting import X, Y, assert_becomes, assert_close, assert_stays, graph_of


def lines(text: str) -> str:
    """Statements ``name = operator(operands)`` over [n, 4] tensors and numbers as text.

    A number among the operands is a parameter; ``mean`` and the like have the type [n, 1].
    """
    found = []
    for number, statement in enumerate(part.strip() for part in text.split(";")):
        name, call = statement.split(" = ", 1)
        function, operands = call[:-1].split("(", 1)
        arguments = []
        for position, operand in enumerate(part.strip() for part in operands.split(", ")):
            try:
                value = float(operand)
            except ValueError:
                arguments.append(operand)
                continue
            found.append(f"param p{number}_{position}: float32[] = {value}")
            arguments.append(f"p{number}_{position}")
        rows = function.startswith("reduce") or name.startswith("r")
        extra = ", axes=(-1,)" if function.startswith("reduce") else ""
        shape = "n, 1" if rows else "n, 4"
        found.append(f"{name}: float32[{shape}] = {function}({', '.join(arguments)}{extra})")
    return X + "\n".join(found) + Y


GELU = "y: float32[n, 4] = gelu(x)"
TANH = "y: float32[n, 4] = gelu(x, approximate=True)"
HARD = "y: float32[n, 4] = hard_swish(x)"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = sigmoid(x); y = mul(a, x)", "y: float32[n, 4] = swish(x)"),
        (
            "a = mul(x, 1.702); b = sigmoid(a); y = mul(x, b)",
            "y: float32[n, 4] = swish(x, alpha=1.7020000219345093)",
        ),
        ("a = neg(x); b = exp(a); c = add(1, b); y = div(1, c)", "y: float32[n, 4] = sigmoid(x)"),
        ("a = neg(x); b = exp(a); c = add(b, 1); y = div(x, c)", "y: float32[n, 4] = swish(x)"),
        ("a = exp(x); b = add(a, 1); y = log(b)", "y: float32[n, 4] = softplus(x)"),
        ("a = softplus(x); b = tanh(a); y = mul(x, b)", "y: float32[n, 4] = mish(x)"),
        (
            "a = exp(x); b = add(1, a); c = log(b); d = tanh(c); y = mul(d, x)",
            "y: float32[n, 4] = mish(x)",
        ),
        ("a = div(x, 1.4142135); b = erf(a); c = add(b, 1); d = mul(x, c); y = mul(d, 0.5)", GELU),
        ("a = mul(x, 0.70710677); b = erf(a); c = add(1, b); d = mul(0.5, x); y = mul(d, c)", GELU),
        ("a = mul(0.70710677, x); b = erf(a); c = add(1, b); d = mul(c, 0.5); y = mul(d, x)", GELU),
        (
            "a = div(x, 1.4142135); b = erf(a); c = mul(b, 0.5); d = add(c, 0.5); y = mul(x, d)",
            GELU,
        ),
        (
            "a = pow(x, 3); b = mul(a, 0.044715); c = add(x, b); d = mul(c, 0.7978845608); "
            "e = tanh(d); f = add(e, 1); g = mul(x, f); y = mul(g, 0.5)",
            TANH,
        ),
        (
            "a = mul(x, x); b = mul(a, x); c = mul(0.044715, b); d = add(x, c); "
            "e = mul(d, 0.79788456); f = tanh(e); g = add(1, f); h = mul(0.5, x); y = mul(h, g)",
            TANH,
        ),
        (
            "a = mul(x, 0.044715); b = mul(a, x); c = add(1, b); d = mul(x, 0.7978845608); "
            "e = mul(d, c); f = tanh(e); g = add(f, 1); h = mul(x, 0.5); y = mul(h, g)",
            TANH,
        ),
        ("a = add(x, 3); b = clip(a, low=0.0, high=6.0); c = div(b, 6); y = mul(x, c)", HARD),
        ("a = add(x, 3); b = clip(a, low=0.0, high=6.0); c = mul(x, b); y = div(c, 6)", HARD),
        (
            "a = add(x, 3); b = relu(a); c = minimum(b, 6); d = mul(x, c); y = mul(d, 0.16666667)",
            HARD,
        ),
        (
            "a = add(x, 3); b = clip(a, low=0.0, high=6.0); y = div(b, 6)",
            "y: float32[n, 4] = hard_sigmoid(x, alpha=0.16666666666666666, beta=0.5)",
        ),
        (
            "r1 = reduce_max(x); a = sub(x, r1); b = exp(a); r2 = reduce_sum(b); y = div(b, r2)",
            "y: float32[n, 4] = softmax(x, axis=-1)",
        ),
    ],
)
def test_recognise(before: str, after: str) -> None:
    graph = graph_of(lines(before))
    original = graph.copy()
    SIMPLIFY(graph)
    RECOGNISE(graph)
    check(graph)
    expected = graph_of(X + after + Y)
    assert same(graph, expected), str(graph)
    assert_close(original, graph, 5e-6)


@pytest.mark.parametrize(
    "text",
    [
        "a = mul(x, 0.7); b = erf(a); c = add(1, b); d = mul(0.5, x); y = mul(d, c)",
        "a = add(x, 3); b = clip(a, low=0.0, high=5.0); c = div(b, 6); y = mul(x, c)",
        "a = exp(x); b = add(a, 1); c = relu(b); y = log(c)",
    ],
)
def test_recognise_declines(text: str) -> None:
    assert_stays(RECOGNISE, lines(text))


ONES = "param s: float32[4] = [1.0, 1.0, 1.0, 1.0]\n"


@pytest.mark.parametrize(
    "square", ["c = mul(a, a); r2 = reduce_mean(c)", "c = pow(a, 2); r2 = reduce_mean(c)"]
)
@pytest.mark.parametrize(
    "end",
    [
        "r4 = sqrt(r3); y = div(a, r4)",
        "r4 = pow(r3, 0.5); y = div(a, r4)",
        "r4 = sqrt(r3); r5 = reciprocal(r4); y = mul(a, r5)",
        "r4 = sqrt(r3); r5 = div(1, r4); y = mul(r5, a)",
        "r4 = pow(r3, -0.5); y = mul(a, r4)",
    ],
)
def test_recognise_layer_normalization(square: str, end: str) -> None:
    before = f"r1 = reduce_mean(x); a = sub(x, r1); {square}; r3 = add(r2, 0.001); {end}"
    graph = graph_of(lines(before))
    original = graph.copy()
    SIMPLIFY(graph)
    RECOGNISE(graph)
    epsilon = float(np.float32(0.001))
    after = f"y: float32[n, 4] = layer_normalization(x, s, axis=1, epsilon={epsilon})"
    expected = graph_of(X + ONES + after + Y)
    assert same(graph, expected), str(graph)
    assert_close(original, graph)


def test_recognise_normalizations_with_vectors() -> None:
    middle = "c = mul(a, a); r2 = reduce_mean(c); r3 = add(r2, 0.5); r4 = sqrt(r3); b = div(a, r4)"
    before = lines(f"r1 = reduce_mean(x); a = sub(x, r1); {middle}").removesuffix(Y)
    vectors = "\nparam s: float32[1, 1, 4] = [1.0, 2.0, 3.0, 4.0]\n"
    vectors += "param t: float32[4] = [1.0, 0.0, 0.5, 0.0]\n"
    assert_becomes(
        RECOGNISE,
        before
        + vectors.replace("[1, 1, 4]", "[1, 4]")
        + "d: float32[n, 4] = mul(s, b)\ny: float32[n, 4] = add(d, t)"
        + Y,
        X
        + vectors.replace("[1, 1, 4]", "[4]")
        + "y: float32[n, 4] = layer_normalization(x, s, t, axis=1, epsilon=0.5)"
        + Y,
    )
    roots = lines(middle.replace("a, a", "x, x").replace("div(a", "div(x")).removesuffix(Y)
    assert_becomes(
        RECOGNISE,
        roots + vectors.replace("[1, 1, 4]", "[4]") + "d: float32[n, 4] = mul(b, s)\n"
        "y: float32[n, 4] = add(d, t)" + Y,
        X
        + vectors.replace("[1, 1, 4]", "[4]")
        + "d: float32[n, 4] = rms_normalization(x, s, axis=1, epsilon=0.5)\n"
        "y: float32[n, 4] = add(d, t)" + Y,
    )
