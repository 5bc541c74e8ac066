"""Readers of ONNX operators that work element by element."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...ir import Value
from ...ir.data_type import is_float
from ...ops.registry import operator_named
from .context import Context, ops
from .element_types import element_type
from .elementwise_names import SAME
from .registry import reads, register_operator
from .sequences import TensorSequence

for _onnx_name, (_name, _versions) in SAME.items():
    for _since in _versions:
        register_operator("", _onnx_name, operator_named(_name), _since)


@reads("Celu", since=(12, 28))
def _celu(g: Context, x: Value, *, alpha: float = 1.0) -> Value:
    return g.add(ops.celu, x, alpha=alpha)


@reads("Shrink", since=9)
def _shrink(g: Context, x: Value, *, bias: float = 0.0, lambd: float = 0.5) -> Value:
    if not is_float(g.dtype(x)):
        wide = g.add(ops.shrink, g.cast(x, "float64"), bias=bias, lambd=lambd)
        return g.cast(wide, g.dtype(x))
    return g.add(ops.shrink, x, bias=bias, lambd=lambd)


@reads("Gelu", since=20)
def _gelu(g: Context, x: Value, *, approximate: str = "none") -> Value:
    if approximate not in ("none", "tanh"):
        g.unsupported(f"Gelu with approximate={approximate!r}")
    return g.add(ops.gelu, x, approximate=approximate == "tanh")


@reads("Swish", since=24)
def _swish(g: Context, x: Value, *, alpha: float = 1.0) -> Value:
    return g.add(ops.swish, x, alpha=alpha)


@reads("IsInf", since=(10, 20))
def _is_inf(g: Context, x: Value, *, detect_negative: int = 1, detect_positive: int = 1) -> Value:
    return g.add(
        ops.is_inf, x, detect_negative=bool(detect_negative), detect_positive=bool(detect_positive)
    )


@reads("Pow", since=(7, 12, 13, 15))
def _pow(g: Context, x: Value, exponent: Value) -> Value:
    base = g.dtype(x)
    if g.dtype(exponent) == base:
        return g.add(ops.pow, x, exponent)
    if is_float(base):
        return g.add(ops.pow, x, g.cast(exponent, base))
    if is_float(g.dtype(exponent)):
        return g.cast(g.add(ops.pow, g.cast(x, "float64"), g.cast(exponent, "float64")), base)
    return g.cast(g.add(ops.pow, g.cast(x, "int64"), g.cast(exponent, "int64")), base)


@reads("Mod", since=(10, 13, 28))
def _mod(g: Context, x: Value, y: Value, *, fmod: int = 0) -> Value:
    return g.add(ops.mod, x, y, fmod=bool(fmod))


@reads("BitShift", since=(11, 28))
def _bit_shift(g: Context, x: Value, y: Value, *, direction: str) -> Value:
    if direction not in ("LEFT", "RIGHT"):
        g.unsupported(f"BitShift with direction={direction!r}")
    op = ops.shift_left if direction == "LEFT" else ops.shift_right
    dtype = g.dtype(x)
    if dtype.startswith("uint"):
        return g.add(op, x, y)
    # A negative amount becomes a large one; a right shift copies the sign, so that negative
    # numbers are shifted inverted.
    if direction == "LEFT":
        shifted = g.add(op, g.cast(x, f"u{dtype}"), g.cast(y, f"u{dtype}"))
        return g.cast(shifted, dtype)
    negative = g.add(ops.less, x, g.scalar_like(x, 0))
    plain = g.add(ops.where, negative, g.add(ops.bitwise_not, x), x)
    shifted = g.cast(g.add(op, g.cast(plain, f"u{dtype}"), g.cast(y, f"u{dtype}")), dtype)
    return g.add(ops.where, negative, g.add(ops.bitwise_not, shifted), shifted)


@reads("Clip", since=6)
def _clip_6(
    g: Context,
    x: Value,
    *,
    min: float = -3.4028234663852886e38,
    max: float = 3.4028234663852886e38,
) -> Value:
    return clip(g, x, min, max)


def clip(g: Context, x: Value, low: Any, high: Any) -> Value:
    """``x`` between two numbers; None is no bound."""
    least: Any = -math.inf
    most: Any = math.inf
    if not is_float(g.dtype(x)):
        bounds = np.iinfo(g.dtype(x))
        least, most = int(bounds.min), int(bounds.max)
    low, high = (least if low is None else low), (most if high is None else high)
    return g.add(ops.clip, x, low=low, high=high)


@reads("Clip", since=(11, 12, 13))
def _clip(g: Context, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    known = [None if bound is None else g.numbers(bound) for bound in (low, high)]
    given = zip((low, high), known, strict=True)
    if all(b is None or (a is not None and a.size == 1) for b, a in given):
        limits = [None if a is None else a.reshape(-1)[0].item() for a in known]
        if not any(limit is not None and limit != limit for limit in limits):
            return clip(g, x, limits[0], limits[1])
    if low is not None:
        x = g.add(ops.maximum, x, g.reshape(low, ()))
    return x if high is None else g.add(ops.minimum, x, g.reshape(high, ()))


def _reduced(name: str) -> Any:
    """A reader that applies a two-operand operator along its inputs."""

    def read(g: Context, *inputs: Value) -> Value:
        if not inputs:
            g.unsupported("a node without inputs")
        op = operator_named(name)
        if len(inputs) == 1:
            return g.add(ops.identity, inputs[0])
        return functools.reduce(lambda left, right: g.add(op, left, right), inputs)

    return read


reads("Max", since=(6, 8, 12, 13))(_reduced("maximum"))
reads("Min", since=(6, 8, 12, 13))(_reduced("minimum"))
reads("Sum", since=(6, 8, 13))(_reduced("add"))


@reads("Mean", since=(6, 8, 13))
def _mean(g: Context, *inputs: Value) -> Value:
    total: Value = _reduced("add")(g, *inputs)
    return g.add(ops.mul, total, g.scalar_like(total, 1.0 / len(inputs)))


@reads("Cast", since=(6, 9, 13))
def _cast(g: Context, x: Value, *, to: int) -> Value:
    return g.add(ops.cast, x, to=element_type(to, "Cast"))


@reads("Cast", since=(19, 21, 23, 24, 25, 28))
def _cast_19(g: Context, x: Value, *, to: int, saturate: int = 1, round_mode: str = "up") -> Value:
    # The two other attributes say something about 8-bit floats only.
    return g.add(ops.cast, x, to=element_type(to, "Cast"))


@reads("CastLike", since=15)
def _cast_like(g: Context, x: Value, like: Value) -> Value:
    return g.add(ops.cast, x, to=g.dtype(like))


@reads("CastLike", since=(19, 21, 23, 24, 25))
def _cast_like_19(
    g: Context, x: Value, like: Value, *, saturate: int = 1, round_mode: str = "up"
) -> Value:
    return g.add(ops.cast, x, to=g.dtype(like))


@reads("Identity", since=(1, 13, 14, 16, 19, 21, 23, 24, 25), sequences=True)
def _identity(g: Context, x: Value | TensorSequence) -> Value | TensorSequence:
    return x if isinstance(x, TensorSequence) else g.add(ops.identity, x)


@reads("Dropout", since=(7, 10))
def _dropout_7(g: Context, x: Value, *, ratio: float = 0.5) -> Any:
    return g.add(ops.identity, x), _mask(g, x)


@reads("Dropout", since=(12, 13, 22))
def _dropout(
    g: Context,
    x: Value,
    ratio: Value | None = None,
    training: Value | None = None,
    *,
    seed: int = 0,
) -> Any:
    if training is not None and g.number(training, "Dropout's training_mode"):
        if ratio is None or g.number(ratio, "Dropout's ratio") != 0.0:
            g.unsupported("Dropout in training mode")
    return g.add(ops.identity, x), _mask(g, x)


def _mask(g: Context, x: Value) -> Value | None:
    """The mask of a dropout that keeps everything."""
    if not g.wants(1):
        return None
    return g.add(ops.expand, g.constant(np.array(True)), shape=g.shape(x))


@reads("BitCast", since=26)
def _bit_cast(g: Context, x: Value, *, to: int) -> Value:
    return g.unsupported(f"BitCast to {element_type(to, 'BitCast')}")
