"""Operators compiled once for extents that runs give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opweave.compiler.driver import compile_graph
from opweave.compiler.interpret import run_reference
from opweave.ir import Graph, TensorType, symbol
from opweave.ops.registry import operator_named
from opweave.ops.samples import tensor
from opweave.ops.spatial import resolve_auto_pad

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
