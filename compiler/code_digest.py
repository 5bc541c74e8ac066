"""Content digests of plain-Python functions: the key under which their machine code is cached.

Functions with the same digest compile to the same code: they have equal bytecode, constants and
names, and all that they refer to has equal content. What a function is called, where it was
written and where it lies in memory do not matter, so a digest is the same in every process with
the same Python version.
"""

from __future__ import annotations

import builtins
import dataclasses
import dis
import enum
import functools
import hashlib
import importlib.util
import struct
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..ir.errors import ModelError

# Modules whose content is fixed by a version: attributes used of them are known by name.
_KNOWN_MODULES = frozenset({"math", "cmath", "operator", "builtins", "numpy"})


def digest(function: Callable[..., Any]) -> str:
    """32 hexadecimal digits that stand for the content of a function.

    It covers bytecode, constants, default values, closure values and the global values that
    the bytecode names, functions among them with all that they refer to in turn. Raises
    ModelError for a value whose content cannot be told, such as an open file.
    """
    return _Digest(function, getattr(function, "__qualname__", repr(function))).hexdigest()


def global_names(code: types.CodeType) -> Iterator[str]:
    """Names that a code object, or one nested in it, loads as globals or builtins."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from global_names(constant)


class _Digest:
    """One walk over a function and what it refers to, in an order fixed by the content."""

    def __init__(self, value: Any, path: str) -> None:
        self._hash = hashlib.blake2b(importlib.util.MAGIC_NUMBER, digest_size=16)
        self._seen: dict[int, int] = {}
        self._alive: list[object] = []  # so that no id is used twice during the walk
        self._value(value, path)

    def hexdigest(self) -> str:
        """The digest of the walk."""
        return self._hash.hexdigest()

    def _put(self, tag: str, *parts: bytes | str | int) -> None:
        """Hash parts so that no other sequence of parts gives the same bytes."""
        for part in (tag, *parts):
            data = part if isinstance(part, bytes) else str(part).encode()
            self._hash.update(struct.pack("<q", len(data)) + data)

    def _value(self, value: Any, path: str) -> None:
        """Hash one value; ``path`` says in messages how it was reached."""
        if value is None or value is Ellipsis or isinstance(value, (bool, str, bytes)):
            self._put(type(value).__name__, value if isinstance(value, bytes) else str(value))
        elif isinstance(value, enum.Enum):
            self._put("enum", type(value).__module__, type(value).__qualname__, value.name)
        elif type(value) is int:
            self._put("int", value)
        elif type(value) is float:
            self._put("float", struct.pack("<d", value))
        elif type(value) is complex:
            self._put("complex", struct.pack("<dd", value.real, value.imag))
        elif isinstance(value, (np.ndarray, np.generic)):
            self._array(np.asarray(value), type(value).__name__, path)
        elif isinstance(value, (tuple, list)):
            self._put(type(value).__name__, len(value))
            for number, item in enumerate(value):
                self._value(item, f"{path}[{number}]")
        elif isinstance(value, (set, frozenset, dict)):
            self._unordered(value, path)
        else:
            self._object(value, path)

    def _array(self, array: np.ndarray[Any, Any], kind: str, path: str) -> None:
        if array.dtype.hasobject:
            raise ModelError(f"{path}: an array of Python objects has no digest")
        shape = ",".join(map(str, array.shape))
        self._put(kind, array.dtype.str, repr(array.dtype.descr), shape, array.tobytes())

    def _unordered(self, value: Any, path: str) -> None:
        """Sets and dictionaries, in the order of their items' own digests."""
        items = list(value.items()) if isinstance(value, dict) else [(item,) for item in value]
        parts = sorted(_Digest(item, path).hexdigest() for item in items)
        self._put(type(value).__name__, *parts)

    def _object(self, value: Any, path: str) -> None:
        if isinstance(value, types.BuiltinFunctionType):
            owner = value.__module__ or getattr(value.__self__, "__name__", None)
            if value.__self__ is not None and not isinstance(value.__self__, types.ModuleType):
                raise ModelError(f"{path}: a bound method has no digest")
            self._put("builtin", str(owner), value.__qualname__)
        elif isinstance(value, np.ufunc):
            self._put("ufunc", value.__name__)
        elif isinstance(value, np.dtype):
            self._put("dtype", value.str, repr(value.descr))
        elif isinstance(value, types.ModuleType):
            self._module(value, path)
        elif isinstance(value, type):
            self._class(value, path)
        elif id(value) in self._seen:
            self._put("again", self._seen[id(value)])
        else:
            self._seen[id(value)] = len(self._seen)
            self._alive.append(value)
            self._composite(value, path)

    def _module(self, module: types.ModuleType, path: str) -> None:
        if module.__name__ not in _KNOWN_MODULES:
            raise ModelError(
                f"{path}: import what is used of the module {module.__name__} by name, so that "
                "its content can be told"
            )
        self._put("module", module.__name__)

    def _class(self, kind: type, path: str) -> None:
        if kind.__module__.partition(".")[0] not in _KNOWN_MODULES:
            raise ModelError(f"{path}: the class {kind.__qualname__} has no digest")
        self._put("class", kind.__module__, kind.__qualname__)

    def _composite(self, value: Any, path: str) -> None:
        """Something with parts that may refer back to it."""
        if isinstance(value, types.FunctionType):
            self._function(value, path)
        elif isinstance(value, types.CodeType):
            self._code(value, path)
        elif isinstance(value, functools.partial):
            self._put("partial")
            self._value((value.func, value.args, value.keywords), path)
        elif dataclasses.is_dataclass(value):
            self._put("dataclass", type(value).__module__, type(value).__qualname__)
            for field in dataclasses.fields(value):
                self._value(getattr(value, field.name), f"{path}.{field.name}")
        elif isinstance(getattr(value, "py_func", None), types.FunctionType):
            self._put("compiled")  # by Numba
            self._value(value.py_func, path)
        else:
            kind = type(value)
            raise ModelError(
                f"{path}: a {kind.__module__}.{kind.__qualname__} has no digest; use numbers, "
                "strings, tuples, NumPy arrays and plain functions"
            )

    def _function(self, function: types.FunctionType, path: str) -> None:
        code = function.__code__
        self._put("function")
        self._value(code, path)
        self._value(function.__defaults__, f"{path}'s defaults")
        self._value(function.__kwdefaults__, f"{path}'s defaults")
        for name in sorted(set(global_names(code))):
            if name in function.__globals__:
                self._put("global", name)
                self._value(function.__globals__[name], f"{path}: {name}")
            else:
                self._put("builtin" if hasattr(builtins, name) else "missing", name)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._put("free", name)
            try:
                content = cell.cell_contents
            except ValueError:
                raise ModelError(f"{path}: the closure variable {name} has no value") from None
            self._value(content, f"{path}: {name}")

    def _code(self, code: types.CodeType, path: str) -> None:
        """Everything of a code object that decides what it computes."""
        self._put("code", code.co_code, code.co_exceptiontable)
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        self._put("counts", *counts, code.co_flags)
        for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
            self._put("names", *names)
        self._value(code.co_consts, path)
