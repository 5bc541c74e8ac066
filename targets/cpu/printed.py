"""LLVM IR as text, as llvmlite prints it, in a third of the time.

Printing takes longer than making the instructions. The kinds that most code is made of are written
here; llvmlite prints all others, and what has parts that are not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from llvmlite.ir import instructions as kinds


def module_text(module: ir.Module) -> str:
    """The text of a module, without what tells its name and target."""
    if module.metadata or module.namedmetadata or module.get_identified_types():
        return str(module)
    return "\n".join(map(value_text, module.global_values))


def value_text(value: ir.GlobalValue) -> str:
    """The text of a function or a global variable."""
    if not isinstance(value, ir.Function) or value.is_declaration:
        return str(value)
    lines: list[str] = []
    value.descr_prototype(lines)
    lines.append("{")
    for block in value.blocks:
        lines.append(f"{block.get_reference()[1:]}:")
        for instruction in block.instructions:
            write = _WRITERS.get(type(instruction), str)
            lines.append(str(instruction) if instruction.metadata else write(instruction))
    lines.append("}\n")
    return "\n".join(lines)


def _typed(value: Any) -> str:
    return f"{value.type} {value.get_reference()}"


def _operation(item: Any) -> str:
    operands = ", ".join([operand.get_reference() for operand in item.operands])
    name = " ".join([item.opname, *item.flags]) if item.flags else item.opname
    return f"{item.get_reference()} = {name} {item.type} {operands}"


def _load(item: Any) -> str:
    place = _typed(item.operands[0])
    align = "" if item.align is None else f", align {item.align}"
    return f"{item.get_reference()} = load {item.type}, {place}{align}"


def _store(item: Any) -> str:
    value, place = item.operands
    align = "" if item.align is None else f", align {item.align}"
    return f"store {_typed(value)}, {_typed(place)}{align}"


def _address(item: Any) -> str:
    name = "getelementptr inbounds" if item.inbounds else "getelementptr"
    operands = ", ".join([_typed(operand) for operand in (item.pointer, *item.indices)])
    return f"{item.get_reference()} = {name} {item.source_etype}, {operands}"


def _phi(item: Any) -> str:
    pairs = [f"[{v.get_reference()}, {b.get_reference()}]" for v, b in item.incomings]
    name = " ".join(["phi", *item.flags])
    return f"{item.get_reference()} = {name} {item.type} {', '.join(pairs)}"


def _call(item: Any) -> str:
    type_ = item.callee.function_type
    if item.cconv or item.tail or item.attributes or item.arg_attributes or type_.var_arg:
        return str(item)
    if item.fastmath:
        return str(item)
    arguments = ", ".join([_typed(argument) for argument in item.args])
    text = f"call {type_.return_type} {item.callee.get_reference()}({arguments})"
    if isinstance(item.type, ir.VoidType):
        return text
    return f"{item.get_reference()} = {text}"


def _with_types(item: Any) -> str:
    operands = ", ".join([_typed(operand) for operand in item.operands])
    return f"{item.get_reference()} = {item.opname} {operands}"


def _select(item: Any) -> str:
    operands = ", ".join([_typed(operand) for operand in item.operands])
    name = " ".join([item.opname, *item.flags])
    return f"{item.get_reference()} = {name} {operands}"


def _comparison(item: Any) -> str:
    left, right = item.operands
    name = " ".join([item.opname, *item.flags, item.op])
    return f"{item.get_reference()} = {name} {_typed(left)}, {right.get_reference()}"


_WRITERS: dict[type, Callable[[Any], str]] = {
    kinds.Instruction: _operation,
    kinds.LoadInstr: _load,
    kinds.StoreInstr: _store,
    kinds.GEPInstr: _address,
    kinds.PhiInstr: _phi,
    kinds.CallInstr: _call,
    kinds.InsertElement: _with_types,
    kinds.ShuffleVector: _with_types,
    kinds.SelectInstr: _select,
    kinds.ICMPInstr: _comparison,
    kinds.FCMPInstr: _comparison,
}
