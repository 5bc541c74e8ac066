"""Plain-Python bodies compiled and run as the CPU target does it, without a graph."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba.core import types

from opweave.targets.cpu import loader, object_code
from opweave.targets.cpu.buffer_type import BufferType
from opweave.targets.cpu.numba_frontend import LoweredFunction, lower

Array = np.ndarray[Any, Any]

NUMBERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES = ["bool", *NUMBERS, "float32", "float64", "complex64", "complex128"]


def numba_type(dtype: str) -> types.Type:
    return types.boolean if dtype == "bool" else getattr(types, dtype)


def buffer(dtype: str, rank: int = 1, readonly: bool = False) -> BufferType:
    return BufferType(numba_type(dtype), rank, readonly)


class Running:
    """A lowered function in memory, called with arrays and integers."""

    def __init__(self, lowered: LoweredFunction, level: int = 2) -> None:
        module = object_code.optimise(lowered.ir_text, level=level)
        self.code = loader.load_object(object_code.emit_object(module))
        kinds = {"ptr": ctypes.c_void_p, "i64": ctypes.c_int64, "i8": ctypes.c_int8}
        kinds |= {"float": ctypes.c_float, "double": ctypes.c_double, "i32": ctypes.c_int32}
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *(kinds[k] for k in lowered.parameters))
        self.function = prototype(self.code.address(lowered.name))

    def __call__(self, *arguments: Any) -> int:
        values: list[Any] = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                assert argument.flags.c_contiguous
                values += [argument.ctypes.data, *argument.shape]
            else:
                values.append(argument)
        return int(self.function(*values))


def run(
    function: Callable[..., Any], kinds: Sequence[types.Type], *arguments: Any, **options: Any
) -> int:
    return Running(lower(function, kinds, name="tested", **options))(*arguments)
