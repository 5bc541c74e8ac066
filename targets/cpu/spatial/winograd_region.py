"""Regions of tiles of an image, and functions beside a body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from ..dense.tile import F32, I64, constant, intrinsic

POINTER = ir.PointerType()
Region = tuple[ir.Value, ir.Value, ir.Value, ir.Value]  # tile row, rows, tile column, columns


def common(
    builder: ir.IRBuilder, first: ir.Value, count: ir.Value, run: tuple[int, int]
) -> tuple[ir.Value, ir.Value]:
    """Start and length of what ``count`` tiles from ``first`` on share with a run of tiles."""
    low = choose(builder, "smax", first, constant(run[0]))
    high = choose(builder, "smin", builder.add(first, count), constant(run[1]))
    return low, builder.sub(high, low)


def choose(builder: ir.IRBuilder, name: str, left: ir.Value, right: ir.Value) -> ir.Value:
    """The smaller ("smin") or the larger ("smax") of two integers."""
    type_ = ir.FunctionType(I64, [I64, I64])
    return builder.call(intrinsic(builder.module, f"llvm.{name}.i64", type_), [left, right])


def stack(builder: ir.IRBuilder, floats: int) -> ir.Value:
    """Scratch memory of one item on the thread's stack."""
    memory = builder.alloca(F32, size=floats)
    memory.align, memory.type = 64, POINTER
    return memory


def local_function(
    builder: ir.IRBuilder, name: str, types: Sequence[ir.Type]
) -> tuple[ir.Function, bool]:
    """A function that only the body uses, and whether it has to be written yet.

    Its pointers must not overlap. It is not inlined: the register allocation of its loops
    would suffer from what surrounds them.
    """
    module: Any = builder.module
    full = f"{builder.function.name}.{name}"
    if full in module.globals:
        return module.globals[full], False
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), full)
    function.linkage = "internal"
    function.attributes.add("noinline")
    for argument in function.args:
        if argument.type == POINTER:
            argument.add_attribute("noalias")
    return function, True
