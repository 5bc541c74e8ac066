"""Groups that fusion makes, and that they compute the same."""

from __future__ import annotations

import numpy as np
import pytest

from opweave.compiler.interpret import run_kernels
from opweave.compiler.passes import FUSE
from opweave.ir import check
from opweave.ir.same import same

from .rewriting import X, Y, assert_close, graph_of, members, random_inputs


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("a: float32[n, 4] = relu(x)\ny: float32[n, 4] = neg(a)", ["relu+neg"]),
        ("y: float32[n, 4] = relu(x)", ["relu"]),
        ("a: float32[n, 4] = relu(x)\ny: float32[n, 4] = neg(a)\noutput a = a", ["relu", "neg"]),
        (
            "a: float32[n, 4] = relu(x)\nb: float32[n, 4] = neg(a)\nc: float32[n, 4] = abs(a)\n"
            "y: float32[n, 4] = add(b, c)",
            ["relu+neg+abs+add"],
        ),
        (
            "a: float32[n, 4] = relu(x)\nb: float32[n, 4] = neg(a)\nc: float32[n, 4] = softmax(a)\n"
            "y: float32[n, 4] = add(b, c)",
            ["relu", "neg+softmax+add"],
        ),
        (
            "param w: float32[4, 2] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]\n"
            "param b: float32[2] = [0.5, -1.0]\n"
            "a: float32[n, 2] = matmul(x, w)\nc: float32[n, 2] = add(a, b)\n"
            "y: float32[n, 2] = relu(c)",
            ["matmul+add+relu"],
        ),
        (
            "param w: float32[4] = [1.0, 2.0, 3.0, 4.0]\na: float32[4] = relu(w)\n"
            "b: float32[n, 4] = add(x, a)\ny: float32[n, 4] = relu(b)",
            ["relu", "add+relu"],
        ),
        (
            "a: float32[n, 4] = softmax(x)\nb: float32[n, 4] = softmax(x, axis=0)\n"
            "c: float32[n, 4] = add(a, b)\ny: float32[n, 4] = relu(c)",
            ["softmax", "softmax+add+relu"],
        ),
        (
            'a: float32[n, 4] = softmax(x)\nb: float16[n, 4] = cast(a, to="float16")\n'
            "y: float16[n, 4] = neg(b)",
            ["softmax", "cast+neg"],
        ),
    ],
)
def test_fuse(text: str, groups: list[str]) -> None:
    graph = graph_of(X + text + Y)
    original = graph.copy()
    FUSE(graph)
    check(graph)
    assert members(graph) == groups
    assert_close(original, graph)
    assert FUSE(graph) == 0


def test_fused_groups_run_by_their_kernels() -> None:
    text = "a: float32[n, 4] = softmax(x)\nb: float32[n, 4] = add(a, x)\n"
    graph = graph_of(X + text + "y: float32[n, 4] = relu(b)" + Y)
    inputs = random_inputs(graph)
    before = run_kernels(graph, inputs)
    FUSE(graph)
    np.testing.assert_array_equal(run_kernels(graph, inputs)[0], before[0])


def test_fuse_embeds_numbers() -> None:
    text = (
        X + "param half: float32[] = 0.5\nparam c: float32[4] = [1.0, 2.0, 3.0, 4.0]\n"
        "a: float32[n, 4] = mul(x, half)\ny: float32[n, 4] = add(a, c)" + Y
    )
    graph = graph_of(text)
    FUSE(graph)
    after = (
        X + "param c: float32[4] = [1.0, 2.0, 3.0, 4.0]\n"
        "y: float32[n, 4] = fused(x, c) {\ngroup = graph y {\n"
        "input x0: float32[n, 4]\nparam half: float32[] = 0.5\ninput x1: float32[4]\n"
        "a: float32[n, 4] = mul(x0, half)\nb: float32[n, 4] = add(a, x1)\n"
        "output result = b\n}\n}" + Y
    )
    assert same(graph, graph_of(after)), str(graph)


def test_fuse_keeps_assumptions() -> None:
    text = (
        "input x: float32[n]\ninput z: float32[m]\n"
        "a: float32[m] = add(x, z)\ny: float32[m] = relu(a)" + Y
    )
    graph = graph_of(text)
    assert len(graph.equalities) == 1
    FUSE(graph)
    assert [(e.left, e.right) for e in graph.equalities] == [
        (graph.type(graph.inputs[0]).shape[0], graph.type(graph.inputs[1]).shape[0])
    ]


def test_fuse_leaves_measured_values() -> None:
    text = (
        "input x: int64[2]\na: int64[2] = add(x, x)\nmeasure m = a at 0\nb: int64[2] = relu(a)\n"
        "c: int64[2] = neg(b)\ny: int64[m] = expand(c, shape=(m,))" + Y
    )
    graph = graph_of(text)
    FUSE(graph)
    check(graph)
    assert members(graph) == ["add", "relu+neg", "expand"]
    assert dict(graph.symbols)["m"][0].node in graph


def test_fuse_has_limits() -> None:
    chain = ["a0: float32[n, 4] = relu(x)"]
    chain += [f"a{k}: float32[n, 4] = neg(a{k - 1})" for k in range(1, 40)]
    graph = graph_of(X + "\n".join(chain) + "\noutput y = a39")
    FUSE(graph)
    assert [len(group.split("+")) for group in members(graph)] == [8, 32]
    wide = "\n".join(f"input v{k}: float32[n, 4]" for k in range(40)) + "\n"
    wide += "s0: float32[n, 4] = add(x, v0)\n"
    wide += "\n".join(f"s{k}: float32[n, 4] = add(s{k - 1}, v{k})" for k in range(1, 30))
    graph = graph_of(X + wide + "\noutput y = s29")
    original = graph.copy()
    FUSE(graph)
    assert max(len(node.operands) for node in graph.operators()) == 24
    assert_close(original, graph, 1e-5)
