"""Layers with MindSpore's arguments: checkpoints fit by name, outputs agree."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest

import opweave as ow
from opweave.ir import TensorType
from opweave.ir.evaluate import evaluate
from opweave.networks import layers as nn
from opweave.networks import trace

# A layer's name, its positional and named arguments, the shapes of its inputs.
Case = tuple[str, tuple[Any, ...], dict[str, Any], list[tuple[int, ...]]]


def case(name: str, *args: Any, shapes: list[tuple[int, ...]], **options: Any) -> Case:
    return name, args, options, shapes


ROWS, IMAGES, VOLUMES = [(2, 6, 9)], [(2, 6, 9, 8)], [(2, 6, 5, 7, 6)]
CASES = [
    case("Dense", 8, 3, shapes=IMAGES),
    case("Dense", 8, 3, has_bias=False, activation="hswish", shapes=[(4, 8)]),
    case("BiDense", 5, 4, 3, shapes=[(7, 5), (7, 4)]),
    # convolution
    case("Conv1d", 6, 4, 3, shapes=ROWS),
    case("Conv1d", 6, 4, 3, 2, "pad", 1, group=2, has_bias=True, shapes=ROWS),
    case("Conv2d", 6, 4, 3, shapes=IMAGES),
    case("Conv2d", 6, 4, (3, 2), (2, 1), "pad", (1, 0, 2, 1), has_bias=True, shapes=IMAGES),
    case("Conv2d", 6, 6, 3, 2, "same", dilation=2, group=6, shapes=IMAGES),
    case("Conv2d", 6, 4, 3, 1, "valid", group=2, shapes=IMAGES),
    case("Conv3d", 6, 4, 3, shapes=VOLUMES),
    case("Conv3d", 6, 4, (1, 3, 2), 2, "pad", (0, 0, 1, 2, 1, 0), has_bias=True, shapes=VOLUMES),
    case("Conv3d", 6, 4, 3, 1, "valid", group=2, has_bias=True, shapes=VOLUMES),
    case("Conv1dTranspose", 6, 4, 3, 2, has_bias=True, shapes=ROWS),
    case("Conv1dTranspose", 6, 4, 3, 2, "pad", 1, shapes=ROWS),
    case("Conv2dTranspose", 6, 4, 3, 2, has_bias=True, shapes=IMAGES),
    case("Conv2dTranspose", 6, 4, (4, 3), 2, "pad", (1, 0, 2, 1), shapes=IMAGES),
    case("Conv2dTranspose", 6, 4, 3, 2, "pad", 1, 1, shapes=IMAGES),
    case("Conv2dTranspose", 6, 4, 2, 3, "valid", shapes=IMAGES),
    case("Conv2dTranspose", 6, 4, 4, 2, "valid", group=2, shapes=IMAGES),
    case("Conv3dTranspose", 6, 4, 3, 2, has_bias=True, shapes=VOLUMES),
    case("Conv3dTranspose", 6, 4, 3, 2, "valid", shapes=VOLUMES),
    case("Conv3dTranspose", 6, 4, 3, 2, "pad", 1, output_padding=1, shapes=VOLUMES),
    # normalisation
    case("BatchNorm1d", 6, shapes=[(4, 6)]),
    case("BatchNorm1d", 6, eps=1e-3, shapes=ROWS),
    case("BatchNorm2d", 6, shapes=IMAGES),
    case("BatchNorm3d", 6, shapes=VOLUMES),
    case("LayerNorm", (8,), shapes=IMAGES),
    case("LayerNorm", (6, 9, 8), 1, 1, epsilon=1e-3, shapes=IMAGES),
    case("LayerNorm", (8,), 2, -1, shapes=IMAGES),
    case("GroupNorm", 3, 6, shapes=IMAGES),
    case("GroupNorm", 2, 6, 1e-3, False, shapes=VOLUMES),
    # embedding
    case("Embedding", 9, 4, shapes=[(3, 5)]),
    case("Embedding", 9, 4, True, padding_idx=2, shapes=[(3, 5)]),
    case("EmbeddingLookup", 9, 4, shapes=[(3, 5)]),
    # pools
    case("MaxPool1d", 3, 2, shapes=ROWS),
    case("MaxPool1d", 3, 2, "pad", 1, dilation=2, shapes=ROWS),
    case("MaxPool2d", 3, 2, shapes=IMAGES),
    case("MaxPool2d", 3, 2, "same", shapes=IMAGES),
    case("MaxPool2d", (3, 2), 2, "pad", (1, 0), ceil_mode=True, shapes=IMAGES),
    case("MaxPool2d", 2, 2, shapes=[(6, 9, 8)]),
    case("MaxPool3d", 3, 2, shapes=VOLUMES),
    case("MaxPool3d", 3, 2, "pad", 1, shapes=VOLUMES),
    case("MaxPool3d", 2, 2, "same", shapes=VOLUMES),
    case("AvgPool1d", 3, 2, shapes=ROWS),
    case("AvgPool1d", 3, 2, "pad", 1, shapes=ROWS),
    case("AvgPool1d", 3, 2, "same", shapes=ROWS),
    case("AvgPool2d", 3, 2, "same", shapes=IMAGES),
    case("AvgPool2d", 3, 2, "pad", 1, shapes=IMAGES),
    case("AvgPool2d", 3, 2, "pad", 1, True, False, shapes=IMAGES),
    case("AvgPool2d", (3, 2), 2, "pad", (1, 0), divisor_override=4, shapes=IMAGES),
    case("AvgPool3d", 3, 2, "pad", 1, shapes=VOLUMES),
    case("AvgPool3d", 3, 2, "same", shapes=VOLUMES),
    case("AdaptiveAvgPool1d", 3, shapes=ROWS),
    case("AdaptiveAvgPool2d", 1, shapes=IMAGES),
    case("AdaptiveAvgPool2d", (4, 3), shapes=IMAGES),
    case("AdaptiveAvgPool2d", (None, 3), shapes=IMAGES),
    case("AdaptiveAvgPool3d", (2, 3, 4), shapes=VOLUMES),
    case("AdaptiveMaxPool1d", 3, shapes=ROWS),
    case("AdaptiveMaxPool2d", (4, 3), shapes=IMAGES),
    case("AdaptiveMaxPool3d", (2, 3, 4), shapes=VOLUMES),
    case("LPPool1d", 2, 3, shapes=ROWS),
    case("LPPool2d", 2, 3, 2, shapes=IMAGES),
    # padding
    case("ConstantPad1d", (1, 2), 0.5, shapes=ROWS),
    case("ConstantPad2d", (1, 2, -1, 0), 0.5, shapes=IMAGES),
    case("ConstantPad3d", 1, -2.0, shapes=VOLUMES),
    case("ZeroPad2d", 1, shapes=IMAGES),
    case("ReflectionPad1d", (1, 2), shapes=ROWS),
    case("ReflectionPad2d", (1, 2, 3, 0), shapes=IMAGES),
    case("ReplicationPad1d", 2, shapes=ROWS),
    case("ReplicationPad2d", (1, 2, 3, 0), shapes=IMAGES),
    case("ReplicationPad3d", 1, shapes=VOLUMES),
    case("Pad", ((0, 0), (0, 0), (1, 2), (2, 0)), shapes=IMAGES),
    case("Pad", ((0, 0), (1, 2), (2, 1)), "REFLECT", shapes=ROWS),
    case("Pad", ((0, 0), (1, 2), (2, 1)), "SYMMETRIC", shapes=ROWS),
    # recurrent layers
    case("LSTM", 3, 4, shapes=[(5, 2, 3)]),
    case("LSTM", 3, 4, 2, True, True, 0.0, True, shapes=[(2, 5, 3)]),
    case("LSTM", 3, 4, has_bias=False, shapes=[(5, 2, 3), (1, 2, 4), (1, 2, 4)]),
    case("GRU", 3, 4, 2, bidirectional=True, shapes=[(5, 2, 3), (4, 2, 4)]),
    case("GRU", 3, 4, has_bias=False, batch_first=True, shapes=[(2, 5, 3)]),
    case("RNN", 3, 4, 2, bidirectional=True, shapes=[(5, 2, 3)]),
    case("RNN", 3, 4, nonlinearity="relu", shapes=[(5, 2, 3), (1, 2, 4)]),
    case("LSTMCell", 3, 4, shapes=[(2, 3), (2, 4), (2, 4)]),
    case("GRUCell", 3, 4, shapes=[(2, 3), (2, 4)]),
    case("RNNCell", 3, 4, has_bias=False, nonlinearity="relu", shapes=[(2, 3), (2, 4)]),
    # attention
    case("MultiheadAttention", 12, 3, shapes=[(5, 2, 12)] * 3),
    case("MultiheadAttention", 12, 3, has_bias=False, batch_first=True, shapes=[(2, 5, 12)] * 3),
    case(
        *("MultiheadAttention", 12, 3, 0.0, True, True, True, 5, 7),
        shapes=[(5, 2, 12), (6, 2, 5), (6, 2, 7)],
    ),
    case("TransformerEncoderLayer", 12, 3, 20, shapes=[(5, 2, 12)]),
    case(
        *("TransformerEncoderLayer", 12, 3, 20),
        norm_first=True,
        activation="gelu",
        batch_first=True,
        shapes=[(2, 5, 12)],
    ),
    case("TransformerDecoderLayer", 12, 3, 20, shapes=[(5, 2, 12), (6, 2, 12)]),
    case("Transformer", 12, 3, 2, 2, 20, shapes=[(5, 2, 12), (6, 2, 12)]),
    # the others
    case("Flatten", shapes=IMAGES),
    case("Flatten", 0, 1, shapes=IMAGES),
    case("Unflatten", 1, (2, 3), shapes=IMAGES),
    case("PixelShuffle", 2, shapes=[(2, 8, 3, 4)]),
    case("PixelUnshuffle", 2, shapes=[(2, 3, 6, 4)]),
    case("ChannelShuffle", 3, shapes=IMAGES),
    case("Upsample", (13, 5), shapes=IMAGES),
    case("Upsample", (13, 5), mode="bilinear", shapes=IMAGES),
    case("Upsample", (13, 5), mode="bilinear", align_corners=True, shapes=IMAGES),
    case("Upsample", (13, 5), mode="bicubic", shapes=IMAGES),
    case("Upsample", (4, 3), mode="area", shapes=IMAGES),
    case("Upsample", None, 2.0, "nearest", recompute_scale_factor=True, shapes=IMAGES),
    case("Upsample", 5, mode="linear", shapes=ROWS),
    case("Dropout", 0.3, shapes=ROWS),
    case("Dropout2d", 0.3, shapes=IMAGES),
    case("Identity", 1, 2, shapes=ROWS),
    case("LRN", 2, 1.5, 0.3, 0.7, shapes=IMAGES),
    case("PReLU", 6, shapes=IMAGES),
    case("Threshold", 0.1, 20.0, shapes=ROWS),
    case("Softmax", 1, shapes=ROWS),
    *(
        case(name, shapes=[(2, 6, 4, 8)])
        for name in (
            *("ReLU", "ReLU6", "LeakyReLU", "ELU", "SeLU", "CELU", "GELU", "FastGelu", "SiLU"),
            *("Mish", "Sigmoid", "HSigmoid", "HSwish", "LogSigmoid", "Tanh", "Tanhshrink"),
            *("Hardtanh", "SoftShrink", "HShrink", "Softsign", "GLU", "Softmax", "LogSoftmax"),
            *("Softmin", "Softmax2d"),
        )
    ),
]


# MindSpore has weights of cubic interpolation in a table, for 1024 places between two pixels.
TOLERANCES = {"Upsample bicubic": 1e-3}


def structured(name: str, values: list[Any]) -> list[Any]:
    """The states of LSTMs are a tuple."""
    if name.startswith("LSTM") and len(values) == 3:
        return [values[0], tuple(values[1:])]
    return values


def flat(result: Any) -> list[Any]:
    if isinstance(result, (tuple, list)):
        return [item for part in result for item in flat(part)]
    return [result]


class Held(nn.Cell):
    """A layer as part of a network, its inputs one by one."""

    def __init__(self, name: str, layer: nn.Cell) -> None:
        super().__init__()
        self.name, self.layer = name, layer

    def construct(self, *values: Any) -> Any:
        return self.layer(*structured(self.name, list(values)))


class HeldThere(ms.nn.Cell):
    """The same in MindSpore."""

    def __init__(self, layer: ms.nn.Cell) -> None:
        super().__init__()
        self.layer = layer

    def construct(self, *values: Any) -> Any:
        return self.layer(*values)


def randomise(network: ms.nn.Cell, random: np.random.Generator) -> None:
    for parameter in network.get_parameters():
        data = random.uniform(-1.0, 1.0, parameter.shape)
        if "variance" in parameter.name:
            data = np.abs(data) + 0.5
        parameter.set_data(ms.Tensor(data.astype(parameter.asnumpy().dtype)))


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=[f"{c[0]}-{n}" for n, c in enumerate(CASES)]
)
def test_layer(number, tmp_path):
    name, args, options, shapes = CASES[number]
    random = np.random.default_rng(number)
    theirs = HeldThere(getattr(ms.nn, name)(*args, **options)).set_train(False)
    randomise(theirs, random)
    ms.save_checkpoint(theirs, str(tmp_path / "layer.ckpt"))
    if name.startswith("Embedding"):
        inputs = [random.integers(0, 9, shape).astype(np.int32) for shape in shapes]
    else:
        inputs = [random.standard_normal(shape).astype(np.float32) for shape in shapes]
    wanted = flat(theirs(*structured(name, [ms.Tensor(array) for array in inputs])))
    ours = Held(name, getattr(nn, name)(*args, **options))
    if list(theirs.get_parameters()):
        held = ow.load_checkpoint(tmp_path / "layer.ckpt")
        assert list(held) == list(ours.parameters_dict())
        assert ow.load_param_into_net(ours, held) == ([], [])
    found = evaluate(trace(ours, *[TensorType.of(array) for array in inputs]), inputs)
    assert len(found) == len(wanted)
    for left, right in zip(found, wanted, strict=True):
        right = right.asnumpy()
        assert left.dtype == right.dtype
        scale = max(float(np.abs(right).max(initial=0.0)), 1e-30)
        tolerance = TOLERANCES.get(f"{name} {options.get('mode')}", 1e-5)
        np.testing.assert_allclose(left, right, rtol=0, atol=tolerance * scale)


def compare(ours: nn.Cell, theirs: ms.nn.Cell, inputs: list[np.ndarray], folder: Path) -> None:
    """The outputs of two networks agree once MindSpore's parameters are loaded into ours."""
    theirs.set_train(False)
    randomise(theirs, np.random.default_rng(1))
    ms.save_checkpoint(theirs, str(folder / "network.ckpt"))
    assert ow.load_param_into_net(ours, ow.load_checkpoint(folder / "network.ckpt")) == ([], [])
    wanted = flat(theirs(*[ms.Tensor(array) for array in inputs]))
    found = evaluate(trace(ours, *[TensorType.of(array) for array in inputs]), inputs)
    for left, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(left, right.asnumpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_sequences_of_different_lengths(name, tmp_path):
    def network(nn: Any) -> Any:
        class Lengths(nn.Cell):
            def __init__(self):
                super().__init__()
                self.layer = getattr(nn, name)(3, 4, 2, bidirectional=True, batch_first=True)

            def construct(self, x, h, lengths):
                hx = (h, h + 0.5) if name == "LSTM" else h
                return self.layer(x, hx, lengths)

        return Lengths()

    random = np.random.default_rng(0)
    x, h = (random.standard_normal(s).astype(np.float32) for s in ((3, 6, 3), (4, 3, 4)))
    compare(network(nn), network(ms.nn), [x, h, np.array([6, 1, 4], np.int32)], tmp_path)


@pytest.mark.parametrize("extended", [False, True])
def test_masks_of_attention(extended, tmp_path):
    options = {"add_bias_kv": extended, "add_zero_attn": extended, "batch_first": extended}

    def network(nn: Any) -> Any:
        class Masked(nn.Cell):
            def __init__(self):
                super().__init__()
                self.attention = nn.MultiheadAttention(12, 3, **options)

            def construct(self, x, memory, hidden, added, heads):
                own = self.attention(x, x, x, None, True, added, False)
                one = self.attention(x, memory, memory, hidden, True, None)
                both = self.attention(x, x, x, None, False, heads)
                return own, one, both

        return Masked()

    random = np.random.default_rng(0)
    shapes = [(2, 5, 12), (2, 4, 12)] if extended else [(5, 2, 12), (4, 2, 12)]
    x, memory = (random.standard_normal(shape).astype(np.float32) for shape in shapes)
    hidden = np.array([[False, True, False, True], [False] * 3 + [True]])
    added = random.standard_normal((5, 5)).astype(np.float32)
    heads = random.standard_normal((6, 5, 5)) > 1.0
    heads[..., 0] = False
    compare(network(nn), network(ms.nn), [x, memory, hidden, added, heads], tmp_path)


def test_masks_of_transformers(tmp_path):
    def network(nn: Any) -> Any:
        class Masked(nn.Cell):
            def __init__(self):
                super().__init__()
                self.transformer = nn.Transformer(12, 3, 1, 2, 16, norm_first=True)

            def construct(self, src, tgt, mask, padding):
                return self.transformer(src, tgt, None, mask, None, padding, None, padding)

        return Masked()

    random = np.random.default_rng(0)
    src, tgt = (random.standard_normal(s).astype(np.float32) for s in ((5, 2, 12), (4, 2, 12)))
    later = np.triu(np.full((4, 4), -np.inf, np.float32), 1)
    padding = np.array([[False] * 5, [False] * 3 + [True] * 2])
    compare(network(nn), network(ms.nn), [src, tgt, later, padding], tmp_path)


def arguments(layer: type) -> dict[str, Any]:
    """Names and defaults of what a layer is made with."""
    if layer.__init__ in (nn.Cell.__init__, ms.nn.Cell.__init__):
        return {}
    found = {}
    for name, parameter in inspect.signature(layer.__init__).parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        found[name] = "float32" if name == "dtype" else parameter.default
    return found


@pytest.mark.parametrize("name", sorted({name for name, *_ in CASES}))
def test_arguments_are_mindspores(name):
    theirs, ours = arguments(getattr(ms.nn, name)), arguments(getattr(nn, name))
    if name in ("LSTM", "GRU"):
        theirs = arguments(ms.nn.layer.rnns._RNNBase)
        del theirs["mode"]
    if name == "RNN":
        del ours["nonlinearity"]
    assert list(ours.items()) == list(theirs.items())


def test_names_are_given_as_mindspore_gives_them():
    def networks(nn: Any) -> list[Any]:
        class Inner(nn.Cell):
            def __init__(self):
                super().__init__()
                self.dense = nn.Dense(2, 2, has_bias=False)
                self.own = (ms if nn is ms.nn else nn).Parameter(np.zeros(2, np.float32), "called")
                self.shared = self.dense
                self.insert_child_to_cell("inserted", nn.Dense(2, 2, has_bias=False))
                self.several = nn.CellList()
                self.several.append(nn.PReLU())
                self.several.append(nn.Dense(1, 1))
                self.chain = nn.SequentialCell([nn.BatchNorm2d(2)])
                self.chain.append(nn.Dense(1, 1, has_bias=False))
                self.part = self.chain[1:]
                self.named = nn.CellDict({"one": nn.Dense(1, 1), "two": nn.LayerNorm((3,))})

        class Tied(nn.Cell):
            def __init__(self):
                super().__init__()
                self.table = nn.Embedding(5, 3)
                self.head = nn.Dense(3, 5)
                self.head.weight = self.table.embedding_table

        class Plain(nn.Cell):
            def __init__(self):
                super().__init__(auto_prefix=False)
                self.inner = Inner()

        class Outer(nn.Cell):
            def __init__(self):
                super().__init__()
                self.plain, self.tied = Plain(), Tied()

        made = [Inner(), Tied(), Plain(), Outer(), nn.BatchNorm2d(2), nn.PReLU()]
        several = nn.CellList([nn.Dense(1, 1), nn.Dense(2, 2), nn.Dense(3, 3)])
        several.insert(1, nn.LayerNorm((3,)))
        del several[0]
        return [*made, several]

    for ours, theirs in zip(networks(nn), networks(ms.nn), strict=True):
        assert [p.name for p in ours.get_parameters()] == [p.name for p in theirs.get_parameters()]
        paths = [name for name, _ in ours.parameters_and_names()]
        assert paths == [name for name, _ in theirs.parameters_and_names()]
