"""Convolutions and pools: their references against ONNX Runtime on random windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opweave.ops import convolution, convolution_transpose, max_pool, pool
from opweave.ops.samples import tensor
from opweave.ops.spatial import resolve_auto_pad

from .against_runtime import QUICK, compare, runtime


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    """Attributes of a sliding window and extents that it fits into."""
    rank = draw(st.integers(1, 3))

    def entries(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    kernel, strides, dilations = entries(1, 3), entries(1, 3), entries(1, 2)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begin = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    end = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    spatial = tuple(span + extra for span, extra in zip(reach, entries(0, 5), strict=True))
    return {
        "kernel": kernel,
        "strides": strides,
        "dilations": dilations,
        "pads_begin": begin,
        "pads_end": end,
        "spatial": spatial,
    }


def onnx_window(window: Mapping[str, Any]) -> dict[str, Any]:
    """The window as ONNX attributes."""
    return {
        "kernel_shape": window["kernel"],
        "strides": window["strides"],
        "dilations": window["dilations"],
        "pads": (*window["pads_begin"], *window["pads_end"]),
    }


def our_window(window: Mapping[str, Any], *without: str) -> dict[str, Any]:
    """The window as attributes of our operators."""
    return {name: value for name, value in window.items() if name not in ("spatial", *without)}


@given(windows(), st.sampled_from([(1, 2, 3), (2, 1, 1), (3, 1, 2)]), st.booleans())
@QUICK
def test_convolution(window: dict[str, Any], channels: tuple[int, int, int], biased: bool) -> None:
    groups, per_group, maps = channels
    x = tensor((2, groups * per_group, *window["spatial"]))
    w = tensor((groups * maps, per_group, *window["kernel"]))
    inputs = [x, w, *([tensor((groups * maps,))] if biased else [])]
    wanted = runtime("Conv", inputs, {**onnx_window(window), "group": groups})
    compare(convolution.convolution, inputs, wanted, **our_window(window, "kernel"), groups=groups)


@given(windows(), st.sampled_from([(1, 2, 3), (2, 1, 1), (3, 2, 1)]))
@QUICK
def test_convolution_transpose(window: dict[str, Any], channels: tuple[int, int, int]) -> None:
    groups, per_group, maps = channels
    x = tensor((1, groups * per_group, *window["spatial"]))
    inputs = [x, tensor((groups * per_group, maps, *window["kernel"])), tensor((groups * maps,))]
    extra = tuple(stride - 1 for stride in window["strides"])
    attributes = {**onnx_window(window), "group": groups, "output_padding": extra}
    compare(
        convolution_transpose.convolution_transpose,
        inputs,
        runtime("ConvTranspose", inputs, attributes),
        **our_window(window, "kernel"),
        output_padding=extra,
        groups=groups,
    )


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_automatic_padding(auto_pad: str, stride: int) -> None:
    x, w = tensor((1, 2, 9, 10)), tensor((3, 2, 3, 4))
    strides, dilations = (stride, stride), (1, 1)
    attributes = {"auto_pad": auto_pad, "strides": strides, "dilations": dilations}
    begin, end = resolve_auto_pad(auto_pad, (9, 10), (3, 4), strides, dilations)
    compare(
        convolution.convolution,
        [x, w],
        runtime("Conv", [x, w], attributes),
        strides=strides,
        dilations=dilations,
        pads_begin=begin,
        pads_end=end,
    )


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "NOTSET"])
@pytest.mark.parametrize("output_shape", [(), (11, 9), (12, 10)])
def test_transposed_padding(auto_pad: str, output_shape: tuple[int, ...]) -> None:
    x, w = tensor((1, 2, 5, 4)), tensor((2, 3, 4, 3))
    attributes: dict[str, Any] = {"auto_pad": auto_pad, "strides": (2, 2)}
    if output_shape:
        attributes["output_shape"] = output_shape
    begin, end = convolution_transpose.resolve_transposed_padding(
        auto_pad, output_shape, (5, 4), (4, 3), (2, 2), (1, 1), ()
    )
    compare(
        convolution_transpose.convolution_transpose,
        [x, w],
        runtime("ConvTranspose", [x, w], attributes, opset=17),
        strides=(2, 2),
        pads_begin=begin,
        pads_end=end,
    )


@given(windows(), st.booleans())
@QUICK
def test_max_pool(window: dict[str, Any], ceil_mode: bool) -> None:
    x = tensor((2, 3, *window["spatial"]))
    attributes = {**onnx_window(window), "ceil_mode": int(ceil_mode)}
    wanted = runtime("MaxPool", [x], attributes, opset=22)
    compare(max_pool.max_pool, [x], wanted, **our_window(window), ceil_mode=ceil_mode)


@given(windows(), st.booleans(), st.integers(0, 1))
@QUICK
def test_max_pool_with_indices(window: dict[str, Any], ceil_mode: bool, order: int) -> None:
    x = tensor((2, 3, *window["spatial"]))
    attributes = {**onnx_window(window), "ceil_mode": int(ceil_mode), "storage_order": order}
    wanted = runtime("MaxPool", [x], attributes, outputs=2, opset=22)
    compare(
        max_pool.max_pool_with_indices,
        [x],
        wanted,
        **our_window(window),
        ceil_mode=ceil_mode,
        storage_order=order,
    )


@given(windows(), st.booleans(), st.booleans())
@QUICK
def test_average_pool(window: dict[str, Any], ceil_mode: bool, include: bool) -> None:
    x = tensor((2, 3, *window["spatial"]))
    attributes = {
        **onnx_window(window),
        "ceil_mode": int(ceil_mode),
        "count_include_pad": int(include),
    }
    wanted = runtime("AveragePool", [x], attributes, opset=22)
    compare(
        pool.average_pool,
        [x],
        wanted,
        **our_window(window),
        ceil_mode=ceil_mode,
        count_include_pad=include,
    )


@given(windows(), st.booleans(), st.integers(1, 3))
@QUICK
def test_lp_pool(window: dict[str, Any], ceil_mode: bool, p: int) -> None:
    x = tensor((2, 3, *window["spatial"]))
    attributes = {**onnx_window(window), "ceil_mode": int(ceil_mode), "p": p}
    wanted = runtime("LpPool", [x], attributes, opset=22)
    compare(pool.lp_pool, [x], wanted, **our_window(window), ceil_mode=ceil_mode, p=p)
