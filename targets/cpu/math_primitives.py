"""Scalar operations that are one LLVM instruction, intrinsic or C library call.

They are what `math_float32` and `math_library` are made of. All of them but `call_library`
vectorise. Floating arguments may be float32 or float64; the result has their type, and
integers count as float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from .device_function import DeviceFunction, DeviceSignature, Emitted, TypeRule
from .half_precision import emit_narrow, emit_widen

_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_LLVM = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
_SUFFIX = {types.float32: "f32", types.float64: "f64"}


def common_float(*arguments: types.Type) -> types.Type | None:
    """The type in which numbers are computed: float32 if no other float is among them."""
    if not all(isinstance(a, (types.Integer, types.Boolean, types.Float)) for a in arguments):
        return None
    floats = {argument for argument in arguments if isinstance(argument, types.Float)}
    if not floats <= {types.float32, types.float64}:
        return None
    return types.float32 if floats == {types.float32} else types.float64


def _floats(count: int) -> TypeRule:
    """A type rule: so many numbers, computed and returned in their common type."""

    def rule(*arguments: types.Type) -> tuple[types.Type, ...] | None:
        kind = common_float(*arguments) if len(arguments) == count else None
        return None if kind is None else (kind,) * (count + 1)

    return rule


def _test(*arguments: types.Type) -> tuple[types.Type, ...] | None:
    kind = common_float(*arguments) if len(arguments) == 1 else None
    return None if kind is None else (types.boolean, kind)


def _fixed(result: types.Type, *wanted: types.Type) -> TypeRule:
    """A type rule: arguments are converted to given types."""

    def rule(*arguments: types.Type) -> tuple[types.Type, ...] | None:
        numbers = (types.Integer, types.Boolean, types.Float)
        fits = len(arguments) == len(wanted) and all(isinstance(a, numbers) for a in arguments)
        return (result, *wanted) if fits else None

    return rule


def intrinsic(name: str, count: int = 1) -> Emitted:
    """An LLVM intrinsic of floats, such as "llvm.fma"."""

    def emit(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
        kind = _LLVM[sig.return_type]
        function_type = ir.FunctionType(kind, [kind] * count)
        callee = builder.module.declare_intrinsic(name, [kind], function_type)
        return builder.call(callee, values)

    return Emitted(name, _floats(count), emit)


def call_library(symbol: str, count: int = 1) -> Emitted:
    """A function of the C library for float64, with "f" appended for float32.

    LLVM is told that it has no side effects, so calls may be moved and merged.
    """

    def emit(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
        kind = _LLVM[sig.return_type]
        name = symbol + ("f" if sig.return_type == types.float32 else "")
        function = builder.module.globals.get(name)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(kind, [kind] * count), name)
            function.attributes.add("nounwind")
            function.attributes.add("readnone")
        return builder.call(function, values)

    return Emitted(symbol, _floats(count), emit)


sqrt = intrinsic("llvm.sqrt")
floor = intrinsic("llvm.floor")
ceil = intrinsic("llvm.ceil")
trunc = intrinsic("llvm.trunc")
rint = intrinsic("llvm.rint")
fabs = intrinsic("llvm.fabs")
copysign = intrinsic("llvm.copysign", 2)
fma = intrinsic("llvm.fma", 3)
maximum = intrinsic("llvm.maximum", 2)
minimum = intrinsic("llvm.minimum", 2)


def _emit_isnan(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
    return _emit_class(builder, sig.args[0], values[0], 0x0003)


def _emit_isinf(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
    return _emit_class(builder, sig.args[0], values[0], 0x0204)


def _emit_isfinite(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
    return _emit_class(builder, sig.args[0], values[0], 0x01F8)


def _emit_class(builder: Any, kind: types.Type, value: Any, classes: int) -> Any:
    """Whether a value is of some of LLVM's classes of floats, whatever the fast-math flags say."""
    bit = ir.IntType(1)
    function_type = ir.FunctionType(bit, [_LLVM[kind], _INT32])
    name = f"llvm.is.fpclass.{_SUFFIX[kind]}"
    callee = builder.module.globals.get(name) or ir.Function(builder.module, function_type, name)
    return builder.call(callee, [value, ir.Constant(_INT32, classes)])


isnan = Emitted("isnan", _test, _emit_isnan)
isinf = Emitted("isinf", _test, _emit_isinf)
isfinite = Emitted("isfinite", _test, _emit_isfinite)


def _select_rule(*arguments: types.Type) -> tuple[types.Type, ...] | None:
    if len(arguments) != 3 or arguments[0] != types.boolean:
        return None
    kind = common_float(*arguments[1:])
    return None if kind is None else (kind, types.boolean, kind, kind)


