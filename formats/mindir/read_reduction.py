"""Readers of reductions, running sums and places of extremes."""

from __future__ import annotations

import math

import numpy as np

from ...ir import UnsupportedError, Value
from ...ir import dim as dims
from ...ir.data_type import is_float
from ...ops.registry import operator_named
from .context import Context, ops
from .convert import ElementType, Ints
from .items import Item
from .read_elementwise import floating
from .registry import reads

_KEPT = {"keep_dims": "keepdims keepdim"}


def reduced(g: Context, op: str, x: Value, axis: Ints | None, keep: bool) -> Value:
    """A reduction; no axes mean all of them."""
    axes = g.axes(x, axis) if axis else tuple(range(g.rank(x)))
    if not axes:
        return x
    return g.add(operator_named(op), x, axes=axes, keepdims=keep)


def _register(name: str, op: str) -> None:
    def read(g: Context, x: Value, axis: Ints | None = (), keep_dims: bool = False) -> Value:
        if g.dtype(x) == "bool":
            return g.cast(reduced(g, op, g.cast(x, "int32"), axis, keep_dims), "bool")
        return reduced(g, op, x, axis, keep_dims)

    reads(name, other_names=_KEPT)(read)


for _name, _op in {
    "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
}.items():
    _register(_name, _op)


@reads("ReduceSum", other_names=_KEPT)
def _reduce_sum(
    g: Context,
    x: Value,
    axis: Ints | None = (),
    keep_dims: bool = False,
    skip_mode: bool = False,
) -> Value:
    if skip_mode and axis is not None and not axis:
        return x
    return reduced(g, "reduce_sum", x, axis, keep_dims)


@reads("ReduceMean", other_names=_KEPT)
def _reduce_mean(g: Context, x: Value, axis: Ints | None = (), keep_dims: bool = False) -> Value:
    return reduced(g, "reduce_mean", x, axis, keep_dims)


@reads("ReduceAll", other_names=_KEPT)
def _reduce_all(g: Context, x: Value, axis: Ints | None = (), keep_dims: bool = False) -> Value:
    numbers = g.cast(g.cast(x, "bool"), "uint8")
    return g.cast(reduced(g, "reduce_min", numbers, axis, keep_dims), "bool")


@reads("ReduceAny", other_names=_KEPT)
def _reduce_any(g: Context, x: Value, axis: Ints | None = (), keep_dims: bool = False) -> Value:
    numbers = g.cast(g.cast(x, "bool"), "uint8")
    return g.cast(reduced(g, "reduce_max", numbers, axis, keep_dims), "bool")


@reads("Max")
def _max(g: Context, x: Value) -> Value:
    return reduced(g, "reduce_max", x, (), False)


@reads("Min")
def _min(g: Context, x: Value) -> Value:
    return reduced(g, "reduce_min", x, (), False)


@reads("SumExt", "ProdExt")
def _sum_ext(
    g: Context,
    x: Value,
    dim: Ints | None = None,
    keepdim: bool = False,
    dtype: ElementType | None = None,
) -> Value:
    kind = dtype or (g.dtype(x) if is_float(g.dtype(x)) else "int64")
    op = "reduce_prod" if g.primitive == "ProdExt" else "reduce_sum"
    return reduced(g, op, g.cast(x, kind), dim, keepdim)


@reads("MeanExt")
def _mean_ext(
    g: Context,
    x: Value,
    dim: Ints | None = None,
    keepdim: bool = False,
    dtype: ElementType | None = None,
) -> Value:
    return reduced(g, "reduce_mean", g.cast(x, dtype or g.dtype(x)), dim, keepdim)


def _moments(
    g: Context, x: Value, axis: Ints | None, correction: int, keep: bool
) -> tuple[Value, Value]:
    """Variance and mean; the variance is the sum of squares by count minus ``correction``."""
    axes = g.axes(x, axis) if axis else tuple(range(g.rank(x)))
    mean = g.add(ops.reduce_mean, x, axes=axes, keepdims=True)
    centred = g.add(ops.sub, x, mean)
    squares = g.add(ops.mul, centred, centred)
    variance = g.add(ops.reduce_mean, squares, axes=axes, keepdims=True)
    count = dims.product([g.shape(x)[k] for k in axes])
    if correction:
        if not isinstance(count, int):
            raise UnsupportedError(f"an unbiased variance of {g.type(x)}")
        rest = count - correction
        factor = count / rest if rest > 0 else math.nan
        variance = g.add(ops.mul, variance, g.scalar_like(variance, factor))
    if not keep:
        shape = [extent for k, extent in enumerate(g.shape(x)) if k not in axes]
        variance, mean = g.reshape(variance, shape), g.reshape(mean, shape)
    return variance, mean


