"""Names, extents, attribute values and small arrays as text, and back.

All of it is Python expression syntax, read with ``ast`` and never evaluated as code.
"""

from __future__ import annotations

import ast
import hashlib
import keyword
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import dim
from .data_type import Array, is_float
from .dim import Dim, Extent, Symbol
from .errors import ModelError
from .tensor_type import TensorType

# Words of an expression that therefore cannot stand for a symbol or node without quotes.
_RESERVED = frozenset({"inf", "nan", "min", "max", "symbol", "digest", "None", "True", "False"})

Symbols = Mapping[str, Symbol]


# --- writing -----------------------------------------------------------------------------


def quoted(text: str) -> str:
    """``text`` in double quotes, on one line."""
    if text.isprintable():
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


def is_plain(name: str) -> bool:
    """True for a name that is written without quotes."""
    plain = name.isascii() and name.isidentifier()
    return plain and not keyword.iskeyword(name) and name not in _RESERVED


def name_text(name: str) -> str:
    """The name of a node or graph, in quotes unless it is an identifier."""
    return name if is_plain(name) else quoted(name)


def symbol_text(symbol: Symbol, known: Symbols) -> str:
    """A symbol inside an expression; with its bounds where they are not the ``known`` ones."""
    declared = known.get(symbol.name, Symbol(symbol.name))
    if declared == symbol:
        return symbol.name if is_plain(symbol.name) else f"symbol({quoted(symbol.name)})"
    return f"symbol({quoted(symbol.name)}, {symbol.lower}, {symbol.upper})"


def extent_text(extent: Extent, known: Symbols) -> str:
    """An extent as an expression over symbols."""
    return dim.text_of(extent, lambda symbol: symbol_text(symbol, known))


def type_text(type_: TensorType, known: Symbols) -> str:
    """Such as ``float32[n, 3]``."""
    return f"{type_.dtype}[{', '.join(extent_text(extent, known) for extent in type_.shape)}]"


def value_text(value: Any, known: Symbols) -> str:
    """The value of an attribute; raises ModelError for one that text cannot hold."""
    if isinstance(value, Dim):
        return extent_text(value, known)
    if isinstance(value, tuple):
        items = ", ".join(value_text(item, known) for item in value)
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    raise ModelError(f"an attribute of the type {type(value).__name__} cannot be written as text")


def array_text(array: Array) -> str | None:
    """The elements of an array, exactly; None when plain numbers do not say them."""
    numbers = [_number_text(item) for item in array.reshape(-1)]
    text = numbers[0] if array.ndim == 0 else f"[{', '.join(numbers)}]"
    again = read_array_text(text, TensorType.of(array))
    return text if again.tobytes() == np.ascontiguousarray(array).tobytes() else None


def _number_text(item: Any) -> str:
    number = item.item() if isinstance(item, np.generic) else item
    if not isinstance(number, float):
        return repr(number)
    # The shortest text for the element type is not always right by way of float64.
    short = str(item)
    kind = np.asarray(item).dtype.type
    if math.isfinite(number) and kind(float(short)) == item:
        return short if any(letter in short for letter in ".e") else f"{short}.0"
    return repr(number)


def digest_of(array: Array) -> str:
    """32 hexadecimal digits for type and content of an array."""
    type_ = TensorType.of(array)
    state = hashlib.blake2b(str(type_).encode(), digest_size=16)
    state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


# --- reading -----------------------------------------------------------------------------


