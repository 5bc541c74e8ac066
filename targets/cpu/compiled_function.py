"""Plain-Python functions as device functions: how a body and what it calls get compiled.

Only Numba's front half is used (bytecode, type inference, LLVM IR); what comes out is not
optimised, and is linked into whatever calls the function.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
import threading
import types as python_types
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from numba.core import types
from numba.core.codegen import CPUCodeLibrary
from numba.core.compiler import Flags, compile_extra
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import FastMathOptions
from numba.core.registry import cpu_target
from numba.core.typing.templates import fold_arguments

from .device_function import DeviceFunction, DeviceSignature, number_type, weak_number
from .plain_function import math_names, rewrite
from .scalar_function import ScalarFunction
from .weak_numbers import body_compiler, operator_for

FASTMATH_FLAGS: Final = frozenset({"nnan", "ninf", "nsz", "arcp", "contract", "afn", "reassoc"})


class LoweringError(Exception):
    """A body uses Python that cannot be compiled; says which function and what in it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How a function's floating-point arithmetic and its literals are compiled."""

    fastmath: frozenset[str] = frozenset()
    literal_type: types.Type | None = None
    weak_integers: bool = False

    def __post_init__(self) -> None:
        unknown = self.fastmath - FASTMATH_FLAGS
        if unknown:
            raise ValueError(f"unknown fast-math flags: {', '.join(sorted(unknown))}")


def as_device_function(
    function: Callable[..., Any],
    literal_type: types.Type | str | None,
    weak_integers: bool = False,
    fastmath: frozenset[str] = frozenset(),
) -> DeviceFunction:
    """What Numba is given for a plain-Python function called by a body.

    The same function and options give the same object while the function lives. Raises
    LoweringError when the function cannot be compiled whatever its arguments are.
    """
    options = Options(fastmath, number_type(literal_type), weak_integers)
    with _made_lock:
        made = _made.setdefault(function, {})
        if options not in made:
            made[options] = CompiledFunction(function, options)
        return made[options]


_made: weakref.WeakKeyDictionary[Callable[..., Any], dict[Options, CompiledFunction]]
_made = weakref.WeakKeyDictionary()
_made_lock = threading.RLock()


class _IrLibrary(CPUCodeLibrary):
    """A Numba library that only gathers LLVM IR: nothing is optimised or made executable."""

    def _optimize_functions(self, ll_module: Any) -> None:
        pass

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True


class CompiledFunction(DeviceFunction):
    """A plain-Python function, compiled once for each combination of argument types."""

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        self.name = getattr(function, "__qualname__", repr(function))
        self.options = options
        if not isinstance(function, python_types.FunctionType):
            raise LoweringError(f"{self.name}: not a plain Python function")
        self._original = weakref.ref(function)
        self._rewritten: python_types.FunctionType | None = None
        self._compiled: dict[tuple[types.Type, ...], Any] = {}
        self._in_progress = False

    @property
    def function(self) -> python_types.FunctionType:
        """The function as Numba gets it."""
        if self._rewritten is None:
            original = self._original()
            assert original is not None, "whoever calls this function keeps it alive"
            try:
                self._rewritten = rewrite(original, self._substitute)
            except ValueError as error:
                raise LoweringError(f"{self.name}: {error}") from None
        return self._rewritten

    def resolve(
        self, context: Any, arguments: Sequence[types.Type], keywords: Mapping[str, types.Type]
    ) -> DeviceSignature | None:
        """Types of a call; compiles the function for them."""
        parameters = inspect.signature(self.function)
        folded = fold_arguments(
            parameters,
            tuple(map(types.unliteral, arguments)),
            {name: types.unliteral(kind) for name, kind in keywords.items()},
            lambda index, parameter, kind: kind,
            lambda index, parameter, default: types.Omitted(default),
            lambda index, parameter, kinds: types.StarArgTuple(kinds),
        )
        result = self.compile(folded)

        def emit(target: Any, builder: Any, sig: Any, values: Sequence[Any]) -> Any:
            target.add_linking_libs([result.library])
            return target.call_internal(builder, result.fndesc, sig, values)

        return DeviceSignature(result.signature.return_type, folded, emit, parameters)

    def compile(self, arguments: tuple[types.Type, ...]) -> Any:
        """Numba's compile result for these argument types, made once."""
        with global_compiler_lock:
            if arguments not in self._compiled:
                if self._in_progress:
                    raise LoweringError(f"{self.name}: recursion is not supported")
                self._in_progress = True
                try:
                    self._compiled[arguments] = self._compile(arguments)
                finally:
                    self._in_progress = False
            return self._compiled[arguments]

    def _compile(self, arguments: tuple[types.Type, ...]) -> Any:
        context = cpu_target.target_context
        library = _IrLibrary(context.codegen(), self.function.__name__)
        result = compile_extra(
            cpu_target.typing_context,
            context,
            self.function,
            arguments,
            None,
            self._flags(),
            {},
            library=library,
            pipeline_class=body_compiler(self.options),
        )
        if not library._finalized:
            library.finalize()
        return result

    def _flags(self) -> Flags:
        flags = Flags()
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        flags.nrt = False
        flags.noalias = True
        flags.error_model = "numpy"
        flags.forceinline = True
        if self.options.fastmath:
            flags.fastmath = FastMathOptions(set(self.options.fastmath))
        return flags

    def _substitute(self, name: str, value: Any) -> Any:
        """What compiled code sees instead of a global, closure or default value."""
        from . import math_library  # whose functions are compiled functions themselves
        from .replacements import REPLACEMENTS

        options = self.options
        if isinstance(value, python_types.ModuleType):
            return math_library if value.__name__ == "math" else value
        if isinstance(value, ScalarFunction):
            return as_device_function(
                value.function, value.computing, value.weak_integers, options.fastmath
            )
        if isinstance(value, python_types.FunctionType):
            if value in REPLACEMENTS:
                return REPLACEMENTS[value]
            return as_device_function(
                value, options.literal_type, options.weak_integers, options.fastmath
            )
        if isinstance(value, python_types.BuiltinFunctionType) and value in _math_names():
            return getattr(math_library, _math_names()[value], value)
        if value is float and isinstance(options.literal_type, types.Float):
            return math_library.to_float(options.literal_type)
        if value is pow:
            return operator_for(operator.pow, options.literal_type == types.float32)
        if isinstance(value, (type, python_types.BuiltinFunctionType)):
            return math_library.BUILTINS.get(value, value)
        if not name:
            return weak_number(value, options.literal_type, options.weak_integers)
        return value


_math_names = functools.cache(math_names)