@reads("ReduceStd", other_names=_KEPT)
def _reduce_std(
    g: Context,
    x: Value,
    axis: Ints | None = (),
    unbiased: bool = True,
    keep_dims: bool = False,
) -> Item:
    variance, mean = _moments(g, x, axis, int(unbiased), keep_dims)
    return g.add(ops.sqrt, variance), mean


@reads("Std")
def _std(
    g: Context, x: Value, dim: Ints | None = None, correction: int = 1, keepdim: bool = False
) -> Value:
    return g.add(ops.sqrt, _moments(g, x, dim, correction, keepdim)[0])


@reads("Var")
def _var(
    g: Context, x: Value, dim: Ints | None = None, correction: int = 1, keepdim: bool = False
) -> Value:
    return _moments(g, x, dim, correction, keepdim)[0]


@reads("VarMean")
def _var_mean(
    g: Context, x: Value, dim: Ints | None = None, correction: int = 1, keepdim: bool = False
) -> Item:
    return _moments(g, x, dim, correction, keepdim)


@reads("StdMean")
def _std_mean(
    g: Context, x: Value, dim: Ints | None = None, correction: int = 1, keepdim: bool = False
) -> Item:
    variance, mean = _moments(g, x, dim, correction, keepdim)
    return g.add(ops.sqrt, variance), mean


@reads("LogSumExp")
def _log_sum_exp(g: Context, x: Value, dim: Ints, keepdim: bool = False) -> Value:
    return reduced(g, "reduce_log_sum_exp", x, dim, keepdim)


@reads("LinalgVectorNorm", "Norm")
def _norm(
    g: Context,
    x: Value,
    ord: float = 2.0,
    dim: Ints | None = None,
    keepdim: bool = False,
    dtype: ElementType | None = None,
) -> Value:
    return _lp(g, g.cast(x, dtype or g.dtype(x)), ord, dim, keepdim)


@reads("LpNorm", "LpNormV2", other_names={"keep_dims": "keepdims"})
def _lp_norm(
    g: Context,
    x: Value,
    axis: Ints | None = None,
    p: float = 2.0,
    keep_dims: bool = False,
    epsilon: float = 1e-12,
) -> Value:
    found = _lp(g, x, p, axis, keep_dims)
    if epsilon == 0.0:
        return found
    return g.add(ops.maximum, found, g.scalar_like(found, epsilon))


def _lp(g: Context, x: Value, p: float, axis: Ints | None, keep: bool) -> Value:
    if p == 2.0:
        return reduced(g, "reduce_l2", x, axis, keep)
    if p == 1.0:
        return reduced(g, "reduce_l1", x, axis, keep)
    size = g.add(ops.abs, x)
    if math.isinf(p):
        return reduced(g, "reduce_max" if p > 0 else "reduce_min", size, axis, keep)
    powers = g.add(ops.pow, size, g.scalar_like(size, p))
    total = reduced(g, "reduce_sum", powers, axis, keep)
    return g.add(ops.pow, total, g.scalar_like(total, 1.0 / p))


# --- running sums ----------------------------------------------------------------------------


@reads("CumSum", other_names={"axis": "dim"})
def _cum_sum(
    g: Context, x: Value, axis: int, exclusive: bool = False, reverse: bool = False
) -> Value:
    place = g.axis(x, axis)
    return g.add(ops.cum_sum, x, axis=place, exclusive=exclusive, reverse=reverse)


@reads("CumsumExt")
def _cum_sum_ext(g: Context, x: Value, dim: int, dtype: ElementType | None = None) -> Value:
    kind = dtype or (g.dtype(x) if is_float(g.dtype(x)) else "int64")
    return g.add(ops.cum_sum, g.cast(x, kind), axis=g.axis(x, dim))


@reads("CumProd")
def _cum_prod(
    g: Context, x: Value, axis: int, exclusive: bool = False, reverse: bool = False
) -> Value:
    place = g.axis(x, axis)
    return g.add(ops.cum_prod, x, axis=place, exclusive=exclusive, reverse=reverse)


