"""Fused elementwise groups as one generated loop nest.

A group's members become one readable Python function: rows of the output are walked, each
row's operands are located once, and the innermost loop runs over contiguous elements, so
that LLVM vectorises it. The same function, run over a chunk of rows, finishes what an anchor
(a convolution, say) has just left in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir import Call, Extent, Graph, ModelError, Node, TensorType, Value, View
from ...ir.data_type import kind_of
from ...ir.dim import ceil_divide, product
from ...ir.node import PARAMETER
from .conversion import computed_in, converter, stored
from .scalar_function import ScalarFunction

# Elements that one work item computes, so that items are worth handing to a thread.
_ITEM_ELEMENTS = 16384
# Parameters that say which part of the output a body computes.
_ROWS = ("rows", "total")
RECTANGLE = ("first_row", "rows", "first_column", "columns")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Output dimensions after merging, and which of them each operand has."""

    extents: tuple[Extent, ...]
    spans: tuple[tuple[bool, ...], ...]

    def stride(self, operand: int, axis: int) -> Extent:
        """Elements between neighbours of ``operand`` along ``axis``; 0 where it repeats."""
        if not self.spans[operand][axis]:
            return 0
        later = range(axis + 1, len(self.extents))
        return product(self.extents[d] for d in later if self.spans[operand][d])


def _merge(
    shape: Sequence[Extent], operands: Sequence[Sequence[Extent]], border: int
) -> tuple[_Layout, int]:
    """Merge neighbouring dimensions that all operands have, or lack, alike.

    Dimensions before ``border`` stay apart from the others; how many merged dimensions they
    make is given too.
    """
    extents: list[Extent] = []
    masks: list[tuple[bool, ...]] = []
    before = 0
    for axis, extent in enumerate(shape):
        if axis == border:
            before = len(extents)
        if extent == 1:
            continue
        mask = tuple(_has(operand, axis - len(shape)) for operand in operands)
        apart = axis >= border and len(extents) == before
        if extents and not apart and masks[-1] == mask:
            extents[-1] = extents[-1] * extent
        else:
            extents.append(extent)
            masks.append(mask)
    spans = tuple(tuple(mask[k] for mask in masks) for k in range(len(operands)))
    return _Layout(tuple(extents), spans), len(extents) if border >= len(shape) else before


def _has(shape: Sequence[Extent], position: int) -> bool:
    return len(shape) >= -position and shape[position] != 1


def elementwise_call(
    group: Graph,
    operands: Mapping[Value, int],
    output: int,
    in_place: int | None = None,
    chunk: Extent | None = None,
    rectangle: bool = False,
) -> Call:
    """The Call that computes a group of elementwise members.

    ``operands`` maps the group's inputs (and an anchor's value) to operand positions,
    ``output`` is the position of the result; ``in_place`` names the operand position whose
    memory the result takes over (it must have the output's type). With ``chunk``, item ``i``
    computes the elements ``i * chunk`` up to ``(i + 1) * chunk`` of the output. With
    ``rectangle``, the output is seen as a matrix of rows of ``chunk`` elements, and the body
    computes a rectangle of it: its first scalars are row, rows, column and columns.
    """
    result = group.outputs[0]
    type_ = group.type(result)
    used = list(operands)
    shapes = [group.type(value).shape for value in used]
    layout, inner = _rows(type_, shapes, chunk)
    row_size = product(layout.extents[inner:])
    total = product(layout.extents[:inner])
    rows = _rows_per_item(row_size) if chunk is None else chunk // row_size
    writer = _Writer(group, used, operands, in_place, layout, inner, rectangle)
    views = [View(operands[v], group.type(v).dtype, (group.type(v).size,)) for v in used]
    if in_place is None:
        views.append(View(output, type_.dtype, (type_.size,)))
    elif in_place not in operands.values():
        raise ModelError(f"operand {in_place} is not part of the group")
    body = writer.body()
    if rectangle:
        # The rectangle is what the caller says each time it calls the body.
        return Call(body, tuple(views), scalars=(*[0] * len(RECTANGLE), *writer.scalars))
    return Call(
        body,
        tuple(views),
        items=ceil_divide(total, rows),
        scalars=(rows, total, *writer.scalars),
        chunk=rows * row_size,
    )


