"""Each rewriting as text before and after, and by numbers: what the references compute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from opweave.compiler.interpret import run_kernels
from opweave.compiler.pass_ import Pass
from opweave.compiler.passes import CANONICALISE, DEAD_CODE, FUSE, LEGALISE_HALF
from opweave.compiler.passes.absorb import ABSORB
from opweave.compiler.passes.common_subexpressions import COMMON_SUBEXPRESSIONS
from opweave.compiler.passes.fold_batch_norm import FOLD_BATCH_NORM
from opweave.compiler.passes.fold_constants import FOLD_CONSTANTS
from opweave.compiler.passes.recognise import RECOGNISE
from opweave.compiler.passes.simplify import SIMPLIFY
from opweave.compiler.passes.sink_transposes import SINK_TRANSPOSES
from opweave.compiler.rewrite import explained
from opweave.ir import Array, Graph, TensorType, Value, check, symbol
from opweave.ir.data_type import is_float, numpy_type
from opweave.ir.dim import evaluate as evaluate_extent
from opweave.ir.dim import symbols_of
from opweave.ir.evaluate import evaluate
from opweave.ir.same import same
from opweave.ir.text import large_parameters, parse_graph, print_graph
from opweave.ops.registry import operators


def graph_of(text: str) -> Graph:
    """A graph from the lines inside its braces; attributes left out have their defaults."""
    return parse_graph(f"graph g {{\n{text}\n}}", operators())


def random_inputs(graph: Graph, seed: int = 0) -> list[Array]:
    """Inputs of the right types; all symbols are small numbers."""
    random = np.random.default_rng(seed)
    types = [graph.type(value) for value in graph.inputs]
    names = sorted({symbol.name for type_ in types for symbol in symbols_of(type_.shape)})
    values = {name: 2 + number for number, name in enumerate(names)}
    arrays = []
    for type_ in types:
        shape = [evaluate_extent(extent, values) for extent in type_.shape]
        if is_float(type_.dtype):
            array: Array = random.uniform(-3, 3, shape)
        else:
            array = random.integers(0, 2, shape)
        arrays.append(np.asarray(array).astype(numpy_type(type_.dtype)))
    return arrays


def assert_close(graph: Graph, other: Graph, tolerance: float = 2e-6) -> None:
    """Both graphs compute the same on random inputs."""
    inputs = random_inputs(graph)
    for mine, theirs in zip(evaluate(graph, inputs), evaluate(other, inputs), strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        wide = mine.astype(np.float64)
        scale = tolerance * max(1.0, float(np.max(np.abs(wide), initial=0.0)))
        np.testing.assert_allclose(theirs.astype(np.float64), wide, rtol=0, atol=scale)


def assert_becomes(pass_: Pass, before: str, after: str, tolerance: float = 2e-6) -> None:
    graph = graph_of(before)
    original = graph.copy()
    pass_(graph)
    check(graph)
    expected = graph_of(after or before)
    assert same(graph, expected), f"{graph}is not\n{expected}"
    assert_close(original, graph, tolerance)


def assert_stays(pass_: Pass, text: str) -> None:
    graph = graph_of(text)
    assert pass_(graph) == 0, str(graph)
    assert same(graph, graph_of(text)), str(graph)


X = "input x: float32[n, 4]\n"
Y = "\noutput y = y"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("y: float32[n, 4] = identity(x)", "output y = x"),
        ("y: float32[n, 4] = reshape(x, shape=(n, 4))", "output y = x"),
        (
            "a: float32[4, n] = reshape(x, shape=(4, n))\n"
            "y: float32[4*n] = reshape(a, shape=(4*n,))",
            "y: float32[4*n] = reshape(x, shape=(4*n,))",
        ),
        ("y: float32[n, 4] = transpose(x, permutation=(0, 1))", "output y = x"),
        (
            "a: float32[4, n] = transpose(x, permutation=(1, 0))\n"
            "y: float32[n, 4] = transpose(a, permutation=(1, 0))",
            "output y = x",
        ),
        (
            "a: float32[1, n, 4] = reshape(x, shape=(1, n, 4))\n"
            "y: float32[n, 1, 4] = transpose(a, permutation=(1, 0, 2))",
            "y: float32[n, 1, 4] = reshape(x, shape=(n, 1, 4))",
        ),
        ('y: float32[n, 4] = cast(x, to="float32")', "output y = x"),
        (
            'a: float64[n, 4] = cast(x, to="float64")\ny: float32[n, 4] = cast(a, to="float32")',
            "output y = x",
        ),
        ("y: float32[n, 4] = expand(x, shape=(n, 4))", "output y = x"),
        ("y: float32[n, 4] = tile(x, repeats=(1, 1))", "output y = x"),
        (
            "y: float32[n, 4] = slice(x, starts=(0, 0), sizes=(n, 4), steps=(1, 1))",
            "output y = x",
        ),
        (
            "a: float32[n, 2] = slice(x, starts=(0, 3), sizes=(n, 2), steps=(1, -2))\n"
            "y: float32[n, 1] = slice(a, starts=(0, 1), sizes=(n, 1), steps=(1, 1))",
            "y: float32[n, 1] = slice(x, starts=(0, 1), sizes=(n, 1), steps=(1, -2))",
        ),
        ("y: float32[n, 4] = concat(x, axis=1)", "output y = x"),
        (
            "a: float32[n, 8] = concat(x, x, axis=1)\ny: float32[n, 12] = concat(a, x, axis=-1)",
            "y: float32[n, 12] = concat(x, x, x, axis=1)",
        ),
        (
            "e: float32[n, 0] = slice(x, starts=(0, 0), sizes=(n, 0), steps=(1, 1))\n"
            "y: float32[n, 4] = concat(x, e, axis=1)",
            "output y = x",
        ),
        ("y: float32[n, 4] = pad(x, before=(0, 0), after=(0, 0))", "output y = x"),
        ("one: param\ny: float32[n, 4] = mul(x, one)", "output y = x"),
        ("one: param\ny: float32[n, 4] = mul(one, x)", "output y = x"),
        ("one: param\ny: float32[n, 4] = div(x, one)", "output y = x"),
        ("one: param\ny: float32[n, 4] = pow(x, one)", "output y = x"),
        ("zero: param\ny: float32[n, 4] = sub(x, zero)", "output y = x"),
        ("minus: param\ny: float32[n, 4] = add(minus, x)", "output y = x"),
        ("two: param\ny: float32[n, 4] = pow(x, two)", "y: float32[n, 4] = mul(x, x)"),
        (
            "eight: param\ny: float32[n, 4] = div(x, eight)",
            "eighth: param\ny: float32[n, 4] = mul(x, eighth)",
        ),
        (
            "a: float32[n, 4] = neg(x)\ny: float32[n, 4] = add(a, x)",
            "y: float32[n, 4] = sub(x, x)",
        ),
        (
            "a: float32[n, 4] = neg(x)\ny: float32[n, 4] = sub(x, a)",
            "y: float32[n, 4] = add(x, x)",
        ),
        ("a: float32[n, 4] = neg(x)\ny: float32[n, 4] = neg(a)", "output y = x"),
        (
            "a: float32[n, 4] = abs(x)\ny: float32[n, 4] = relu(a)",
            "y: float32[n, 4] = abs(x)",
        ),
        (
            "a: float32[n, 4] = relu(x)\ny: float32[n, 4] = relu(a)",
            "y: float32[n, 4] = relu(x)",
        ),
        ("yes: param\none: param\ny: float32[n, 4] = where(yes, x, one)", "output y = x"),
        ("two: param\ny: float32[n, 4] = maximum(two, x)", "y: float32[n, 4] = clip(x, low=2.0)"),
        ("zero: param\ny: float32[n, 4] = maximum(x, zero)", "y: float32[n, 4] = relu(x)"),
        (
            "zero: param\ntwo: param\na: float32[n, 4] = minimum(x, two)\n"
            "y: float32[n, 4] = maximum(zero, a)",
            "y: float32[n, 4] = clip(x, low=0.0, high=2.0)",
        ),
        (
            "two: param\na: float32[n, 4] = relu(x)\ny: float32[n, 4] = minimum(a, two)",
            "y: float32[n, 4] = clip(x, low=0.0, high=2.0)",
        ),
        (
            "a: float32[n, 4] = clip(x, low=-1.0, high=1.0)\n"
            "y: float32[n, 4] = clip(a, low=2.0, high=3.0)",
            "y: float32[n, 4] = clip(x, low=2.0, high=2.0)",
        ),
        ("y: float32[n, 4] = clip(x)", "output y = x"),
    ],
)
def test_simplify(before: str, after: str) -> None:
    assert_becomes(SIMPLIFY, X + constants(before) + Y, X + constants(after) + ending(after), 0.0)


CONSTANTS = {
    "one": "float32[] = 1.0",
    "two": "float32[] = 2.0",
    "zero": "float32[1] = [0.0]",
    "minus": "float32[] = -0.0",
    "eight": "float32[1, 1] = [8.0]",
    "eighth": "float32[1, 1] = [0.125]",
    "yes": "bool[4] = [True, True, True, True]",
}


def constants(text: str) -> str:
    """``name: param`` stands for the parameter of that name above."""
    for name, content in CONSTANTS.items():
        text = text.replace(f"{name}: param", f"param {name}: {content}")
    return text


def ending(text: str) -> str:
    return "" if "output" in text else Y


@pytest.mark.parametrize(
    "text",
    [
        X + "param zero: float32[] = 0.0\ny: float32[n, 4] = add(x, zero)",  # -0.0 + 0.0 is 0.0
        X + "param zero: float32[] = -0.0\ny: float32[n, 4] = sub(x, zero)",
        X + "param one: float32[1, 1, 1] = [1.0]\ny: float32[1, n, 4] = mul(x, one)",
        X + "param three: float32[] = 3.0\ny: float32[n, 4] = div(x, three)",
        X + "param zero: float32[] = 0.0\ny: float32[n, 4] = mul(x, zero)",
        X + "param no: bool[4] = [True, True, False, True]\ny: float32[n, 4] = where(no, x, x)",
        X + "y: float32[n, 4] = slice(x, starts=(0, 3), sizes=(n, 4), steps=(1, -1))",
        X + 'a: float16[n, 4] = cast(x, to="float16")\ny: float32[n, 4] = cast(a, to="float32")',
        X + "a: float32[n, 8] = concat(x, x, axis=1)\ny: float32[n, 12] = concat(a, x, axis=1)\n"
        "output a = a",
        "input x: int8[3]\na: int8[3] = abs(x)\ny: int8[3] = relu(a)",  # |-128| is -128
        X + "a: float32[4, n] = transpose(x, permutation=(1, 0))\noutput a = a\n"
        "y: float32[n, 4] = transpose(a, permutation=(1, 0))",
    ],
)
def test_simplify_declines(text: str) -> None:
    assert_stays(SIMPLIFY, text + Y)


def test_integer_clips() -> None:
    before = (
        "input x: int32[5]\nparam c: int32[] = 3\n"
        "a: int32[5] = maximum(x, c)\nb: int32[5] = relu(x)\ny: int32[5] = add(a, b)"
    )
    after = "input x: int32[5]\na: int32[5] = clip(x, low=3, high=2147483647)\n"
    after += "b: int32[5] = relu(x)\ny: int32[5] = add(a, b)"
    assert_becomes(SIMPLIFY, before + Y, after + Y, 0.0)


# --- constants ---------------------------------------------------------------------------


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


# --- convolutions ------------------------------------------------------------------------

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


# --- recognised operators ----------------------------------------------------------------


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


# --- transpositions ----------------------------------------------------------------------

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


# --- half precision ----------------------------------------------------------------------


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


# --- fusion ------------------------------------------------------------------------------


def members(graph: Graph) -> list[str]:
    """The operators of each node, in order; those of groups joined by ``+``."""
    found = []
    for node in graph.operators():
        group = node.attrs.get("group")
        inner = group.operators() if isinstance(group, Graph) else [node]
        found.append("+".join(each.op.name for each in inner))
    return found


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
            + VECTOR
            + "a: float32[n, 2] = matmul(x, w)\nc: float32[n, 2] = add(a, b)\n"
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


# --- control flow ------------------------------------------------------------------------

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


# --- all together ------------------------------------------------------------------------


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
