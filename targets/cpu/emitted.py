"""Bodies written as LLVM instructions instead of Python, for kernels that need every register.

An emitted body has the calling convention of a lowered one: the item's number, a pointer and
the extents for each operand, then the scalars. It may finish rectangles of its output, seen
as a matrix, one after the other, and call what follows it (a fused group's elementwise
members) on each while it is in the nearest cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from ...ir import Call, Extent

I64 = ir.IntType(64)
POINTER = ir.PointerType()

# Writes the body into the function it is given; ``finish(builder, row, rows, column, columns)``
# emits what is to happen to a finished rectangle of the output.
Finish = Callable[[ir.IRBuilder, ir.Value, int, ir.Value, int], None]
Write = Callable[[ir.Function, Finish], None]


@dataclass(frozen=True)
class EmittedBody:
    """One generated kernel.

    ``key`` says everything that ``write`` depends on. ``columns`` is the row length of the
    output matrix whose rectangles the body finishes. ``operands`` counts its own operands;
    those of ``tail`` follow them.
    """

    name: str
    key: tuple[object, ...]
    operands: int
    columns: Extent
    write: Write = field(compare=False)
    tail: Call | None = None

    continuable = True

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, *arguments: Any) -> int:
        """Emitted bodies run compiled only."""
        raise TypeError(f"{self.name} is LLVM code; plain Python cannot run it")


def emit_body(
    body: EmittedBody,
    name: str,
    operands: Sequence[tuple[str, int]],
    scalars: Sequence[ir.Type],
    tail_name: str | None,
) -> str:
    """The text of a module that defines ``body`` as the function ``name``."""
    module = ir.Module(name)
    types: list[ir.Type] = [I64]
    for _, rank in operands:
        types += [POINTER, *([I64] * rank)]
    function = ir.Function(module, ir.FunctionType(I64, [*types, *scalars]), name)
    first = 1 + sum(1 + rank for _, rank in operands[: body.operands])
    forwarded = function.args[first:]
    tail = None
    if tail_name is not None:
        # The tail takes an unused item, its operands, the rectangle, then its own scalars.
        own_types = [argument.type for argument in forwarded]
        cut = len(own_types) - len(scalars)
        tail_types = [I64, *own_types[:cut], I64, I64, I64, I64, *own_types[cut:]]
        tail = ir.Function(module, ir.FunctionType(I64, tail_types), tail_name)

    def finish(
        builder: ir.IRBuilder, row: ir.Value, rows: int, column: ir.Value, columns: int
    ) -> None:
        if tail is None:
            return
        cut = len(forwarded) - len(scalars)
        place = [row, ir.Constant(I64, rows), column, ir.Constant(I64, columns)]
        zero = ir.Constant(I64, 0)
        builder.call(tail, [zero, *forwarded[:cut], *place, *forwarded[cut:]])

    body.write(function, finish)
    return str(module)
