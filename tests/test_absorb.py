"""What convolutions and products absorb: factors, sums, paddings, normalisations."""

from __future__ import annotations

import pytest

from opweave.compiler.passes import CANONICALISE
from opweave.compiler.passes.absorb import ABSORB
from opweave.compiler.passes.fold_batch_norm import FOLD_BATCH_NORM
from opweave.ir import check

from .rewriting import X, Y, assert_becomes, assert_close, assert_stays, graph_of

IMAGE = "input x: float32[n, 2, 5, 5]\n"
WEIGHTS = "param w: float32[2, 2, 1, 1] = [1.0, 2.0, 3.0, 4.0]\n"
VECTOR = "param b: float32[2] = [0.5, -1.0]\n"
CONVOLUTION = "c: float32[n, 2, 5, 5] = convolution(x, w, b)\n"
PLANES = "param k: float32[2, 1, 1] = [2.0, 4.0]\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            VECTOR + PLANES + CONVOLUTION + "y: float32[n, 2, 5, 5] = add(k, c)",
            "param b: float32[2] = [2.5, 3.0]\ny: float32[n, 2, 5, 5] = convolution(x, w, b)",
        ),
        (
            PLANES + "c: float32[n, 2, 5, 5] = convolution(x, w)\n"
            "y: float32[n, 2, 5, 5] = sub(c, k)",
            "param b: float32[2] = [-2.0, -4.0]\ny: float32[n, 2, 5, 5] = convolution(x, w, b)",
        ),
        (
            VECTOR + PLANES + CONVOLUTION + "y: float32[n, 2, 5, 5] = mul(c, k)",
            "param v: float32[2, 2, 1, 1] = [2.0, 4.0, 12.0, 16.0]\n"
            "param b: float32[2] = [1.0, -4.0]\ny: float32[n, 2, 5, 5] = convolution(x, v, b)",
        ),
        (
            "param k: float32[] = 2.0\nc: float32[n, 2, 5, 5] = convolution(x, w)\n"
            "y: float32[n, 2, 5, 5] = mul(c, k)",
            "param v: float32[2, 2, 1, 1] = [2.0, 4.0, 6.0, 8.0]\n"
            "y: float32[n, 2, 5, 5] = convolution(x, v)",
        ),
        (
            PLANES + "c: float32[n, 2, 5, 5] = convolution_transpose(x, w)\n"
            "y: float32[n, 2, 5, 5] = mul(c, k)",
            "param v: float32[2, 2, 1, 1] = [2.0, 8.0, 6.0, 16.0]\n"
            "y: float32[n, 2, 5, 5] = convolution_transpose(x, v)",
        ),
        (
            "p: float32[n, 2, 8, 6] = pad(x, before=(0, 0, 1, 0), after=(0, 0, 2, 1))\n"
            "y: float32[n, 2, 8, 8] = convolution(p, w, pads_begin=(0, 1), pads_end=(0, 1))",
            "y: float32[n, 2, 8, 8] = convolution(x, w, pads_begin=(1, 1), pads_end=(2, 2))",
        ),
        (
            "p: float32[n, 2, 6, 6] = pad(x, before=(0, 0, 1, 1), after=(0, 0, 0, 0))\n"
            "y: float32[n, 2, 3, 3] = average_pool(p, kernel=(2, 2), strides=(2, 2))",
            "y: float32[n, 2, 3, 3] = average_pool(x, kernel=(2, 2), strides=(2, 2), "
            "pads_begin=(1, 1), pads_end=(0, 0), count_include_pad=True)",
        ),
        (
            "param least: float32[] = -inf\n"
            "p: float32[n, 2, 6, 6] = pad(x, least, before=(0, 0, 1, 1), after=(0, 0, 0, 0))\n"
            "y: float32[n, 2, 5, 5] = max_pool(p, kernel=(2, 2))",
            "y: float32[n, 2, 5, 5] = max_pool(x, kernel=(2, 2), pads_begin=(1, 1), "
            "pads_end=(0, 0))",
        ),
    ],
)
def test_absorb(before: str, after: str) -> None:
    assert_becomes(ABSORB, IMAGE + WEIGHTS + before + Y, IMAGE + WEIGHTS + after + Y)


@pytest.mark.parametrize(
    "text",
    [
        "param k: float32[5] = [1.0, 2.0, 3.0, 4.0, 5.0]\n"
        "c: float32[n, 2, 5, 5] = convolution(x, w)\ny: float32[n, 2, 5, 5] = add(c, k)",
        "c: float32[n, 2, 5, 5] = convolution(x, w)\ny: float32[n, 2, 5, 5] = add(c, x)",
        PLANES + "c: float32[n, 2, 5, 5] = convolution(x, w)\ny: float32[n, 2, 5, 5] = add(c, k)"
        "\noutput c = c",
        "p: float32[n, 2, 6, 6] = pad(x, before=(0, 0, 1, 1), after=(0, 0, 0, 0))\n"
        "y: float32[n, 2, 5, 5] = max_pool(p, kernel=(2, 2))",
        "p: float32[n, 2, 6, 6] = pad(x, before=(0, 0, 1, 1), after=(0, 0, 0, 0))\n"
        "y: float32[n, 2, 3, 3] = average_pool(p, kernel=(2, 2), strides=(2, 2), ceil_mode=True)",
        "p: float32[n, 2, 6, 6] = pad(x, before=(0, 0, 1, 1), after=(0, 0, 0, 0))\n"
        "y: float32[n, 2, 7, 7] = average_pool(p, kernel=(2, 2), pads_begin=(1, 1), "
        "pads_end=(1, 1))",
        'p: float32[n, 2, 6, 5] = pad(x, before=(0, 0, 1, 0), after=(0, 0, 0, 0), mode="edge")\n'
        "y: float32[n, 2, 6, 5] = convolution(p, w)",
        "p: float32[n, 2, 4, 5] = pad(x, before=(0, 0, -1, 0), after=(0, 0, 0, 0))\n"
        "y: float32[n, 2, 4, 5] = convolution(p, w)",
    ],
)
def test_absorb_declines(text: str) -> None:
    assert_stays(ABSORB, IMAGE + WEIGHTS + text + Y)


