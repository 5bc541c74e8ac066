"""Network definitions: numbers against plain NumPy in float64."""

import math

import numpy as np
import pytest

import opweave as ow
from opweave.ir import TensorType, check, symbol
from opweave.ir.evaluate import evaluate
from opweave.networks import Cell, trace
from opweave.networks.bert import BertCLSModel, BertConfig, TinyBertCLSModel
from opweave.networks.resnet import ResidualBlock, ResidualBlockBase, ResNet
from opweave.networks.sentiment import SentimentNet
from opweave.networks.unet import UNet, Up
from opweave.networks.wide_deep import WideDeepModel

from .network_results import results, windows


def randomised(network, seed=0):
    """New numbers for all parameters, also those that begin as zeros and ones; in float64."""
    generator = np.random.default_rng(seed)
    found = {}
    for name, parameter in network.parameters_and_names():
        shape = parameter.type.static_shape
        if name.endswith(("gamma", "moving_variance")):
            data = generator.uniform(0.5, 1.5, shape)
        else:
            scale = 1.0 / math.sqrt(max(math.prod(shape[1:]), 4))
            data = generator.standard_normal(shape) * scale
        parameter.set_data(data.astype(np.float32))
        found[name] = data.astype(np.float32).astype(np.float64)
    return found


def conv(x, weight, stride=1, pads=(0, 0)):
    x = np.pad(x, [(0, 0), (0, 0), pads, pads])
    return np.einsum("nchwij,ocij->nohw", windows(x, weight.shape[2:], stride), weight)


def norm(p, name, x, eps):
    mean, variance, gamma, beta = (
        p[f"{name}.{part}"][:, None, None]
        for part in ("moving_mean", "moving_variance", "gamma", "beta")
    )
    return (x - mean) / np.sqrt(variance + eps) * gamma + beta


def relu(x):
    return np.maximum(x, 0.0)


def test_lenet_agrees_with_numpy():
    network = ow.networks.lenet(seed=3)
    p = randomised(network)
    x = np.random.default_rng(1).standard_normal((2, 1, 32, 32)).astype(np.float32)
    y = windows(relu(conv(x, p["conv1.weight"])), (2, 2), 2).max((4, 5))
    y = windows(relu(conv(y, p["conv2.weight"])), (2, 2), 2).max((4, 5)).reshape(2, -1)
    y = relu(y @ p["fc1.weight"].T + p["fc1.bias"])
    y = relu(y @ p["fc2.weight"].T + p["fc2.bias"])
    y = y @ p["fc3.weight"].T + p["fc3.bias"]
    (found,) = results(network, x)
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", [ResidualBlock, ResidualBlockBase])
def test_thin_resnet_agrees_with_numpy(block):
    base = block is ResidualBlockBase
    first = 4 if base else 8
    outputs = [first * 2**stage for stage in range(4)]
    network = ResNet(block, (1, 2, 1, 1), [4, *outputs[:3]], outputs, (1, 2, 2, 2), 5)
    p = randomised(network)
    x = np.random.default_rng(1).standard_normal((2, 3, 64, 64)).astype(np.float32)

    # On these even extents "same" with a stride of 2 puts the odd element of padding behind.
    def pads(kernel, stride):
        side = kernel // 2
        return (side, side) if base or stride == 1 else ((kernel - 2) // 2, side)

    def layer(y, name, bn, eps=1e-4, stride=1):
        weight = p[f"{name}.weight"]
        padding = pads(weight.shape[2], stride) if weight.shape[2] > 1 else (0, 0)
        return norm(p, bn, conv(y, weight, stride, padding), eps)

    y = relu(layer(x, "conv1", "bn1", 1e-5 if base else 1e-4, 2))
    around = (1, 1) if base else (0, 1)
    y = np.pad(y, [(0, 0), (0, 0), around, around])
    y = windows(y, (3, 3), 2).max((4, 5))
    for stage, count in enumerate((1, 2, 1, 1), 1):
        for place in range(count):
            name = f"layer{stage}.{place}"
            stride = 2 if stage > 1 and place == 0 else 1
            shortcut = y
            if f"{name}.down_sample_layer.0.weight" in p:
                down = f"{name}.down_sample_layer"
                eps = 1e-5 if base else 1e-4
                shortcut = layer(y, f"{down}.0", f"{down}.1", eps, stride)
            if base:
                y = relu(layer(y, f"{name}.conv1", f"{name}.bn1d", stride=stride))
                y = layer(y, f"{name}.conv2", f"{name}.bn2d")
            else:
                y = relu(layer(y, f"{name}.conv1", f"{name}.bn1"))
                y = relu(layer(y, f"{name}.conv2", f"{name}.bn2", stride=stride))
                y = layer(y, f"{name}.conv3", f"{name}.bn3")
            y = relu(y + shortcut)
    y = y.mean((2, 3)) @ p["end_point.weight"].T + p["end_point.bias"]
    (found,) = results(network, x)
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-4 * np.abs(y).max())


