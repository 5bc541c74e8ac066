"""Bodies of control flow get the target's kernels too, and compute what ONNX Runtime does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import opweave as ow
from opweave.compiler.session import Session
from opweave.ir import Array, Graph

from .against_runtime import session_of

_FLOAT, _BOOL, _INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
_IMAGE = (1, 16, 12, 14)
_RANDOM = np.random.default_rng(5)


def _value(name: str, kind: int, shape: tuple[int, ...] | None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _weights(name: str, *shape: int) -> Any:
    scale = np.float32(1 / np.sqrt(np.prod(shape[1:])))
    return numpy_helper.from_array(_RANDOM.standard_normal(shape, np.float32) * scale, name)


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any]) -> Any:
    graph = helper.make_graph(nodes, "main", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _convolved(name: str, x: str, weights: str, out: str, size: int) -> list[Any]:
    pad = size // 2
    operands = [x, weights, f"{weights}_bias"]
    return [
        helper.make_node("Conv", operands, [f"{out}_sum"], name, pads=4 * [pad]),
        helper.make_node("Relu", [f"{out}_sum"], [out]),
    ]


_WEIGHTS = [
    _weights("wide", 16, 16, 3, 3),
    _weights("wide_bias", 16),
    _weights("narrow", 16, 16, 1, 1),
    _weights("narrow_bias", 16),
    _weights("matrix", 16, 16),
    _weights("gates", 1, 64, 16),
    _weights("recurrent", 1, 64, 16),
]


def _choice() -> Any:
    """A choice between two convolutions, one of which ends in an inner choice."""
    inner = [
        helper.make_graph(
            [helper.make_node(name, ["deep"], [f"deep_{name}"])],
            name,
            [],
            [_value(f"deep_{name}", _FLOAT, _IMAGE)],
        )
        for name in ("Tanh", "Relu")
    ]
    nested = helper.make_node("If", ["flag"], ["then"], then_branch=inner[0], else_branch=inner[1])
    then = helper.make_graph(
        [
            *_convolved("a", "x", "wide", "first", 3),
            *_convolved("b", "first", "narrow", "deep", 1),
            nested,
        ],
        "then",
        [],
        [_value("then", _FLOAT, _IMAGE)],
    )
    other = helper.make_graph(
        _convolved("c", "x", "narrow", "else", 1), "else", [], [_value("else", _FLOAT, _IMAGE)]
    )
    node = helper.make_node("If", ["flag"], ["y"], then_branch=then, else_branch=other)
    inputs = [_value("x", _FLOAT, _IMAGE), _value("flag", _BOOL, ())]
    return _model([node], inputs, [_value("y", _FLOAT, _IMAGE)], _WEIGHTS[:4])


def _loop() -> Any:
    """Convolutions repeated on their own result, each of which is kept."""
    nodes = [
        *_convolved("a", "state", "wide", "middle", 3),
        *_convolved("b", "middle", "narrow", "branch", 1),
        helper.make_node("Add", ["branch", "x"], ["following"]),
        helper.make_node("GlobalAveragePool", ["following"], ["mean"]),
        helper.make_node("Identity", ["going"], ["again"]),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [_value("step", _INT64, ()), _value("going", _BOOL, ()), _value("state", _FLOAT, _IMAGE)],
        [
            _value("again", _BOOL, ()),
            _value("following", _FLOAT, _IMAGE),
            _value("mean", _FLOAT, (1, 16, 1, 1)),
        ],
    )
    node = helper.make_node("Loop", ["count", "", "x"], ["y", "means"], body=body)
    inputs = [_value("x", _FLOAT, _IMAGE), _value("count", _INT64, ())]
    outputs = [_value("y", _FLOAT, _IMAGE), _value("means", _FLOAT, (None, 1, 16, 1, 1))]
    return _model([node], inputs, outputs, _WEIGHTS[:4])


def _scan() -> Any:
    """A product and a recurrent layer at each step of a sequence."""
    nodes = [
        helper.make_node("MatMul", ["row", "matrix"], ["mapped"]),
        helper.make_node("Tanh", ["mapped"], ["bent"]),
        helper.make_node("LSTM", ["bent", "gates", "recurrent"], ["", "hidden"], hidden_size=16),
        helper.make_node("Add", ["total", "hidden"], ["next_total"]),
        helper.make_node("ReduceSum", ["hidden"], ["kept"], keepdims=0),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [_value("total", _FLOAT, (1, 3, 16)), _value("row", _FLOAT, (5, 3, 16))],
        [_value("next_total", _FLOAT, (1, 3, 16)), _value("kept", _FLOAT, ())],
    )
    names = ["start", "rows"], ["total_end", "kept_all"]
    node = helper.make_node("Scan", *names, body=body, num_scan_inputs=1)
    inputs = [_value("start", _FLOAT, (1, 3, 16)), _value("rows", _FLOAT, (4, 5, 3, 16))]
    outputs = [_value("total_end", _FLOAT, (1, 3, 16)), _value("kept_all", _FLOAT, (4,))]
    return _model([node], inputs, outputs, _WEIGHTS[4:])


def _names(graph: Graph) -> set[str]:
    """The operators in all bodies and fused groups of a graph."""
    found: set[str] = set()
    for node in graph.operators():
        found.add(node.op.name)
        for value in node.attrs.values():
            if isinstance(value, Graph):
                found |= _names(value)
    return found


def _agrees(session: Session, model: Any, feed: dict[str, Array]) -> None:
    peer = session_of(model.SerializeToString())
    for found, expected in zip(session.run(None, feed), peer.run(None, feed), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_choice(threads: int) -> None:
    model = _choice()
    session = ow.compile(model, threads=threads)
    assert {"cpu_spatial_winograd", "cpu_packed_matmul"} <= _names(session.graph)
    assert "convolution" not in _names(session.graph)
    x = _RANDOM.standard_normal(_IMAGE, np.float32)
    for flag in (True, False):
        _agrees(session, model, {"x": x, "flag": np.array(flag)})


@pytest.mark.parametrize("threads", [1, 2])
def test_loop(threads: int) -> None:
    model = _loop()
    session = ow.compile(model, threads=threads)
    assert {"cpu_spatial_winograd", "cpu_packed_matmul"} <= _names(session.graph)
    x = _RANDOM.standard_normal(_IMAGE, np.float32)
    for count in (0, 1, 3):
        _agrees(session, model, {"x": x, "count": np.array(count, np.int64)})


def test_scan() -> None:
    model = _scan()
    session = ow.compile(model)
    assert {"cpu_packed_matmul", "cpu_recurrence"} <= _names(session.graph)
    rows = _RANDOM.standard_normal((4, 5, 3, 16), np.float32)
    _agrees(session, model, {"start": np.zeros((1, 3, 16), np.float32), "rows": rows})


def test_packages_have_the_weights_of_bodies(tmp_path: Any) -> None:
    session = ow.compile(_loop())
    saved = ow.load_session(ow.save(session, tmp_path / "loop.owx"))
    feed = {"x": _RANDOM.standard_normal(_IMAGE, np.float32), "count": np.array(2, np.int64)}
    for found, expected in zip(saved.run(None, feed), session.run(None, feed), strict=True):
        assert np.array_equal(found, expected)
