"""What threads need to wait for one another, as LLVM instructions for one kind of system."""

from __future__ import annotations

import sys

from llvmlite import ir

I32, I64 = ir.IntType(32), ir.IntType(64)
POINTER = ir.PointerType()
_FUTEX_WAIT, _FUTEX_WAKE = 128, 129  # private to the process
_SYSCALL_FUTEX = {"x86_64": 202, "aarch64": 98}
_CLOCK_MONOTONIC = 6 if sys.platform == "darwin" else 1


def pause(builder: ir.IRBuilder, machine: str) -> None:
    """Tell the processor that this is a loop that waits."""
    if machine == "x86_64":
        type_ = ir.FunctionType(ir.VoidType(), [])
        builder.call(_declared(builder.module, "llvm.x86.sse2.pause", type_), [])
    elif machine == "aarch64":
        type_ = ir.FunctionType(ir.VoidType(), [I32])
        hint = _declared(builder.module, "llvm.aarch64.hint", type_)
        builder.call(hint, [ir.Constant(I32, 1)])


def give_way(builder: ir.IRBuilder) -> None:
    """Let another thread have the processor."""
    builder.call(_declared(builder.module, "sched_yield", ir.FunctionType(I32, [])), [])


def sleep_while(builder: ir.IRBuilder, word: ir.Value, value: ir.Value, machine: str) -> None:
    """Sleep until woken, if the 32 bits at ``word`` are ``value``; it may end for no reason."""
    _futex(builder, word, _FUTEX_WAIT, value, machine)


def wake_all(builder: ir.IRBuilder, word: ir.Value, machine: str) -> None:
    """Wake all that sleep at ``word``."""
    _futex(builder, word, _FUTEX_WAKE, ir.Constant(I64, 2**31 - 1), machine)


def _futex(
    builder: ir.IRBuilder, word: ir.Value, operation: int, value: ir.Value, machine: str
) -> None:
    if not sys.platform.startswith("linux") or machine not in _SYSCALL_FUTEX:
        give_way(builder)
        return
    syscall = _declared(builder.module, "syscall", ir.FunctionType(I64, [I64], var_arg=True))
    null = ir.Constant(POINTER, None)
    number, what = ir.Constant(I64, _SYSCALL_FUTEX[machine]), ir.Constant(I64, operation)
    builder.call(syscall, [number, word, what, value, null, null, ir.Constant(I64, 0)])


def clock_function(module: ir.Module) -> ir.Function:
    """Define ``int64 nanoseconds()``: those since some time in the past."""
    function = ir.Function(module, ir.FunctionType(I64, []), "nanoseconds")
    function.linkage = "internal"
    function.attributes.add("noinline")  # a caller's loop must not take more and more stack
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    time = builder.alloca(I64, 2)
    time.type = POINTER
    type_ = ir.FunctionType(I32, [I32, POINTER])
    now = _declared(module, "clock_gettime", type_)
    builder.call(now, [ir.Constant(I32, _CLOCK_MONOTONIC), time])
    seconds = builder.load(time, typ=I64)
    rest = builder.load(builder.gep(time, [ir.Constant(I64, 1)], source_etype=I64), typ=I64)
    builder.ret(builder.add(builder.mul(seconds, ir.Constant(I64, 1_000_000_000)), rest))
    return function


def _declared(module: ir.Module, name: str, type_: ir.FunctionType) -> ir.Function:
    return module.globals.get(name) or ir.Function(module, type_, name)
