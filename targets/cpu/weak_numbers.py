"""Numbers written in a body take the computing type, as Python's numbers do in NumPy.

Numba types ``0.5`` as float64 and a float32 times an integer as float64, so one literal would
drag a float32 computation into float64. Before type inference, `TypeNumbers` gives literals
the computing type; with float32 as that type it also replaces the arithmetic and comparison
operators by `WeakOperator`, for which an integer beside a float32 counts as float32. This is
what NEP 50 prescribes for Python's numbers. It goes further in one point: loop counters,
extents and integer elements are machine integers and still give way to float32.
"""

from __future__ import annotations

import operator
import types as python_types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from numba.core import ir, types
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass
from numba.core.registry import cpu_target
from numba.core.typed_passes import (
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NoPythonSupportedFeatureValidation,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.untyped_passes import (
    DeadBranchPrune,
    FixupArgs,
    GenericRewrites,
    InlineClosureLikes,
    IRProcessing,
    MakeFunctionToJitFunction,
    ReconstructSSA,
    RewriteDynamicRaises,
    TranslateByteCode,
)

from .device_function import (
    DeviceFunction,
    DeviceFunctionType,
    DeviceSignature,
    delegate,
    weak_number,
)

# The largest constant exponent for which a power is written out as multiplications.
_LARGEST_UNROLLED_POWER: Final = 64


def _is_weak(argument: types.Type) -> bool:
    return isinstance(argument, (types.Integer, types.Boolean))


class WeakOperator(DeviceFunction):
    """One of Python's binary operators, for which integers beside a float32 are float32."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = function.__name__
        self.function = function

    def resolve(
        self, context: Any, arguments: Sequence[types.Type], keywords: Mapping[str, types.Type]
    ) -> DeviceSignature | None:
        """What Numba says about the operator with integers beside a float32 made float32."""
        plain = [types.unliteral(argument) for argument in arguments]
        if types.float32 in plain and any(_is_weak(argument) for argument in plain):
            wanted = [types.float32 if _is_weak(a) else a for a in plain]
        else:
            wanted = list(arguments)
        return delegate(context, self.function, wanted)


class PowerOperator(DeviceFunction):
    """``x ** n``: products for a small constant n, else our pow, or Numba's for integers."""

    name = "power"

    def __init__(self, power: DeviceFunction, weak: bool) -> None:
        self._power, self._weak = power, weak

    def resolve(
        self, context: Any, arguments: Sequence[types.Type], keywords: Mapping[str, types.Type]
    ) -> DeviceSignature | None:
        """The power's types."""
        base, exponent = types.unliteral(arguments[0]), arguments[1]
        number = getattr(exponent, "literal_value", _LARGEST_UNROLLED_POWER + 1)
        if abs(number) <= _LARGEST_UNROLLED_POWER:
            if isinstance(base, types.Integer) and number >= 0:
                wide = types.int64 if base.signed else types.uint64  # as of other products
                return DeviceSignature(wide, (wide, exponent), _emit_product(number))
            if isinstance(base, types.Float):
                return DeviceSignature(base, (base, exponent), _emit_product(number))
        plain = [base, types.unliteral(exponent)]
        if any(isinstance(argument, types.Float) for argument in plain):
            if self._weak and types.float32 in plain:
                plain = [types.float32 if _is_weak(a) else a for a in plain]
            return self._power.resolve(context, plain, {})
        return delegate(context, operator.pow, arguments)


def _emit_product(number: int) -> Callable[..., Any]:
    """``x`` to a constant power by repeated squaring, at most two products a bit."""

    def emit(target: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
        is_float = isinstance(sig.return_type, types.Float)
        multiply = builder.fmul if is_float else builder.mul
        square, result, left = values[0], None, abs(number)
        while left:
            if left & 1:
                result = square if result is None else multiply(result, square)
            left >>= 1
            if left:
                square = multiply(square, square)
        one = values[0].type(1)
        if result is None:
            return one
        return builder.fdiv(one, result) if number < 0 else result

    return emit


def _declare(function: DeviceFunction) -> DeviceFunction:
    """Tell Numba the type of an object that stands for an operator in its IR.

    At once, for Numba looks at its registries only when a compilation begins.
    """
    cpu_target.typing_context.insert_global(function, DeviceFunctionType(function))
    return function


_WEAK_OPERATORS: Final = {
    function: _declare(WeakOperator(function))
    for function in (
        *(operator.add, operator.sub, operator.mul, operator.truediv),
        *(operator.floordiv, operator.mod),
        *(operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne),
    )
}
_POWERS: dict[bool, DeviceFunction] = {}


def operator_for(function: Callable[..., Any], weak: bool) -> Callable[..., Any] | DeviceFunction:
    """What stands for a binary operator of the body; itself where nothing is to change."""
    if function is operator.pow:
        if weak not in _POWERS:
            from .math_library import pow as power  # which is compiled by means of this module

            _POWERS[weak] = _declare(PowerOperator(power, weak))
        return _POWERS[weak]
    return _WEAK_OPERATORS.get(function, function) if weak else function


@register_pass(mutates_CFG=False, analysis_only=False)
class TypeNumbers(FunctionPass):
    """Gives the numbers of a function ``state.options``' literal type, and its operators."""

    _name = "opweave_type_numbers"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Rewrite the function's IR in place; True, for it may have changed."""
        literal, integers = state.options.literal_type, state.options.weak_integers
        function_ir = state.func_ir
        counts = _count_names(function_ir) if integers else set()
        weak = literal == types.float32
        for block in function_ir.blocks.values():
            for statement in block.body:
                if not isinstance(statement, ir.Assign):
                    continue
                value = statement.value
                if isinstance(value, ir.Expr) and value.op in ("binop", "inplace_binop"):
                    _replace_operator(value, weak)
                    continue
                number = _number(function_ir, value)
                is_weak = integers and statement.target.name not in counts
                changed = weak_number(number, literal, is_weak)
                if changed is not number:
                    statement.value = ir.Const(changed, value.loc)
                    definitions = function_ir._definitions[statement.target.name]
                    definitions[definitions.index(value)] = statement.value
        return True


def _replace_operator(expression: Any, weak: bool) -> None:
    if expression.op == "inplace_binop":
        expression.immutable_fn = operator_for(expression.immutable_fn, weak)
        expression.fn = expression.immutable_fn  # numbers are immutable, tuples too
    else:
        expression.fn = operator_for(expression.fn, weak)


def _number(function_ir: Any, value: Any) -> Any:
    """The Python number that an IR value stands for, None if it is none."""
    if isinstance(value, (ir.Const, ir.Global, ir.FreeVar)):
        return value.value
    if isinstance(value, ir.Expr) and value.op == "getattr":
        owner = _definition(function_ir, value.value)
        if isinstance(owner, (ir.Global, ir.FreeVar)):
            if isinstance(owner.value, python_types.ModuleType):
                return getattr(owner.value, value.attr, None)
    return None


def _definition(function_ir: Any, variable: Any) -> Any:
    found = function_ir._definitions.get(variable.name, ())
    return found[0] if len(found) == 1 else None


def _count_names(function_ir: Any) -> set[str]:
    """Names of variables that count something, hence stay integers, and of those they copy."""
    names: set[str] = set()
    waiting = list(_counts(function_ir))
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            sources = function_ir._definitions.get(name, ())
            waiting += [source.name for source in sources if isinstance(source, ir.Var)]
    return names


def _counts(function_ir: Any) -> Iterator[str]:
    """Names of variables used as index, exponent, part of a tuple or bound of a range."""
    for block in function_ir.blocks.values():
        for statement in block.body:
            if isinstance(statement, ir.SetItem):
                yield statement.index.name
            elif isinstance(statement, ir.StaticSetItem):
                yield statement.index_var.name
            value = getattr(statement, "value", None)
            if not isinstance(value, ir.Expr):
                continue
            if value.op in ("getitem", "static_getitem"):
                index = value.index if value.op == "getitem" else value.index_var
                if index is not None:
                    yield index.name
            elif value.op == "binop" and value.fn is operator.pow:
                yield value.rhs.name
            elif value.op == "build_tuple":
                yield from (item.name for item in value.items)
            elif value.op == "call":
                callee = _definition(function_ir, value.func)
                if getattr(callee, "value", None) is range:
                    yield from (argument.name for argument in value.args)


class BodyCompiler(CompilerBase):
    """Numba's pipeline with `TypeNumbers`, without the passes that kernel bodies never need.

    Left out are ``with`` blocks, array expressions, inlinable functions of Numba, literal unrolling
    and propagation, and annotations for reports; they cost a third of the time.
    """

    def define_pipelines(self) -> list[PassManager]:
        """The only pipeline."""
        manager = PassManager("opweave_body")
        has_nested = any(
            isinstance(constant, python_types.CodeType)
            for constant in self.state.func_id.code.co_consts
        )
        manager.add_pass(TranslateByteCode, "analyse bytecode")
        manager.add_pass(FixupArgs, "number the arguments")
        manager.add_pass(IRProcessing, "process the IR")
        if has_nested:
            manager.add_pass(InlineClosureLikes, "inline functions defined inside")
        manager.add_pass(DeadBranchPrune, "prune branches on constants")
        manager.add_pass(GenericRewrites, "rewrite before typing")
        manager.add_pass(RewriteDynamicRaises, "rewrite raises")
        if has_nested:
            manager.add_pass(MakeFunctionToJitFunction, "functions that were not inlined")
        manager.add_pass(ReconstructSSA, "single assignment")
        manager.add_pass(TypeNumbers, "type numbers")
        manager.add_pass(NopythonTypeInference, "infer types")
        manager.add_pass(PreLowerStripPhis, "remove phi nodes")
        manager.add_pass(NoPythonSupportedFeatureValidation, "refuse what is not supported")
        manager.add_pass(IRLegalization, "check the IR")
        manager.add_pass(NativeLowering, "emit LLVM IR")
        manager.add_pass(NoPythonBackend, "finish")
        manager.finalize()
        return [manager]


def body_compiler(options: Any) -> Callable[..., BodyCompiler]:
    """What Numba calls to make a compiler, here one that knows a body's options."""

    def make(*arguments: Any) -> BodyCompiler:
        compiler = BodyCompiler(*arguments)
        compiler.state.options = options
        return compiler

    return make
