"""Writers of elementwise operators, reductions, selections of extremes and running sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir import Node, TensorType, UnsupportedError
from ...ir.data_type import is_float
from .element_types import IDS
from .writer import Name, Writer, writes

# Operator -> primitive whose settings are inputs.
_FUNCTIONS = {
    "abs": "Abs",
    "neg": "Neg",
    "sqrt": "Sqrt",
    "exp": "Exp",
    "log": "Log",
    "sin": "Sin",
    "cos": "Cos",
    "tan": "Tan",
    "asin": "Asin",
    "acos": "ACos",
    "atan": "Atan",
    "sinh": "Sinh",
    "cosh": "Cosh",
    "asinh": "Asinh",
    "acosh": "Acosh",
    "atanh": "Atanh",
    "tanh": "Tanh",
    "erf": "Erf",
    "floor": "Floor",
    "ceil": "Ceil",
    "sign": "Sign",
    "reciprocal": "Reciprocal",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "hard_swish": "HSwish",
    "logical_not": "LogicalNot",
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "pow": "Pow",
    "equal": "Equal",
    "not_equal": "NotEqual",
    "greater": "Greater",
    "less": "Less",
    "greater_equal": "GreaterEqual",
    "less_equal": "LessEqual",
    "logical_and": "LogicalAnd",
    "logical_or": "LogicalOr",
    "logical_xor": "LogicalXor",
    "minimum": "Minimum",
    "maximum": "Maximum",
    "where": "Select",
}
# Operator -> primitive without settings, of the older kind.
_PRIMITIVES = {
    "softplus": "Softplus",
    "softsign": "Softsign",
    "mish": "Mish",
    "is_nan": "IsNan",
    "bitwise_not": "Invert",
    "bitwise_and": "BitwiseAnd",
    "bitwise_or": "BitwiseOr",
    "bitwise_xor": "BitwiseXor",
}


@writes(*_FUNCTIONS)
def _function(w: Writer, node: Node, *inputs: Name) -> Name:
    return w.function(_FUNCTIONS[node.op.name], *inputs, type=node.types[0])


@writes(*_PRIMITIVES)
def _primitive(w: Writer, node: Node, *inputs: Name) -> Name:
    return w.primitive(_PRIMITIVES[node.op.name], *inputs, type=node.types[0])


@writes("identity")
def _identity(w: Writer, node: Node, x: Name) -> Name:
    return x


class Formula:
    """Arithmetic on values of one type, for operators that MindIR composes."""

    def __init__(self, w: Writer, type_: TensorType) -> None:
        self.w, self.type = w, type_

    def number(self, number: float) -> Name:
        """A constant of the element type."""
        return self.w.scalar(number, self.type.dtype)

    def __call__(self, primitive: str, *operands: Any) -> Name:
        names = [o if isinstance(o, Name) else self.number(o) for o in operands]
        return self.w.function(primitive, *names, type=self.type)

    def test(self, primitive: str, *operands: Any) -> Name:
        """A comparison."""
        names = [o if isinstance(o, Name) else self.number(o) for o in operands]
        return self.w.function(primitive, *names, type=self.type.with_dtype("bool"))


@writes("shift_left", "shift_right")
def _shift(w: Writer, node: Node, x: Name, y: Name) -> Name:
    word = "LeftShift" if node.op.name == "shift_left" else "RightShift"
    return w.primitive(word, x, y, type=node.types[0])


@writes("det")
def _det(w: Writer, node: Node, x: Name) -> Name:
    return w.primitive("MatrixDeterminant", x, type=node.types[0])


@writes("round")
def _round(w: Writer, node: Node, x: Name) -> Name:
    return w.function("Round", x, 0, type=node.types[0])


@writes("div")
def _div(w: Writer, node: Node, x: Name, y: Name) -> Name:
    if is_float(node.types[0].dtype):
        return w.function("Div", x, y, type=node.types[0])
    return w.primitive("TruncateDiv", x, y, type=node.types[0])


@writes("floor_divide")
def _floor_divide(w: Writer, node: Node, x: Name, y: Name) -> Name:
    return w.function("FloorDiv", x, y, type=node.types[0])


@writes("mod")
def _mod(w: Writer, node: Node, x: Name, y: Name) -> Name:
    places = None if node.inputs[0] is None else w.planes.get(node.inputs[0])
    size = w.held(node.inputs[1])
    if places is not None and size is not None and size.size == 1 and size.item() == places[1]:
        return places[0]
    if node.attrs["fmod"]:
        return w.primitive("Mod", x, y, type=node.types[0])
    return w.function("FloorMod", x, y, type=node.types[0])


@writes("cast")
def _cast(w: Writer, node: Node, x: Name) -> Name:
    source, to = node.inputs[0], node.attrs["to"]
    if source is not None:
        raw = w.raw(source, to)
        if raw is not None:
            return raw
    whole = _truth(w, node)
    return whole or w.function("Cast", x, IDS[to], type=node.types[0])


def _truth(w: Writer, node: Node) -> Name | None:
    """ReduceAll or ReduceAny, which are read as extremes of small integers."""
    words = {"reduce_min": "ReduceAll", "reduce_max": "ReduceAny"}
    extreme = w.producer(node.inputs[0])
    if node.attrs["to"] != "bool" or extreme is None or extreme.op.name not in words:
        return None
    numbers = w.producer(extreme.inputs[0])
    if numbers is None or numbers.op.name != "cast" or numbers.attrs["to"] != "uint8":
        return None
    source = numbers.inputs[0]
    if source is None or w.type(source).dtype != "bool":
        return None
    axes, keep = tuple(extreme.attrs["axes"]), extreme.attrs["keepdims"]
    return w.function(words[extreme.op.name], w.name(source), axes, keep, type=node.types[0])


@writes("is_inf")
def _is_inf(w: Writer, node: Node, x: Name) -> Name:
    type_ = node.types[0]
    found = w.function("IsInf", x, type=type_)
    negative, positive = node.attrs["detect_negative"], node.attrs["detect_positive"]
    if negative and positive:
        return found
    if not negative and not positive:
        raise UnsupportedError("is_inf that detects nothing")
    f = Formula(w, w.type(node.inputs[0]))
    side = f.test("Less" if negative else "Greater", x, 0.0)
    return w.function("LogicalAnd", found, side, type=type_)


@writes("clip")
def _clip(w: Writer, node: Node, x: Name) -> Name:
    low, high = node.attrs["low"], node.attrs["high"]
    type_ = node.types[0]
    if (low, high) == (0.0, 6.0):
        return w.function("ReLU6", x, type=type_)
    least, most = -math.inf, math.inf
    if not is_float(type_.dtype):
        bounds = np.iinfo(type_.dtype)
        least, most = bounds.min, bounds.max
    kind: Callable[[Any], Any] = float if is_float(type_.dtype) else int
    lower = None if low <= least else kind(low)
    upper = None if high >= most else kind(high)
    if lower is None and upper is None:
        return x
    return w.function("ClampScalar", x, lower, upper, type=type_)


# --- activations -----------------------------------------------------------------------------


@writes("leaky_relu")
def _leaky_relu(w: Writer, node: Node, x: Name) -> Name:
    f, alpha = Formula(w, node.types[0]), node.attrs["alpha"]
    return f("Maximum" if alpha <= 1.0 else "Minimum", f("Mul", x, alpha), x)


@writes("prelu")
def _prelu(w: Writer, node: Node, x: Name, slope: Name) -> Name:
    f, value = Formula(w, node.types[0]), node.inputs[1]
    if node.types[0].rank == 2 and w.type(value).shape == node.types[0].shape[1:]:
        return w.function("PReLU", x, slope, type=node.types[0])
    reshape = w.producer(value)
    if reshape is not None and reshape.op.name == "reshape":
        source = reshape.inputs[0]
        if source is not None and w.type(source).rank == 1:
            rank = node.types[0].rank
            wanted = (w.type(source).shape[0], *(1,) * (rank - 2)) if rank > 1 else ()
            if w.type(value).shape == wanted:
                return w.function("PReLU", x, w.name(source), type=node.types[0])
    below = f.test("Less", x, 0.0)
    return w.function("Select", below, f("Mul", x, slope), x, type=node.types[0])


@writes("elu")
def _elu(w: Writer, node: Node, x: Name) -> Name:
    f, alpha = Formula(w, node.types[0]), node.attrs["alpha"]
    if alpha == 1.0:
        return w.function("Elu", x, 1.0, type=node.types[0])
    grown = f("Mul", f("Expm1", f("Minimum", x, 0.0)), alpha)
    return f("Add", f("Maximum", x, 0.0), grown)


@writes("selu")
def _selu(w: Writer, node: Node, x: Name) -> Name:
    alpha, gamma = node.attrs["alpha"], node.attrs["gamma"]
    if abs(alpha - 1.6732632423543772) < 1e-6 and abs(gamma - 1.0507009873554805) < 1e-6:
        return w.primitive("SeLU", x, type=node.types[0])
    f = Formula(w, node.types[0])
    grown = f("Mul", f("Expm1", f("Minimum", x, 0.0)), alpha)
    return f("Mul", f("Add", f("Maximum", x, 0.0), grown), gamma)


@writes("celu")
def _celu(w: Writer, node: Node, x: Name) -> Name:
    return w.function("CeLU", x, float(node.attrs["alpha"]), type=node.types[0])


@writes("hard_sigmoid")
def _hard_sigmoid(w: Writer, node: Node, x: Name) -> Name:
    alpha, beta = node.attrs["alpha"], node.attrs["beta"]
    if abs(alpha - 1.0 / 6.0) < 1e-7 and beta == 0.5:
        return w.function("HSigmoid", x, type=node.types[0])
    f = Formula(w, node.types[0])
    line = f("Add", f("Mul", x, alpha), beta)
    return w.function("ClampScalar", line, 0.0, 1.0, type=node.types[0])


@writes("gelu")
def _gelu(w: Writer, node: Node, x: Name) -> Name:
    if node.attrs["approximate"]:
        return w.function("GeLU", x, type=node.types[0])
    f = Formula(w, node.types[0])
    share = f("Add", f("Erf", f("Mul", x, math.sqrt(0.5))), 1.0)
    return f("Mul", f("Mul", x, 0.5), share)


@writes("swish")
def _swish(w: Writer, node: Node, x: Name) -> Name:
    alpha = node.attrs["alpha"]
    if alpha == 1.0:
        return w.function("SiLU", x, type=node.types[0])
    if alpha == 1.702:
        return w.function("FastGeLU", x, type=node.types[0])
    f = Formula(w, node.types[0])
    return f("Mul", x, f("Sigmoid", f("Mul", x, alpha)))


@writes("thresholded_relu")
def _thresholded_relu(w: Writer, node: Node, x: Name) -> Name:
    f = Formula(w, node.types[0])
    above = f.test("Greater", x, node.attrs["alpha"])
    return w.function("Select", above, x, f("ZerosLike", x), type=node.types[0])


@writes("shrink")
def _shrink(w: Writer, node: Node, x: Name) -> Name:
    lambd, bias = node.attrs["lambd"], node.attrs["bias"]
    if bias == 0.0:
        return w.function("HShrink", x, float(lambd), type=node.types[0])
    soft = w.function("SoftShrink", x, float(lambd), type=node.types[0])
    if bias == lambd:
        return soft
    f = Formula(w, node.types[0])
    return f("Add", soft, f("Mul", f("Sign", soft), lambd - bias))


# --- reductions ------------------------------------------------------------------------------

_REDUCTIONS = {
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd",
    "reduce_mean": "ReduceMean",
    "reduce_sum": "ReduceSum",
}


def reduced(w: Writer, word: str, x: Name, axes: Any, keep: bool, type_: TensorType) -> Name:
    """A reduction; over no axes it is its operand."""
    if not axes:
        return x
    more = (False,) if word == "ReduceSum" else ()
    return w.function(word, x, tuple(axes), bool(keep), *more, type=type_)


@writes(*_REDUCTIONS)
def _reduce(w: Writer, node: Node, x: Name) -> Name:
    word = _REDUCTIONS[node.op.name]
    return reduced(w, word, x, node.attrs["axes"], node.attrs["keepdims"], node.types[0])


_NORMS = {"reduce_l1": 1, "reduce_l2": 2}


@writes("reduce_l1", "reduce_l2", "reduce_sum_square", "reduce_log_sum", "reduce_log_sum_exp")
def _reduce_composed(w: Writer, node: Node, x: Name) -> Name:
    axes, keep, type_ = node.attrs["axes"], node.attrs["keepdims"], node.types[0]
    wide, small = Formula(w, w.type(node.inputs[0])), Formula(w, type_)
    name = node.op.name
    if name in _NORMS and axes and type_.dtype in ("float16", "float32"):
        settings = {"axis": list(axes), "p": _NORMS[name], "keep_dims": bool(keep), "epsilon": 0.0}
        return w.primitive("LpNorm", x, type=type_, **settings)
    if name == "reduce_log_sum_exp":
        most = _most(w, node, x)
        total = reduced(w, "ReduceSum", wide("Exp", wide("Sub", x, most)), axes, keep, type_)
        back = w.reshape(most, type_.shape, type_.dtype)
        return small("Add", small("Log", total), back)
    inner = {
        "reduce_l1": lambda: wide("Abs", x),
        "reduce_l2": lambda: wide("Square", x),
        "reduce_sum_square": lambda: wide("Square", x),
        "reduce_log_sum": lambda: x,
    }[name]()
    total = reduced(w, "ReduceSum", inner, axes, keep, type_)
    outer = {"reduce_l2": "Sqrt", "reduce_log_sum": "Log"}.get(name)
    return small(outer, total) if outer else total


def _most(w: Writer, node: Node, x: Name) -> Name:
    source = w.type(node.inputs[0])
    axes = tuple(node.attrs["axes"])
    kept = source.with_shape([1 if k in axes else e for k, e in enumerate(source.shape)])
    return reduced(w, "ReduceMax", x, axes, True, kept)


@writes("arg_max", "arg_min")
def _arg_extreme(w: Writer, node: Node, x: Name) -> Name | None:
    if node.attrs["select_last_index"]:
        raise UnsupportedError("the last of several equal extremes")
    word = "Max" if node.op.name == "arg_max" else "Min"
    axis = node.attrs["axis"]
    if not node.attrs["keepdims"]:
        found = w.function(f"Arg{word.lower()}", x, axis, IDS["int64"], type=node.types[0])
        return found
    value = w.type(node.inputs[0]).with_shape(node.types[0].shape)
    pair = w.function(f"Arg{word}WithValue", x, axis, True, type=[node.types[0], value])
    return w.item(pair, 0, node.types[0])


@writes("cum_sum", "cum_prod")
def _cumulative(w: Writer, node: Node, x: Name) -> Name:
    word = "CumSum" if node.op.name == "cum_sum" else "CumProd"
    axis, exclusive, reverse = (node.attrs[k] for k in ("axis", "exclusive", "reverse"))
    return w.function(word, x, axis, bool(exclusive), bool(reverse), type=node.types[0])


@writes("softmax", "log_softmax")
def _softmax(w: Writer, node: Node, x: Name) -> Name:
    axis = w.type(node.inputs[0]).axis(node.attrs["axis"])
    if node.op.name == "softmax":
        return w.function("Softmax", x, (axis,), type=node.types[0])
    return w.function("LogSoftmax", x, axis, type=node.types[0])
