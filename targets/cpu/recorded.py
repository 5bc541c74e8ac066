"""Bodies that are plain loop nests as LLVM IR, without Numba.

Numba takes half a second to start, more than all else that most models need of it. A body that
only loops over ranges, reads, computes and writes elements of float32 or moves others is run
once, with symbols for its arguments, and what it does with them is written down: a ``for`` makes
a loop, a scalar function that decides is run for both answers and makes a selection. The types
of results are those of Numba's lowering (see :mod:`.weak_numbers`).

A recording is right only if every round of a loop does the same with what was computed in that
round. Therefore no variable is assigned in two places, a value cannot leave its loop, and nothing
outside scalar functions may decide. Whatever does not fit is left to Numba.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import types
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from ...compiler.code_digest import global_names
from ...ops.kernel_functions import exp_of_negative, larger, reciprocal, smaller
from ...ops.strided_copy import transpose_block
from .constants import F32, I64, constant
from .recorded_values import POINTER, Buffer, NotRecordableError, Number
from .recorder import Recorder
from .scalar_function import ScalarFunction

# Functions that have code of their own on this target (see replacements, which needs Numba).
REPLACED: frozenset[Any] = frozenset(
    {exp_of_negative, larger, reciprocal, smaller, transpose_block}
)
_NUMBERS = (bool, int, float, np.float32)
_UNSUPPORTED = (
    inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE
)


def record(
    function: Any,
    name: str,
    operands: Sequence[tuple[str, int]],
    scalars: Sequence[ir.Type],
    literal_type: str | None,
    fastmath: Iterable[str],
) -> str | None:
    """A module that defines the body as the function ``name``; None where Numba is needed.

    ``operands`` are element types and ranks, ``literal_type`` what floats in the body are.
    """
    if not isinstance(function, types.FunctionType) or literal_type == "float64":
        return None
    module = ir.Module(name)
    parameters: list[ir.Type] = [I64]
    for _, rank in operands:
        parameters += [POINTER, *[I64] * rank]
    target = ir.Function(module, ir.FunctionType(I64, [*parameters, *scalars]), name)
    for attribute in ("alwaysinline", "nounwind"):
        target.attributes.add(attribute)
    builder = ir.IRBuilder(target.append_basic_block("entry"))
    recorder = Recorder(builder, sorted(fastmath), F32 if literal_type == "float32" else None)
    try:
        _check_assignments(function.__code__)
        item, *values = target.args
        arguments: list[Any] = [Number(recorder, item)]
        for element, rank in operands:
            pointer, *values = values
            pointer.add_attribute("noalias")
            arguments.append(Buffer(recorder, element, pointer, values[:rank]))
            values = values[rank:]
        arguments += [_scalar(recorder, value) for value in values]
        if _copy(function, recorder)(*arguments) is not None or recorder.loops:
            return None
    except (NotRecordableError, Exception):
        return None  # Numba will say what is wrong, if anything is
    builder.ret(constant(0))
    return str(module)


def _scalar(recorder: Recorder, value: ir.Value) -> Number:
    if value.type not in (I64, F32):
        raise NotRecordableError(f"a scalar of the type {value.type}")
    return Number(recorder, value)


def _check_assignments(code: types.CodeType) -> None:
    """Refuse what could carry a value from one round of a loop to the next."""
    if code.co_flags & _UNSUPPORTED or code.co_exceptiontable:
        raise NotRecordableError("an unusual function")
    if any(isinstance(constant, types.CodeType) for constant in code.co_consts):
        raise NotRecordableError("a function inside")
    counters: set[str] = set()
    assigned = set(code.co_varnames[: code.co_argcount])
    before = ""
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name.startswith("BUILD_") and name != "BUILD_TUPLE":
            raise NotRecordableError("something that can change")
        if name.startswith(("STORE_", "DELETE_")) and name != "STORE_SUBSCR":
            if not name.startswith("STORE_FAST"):
                raise NotRecordableError(name)
            found = instruction.argval
            places = list(found) if isinstance(found, tuple) else [found]
            if name == "STORE_FAST_LOAD_FAST":
                places = places[:1]
            if before == "FOR_ITER":
                counters.add(places.pop(0))
            for place in places:
                if place in assigned:
                    raise NotRecordableError(f"{place} is assigned twice")
                assigned.add(place)
        before = name
    if counters & assigned:
        raise NotRecordableError("a counter is assigned")


def _copy(function: types.FunctionType, recorder: Recorder) -> types.FunctionType:
    """The body with what it refers to replaced by what records."""
    names: dict[str, Any] = {"__builtins__": builtins}
    for name in set(global_names(function.__code__)):
        if name in function.__globals__:
            names[name] = _recording(function.__globals__[name], recorder)
        else:
            names[name] = _builtin(name, recorder)
    cells = [
        types.CellType(_recording(cell.cell_contents, recorder))
        for cell in function.__closure__ or ()
    ]
    return types.FunctionType(function.__code__, names, function.__name__, None, tuple(cells))


def _builtin(name: str, recorder: Recorder) -> Any:
    if name == "range":
        return recorder.counted
    if name in ("min", "max"):
        return recorder.extremum(f"s{name}")
    raise NotRecordableError(f"the name {name}")


def _recording(value: Any, recorder: Recorder) -> Any:
    """What stands for a global or closure value of a body."""
    if isinstance(value, _NUMBERS):
        return value
    if value is np.float32:
        return recorder.float32
    if isinstance(value, ScalarFunction) and value.computing == "float32" and value.weak_integers:
        _check_scalar(value.function)
        return recorder.scalar(value.function, weak=True)
    if isinstance(value, types.FunctionType):
        _check_scalar(value)
        return recorder.scalar(value, weak=False)
    raise NotRecordableError(f"a {type(value).__name__}")


def _check_scalar(function: Any) -> None:
    """Refuse scalar functions that use more than numbers and functions of the same kind."""
    if function in REPLACED or not isinstance(function, types.FunctionType):
        raise NotRecordableError("a function with code of its own")
    code = function.__code__
    if code.co_flags & _UNSUPPORTED or code.co_exceptiontable:
        raise NotRecordableError("an unusual function")
    for name in set(global_names(code)):
        if name not in function.__globals__:
            raise NotRecordableError(f"the name {name}")
        _check_part(function.__globals__[name])
    for cell in function.__closure__ or ():
        _check_part(cell.cell_contents)


def _check_part(value: Any) -> None:
    if not isinstance(value, _NUMBERS):
        _check_scalar(value)
