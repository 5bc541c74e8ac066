"""Vectors that write LLVM instructions: scalar functions, traced over all lanes at once.

The float32 functions of this package (``float32_exponential`` and its neighbours) are straight
lines of primitives. Called with :class:`Lanes` instead of numbers they write the vector
instructions for the same computation, so kernels that are emitted by hand have the same
functions as compiled bodies, with the same errors.
"""

from __future__ import annotations

import builtins
import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from ....compiler.code_digest import global_names
from .. import math_primitives as primitives
from ..dense.tile import F32, I32, intrinsic


class Lanes:
    """A vector of float32, int32 or truth values in code that ``builder`` writes."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    def like(self, value: Any) -> ir.Value:
        """A vector, or a number in all lanes of one of this type."""
        if isinstance(value, Lanes):
            return value.value
        kind = self.value.type
        return ir.Constant(kind, [value] * kind.count)

    def _is_float(self) -> bool:
        return bool(self.value.type.element == F32)

    def _binary(self, other: Any, floats: str, integers: str, swapped: bool = False) -> Lanes:
        operation = getattr(self.builder, floats if self._is_float() else integers)
        operands = [self.value, self.like(other)]
        return Lanes(self.builder, operation(*(reversed(operands) if swapped else operands)))

    def __add__(self, other: Any) -> Lanes:
        return self._binary(other, "fadd", "add")

    __radd__ = __add__

    def __sub__(self, other: Any) -> Lanes:
        return self._binary(other, "fsub", "sub")

    def __rsub__(self, other: Any) -> Lanes:
        return self._binary(other, "fsub", "sub", swapped=True)

    def __mul__(self, other: Any) -> Lanes:
        return self._binary(other, "fmul", "mul")

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Lanes:
        return self._binary(other, "fdiv", "sdiv")

    def __rtruediv__(self, other: Any) -> Lanes:
        return self._binary(other, "fdiv", "sdiv", swapped=True)

    def __neg__(self) -> Lanes:
        return Lanes(self.builder, self.builder.fneg(self.value))

    def __lshift__(self, other: Any) -> Lanes:
        return Lanes(self.builder, self.builder.shl(self.value, self.like(other)))

    def __rshift__(self, other: Any) -> Lanes:
        return Lanes(self.builder, self.builder.ashr(self.value, self.like(other)))

    def _compare(self, predicate: str, other: Any) -> Lanes:
        test = self.builder.fcmp_ordered if self._is_float() else self.builder.icmp_signed
        return Lanes(self.builder, test(predicate, self.value, self.like(other)))

    def __lt__(self, other: Any) -> Lanes:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Lanes:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Lanes:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Lanes:
        return self._compare(">=", other)

    def __eq__(self, other: object) -> Lanes:  # type: ignore[override]
        return self._compare("==", other)


def _first(*values: Any) -> Lanes:
    return next(value for value in values if isinstance(value, Lanes))


def _call(name: str, *values: Any) -> Lanes:
    """An LLVM intrinsic of float vectors."""
    model = _first(*values)
    kind = model.value.type
    type_ = ir.FunctionType(kind, [kind] * len(values))
    function = intrinsic(model.builder.module, f"llvm.{name}.v{kind.count}f32", type_)
    return Lanes(model.builder, model.builder.call(function, [model.like(v) for v in values]))


def fma(a: Any, b: Any, c: Any) -> Lanes:
    """``a * b + c``, rounded once."""
    return _call("fma", a, b, c)


def fabs(x: Lanes) -> Lanes:
    """The magnitude."""
    return _call("fabs", x)


def select(condition: Lanes, a: Any, b: Any) -> Lanes:
    """``a`` where the condition holds, else ``b``; one of them must be a vector."""
    model = _first(a, b)
    chosen = model.builder.select(condition.value, model.like(a), model.like(b))
    return Lanes(model.builder, chosen)


def _converted(operation: str, element: ir.Type) -> Callable[[Lanes], Lanes]:
    def convert(x: Lanes) -> Lanes:
        kind = ir.VectorType(element, x.value.type.count)
        return Lanes(x.builder, getattr(x.builder, operation)(x.value, kind))

    return convert


def _larger(a: Lanes, b: Any) -> Lanes:
    return select(a < b, b, a)


# What the names in scalar functions mean for vectors.
_MEANINGS: dict[int, Any] = {
    id(primitives.fma): fma,
    id(primitives.fabs): fabs,
    id(primitives.select): select,
    id(primitives.copysign): functools.partial(_call, "copysign"),
    id(primitives.bits_of): _converted("bitcast", I32),
    id(primitives.float_of_bits): _converted("bitcast", F32),
    id(max): _larger,
    id(np): types.SimpleNamespace(int32=lambda x: x, float32=_converted("sitofp", F32)),
}


@functools.cache
def on_vectors(function: Callable[..., Any]) -> Callable[..., Lanes]:
    """A scalar float32 function, and those that it calls, as one that takes :class:`Lanes`."""
    assert isinstance(function, types.FunctionType), "scalar functions are plain Python"
    names: dict[str, Any] = {}
    for name in global_names(function.__code__):
        value = function.__globals__.get(name, getattr(builtins, name, None))
        if id(value) in _MEANINGS:
            names[name] = _MEANINGS[id(value)]
        elif isinstance(value, types.FunctionType):
            names[name] = on_vectors(value)
        elif isinstance(value, (int, float)):
            names[name] = value
        else:
            raise TypeError(f"{function.__name__}: {name} has no meaning for vectors")
    return types.FunctionType(function.__code__, names, function.__name__)