def test_absorb_into_products() -> None:
    matrix = "param w: float32[4, 2] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]\n"
    before = (
        X + matrix + VECTOR + "param k: float32[1, 2] = [2.0, 10.0]\n"
        "a: float32[n, 2] = matmul(x, w)\nc: float32[n, 2] = add(a, b)\n"
        "y: float32[n, 2] = mul(c, k)" + Y
    )
    after = (
        X + "param w: float32[4, 2] = [2.0, 20.0, 6.0, 40.0, 10.0, 60.0, 14.0, 80.0]\n"
        "param b: float32[2] = [1.0, -10.0]\n"
        "a: float32[n, 2] = matmul(x, w)\ny: float32[n, 2] = add(a, b)" + Y
    )
    assert_becomes(ABSORB, before, after)
    transposed = before.replace("[4, 2] = [", "[2, 4] = [").replace(
        "matmul(x, w)", "matmul(x, w, transpose_b=True)"
    )
    after = after.replace(
        "[4, 2] = [2.0, 20.0, 6.0, 40.0, 10.0, 60.0, 14.0, 80.0]",
        "[2, 4] = [2.0, 4.0, 6.0, 8.0, 50.0, 60.0, 70.0, 80.0]",
    )
    assert_becomes(
        ABSORB, transposed, after.replace("matmul(x, w)", "matmul(x, w, transpose_b=True)")
    )


STATISTICS = (
    "param s: float32[2] = [1.0, 2.0]\nparam t: float32[2] = [3.0, 4.0]\n"
    "param m: float32[2] = [0.5, 0.25]\nparam v: float32[2] = [4.0, 0.25]\n"
)


@pytest.mark.parametrize("operator", ["convolution", "convolution_transpose"])
@pytest.mark.parametrize("bias", ["", ", b"])
def test_batch_norm_after_convolution(operator: str, bias: str) -> None:
    text = (
        IMAGE + WEIGHTS + VECTOR + STATISTICS + f"c: float32[n, 2, 5, 5] = {operator}(x, w{bias})\n"
        "y: float32[n, 2, 5, 5] = batch_normalization(c, s, t, m, v, epsilon=0.0)" + Y
    )
    graph = graph_of(text)
    original = graph.copy()
    assert FOLD_BATCH_NORM(graph) == 1
    check(graph)
    assert [node.op.name for node in graph.operators()] == [operator]
    assert_close(original, graph)


def test_grouped_transposed_convolution_takes_a_factor() -> None:
    text = (
        "input x: float32[2, 4, 3, 3]\n"
        "param w: float32[4, 1, 2, 2] = ["
        + ", ".join(f"{k}.0" for k in range(16))
        + "]\n"
        + STATISTICS
        + "c: float32[2, 2, 4, 4] = convolution_transpose(x, w, groups=2)\n"
        "y: float32[2, 2, 4, 4] = batch_normalization(c, s, t, m, v)" + Y
    )
    graph = graph_of(text)
    original = graph.copy()
    assert FOLD_BATCH_NORM(graph) == 1
    assert_close(original, graph)


def test_batch_norm_alone() -> None:
    norm = "y: float32[n, 2, 5, 5] = batch_normalization(x, s, t, m, v, epsilon=0.0)"
    after = (
        IMAGE + "param f: float32[2, 1, 1] = [0.5, 4.0]\nparam o: float32[2, 1, 1] = [2.75, 3.0]\n"
        "a: float32[n, 2, 5, 5] = mul(x, f)\ny: float32[n, 2, 5, 5] = add(a, o)" + Y
    )
    assert_becomes(FOLD_BATCH_NORM, IMAGE + STATISTICS + norm + Y, after)


def test_batch_norm_of_vectors_goes_into_the_product() -> None:
    text = (
        X
        + "param w: float32[4, 2] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]\n"
        + VECTOR
        + STATISTICS
        + "a: float32[n, 2] = matmul(x, w)\nc: float32[n, 2] = add(a, b)\n"
        "y: float32[n, 2] = batch_normalization(c, s, t, m, v)" + Y
    )
    graph = graph_of(text)
    original = graph.copy()
    for pass_ in CANONICALISE:
        pass_(graph)
    check(graph)
    assert_close(original, graph)
    assert [node.op.name for node in graph.operators()] == ["matmul", "add", "add"]


def test_batch_norm_with_measured_statistics_stays() -> None:
    text = IMAGE + STATISTICS.replace("param v: float32[2] = [4.0, 0.25]", "input v: float32[2]")
    assert_stays(
        FOLD_BATCH_NORM, text + "y: float32[n, 2, 5, 5] = batch_normalization(x, s, t, m, v)" + Y
    )
