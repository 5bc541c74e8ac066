"""Networks computed by the references of their operators, and windows for NumPy."""

from __future__ import annotations

import numpy as np

from opweave.ir import TensorType, check
from opweave.ir.evaluate import evaluate
from opweave.networks import trace


def results(network, *inputs):
    graph = trace(network, *[TensorType.of(array) for array in inputs])
    check(graph)
    return evaluate(graph, inputs)


def windows(x, kernel, stride):
    view = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))
    return view[:, :, ::stride, ::stride]