def _emit_select(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
    return builder.select(*values)


# select(condition, a, b): a if condition else b, without a branch; both are computed.
select = Emitted("select", _select_rule, _emit_select)


def _emit_bits(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
    return builder.bitcast(values[0], _INT32)


def _emit_of_bits(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
    return builder.bitcast(values[0], ir.FloatType())


def _emit_of_bits64(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
    return builder.bitcast(values[0], ir.DoubleType())


def _emit_bits64(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
    return builder.bitcast(values[0], _INT64)


# The bit pattern of a float32 as int32, that of a float64 as int64, and back (the integer is
# truncated to the width of the float).
bits_of = Emitted("bits_of", _fixed(types.int32, types.float32), _emit_bits)
float_of_bits = Emitted("float_of_bits", _fixed(types.float32, types.int32), _emit_of_bits)
bits_of_double = Emitted("bits_of_double", _fixed(types.int64, types.float64), _emit_bits64)
double_of_bits = Emitted("double_of_bits", _fixed(types.float64, types.int64), _emit_of_bits64)


def table(name: str, numbers: Sequence[float]) -> Emitted:
    """A function from an index to one of some float64 constants; the index is not checked."""
    kind = ir.ArrayType(ir.DoubleType(), len(numbers))

    def emit(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
        constant = builder.module.globals.get(name)
        if constant is None:
            constant = ir.GlobalVariable(builder.module, kind, name)
            constant.initializer = ir.Constant(kind, list(numbers))
            constant.global_constant = True
            constant.linkage = "internal"
        zero = ir.Constant(_INT64, 0)
        return builder.load(builder.gep(constant, [zero, values[0]], inbounds=True))

    return Emitted(name, _fixed(types.float64, types.int64), emit)


def _widening(name: str, format: str) -> Emitted:
    def emit(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
        return emit_widen(builder, values[0], format)

    return Emitted(name, _fixed(types.float32, types.uint16), emit)


def _narrowing(name: str, source: types.Type, format: str) -> Emitted:
    def emit(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
        return emit_narrow(builder, values[0], format)

    return Emitted(name, _fixed(types.uint16, source), emit)


# Conversions of 16-bit floats, which travel as uint16; see half_precision for the rounding.
half_to_float = _widening("half_to_float", "float16")
bfloat16_to_float = _widening("bfloat16_to_float", "bfloat16")
float_to_half = _narrowing("float_to_half", types.float32, "float16")
float_to_bfloat16 = _narrowing("float_to_bfloat16", types.float32, "bfloat16")
double_to_half = _narrowing("double_to_half", types.float64, "float16")
double_to_bfloat16 = _narrowing("double_to_bfloat16", types.float64, "bfloat16")


def _extremum(name: str, predicate: str) -> Emitted:
    """Python's max or min of scalars, given one by one or as a tuple.

    The result is the first, unless a later one is better: a NaN that comes first stays, one
    that comes later is passed over. Floats decide the type, then the widest integer. Numba's
    own versions give the same, and cost a compilation for each combination of types.
    """

    def emit(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
        if isinstance(sig.args[0], types.BaseTuple):
            values = cgutils.unpack_tuple(builder, values[0])
        best = values[0]
        for value in values[1:]:
            if isinstance(sig.return_type, types.Float):
                is_better = builder.fcmp_ordered(predicate, value, best)
            elif sig.return_type == types.boolean or not sig.return_type.signed:
                is_better = builder.icmp_unsigned(predicate, value, best)
            else:
                is_better = builder.icmp_signed(predicate, value, best)
            best = builder.select(is_better, value, best)
        return best

    return Emitted(name, _extremum_rule, emit)


def _extremum_rule(*arguments: types.Type) -> tuple[types.Type, ...] | None:
    is_tuple = len(arguments) == 1 and isinstance(arguments[0], types.BaseTuple)
    parts = tuple(map(types.unliteral, arguments[0].types)) if is_tuple else arguments
    if len(parts) < (1 if is_tuple else 2):
        return None
    kind: types.Type | None = None
    if any(isinstance(part, types.Float) for part in parts):
        kind = common_float(*parts)
    elif all(isinstance(part, (types.Integer, types.Boolean)) for part in parts):
        kind = _widest(parts)
    if kind is None:
        return None
    return (kind, types.UniTuple(kind, len(parts))) if is_tuple else (kind,) * (len(parts) + 1)


def _widest(arguments: Sequence[types.Type]) -> types.Type:
    """The integer type that holds all of some integer types; int64 where none does."""
    integers = [argument for argument in arguments if isinstance(argument, types.Integer)]
    if not integers:
        return types.boolean
    widest = max(integers, key=lambda kind: kind.bitwidth)
    if all(kind.signed == widest.signed or kind.bitwidth < widest.bitwidth for kind in integers):
        if widest.signed or not any(kind.signed for kind in integers):
            return widest
    return types.int64


python_max = _extremum("max", ">")
python_min = _extremum("min", "<")


def converter(kind: types.Type) -> DeviceFunction:
    """Conversion of a number to a scalar type."""
    accepts: TypeRule = _fixed(kind, kind)

    def rule(*arguments: types.Type) -> tuple[types.Type, ...] | None:
        return accepts(*arguments)

    def emit(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
        return values[0]

    return Emitted(f"{kind}", rule, emit)
