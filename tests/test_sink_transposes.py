"""Transpositions that move towards others until they meet and cancel."""

from __future__ import annotations

import pytest

from opweave.compiler.pass_ import Pass
from opweave.compiler.passes.simplify import SIMPLIFY
from opweave.compiler.passes.sink_transposes import SINK_TRANSPOSES
from opweave.ir import Graph, check

from .rewriting import X, Y, assert_becomes, assert_close, assert_stays, graph_of

DOWN = "t: float32[4, n] = transpose(x, permutation=(1, 0))\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "a: float32[4, n] = relu(t)\ny: float32[n, 4] = transpose(a, permutation=(1, 0))",
            "y: float32[n, 4] = relu(x)",
        ),
        (
            "param b: float32[4, 1] = [1.0, 2.0, 3.0, 4.0]\na: float32[4, n] = mul(t, b)\n"
            "y: float32[n, 4] = transpose(a, permutation=(1, 0))",
            "param b: float32[1, 4] = [1.0, 2.0, 3.0, 4.0]\ny: float32[n, 4] = mul(x, b)",
        ),
        (
            "a: float32[4, n] = mul(t, t)\ny: float32[n, 4] = transpose(a, permutation=(1, 0))",
            "y: float32[n, 4] = mul(x, x)",
        ),
        (
            "u: float32[4, n] = transpose(z, permutation=(1, 0))\na: float32[4, n] = add(t, u)\n"
            "y: float32[n, 4] = transpose(a, permutation=(1, 0))",
            "y: float32[n, 4] = add(x, z)",
        ),
        (
            "u: float32[4, n] = transpose(z, permutation=(1, 0))\n"
            "a: float32[4, 2*n] = concat(t, u, axis=1)\n"
            "y: float32[2*n, 4] = transpose(a, permutation=(1, 0))",
            "y: float32[2*n, 4] = concat(x, z, axis=0)",
        ),
        (
            "a: float32[4, n] = softmax(t, axis=0)\n"
            "y: float32[n, 4] = transpose(a, permutation=(1, 0))",
            "y: float32[n, 4] = softmax(x, axis=1)",
        ),
        (
            "y: float32[n] = reduce_mean(t, axes=(0,), keepdims=False)",
            "y: float32[n] = reduce_mean(x, axes=(1,), keepdims=False)",
        ),
        (
            "a: float32[2, n] = slice(t, starts=(3, 0), sizes=(2, n), steps=(-1, 1))\n"
            "y: float32[n, 2] = transpose(a, permutation=(1, 0))",
            "y: float32[n, 2] = slice(x, starts=(0, 3), sizes=(n, 2), steps=(1, -1))",
        ),
        (
            "param v: float32[] = 2.0\n"
            "a: float32[5, n + 2] = pad(t, v, before=(1, 0), after=(0, 2))\n"
            "y: float32[n + 2, 5] = transpose(a, permutation=(1, 0))",
            "param v: float32[] = 2.0\n"
            "y: float32[n + 2, 5] = pad(x, v, before=(0, 1), after=(2, 0))",
        ),
        (
            "y: float32[n, n] = matmul(x, t)",
            "y: float32[n, n] = matmul(x, x, transpose_b=True)",
        ),
    ],
)
def test_sink_transposes(before: str, after: str) -> None:
    def run(graph: Graph) -> int:
        return SINK_TRANSPOSES(graph) + SIMPLIFY(graph)

    given = X + "input z: float32[n, 4]\n"
    assert_becomes(Pass("both", run), given + DOWN + before + Y, given + after + Y)


@pytest.mark.parametrize("keepdims", ["True", "False"])
def test_sink_transposes_past_reductions_of_many_axes(keepdims: str) -> None:
    shape = "1, 2, 1, 3" if keepdims == "True" else "2, 3"
    text = (
        "input x: float32[2, 3, 4, 5]\n"
        "t: float32[4, 2, 5, 3] = transpose(x, permutation=(2, 0, 3, 1))\n"
        f"y: float32[{shape}] = reduce_sum(t, axes=(0, -2), keepdims={keepdims})" + Y
    )
    graph = graph_of(text)
    original = graph.copy()
    assert SINK_TRANSPOSES(graph) == 1
    check(graph)
    assert_close(original, graph)


@pytest.mark.parametrize(
    "text",
    [
        "input z: float32[4, n]\n" + DOWN + "y: float32[4, n] = add(t, z)",
        DOWN + "y: float32[4, n] = relu(t)\noutput t = t",
        "param w: float32[3, 1, 1] = [1.0, 2.0, 3.0]\n" + DOWN + "y: float32[3, 4, n] = add(t, w)",
        DOWN + "y: float32[4*n] = reshape(t, shape=(4*n,))",
    ],
)
def test_sink_transposes_declines(text: str) -> None:
    assert_stays(SINK_TRANSPOSES, X + text + Y)
