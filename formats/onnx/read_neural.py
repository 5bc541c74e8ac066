"""Readers of matrix products, convolutions and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir import Extent, ModelError, Value
from ...ops.convolution_transpose import resolve_transposed_padding
from ...ops.spatial import resolve_auto_pad
from .context import Context, ops
from .registry import reads


@reads("MatMul", since=(1, 9, 13))
def _matmul(g: Context, a: Value, b: Value) -> Value:
    return g.add(ops.matmul, a, b)


@reads("Gemm", since=(7, 9))
def _gemm_7(
    g: Context,
    a: Value,
    b: Value,
    c: Value,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Value:
    return gemm(g, a, b, c, alpha, beta, transA, transB)


@reads("Gemm", since=(11, 13))
def _gemm(
    g: Context,
    a: Value,
    b: Value,
    c: Value | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Value:
    return gemm(g, a, b, c, alpha, beta, transA, transB)


def gemm(
    g: Context,
    a: Value,
    b: Value,
    c: Value | None,
    alpha: float,
    beta: float,
    transpose_a: int,
    transpose_b: int,
) -> Value:
    """``alpha * a @ b + beta * c`` of matrices."""
    if g.rank(a) != 2 or g.rank(b) != 2:
        raise ModelError(f"Gemm takes matrices, not {g.type(a)} and {g.type(b)}")
    y = g.add(ops.matmul, a, b, transpose_a=bool(transpose_a), transpose_b=bool(transpose_b))
    if alpha != 1.0:
        y = g.add(ops.mul, y, g.scalar_like(y, alpha))
    if c is None or beta == 0.0:
        return y
    if beta != 1.0:
        c = g.add(ops.mul, c, g.scalar_like(c, beta))
    shape = g.shape(y)
    y = g.add(ops.add, y, c)
    if g.shape(y) != shape:
        raise ModelError(f"Gemm: C is {g.type(c)}, which does not fit into {shape}")
    return y


@reads("Einsum", since=(12, 28))
def _einsum(g: Context, *inputs: Value, equation: str) -> Value:
    return g.add(ops.einsum, *inputs, equation=equation)


# --- windows -------------------------------------------------------------------------------


def window(
    g: Context,
    extents: Sequence[Extent],
    kernel: Sequence[Extent],
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    auto_pad: str,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Extent, ...], tuple[Extent, ...]]:
    """Strides, dilations and the pads before and after, one for each spatial axis."""
    count = len(extents)
    steps = (1,) * count if strides is None else tuple(strides)
    spread = (1,) * count if dilations is None else tuple(dilations)
    if len(kernel) != count or len(steps) != count or len(spread) != count:
        raise ModelError(f"kernel, strides or dilations do not have {count} numbers")
    if any(n < 1 for n in (*steps, *spread)) or any(isinstance(n, int) and n < 1 for n in kernel):
        raise ModelError("kernel, strides and dilations must be positive")
    if auto_pad in ("NOTSET", ""):
        given = (0,) * (2 * count) if pads is None else tuple(pads)
        if len(given) != 2 * count:
            raise ModelError(f"{len(given)} pads for {count} spatial dimensions")
        return steps, spread, given[:count], given[count:]
    before, after = resolve_auto_pad(auto_pad, extents, kernel, steps, spread)
    return steps, spread, before, after


@reads("Conv", since=(1, 11, 22))
def _conv(
    g: Context,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    kernel = _kernel(g, x, w, kernel_shape)
    steps, spread, before, after = window(
        g, g.shape(x)[2:], kernel, strides, dilations, pads, auto_pad
    )
    return g.add(
        ops.convolution,
        x,
        w,
        bias,
        strides=steps,
        dilations=spread,
        pads_begin=before,
        pads_end=after,
        groups=group,
    )


def _kernel(
    g: Context, x: Value, w: Value, kernel_shape: tuple[int, ...] | None
) -> tuple[Extent, ...]:
    if g.rank(x) < 3 or g.rank(w) != g.rank(x):
        raise ModelError(f"a convolution of {g.type(x)} with {g.type(w)}")
    kernel = g.shape(w)[2:]
    if kernel_shape is not None and tuple(kernel_shape) != kernel:
        raise ModelError(f"kernel_shape {kernel_shape} does not agree with the weight {g.type(w)}")
    return kernel


@reads("ConvTranspose", since=(1, 11, 22))
def _conv_transpose(
    g: Context,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    output_padding: tuple[int, ...] | None = None,
    output_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    kernel = _kernel(g, x, w, kernel_shape)
    spatial = g.shape(x)[2:]
    count = len(spatial)
    asked = output_shape is not None or auto_pad in ("SAME_UPPER", "SAME_LOWER")
    mode = "VALID" if asked else auto_pad
    steps, spread, before, after = window(g, spatial, kernel, strides, dilations, pads, mode)
    extra = (0,) * count if output_padding is None else tuple(output_padding)
    if asked:
        wanted = () if output_shape is None else output_shape[-count:]
        before, after = resolve_transposed_padding(
            auto_pad, wanted, spatial, kernel, steps, spread, extra
        )
    return g.add(
        ops.convolution_transpose,
        x,
        w,
        bias,
        strides=steps,
        dilations=spread,
        pads_begin=before,
        pads_end=after,
        groups=group,
        output_padding=extra,
    )


# --- pooling -------------------------------------------------------------------------------


def _pool(
    g: Context,
    x: Value,
    kernel: tuple[int, ...],
    strides: tuple[int, ...] | None,
    dilations: tuple[int, ...] | None,
    pads: tuple[int, ...] | None,
    auto_pad: str,
    ceil_mode: int,
) -> dict[str, Any]:
    if g.rank(x) < 3:
        raise ModelError(f"pooling of {g.type(x)}: it has no spatial dimensions")
    steps, spread, before, after = window(
        g, g.shape(x)[2:], kernel, strides, dilations, pads, auto_pad
    )
    return {
        "kernel": tuple(kernel),
        "strides": steps,
        "dilations": spread,
        "pads_begin": before,
        "pads_end": after,
        # With automatic padding the windows fit exactly.
        "ceil_mode": bool(ceil_mode) and auto_pad in ("NOTSET", "VALID", ""),
    }


def _max_pool(g: Context, x: Value, storage_order: int, attributes: dict[str, Any]) -> Any:
    if not g.wants(1):
        return g.add(ops.max_pool, x, **attributes)
    attributes = {**attributes, "storage_order": storage_order}
    return g.add_node(ops.max_pool_with_indices, (x,), attributes).outputs


@reads("MaxPool", since=1)
def _max_pool_1(
    g: Context,
    x: Value,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Any:
    return _max_pool(g, x, 0, _pool(g, x, kernel_shape, strides, None, pads, auto_pad, 0))


@reads("MaxPool", since=8)
def _max_pool_8(
    g: Context,
    x: Value,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    pads: tuple[int, ...] | None = None,
    storage_order: int = 0,
    strides: tuple[int, ...] | None = None,
) -> Any:
    attributes = _pool(g, x, kernel_shape, strides, None, pads, auto_pad, 0)
    return _max_pool(g, x, storage_order, attributes)


@reads("MaxPool", since=(10, 11, 12, 22))
def _max_pool_10(
    g: Context,
    x: Value,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    storage_order: int = 0,
    strides: tuple[int, ...] | None = None,
) -> Any:
    attributes = _pool(g, x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return _max_pool(g, x, storage_order, attributes)


@reads("AveragePool", since=(7, 10, 11, 19, 22))
def _average_pool(
    g: Context,
    x: Value,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    attributes = _pool(g, x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return g.add(ops.average_pool, x, count_include_pad=bool(count_include_pad), **attributes)


@reads("LpPool", since=(2, 11, 18, 22))
def _lp_pool(
    g: Context,
    x: Value,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: tuple[int, ...] | None = None,
    p: int = 2,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    attributes = _pool(g, x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return g.add(ops.lp_pool, x, p=p, **attributes)


def _spatial(g: Context, x: Value) -> tuple[int, ...]:
    return tuple(range(2, g.rank(x)))


@reads("GlobalAveragePool", since=(1, 22))
def _global_average_pool(g: Context, x: Value) -> Value:
    return g.add(ops.reduce_mean, x, axes=_spatial(g, x), keepdims=True)


@reads("GlobalMaxPool", since=(1, 22))
def _global_max_pool(g: Context, x: Value) -> Value:
    return g.add(ops.reduce_max, x, axes=_spatial(g, x), keepdims=True)


@reads("GlobalLpPool", since=(2, 22))
def _global_lp_pool(g: Context, x: Value, *, p: int = 2) -> Value:
    if p in (1, 2):
        op = ops.reduce_l1 if p == 1 else ops.reduce_l2
        return g.add(op, x, axes=_spatial(g, x), keepdims=True)
    powers = g.add(ops.pow, g.add(ops.abs, x), g.scalar_like(x, p))
    total = g.add(ops.reduce_sum, powers, axes=_spatial(g, x), keepdims=True)
    return g.add(ops.pow, total, g.scalar_like(x, 1.0 / p))


@reads("MaxUnpool", since=(9, 11, 22))
def _max_unpool(
    g: Context,
    x: Value,
    places: Value,
    output_shape: Value | None = None,
    *,
    kernel_shape: tuple[int, ...],
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    spatial = g.shape(x)[2:]
    steps, _, before, after = window(g, spatial, kernel_shape, strides, None, pads, "NOTSET")
    # The indices count in the tensor that the attributes give.
    own: list[Extent] = [
        (extent - 1) * step + size - first - last
        for extent, step, size, first, last in zip(
            spatial, steps, kernel_shape, before, after, strict=True
        )
    ]
    y = g.add(ops.max_unpool, x, places, spatial=tuple(own))
    if output_shape is None:
        return y
    wanted = g.extents(output_shape, "MaxUnpool's output_shape")
    if len(wanted) != g.rank(x):
        raise ModelError(f"MaxUnpool: output_shape {wanted} for {g.type(x)}")
    after_all = tuple(size - extent for size, extent in zip(wanted, g.shape(y), strict=True))
    return g.add(ops.pad, y, before=(0,) * g.rank(x), after=after_all, mode="constant")
