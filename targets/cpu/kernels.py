"""Calls as LLVM functions: constants folded in, symbolic extents as parameters.

A body is lowered once for its element types and ranks. Each distinct use of it becomes one
small LLVM function that knows the extents and scalars of that use, loops over the work items
and calls the body, which LLVM inlines and specialises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from ...compiler.code_digest import digest
from ...ir import Call, Extent, View
from ...ir.data_type import item_size
from ...ir.dim import Dim
from .emitted import ComposedBody, EmittedBody
from .extents import I64
from .parallel import JOB_TYPE

POINTER = ir.PointerType()
# Sums may be split over vector lanes and products and sums contracted; NaN stays NaN.
REASSOCIATE = frozenset({"reassoc", "contract", "nsz"})
STRICT: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class BodySignature:
    """What a body is lowered for: element types and ranks, and kinds of the scalars."""

    function: Callable[..., Any] | EmittedBody | ComposedBody = field(compare=False)
    name: str
    operands: tuple[tuple[str, int], ...]
    scalars: tuple[str, ...]
    literal_type: str | None
    fastmath: frozenset[str]
    tail: str | None = None
    parts: tuple[BodySignature, ...] = ()


@dataclass(frozen=True, slots=True)
class Kernel:
    """One LLVM function: ``i64 function(begin, end, operand pointers..., values of extents...)``.

    ``job`` does the same with its arguments in memory, eight bytes each: ``i64 job(arguments,
    begin, end)``. There are ``items`` work items.
    """

    function: ir.Function
    job: ir.Function
    extents: tuple[Dim, ...]
    items: Extent


class KernelSet:
    """The kernel functions of a module, one for each distinct use of a body."""

    def __init__(self, module: ir.Module) -> None:
        self._module = module
        self._kernels: dict[object, tuple[ir.Function, ir.Function]] = {}
        self.bodies: dict[str, BodySignature] = {}

    def kernel(self, calls: Sequence[Call], movement: bool) -> Kernel:
        """The function that runs ``calls`` item by item, one call after the other in an item.

        All have the same number of items. ``movement`` says that elements are only moved, so
        that one body serves all element types of a size.
        """
        extents = _Numbering()
        key = tuple(self._key(call, movement, extents) for call in calls)
        if key not in self._kernels:
            function = self._emit(calls, movement, extents)
            self._kernels[key] = function, self._emit_job(function)
        return Kernel(*self._kernels[key], tuple(extents.found), calls[0].items)

    def _key(self, call: Call, movement: bool, extents: _Numbering) -> object:
        body = self._body(call, movement)
        views = tuple((v.dtype, tuple(map(extents.number, v.shape))) for v in call.operands)
        scalars = tuple(s if isinstance(s, float) else extents.number(s) for s in call.scalars)
        return body.name, views, tuple(map(repr, scalars))

    def _body(self, call: Call, movement: bool) -> BodySignature:
        operands = tuple((_element(view, movement), len(view.shape)) for view in call.operands)
        scalars = tuple("float" if isinstance(s, float) else "int64" for s in call.scalars)
        fastmath = REASSOCIATE if call.reassociate else STRICT
        literal = None if movement else _computing_type(call)
        tail = None
        parts: tuple[BodySignature, ...] = ()
        if isinstance(call.body, ComposedBody):
            parts = tuple(self._body(part, movement) for part in call.body.parts)
            content = repr((call.body.key, [part.name for part in parts]))
        elif isinstance(call.body, EmittedBody):
            content = repr(call.body.key)
            if call.body.tail is not None:
                tail = self._body(call.body.tail, movement).name
        else:
            content = digest(call.body)
        text = repr((content, operands, scalars, literal, sorted(fastmath), tail))
        name = f"body_{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"
        if name not in self.bodies:
            self.bodies[name] = BodySignature(
                call.body, name, operands, scalars, literal, fastmath, tail, parts
            )
        return self.bodies[name]

    def _emit(self, calls: Sequence[Call], movement: bool, extents: _Numbering) -> ir.Function:
        pointers = sum(len(call.operands) for call in calls)
        parameters = [I64, I64] + [POINTER] * pointers + [I64] * len(extents.found)
        function = ir.Function(
            self._module,
            ir.FunctionType(I64, parameters),
            f"kernel_{len(self._kernels)}_{_readable(calls)}",
        )
        function.linkage = "internal"
        function.attributes.add("noinline")
        begin, end, *arguments = function.args
        values = dict(zip(extents.found, arguments[pointers:], strict=True))

        def value(extent: Extent) -> ir.Value:
            return values[extent] if isinstance(extent, Dim) else ir.Constant(I64, int(extent))

        entry = ir.IRBuilder(function.append_basic_block("entry"))
        done = function.append_basic_block("done")
        failed = function.append_basic_block("failed")
        loop = function.append_basic_block("item")
        latch = function.append_basic_block("next")
        zero, one = ir.Constant(I64, 0), ir.Constant(I64, 1)
        entry.cbranch(entry.icmp_signed(">", end, begin), loop, done)
        builder = ir.IRBuilder(loop)
        item = builder.phi(I64, "item")
        item.add_incoming(begin, entry.block)
        statuses = []
        for call in calls:
            taken, arguments = arguments[: len(call.operands)], arguments[len(call.operands) :]
            status = self._call(builder, call, movement, item, taken, value)
            after = function.append_basic_block("ok") if call is not calls[-1] else latch
            statuses.append((status, builder.block))
            builder.cbranch(builder.icmp_signed("==", status, zero), after, failed)
            builder.position_at_end(after)
        following = builder.add(item, one)
        item.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, end), loop, done)
        ir.IRBuilder(done).ret(zero)
        builder.position_at_end(failed)
        result = builder.phi(I64)
        for status, block in statuses:
            result.add_incoming(status, block)
        builder.ret(result)
        return function

    def _emit_job(self, kernel: ir.Function) -> ir.Function:
        """The kernel as a job of the thread pool."""
        function = ir.Function(self._module, JOB_TYPE, f"{kernel.name}_job")
        function.linkage = "internal"
        table, begin, end = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        loaded = [
            builder.load(
                builder.gep(table, [ir.Constant(I64, number)], source_etype=I64),
                typ=argument.type,
            )
            for number, argument in enumerate(kernel.args[2:])
        ]
        builder.ret(builder.call(kernel, [begin, end, *loaded]))
        return function

    def _call(
        self,
        builder: ir.IRBuilder,
        call: Call,
        movement: bool,
        item: ir.Value,
        pointers: Sequence[ir.Value],
        value: Callable[[Extent], ir.Value],
    ) -> ir.Value:
        body = self._body(call, movement)
        arguments: list[ir.Value] = [item]
        for view, pointer in zip(call.operands, pointers, strict=True):
            arguments += [pointer, *map(value, view.shape)]
        for scalar in call.scalars:
            if isinstance(scalar, float):
                arguments.append(ir.Constant(float_type(body.literal_type), scalar))
            else:
                arguments.append(value(scalar))
        return builder.call(self._declare(body, [a.type for a in arguments]), arguments)

    def _declare(self, body: BodySignature, types: Sequence[ir.Type]) -> ir.Function:
        if body.name in self._module.globals:
            return self._module.globals[body.name]
        return ir.Function(self._module, ir.FunctionType(I64, types), body.name)


class _Numbering:
    """Numbers distinct symbolic extents in order of appearance, so that equal uses are equal."""

    def __init__(self) -> None:
        self.found: list[Dim] = []

    def number(self, extent: Extent) -> int | str:
        if not isinstance(extent, Dim):
            return int(extent)
        if extent not in self.found:
            self.found.append(extent)
        return f"extent {self.found.index(extent)}"


def float_type(literal_type: str | None) -> ir.Type:
    """The LLVM type of float scalars: that of the computing type, double without one."""
    return ir.FloatType() if literal_type in ("float32", "float16", "bfloat16") else ir.DoubleType()


def scalar_types(body: BodySignature) -> list[ir.Type]:
    """LLVM types of a body's scalars."""
    return [I64 if kind == "int64" else float_type(body.literal_type) for kind in body.scalars]


def _computing_type(call: Call) -> str | None:
    """The type literals take; half types are computed in float32."""
    found = call.computing_type
    return "float32" if found in ("float16", "bfloat16") else found


_RAW = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64"}


def _element(view: View, movement: bool) -> str:
    if not movement:
        return view.dtype
    return _RAW[item_size(view.dtype)]


def _readable(calls: Sequence[Call]) -> str:
    """Names for people who read the module or a profile."""
    return "_".join(call.body.__name__.strip("_") for call in calls)
