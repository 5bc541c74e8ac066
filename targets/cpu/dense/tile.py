"""The register tile: a small product whose accumulators never leave the vector registers.

``acc[i][j] += a[i, k] * b[k, j]`` for a few rows ``i`` and a few vectors ``j`` of columns. One
element of ``a`` is broadcast to all lanes and multiplied with every vector of ``b``; with
enough accumulators the fused multiply-adds run at the processor's peak.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_UNROLL = 4


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
    """Rows that fit the registers: accumulators, the vectors of b, and one broadcast element."""
    registers = 32 if width >= 16 else 16
    return (registers - vectors - 1) // vectors


def address(builder: ir.IRBuilder, base: ir.Value, offset: int | ir.Value) -> ir.Value:
    """``base`` moved by ``offset`` floats."""
    if isinstance(offset, int):
        if offset == 0:
            return base
        offset = ir.Constant(I64, offset)
    return builder.gep(base, [offset], source_etype=F32)


def constant(value: int) -> ir.Constant:
    """A 64-bit constant."""
    return ir.Constant(I64, value)


def splat(builder: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
    """``value`` in all lanes."""
    vector = ir.VectorType(value.type, width)
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(I32, 0))
    lanes = ir.Constant(ir.VectorType(I32, width), [0] * width)
    return builder.shuffle_vector(one, undefined, lanes)


def intrinsic(module: ir.Module, name: str, type_: ir.FunctionType) -> ir.Function:
    """The declaration of an LLVM intrinsic."""
    return module.globals.get(name) or ir.Function(module, type_, name)


def emit_tile(
    builder: ir.IRBuilder,
    a: ir.Value,
    b: ir.Value,
    inner: int,
    shape: Shape,
    a_row: int,
    a_step: int,
    b_step: int,
    start: list[list[ir.Value]] | None = None,
) -> list[list[ir.Value]]:
    """Emit the tile's loop over ``inner`` steps; returns the accumulators by row and vector.

    ``a_row`` and ``a_step`` are the distances in floats between rows of ``a`` and between
    steps, ``b_step`` that between steps of ``b``, whose vectors are contiguous. ``start``
    are the accumulators' initial values, zero by default.
    """
    vector = ir.VectorType(F32, shape.width)
    fma = intrinsic(
        builder.module,
        f"llvm.fma.v{shape.width}f32",
        ir.FunctionType(vector, [vector, vector, vector]),
    )
    zero = ir.Constant(vector, None)
    acc = start or [[zero] * shape.vectors for _ in range(shape.rows)]

    def step(values: list[list[ir.Value]], at_a: ir.Value, at_b: ir.Value, number: int) -> None:
        vectors = [
            builder.load(
                address(builder, at_b, number * b_step + j * shape.width), typ=vector, align=4
            )
            for j in range(shape.vectors)
        ]
        for i in range(shape.rows):
            place = address(builder, at_a, i * a_row + number * a_step)
            element = splat(builder, builder.load(place, typ=F32, align=4), shape.width)
            for j in range(shape.vectors):
                values[i][j] = builder.call(fma, [element, vectors[j], values[i][j]])

    rounds, rest = divmod(inner, _UNROLL)
    if rounds:
        before = builder.block
        loop = builder.append_basic_block("steps")
        after = builder.append_basic_block("stepped")
        builder.branch(loop)
        builder.position_at_end(loop)
        count = builder.phi(I64)
        count.add_incoming(constant(0), before)
        at_a, at_b = builder.phi(a.type), builder.phi(b.type)
        at_a.add_incoming(a, before)
        at_b.add_incoming(b, before)
        phis = [[builder.phi(vector) for _ in row] for row in acc]
        for row, phi_row in zip(acc, phis, strict=True):
            for value, phi in zip(row, phi_row, strict=True):
                phi.add_incoming(value, before)
        acc = [list(row) for row in phis]
        for number in range(_UNROLL):
            step(acc, at_a, at_b, number)
        following = builder.add(count, constant(1))
        a, b = address(builder, at_a, _UNROLL * a_step), address(builder, at_b, _UNROLL * b_step)
        count.add_incoming(following, loop)
        at_a.add_incoming(a, loop)
        at_b.add_incoming(b, loop)
        for row, phi_row in zip(acc, phis, strict=True):
            for value, phi in zip(row, phi_row, strict=True):
                phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, constant(rounds)), loop, after)
        builder.position_at_end(after)
    else:
        acc = [list(row) for row in acc]
    for number in range(rest):
        step(acc, a, b, number)
    return acc


def load_tile(
    builder: ir.IRBuilder, c: ir.Value, shape: Shape, c_row: int, columns: int
) -> list[list[ir.Value]]:
    """The tile of memory at ``c``: ``columns`` of each row, other lanes zero."""
    vector = ir.VectorType(F32, shape.width)
    found = []
    for i in range(shape.rows):
        row = []
        for j in range(shape.vectors):
            place = address(builder, c, i * c_row + j * shape.width)
            lanes = min(columns - j * shape.width, shape.width)
            if lanes == shape.width:
                row.append(builder.load(place, typ=vector, align=4))
            else:
                row.append(_masked_load(builder, place, vector, lanes))
        found.append(row)
    return found


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


def _mask(width: int, lanes: int) -> ir.Constant:
    bit = ir.IntType(1)
    return ir.Constant(
        ir.VectorType(bit, width), [ir.Constant(bit, k < lanes) for k in range(width)]
    )


def masked_load_function(module: ir.Module, width: int) -> ir.Function:
    """LLVM's masked load of float vectors: pointer, alignment, mask, value of other lanes."""
    vector = ir.VectorType(F32, width)
    mask = ir.VectorType(ir.IntType(1), width)
    type_ = ir.FunctionType(vector, [ir.PointerType(), I32, mask, vector])
    return intrinsic(module, f"llvm.masked.load.v{width}f32.p0", type_)


def _masked_load(
    builder: ir.IRBuilder, place: ir.Value, vector: ir.VectorType, lanes: int
) -> ir.Value:
    if lanes <= 0:
        return ir.Constant(vector, None)
    function = masked_load_function(builder.module, vector.count)
    mask = _mask(vector.count, lanes)
    return builder.call(function, [place, ir.Constant(I32, 4), mask, ir.Constant(vector, None)])


def masked_store(builder: ir.IRBuilder, value: ir.Value, place: ir.Value, lanes: int) -> None:
    """Write the first ``lanes`` lanes of a vector."""
    width = value.type.count
    mask = ir.VectorType(ir.IntType(1), width)
    function = intrinsic(
        builder.module,
        f"llvm.masked.store.v{width}f32.p0",
        ir.FunctionType(ir.VoidType(), [value.type, ir.PointerType(), I32, mask]),
    )
    builder.call(function, [value, place, ir.Constant(I32, 4), _mask(width, lanes)])


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
