"""From plain-Python functions to unoptimised LLVM IR, through Numba.

The text that `lower` makes holds one function with a plain interface; everything that it calls
is inlined or internal, and names in it depend on nothing but the name asked for, so many such
texts link into one module. Nothing is optimised beyond inlining and promotion to registers:
that happens once, in the linked module, where extents are known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import llvmlite.binding as llvm
from numba.core import errors, types
from numba.core.compiler_lock import global_compiler_lock

from . import object_code
from .buffer_type import BufferType
from .compiled_function import (
    CompiledFunction,
    LoweringError,
    Options,
    as_device_function,
)
from .device_function import number_type

__all__ = ["LoweredFunction", "LoweringError", "as_device_function", "lower"]


@dataclasses.dataclass(frozen=True, slots=True)
class LoweredFunction:
    """LLVM IR of one function.

    ``ir_text`` is a module that defines ``i64 name(parameters...)``; ``parameters`` are LLVM
    types: for a buffer ``ptr`` and one ``i64`` a dimension, for a boolean ``i8``, for other
    scalars their own. The result is 0, or what the Python function returned if
    ``returns_status``, or -1 if it raised. ``externals`` are symbols of the C library that
    the text needs.
    """

    name: str
    ir_text: str
    returns_status: bool
    parameters: tuple[str, ...]
    externals: tuple[str, ...]


def lower(
    function: Callable[..., Any],
    argument_types: Sequence[types.Type],
    *,
    fastmath: frozenset[str] = frozenset(),
    name: str,
    literal_type: types.Type | str | None = None,
    weak_integers: bool = False,
    alignment: int | None = None,
) -> LoweredFunction:
    """Compile a plain-Python function for the given argument types to LLVM IR.

    The function returns None, or an int as status. ``name`` is that of the LLVM function and
    must be unique to the function's content and types. Floats written in the function (and,
    with ``weak_integers``, ints) take the type ``literal_type``, a scalar type or its name;
    None leaves them to Numba. ``fastmath`` are LLVM's flags for its arithmetic. Buffers must
    not overlap, except that two that are only read may; with ``alignment`` their memory is
    known to start at a multiple of so many bytes.

    Raises LoweringError for Python that cannot be compiled.
    """
    options = Options(frozenset(fastmath), number_type(literal_type), weak_integers)
    body = CompiledFunction(function, options)
    with global_compiler_lock, _short_errors(body.name):
        result = body.compile(tuple(argument_types))
        returned = result.signature.return_type
        if not isinstance(returned, (types.Integer, types.NoneType, types.Boolean)):
            raise LoweringError(f"{body.name}: returns {returned}, not None or an int")
        module = llvm.parse_assembly(str(result.library._final_module))
        wrapper, parameters = _wrapper(module, result, argument_types, name, alignment)
        module.link_in(llvm.parse_assembly(wrapper))
        _tidy(module, name)
        module.verify()
    externals = _externals(module)
    foreign = [symbol for symbol in externals if symbol.startswith(_PYTHON_SYMBOLS)]
    if foreign:
        raise LoweringError(f"{body.name}: needs {', '.join(foreign)} of the Python interpreter")
    has_status = not isinstance(returned, types.NoneType)
    return LoweredFunction(name, str(module), has_status, parameters, externals)


# Symbols that only a process with Python and Numba in it has.
_PYTHON_SYMBOLS: Final = ("Py", "_Py", "NRT_", "numba_", "numba.")


def _wrapper(
    module: llvm.ModuleRef,
    result: Any,
    argument_types: Sequence[types.Type],
    name: str,
    alignment: int | None,
) -> tuple[str, tuple[str, ...]]:
    """A function with the plain interface that calls Numba's, and its parameters' types.

    Numba's function gets where to put its result and its exception, returns 0 or -2 (None) if
    it succeeded, and takes every buffer as pointer and extents.
    """
    inner = result.fndesc.llvm_func_name
    llvm_types = [str(argument.type) for argument in module.get_function(inner).arguments]
    parameters, call = [], []
    for number, llvm_type in enumerate(llvm_types[2:]):
        attributes = ""
        if llvm_type == "ptr":
            attributes = " noalias captures(none)"
            attributes += f" align {alignment}" if alignment else ""
        parameters.append(f"{llvm_type}{attributes} %a{number}")
        call.append(f"{llvm_type} %a{number}")
    for place, kind in zip(_buffer_places(argument_types), argument_types, strict=True):
        if isinstance(kind, BufferType) and kind.readonly:
            parameters[place] = parameters[place].replace("ptr noalias", "ptr noalias readonly", 1)
    assumptions = [
        f'  call void @llvm.assume(i1 true) ["align"(ptr %a{place}, i64 {alignment})]\n'
        for place, kind in zip(_buffer_places(argument_types), argument_types, strict=True)
        if alignment and isinstance(kind, BufferType)
    ]
    returned = result.signature.return_type
    width, extension = 64, "zext"
    if isinstance(returned, types.Integer):
        width, extension = returned.bitwidth, "sext" if returned.signed else "zext"
    elif isinstance(returned, types.Boolean):
        width = 8
    widen = f"{extension} i{width} %value to i64" if width < 64 else "add i64 %value, 0"
    text = f"""
