"""Products with a constant matrix: rows of activations times packed panels of weights.

The weights are packed once, when the graph is compiled: ``[panel][k][column in panel]``, the
last panel filled up with zeros. The activations are read in place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir

from ....ir import Array, Call, Cost, Extent, ModelError, Operand, TensorType
from ....ir.dim import ceil_divide, product
from ....ops.define import operator
from ..emitted import EmittedBody, Finish
from .epilogue import Epilogue, applied
from .fetch import Share, share_of, share_types, upcoming
from .tile import (
    Shape,
    add_tile,
    address,
    constant,
    counted_loop,
    emit_tile,
    end_loop,
    intrinsic,
    largest_rows,
    store_tile,
)

I64 = ir.IntType(64)
POINTER = ir.PointerType()
# Panels of one work item: with all rows of a tile they are worth a few microseconds, and
# while all tiles go over them they stay in the second cache.
_ITEM_COLUMNS = 256
_ITEM_BYTES = 256 * 1024


def pack_columns(weights: Array, columns: int) -> Array:
    """``weights`` [K, N] as [panels, K, columns], zeros behind the last column.

    Where all panels are full that is the same memory, which whoever needs it in order copies.
    """
    inner, total = weights.shape
    panels = -(-total // columns)
    if total % columns:
        padded = np.zeros((inner, panels * columns), weights.dtype)
        padded[:, :total] = weights
        weights = padded
    return weights.reshape(inner, panels, columns).transpose(1, 0, 2)


def panel_columns(rows: Extent, total: int, width: int) -> int:
    """Columns of a panel: few vectors when many rows share them, many for single rows."""
    if isinstance(rows, int) and rows <= 2:
        return min(8, -(-total // width)) * width
    if isinstance(rows, int) and rows <= 6:
        return min(4, -(-total // width)) * width
    return min(2, -(-total // width)) * width


@operator(name="cpu_packed_matmul", traits=("dot",))
def packed_matmul(
    x: Array,
    packed: Array,
    bias: Array | None = None,
    ahead: Array | None = None,
    residual: Array | None = None,
    *,
    columns: int,
    width: int,
    low: float = -math.inf,
    high: float = math.inf,
) -> Array:
    """``x`` [..., K] times a matrix [K, columns] that is packed in panels.

    ``bias``, ``residual``, ``low`` and ``high`` are the epilogue (see :mod:`.epilogue`),
    ``ahead`` weights that are needed next (see :mod:`.read_ahead`).
    """
    panels, inner, panel = packed.shape
    weights = packed.transpose(1, 0, 2).reshape(inner, panels * panel)[:, :columns]
    return applied(x @ weights, bias, low, high, residual)


@packed_matmul.infer
def _(
    x: TensorType,
    packed: TensorType,
    bias: TensorType | None = None,
    ahead: TensorType | None = None,
    residual: TensorType | None = None,
    *,
    columns: int,
    width: int,
    low: float,
    high: float,
) -> TensorType:
    if x.rank < 1 or packed.rank != 3 or x.shape[-1] != packed.shape[1]:
        raise ModelError(f"packed product of {x} and {packed}")
    if bias is not None and bias.shape != (columns,):
        raise ModelError(f"packed product with {columns} columns and a bias {bias}")
    out = x.with_shape((*x.shape[:-1], columns))
    if residual is not None and residual != out:
        raise ModelError(f"packed product {out} and a residual {residual}")
    return out


@packed_matmul.cost
def _(
    x: TensorType,
    packed: TensorType,
    bias: TensorType | None = None,
    ahead: TensorType | None = None,
    residual: TensorType | None = None,
    *,
    columns: int,
    width: int,
    low: float,
    high: float,
) -> Cost:
    out = product(x.shape[:-1]) * columns
    added = 0 if residual is None else out
    return Cost(2 * out * x.shape[-1] + added, x.nbytes + packed.nbytes + 4 * (out + added))


@packed_matmul.kernel
def _(
    x: Operand,
    packed: Operand,
    bias: Operand | None,
    ahead: Operand | None,
    residual: Operand | None,
    out: Operand,
    *,
    columns: int,
    width: int,
    low: float,
    high: float,
) -> Call:
    rows = product(x.shape[:-1])
    panels, inner, panel = (int(extent) for extent in packed.type.static_shape)
    added = (bias, ahead, residual)
    more = tuple(operand.flat() for operand in added if operand is not None)
    writer = _Writer(
        rows, inner, columns, panels, Shape(0, panel // width, width),
        Epilogue(bias is not None, low, high), ahead is not None, residual is not None,
    )  # fmt: skip
    return Call(
        EmittedBody("packed_matmul", writer.key, 3 + len(more), columns, writer.write),
        (x.view(rows, inner), packed.flat(), out.view(rows, columns), *more),
        items=writer.items,
    )


class _Writer:
    """Emits one packed product."""

    def __init__(
        self,
        rows: Extent,
        inner: int,
        columns: int,
        panels: int,
        shape: Shape,
        epilogue: Epilogue,
        ahead: bool,
        adds: bool,
    ) -> None:
        self.rows, self.inner, self.columns, self.panels = rows, inner, columns, panels
        self.epilogue, self.ahead, self.adds = epilogue, ahead, adds
        self.bias: ir.Value | None = None
        self.residual: ir.Value | None = None
        self.weights: tuple[ir.Value, ...] = ()
        self.vectors, self.width = shape.vectors, shape.width
        most = largest_rows(self.width, self.vectors)
        if isinstance(rows, int) and rows:
            most = -(-rows // -(-rows // most))  # tiles of about equal height
        self.height = most
        fitting = _ITEM_BYTES // (4 * inner * shape.columns)
        self.group = max(1, min(_ITEM_COLUMNS // shape.columns, fitting))
        self.groups = -(-panels // self.group)

    @property
    def key(self) -> tuple[object, ...]:
        """Everything that the code depends on; an open number of rows is an argument."""
        rows = self.rows if isinstance(self.rows, int) else "open"
        sizes = (rows, self.inner, self.columns, self.panels, self.vectors, self.width)
        return (*sizes, self.epilogue, self.ahead, self.adds)

    @property
    def items(self) -> Extent:
        """Row tiles by groups of panels."""
        return ceil_divide(self.rows, self.height) * self.groups

    def write(self, function: ir.Function, finish: Finish) -> None:
        """The body: one row tile times one group of panels."""
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item, x, rows, _, packed, _, out = function.args[:7]
        tiles = builder.sdiv(builder.add(rows, constant(self.height - 1)), constant(self.height))
        more = function.args[9:]
        if self.epilogue.biased:
            self.bias, more = more[0], more[2:]
        if self.ahead:
            self.weights, more = (tiles, packed, *more[:2]), more[2:]
        if self.adds:
            self.residual = more[0]
        tile = builder.srem(item, tiles)
        group = builder.sdiv(item, tiles)
        row = builder.mul(tile, constant(self.height))
        left = builder.sub(rows, row)
        done = function.append_basic_block("done")
        full = function.append_basic_block("full")
        partial = function.append_basic_block("partial")
        builder.cbranch(builder.icmp_signed(">=", left, constant(self.height)), full, partial)
        builder.position_at_end(full)
        self._row_tile(builder, finish, x, packed, out, row, self.height, group)
        builder.branch(done)
        builder.position_at_end(partial)
        self._partial(builder, finish, x, packed, out, row, left, group)
        builder.branch(done)
        ir.IRBuilder(done).ret(constant(0))

    def _partial(
        self,
        builder: ir.IRBuilder,
        finish: Finish,
        x: ir.Value,
        packed: ir.Value,
        out: ir.Value,
        row: ir.Value,
        left: ir.Value,
        group: ir.Value,
    ) -> None:
        """Rows that do not fill a tile: one lower tile, or powers of two when they are open."""
        if isinstance(self.rows, int):
            rest = self.rows % self.height
            if rest:
                self._row_tile(builder, finish, x, packed, out, row, rest, group)
            return
        height = 1 << max(self.height - 1, 1).bit_length() - 1
        while height:
            if height < self.height:
                run = builder.append_basic_block(f"rows{height}")
                skip = builder.append_basic_block(f"not{height}")
                bit = builder.and_(left, constant(height))
                before = builder.block
                builder.cbranch(builder.icmp_signed("!=", bit, constant(0)), run, skip)
                builder.position_at_end(run)
                self._row_tile(builder, finish, x, packed, out, row, height, group)
                moved = builder.add(row, constant(height))
                inside = builder.block
                builder.branch(skip)
                builder.position_at_end(skip)
                following = builder.phi(I64)
                following.add_incoming(row, before)
                following.add_incoming(moved, inside)
                row = following
            height //= 2

    def _row_tile(self, builder: ir.IRBuilder, finish: Finish, x: ir.Value, packed: ir.Value,
                  out: ir.Value, row: ir.Value, height: int, group: ir.Value) -> None:  # fmt: skip
        """All panels of a group for ``height`` rows; the very last panel may be narrower."""
        a = address(builder, x, builder.mul(row, constant(self.inner)))
        c = address(builder, out, builder.mul(row, constant(self.columns)))
        size = self.vectors * self.width
        first = builder.mul(group, constant(self.group))
        whole = self.columns // size
        limit = self._minimum(builder, builder.add(first, constant(self.group)), constant(whole))
        count = builder.sub(limit, first)
        some = builder.append_basic_block("panels")
        none = builder.append_basic_block("no_panels")
        builder.cbranch(builder.icmp_signed(">", count, constant(0)), some, none)
        builder.position_at_end(some)
        number, head, after = counted_loop(builder, count, "panel")
        panel = builder.add(first, number)
        self._panel(builder, finish, a, packed, c, row, height, panel, size)
        end_loop(builder, number, count, head, after)
        builder.branch(none)
        builder.position_at_end(none)
        if self.columns % size:
            run = builder.append_basic_block("last_panel")
            skip = builder.append_basic_block("no_last_panel")
            last = builder.icmp_signed("==", group, constant(self.groups - 1))
            builder.cbranch(last, run, skip)
            builder.position_at_end(run)
            self._panel(
                builder, finish, a, packed, c, row, height, constant(whole), self.columns % size
            )
            builder.branch(skip)
            builder.position_at_end(skip)

    def _panel(
        self,
        builder: ir.IRBuilder,
        finish: Finish,
        a: ir.Value,
        packed: ir.Value,
        c: ir.Value,
        row: ir.Value,
        height: int,
        panel: ir.Value,
        columns: int,
    ) -> None:
        size = self.vectors * self.width
        b = address(builder, packed, builder.mul(panel, constant(self.inner * size)))
        column = builder.mul(panel, constant(size))
        tile = self._tile_function(builder, height, columns)
        more: list[ir.Value] = []
        if self.bias is not None:
            more.append(address(builder, self.bias, column))
        if self.residual is not None:
            start = builder.mul(row, constant(self.columns))
            more.append(address(builder, address(builder, self.residual, start), column))
        if self.ahead:
            tiles, packed_all, *ahead = self.weights
            group_size = self.group * self.inner * size
            group = builder.sdiv(panel, constant(self.group))
            coming = upcoming(
                builder, packed_all, group, self.groups, group_size, (ahead[0], ahead[1])
            )
            number = builder.srem(panel, constant(self.group))
            number = builder.add(
                builder.mul(number, tiles), builder.sdiv(row, constant(self.height))
            )
            every = builder.mul(tiles, constant(self.group))
            more += share_of(builder, coming, number, every, self.inner).arguments
        builder.call(tile, [a, b, address(builder, c, column), *more])
        finish(builder, row, height, column, columns)

    def _tile_function(self, builder: ir.IRBuilder, height: int, columns: int) -> ir.Function:
        """One register tile as a function of its own; inlined tiles are slower."""
        module: Any = builder.module
        name = f"{builder.function.name}.tile{height}x{columns}"
        if name in module.globals:
            return module.globals[name]
        types = [POINTER] * (3 + self.epilogue.biased + self.adds)
        types += share_types() if self.ahead else []
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        for argument in function.args[:3]:
            argument.add_attribute("noalias")
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        vectors = -(-columns // self.width)
        shape = Shape(height, vectors, self.width)
        step = self.vectors * self.width
        a, b, c, *more = function.args
        bias = more.pop(0) if self.epilogue.biased else None
        residual = more.pop(0) if self.adds else None
        starts = [self.epilogue.start(inside, bias, columns, self.width)] * height
        share = Share(*more) if more else None
        acc = emit_tile(inside, a, b, self.inner, shape, self.inner, 1, step, starts, share)
        if residual is not None:
            acc = add_tile(inside, acc, residual, shape, self.columns, columns)
        store_tile(inside, self.epilogue.end(inside, acc), c, shape, self.columns, columns)
        inside.ret_void()
        return function

    @staticmethod
    def _minimum(builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
        smin = intrinsic(builder.module, "llvm.smin.i64", ir.FunctionType(I64, [I64, I64]))
        return builder.call(smin, [left, right])
