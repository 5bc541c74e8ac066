"""Primitives that become several operators, each a model of one node, against NumPy in float64.

Each is also written as MindIR and ONNX: read again it is the same graph, and ONNX Runtime
computes the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from opweave.compiler.driver import compile_graph
from opweave.formats.mindir.encode import fill_result, fill_type
from opweave.formats.mindir.model_writer import ModelWriter
from opweave.formats.mindir.read import read
from opweave.formats.mindir.schema import message
from opweave.formats.mindir.write import write
from opweave.formats.mindir.writer import Writer
from opweave.formats.onnx.write import write as write_onnx
from opweave.ir import Graph, ModelError, TensorType, UnsupportedError
from opweave.ir.evaluate import evaluate
from opweave.ir.same import same

Array = np.ndarray[Any, Any]
GENERATOR = np.random.default_rng(7)


def model(primitive: str, inputs: list[Any], results: list[TensorType], **settings: Any) -> Graph:
    """The graph of a file with one node; arrays are inputs of the model, others constants."""
    shared = ModelWriter("net")
    proto = message("ModelProto")(
        producer_name="MindSpore", model_version="2.10.0", little_endian=True, mind_ir_version=2
    )
    proto.graph.name = "net"
    w = Writer(Graph("net"), shared, "net")
    names: list[Any] = []
    for k, item in enumerate(inputs):
        if isinstance(item, np.ndarray):
            name = shared.fresh(f"net:x{k}")
            type_ = TensorType.of(item)
            fill_type(proto.graph.input.add(name=name).tensor.add(name=name), type_)
            names.append(name)
        else:
            names.append(item)
    single = len(results) == 1
    found = w.primitive(primitive, *names, type=results[0] if single else results, **settings)
    output = proto.graph.output.add(name=found)
    if single:
        fill_type(output.tensor.add(name=found), results[0])
    else:
        output.denotation = "Tuple"
        fill_result(output.attr_info, results, False)
    proto.graph.node.extend(shared.constants)
    proto.graph.node.extend(w.nodes)
    proto.primitives.extend(shared.primitives)
    return read(proto.SerializeToString())


def floats(*shape: int) -> Array:
    return GENERATOR.standard_normal(shape).astype(np.float32)


def check(graph: Graph, inputs: list[Array], wanted: list[Array]) -> None:
    """The reference, what is written and ONNX Runtime agree with ``wanted``."""
    again = read(write(graph))
    assert same(graph, again)
    session = onnxruntime.InferenceSession(write_onnx(graph), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    by_runtime = session.run(None, dict(zip(names, inputs, strict=True)))
    for found in (evaluate(graph, inputs), by_runtime):
        assert len(found) == len(wanted)
        for mine, theirs in zip(found, wanted, strict=True):
            assert mine.shape == theirs.shape
            scale = max(float(np.max(np.abs(theirs), initial=0)), 1e-6)
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-5 * scale)


def types(*found: Array) -> list[TensorType]:
    return [TensorType.of(array) for array in found]


# --- linear algebra --------------------------------------------------------------------------

SQUARE = floats(3, 4, 4) + 2 * np.eye(4, dtype=np.float32)
POSITIVE = SQUARE @ SQUARE.transpose(0, 2, 1) + np.eye(4, dtype=np.float32)
# The first pivot is zero: rows must change places.
TURNED = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 3.0], [4.0, 1.0, 0.0]], np.float32)


def test_inverse() -> None:
    for matrix in (SQUARE, TURNED):
        wanted = np.linalg.inv(matrix.astype(np.float64))
        graph = model("MatrixInverse", [matrix], types(matrix), adjoint=False)
        check(graph, [matrix], [wanted])


def test_a_compiled_inverse() -> None:
    graph = model("MatrixInverse", [TURNED], types(TURNED), adjoint=True)
    (found,) = compile_graph(graph).run(None, {graph.inputs[0].node: TURNED})
    np.testing.assert_allclose(found, np.linalg.inv(TURNED.T), atol=1e-5)


def test_solutions() -> None:
    right = floats(3, 4, 2)
    wanted = np.linalg.solve(SQUARE.astype(np.float64), right)
    check(model("MatrixSolve", [SQUARE, right], types(right)), [SQUARE, right], [wanted])


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky(upper: bool) -> None:
    factor = np.linalg.cholesky(POSITIVE.astype(np.float64))
    factor = factor.transpose(0, 2, 1) if upper else factor
    check(model("Cholesky", [POSITIVE], types(POSITIVE), upper=upper), [POSITIVE], [factor])
    right = floats(3, 4, 2)
    given = factor.astype(np.float32)
    graph = model("CholeskySolve", [right, given], types(right), upper=upper)
    check(graph, [right, given], [np.linalg.solve(POSITIVE.astype(np.float64), right)])
    inverse = np.linalg.inv(POSITIVE[0].astype(np.float64))
    graph = model("CholeskyInverse", [given[0]], types(given[0]), upper=upper)
    check(graph, [given[0]], [inverse])


def test_logarithms_of_determinants() -> None:
    matrices = np.stack([TURNED, -TURNED])
    sign, size = np.linalg.slogdet(matrices.astype(np.float64))
    results = [TensorType("float32", (2,))] * 2
    check(model("LogMatrixDeterminant", [matrices], results), [matrices], [sign, size])


def test_powers_and_bands() -> None:
    wanted = np.linalg.matrix_power(SQUARE.astype(np.float64), -3)
    check(model("MatrixPower", [SQUARE], types(SQUARE), n=-3), [SQUARE], [wanted])
    wanted = np.triu(np.tril(SQUARE, 2), -1)
    graph = model("MatrixBandPart", [SQUARE, 1, 2], types(SQUARE))
    check(graph, [SQUARE], [wanted])


def test_matrices_that_are_not_square_are_refused() -> None:
    wide = floats(2, 3)
    with pytest.raises(ModelError, match="no square matrices"):
        model("MatrixInverse", [wide], types(wide))


# --- running extremes and counts -------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    arrays(np.int32, st.tuples(st.integers(1, 3), st.integers(1, 9)), elements=st.integers(0, 4))
)
def test_running_extremes(x: Array) -> None:
    """Values as NumPy's; of equal ones the last place."""
    for primitive, function in (("Cummax", np.maximum), ("Cummin", np.minimum)):
        best = function.accumulate(x, axis=1)
        places = np.zeros(x.shape, np.int64)
        for row, column in np.ndindex(*x.shape):
            until = x[row, : column + 1]
            places[row, column] = np.flatnonzero(until == best[row, column])[-1]
        graph = model(primitive, [x, 1], types(best, places))
        found = evaluate(graph, [x])
        np.testing.assert_array_equal(found[0], best)
        np.testing.assert_array_equal(found[1], places)