@pytest.mark.parametrize("kind", [BertCLSModel, TinyBertCLSModel])
def test_small_bert_agrees_with_numpy(kind):
    config = BertConfig(50, 24, 2, 3, 40, max_position_embeddings=12)
    network = kind(config, 3)
    p = randomised(network)
    generator = np.random.default_rng(1)
    ids = generator.integers(0, 50, (2, 9), dtype=np.int32)
    mask = np.ones((2, 9), np.int32)
    mask[1, 6:] = 0
    types = generator.integers(0, 2, (2, 9), dtype=np.int32)

    def dense(y, name):
        return y @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def layer_norm(y, name):
        y = y - y.mean(-1, keepdims=True)
        y = y / np.sqrt((y * y).mean(-1, keepdims=True) + 1e-7)
        return y * p[f"{name}.gamma"] + p[f"{name}.beta"]

    def heads(y):
        return y.reshape(2, 9, 3, 8).swapaxes(1, 2)

    after = "bert.bert_embedding_postprocessor"
    y = p["bert.bert_embedding_lookup.embedding_table"][ids]
    y = y + p[f"{after}.token_type_embedding.embedding_table"][types]
    y = y + p[f"{after}.full_position_embedding.embedding_table"][:9]
    y = layer_norm(y, f"{after}.layernorm")
    for number in range(2):
        name = f"bert.bert_encoder.layers.{number}"
        query, key, value = (
            heads(dense(y, f"{name}.attention.attention.{part}_layer"))
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(-1, -2) / math.sqrt(8)
        weights = np.exp(scores + (1 - mask[:, None, None]) * -10000.0)
        weights /= weights.sum(-1, keepdims=True)
        context = (weights @ value).swapaxes(1, 2).reshape(2, 9, 24)
        inner = f"{name}.attention.output"
        y = layer_norm(y + dense(context, f"{inner}.dense"), f"{inner}.layernorm")
        wide = dense(y, f"{name}.intermediate")
        wide = 0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
        y = layer_norm(y + dense(wide, f"{name}.output.dense"), f"{name}.output.layernorm")
    y = np.tanh(dense(y[:, 0], "bert.dense"))
    y = dense(relu(y) if kind is TinyBertCLSModel else y, "dense_1")
    y = y - np.log(np.exp(y).sum(-1, keepdims=True))
    given = (ids, types, mask) if kind is TinyBertCLSModel else (ids, mask, types)
    (found,) = results(network, *given)
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)


def test_bert_takes_any_length():
    network = BertCLSModel(BertConfig(50, 24, 1, 3, 40, max_position_embeddings=12), 3)
    type_ = TensorType("int32", (symbol("n", 1), symbol("t", 1, 12)))
    graph = trace(network, type_, type_, type_)
    check(graph)
    for shape in ((1, 4), (3, 12)):
        ids = np.ones(shape, np.int32)
        expected = results(network, ids, ids, ids)
        np.testing.assert_array_equal(evaluate(graph, [ids, ids, ids]), expected)


def up(x, weight):
    """A transposed convolution whose windows do not overlap."""
    y = np.einsum("nchw,cokl->nohkwl", x, weight)
    return y.reshape(*y.shape[:2], y.shape[2] * y.shape[3], -1)


def half(x):
    return windows(x, (2, 2), 2).max((4, 5))


