"""Network and checkpoint to a file: MindSpore, ONNX Runtime and opweave predict the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import onnxruntime
import pytest

import opweave as ow
from opweave.cli import command
from opweave.cli.exits import run_command
from opweave.networks import functional as ops
from opweave.networks import layers as nn
from opweave.networks.bert import BertCLSModel, BertConfig

RANDOM = np.random.default_rng(0)


def relative(found: Any, wanted: np.ndarray) -> float:
    return float(np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max())


def in_mindspore(path: Path, *inputs: np.ndarray) -> np.ndarray:
    return ms.nn.GraphCell(ms.load(str(path)))(*[ms.Tensor(item) for item in inputs]).asnumpy()


def in_onnxruntime(path: Path, *inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    found: np.ndarray = session.run(None, dict(zip(names, inputs, strict=True)))[0]
    return found


def test_a_checkpoint_of_mindspore_predicts_the_same_everywhere(tmp_path):
    class LeNet(ms.nn.Cell):
        def __init__(self):
            super().__init__()
            self.conv1 = ms.nn.Conv2d(1, 6, 5, pad_mode="valid")
            self.conv2 = ms.nn.Conv2d(6, 16, 5, pad_mode="valid")
            self.fc1 = ms.nn.Dense(16 * 5 * 5, 120)
            self.fc2 = ms.nn.Dense(120, 84)
            self.fc3 = ms.nn.Dense(84, 10)
            self.relu = ms.nn.ReLU()
            self.pool = ms.nn.MaxPool2d(2, 2)
            self.flatten = ms.nn.Flatten()

        def construct(self, x):
            x = self.pool(self.relu(self.conv1(x)))
            x = self.flatten(self.pool(self.relu(self.conv2(x))))
            return self.fc3(self.relu(self.fc2(self.relu(self.fc1(x)))))

    theirs = LeNet().set_train(False)
    ms.save_checkpoint(theirs, str(tmp_path / "lenet.ckpt"))
    x = RANDOM.random((2, 1, 32, 32), np.float32)
    wanted = theirs(ms.Tensor(x)).asnumpy()
    network = ow.networks.lenet(10)
    assert ow.load_param_into_net(network, ow.load_checkpoint(tmp_path / "lenet.ckpt")) == ([], [])
    assert relative(ow.Model(network).predict(x), wanted) < 1e-5
    type_ = ow.TensorType("float32", x.shape)
    mindir = ow.export(network, type_, file_name=tmp_path / "lenet", file_format="MINDIR")
    onnx = ow.export(network, type_, file_name=tmp_path / "lenet", file_format="ONNX")
    assert relative(in_mindspore(mindir, x), wanted) < 1e-5
    assert relative(in_onnxruntime(onnx, x), wanted) < 1e-5
    for path in (mindir, onnx):
        assert relative(ow.Model(path).predict(x), wanted) < 1e-5
    ms.export(theirs, ms.Tensor(x), file_name=str(tmp_path / "there"), file_format="MINDIR")
    assert relative(ow.Model(tmp_path / "there.mindir").predict(x), wanted) < 1e-5


class Mixed(nn.Cell):
    """A user's network of layers that the built-in ones do not have."""

    def __init__(self):
        super().__init__()
        self.stem = nn.SequentialCell(
            nn.Conv2d(3, 8, 3, pad_mode="pad", padding=1, has_bias=True),
            nn.GroupNorm(2, 8),
            nn.HSwish(),
        )
        self.up = nn.Conv2dTranspose(8, 6, 4, 2)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.PReLU(6)
        self.pad = nn.ZeroPad2d((1, 0, 2, 1))
        self.pool = nn.AdaptiveAvgPool2d((3, 2))
        self.attention = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True)
        self.head = nn.Dense(6, 4, activation="sigmoid")

    def construct(self, x):
        x = self.act(self.norm(self.up(self.stem(x))))
        x = self.pool(self.pad(x)).flatten(2).transpose(0, 2, 1)
        x = self.attention(x) / 2.0 + x
        return self.head(ops.where(x > 0.1, x, ops.abs(x))).mean(1)


def networks() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    image = RANDOM.standard_normal((1, 3, 64, 64)).astype(np.float32)
    ids = RANDOM.integers(0, 50, (2, 12)).astype(np.int32)
    config = BertConfig(50, 24, 2, 3, 40, max_position_embeddings=12)
    ones = np.ones_like(ids)
    return {
        "resnet50": (lambda: ow.networks.resnet50(10), (image,)),
        "mobilenet_v2": (lambda: ow.networks.mobilenet_v2(10), (image,)),
        "bert": (lambda: BertCLSModel(config, 3), (ids, ones, np.zeros_like(ids))),
        "mixed": (Mixed, (image[:, :, :12, :10],)),
    }


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "bert", "mixed"])
def test_exported_networks_predict_the_same_everywhere(name, tmp_path):
    make, inputs = networks()[name]
    inputs = tuple(np.ascontiguousarray(item) for item in inputs)
    network = make()
    wanted = ow.Model(network).predict(*inputs)
    mindir = ow.export(network, *inputs, file_name=tmp_path / name, file_format="MINDIR")
    onnx = ow.export(network, *inputs, file_name=tmp_path / name, file_format="ONNX")
    assert relative(in_mindspore(mindir, *inputs), wanted) < 2e-5
    assert relative(in_onnxruntime(onnx, *inputs), wanted) < 2e-5
    assert relative(ow.Model(mindir).predict(*inputs), wanted) < 2e-5


def test_converted_files_run_in_mindspore(tmp_path):
    x = RANDOM.random((1, 1, 32, 32), np.float32)
    network = ow.networks.lenet(10)
    onnx = ow.export(network, x, file_name=tmp_path / "lenet", file_format="ONNX")
    words = ["convert", str(onnx), "-o", str(tmp_path / "out.mindir")]
    assert run_command(command, words) == 0
    assert relative(in_mindspore(tmp_path / "out.mindir", x), in_onnxruntime(onnx, x)) < 1e-5
