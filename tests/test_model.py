"""``ow.Model``: prediction in MindSpore's manner, and what ``ow.load`` gives."""

from __future__ import annotations

import numpy as np

import opweave as ow
from opweave.networks import layers as nn


def test_predictions_follow_the_inputs_shapes_and_the_parameters():
    network = nn.Dense(3, 2)
    network.init_parameters_data(seed=1)
    model = ow.Model(network)
    for rows in (1, 4):
        x = np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)
        expected = x @ network.weight.asnumpy().T + network.bias.asnumpy()
        np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)
        assert model.session_for(x) is model.session_for(x + 1)
    network.weight.set_data(np.ones((2, 3), np.float32))
    network.bias.set_data(np.zeros(2, np.float32))
    np.testing.assert_allclose(model.predict(x), np.tile(x.sum(1, keepdims=True), 2), rtol=1e-5)


def test_one_session_serves_symbolic_inputs():
    network = nn.SequentialCell(nn.Dense(3, 2), nn.ReLU())
    network.set_inputs(ow.TensorType("float32", (ow.symbol("rows"), 3)))
    model = ow.Model(network, threads=1)
    one, four = (np.ones((rows, 3), np.float32) for rows in (1, 4))
    assert model.session_for(one) is model.session_for(four)
    assert model.predict(four).shape == (4, 2)
    assert model.predict_network is network


def test_files_predict_and_say_what_they_take(model_file, small_weight):
    loaded = ow.load(model_file)
    assert [(spec.name, str(spec.type)) for spec in loaded.inputs] == [("x", "float32[rows, 4]")]
    assert [spec.name for spec in loaded.outputs] == ["y"]
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    expected = np.maximum(x @ small_weight, 0)
    for source in (loaded, model_file, str(model_file)):
        np.testing.assert_allclose(ow.Model(source).predict(x), expected, rtol=1e-5)
