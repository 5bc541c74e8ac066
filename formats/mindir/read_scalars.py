"""Readers of arithmetic on Python numbers, which shape computations use, and conversions."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from ...ir import Dim, LimitError, ModelError, UnsupportedError
from ...ir import dim as dims
from ...ops.registry import operator_named
from .context import Context, ops
from .convert import ElementType
from .items import Constant, DataType, Item, Reference, Tensor
from .registry import reads

_TENSORS = (Tensor, Constant, Reference)

# Primitive -> what it does to Python numbers, what to tensors of one element.
_BINARY: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "ScalarAdd": (operator.add, "add"),
    "ScalarSub": (operator.sub, "sub"),
    "ScalarMul": (operator.mul, "mul"),
    "ScalarFloorDiv": (operator.floordiv, "floor_divide"),
    "ScalarFloordiv": (operator.floordiv, "floor_divide"),
    "ScalarMod": (operator.mod, "mod"),
    "ScalarPow": (operator.pow, "pow"),
    "ScalarMax": (lambda a, b: dims.maximum(a, b) if _whole(a, b) else max(a, b), "maximum"),
    "ScalarMin": (lambda a, b: dims.minimum(a, b) if _whole(a, b) else min(a, b), "minimum"),
}
_COMPARISONS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ScalarEq": (operator.eq, "equal"),
    "scalar_eq": (operator.eq, "equal"),
    "ScalarNe": (operator.ne, "not_equal"),
    "ScalarLt": (operator.lt, "less"),
    "scalar_lt": (operator.lt, "less"),
    "ScalarLe": (operator.le, "less_equal"),
    "scalar_le": (operator.le, "less_equal"),
    "ScalarGt": (operator.gt, "greater"),
    "scalar_gt": (operator.gt, "greater"),
    "ScalarGe": (operator.ge, "greater_equal"),
    "scalar_ge": (operator.ge, "greater_equal"),
}


def _whole(*items: Any) -> bool:
    return all(isinstance(item, (int, Dim)) for item in items)


def _register_binary(name: str, function: Callable[[Any, Any], Any], op: str) -> None:
    def read(g: Context, x: Item, y: Item) -> Item:
        if isinstance(x, _TENSORS) or isinstance(y, _TENSORS) or _undecided(name, x, y):
            left, right = g.pair(x, y)
            return g.add(operator_named(op), left, right)
        try:
            return _bounded(name, function, x, y)
        except (ZeroDivisionError, OverflowError) as error:
            raise ModelError(f"{name} of {x} and {y}: {error}") from None

    reads(name)(read)


def _bounded(name: str, function: Callable[[Any, Any], Any], x: Any, y: Any) -> Any:
    """The result; whole numbers beyond 64 bits, which MindSpore does not have, are refused."""
    if name == "ScalarPow" and _whole(x, y) and isinstance(x, int) and abs(x) > 1:
        if not isinstance(y, int) or y > 64:
            raise LimitError(f"{name} of {x} and {y} does not fit into 64 bits")
    found = function(x, y)
    if isinstance(found, int) and not -(2**63) <= found < 2**64:
        raise LimitError(f"{name} of {x} and {y} does not fit into 64 bits")
    return found


def _undecided(name: str, x: Item, y: Item) -> bool:
    """True for a comparison of extents that their bounds do not decide."""
    if name not in _COMPARISONS or not (isinstance(x, Dim) or isinstance(y, Dim)):
        return False
    return isinstance(x - y, Dim)


for _name, (_function, _op) in (_BINARY | _COMPARISONS).items():
    _register_binary(_name, _function, _op)


@reads("ScalarDiv")
def _divide(g: Context, x: Item, y: Item) -> Item:
    if isinstance(x, (int, float)) and isinstance(y, (int, float)) and y != 0:
        return x / y
    left, right = g.value(x, "float32"), g.value(y, "float32")
    return g.add(ops.div, left, right)


@reads("ScalarUsub", "scalar_usub")
def _negative(g: Context, x: Item) -> Item:
    return g.add(ops.neg, g.value(x)) if isinstance(x, _TENSORS) else -x


@reads("ScalarUadd", "scalar_uadd")
def _positive(g: Context, x: Item) -> Item:
    return x


@reads("ScalarAbs")
def _absolute(g: Context, x: Item) -> Item:
    if isinstance(x, (int, float)):
        return abs(x)
    return g.add(ops.abs, g.value(x))


@reads("ScalarLog")
def _logarithm(g: Context, x: float) -> Item:
    return math.log(x) if x > 0 else (-math.inf if x == 0 else math.nan)


@reads("BoolNot", "bool_not")
def _not(g: Context, x: Item) -> Item:
    return g.add(ops.logical_not, g.value(x, "bool")) if isinstance(x, _TENSORS) else not x


@reads("bool_and", "BoolAnd", "bit_and")
def _and(g: Context, x: Item, y: Item) -> Item:
    if isinstance(x, int) and isinstance(y, int):
        return x & y
    return g.add(ops.logical_and, g.value(x, "bool"), g.value(y, "bool"))


@reads("bool_or", "BoolOr", "bit_or")
def _or(g: Context, x: Item, y: Item) -> Item:
    if isinstance(x, int) and isinstance(y, int):
        return x | y
    return g.add(ops.logical_or, g.value(x, "bool"), g.value(y, "bool"))


@reads("ScalarBool")
def _as_bool(g: Context, x: Item) -> Item:
    return g.value(x, "bool") if isinstance(x, (*_TENSORS, Dim)) else bool(x)


@reads("ScalarCast", "scalar_cast")
def _scalar_cast(g: Context, x: Item, to: ElementType) -> Item:
    if isinstance(x, Dim):
        return x if to.startswith(("int", "uint")) else g.value(x, to)
    if isinstance(x, (bool, int, float)):
        if to == "bool":
            return bool(x)
        return int(x) if to.startswith(("int", "uint")) else float(x)
    return g.value(x, to)


@reads("TensorToScalar")
def _tensor_to_scalar(g: Context, x: Item) -> Item:
    if not isinstance(x, _TENSORS):
        return x
    value = g.value(x)
    found = g.contents(value)
    if found is not None and found.size == 1:
        item = found.reshape(-1)[0]
        # Elements that a run computes stay tensors, with which arithmetic goes on.
        if isinstance(item, Dim):
            return item if not _run_time(item) else g.reshape(value, ())
        known = g.numbers(value)
        return item if known is None else known.reshape(-1)[0].item()
    return g.reshape(value, ())


def _run_time(item: Dim) -> bool:
    return any(symbol.name.startswith("?") for symbol in dims.symbols_of(item))


@reads("ScalarToTensor", "ScalarToArray")
def _scalar_to_tensor(g: Context, x: Item, dtype: ElementType | None = None) -> Item:
    return g.value(x, dtype)


@reads("TupleToTensor", "ListToTensor", "TupleToArray")
def _tuple_to_tensor(g: Context, x: Item, dtype: ElementType | None = None) -> Item:
    return g.value(x, dtype)


@reads("TensorToTuple", "TensorToList")
def _tensor_to_tuple(g: Context, x: Item) -> Item:
    if isinstance(x, tuple):
        return x
    value = g.value(x)
    found = g.contents(value)
    if found is not None and found.ndim == 1:
        known = g.numbers(value)
        if known is not None:
            return tuple(known.tolist())
        return tuple(
            g.element(value, k) if isinstance(e, Dim) and _run_time(e) else e
            for k, e in enumerate(found.tolist())
        )
    (count,) = g.shape(value)
    if not isinstance(count, int):
        raise UnsupportedError("a tuple whose length only a run tells")
    return tuple(g.element(value, k) for k in range(count))


@reads("DType")
def _dtype(g: Context, x: Item) -> Item:
    return DataType(g.dtype(g.value(x)))
