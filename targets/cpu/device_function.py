"""Functions that compiled bodies call: what Numba needs to know about them, and their options.

Numba's own dispatchers would optimise and load each callee as machine code of its own. A
`DeviceFunction` is only typed and lowered: its unoptimised LLVM IR becomes part of the module
of whatever calls it, marked to be inlined.
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numba.core import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import Signature
from numba.core.typing.typeof import typeof_impl

Emit = Callable[[Any, Any, Signature, Sequence[Any]], Any]
TypeRule = Callable[..., "tuple[types.Type, ...] | None"]


class DeviceSignature(Signature):
    """A call's types, together with the function that emits the call."""

    __slots__ = ("emit",)

    def __init__(
        self,
        result: types.Type,
        arguments: Sequence[types.Type],
        emit: Emit,
        parameters: inspect.Signature | None = None,
    ) -> None:
        super().__init__(result, tuple(arguments), None, parameters)
        self.emit = emit


class DeviceFunction(abc.ABC):
    """An object that compiled code can call; it decides per call what its argument types mean."""

    name: str

    def __call__(self, *arguments: Any) -> Any:
        """Only compiled code can call it."""
        raise TypeError(f"{self.name} can only be called from compiled code")

    @abc.abstractmethod
    def resolve(
        self, context: Any, arguments: Sequence[types.Type], keywords: Mapping[str, types.Type]
    ) -> DeviceSignature | None:
        """The call's types and code; None if it cannot be called with these types."""


class DeviceFunctionType(types.Callable, types.Dummy):
    """Numba's type of one DeviceFunction; such a value has no representation at run time."""

    def __init__(self, function: DeviceFunction) -> None:
        self.function = function
        super().__init__(f"device function {function.name}")

    @property
    def key(self) -> DeviceFunction:
        """Each function has a type of its own."""
        return self.function

    def get_call_type(self, context: Any, args: Any, kws: Any) -> DeviceSignature | None:
        """Numba's question for the types of a call."""
        return self.function.resolve(context, args, dict(kws))

    def get_call_signatures(self) -> tuple[tuple[()], bool]:
        """Numba's question for all signatures, used in its messages only."""
        return (), True

    def get_impl_key(self, sig: Signature) -> type:
        """Where Numba finds the code: `_lower_call`, which the signature tells the rest."""
        return DeviceFunctionType


@typeof_impl.register(DeviceFunction)
def _type_of(value: DeviceFunction, _: Any) -> DeviceFunctionType:
    return DeviceFunctionType(value)


@lower_builtin(DeviceFunctionType, types.VarArg(types.Any))
def _lower_call(context: Any, builder: Any, sig: DeviceSignature, args: Sequence[Any]) -> Any:
    return sig.emit(context, builder, sig, args)


class Emitted(DeviceFunction):
    """A function whose LLVM instructions are written by ``emit(context, builder, sig, args)``.

    ``rule`` takes the argument types and gives the result's type followed by those to which
    the arguments are converted, or None.
    """

    def __init__(self, name: str, rule: TypeRule, emit: Emit) -> None:
        self.name, self._rule, self._emit = name, rule, emit

    def resolve(
        self, context: Any, arguments: Sequence[types.Type], keywords: Mapping[str, types.Type]
    ) -> DeviceSignature | None:
        """The call's types by the rule; keyword arguments are not taken."""
        found = None if keywords else self._rule(*map(types.unliteral, arguments))
        if found is None:
            return None
        return DeviceSignature(found[0], found[1:], self._emit)


def delegate(
    context: Any, function: Callable[..., Any], arguments: Sequence[types.Type]
) -> DeviceSignature | None:
    """A call of something that Numba knows itself."""
    found = context.resolve_function_type(function, tuple(arguments), {})
    if found is None:
        return None

    def emit(target: Any, builder: Any, sig: Any, values: Sequence[Any]) -> Any:
        kind = target.typing_context.resolve_value_type(function)
        return target.get_function(kind, found)(builder, values)

    return DeviceSignature(found.return_type, found.args, emit)


def number_type(kind: types.Type | str | None) -> types.Type | None:
    """A Numba scalar type from itself or an element type's name; 16-bit floats give float32."""
    if not isinstance(kind, str):
        return kind
    if kind in ("float16", "bfloat16"):
        return types.float32
    found = getattr(types, "boolean" if kind == "bool" else kind, None)
    if not isinstance(found, types.Type):
        raise ValueError(f"{kind!r} is not the name of a scalar type")
    return found


def weak_number(value: Any, literal: types.Type | None, integers: bool) -> Any:
    """A Python number as a scalar of the literal type; what is not to change is returned as it is.

    Floats become ``literal`` when that is a floating type. With ``integers``, ints too become
    ``literal``, unless it cannot hold them.
    """
    if literal is None or isinstance(literal, types.Boolean):
        return value
    scalar = np.dtype(str(literal)).type
    if type(value) is float and isinstance(literal, types.Float):
        return scalar(value)
    if type(value) is int and integers:
        if isinstance(literal, types.Float):
            return scalar(value)
        if literal.minval <= value <= literal.maxval:
            return scalar(value)
    return value
