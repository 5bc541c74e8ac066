"""MindSpore's checkpoints and network definitions: the outputs are those MindSpore computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opweave as ow
from opweave.ir import TensorType
from opweave.ir.evaluate import evaluate
from opweave.networks import functional as ops
from opweave.networks import layers as nn

from .test_mindir_read import ABOVE, CHECKPOINTS, cases, check


class LeNet(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5, pad_mode="valid", has_bias=True)
        self.c2 = nn.Conv2d(6, 16, 5, pad_mode="valid", has_bias=True)
        self.p = nn.MaxPool2d(2, 2)
        self.f = nn.Flatten()
        self.d1 = nn.Dense(256, 120, activation="relu")
        self.d2 = nn.Dense(120, 84, activation="relu")
        self.d3 = nn.Dense(84, 10)

    def construct(self, x: Any) -> Any:
        x = self.p(ops.relu(self.c1(x)))
        x = self.p(ops.relu(self.c2(x)))
        return self.d3(self.d2(self.d1(self.f(x))))


class Block(nn.Cell):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(before, after, 3, stride, pad_mode="same")
        self.b1 = nn.BatchNorm2d(after)
        self.c2 = nn.Conv2d(after, after, 3, 1, pad_mode="pad", padding=1)
        self.b2 = nn.BatchNorm2d(after)
        self.down = None
        if before != after:
            parts = [nn.Conv2d(before, after, 1, stride), nn.BatchNorm2d(after)]
            self.down = nn.SequentialCell(parts)

    def construct(self, x: Any) -> Any:
        y = self.b2(self.c2(ops.relu(self.b1(self.c1(x)))))
        return ops.relu((x if self.down is None else self.down(x)) + y)


class ResNet(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, 2, pad_mode="same")
        self.bn = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, 2, pad_mode="same")
        self.r = nn.SequentialCell([Block(8, 8, 1), Block(8, 16, 2)])
        self.fc = nn.Dense(16, 10)
        self.sm = nn.Softmax()

    def construct(self, x: Any) -> Any:
        x = self.r(self.pool(ops.relu(self.bn(self.stem(x)))))
        return self.sm(self.fc(x.mean((2, 3))))


class SqueezeExcite(nn.Cell):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.p = nn.AdaptiveAvgPool2d(1)
        self.a = nn.Conv2d(channels, channels // 2, 1, has_bias=True)
        self.b = nn.Conv2d(channels // 2, channels, 1, has_bias=True)
        self.hs = nn.HSigmoid()

    def construct(self, x: Any) -> Any:
        return x * self.hs(self.b(ops.relu(self.a(self.p(x)))))


class Mobile(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.s = nn.Conv2d(3, 12, 3, 2, pad_mode="same")
        self.dw = nn.Conv2d(12, 12, 5, 1, pad_mode="same", group=12)
        self.bn = nn.BatchNorm2d(12, eps=1e-3)
        self.se = SqueezeExcite(12)
        self.pw = nn.Conv2d(12, 20, 1)
        self.dil = nn.Conv2d(20, 20, 3, pad_mode="same", dilation=2, group=4)
        self.hs, self.r6 = nn.HSwish(), nn.ReLU6()
        self.ap = nn.AvgPool2d(2, 2, pad_mode="same")

    def construct(self, x: Any) -> Any:
        x = self.se(self.r6(self.bn(self.dw(self.hs(self.s(x))))))
        x = self.ap(self.dil(self.pw(x)))
        return ops.flatten(x).mean(-1, keep_dims=True), x


class Sentences(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Embedding(50, 12)
        self.l = nn.LSTM(12, 16, num_layers=2, bidirectional=True, batch_first=True)
        self.d = nn.Dense(32, 5)
        self.ls = nn.LogSoftmax()
        self.zeros = np.zeros((4, 2, 16), np.float32)

    def construct(self, x: Any) -> Any:
        y, (h, _) = self.l(self.e(x), (self.zeros, self.zeros))
        return self.ls(self.d(y[:, -1, :])), h


class Attention(nn.Cell):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.each = heads, width // heads
        self.q, self.k, self.v, self.o = (nn.Dense(width, width) for _ in range(4))

    def split(self, x: Any) -> Any:
        batch, length, _ = x.shape
        return x.reshape(batch, length, self.heads, self.each).transpose(0, 2, 1, 3)

    def construct(self, x: Any, mask: Any) -> Any:
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        scores = ops.matmul(q, k.transpose(0, 1, 3, 2)) / self.each**0.5
        hidden = (1.0 - mask.astype("float32")).expand_dims(1).expand_dims(1)
        y = ops.matmul(ops.softmax(scores + hidden * -10000.0, -1), v)
        return self.o(y.transpose(0, 2, 1, 3).reshape(*x.shape))


class Transformer(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Embedding(40, 32)
        self.pos = nn.Parameter(np.zeros((1, 10, 32), np.float32), name="pos")
        self.ln1, self.ln2 = nn.LayerNorm((32,)), nn.LayerNorm((32,), epsilon=1e-5)
        self.a = Attention(32, 4)
        self.f1, self.f2 = nn.Dense(32, 64), nn.Dense(64, 32)
        self.g, self.g2 = nn.GELU(approximate=False), nn.GELU()
        self.drop = nn.Dropout(p=0.1)
        self.out = nn.Dense(32, 40, has_bias=False)

    def construct(self, ids: Any, mask: Any) -> Any:
        x = self.e(ids) + self.pos
        x = x + self.drop(self.a(self.ln1(x), mask))
        x = self.g2(x + self.f2(self.g(self.f1(self.ln2(x)))))
        return self.out(x), ops.argmax(self.out(x), -1)


class Recurrent(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.g = nn.GRU(5, 6, batch_first=True)
        self.r = nn.RNN(5, 6)
        self.lc, self.gc = nn.LSTMCell(5, 6), nn.GRUCell(6, 6)
        self.l = nn.LSTM(5, 6, has_bias=False)

    def construct(self, x: Any, h: Any) -> Any:
        along = x.transpose(1, 0, 2)
        state = self.lc(x[:, 0], (h[0], h[0] * 0.5))
        results = self.g(x, h), self.r(along, h), self.gc(*state), self.l(along, (h, h))
        return results


class Transposed(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2dTranspose(4, 6, 2, 2, pad_mode="valid")
        self.b = nn.Conv2dTranspose(6, 3, 3, 2, pad_mode="same", has_bias=True)
        self.c = nn.Conv2dTranspose(3, 2, 3, 1, pad_mode="pad", padding=1)

    def construct(self, x: Any) -> Any:
        return self.c(ops.relu(self.b(self.a(x))))


NETWORKS: dict[str, type[nn.Cell]] = {
    "01_lenet": LeNet,
    "02_resnet_bn": ResNet,
    "03_mobile_se": Mobile,
    "04_embed_bilstm": Sentences,
    "05_transformer": Transformer,
    "15_rnn_cells": Recurrent,
    "22_conv_transpose": Transposed,
}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_outputs_are_mindspores(name: str) -> None:
    path = CHECKPOINTS / f"{'lenet' if name == '01_lenet' else name}.ckpt"
    network = NETWORKS[name]()
    missing, unused = ow.load_param_into_net(network, ow.load_checkpoint(path))
    assert missing == []
    appended = ["epoch_num", "step_num", "lr", "finished", "note", "running"]
    assert unused == (appended if name == "01_lenet" else [])
    above = set()
    for number, (inputs, wanted) in enumerate(cases(name)):
        graph = ow.networks.trace(network, *map(TensorType.of, inputs))
        got = evaluate(graph, inputs)
        above |= {(number, position) for position in check(got, wanted)}
    assert above == ABOVE.get(name, set())
