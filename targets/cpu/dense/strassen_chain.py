"""Emits chains of register tiles for :mod:`.strassen_writer`: products whose sums are shared."""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir

from ..constants import zeros
from ..spatial.loops import for_each, repeat
from .epilogue import Epilogue
from .fetch import Share
from .strassen_plan import BLOCK, StrassenPlan
from .tile import (
    Accumulators,
    Shape,
    add_tile,
    address,
    constant,
    emit_tile,
    load_tile,
    store_tile,
    sum_of_tiles,
)

POINTER = ir.PointerType()
# Of each product: the packed quarter of the weights, and which one is subtracted from it; they
# are B11, T2, B21 and B22.
_PANELS: tuple[tuple[int, int | None], ...] = (
    (0, None),
    (2, None),
    (1, None),
    (1, 0),
    (3, 1),
    (2, 1),
    (3, None),
)
# Of each chain: its products, and how many quarters of the result it gives.
CHAINS: tuple[tuple[tuple[int, ...], int], ...] = (((0, 1), 1), ((2, 3, 5), 1), ((4, 6), 2))
KEPT = 3
_UNROLL = 1


class Kind(NamedTuple):
    """Whether sums start from nothing, and whether they are finished; None where both occur."""

    starts: bool | None
    ends: bool | None


