"""The text of generated modules: LLVM reads it as it reads llvmlite's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llvmlite import ir

import opweave as ow
from opweave.compiler.cache import Cache
from opweave.targets.cpu import emitted, machine_code, object_code, texts
from opweave.targets.cpu.printed import module_text

I64, F32, POINTER = ir.IntType(64), ir.FloatType(), ir.PointerType()


def assert_same(module: ir.Module) -> None:
    plain, ours = (object_code.parse(text) for text in (str(module), module_text(module)))
    for item in (plain, ours):
        item.name, item.triple, item.data_layout = "same", "", ""
    assert str(ours) == str(plain)


@pytest.mark.parametrize("weighted", [False, True])
def test_every_kind_of_instruction(weighted: bool) -> None:
    module = ir.Module("kinds")
    table = ir.GlobalVariable(module, I64, 'odd "name\\')
    table.initializer = ir.Constant(I64, 3)
    vector = ir.VectorType(F32, 4)
    inner = ir.Function(module, ir.FunctionType(ir.VoidType(), [F32]), "elsewhere")
    printf = ir.Function(module, ir.FunctionType(I64, [POINTER], var_arg=True), "printf")
    root = module.declare_intrinsic("llvm.sqrt", [F32])
    function = ir.Function(module, ir.FunctionType(I64, [I64, F32, POINTER]), "all")
    function.attributes.add("noinline")
    function.args[2].add_attribute("noalias")
    x, y, place = function.args
    builder = ir.IRBuilder(function.append_basic_block('with "quotes'))
    memory = builder.alloca(F32, size=ir.Constant(I64, 4))
    memory.align = 16
    builder.store(y, memory, align=4)
    builder.store(x, place)
    first = builder.load(place, typ=I64)
    second = builder.load(builder.gep(place, [x, first][:1], source_etype=F32), typ=F32, align=4)
    third = builder.gep(place, [x], inbounds=True, source_etype=F32)
    y = builder.fadd(second, y, flags=["nsz", "contract"])
    y = builder.fneg(builder.call(root, [y], fastmath=["nsz"]))
    builder.call(inner, [y])
    builder.call(printf, [third, x], tail=True)
    wide = builder.insert_element(ir.Constant(vector, ir.Undefined), y, ir.Constant(I64, 0).type(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), 4), [0, 0, 1, 7])
    wide = builder.shuffle_vector(wide, wide, mask)
    y = builder.extract_element(wide, ir.Constant(ir.IntType(32), 2))
    less = builder.fcmp_ordered("<", y, second, flags=["nsz"])
    x = builder.select(builder.icmp_unsigned(">", x, first), x, builder.zext(less, I64))
    y = builder.select(less, y, second, flags=["nnan"])
    x = builder.add(x, builder.load(table), flags=["nsw", "nuw"])
    loop, end = (function.append_basic_block(name) for name in ("loop", "end"))
    before = builder.block
    builder.branch(loop)
    builder.position_at_end(loop)
    number, total = builder.phi(I64), builder.phi(F32, flags=["nsz"])
    following = builder.add(number, ir.Constant(I64, 1))
    for phi, values in ((number, (x, following)), (total, (y, total))):
        for value, block in zip(values, (before, loop), strict=True):
            phi.add_incoming(value, block)
    branch = builder.cbranch(builder.icmp_signed("<", following, x), loop, end)
    if weighted:  # which llvmlite prints
        branch.set_weights([1, 99])
    builder.position_at_end(end)
    builder.switch(x, end).add_case(ir.Constant(I64, 4), before)
    end.instructions.clear()
    end.terminator = None
    builder.fence("acquire")
    builder.ret(builder.fptosi(total, I64))
    assert_same(module)


@pytest.mark.parametrize("name", ["lenet", "bilstm"])
def test_modules_of_networks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def kept(module: ir.Module, is_raw: Callable[[ir.Function], bool]) -> texts.Texts:
        assert_same(module)
        found.append(module)
        return texts.divided(module, is_raw)

    for where in (emitted, machine_code):
        monkeypatch.setattr(where, "divided", kept)
    monkeypatch.setattr(machine_code, "default_cache", lambda: Cache(None))
    network: Any = getattr(ow.networks, name)()
    ow.compile(network, threads=1)
    assert len(found) > 3
