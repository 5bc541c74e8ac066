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

from ...ir import Call, Extent, View
from .texts import Texts, divided, is_leaf

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


@dataclass(frozen=True, slots=True)
class Part:
    """A Call whose body a composed one may run, and that body's function."""

    function: ir.Function
    call: Call

    def run(
        self,
        builder: ir.IRBuilder,
        item: ir.Value,
        pointer: Callable[[View], ir.Value],
        extent: Callable[[Extent], ir.Value],
    ) -> None:
        """Run one item; what is given tells an operand's place and an extent's value."""
        arguments = [item]
        for view in self.call.operands:
            arguments += [pointer(view), *map(extent, view.shape)]
        for scalar in self.call.scalars:
            if isinstance(scalar, float):
                type_ = self.function.function_type.args[len(arguments)]
                arguments.append(ir.Constant(type_, scalar))
            else:
                arguments.append(extent(scalar))
        builder.call(self.function, arguments)


@dataclass(frozen=True)
class ComposedBody:
    """A generated kernel that runs items of other Calls, which are its ``parts``.

    ``key`` says everything else that ``write`` depends on, the parts' extents and scalars
    included. The parts' own operands and numbers of items mean nothing here: ``write`` chooses
    what each is run with. Symbolic extents that it needs are scalars of the composed Call.
    """

    name: str
    key: tuple[object, ...]
    parts: tuple[Call, ...]
    write: Callable[[ir.Function, Sequence[Part]], None] = field(compare=False)

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, *arguments: Any) -> int:
        """Composed bodies run compiled only."""
        raise TypeError(f"{self.name} is LLVM code; plain Python cannot run it")


def emit_composed(
    body: ComposedBody,
    name: str,
    operands: Sequence[tuple[str, int]],
    scalars: Sequence[ir.Type],
    parts: Sequence[tuple[str, Sequence[tuple[str, int]], Sequence[ir.Type]]],
    is_raw: bool,
) -> Texts:
    """The modules that define ``body``; parts: name, operands and scalars of each.

    ``is_raw``: LLVM is to optimise it together with its parts.
    """
    module = ir.Module(name)
    function = ir.Function(module, _body_type(operands, scalars), name)
    found = []
    for call, (part, own_operands, own_scalars) in zip(body.parts, parts, strict=True):
        declared = module.globals.get(part)
        if declared is None:
            declared = ir.Function(module, _body_type(own_operands, own_scalars), part)
        found.append(Part(declared, call))
    body.write(function, found)
    return divided(module, lambda item: is_raw and not is_leaf(item))


def _body_type(operands: Sequence[tuple[str, int]], scalars: Sequence[ir.Type]) -> ir.FunctionType:
    types: list[ir.Type] = [I64]
    for _, rank in operands:
        types += [POINTER, *([I64] * rank)]
    return ir.FunctionType(I64, [*types, *scalars])


def emit_body(
    body: EmittedBody,
    name: str,
    operands: Sequence[tuple[str, int]],
    scalars: Sequence[ir.Type],
    tail_name: str | None,
) -> Texts:
    """The modules that define ``body`` as the function ``name``.

    LLVM is to optimise what calls the tail, whose loops become good ones only there.
    """
    module = ir.Module(name)
    function = ir.Function(module, _body_type(operands, scalars), name)
    function.attributes.add("alwaysinline")  # the kernel that calls it knows the extents
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
    return divided(module, lambda item: tail is not None and not is_leaf(item))
