"""Tensors' bytes stay where the file was read to; what is parsed is the file without them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import opweave as ow
from opweave.formats.limits import DEFAULT_LIMITS
from opweave.formats.payloads import LEAST, Payloads
from opweave.formats.varints import read_varint, varint
from opweave.formats.wire_scan import scan

SIZES = st.sampled_from([0, 1, 100, LEAST // 4 - 1, LEAST // 4, 5000, 40000])


def nested(sizes: list[int], depth: int) -> onnx.ModelProto:
    """Tensors in graphs of attributes of nodes, some of them in lists."""
    graph = None
    for level in range(depth):
        arrays = [np.full(size, level + k, np.float32) for k, size in enumerate(sizes)]
        tensors = [numpy_helper.from_array(array, f"t{k}") for k, array in enumerate(arrays)]
        nodes = [helper.make_node("Constant", [], ["c"], value=tensor) for tensor in tensors]
        if graph is not None:
            nodes.append(helper.make_node("Some", [], ["d"], body=graph, more=tensors or [1]))
        graph = helper.make_graph(nodes, f"graph{level}", [], [], tensors)
    assert graph is not None
    return helper.make_model(graph)


def tensors_of(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                found.append(attribute.t)
            found += attribute.tensors
            if attribute.HasField("g"):
                found += tensors_of(attribute.g)
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(SIZES, max_size=4), st.integers(1, 4))
def test_the_rest_of_a_file_is_the_file_without_them(sizes: list[int], depth: int) -> None:
    model = nested(sizes, depth)
    data = model.SerializeToString()
    payloads = scan(data, onnx.ModelProto.DESCRIPTOR, DEFAULT_LIMITS)
    rest = payloads.rest()
    parsed = onnx.ModelProto.FromString(rest)
    for tensor in tensors_of(parsed.graph):
        held = payloads.bytes_of(tensor.raw_data)
        if len(held) >= LEAST:
            assert len(tensor.raw_data) < 100
            assert isinstance(held, memoryview)
        tensor.raw_data = bytes(held)
    assert parsed == model
    if all(4 * size < LEAST for size in sizes):
        assert rest == data


def test_lengths_that_are_longer_than_they_need_to_be() -> None:
    """A number may be written with zeros in its highest places."""
    content = bytes(range(256)) * 20
    tensor = b"\x08\xa0\x26\x10\x01J" + padded(len(content)) + content
    graph = b"\x12\x01g*" + padded(len(tensor)) + tensor
    data = b"\x08\x08:" + padded(len(graph)) + graph
    payloads = scan(data, onnx.ModelProto.DESCRIPTOR, DEFAULT_LIMITS)
    parsed = onnx.ModelProto.FromString(payloads.rest())
    (found,) = parsed.graph.initializer
    assert payloads.bytes_of(found.raw_data) == content
    assert parsed.graph.name == "g"
    assert found.data_type == onnx.TensorProto.FLOAT


def padded(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14 | 0x80, 0])


@given(st.integers(0, (1 << 64) - 1))
def test_numbers(number: int) -> None:
    text = varint(number)
    assert read_varint(text, 0, len(text)) == (number, len(text))


def test_a_mark_that_a_file_brings_means_nothing() -> None:
    for forged in (bytes(24), b"\xff" * 24, b"raw_data"):
        assert Payloads(b"abc").bytes_of(forged) == forged


def test_weights_are_in_memory_once(tmp_path: Path) -> None:
    """Loading a model takes hardly more memory than the file has bytes."""
    weights = np.random.default_rng(0).standard_normal((2000, 2000)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2000])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2000])],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path / "product.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opset).SerializeToString())
    ow.load(path)  # what is imported by then counts no more
    tracemalloc.start()
    try:
        model = ow.load(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * weights.nbytes
    (held,) = model.graph.params.values()
    assert isinstance(held, ow.ir.LazyArray)
    np.testing.assert_array_equal(held.load(), weights)
