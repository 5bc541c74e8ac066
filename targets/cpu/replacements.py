"""Plain-Python functions of kernels that have code of their own on this target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types

from ...ops.kernel_functions import exp_of_negative, larger, reciprocal, smaller
from ...ops.strided_copy import transpose_block
from . import float32_exponential
from .buffer_type import BufferType
from .compiled_function import as_device_function
from .device_function import DeviceFunction, DeviceSignature, Emitted
from .math_library import MathFunction
from .math_primitives import call_library
from .transposition import block_function


def _rule(*arguments: types.Type) -> tuple[types.Type, ...] | None:
    if len(arguments) != 8:
        return None
    source, target = arguments[0], arguments[3]
    for buffer in (source, target):
        if not isinstance(buffer, BufferType) or buffer.rank != 1:
            return None
    if source.stored != target.stored:
        return None
    numbers = (types.int64,) * 2
    return (types.none, source, *numbers, target, *numbers, *numbers)


def _emit_call(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
    places = []
    for number in (0, 3):
        held = context.make_helper(builder, sig.args[number], value=values[number])
        places.append(builder.gep(held.data, [values[number + 1]], inbounds=True))
    stored = sig.args[0].stored
    function = block_function(builder.module, 8 if stored == types.boolean else stored.bitwidth)
    arguments = [places[0], values[2], places[1], values[5], values[6], values[7]]
    builder.call(function, arguments)
    return context.get_dummy_value()


class _Extremum(DeviceFunction):
    """LLVM's maximum or minimum of floats, in which NaN wins; others are compared."""

    def __init__(self, function: Callable[..., Any], intrinsic: str) -> None:
        self.name, self._function, self._intrinsic = function.__name__, function, intrinsic

    def resolve(
        self, context: Any, arguments: Sequence[types.Type], keywords: Mapping[str, types.Type]
    ) -> DeviceSignature | None:
        """The intrinsic for two floats of one type."""
        kinds = {types.unliteral(argument) for argument in arguments}
        if len(arguments) == 2 and not keywords and kinds in ({types.float32}, {types.float64}):
            (kind,) = kinds
            return DeviceSignature(kind, (kind, kind), self._emit)
        return as_device_function(self._function, None).resolve(context, arguments, keywords)

    def _emit(self, context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
        kind = context.get_value_type(sig.return_type)
        type_ = ir.FunctionType(kind, [kind, kind])
        callee = builder.module.declare_intrinsic(self._intrinsic, [kind], type_)
        return builder.call(callee, values, fastmath=("nsz",))


def _float_rule(*arguments: types.Type) -> tuple[types.Type, ...] | None:
    known = len(arguments) == 1 and arguments[0] in (types.float32, types.float64)
    return (arguments[0], arguments[0]) if known else None


def _emit_reciprocal(
    context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]
) -> Any:
    """LLVM makes divisions of products with a reciprocal, unless it cannot see that it is one."""
    kind = context.get_value_type(sig.return_type)
    type_ = ir.FunctionType(kind, [kind])
    fence = builder.module.declare_intrinsic("llvm.arithmetic.fence", [kind], type_)
    return builder.call(fence, [builder.fdiv(ir.Constant(kind, 1.0), values[0])])


# What stands in compiled bodies for plain-Python functions.
REPLACEMENTS: dict[Callable[..., Any], DeviceFunction] = {
    transpose_block: Emitted("transpose_block", _rule, _emit_call),
    larger: _Extremum(larger, "llvm.maximum"),
    smaller: _Extremum(smaller, "llvm.minimum"),
    reciprocal: Emitted("reciprocal", _float_rule, _emit_reciprocal),
    exp_of_negative: MathFunction(
        "exp_of_negative", 1, float32_exponential.exp_of_negative, call_library("exp")
    ),
}