def test_what_is_not_a_number_stays_the_extreme() -> None:
    x = np.array([1, 3, np.nan, 5, np.nan, 2], np.float32)
    graph = model("Cummax", [x, 0], [TensorType("float32", (6,)), TensorType("int64", (6,))])
    values, places = evaluate(graph, [x])
    np.testing.assert_array_equal(values, [1, 3, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(places, [0, 1, 2, 2, 4, 4])


def test_running_logarithms() -> None:
    x = floats(3, 5)
    wanted = np.logaddexp.accumulate(x.astype(np.float64), axis=1)
    check(model("CumulativeLogsumexp", [x, 1], types(x)), [x], [wanted])


@settings(max_examples=10, deadline=None)
@given(arrays(np.int32, 6, elements=st.integers(-40, 40)))
def test_divisors(x: Array) -> None:
    y = x[::-1].copy() // 2
    for primitive, function in (("Gcd", math.gcd), ("Lcm", math.lcm)):
        wanted = [function(int(a), int(b)) for a, b in zip(x, y, strict=True)]
        np.testing.assert_array_equal(
            evaluate(model(primitive, [x, y], types(x)), [x, y])[0], wanted
        )


def test_divisors_elsewhere() -> None:
    x, y = np.array([12, 0, -35, 7], np.int32), np.array([[18], [0]], np.int32)
    graph = model("Gcd", [x, y], [TensorType("int32", (2, 4))])
    check(graph, [x, y], [np.gcd(x, y)])


def test_histograms() -> None:
    x = floats(40)
    counts, _ = np.histogram(x, 5, (-1.0, 2.0))
    result = [TensorType("float32", (5,))]
    graph = model("Histogram", [x], result, bins=5, min=-1.0, max=2.0)
    check(graph, [x], [counts])
    counts, _ = np.histogram(x, 5)
    check(model("Histogram", [x], result, bins=5, min=0.0, max=0.0), [x], [counts])


# --- places ----------------------------------------------------------------------------------


def test_unpooling() -> None:
    x = floats(2, 3, 2, 2)
    places = np.stack([GENERATOR.permutation(16)[:4] for _ in range(6)]).reshape(2, 3, 2, 2)
    wanted = np.zeros((2, 3, 16))
    np.put_along_axis(wanted, places.reshape(2, 3, 4), x.reshape(2, 3, 4), axis=2)
    sizes = {name: (1, 1, 2, 2) for name in ("ksize", "strides")}
    result = [TensorType("float32", (2, 3, 4, 4))]
    graph = model(
        "MaxUnpool2D",
        [x, places],
        result,
        **sizes,
        pads=(1, 1, 0, 0),
        output_shape=(),
        format="NCHW",
    )
    check(graph, [x, places], [wanted.reshape(2, 3, 4, 4)])


def test_offsets_of_zero_are_windows() -> None:
    """Without offsets and with masks of one the windows of a convolution stand side by side."""
    x = floats(1, 2, 4, 5)
    offsets = np.zeros((1, 27, 4, 5), np.float32)
    offsets[:, 18:] = 1
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    wanted = np.zeros((1, 2, 12, 15))
    for row, column in np.ndindex(4, 5):
        window = padded[:, :, row : row + 3, column : column + 3]
        wanted[:, :, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] = window
    graph = model(
        "DeformableOffsets",
        [x, offsets],
        [TensorType("float32", (1, 2, 12, 15))],
        strides=(1, 1, 1, 1),
        pads=(1, 1, 1, 1),
        ksize=(3, 3),
        dilations=(1, 1, 1, 1),
        format="NCHW",
        deformable_groups=1,
        modulated=True,
    )
    check(graph, [x, offsets], [wanted])


# --- derivatives -----------------------------------------------------------------------------

# The primitive, the function, and whether dy comes first, beside the result or the operand.
SLOPES: list[tuple[str, Callable[[Array], Array], bool, bool]] = [
    ("TanhGrad", np.tanh, False, True),
    ("SigmoidGrad", lambda x: 1 / (1 + np.exp(-x)), False, True),
    ("SqrtGrad", np.sqrt, False, True),
    ("RsqrtGrad", lambda x: 1 / np.sqrt(x), False, True),
    ("ReciprocalGrad", lambda x: 1 / x, False, True),
    ("ReluGrad", lambda x: np.maximum(x, 0), True, True),
    ("ReLU6Grad", lambda x: np.clip(x, 0, 6), True, False),
    ("EluGrad", lambda x: np.where(x < 0, np.expm1(x), x), True, True),
    ("SiLUGrad", lambda x: x / (1 + np.exp(-x)), True, False),
    ("HSigmoidGrad", lambda x: np.clip(x / 6 + 0.5, 0, 1), True, False),
    ("HSwishGrad", lambda x: x * np.clip(x / 6 + 0.5, 0, 1), True, False),
    ("SoftplusGrad", lambda x: np.log1p(np.exp(x)), True, False),
    ("AbsGrad", np.abs, False, False),
    ("AtanGrad", np.arctan, False, False),
    ("AsinGrad", np.arcsin, False, False),
    ("ACosGrad", np.arccos, False, False),
    ("AsinhGrad", np.arcsinh, False, True),
    ("AcoshGrad", np.arccosh, False, True),
]


@pytest.mark.parametrize(("primitive", "function", "behind", "result"), SLOPES)
def test_slopes(
    primitive: str, function: Callable[[Array], Array], behind: bool, result: bool
) -> None:
    """Against quotients of small differences in float64."""
    x = np.linspace(0.1, 0.9, 7)
    x = {"AcoshGrad": x + 1.5, "HSwishGrad": 4 * x - 2, "EluGrad": x - 0.55}.get(primitive, x)
    slope = (function(x + 1e-6) - function(x - 1e-6)) / 2e-6
    dy = floats(7)
    known = (function(x) if result else x).astype(np.float32)
    inputs = [dy, known] if behind else [known, dy]
    check(model(primitive, inputs, types(dy)), inputs, [dy * slope])


def test_gradients_of_windows() -> None:
    """A convolution's filter and pools, against sums of windows in float64."""
    x, dy = floats(2, 2, 6, 5), floats(2, 4, 3, 3)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.float64)
    wanted = np.zeros((4, 1, 3, 3))
    for row, column in np.ndindex(3, 3):
        window = padded[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        for out in range(4):
            share = np.tensordot(dy[:, out, row, column], window[:, out // 2], 1)
            wanted[out, 0] += share
    graph = model(
        "Conv2DBackpropFilter",
        [dy, x, (4, 1, 3, 3)],
        [TensorType("float32", (4, 1, 3, 3))],
        pad_mode="pad",
        pad=(1, 1, 1, 1),
        stride=(1, 1, 2, 2),
        dilation=(1, 1, 1, 1),
        group=2,
        format="NCHW",
    )
    check(graph, [dy, x], [wanted])
    dy = floats(2, 2, 3, 2)
    highest, mean = np.zeros((2, 2, 6, 5)), np.zeros((2, 2, 6, 5))
    for n, c, row, column in np.ndindex(2, 2, 3, 2):
        window = x[n, c, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        place = np.unravel_index(window.argmax(), (2, 2))
        highest[n, c, 2 * row + place[0], 2 * column + place[1]] += dy[n, c, row, column]
        mean[n, c, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += dy[n, c, row, column] / 4
    settings = {"kernel_size": (1, 1, 2, 2), "strides": (1, 1, 2, 2), "pad_mode": "valid"}
    for primitive, found in (("MaxPoolGrad", highest), ("AvgPoolGrad", mean)):
        graph = model(primitive, [x, dy, dy], types(x), **settings)
        inputs = [np.asarray(v) for v in (x, dy, dy)]
        assert same(graph, read(write(graph)))
        np.testing.assert_allclose(evaluate(graph, inputs)[0], found, atol=1e-6)


def test_an_optimizer_writes_what_is_read_later() -> None:
    """A step alone gives the parameter's next value; more than a run knows is refused."""
    held, gradient = floats(3), floats(3)
    graph = model("ApplyGradientDescent", [held, 0.5, gradient], types(held))
    np.testing.assert_allclose(
        evaluate(graph, [held, gradient])[0], held - 0.5 * gradient, atol=1e-7
    )
    with pytest.raises(UnsupportedError, match="ApplyFtrl"):
        model("ApplyFtrl", [held, gradient], types(held))