declare i32 @"{inner}"({", ".join(llvm_types)})
declare void @llvm.assume(i1)
define i64 @"{name}"({", ".join(parameters)}) alwaysinline nounwind {{
{"".join(assumptions)}  %result = alloca i64
  %exception = alloca ptr
  store i64 0, ptr %result
  %code = call i32 @"{inner}"({", ".join(["ptr %result", "ptr %exception", *call])})
  %value = load i{width}, ptr %result
  %wide = {widen}
  %succeeded = icmp eq i32 %code, 0
  %none = icmp eq i32 %code, -2
  %fine = or i1 %succeeded, %none
  %status = select i1 %fine, i64 %wide, i64 -1
  ret i64 %status
}}
"""
    return text, tuple(llvm_types[2:])


def _buffer_places(argument_types: Sequence[types.Type]) -> list[int]:
    """The number of each argument's first LLVM parameter."""
    places, place = [], 0
    for kind in argument_types:
        places.append(place)
        place += 1 + kind.rank if isinstance(kind, BufferType) else 1
    return places


def _tidy(module: llvm.ModuleRef, name: str) -> None:
    """Inline what is to be inlined, promote variables to registers, drop and rename the rest.

    Numba's names differ from process to process, so they are replaced first: inlining writes
    them into metadata.
    """
    helpers = [
        value
        for value in (*module.functions, *module.global_variables)
        if not value.is_declaration and value.name != name
    ]
    for number, value in enumerate(helpers):
        value.linkage = "internal"
        value.name = f"{name}.{number}"
    module.name = name
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_sroa_pass()  # loop counters, which the first run leaves in memory
    passes.add_dead_code_elimination_pass()
    passes.add_global_dead_code_eliminate_pass()
    object_code.run_passes(module, object_code.host_cpu(), 0, passes)


def _externals(module: llvm.ModuleRef) -> tuple[str, ...]:
    values = (*module.functions, *module.global_variables)
    names = [value.name for value in values if value.is_declaration]
    return tuple(sorted(name for name in names if not name.startswith("llvm.")))


@contextlib.contextmanager
def _short_errors(name: str) -> Iterator[None]:
    """Turn Numba's page-long messages into a LoweringError of one line.

    Numba also lets exceptions of its own machinery through (KeyError, AttributeError, ...) when
    a body uses something that it does not know.
    """
    try:
        yield
    except LoweringError:
        raise
    except errors.NumbaError as error:
        raise LoweringError(f"{name}: {_first_useful_line(error)}") from error
    except Exception as error:
        raise LoweringError(f"{name}: {type(error).__name__}: {error}") from error


# Lines of Numba's messages that say in which pass something went wrong, not what.
_NOISE: Final = ("Failed in ", "During: ", "File ", "There are ", "Enable logging", "This error")


def _first_useful_line(error: Exception) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip(" -") for line in text.splitlines()]
    useful = [line for line in lines if line and not line.startswith(_NOISE)]
    if not useful:
        return type(error).__name__
    first = useful[0]
    return f"{first} {useful[1]}" if first.endswith(":") and len(useful) > 1 else first
