"""Modules divided into what LLVM optimises and what it only tidies."""

from __future__ import annotations

import ctypes

import pytest
from llvmlite import ir

from opweave.targets.cpu.loader import load_object
from opweave.targets.cpu.object_code import (
    add,
    emit_object,
    hide,
    host_cpu,
    internalise,
    link,
    optimise,
    simplify,
    undefined,
)
from opweave.targets.cpu.texts import called, divided, is_leaf

I64 = ir.IntType(64)
UNARY = ir.FunctionType(I64, [I64])


def _module() -> ir.Module:
    """``outer(x) = middle(x) + 1``, ``middle(x) = leaf(x) * table``, ``leaf(x) = max(x, 5)``."""
    module = ir.Module("sample")
    maximum = ir.Function(module, ir.FunctionType(I64, [I64, I64]), "llvm.smax.i64")
    table = ir.GlobalVariable(module, I64, "table")
    table.initializer = ir.Constant(I64, 3)
    leaf, middle, outer = (ir.Function(module, UNARY, name) for name in ("leaf", "middle", "outer"))
    for function in (leaf, middle):
        function.linkage = "internal"
        function.attributes.add("noinline")
    builder = ir.IRBuilder(leaf.append_basic_block())
    builder.ret(builder.call(maximum, [leaf.args[0], ir.Constant(I64, 5)]))
    builder = ir.IRBuilder(middle.append_basic_block())
    builder.ret(builder.mul(builder.call(leaf, middle.args), builder.load(table, typ=I64)))
    builder = ir.IRBuilder(outer.append_basic_block())
    builder.ret(builder.add(builder.call(middle, outer.args), ir.Constant(I64, 1)))
    return module


def test_a_leaf_is_local_and_calls_only_intrinsics() -> None:
    functions = _module().globals
    assert [name for name, item in functions.items() if name != "table" and is_leaf(item)] == [
        "leaf"
    ]
    assert called(functions["middle"]) == {"leaf"}


@pytest.mark.parametrize("raw", [set(), {"outer"}, {"leaf"}, {"leaf", "outer"}])
def test_both_halves_together_do_what_the_module_does(raw: set[str]) -> None:
    cpu = host_cpu()
    texts = divided(_module(), lambda function: function.name in raw)
    assert bool(texts.raw) == bool(raw)
    module = simplify(link([texts.finished]), cpu)
    if raw:
        add(module, optimise(link([texts.raw], sorted(raw)), cpu))
    with load_object(emit_object(internalise(module, ["outer"]), cpu)) as code:
        function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(code.address("outer"))
        assert [function(x) for x in (2, 7)] == [16, 22]


def test_what_was_inlined_everywhere_is_not_compiled() -> None:
    """A hidden function that is always inlined is gone; what another module needs stays."""
    cpu = host_cpu()
    module = ir.Module("inlined")
    functions = [ir.Function(module, UNARY, name) for name in ("inlined", "needed", "entry")]
    functions[0].attributes.add("alwaysinline")
    for function, callee in zip(functions, [None, None, functions[0]], strict=True):
        builder = ir.IRBuilder(function.append_basic_block())
        result = builder.mul(function.args[0], function.args[0])
        builder.ret(builder.call(callee, [result]) if callee else result)
    user = ir.Module("user")
    needed = ir.Function(user, UNARY, "needed")
    builder = ir.IRBuilder(ir.Function(user, UNARY, "user").append_basic_block())
    builder.ret(builder.call(needed, builder.function.args))
    other = link([str(user)])
    assert undefined(other) == {"needed"}
    left = simplify(hide(link([str(module)]), {"entry", "elsewhere", *undefined(other)}), cpu)
    assert {item.name for item in left.functions} == {"needed", "entry"}