def _rows_per_item(row_size: Extent) -> Extent:
    if isinstance(row_size, int):
        return max(1, _ITEM_ELEMENTS // max(row_size, 1))
    return 1


def _rows(
    type_: TensorType, shapes: Sequence[Sequence[Extent]], chunk: Extent | None
) -> tuple[_Layout, int]:
    """The merged layout, and the dimension from which on a row is contiguous."""
    if chunk is None:
        layout, _ = _merge(type_.shape, shapes, 0)
        rank = len(layout.extents)
        if rank <= 1:
            return layout, rank  # a row is one element; the loop over rows is the inner loop
        last = layout.extents[-1]
        narrow = isinstance(last, int) and last < 64
        return layout, max(rank - (2 if narrow else 1), 1)
    for axis in range(type_.rank + 1):
        if _is_multiple(chunk, product(type_.shape[axis:])):
            return _merge(type_.shape, shapes, axis)
    raise ModelError(f"items of {chunk} elements do not fit {type_}")


def _is_multiple(chunk: Extent, size: Extent) -> bool:
    if isinstance(size, int) and size == 0:
        return False
    quotient = chunk // size
    return quotient != 0 and quotient * size == chunk


class _Writer:
    """Writes the function of one group."""

    def __init__(
        self,
        group: Graph,
        used: Sequence[Value],
        operands: Mapping[Value, int],
        in_place: int | None,
        layout: _Layout,
        inner: int,
        rectangle: bool,
    ) -> None:
        self.group, self.used, self.layout, self.inner = group, used, layout, inner
        self.rectangle = rectangle
        self.target = "out" if in_place is None else ""
        for number, value in enumerate(used):
            if operands[value] == in_place:
                self.target = f"a{number}"
        self.names: dict[str, Any] = {}
        self.scalars: list[Extent | float] = []
        self.parameters: list[str] = []

    def body(self) -> Callable[..., Any]:
        """``body(item, operands..., [out,] place in the output..., extents and strides...)``."""
        lines = self._loops()
        tensors = [f"a{number}" for number in range(len(self.used))]
        if self.target == "out":
            tensors.append("out")
        place = RECTANGLE if self.rectangle else _ROWS
        header = ", ".join(["item", *tensors, *place, *self.parameters])
        source = "\n".join([f"def group({header}):", *lines, ""])
        namespace = dict(self.names)
        exec(compile(source, "<fused group>", "exec"), namespace)
        function: Callable[..., Any] = namespace["group"]
        function.__doc__ = source
        return function

    def _scalar(self, name: str, extent: Extent) -> str:
        if isinstance(extent, int) and extent == 1:
            return "1"
        if name not in self.parameters:
            self.parameters.append(name)
            self.scalars.append(extent)
        return name

    def _loops(self) -> list[str]:
        extents, inner = self.layout.extents, self.inner
        pad = "        "
        if self.rectangle:
            # Counts that the caller knows: from the difference of two bounds LLVM does not see
            # that a loop has exactly so many rounds.
            lines = ["    for down in range(rows):", f"{pad}row = first_row + down"]
        else:
            lines = ["    for row in range(item * rows, min(item * rows + rows, total)):"]
        rest = "row"
        indices = [f"i{axis}" for axis in range(len(extents))]
        for axis in range(inner - 1, 0, -1):
            size = self._scalar(f"n{axis}", extents[axis])
            lines.append(f"{pad}{indices[axis]} = {rest} % {size}")
            lines.append(f"{pad}rest{axis} = {rest} // {size}")
            rest = f"rest{axis}"
        if inner:
            lines.append(f"{pad}{indices[0]} = {rest}")
        row_size = product(extents[inner:])
        out_row = "row" if row_size == 1 else f"row * {self._scalar('row_size', row_size)}"
        places = {"out": out_row}
        for number in range(len(self.used)):
            if not self._is_full(number):
                places[f"a{number}"] = self._offset(number, range(inner), indices)
        for name, place in places.items():
            lines.append(f"{pad}{name}_row = {place}")
        loops = self._column_loops() if self.rectangle else self._inner_loops()
        for line in loops:
            lines.append(pad + line)
            pad += "    " if line.startswith("for") else ""
        at = {"out": self._output_place(indices)}
        for number in range(len(self.used)):
            # A full operand's place is written as the output's: where one is overwritten by
            # the other, LLVM must see that they are the same to vectorise the loop.
            at[f"a{number}"] = (
                at["out"]
                if self._is_full(number)
                else self._add(f"a{number}_row", number, range(inner, len(extents)), indices)
            )
        return lines + [pad + line for line in self._members(at)]

    def _is_full(self, number: int) -> bool:
        """True when the operand has all dimensions of the output."""
        return all(self.layout.spans[number])

    def _inner_loops(self) -> list[str]:
        """Loops over all of a row."""
        extents = self.layout.extents
        return [
            f"for i{axis} in range({self._scalar(f'n{axis}', extents[axis])}):"
            for axis in range(self.inner, len(extents))
        ]

    def _column_loops(self) -> list[str]:
        """One loop over columns of a row; a column's number gives the inner indices."""
        axes = list(range(self.inner, len(self.layout.extents)))
        loop = "for along in range(columns):"
        if len(axes) <= 1:
            return [loop, f"i{axes[0] if axes else ''} = first_column + along"]
        lines = [loop, "column = first_column + along"]
        rest = "column"
        for axis in reversed(axes[1:]):
            size = self._scalar(f"n{axis}", self.layout.extents[axis])
            lines.append(f"i{axis} = {rest} % {size}")
            lines.append(f"left{axis} = {rest} // {size}")
            rest = f"left{axis}"
        return [*lines, f"i{axes[0]} = {rest}"]

    def _offset(self, number: int, axes: range, indices: Sequence[str]) -> str:
        terms = []
        for axis in axes:
            stride = self.layout.stride(number, axis)
            if stride == 0:
                continue
            factor = self._scalar(f"s{number}_{axis}", stride)
            terms.append(indices[axis] if factor == "1" else f"{indices[axis]} * {factor}")
        return " + ".join(terms) or "0"

    def _add(self, base: str, number: int, axes: range, indices: Sequence[str]) -> str:
        offset = self._offset(number, axes, indices)
        return base if offset == "0" else f"{base} + {offset}"

    def _output_place(self, indices: Sequence[str]) -> str:
        terms = ["out_row"]
        extents = self.layout.extents
        for axis in range(self.inner, len(extents)):
            stride = product(extents[axis + 1 :])
            factor = self._scalar(f"t{axis}", stride)
            terms.append(indices[axis] if factor == "1" else f"{indices[axis]} * {factor}")
        return " + ".join(terms)

    def _members(self, at: Mapping[str, str]) -> list[str]:
        lines: list[str] = []
        variables: dict[Value, str] = {}
        for number, value in enumerate(self.used):
            variables[value] = f"v{number}"
            lines.append(f"v{number} = a{number}[{at[f'a{number}']}]")
        for node in self.group.operators():
            if node.outputs[0] in variables:
                continue  # the anchor: its value is an operand here
            operands = [self._operand(value, variables) for value in node.operands]
            variables[node.outputs[0]] = f"t{len(variables)}_"
            lines.append(f"{variables[node.outputs[0]]} = {self._expression(node, operands)}")
        result = variables[self.group.outputs[0]]
        # The target holds the output's elements in row-major order, also when it is an operand.
        lines.append(f"{self.target}[{at['out']}] = {result}")
        return lines

    def _operand(self, value: Value, variables: dict[Value, str]) -> str:
        if value in variables:
            return variables[value]
        node = self.group.node(value.node)
        if node.op is not PARAMETER:
            raise ModelError(f"{node} is not an operand of the group")
        element = self.group.array(value).reshape(-1)[0]
        computing = computed_in(node.types[0].dtype)
        return self._constant(np.dtype(computing).type(element))

    def _constant(self, number: Any) -> str:
        name = f"c{len(self.names)}"
        self.names[name] = number
        return name

    def _expression(self, node: Node, operands: Sequence[str]) -> str:
        types = [self.group.type(value) for value in node.operands]
        if "cast" in node.op.traits:
            source, target = types[0].dtype, node.types[0].dtype
            expression = operands[0]
            for function in converter(source, target):
                expression = f"{self._function(function, computed_in(source))}({expression})"
            return expression
        computing = computed_in(_computing_type(types))
        kind = kind_of(computing)
        if kind not in node.op.scalars:
            raise ModelError(f"{node}: there is no scalar function for {computing}")
        arguments = list(operands)
        for value in node.attrs.values():
            arguments.append(
                repr(value) if isinstance(value, bool) else self._typed(value, computing)
            )
        scalar = self._function(node.op.scalars[kind], computing)
        result = self._function(stored(node.types[0].dtype), computing)
        return f"{result}({scalar}({', '.join(arguments)}))"

    def _typed(self, value: Any, computing: str) -> str:
        if not isinstance(value, (int, float)):
            raise ModelError(f"the attribute value {value!r} cannot be used in a scalar function")
        if isinstance(value, int) or math.isfinite(value) or kind_of(computing) == "float":
            return self._constant(np.dtype(computing).type(value))
        raise ModelError(f"{value!r} cannot be an attribute of an operator on {computing}")

    def _function(self, function: Any, computing: str) -> str:
        """The name under which the body calls a scalar function or type."""
        called = function if isinstance(function, type) else ScalarFunction(function, computing)
        for name, held in self.names.items():
            if type(held) is type(called) and held == called:
                return name
        name = f"f{len(self.names)}"
        self.names[name] = called
        return name


def _computing_type(types: Sequence[TensorType]) -> str:
    """The type that literals and attributes take: the first operand that is not a condition."""
    return next((t.dtype for t in types if t.dtype != "bool"), "bool")
