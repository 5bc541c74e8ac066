"""Matrix products, recurrent layers, einsum, normalisations and detection against ONNX Runtime.

Their NumPy references are the oracle of all other tests, so they are compared here on random
shapes and with the outputs that ONNX itself gives for its operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from opweave.ir import Op
from opweave.ops import (
    detection,
    einsum,
    grid_sample,
    layer_normalization,
    lstm,
    matmul,
    normalization,
    recurrent,
    softmax,
)
from opweave.ops.recurrent_common import FUNCTIONS
from opweave.ops.samples import tensor

from .against_runtime import Array, compare, runtime

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
