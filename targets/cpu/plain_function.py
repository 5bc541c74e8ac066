"""Rewriting a plain-Python function into one that Numba can compile for this target.

The function itself is never changed: a copy gets other globals and closure values. ``math`` and
its functions become `math_library`'s, plain functions become device functions, and a few
builtins become ones that keep the computing type. Keyword-only parameters, which Numba does not
know, become ordinary ones behind the positional ones.
"""

from __future__ import annotations

import builtins
import inspect
import math
import types
from collections.abc import Callable
from typing import Any

from ...compiler.code_digest import global_names

Substitute = Callable[[str, Any], Any]


def rewrite(function: types.FunctionType, substitute: Substitute) -> types.FunctionType:
    """A copy of ``function`` that sees other globals, closure values and defaults.

    ``substitute(name, value)`` gives what is to stand for each value. Raises ValueError for
    ``*arguments`` and ``**arguments``, and for generator functions and coroutines.
    """
    code = function.__code__
    if code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        raise ValueError("*arguments and **arguments are not supported")
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        raise ValueError("generators and coroutines are not supported")
    defaults = _defaults(function)
    code = code.replace(co_argcount=code.co_argcount + code.co_kwonlyargcount, co_kwonlyargcount=0)
    names = {"__builtins__": builtins, "__name__": function.__globals__.get("__name__", "body")}
    for name in set(global_names(code)):
        if name in function.__globals__:
            names[name] = substitute(name, function.__globals__[name])
        elif hasattr(builtins, name):
            original = getattr(builtins, name)
            replaced = substitute(name, original)
            if replaced is not original:
                names[name] = replaced
    cells = []
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            raise ValueError(f"the closure variable {name} has no value") from None
        cells.append(types.CellType(substitute(name, value)))
    result = types.FunctionType(
        code,
        names,
        function.__name__,
        tuple(substitute("", value) for value in defaults),
        tuple(cells),
    )
    result.__qualname__ = function.__qualname__
    return result


def _defaults(function: types.FunctionType) -> tuple[Any, ...]:
    """Defaults of the positional and then the keyword-only parameters, up to the last ones.

    A parameter without a default behind one that has a default cannot be said in Python; then
    the earlier defaults are dropped, for bodies are called with all their arguments.
    """
    values: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is parameter.empty:
            values.clear()
        else:
            values.append(parameter.default)
    return tuple(values)


def math_names() -> dict[Any, str]:
    """Names in the ``math`` module of its functions, for bodies that import single ones."""
    return {
        value: name
        for name, value in vars(math).items()
        if isinstance(value, types.BuiltinFunctionType)
    }
