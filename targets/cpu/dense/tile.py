"""The register tile: a small product whose accumulators never leave the vector registers.

``acc[i][j] += a[i, k] * b[k, j]`` for a few rows ``i`` and a few vectors ``j`` of columns. One
element of ``a`` is broadcast to all lanes and multiplied with every vector of ``b``; with
enough accumulators the fused multiply-adds run at the processor's peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from ..constants import constant as constant
from ..constants import first_lane, floats, short, unset, zeros
from ..constants import lanes_mask as lanes_mask
from .fetch import Share, fetch, moved

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
# Multiply-adds of one round of a loop; more make more code and are no faster.
_ROUND = 16


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows and vectors of a tile, and lanes of a vector."""

    rows: int
    vectors: int
    width: int

    @property
    def columns(self) -> int:
        """Columns of a full tile."""
        return self.vectors * self.width


def largest_rows(width: int, vectors: int) -> int:
    """Rows that fit the registers: accumulators, the vectors of b, and one broadcast element.

    One row always does: its vectors of b are then operands in memory.
    """
    registers = 32 if width >= 16 else 16
    return max(1, (registers - vectors - 1) // vectors)


def address(builder: ir.IRBuilder, base: ir.Value, offset: int | ir.Value) -> ir.Value:
    """``base`` moved by ``offset`` floats."""
    if isinstance(offset, int):
        if offset == 0:
            return base
        offset = constant(offset)
    return builder.gep(base, [offset], source_etype=F32)


def splat(builder: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
    """``value`` in all lanes."""
    anything = unset(value.type, width)
    one = builder.insert_element(anything, value, short(0))
    return builder.shuffle_vector(one, anything, first_lane(width))


def intrinsic(module: ir.Module, name: str, type_: ir.FunctionType) -> ir.Function:
    """The declaration of an LLVM intrinsic."""
    return module.globals.get(name) or ir.Function(module, type_, name)


Accumulators = list[list[ir.Value]]


def emit_tile(
    builder: ir.IRBuilder,
    a: ir.Value,
    b: ir.Value,
    inner: int | ir.Value,
    shape: Shape,
    a_row: int,
    a_step: int,
    b_step: int,
    start: Accumulators | None = None,
    share: Share | None = None,
    unroll: int = 1,
    less: int | None = None,
    columns: Sequence[int] = (),
) -> Accumulators:
    """Emit the tile's loop over ``inner`` steps; returns the accumulators by row and vector.

    ``a_row`` and ``a_step`` are the distances in floats between rows of ``a`` and between
    steps, ``b_step`` that between steps of ``b``. Its vectors begin at ``columns``; by default
    they are contiguous. ``start`` are the accumulators' initial values, zero by default;
    ``share`` is fetched step by step. ``unroll`` is the least number of steps in a round of the
    loop. With ``less``, what lies so many floats from ``b`` is subtracted from it.
    """
    vector = floats(shape.width)
    fma = intrinsic(
        builder.module,
        f"llvm.fma.v{shape.width}f32",
        ir.FunctionType(vector, [vector, vector, vector]),
    )
    zero = zeros(shape.width)
    acc = start or [[zero] * shape.vectors for _ in range(shape.rows)]
    columns = columns or range(0, shape.columns, shape.width)

    def b_vector(at_b: ir.Value, offset: int) -> ir.Value:
        value = builder.load(address(builder, at_b, offset), typ=vector, align=4)
        if less is None:
            return value
        other = builder.load(address(builder, at_b, offset + less), typ=vector, align=4)
        return builder.fsub(value, other)

    def step(values: Accumulators, at: tuple[ir.Value, ...], number: int) -> None:
        at_a, at_b, *at_share = at
        if share is not None:
            here = Share(at_share[0], share.step)
            for _ in range(number):
                here = moved(builder, here)
            fetch(builder, here.pointer)
        vectors = [b_vector(at_b, number * b_step + column) for column in columns]
        for i in range(shape.rows):
            place = address(builder, at_a, i * a_row + number * a_step)
            element = splat(builder, builder.load(place, typ=F32, align=4), shape.width)
            for j in range(shape.vectors):
                values[i][j] = builder.call(fma, [element, vectors[j], values[i][j]])

    def loop(
        count: int | ir.Value, unroll: int, values: Accumulators, at: tuple[ir.Value, ...]
    ) -> tuple[Accumulators, tuple[ir.Value, ...]]:
        """``count`` rounds of ``unroll`` steps; a count that is a value may be zero."""
        before = builder.block
        body = builder.append_basic_block("steps")
        after = builder.append_basic_block("stepped")
        if isinstance(count, int):
            builder.branch(body)
        else:
            builder.cbranch(builder.icmp_signed(">", count, constant(0)), body, after)
        builder.position_at_end(body)
        number = builder.phi(I64)
        places = [builder.phi(pointer.type) for pointer in at]
        phis = [[builder.phi(vector) for _ in row] for row in values]
        current = [list(row) for row in phis]
        for k in range(unroll):
            step(current, tuple(places), k)
        following = builder.add(number, constant(1))
        onward: tuple[ir.Value, ...] = (
            address(builder, places[0], unroll * a_step),
            address(builder, places[1], unroll * b_step),
        )
        if share is not None:
            here = Share(places[2], share.step)
            for _ in range(unroll):
                here = moved(builder, here)
            onward = (*onward, here.pointer)
        number.add_incoming(constant(0), before)
        number.add_incoming(following, body)
        merged = [*places, *(phi for row in phis for phi in row)]
        firsts = [*at, *(value for row in values for value in row)]
        lasts = [*onward, *(value for row in current for value in row)]
        for phi, first, last in zip(merged, firsts, lasts, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(last, body)
        limit = constant(count) if isinstance(count, int) else count
        builder.cbranch(builder.icmp_signed("<", following, limit), body, after)
        builder.position_at_end(after)
        if isinstance(count, int):
            return current, onward
        results = []
        for first, last in zip(firsts, lasts, strict=True):
            result = builder.phi(first.type)
            result.add_incoming(first, before)
            result.add_incoming(last, body)
            results.append(result)
        rows = [
            results[len(at) + i * shape.vectors : len(at) + (i + 1) * shape.vectors]
            for i in range(shape.rows)
        ]
        return rows, tuple(results[: len(at)])

    place: tuple[ir.Value, ...] = (a, b) if share is None else (a, b, share.pointer)
    while unroll < 4 and unroll * shape.rows * shape.vectors < _ROUND:
        unroll *= 2
    if isinstance(inner, int):
        rounds, rest = divmod(inner, unroll)
        if rounds:
            acc, place = loop(rounds, unroll, acc, place)
        acc = [list(row) for row in acc]
        for k in range(rest):
            step(acc, place, k)
        return acc
    acc, place = loop(builder.lshr(inner, constant(unroll.bit_length() - 1)), unroll, acc, place)
    if unroll > 1:
        acc, _ = loop(builder.and_(inner, constant(unroll - 1)), 1, acc, place)
    return acc


def store_tile(
    builder: ir.IRBuilder,
    acc: list[list[ir.Value]],
    c: ir.Value,
    shape: Shape,
    c_row: int,
    columns: int,
) -> None:
    """Write ``columns`` columns of the accumulators to memory whose rows are ``c_row`` apart."""
    for i in range(shape.rows):
        for j in range(shape.vectors):
            place = address(builder, c, i * c_row + j * shape.width)
            lanes = min(columns - j * shape.width, shape.width)
            if lanes == shape.width:
                builder.store(acc[i][j], place, align=4)
            elif lanes > 0:
                masked_store(builder, acc[i][j], place, lanes)


def load_tile(
    builder: ir.IRBuilder, c: ir.Value, shape: Shape, c_row: int, columns: int
) -> Accumulators:
    """What lies in memory as `store_tile` writes it; zeros behind the last column."""

    def vector(i: int, j: int) -> ir.Value:
        lanes = min(columns - j * shape.width, shape.width)
        if lanes <= 0:
            return zeros(shape.width)
        place = address(builder, c, i * c_row + j * shape.width)
        return load_lanes(builder, place, shape.width, lanes)

    return [[vector(i, j) for j in range(shape.vectors)] for i in range(shape.rows)]


def sum_of_tiles(builder: ir.IRBuilder, left: Accumulators, right: Accumulators) -> Accumulators:
    """One tile plus another."""
    return [
        [builder.fadd(a, b) for a, b in zip(row, other, strict=True)]
        for row, other in zip(left, right, strict=True)
    ]


def add_tile(
    builder: ir.IRBuilder,
    acc: Accumulators,
    c: ir.Value,
    shape: Shape,
    c_row: int,
    columns: int,
) -> Accumulators:
    """The accumulators plus what lies in memory as `store_tile` writes it."""
    return sum_of_tiles(builder, acc, load_tile(builder, c, shape, c_row, columns))


def load_lanes(builder: ir.IRBuilder, place: ir.Value, width: int, lanes: int) -> ir.Value:
    """A vector of floats whose first ``lanes`` lanes are read, the others are zero."""
    if lanes == width:
        return builder.load(place, typ=floats(width), align=4)
    load = masked_load_function(builder.module, width)
    return builder.call(load, [place, short(4), lanes_mask(width, lanes), zeros(width)])


def masked_load_function(module: ir.Module, width: int) -> ir.Function:
    """LLVM's masked load of float vectors: pointer, alignment, mask, value of other lanes."""
    vector = floats(width)
    mask = ir.VectorType(ir.IntType(1), width)
    type_ = ir.FunctionType(vector, [ir.PointerType(), I32, mask, vector])
    return intrinsic(module, f"llvm.masked.load.v{width}f32.p0", type_)


def _masked_store_function(
    module: ir.Module, vector: ir.VectorType, mask: ir.VectorType
) -> ir.Function:
    name = f"llvm.masked.store.v{vector.count}f32.p0"
    type_ = ir.FunctionType(ir.VoidType(), [vector, ir.PointerType(), I32, mask])
    return intrinsic(module, name, type_)


def masked_store(builder: ir.IRBuilder, value: ir.Value, place: ir.Value, lanes: int) -> None:
    """Write the first ``lanes`` lanes of a vector."""
    width = value.type.count
    function = _masked_store_function(
        builder.module, value.type, ir.VectorType(ir.IntType(1), width)
    )
    builder.call(function, [value, place, short(4), lanes_mask(width, lanes)])


def counted_loop(
    builder: ir.IRBuilder, count: int | ir.Value, name: str
) -> tuple[ir.Value, ir.Block, ir.Block]:
    """Start ``for k in range(count)`` (count at least 1); returns k, the loop's head, its exit."""
    head = builder.append_basic_block(name)
    after = builder.append_basic_block(f"{name}_done")
    before = builder.block
    builder.branch(head)
    builder.position_at_end(head)
    number = builder.phi(I64, name)
    number.add_incoming(constant(0), before)
    return number, head, after


def end_loop(
    builder: ir.IRBuilder, number: ir.Value, count: int | ir.Value, head: ir.Block, after: ir.Block
) -> None:
    """End a loop that :func:`counted_loop` started."""
    following = builder.add(number, constant(1))
    number.add_incoming(following, builder.block)
    limit = constant(count) if isinstance(count, int) else count
    builder.cbranch(builder.icmp_signed("<", following, limit), head, after)
    builder.position_at_end(after)
