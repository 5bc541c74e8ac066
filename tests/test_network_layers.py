"""Building blocks of networks: layers, tensors, cells, and how parameters begin."""

import json
import math
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import opweave as ow
from opweave.ir import LazyArray, ModelError, TensorType, UnsupportedError
from opweave.networks import functional as ops
from opweave.networks import initializers, trace
from opweave.networks import layers as nn

from .network_results import results, windows


def randomised(network, seed=0):
    """New numbers for all parameters, also those that begin as zeros and ones; in float64."""
    generator = np.random.default_rng(seed)
    found = {}
    for name, parameter in network.parameters_dict().items():
        data = generator.uniform(0.5, 1.5, parameter.type.static_shape).astype(np.float32)
        parameter.set_data(data)
        found[name] = data.astype(np.float64)
    return found


# --- layers ------------------------------------------------------------------------------


class Function(nn.Cell):
    """A function of tensors as a network."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def construct(self, *values):
        return self.function(*values)


def test_layers_of_other_ranks():
    x = np.random.default_rng(0).standard_normal((2, 6, 9)).astype(np.float32)
    layer = nn.Conv1d(6, 4, 3, 2, "pad", 1, group=2, has_bias=True)
    p = randomised(layer)
    (found,) = results(layer, x)
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (1, 1)])
    columns = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=2)[:, :, ::2]
    weight = p["weight"][:, :, 0]
    halves = [
        np.einsum("nclk,ock->nol", columns[:, 3 * g : 3 * g + 3], weight[2 * g : 2 * g + 2])
        for g in range(2)
    ]
    expected = np.concatenate(halves, 1) + p["bias"][:, None]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    norms = nn.BatchNorm1d(6, eps=1e-3)
    p = {name: data[:, None] for name, data in randomised(norms).items()}
    (found,) = results(norms, x)
    expected = (x - p["mean"]) / np.sqrt(p["variance"] + 1e-3)
    np.testing.assert_allclose(found, expected * p["gamma"] + p["beta"], atol=1e-5)
    dense = nn.Dense(9, 4, activation="relu")
    p = randomised(dense)
    (found,) = results(dense, x)
    np.testing.assert_allclose(found, np.maximum(x @ p["weight"].T + p["bias"], 0), atol=1e-5)
    prelu = nn.PReLU(6)
    p = randomised(prelu)
    (found,) = results(prelu, x)
    np.testing.assert_allclose(found, np.where(x < 0, p["a"][:, None] * x, x), atol=1e-6)
    layer_norm = nn.LayerNorm((6, 9), 1, 1)
    (found,) = results(layer_norm, x)
    deviation = x - x.mean((1, 2), keepdims=True)
    expected = deviation / np.sqrt((deviation**2).mean((1, 2), keepdims=True) + 1e-7)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def transposed(x, weight, stride, groups=1):
    """The whole transposed convolution, nothing cut off, tap by tap."""
    batch, channels, height, width = x.shape
    maps, (rows, columns) = weight.shape[1], weight.shape[2:]
    shape = (batch, groups * maps, (height - 1) * stride + rows, (width - 1) * stride + columns)
    out = np.zeros(shape)
    each = channels // groups
    for g in range(groups):
        part, place = slice(g * each, (g + 1) * each), slice(g * maps, (g + 1) * maps)
        for k in range(rows):
            for m in range(columns):
                y = np.einsum("nchw,co->nohw", x[:, part], weight[part, :, k, m])
                out[:, place, k : k + height * stride : stride, m : m + width * stride : stride][
                    :, :, :height, :width
                ] += y
    return out


@pytest.mark.parametrize(
    ("options", "cut", "groups"),
    [
        ({"kernel_size": 2, "stride": 2}, (slice(None), slice(None)), 1),
        ({"kernel_size": 3, "stride": 2}, (slice(0, 8), slice(0, 10)), 1),
        ({"kernel_size": 4, "stride": 2, "group": 2}, (slice(1, 9), slice(1, 11)), 2),
        ({"kernel_size": 3, "stride": 2, "pad_mode": "valid"}, (slice(None), slice(None)), 1),
        (
            {"kernel_size": 4, "stride": 2, "pad_mode": "pad", "padding": (1, 0, 2, 1)},
            (slice(1, None), slice(2, -1)),
            1,
        ),
    ],
)
def test_transposed_convolutions(options, cut, groups):
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 5)).astype(np.float32)
    layer = nn.Conv2dTranspose(4, 6, has_bias=True, **options)
    p = randomised(layer)
    (found,) = results(layer, x)
    expected = transposed(x, p["weight"], 2, groups)[:, :, cut[0], cut[1]]
    np.testing.assert_allclose(found, expected + p["bias"][:, None, None], atol=1e-4)


def test_a_transposed_convolution_whose_kernel_is_smaller_than_its_stride():
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 3)).astype(np.float32)
    for mode in ("same", "valid"):
        layer = nn.Conv2dTranspose(2, 3, 1, 2, mode)
        p = randomised(layer)
        (found,) = results(layer, x)
        expected = np.zeros((1, 3, 6, 6))
        expected[:, :, ::2, ::2] = np.einsum("nchw,co->nohw", x, p["weight"][:, :, 0, 0])
        np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(ModelError, match="none of same, valid, pad"):
        nn.Conv2dTranspose(2, 3, 1, 2, "full")
    with pytest.raises(UnsupportedError, match="needs pad_mode='pad'"):
        nn.Conv2dTranspose(2, 3, 3, 2, "same", 1)


def test_lstm_of_one_direction():
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    layer = nn.LSTM(3, 4, has_bias=False, batch_first=True)
    p = randomised(layer)
    assert list(p) == ["weight_ih_l0", "weight_hh_l0"]
    h = c = np.zeros((2, 4))
    steps = []
    for step in x.swapaxes(0, 1):
        gates = step @ p["weight_ih_l0"].T + h @ p["weight_hh_l0"].T
        i, f, g, o = np.split(gates, 4, 1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        steps.append(h)

    class Flat(nn.Cell):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def construct(self, x):
            output, states = self.layer(x)
            return (output, *states)

    found = results(Flat(), x)
    np.testing.assert_allclose(found[0], np.array(steps).swapaxes(0, 1), atol=1e-5)
    np.testing.assert_allclose(found[1], h[None], atol=1e-5)
    np.testing.assert_allclose(found[2], c[None], atol=1e-5)


def test_pools():
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 5)).astype(np.float32)
    edge = np.pad(x, [(0, 0), (0, 0), (0, 1), (0, 1)], constant_values=np.nan)
    (found,) = results(nn.AvgPool2d(2, 2, "same"), x)
    np.testing.assert_allclose(found, np.nanmean(windows(edge, (2, 2), 2), (4, 5)), atol=1e-6)
    (found,) = results(nn.MaxPool2d(2, 2, "same"), x)
    np.testing.assert_allclose(found, np.nanmax(windows(edge, (2, 2), 2), (4, 5)), atol=1e-6)
    around = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    (found,) = results(nn.AvgPool2d(3, 2, "pad", 1), x)
    np.testing.assert_allclose(found, windows(around, (3, 3), 2).mean((4, 5)), atol=1e-6)
    with pytest.raises(ModelError, match="needs pad_mode='pad'"):
        results(nn.MaxPool2d(2, 2, "valid", 1), x)


def test_tensors_behave_like_arrays():
    x = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    n = np.arange(12, dtype=np.int32).reshape(3, 4)
    functions = [
        lambda x, n: x[1],
        lambda x, n: x[-1, ..., 2],
        lambda x, n: x[:, None, 1:-1, ::2],
        lambda x, n: x[..., -3:],
        lambda x, n: x[5:, 1],
        lambda x, n: x.reshape(-1, 10),
        lambda x, n: x.reshape((4, -1)),
        lambda x, n: x.transpose(2, 0, 1),
        lambda x, n: x.swapaxes(0, -1),
        lambda x, n: 2 - x * 3 + x / 2,
        lambda x, n: -x,
        lambda x, n: n + 1,
        lambda x, n: x @ x[0].transpose(1, 0),
        lambda x, n: x.mean(1),
        lambda x, n: x.sum((0, 2)),
        lambda x, n: np.float32(3) * x,
    ]
    for number, function in enumerate(functions):
        (found,) = results(Function(function), x, n)
        expected = function(x, n)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), number
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    # MindSpore's rules where NumPy's are others: fractions make whole numbers float32.
    found = results(Function(lambda n: (n * 0.5, n / 2, 1.0 - n, n.flatten(0, 1))), n)
    for array, expected in zip(found, (n * 0.5, n / 2, 1.0 - n, n.reshape(-1)), strict=True):
        np.testing.assert_array_equal(array, expected)
    assert [array.dtype.name for array in found] == ["float32"] * 3 + ["int32"]
    parts = results(Function(lambda x: [ops.split(x, 2, 2), ops.squeeze(x[:1], 0)]), x)
    assert [part.shape for part in parts] == [(3, 4, 2), (3, 4, 2), (3, 4, 1), (4, 5)]


# --- cells -------------------------------------------------------------------------------


def test_parameters_are_ordered_as_mindspore_orders_them():
    shared = nn.Dense(3, 3, has_bias=False)
    network = Function(
        None,
        norm=nn.BatchNorm2d(2),
        own=nn.Parameter(np.zeros(2, np.float32), name="called"),
        several=nn.SequentialCell([shared, nn.ReLU(), nn.LayerNorm((3,))]),
        some=nn.CellList([shared, nn.Dense(3, 1)]),
    )
    assert list(network.parameters_dict()) == [
        *("called", "norm.moving_mean", "norm.moving_variance", "norm.gamma", "norm.beta"),
        # A shared cell comes where it is found first, under the name that it was given last.
        *("some.0.weight", "several.2.gamma", "several.2.beta"),
        *("some.1.weight", "some.1.bias"),
    ]
    assert len(network.trainable_params()) == 8
    assert len(network.several) == 3
    assert isinstance(network.several[1], nn.ReLU)
    network.own = None
    assert "called" not in network.parameters_dict()


def test_nodes_and_values_have_names():
    network = Function(lambda x: (network.a(x), network.b.inner(x)), a=nn.Dense(3, 2))
    network.b = Function(None, inner=nn.Dense(3, 2, has_bias=False))
    graph = trace(network, TensorType("float32", (4, 3)), names=["rows"])
    assert [value.node for value in graph.inputs] == ["rows"]
    assert graph.output_names == ("output_0", "output_1")
    assert [node.name for node in graph.operators()] == ["a.matmul", "a.add", "b.inner.matmul"]
    assert set(graph.params) == {"a.weight", "a.bias", "b.inner.weight"}


def test_wrong_networks_are_explained():
    type_ = TensorType("float32", (4, 3))
    hidden = [nn.Dense(3, 2)]
    with pytest.raises(ModelError, match="CellList"):
        trace(Function(lambda x: hidden[0](x)), type_)
    with pytest.raises(ModelError, match=r"conditions and loops"):
        trace(Function(lambda x: x if x.sum() else -x), type_)
    with pytest.raises(ModelError, match="returns None"):
        trace(Function(lambda x: None), type_)
    with pytest.raises(ModelError, match=r"opweave\.compile"):
        nn.ReLU()(np.zeros(3))
    with pytest.raises(ModelError, match="takes 5 elements along axis -1"):
        trace(nn.Dense(5, 2), type_)
    one, other = (nn.Parameter(np.zeros(1), name="same") for _ in range(2))
    twice = Function(None, one=one, other=other)
    with pytest.raises(ModelError, match="two parameters called"):
        twice.init_parameters_data()
    with pytest.raises(UnsupportedError, match="training"):
        nn.BatchNorm2d(3, use_batch_statistics=True)
    with pytest.raises(ModelError, match="3 and 2 channels in 2 groups"):
        nn.Conv2d(3, 2, 1, group=2)
    kept = []
    trace(Function(lambda x: kept.append(x) or x), type_)
    with pytest.raises(ModelError, match="another call"):
        trace(Function(lambda x: x + kept[0]), type_)
    with pytest.raises(ModelError, match="cannot become"):
        nn.Dense(3, 2).weight.set_data(np.zeros((3, 2), np.float32))

    class Forgetful(nn.Cell):
        def __init__(self):
            self.dense = nn.Dense(2, 2)

    with pytest.raises(ModelError, match=r"super\(\).__init__"):
        Forgetful()


# --- seeded parameters -------------------------------------------------------------------


def digest() -> dict[str, str]:
    network = ow.networks.resnet18(10, seed=7)
    parameters = network.parameters_dict()
    names = ("end_point.weight", "conv1.weight", "layer4.1.conv2.weight")
    return {name: parameters[name].asnumpy()[0].tobytes()[:64].hex() for name in names}


def test_parameters_depend_on_seed_and_name_alone():
    script = (
        "import json, opweave as ow\n"
        "net = ow.networks.resnet18(10, seed=7)\n"
        "p = net.parameters_dict()\n"
        "names = ('layer4.1.conv2.weight', 'conv1.weight', 'end_point.weight')\n"
        "print(json.dumps({n: p[n].asnumpy()[0].tobytes()[:64].hex() for n in names}))\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert json.loads(output) == digest()
    one, other, changed = (ow.networks.lenet(seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.fc1.weight.asnumpy(), other.fc1.weight.asnumpy())
    assert not np.array_equal(one.fc1.weight.asnumpy(), changed.fc1.weight.asnumpy())
    assert not np.array_equal(one.fc1.bias.asnumpy()[:84], one.fc2.bias.asnumpy())
    graph = trace(one)
    weight = next(value for value in graph.params if value == "fc1.weight")
    assert isinstance(graph.params[weight], LazyArray)
    assert graph.params[weight].load() is one.fc1.weight.asnumpy()


def test_large_networks_take_no_memory_before_they_are_needed():
    tracemalloc.start()
    graph = trace(ow.networks.vgg16())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(graph) > 0
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("start", "low", "high", "deviation"),
    [
        ("zeros", 0, 0, 0),
        ("ones", 1, 1, 0),
        (0.25, 0.25, 0.25, 0),
        ("normal", -0.06, 0.06, 0.01),
        (initializers.TruncatedNormal(0.02), -0.04, 0.04, 0.88 * 0.02),
        (initializers.Uniform(0.3), -0.3, 0.3, 0.3 / math.sqrt(3)),
        ("xavier_uniform", -math.sqrt(6 / 3500), math.sqrt(6 / 3500), math.sqrt(2 / 3500)),
        (initializers.HeUniform(math.sqrt(5)), -1 / 50, 1 / 50, 1 / 50 / math.sqrt(3)),
        (initializers.HeNormal(mode="fan_out", nonlinearity="relu"), -0.3, 0.3, 0.0447),
    ],
)
def test_initialisers(start, low, high, deviation):
    # 100 outputs of 250 inputs with ten taps each: a fan of 2500 in and 1000 out.
    parameter = nn.Parameter(initializers.initializer(start, (100, 250, 2, 5)))
    parameter.name = "weight"
    parameter.begin(0)
    numbers = parameter.asnumpy()
    assert numbers.dtype == np.float32
    assert numbers.min() >= low - 1e-6
    assert numbers.max() <= high + 1e-6
    assert numbers.std() == pytest.approx(deviation, rel=0.01, abs=1e-7)
    assert not numbers.flags.writeable


def test_import_is_light():
    script = (
        "import sys, opweave as ow\n"
        "ow.networks.trace(ow.networks.resnet50(num_classes=10))\n"
        "print([name for name in ('numba', 'llvmlite', 'onnx', 'google') if name in sys.modules])\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert output.strip() == "[]"
