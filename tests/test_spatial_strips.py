"""Chains of convolutions computed in strips of rows, against float64 references."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opweave.compiler.driver import compile_graph
from opweave.ir import Array, Extent, Graph, TensorType, Value
from opweave.ir.dim import symbol
from opweave.ops.convolution import convolution
from opweave.ops.elementwise_activation import relu
from opweave.ops.elementwise_arithmetic import add, clip, mul
from opweave.targets.cpu.spatial import strip_select

COMPILED = settings(
    max_examples=7, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
LAYERS = ("dense", "depthwise", "pointwise", "pointwise", "depthwise")


@st.composite
def chains(draw: st.DrawFn) -> dict[str, Any]:
    """Convolutions one after the other, and whether the last adds something of its shape."""
    layers = []
    sizes, channels = (draw(st.integers(5, 24)), draw(st.integers(5, 20))), draw(st.integers(1, 20))
    first = channels, *sizes
    for kind in draw(st.lists(st.sampled_from(LAYERS), min_size=2, max_size=6)):
        layer: dict[str, Any] = {"kind": kind, "kernel": (1, 1), "pads": (0, 0, 0, 0)}
        layer["strides"] = layer["dilations"] = (1, 1)
        if kind != "pointwise":
            layer["kernel"] = draw(st.sampled_from([(3, 3), (1, 1), (2, 3), (5, 1), (3, 2)]))
            layer["strides"] = tuple(draw(st.integers(1, 2)) for _ in range(2))
            layer["dilations"] = tuple(draw(st.sampled_from([1, 1, 2])) for _ in range(2))
            layer["pads"] = tuple(draw(st.integers(0, 2)) for _ in range(4))
        above, left, below, right = layer["pads"]
        padded = sizes[0] + above + below, sizes[1] + left + right
        output = tuple(
            (size - dilation * (kernel - 1) - 1) // stride + 1
            for size, dilation, kernel, stride in zip(
                padded, layer["dilations"], layer["kernel"], layer["strides"], strict=True
            )
        )
        if min(output) < 1:
            continue
        layer["channels"] = channels
        layer["maps"] = channels if kind == "depthwise" else draw(st.integers(1, 40))
        layer["after"] = draw(st.sampled_from(["bias", "relu", "clip", "scale"]))
        sizes, channels = output, layer["maps"]
        layers.append(layer)
    return {"layers": layers, "input": first, "output": (channels, *sizes)}


def build(graph: Graph, x: Value, layers: list[dict[str, Any]], seed: int) -> Value:
    """The layers with seeded weights."""
    random = np.random.default_rng(seed)
    for number, layer in enumerate(layers):
        groups = layer["channels"] if layer["kind"] == "depthwise" else 1
        shape = (layer["maps"], layer["channels"] // groups, *layer["kernel"])
        scale = np.float32(1 / np.sqrt(np.prod(shape[1:])))
        weights = graph.param(random.standard_normal(shape, np.float32) * scale, f"w{number}")
        bias = graph.param(random.standard_normal(layer["maps"], np.float32), f"b{number}")
        x = graph.add(
            convolution,
            x,
            weights,
            bias,
            strides=layer["strides"],
            dilations=layer["dilations"],
            pads_begin=layer["pads"][:2],
            pads_end=layer["pads"][2:],
            groups=groups,
        )
        if layer["after"] == "relu":
            x = graph.add(relu, x)
        elif layer["after"] == "clip":
            x = graph.add(clip, x, low=0.0, high=1.5)
        elif layer["after"] == "scale":
            factors = random.standard_normal((layer["maps"], 1, 1), np.float32)
            x = graph.add(mul, x, graph.param(factors, f"s{number}"))
    return x


def in_float64(drawn: dict[str, Any], data: Array, other: Array | None) -> Array:
    """What the layers compute, by NumPy references in double precision."""
    graph = Graph()
    x = graph.input("x", TensorType("float32", data.shape))
    graph.output(build(graph, x, drawn["layers"], 1))
    values: dict[Value, Array] = {graph.inputs[0]: data.astype(np.float64)}
    for node in graph.nodes():
        if graph.is_param(node.outputs[0]):
            values[node.outputs[0]] = graph.array(node.outputs[0]).astype(np.float64)
        elif node.outputs[0] not in values:
            operands = [values[value] for value in node.operands]
            values[node.outputs[0]] = node.op.reference(*operands, **node.attrs)
    result = values[graph.outputs[0]]
    return result if other is None else result + other


@pytest.mark.parametrize("bits", [512, 256, 128])
@COMPILED
@given(
    chains(),
    st.sampled_from([None, 1, 3]),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.integers(1, 9),
)
def test_strips(
    bits: int,
    drawn: dict[str, Any],
    batch: int | None,
    threads: int,
    residual: bool,
    limited: bool,
    rows: int,
) -> None:
    """``rows`` of the largest strip decide how many fit; an open batch is called ``n``."""
    graph = Graph()
    images: Extent = symbol("n") if batch is None else batch
    x = graph.input("x", TensorType("float32", (images, *drawn["input"])))
    y = build(graph, x, drawn["layers"], 1)
    if residual:
        y = graph.add(add, y, graph.input("other", TensorType("float32", graph.type(y).shape)))
        y = graph.add(relu, y) if limited else y
    graph.output(y)
    largest = max([24 * 20 * 40, *(layer["maps"] * 24 * 20 for layer in drawn["layers"])])
    with (
        patch.object(strip_select, "_LEAST_BYTES", 0),
        patch.object(strip_select, "_STRIP_FLOATS", largest * rows // 9),
        patch.object(strip_select, "_LEAST_ITEM_ROWS", 2),
    ):
        session = compile_graph(graph, threads=threads, vector_bits=bits)
    kinds = [layer["kind"] for layer in drawn["layers"]]
    if rows == 9 and len(kinds) > 1 and "dense" not in kinds:
        assert "cpu_strips" in {node.op.name for node in session.graph.operators()}
    random = np.random.default_rng(2)
    count = batch or 2
    data = random.standard_normal((count, *drawn["input"]), np.float32)
    other = random.standard_normal((count, *drawn["output"]), np.float32) if residual else None
    wanted = in_float64(drawn, data, other)
    wanted = np.maximum(wanted, 0) if residual and limited else wanted
    found = session(data) if other is None else session(data, other)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max())


def test_inverted_residual_becomes_one_node() -> None:
    """The expanded tensors of a block with large maps are in no node of the graph."""
    layers: list[dict[str, Any]] = []
    for kind, channels, maps in (
        ("pointwise", 16, 96), ("depthwise", 96, 96), ("pointwise", 96, 16),
    ):  # fmt: skip
        kernel = (3, 3) if kind == "depthwise" else (1, 1)
        pads = (1, 1, 1, 1) if kind == "depthwise" else (0, 0, 0, 0)
        layers.append(
            {
                "kind": kind, "kernel": kernel, "pads": pads, "strides": (1, 1),
                "dilations": (1, 1), "channels": channels, "maps": maps,
                "after": "bias" if len(layers) == 2 else "clip",
            }
        )  # fmt: skip
    graph = Graph()
    x = graph.input("x", TensorType("float32", (1, 16, 56, 60)))
    graph.output(build(graph, x, layers, 1))
    session = compile_graph(graph, threads=1)
    assert [node.op.name for node in session.graph.operators()] == [
        "transpose", "cpu_strips", "transpose",
    ]  # fmt: skip
    assert session.executable.arena_bytes({}) < 2 * 4 * 16 * 56 * 60 + 4096  # type: ignore[attr-defined]
    data = np.random.default_rng(3).standard_normal((1, 16, 56, 60), np.float32)
    wanted = in_float64({"layers": layers}, data, None)
    assert np.abs(session(data) - wanted).max() <= 1e-5 * np.abs(wanted).max()