class Chain:
    """One chain of tiles, a function.

    Arguments: the packed rows, the packed quarters, kept tiles, where each result is written (the
    sums under way, or the product where it ends) and the sums it is added to; then a residual for
    each, the bias, and what to fetch, if there are such. Last come one flag whether the sums
    start and one whether they end, which decide where the kind does not: chains of many kinds
    would take a third of a network's compile time.
    """

    def __init__(
        self,
        plan: StrassenPlan,
        epilogue: Epilogue,
        number: int,
        height: int,
        columns: int,
        kind: Kind,
        ahead_step: int,
        adds: bool,
    ) -> None:
        self.plan, self.epilogue, self.number, self.columns = plan, epilogue, number, columns
        self.kind, self.ahead_step, self.adds = kind, ahead_step, adds
        self.shape = Shape(height, plan.panel // plan.width, plan.width)
        self.products, self.count = CHAINS[number]

    def function(self, caller: ir.Function) -> ir.Function:
        """The function, of the module of ``caller``, which is the only one that has it."""
        module: Any = caller.module
        shape = self.shape
        name = f"{caller.name}.chain{self.number}.{shape.rows}x{self.columns}"
        if name in module.globals:
            return module.globals[name]
        adds = self.count if self.adds else 0
        biased = self.epilogue.biased
        count = 3 + 2 * self.count + adds + biased + 1
        function = _local_function(module, name, count, flags=2)
        for argument in function.args[:3]:
            argument.add_attribute("noalias")
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.factors, self.panels, self.kept, *more, self.starts, self.ends = function.args
        self.targets, more = more[: self.count], more[self.count :]
        self.sources, more = more[: self.count], more[self.count :]
        self.residuals, more = more[:adds], more[adds:]
        self.fetched = more.pop()
        self.bias = more.pop() if biased else None
        self._write()
        return function

    def _write(self) -> None:
        """P1, P1 + P6 and P1 + P6 + P7 are kept for the chains that follow."""
        if self.number == 0:
            acc = self._product(0, None)
            self._keep(0, acc)
            self._result(0, self._product(1, acc))
        elif self.number == 1:
            acc = self._product(2, self._load_kept(0))
            self._keep(1, acc)
            acc = self._product(3, acc)
            self._keep(2, acc)
            self._result(0, self._product(5, acc))
        else:
            acc = self._product(4, None)
            self._result(0, self._sum(acc, self._load_kept(2)))
            self._result(1, self._product(6, self._sum(acc, self._load_kept(1))))
        self.builder.ret_void()

    def _product(self, number: int, start: Accumulators | None) -> Accumulators:
        """One product, added to ``start``; each block of steps fetches some weights."""
        builder, plan, shape = self.builder, self.plan, self.shape
        vectors = shape.vectors
        if start is None:
            start = [[zeros(plan.width)] * vectors for _ in range(shape.rows)]
        size = plan.depth * plan.panel
        panel, other = _PANELS[number]
        less = None if other is None else (other - panel) * size
        places = [
            address(builder, self.factors, number * plan.factor_size),
            address(builder, self.panels, panel * size),
            address(builder, self.fetched, number * plan.depth * self.ahead_step),
        ]
        sizes = [plan.heights[0] * BLOCK, BLOCK * plan.panel, BLOCK * self.ahead_step]

        def steps(count: int, at: list[ir.Value], flat: list[ir.Value]) -> list[ir.Value]:
            acc = [flat[k : k + vectors] for k in range(0, len(flat), vectors)]
            share = Share(at[2], constant(4 * self.ahead_step))
            acc = emit_tile(
                builder, at[0], at[1], count, shape, BLOCK, 1, plan.panel, acc, share, _UNROLL, less
            )
            return [value for row in acc for value in row]

        def block(_: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            at, flat = carried[: len(places)], carried[len(places) :]
            flat = steps(BLOCK, at, flat)
            moved = [address(builder, place, size) for place, size in zip(at, sizes, strict=True)]
            return [*moved, *flat]

        carried = [*places, *(value for row in start for value in row)]
        whole, rest = divmod(plan.depth, BLOCK)
        if whole:
            carried = repeat(builder, whole, carried, block)
        flat = carried[len(places) :]
        if rest:
            flat = steps(rest, carried, flat)
        return [flat[k : k + vectors] for k in range(0, len(flat), vectors)]

    def _place(self, number: int) -> ir.Value:
        return address(self.builder, self.kept, number * self.plan.heights[0] * self.plan.panel)

    def _keep(self, number: int, acc: Accumulators) -> None:
        panel = self.plan.panel
        store_tile(self.builder, acc, self._place(number), self.shape, panel, panel)

    def _load_kept(self, number: int) -> Accumulators:
        panel = self.plan.panel
        return load_tile(self.builder, self._place(number), self.shape, panel, panel)

    def _sum(self, left: Accumulators, right: Accumulators) -> Accumulators:
        return sum_of_tiles(self.builder, left, right)

    def _result(self, number: int, acc: Accumulators) -> None:
        """Add what there is of the sum, finish it if nothing more comes, and write it."""
        builder, shape, panel = self.builder, self.shape, self.plan.panel
        if self.kind.starts is None:
            acc = self._added_if_it_goes_on(number, acc)
        elif not self.kind.starts:
            acc = add_tile(builder, acc, self.sources[number], shape, panel, panel)
        if self.kind.ends is None:
            with builder.if_else(self.ends) as (then, otherwise):
                with then:
                    self._finish(number, acc)
                with otherwise:
                    store_tile(builder, acc, self.targets[number], shape, panel, panel)
        elif self.kind.ends:
            self._finish(number, acc)
        else:
            store_tile(builder, acc, self.targets[number], shape, panel, panel)

    def _added_if_it_goes_on(self, number: int, acc: Accumulators) -> Accumulators:
        """The accumulators plus the sums so far, if they do not start here."""
        builder, shape, panel = self.builder, self.shape, self.plan.panel
        before = builder.block
        with builder.if_then(builder.not_(self.starts)):
            total = add_tile(builder, acc, self.sources[number], shape, panel, panel)
            inside = builder.block
        merged = []
        for row, other in zip(acc, total, strict=True):
            values = []
            for first, added in zip(row, other, strict=True):
                value = builder.phi(first.type)
                value.add_incoming(first, before)
                value.add_incoming(added, inside)
                values.append(value)
            merged.append(values)
        return merged

    def _finish(self, number: int, acc: Accumulators) -> None:
        """What comes after the product, and its result."""
        builder, shape, columns, row = self.builder, self.shape, self.columns, self.plan.columns
        residual = self.residuals[number] if self.residuals else None
        acc = finished(builder, acc, self.epilogue, self.bias, residual, shape, row, columns)
        store_tile(builder, acc, self.targets[number], shape, row, columns)


def finished(
    builder: ir.IRBuilder,
    acc: Accumulators,
    epilogue: Epilogue,
    bias: ir.Value | None,
    residual: ir.Value | None,
    shape: Shape,
    row: int,
    columns: int,
) -> Accumulators:
    """A tile after the epilogue; ``row`` is the distance of the residual's rows."""
    if bias is not None:
        added = epilogue.start(builder, bias, columns, shape.width)
        added += [zeros(shape.width)] * (shape.vectors - len(added))
        acc = [[builder.fadd(a, b) for a, b in zip(values, added, strict=True)] for values in acc]
    if residual is not None:
        acc = add_tile(builder, acc, residual, shape, row, columns)
    return epilogue.end(builder, acc)


def shared_sum(
    caller: ir.Function, plan: StrassenPlan, epilogue: Epilogue, height: int, adds: bool
) -> ir.Function:
    """The function that adds a tile of C22, which is P5, to that of C12, and finishes it.

    Arguments: the result's tile, the sums C22, C12 and C21; then a residual and the bias, if
    there are such.
    """
    module: Any = caller.module
    name = f"{caller.name}.shared{height}"
    if name in module.globals:
        return module.globals[name]
    function = _local_function(module, name, 4 + adds + epilogue.biased)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    shape, panel = Shape(1, plan.panel // plan.width, plan.width), plan.panel
    out, own, above, before, *more = function.args
    bias = more.pop() if epilogue.biased else None

    def one(k: ir.Value) -> None:
        far, near = (builder.mul(k, constant(row)) for row in (plan.columns, panel))
        residual = address(builder, more[0], far) if more else None
        shared = load_tile(builder, address(builder, own, near), shape, panel, panel)
        other = address(builder, above, near)
        acc = add_tile(builder, shared, other, shape, panel, panel)
        store_tile(builder, acc, other, shape, panel, panel)
        acc = add_tile(builder, shared, address(builder, before, near), shape, panel, panel)
        acc = finished(builder, acc, epilogue, bias, residual, shape, plan.columns, panel)
        store_tile(builder, acc, address(builder, out, far), shape, plan.columns, panel)

    for_each(builder, height, one)
    builder.ret_void()
    return function


def _local_function(module: ir.Module, name: str, pointers: int, flags: int = 0) -> ir.Function:
    types = [POINTER] * pointers + [ir.IntType(1)] * flags
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function
