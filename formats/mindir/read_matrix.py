"""Readers of matrix products."""

from __future__ import annotations

from ...ir import Value
from .context import Context, ops
from .convert import Layout, Values
from .items import Item
from .registry import reads

_TRANSPOSED = {"transpose_a": "transpose_x1 adj_x1", "transpose_b": "transpose_x2 adj_x2"}


@reads("MatMul", "BatchMatMul", "MatMulV2", other_names=_TRANSPOSED)
def _matmul(
    g: Context, x: Value, y: Value, transpose_a: bool = False, transpose_b: bool = False
) -> Value:
    return g.add(ops.matmul, x, y, transpose_a=transpose_a, transpose_b=transpose_b)


@reads("MatMulExt", "BatchMatMulExt", "Mm", "Mv", "Dot")
def _matmul_ext(g: Context, x: Value, y: Value) -> Value:
    left, right = g.rank(x) == 1, g.rank(y) == 1
    x = g.unsqueeze(x, 0) if left else x
    y = g.unsqueeze(y, 1) if right else y
    result = g.add(ops.matmul, x, y)
    shape = list(g.shape(result))
    if right:
        del shape[-1]
    if left:
        del shape[-2 + right]
    return g.reshape(result, shape)


@reads("Dense")
def _dense(g: Context, x: Value, weight: Value, bias: Value | None = None) -> Value:
    result = _matmul_ext(g, x, _transposed(g, weight))
    return result if bias is None else g.add(ops.add, result, bias)


def _transposed(g: Context, x: Value) -> Value:
    return x if g.rank(x) < 2 else g.transpose(x, (1, 0))


@reads("Addmm", "Baddbmm", "Addbmm")
def _addmm(g: Context, x: Value, a: Value, b: Value, beta: Item = 1, alpha: Item = 1) -> Value:
    product = g.add(ops.matmul, a, b)
    for number, which in ((alpha, 0), (beta, 1)):
        if number != 1:
            scaled = x if which else product
            scaled = g.add(ops.mul, scaled, g.value(number, g.dtype(scaled)))
            x, product = (scaled, product) if which else (x, scaled)
    if g.primitive == "Addbmm":
        product = g.add(ops.reduce_sum, product, axes=(0,), keepdims=False)
    return g.add(ops.add, x, product)


@reads("Outer", "Ger")
def _outer(g: Context, x: Value, y: Value) -> Value:
    return g.add(ops.mul, g.unsqueeze(x, 1), g.unsqueeze(y, 0))


@reads("Einsum")
def _einsum(g: Context, xs: Values, equation: str) -> Value:
    return g.add(ops.einsum, *xs, equation=equation)


@reads("EinsumExt")
def _einsum_ext(g: Context, equation: str, xs: Values) -> Value:
    return g.add(ops.einsum, *xs, equation=equation)


@reads("BiasAdd", other_names={"data_format": "format"})
def _bias_add(g: Context, x: Value, bias: Value, data_format: Layout = "NCHW") -> Value:
    if data_format in ("NHWC", "NDHWC") or g.rank(x) == 2:
        return g.add(ops.add, x, bias)
    return g.add(ops.add, x, g.reshape(bias, (g.shape(bias)[0], *(1,) * (g.rank(x) - 2))))
