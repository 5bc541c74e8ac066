"""Generated code in two texts: what LLVM is to optimise, and what is written as it should be.

LLVM's standard pipeline turns loops that were written in Python into good ones. Register tiles
and what goes through them gain nothing from it, and are most of the instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from .printed import module_text, value_text


@dataclass(frozen=True, slots=True)
class Texts:
    """LLVM IR of two modules that belong together; "" for one without definitions."""

    raw: str = ""
    finished: str = ""


def divided(module: ir.Module, is_raw: Callable[[ir.Function], bool]) -> Texts:
    """The module with the raw ones of its functions apart; global variables are with the others.

    Where both texts have functions all of them are visible from outside, because they call
    each other.
    """
    defined = [item for item in module.functions if not item.is_declaration]
    raw = [item for item in defined if is_raw(item)]
    if not raw:
        return Texts(finished=module_text(module))
    if len(raw) == len(module.global_values):
        return Texts(raw=module_text(module))
    finished = [item for item in module.global_values if item not in raw]
    elsewhere = [value_text(item) for item in module.functions if item.is_declaration]
    for function in defined:
        function.linkage = ""
        function.attributes.add("nounwind")
    rest = [item for item in defined if item not in raw]
    return Texts(
        "\n".join([*elsewhere, *map(_declaration, rest), *map(value_text, raw)]),
        "\n".join([*map(_declaration, raw), *map(value_text, finished)]),
    )


def _declaration(function: ir.Function) -> str:
    types = ", ".join(str(argument.type) for argument in function.args)
    return f'declare {function.ftype.return_type} @"{function.name}"({types}) nounwind'


def called(function: ir.Function) -> set[str]:
    """Names of the functions that one calls; "" stands for those that have none."""
    calls = (
        instruction.callee
        for block in function.blocks
        for instruction in block.instructions
        if isinstance(instruction, ir.CallInstr)
    )
    return {callee.name if isinstance(callee, ir.Function) else "" for callee in calls}


def is_leaf(function: ir.Function) -> bool:
    """True for a local function that is not to be inlined and only computes."""
    if function.linkage != "internal" or "noinline" not in function.attributes:
        return False
    return all(name.startswith("llvm.") for name in called(function))