def test_unet_agrees_with_numpy():
    network = UNet(1, 3, feature_scale=32)
    p = randomised(network)
    x = np.random.default_rng(1).standard_normal((2, 1, 32, 48)).astype(np.float32)

    def convs(y, name, normal):
        for place in range(2):
            y = conv(y, p[f"{name}.convs.{place}.0.weight"], 1, (1, 1))
            y = relu(norm(p, f"{name}.convs.{place}.1", y, 1e-5) if normal else y)
        return y

    levels = [convs(x.astype(np.float64), "conv0", True)]
    for number in range(1, 5):
        levels.append(convs(half(levels[-1]), f"conv{number}", True))
    y = levels.pop()
    for number in range(4, 0, -1):
        name = f"up_concat{number}"
        y = np.concatenate([up(y, p[f"{name}.up_conv.weight"]), levels.pop()], 1)
        y = convs(y, f"{name}.conv", False)
    (found,) = results(network, x)
    expected = conv(y, p["final.weight"])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_level_of_the_unpadded_unet_agrees_with_numpy():
    class Level(Cell):
        def __init__(self):
            super().__init__()
            self.up = Up(4, 2)

        def construct(self, deeper, beside):
            return self.up(deeper, beside)

    network = Level()
    p = randomised(network)
    generator = np.random.default_rng(1)
    deeper = generator.standard_normal((1, 4, 6, 6)).astype(np.float32)
    beside = generator.standard_normal((1, 2, 20, 18)).astype(np.float32)
    y = np.concatenate([relu(up(deeper, p["up.up.weight"])), beside[:, :, 4:16, 3:15]], 1)
    for place in (0, 2):
        name = f"up.conv.double_conv.{place}"
        y = relu(conv(y, p[f"{name}.weight"]) + p[f"{name}.bias"][:, None, None])
    (found,) = results(network, deeper, beside)
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-4 * np.abs(y).max())


def test_small_wide_deep_agrees_with_numpy():
    network = WideDeepModel(50, 5, 6, (8, 4))
    p = randomised(network)
    generator = np.random.default_rng(1)
    ids = generator.integers(0, 50, (3, 5), dtype=np.int32)
    values = generator.standard_normal((3, 5)).astype(np.float32)
    wide = (p["wide_embeddinglookup.embedding_table"][ids][:, :, 0] * values).sum(1)
    y = (p["deep_embeddinglookup.embedding_table"][ids] * values[:, :, None]).reshape(3, -1)
    for number in range(1, 4):
        y = y @ p[f"dense_layer_{number}.weight"] + p[f"dense_layer_{number}.bias"]
        y = relu(y) if number < 3 else y
    logits = y + wide[:, None] + p["Wide_b"]
    found = results(network, ids, values)
    np.testing.assert_allclose(found[0], logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], 1 / (1 + np.exp(-logits)), rtol=1e-4, atol=1e-5)


def lstm(p, name, suffix, x):
    """All hidden states [time, batch, hidden] of one direction."""
    weights, states = (p[f"{name}.weight_{kind}_{suffix}"].T for kind in ("ih", "hh"))
    bias = p[f"{name}.bias_ih_{suffix}"] + p[f"{name}.bias_hh_{suffix}"]
    h = c = np.zeros((x.shape[1], states.shape[0]))
    found = []
    for step in x[::-1] if suffix.endswith("reverse") else x:
        gates = step @ weights + h @ states + bias
        i, f, g, o = np.split(gates, 4, 1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        found.append(h)
    return np.array(found[::-1] if suffix.endswith("reverse") else found)


def test_small_bilstm_agrees_with_numpy():
    network = SentimentNet(40, 7, 5, 2, True, 3)
    p = randomised(network)
    ids = np.random.default_rng(1).integers(0, 40, (2, 6), dtype=np.int32)
    y = p["embedding.embedding_table"][ids].swapaxes(0, 1)
    for layer in range(2):
        both = [lstm(p, "encoder", f"l{layer}{suffix}", y) for suffix in ("", "_reverse")]
        y = np.concatenate(both, 2)
    y = np.concatenate([y[0], y[-1]], 1) @ p["decoder.weight"].T + p["decoder.bias"]
    (found,) = results(network, ids)
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)