@reads("Median")
def _median(
    g: Context,
    x: Value,
    global_median: bool = False,
    axis: int = 0,
    keep_dims: bool = False,
    ignore_nan: bool = False,
) -> tuple[Value, Value]:
    """The lower median and its place, equal elements in their order."""
    if global_median or ignore_nan or g.rank(x) == 0:
        raise UnsupportedError("a Median of a whole tensor, or one that ignores NaN")
    place = g.axis(x, axis)
    extent = g.shape(x)[place]
    if not isinstance(extent, int) or extent == 0:
        raise UnsupportedError(f"a Median of {extent} elements")
    # All are sorted, which MindIR can say; it has no fewest along an axis.
    attributes = {"k": extent, "axis": place, "largest": False, "sorted": True}
    values, places = g.add_node(ops.top_k, (x,), attributes).outputs
    found = (values, g.cast(places, "int32"))  # places as Sort gives them
    last = [g.slice_axis(value, place, (extent - 1) // 2, 1) for value in found]
    if not keep_dims:
        shape = tuple(e for k, e in enumerate(g.shape(x)) if k != place)
        last = [g.reshape(value, shape) for value in last]
    return last[0], g.cast(last[1], "int64")


# --- places of extremes ----------------------------------------------------------------------


def _place(g: Context, op: str, x: Value, axis: int, keep: bool, dtype: str) -> Value:
    if g.rank(x) == 0:
        return g.constant(np.array(0), dtype)
    found = g.add(operator_named(op), x, axis=g.axis(x, axis), keepdims=keep)
    return g.cast(found, dtype)


@reads("Argmax", "ArgMax", other_names={"output_type": "type"})
def _argmax(g: Context, x: Value, axis: int = -1, output_type: ElementType = "int32") -> Value:
    return _place(g, "arg_max", x, axis, False, output_type)


@reads("Argmin", "ArgMin", other_names={"output_type": "type"})
def _argmin(g: Context, x: Value, axis: int = -1, output_type: ElementType = "int32") -> Value:
    return _place(g, "arg_min", x, axis, False, output_type)


def _extreme_place(g: Context, op: str, x: Value, dim: int | None, keep: bool) -> Value:
    if dim is None:
        return _place(g, op, g.reshape(x, (g.type(x).size,)), 0, False, "int64")
    return _place(g, op, x, dim, keep, "int64")


@reads("ArgMaxExt")
def _argmax_ext(g: Context, x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    return _extreme_place(g, "arg_max", x, dim, keepdim)


@reads("ArgMinExt")
def _argmin_ext(g: Context, x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    return _extreme_place(g, "arg_min", x, dim, keepdim)


def _with_value(
    g: Context, which: str, x: Value, axis: int, keep: bool, dtype: str
) -> tuple[Value, Value]:
    place = _place(g, f"arg_{which}", x, axis, keep, dtype)
    if g.rank(x) == 0:
        return place, x
    return place, reduced(g, f"reduce_{which}", x, (axis,), keep)


@reads("ArgMaxWithValue", other_names={"axis": "dimension"})
def _argmax_value(g: Context, x: Value, axis: int = 0, keep_dims: bool = False) -> Item:
    return _with_value(g, "max", x, axis, keep_dims, g.declared(0, "int32"))


@reads("ArgMinWithValue", other_names={"axis": "dimension"})
def _argmin_value(g: Context, x: Value, axis: int = 0, keep_dims: bool = False) -> Item:
    return _with_value(g, "min", x, axis, keep_dims, g.declared(0, "int32"))


@reads("MaxDim")
def _max_dim(g: Context, x: Value, dim: int, keepdim: bool = False) -> Item:
    place, value = _with_value(g, "max", x, dim, keepdim, "int64")
    return value, place


@reads("MinDim")
def _min_dim(g: Context, x: Value, dim: int, keepdim: bool = False) -> Item:
    place, value = _with_value(g, "min", x, dim, keepdim, "int64")
    return value, place


@reads("EuclideanNorm", other_names=_KEPT)
def _euclidean(g: Context, x: Value, axis: Ints | None = (), keep_dims: bool = False) -> Value:
    return reduced(g, "reduce_l2", floating(g, x), axis, keep_dims)
