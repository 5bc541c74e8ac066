"""Readers of reductions and of sums along an axis."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import Op, Value
from ...ops.registry import operator_named
from .context import Context, ops
from .registry import reads

# ONNX name -> (operator, since-versions with axes as an attribute, with axes as an input).
_REDUCTIONS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "ReduceSum": ("reduce_sum", (1, 11), (13,)),
    "ReduceMean": ("reduce_mean", (1, 11, 13), (18,)),
    "ReduceMax": ("reduce_max", (1, 11, 12, 13), (18, 20)),
    "ReduceMin": ("reduce_min", (1, 11, 12, 13), (18, 20)),
    "ReduceProd": ("reduce_prod", (1, 11, 13), (18,)),
    "ReduceL1": ("reduce_l1", (1, 11, 13), (18,)),
    "ReduceL2": ("reduce_l2", (1, 11, 13), (18,)),
    "ReduceLogSum": ("reduce_log_sum", (1, 11, 13), (18, 28)),
    "ReduceLogSumExp": ("reduce_log_sum_exp", (1, 11, 13), (18, 28)),
    "ReduceSumSquare": ("reduce_sum_square", (1, 11, 13), (18,)),
}


def reduce(g: Context, name: str, x: Value, axes: Sequence[int] | None, keep: int) -> Value:
    """One reduction; ``axes`` None means all."""
    chosen = tuple(range(g.rank(x))) if axes is None else g.axes(x, axes)
    op: Op = operator_named(name)
    if g.dtype(x) == "bool" and name in ("reduce_max", "reduce_min"):
        wide = g.add(op, g.cast(x, "uint8"), axes=chosen, keepdims=bool(keep))
        return g.cast(wide, "bool")
    return g.add(op, x, axes=chosen, keepdims=bool(keep))


def _register(onnx_name: str, name: str, old: tuple[int, ...], new: tuple[int, ...]) -> None:
    @reads(onnx_name, since=old)
    def _old(
        g: Context, x: Value, *, axes: tuple[int, ...] | None = None, keepdims: int = 1
    ) -> Value:
        return reduce(g, name, x, axes or None, keepdims)

    @reads(onnx_name, since=new)
    def _new(
        g: Context,
        x: Value,
        axes: Value | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Value:
        chosen = None if axes is None else g.integers(axes, f"{onnx_name}'s axes")
        if not chosen:
            return reduce(g, name, x, () if noop_with_empty_axes else None, keepdims)
        return reduce(g, name, x, chosen, keepdims)


for _onnx_name, (_name, _old_versions, _new_versions) in _REDUCTIONS.items():
    _register(_onnx_name, _name, _old_versions, _new_versions)


def _arg(g: Context, op: Op, x: Value, axis: int, keepdims: int, last: int) -> Value:
    return g.add(op, x, axis=g.axis(x, axis), keepdims=bool(keepdims), select_last_index=bool(last))


@reads("ArgMax", since=(1, 11))
def _arg_max_1(g: Context, x: Value, *, axis: int = 0, keepdims: int = 1) -> Value:
    return _arg(g, ops.arg_max, x, axis, keepdims, 0)


@reads("ArgMin", since=(1, 11))
def _arg_min_1(g: Context, x: Value, *, axis: int = 0, keepdims: int = 1) -> Value:
    return _arg(g, ops.arg_min, x, axis, keepdims, 0)


@reads("ArgMax", since=(12, 13))
def _arg_max(
    g: Context, x: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
) -> Value:
    return _arg(g, ops.arg_max, x, axis, keepdims, select_last_index)


@reads("ArgMin", since=(12, 13))
def _arg_min(
    g: Context, x: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
) -> Value:
    return _arg(g, ops.arg_min, x, axis, keepdims, select_last_index)


@reads("CumSum", since=(11, 14))
def _cum_sum(g: Context, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    place = g.axis(x, g.integer(axis, "CumSum's axis"))
    return g.add(ops.cum_sum, x, axis=place, exclusive=bool(exclusive), reverse=bool(reverse))


@reads("CumProd", since=26)
def _cum_prod(g: Context, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    place = g.axis(x, g.integer(axis, "CumProd's axis"))
    return g.add(ops.cum_prod, x, axis=place, exclusive=bool(exclusive), reverse=bool(reverse))
