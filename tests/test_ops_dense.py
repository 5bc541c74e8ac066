"""Matrix products, convolutions, pools, normalisations, recurrent layers, einsum and resize.

Their NumPy references are the oracle of all other tests, so they are compared here with ONNX
Runtime on random shapes and with the outputs that ONNX itself gives for its operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from opweave.compiler.driver import compile_graph
from opweave.compiler.interpret import run_reference
from opweave.ir import Graph, Op, TensorType, symbol
from opweave.ops import (
    convolution,
    convolution_transpose,
    detection,
    einsum,
    grid_sample,
    layer_normalization,
    lstm,
    matmul,
    max_pool,
    normalization,
    pool,
    recurrent,
    softmax,
)
from opweave.ops.recurrent_common import FUNCTIONS
from opweave.ops.registry import operator_named
from opweave.ops.samples import tensor
from opweave.ops.spatial import resolve_auto_pad

Array = np.ndarray[Any, Any]
QUICK = settings(max_examples=25, deadline=None)


def runtime(
    name: str,
    inputs: Sequence[Array | None],
    attributes: Mapping[str, Any],
    outputs: int = 1,
    opset: int = 21,
) -> list[Array]:
    """What ONNX Runtime computes for one node."""
    names = ["" if array is None else f"x{number}" for number, array in enumerate(inputs)]
    results = [f"y{number}" for number in range(outputs)]
    node = helper.make_node(name, names, results, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(
                text, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for text, array in zip(names, inputs, strict=True)
            if array is not None
        ],
        [helper.make_empty_tensor_value_info(text) for text in results],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        onnx.shape_inference.infer_shapes(model).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    feed = {text: a for text, a in zip(names, inputs, strict=True) if a is not None}
    return list(session.run(None, feed))


def compare(
    op: Op, inputs: Sequence[Array | None], wanted: Sequence[Array], **attributes: Any
) -> None:
    """The reference gives what ONNX Runtime gave."""
    with np.errstate(all="ignore"):
        found = op.reference(*inputs, **attributes)
    results = list(found) if isinstance(found, tuple) else [found]
    for got, want in zip(results, wanted, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4)


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    """Attributes of a sliding window and extents that it fits into."""
    rank = draw(st.integers(1, 3))

    def entries(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    kernel, strides, dilations = entries(1, 3), entries(1, 3), entries(1, 2)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begin = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    end = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    spatial = tuple(span + extra for span, extra in zip(reach, entries(0, 5), strict=True))
    return {
        "kernel": kernel,
        "strides": strides,
        "dilations": dilations,
        "pads_begin": begin,
        "pads_end": end,
        "spatial": spatial,
    }


def onnx_window(window: Mapping[str, Any]) -> dict[str, Any]:
    """The window as ONNX attributes."""
    return {
        "kernel_shape": window["kernel"],
        "strides": window["strides"],
        "dilations": window["dilations"],
        "pads": (*window["pads_begin"], *window["pads_end"]),
    }


def our_window(window: Mapping[str, Any], *without: str) -> dict[str, Any]:
    """The window as attributes of our operators."""
    return {name: value for name, value in window.items() if name not in ("spatial", *without)}


@given(windows(), st.sampled_from([(1, 2, 3), (2, 1, 1), (3, 1, 2)]), st.booleans())
@QUICK
def test_convolution(window: dict[str, Any], channels: tuple[int, int, int], biased: bool) -> None:
    groups, per_group, maps = channels
    x = tensor((2, groups * per_group, *window["spatial"]))
    w = tensor((groups * maps, per_group, *window["kernel"]))
    inputs = [x, w, *([tensor((groups * maps,))] if biased else [])]
    wanted = runtime("Conv", inputs, {**onnx_window(window), "group": groups})
    compare(convolution.convolution, inputs, wanted, **our_window(window, "kernel"), groups=groups)


@given(windows(), st.sampled_from([(1, 2, 3), (2, 1, 1), (3, 2, 1)]))
@QUICK
def test_convolution_transpose(window: dict[str, Any], channels: tuple[int, int, int]) -> None:
    groups, per_group, maps = channels
    x = tensor((1, groups * per_group, *window["spatial"]))
    inputs = [x, tensor((groups * per_group, maps, *window["kernel"])), tensor((groups * maps,))]
    extra = tuple(stride - 1 for stride in window["strides"])
    attributes = {**onnx_window(window), "group": groups, "output_padding": extra}
    compare(
        convolution_transpose.convolution_transpose,
        inputs,
        runtime("ConvTranspose", inputs, attributes),
        **our_window(window, "kernel"),
        output_padding=extra,
        groups=groups,
    )


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_automatic_padding(auto_pad: str, stride: int) -> None:
    x, w = tensor((1, 2, 9, 10)), tensor((3, 2, 3, 4))
    strides, dilations = (stride, stride), (1, 1)
    attributes = {"auto_pad": auto_pad, "strides": strides, "dilations": dilations}
    begin, end = resolve_auto_pad(auto_pad, (9, 10), (3, 4), strides, dilations)
    compare(
        convolution.convolution,
        [x, w],
        runtime("Conv", [x, w], attributes),
        strides=strides,
        dilations=dilations,
        pads_begin=begin,
        pads_end=end,
    )


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "NOTSET"])
@pytest.mark.parametrize("output_shape", [(), (11, 9), (12, 10)])
def test_transposed_padding(auto_pad: str, output_shape: tuple[int, ...]) -> None:
    x, w = tensor((1, 2, 5, 4)), tensor((2, 3, 4, 3))
    attributes: dict[str, Any] = {"auto_pad": auto_pad, "strides": (2, 2)}
    if output_shape:
        attributes["output_shape"] = output_shape
    begin, end = convolution_transpose.resolve_transposed_padding(
        auto_pad, output_shape, (5, 4), (4, 3), (2, 2), (1, 1), ()
    )
    compare(
        convolution_transpose.convolution_transpose,
        [x, w],
        runtime("ConvTranspose", [x, w], attributes, opset=17),
        strides=(2, 2),
        pads_begin=begin,
        pads_end=end,
    )


@given(windows(), st.booleans())
@QUICK
def test_max_pool(window: dict[str, Any], ceil_mode: bool) -> None:
    x = tensor((2, 3, *window["spatial"]))
    attributes = {**onnx_window(window), "ceil_mode": int(ceil_mode)}
    wanted = runtime("MaxPool", [x], attributes, opset=22)
    compare(max_pool.max_pool, [x], wanted, **our_window(window), ceil_mode=ceil_mode)


@given(windows(), st.booleans(), st.integers(0, 1))
@QUICK
def test_max_pool_with_indices(window: dict[str, Any], ceil_mode: bool, order: int) -> None:
    x = tensor((2, 3, *window["spatial"]))
    attributes = {**onnx_window(window), "ceil_mode": int(ceil_mode), "storage_order": order}
    wanted = runtime("MaxPool", [x], attributes, outputs=2, opset=22)
    compare(
        max_pool.max_pool_with_indices,
        [x],
        wanted,
        **our_window(window),
        ceil_mode=ceil_mode,
        storage_order=order,
    )


@given(windows(), st.booleans(), st.booleans())
@QUICK
def test_average_pool(window: dict[str, Any], ceil_mode: bool, include: bool) -> None:
    x = tensor((2, 3, *window["spatial"]))
    attributes = {
        **onnx_window(window),
        "ceil_mode": int(ceil_mode),
        "count_include_pad": int(include),
    }
    wanted = runtime("AveragePool", [x], attributes, opset=22)
    compare(
        pool.average_pool,
        [x],
        wanted,
        **our_window(window),
        ceil_mode=ceil_mode,
        count_include_pad=include,
    )


@given(windows(), st.booleans(), st.integers(1, 3))
@QUICK
def test_lp_pool(window: dict[str, Any], ceil_mode: bool, p: int) -> None:
    x = tensor((2, 3, *window["spatial"]))
    attributes = {**onnx_window(window), "ceil_mode": int(ceil_mode), "p": p}
    wanted = runtime("LpPool", [x], attributes, opset=22)
    compare(pool.lp_pool, [x], wanted, **our_window(window), ceil_mode=ceil_mode, p=p)


LAYERS: list[tuple[str, Op, int, int]] = [
    ("LSTM", lstm.lstm, 4, 3),
    ("GRU", recurrent.gru, 3, 2),
    ("RNN", recurrent.rnn, 1, 2),
]


@pytest.mark.parametrize(("name", "op", "gates", "outputs"), LAYERS)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("variant", ["plain", "full", "clip"])
def test_recurrent(
    name: str, op: Op, gates: int, outputs: int, direction: str, variant: str
) -> None:
    directions = 2 if direction == "bidirectional" else 1
    inputs: list[Array | None] = [
        tensor((5, 3, 4)),
        tensor((directions, gates * 6, 4)),
        tensor((directions, gates * 6, 6), low=-1, high=1),
    ]
    attributes: dict[str, Any] = {"hidden_size": 6, "direction": direction}
    if variant != "plain":
        inputs += [
            tensor((directions, 2 * gates * 6)),
            np.array([5, 1, 3], np.int32),
            tensor((directions, 3, 6)),
        ]
    if variant == "full" and name == "LSTM":
        inputs += [tensor((directions, 3, 6), seed=1), tensor((directions, 18))]
    if variant == "full" and name == "GRU":
        attributes["linear_before_reset"] = 1
    if variant == "clip":
        attributes["clip"] = 0.4
    wanted = runtime(name, inputs, attributes, outputs)
    compare(op, inputs, wanted, **attributes)


# As ONNX Runtime spells them; its Affine, ThresholdedRelu and ScaledTanh take their parameters
# from other places than ONNX says, so they are compared with the formulas below.
@pytest.mark.parametrize(
    "function",
    ["Sigmoid", "Tanh", "Relu", "LeakyRelu", "HardSigmoid", "Elu", "Softsign", "Softplus"],
)
def test_activations(function: str) -> None:
    inputs = [
        tensor((5, 3, 4)),
        tensor((1, 18, 4), low=-0.5, high=0.5),
        tensor((1, 18, 6), low=-0.2, high=0.2),
    ]
    _, alpha, beta = FUNCTIONS[function.lower()]
    attributes: dict[str, Any] = {"hidden_size": 6, "activations": [function, "Tanh"]}
    if alpha is not None:
        attributes["activation_alpha"] = [0.7]
    if beta is not None:
        attributes["activation_beta"] = [0.3]
    compare(recurrent.gru, inputs, runtime("GRU", inputs, attributes, 2), **attributes)


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        ("Affine", lambda x: 0.7 * x + 0.3),
        ("ThresholdedRelu", lambda x: np.where(x >= 0.7, x, 0)),
        ("ScaledTanh", lambda x: 0.7 * np.tanh(0.3 * x)),
    ],
)
def test_scaled_activations(function: str, formula: Callable[[Array], Array]) -> None:
    x, w, r = tensor((1, 3, 4)), tensor((1, 6, 4)), np.zeros((1, 6, 6), np.float32)
    beta = [0.3] if FUNCTIONS[function.lower()][2] is not None else []
    y, _ = recurrent.rnn.reference(
        x, w, r, hidden_size=6, activations=[function], activation_alpha=[0.7], activation_beta=beta
    )
    np.testing.assert_allclose(y[0, 0], formula(x[0] @ w[0].T), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk", [(3, 4), (4, 5)]),
        ("...ij,...jk->...ik", [(2, 1, 3, 4), (1, 5, 4, 2)]),
        ("bqhd,bkhd->bhqk", [(2, 5, 3, 4), (2, 6, 3, 4)]),
        ("ij,jk,kl->il", [(3, 4), (4, 5), (5, 2)]),
        ("...ii->...i", [(2, 3, 3)]),
        ("i,j->ji", [(4,), (3,)]),
        ("ij->", [(4, 3)]),
        ("ijk,ikl->lj", [(4, 3, 2), (4, 2, 5)]),
    ],
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    inputs = [tensor(shape, seed=number) for number, shape in enumerate(shapes)]
    wanted = runtime("Einsum", inputs, {"equation": equation})
    compare(einsum.einsum, inputs, wanted, equation=equation)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3, 4), (4, 5)),
        ((4,), (2, 4, 3)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((2, 3, 4), (4,)),
        ((4,), (4,)),
    ],
)
def test_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    inputs = [tensor(left), tensor(right)]
    compare(matmul.matmul, inputs, runtime("MatMul", inputs, {}))


def _vectors(number: int) -> list[Array]:
    return [tensor((4,), low=0.2, seed=seed) for seed in range(number)]


X = tensor((2, 4, 5, 3))
FIRST = ({"axis": 1}, {"axis": 1})
LRN = {"size": 5, "alpha": 0.5, "beta": 0.6, "bias": 1.5}
LAYER = [X, tensor((4, 5, 3)), tensor((4, 5, 3), seed=1)]
NORMALIZATIONS: list[tuple[str, Op, list[Array], dict[str, Any], dict[str, Any]]] = [
    ("BatchNormalization", normalization.batch_normalization, [X, *_vectors(4)], {}, {}),
    ("LayerNormalization", layer_normalization.layer_normalization, LAYER, *FIRST),
    (
        "GroupNormalization",
        normalization.group_normalization,
        [X, *_vectors(2)],
        {"num_groups": 2},
        {"groups": 2},
    ),
    ("InstanceNormalization", normalization.instance_normalization, [X, *_vectors(2)], {}, {}),
    ("LRN", normalization.lrn, [tensor((2, 7, 5, 3))], LRN, LRN),
    ("LpNormalization", normalization.lp_normalization, [X], {"p": 1}, {"p": 1}),
    ("LpNormalization", normalization.lp_normalization, [X], *FIRST),
    ("Softmax", softmax.softmax, [X], *FIRST),
    ("LogSoftmax", softmax.log_softmax, [X], *FIRST),
    ("Hardmax", softmax.hardmax, [X.round()], *FIRST),
]


@pytest.mark.parametrize(
    ("name", "op", "inputs", "theirs", "ours"),
    NORMALIZATIONS,
    ids=[row[0] for row in NORMALIZATIONS],
)
def test_normalization(
    name: str, op: Op, inputs: list[Array], theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    compare(op, inputs, runtime(name, inputs, theirs), **ours)


def test_layer_normalization_statistics() -> None:
    inputs = [tensor((2, 4, 5)), tensor((4, 5)), tensor((4, 5), seed=1)]
    wanted = runtime("LayerNormalization", inputs, {"axis": 1}, 3, opset=17)
    compare(layer_normalization.layer_normalization_statistics, inputs, wanted, axis=1)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("aligned", [False, True])
def test_grid_sample(mode: str, padding: str, aligned: bool) -> None:
    inputs = [tensor((2, 3, 5, 4)), tensor((2, 3, 4, 2), low=-1.6, high=1.6)]
    theirs = {"mode": mode, "padding_mode": padding, "align_corners": int(aligned)}
    wanted = runtime("GridSample", inputs, theirs)
    ours = {"mode": mode, "padding": padding, "align_corners": aligned}
    compare(grid_sample.grid_sample, inputs, wanted, **ours)


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("half_pixel", [False, True])
def test_roi_align(ratio: int, half_pixel: bool) -> None:
    regions = np.array([[0, 0, 7, 5], [2.5, 1, 4, 6.5], [-3, 2, 20, 3]], np.float32)
    inputs = [tensor((2, 3, 6, 8)), regions, np.array([0, 1, 1])]
    same = {"output_height": 2, "output_width": 3, "sampling_ratio": ratio, "spatial_scale": 0.7}
    kind = "half_pixel" if half_pixel else "output_half_pixel"
    wanted = runtime("RoiAlign", inputs, {**same, "coordinate_transformation_mode": kind})
    compare(detection.roi_align, inputs, wanted, **same, half_pixel=half_pixel)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("most", [1, 3, 50])
def test_non_max_suppression(centred: bool, most: int) -> None:
    boxes, scores = tensor((2, 20, 4), low=0, high=4), tensor((2, 3, 20), low=0, high=1)
    limits = [np.array([0.3], np.float32), np.array([0.2], np.float32)]
    (wanted,) = runtime(
        "NonMaxSuppression",
        [boxes, scores, np.array([most]), *limits],
        {"center_point_box": int(centred)},
    )
    rows, number = detection.non_max_suppression.reference(
        boxes, scores, *limits, most=most, centred=centred
    )
    np.testing.assert_array_equal(rows[: number.item()], wanted)
    assert not rows[number.item() :].any()


B, T, N, H, W = (symbol(name) for name in "BTNHW")


def of(*shape: Any) -> TensorType:
    """A float32 type."""
    return TensorType("float32", shape)


PADDED = {"pads_begin": (1, 1), "pads_end": (1, 1)}
POOL = {"kernel": (3, 3), "strides": (2, 2), "ceil_mode": True, **PADDED}
SAME = resolve_auto_pad("SAME_LOWER", (H, W), (3, 3), (2, 2), (1, 1))
RECURRENT = {"hidden_size": 6, "direction": "bidirectional"}
LAYER_TYPES = [of(T, B, 5), of(2, 24, 5), of(2, 24, 6)]
SYMBOLIC: list[tuple[str, list[TensorType], dict[str, Any]]] = [
    ("matmul", [of(B, N, H), of(H, 8)], {}),
    ("matmul", [of(B, N, H), of(N, H)], {"transpose_b": True}),
    ("matmul", [of(B, H, N), of(B, T, H)], {"transpose_a": True, "transpose_b": True}),
    ("einsum", [of(B, T, 3, N), of(B, H, 3, N)], {"equation": "bqhd,bkhd->bhqk"}),
    ("einsum", [of(T, N), of(N, B), of(B, 5)], {"equation": "ij,jk,kl->il"}),
    ("convolution", [of(N, 6, H, W), of(8, 6, 3, 3), of(8)], PADDED),
    (
        "convolution",
        [of(N, 6, H, W), of(8, 6, 3, 3)],
        {"strides": (2, 2), "pads_begin": SAME[0], "pads_end": SAME[1]},
    ),
    ("convolution", [of(N, 6, H, W), of(6, 1, 3, 3)], {"groups": 6, **PADDED}),
    ("convolution", [of(N, 6, H, W), of(8, 6, 1, 1)], {"strides": (2, 2)}),
    ("convolution_transpose", [of(N, 6, H, W), of(6, 4, 3, 3)], {"strides": (2, 2), **PADDED}),
    ("max_pool", [of(N, 3, H, W)], POOL),
    ("max_pool_with_indices", [of(N, 3, H, W)], POOL),
    ("average_pool", [of(N, 3, H, W)], POOL),
    ("softmax", [of(N, T, W)], {"axis": 1}),
    ("log_softmax", [of(N, T, W)], {}),
    ("layer_normalization", [of(N, T, W), of(W), of(W)], {}),
    ("group_normalization", [of(N, 4, H, W), of(4), of(4)], {"groups": 2}),
    ("instance_normalization", [of(N, 4, H, W), of(4), of(4)], {}),
    ("lrn", [of(N, 4, H, W)], {"size": 3}),
    ("lstm", LAYER_TYPES, RECURRENT),
    ("resize", [of(N, 3, H, W)], {"sizes": (N, 3, 2 * H, 9), "mode": "linear"}),
    ("resize", [of(N, 3, H, W)], {"sizes": (N, 3, 5, 9), "mode": "cubic", "antialias": True}),
    ("grid_sample", [of(N, 3, H, W), of(N, T, B, 2)], {}),
]


@pytest.mark.parametrize(("name", "types", "attributes"), SYMBOLIC)
def test_symbolic_shapes(name: str, types: list[TensorType], attributes: dict[str, Any]) -> None:
    graph = Graph(name)
    operands = [graph.input(f"x{number}", type_) for number, type_ in enumerate(types)]
    for value in graph.add_node(operator_named(name), operands, attributes).outputs:
        graph.output(value)
    session = compile_graph(graph)
    for extents in (
        {"B": 1, "T": 1, "N": 1, "H": 3, "W": 4},
        {"B": 3, "T": 5, "N": 2, "H": 8, "W": 33},
    ):
        shapes = [type_.substitute(extents).static_shape for type_ in types]
        inputs = [tensor(shape, low=-1, high=1) for shape in shapes]
        found = session.run(
            None, {spec.name: x for spec, x in zip(session.inputs, inputs, strict=True)}
        )
        for got, want in zip(found, run_reference(graph, inputs), strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
