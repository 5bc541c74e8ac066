"""Pools, channels last, compiled for the CPU, against references in float64 and ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from opweave.compiler.driver import compile_graph
from opweave.ir import Array, Extent, Graph, TensorType
from opweave.ir.dim import symbol
from opweave.ops.elementwise_activation import relu
from opweave.ops.elementwise_arithmetic import add
from opweave.ops.max_pool import max_pool
from opweave.ops.pool import average_pool
from opweave.targets.cpu.spatial.pool import spatial_average_pool, spatial_max_pool

COMPILED = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@st.composite
def pools(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes of a pool that has an output; windows may lie in the padding."""
    rank = draw(st.integers(1, 3))
    window: dict[str, Any] = {
        "kernel": tuple(draw(st.integers(1, 6 if rank < 3 else 3)) for _ in range(rank)),
        "dilations": tuple(draw(st.sampled_from([1, 1, 2])) for _ in range(rank)),
        "strides": tuple(draw(st.integers(1, 3)) for _ in range(rank)),
        "pads_begin": tuple(draw(st.integers(0, 3)) for _ in range(rank)),
        "pads_end": tuple(draw(st.integers(0, 3)) for _ in range(rank)),
        "ceil_mode": draw(st.booleans()),
    }
    sizes = []
    for axis in range(rank):
        reach = window["dilations"][axis] * (window["kernel"][axis] - 1) + 1
        least = max(1, reach - window["pads_begin"][axis] - window["pads_end"][axis])
        sizes.append(draw(st.integers(least, max(least, {1: 60, 2: 20, 3: 6}[rank]))))
    return {"window": window, "sizes": tuple(sizes), "channels": draw(st.integers(1, 70))}


def random(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def run(
    op: Any, x: Array, types: tuple[Extent, ...], attributes: dict[str, Any], tail: Array | None
) -> Array:
    """The pool of ``x`` [N, spatial..., C], with an addition and an activation behind it."""
    graph = Graph()
    y = graph.add(op, graph.input("x", TensorType(x.dtype.name, types)), **attributes)
    if tail is not None:
        y = graph.add(relu, graph.add(add, y, graph.param(tail, "bias")))
    graph.output(y)
    found = compile_graph(graph, threads=2)(x)
    assert isinstance(found, np.ndarray)
    return found


def with_open(which: int, batch: int, sizes: tuple[int, ...], channels: int) -> tuple[Extent, ...]:
    types: list[Extent] = [symbol("n"), *sizes, channels]
    if which & 1:
        types[1] = symbol("first")
    if which & 2:
        types[-2] = symbol("last")
    return tuple(types)


@pytest.mark.parametrize("width", [16, 8, 4])
@COMPILED
@given(pools(), st.sampled_from([0, 0, 0, 1, 2, 3]), st.booleans())
def test_max_pool(width: int, drawn: dict[str, Any], which: int, special: bool) -> None:
    """NaN wins, also over infinity; the leading sizes and that of a line may each be open."""
    sizes, channels, window = drawn["sizes"], drawn["channels"], drawn["window"]
    x = random((2, *sizes, channels), 1)
    if special:
        chosen = np.random.default_rng(2).integers(0, 40, x.shape)
        for number, value in enumerate((np.nan, np.inf, -np.inf)):
            x[chosen == number] = value
    types = with_open(which, 2, sizes, channels)
    found = run(spatial_max_pool, x, types, {**window, "width": width}, None)
    wanted = np.moveaxis(max_pool.reference(np.moveaxis(x, -1, 1), **window), 1, -1)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("width", [16, 8, 4])
@COMPILED
@given(pools(), st.sampled_from([0, 0, 0, 1, 2, 3]), st.booleans())
def test_average_pool(width: int, drawn: dict[str, Any], which: int, include: bool) -> None:
    """With what follows fused; a window without any element has no mean."""
    sizes, channels, window = drawn["sizes"], drawn["channels"], drawn["window"]
    x, bias = random((2, *sizes, channels), 1), random((channels,), 2)
    attributes = {**window, "count_include_pad": include}
    with np.errstate(invalid="ignore"):
        wanted = average_pool.reference(np.moveaxis(x, -1, 1).astype(np.float64), **attributes)
    wanted = np.maximum(np.moveaxis(wanted, 1, -1) + bias, 0)
    types = with_open(which, 2, sizes, channels)
    found = run(spatial_average_pool, x, types, {**attributes, "width": width}, bias)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "int8", "uint8"])
def test_other_types(dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 100, (1, 9, 10, 5)).astype(dtype)
    window: dict[str, Any] = {"kernel": (3, 2), "strides": (2, 1), "pads_begin": (1, 1)}
    window["pads_end"] = (1, 0)
    found = run(spatial_max_pool, x, x.shape, window, None)
    wanted = np.moveaxis(max_pool.reference(np.moveaxis(x, -1, 1), **window), 1, -1)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("size", "channels", "kernel", "stride", "pad", "ceil"),
    [
        (112, 64, 3, 2, 1, False),
        (28, 6, 2, 2, 0, False),
        (27, 40, 3, 2, 0, True),
        (14, 48, 3, 1, 1, False),
        (13, 33, 13, 1, 6, False),
        (7, 100, 7, 1, 0, False),
        (13, 16, 2, 2, 0, True),
    ],
)
def test_as_onnx_runtime(
    kind: str, size: int, channels: int, kernel: int, stride: int, pad: int, ceil: bool
) -> None:
    """Shapes of well-known networks."""
    x = random((1, channels, size, size), 3)
    node = helper.make_node(
        kind,
        ["x"],
        ["y"],
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
        pads=[pad] * 4,
        ceil_mode=int(ceil),
    )
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", x.shape), ("y", None))
    ]
    model = helper.make_model(
        helper.make_graph([node], "pool", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 19)],
        ir_version=9,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (wanted,) = session.run(None, {"x": x})
    op = spatial_max_pool if kind == "MaxPool" else spatial_average_pool
    window = {
        "kernel": (kernel,) * 2,
        "strides": (stride,) * 2,
        "pads_begin": (pad,) * 2,
        "pads_end": (pad,) * 2,
        "ceil_mode": ceil,
    }
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    found = run(op, last, last.shape, window, None)
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), wanted, rtol=1e-5, atol=1e-6)
