"""Readers of operators as they were in opset 6 and before, where exporters still use them."""

from __future__ import annotations

from typing import Any

from ...ir import ModelError, Value
from ...ops.registry import operator_named
from .context import Context, ops
from .read_neural import _average_pool, gemm
from .registry import reads


def _aligned(g: Context, x: Value, y: Value, broadcast: int, axis: int | None) -> Value:
    """``y`` shaped so that it broadcasts with ``x``, starting at dimension ``axis``."""
    if not broadcast:
        if g.rank(x) != g.rank(y):
            raise ModelError(f"operands {g.type(x)} and {g.type(y)} without broadcast=1")
        return y
    if axis is None:
        return y
    axis = g.axis(x, axis)
    missing = g.rank(x) - axis - g.rank(y)
    if missing < 0:
        raise ModelError(f"{g.type(y)} does not fit into {g.type(x)} from axis {axis} on")
    return g.reshape(y, (*g.shape(y), *(1,) * missing))


def _binary(onnx_name: str, name: str, since: int) -> None:
    @reads(onnx_name, since=since)
    def _read(
        g: Context,
        x: Value,
        y: Value,
        *,
        axis: int | None = None,
        broadcast: int = 0,
        consumed_inputs: tuple[int, ...] | None = None,
    ) -> Value:
        return g.add(operator_named(name), x, _aligned(g, x, y, broadcast, axis))


for _onnx_name, _name in (("Add", "add"), ("Sub", "sub"), ("Mul", "mul"), ("Div", "div")):
    _binary(_onnx_name, _name, 6)
for _onnx_name, _name in (
    ("Pow", "pow"),
    ("Equal", "equal"),
    ("Greater", "greater"),
    ("Less", "less"),
    ("And", "logical_and"),
    ("Or", "logical_or"),
    ("Xor", "logical_xor"),
):
    _binary(_onnx_name, _name, 1)


@reads("PRelu", since=6)
def _prelu_6(g: Context, x: Value, slope: Value) -> Value:
    """One slope for all, or one for each channel."""
    if g.rank(slope) == 1 and g.shape(slope)[0] != 1 and g.rank(x) > 2:
        slope = g.reshape(slope, (*g.shape(slope), *(1,) * (g.rank(x) - 2)))
    return g.add(ops.prelu, x, slope)


@reads("Gemm", since=6)
def _gemm_6(
    g: Context,
    a: Value,
    b: Value,
    c: Value,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    broadcast: int = 0,
    transA: int = 0,
    transB: int = 0,
) -> Value:
    return gemm(g, a, b, c, alpha, beta, transA, transB)


reads("AveragePool", since=1)(_average_pool)


@reads("Dropout", since=6)
def _dropout_6(g: Context, x: Value, *, is_test: int = 0, ratio: float = 0.5) -> Value:
    return g.add(ops.identity, x)


@reads("Tile", since=1)
def _tile_1(g: Context, x: Value, tiles: Value, axis: Value) -> Value:
    place = g.axis(x, g.integer(axis, "Tile's axis"))
    repeats: list[Any] = [1] * g.rank(x)
    repeats[place] = g.extent(tiles, "Tile's tiles")
    return g.add(ops.tile, x, repeats=tuple(repeats))


@reads("Concat", since=1)
def _concat_1(g: Context, *inputs: Value, axis: int = 1) -> Value:
    if not inputs:
        raise ModelError("Concat has no inputs")
    return g.add(ops.concat, *inputs, axis=g.axis(inputs[0], axis))