def expression(text: str) -> ast.expr:
    """The expression that ``text`` is; raises ModelError if it is none."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise ModelError(f"{shortened(text)} is no expression: {reason}") from None


def shortened(text: str) -> str:
    """``text`` for a message."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_value(node: ast.expr, known: Symbols) -> Any:
    """The attribute value, or extent, that an expression stands for."""
    if isinstance(node, ast.Constant):
        value = node.value
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
    elif isinstance(node, (ast.Tuple, ast.List)):
        return tuple(read_value(item, known) for item in node.elts)
    elif isinstance(node, ast.Name):
        if node.id in ("inf", "nan"):
            return float(node.id)
        return _symbol(known.get(node.id, Symbol(node.id)))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(read_value(node.operand, known))
    elif isinstance(node, ast.BinOp):
        return _arithmetic(node, known)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _call(node.func.id, [read_value(item, known) for item in node.args], known)
    raise ModelError(f"{shortened(ast.unparse(node))} is neither a constant nor an extent")


def read_extents(text: str, known: Symbols) -> tuple[Extent, ...]:
    """Extents separated by commas."""
    found = read_value(expression(f"({text},)" if text.strip() else "()"), known)
    return tuple(_extent(item) for item in found)


def read_type(text: str, known: Symbols) -> TensorType:
    """The type that ``type_text`` wrote."""
    dtype, bracket, rest = text.strip().partition("[")
    if not bracket or not rest.endswith("]"):
        raise ModelError(f"{shortened(text)} is no type such as float32[2, 3]")
    return TensorType(dtype, read_extents(rest[:-1], known))


def read_array_text(text: str, type_: TensorType) -> Array:
    """The array whose elements ``array_text`` wrote."""
    node = expression(text)
    items = node.elts if isinstance(node, ast.List) else [node]
    if len(items) != type_.size or isinstance(node, ast.List) == (type_.rank == 0):
        raise ModelError(f"{len(items)} numbers are given for {type_}")
    numbers = [_number(read_value(item, {})) for item in items]
    kind = bool if type_.dtype == "bool" else float if is_float(type_.dtype) else int
    if not all(type(number) is kind for number in numbers):
        raise ModelError(f"{shortened(text)} cannot be {type_}")
    try:
        return np.array(numbers, type_.numpy).reshape(type_.static_shape)
    except (OverflowError, TypeError, ValueError) as error:
        raise ModelError(f"{shortened(text)} cannot be {type_}: {error}") from None


def _symbol(symbol: Symbol) -> Extent:
    return dim.symbol(symbol.name, symbol.lower, symbol.upper)


def _number(value: Any) -> Any:
    if not isinstance(value, (bool, int, float, Dim)):
        raise ModelError(f"{shortened(repr(value))} is not a number")
    return value


def _extent(value: Any) -> Extent:
    if isinstance(value, bool) or not isinstance(value, (int, Dim)):
        raise ModelError(f"{shortened(repr(value))} is not an extent")
    return value


_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Extent]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.FloorDiv: dim.floor_divide,
}


def _arithmetic(node: ast.BinOp, known: Symbols) -> Extent:
    # Long sums lean to the left: a loop does not run out of stack.
    rest: list[tuple[ast.operator, ast.expr]] = []
    first: ast.expr = node
    while isinstance(first, ast.BinOp):
        rest.append((first.op, first.right))
        first = first.left
    result = _extent(read_value(first, known))
    for operation, right in reversed(rest):
        if type(operation) not in _OPERATIONS:
            raise ModelError(f"extents know +, -, * and //, not {type(operation).__name__}")
        result = _OPERATIONS[type(operation)](result, _extent(read_value(right, known)))
    return result


def _call(function: str, arguments: list[Any], known: Symbols) -> Extent:
    if function in ("min", "max") and len(arguments) == 2:
        choose = dim.minimum if function == "min" else dim.maximum
        return choose(_extent(arguments[0]), _extent(arguments[1]))
    if function == "symbol" and arguments and isinstance(arguments[0], str):
        name, *limits = arguments
        if not limits:
            return _symbol(known.get(name, Symbol(name)))
        if len(limits) == 2 and isinstance(limits[0], int) and isinstance(limits[1], int | None):
            return dim.symbol(name, *limits)
    raise ModelError(f"{function} with these arguments is no extent")
