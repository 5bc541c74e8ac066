"""Transposing blocks of memory through vector registers.

:func:`opweave.ops.strided_copy.transpose_block` in a body becomes a call of a function defined
here. Its tile reads 128-bit pieces of several rows into the 128-bit parts of a register; as many
registers as a piece has elements are transposed part by part, so that each of them becomes a run
of one column. Where a block has very few rows or columns that lie next to each other, whole
vectors are interleaved or taken apart instead.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from llvmlite import ir

from .spatial.loops import for_each

I32, I64, POINTER = ir.IntType(32), ir.IntType(64), ir.PointerType()
_PART_BITS = 128
# Tiles side by side in a row whose pieces share a line of the cache.
_TILES = 4
# Rows, or columns, that are interleaved.
_FEW = (2, 3)
_TYPE = ir.FunctionType(ir.VoidType(), [POINTER, I64, POINTER, I64, I64, I64])
_NAME = re.compile(r"transpose_block_of_(\d+)_bits")


def block_function(module: ir.Module, bits: int) -> ir.Function:
    """The declaration of the function for elements of so many bits.

    ``transpose_block(source, source_step, target, target_step, rows, columns)``.
    """
    name = f"transpose_block_of_{bits}_bits"
    return module.globals.get(name) or ir.Function(module, _TYPE, name)


def transposing_functions(texts: Iterable[str], vector_bits: int) -> dict[str, str]:
    """Modules that define the functions for blocks which these modules call, by their names."""
    found = {item.group(): int(item.group(1)) for text in texts for item in _NAME.finditer(text)}
    return {name: _function_text(found[name], vector_bits) for name in sorted(found)}


@functools.cache
def _function_text(bits: int, vector_bits: int) -> str:
    module = ir.Module(f"transpose_block_of_{bits}_bits")
    function = block_function(module, bits)
    function.args[0].add_attribute("noalias")
    function.args[2].add_attribute("noalias")
    writer = _Writer(function, bits, vector_bits)
    writer.write()
    return str(module)


class _Writer:
    """Emits the function for elements of one size."""

    def __init__(self, function: ir.Function, bits: int, vector_bits: int) -> None:
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.source, self.source_step, self.target, self.target_step = function.args[:4]
        self.rows, self.columns = function.args[4:]
        self.element = ir.IntType(bits)
        self.piece = _PART_BITS // bits  # elements of a piece, rows and columns of a tile's part
        self.parts = vector_bits // _PART_BITS
        self.align = bits // 8
        self.whole_lines = bits >= 32  # smaller elements would take too many registers

    def write(self) -> None:
        """Whichever way fits the block."""
        builder = self.builder
        few = [(count, self.rows, self.target_step, self._interleave) for count in _FEW] + [
            (count, self.columns, self.source_step, self._take_apart) for count in _FEW
        ]
        for number, extent, step, emit in few:
            is_few = builder.icmp_signed("==", extent, _number(number))
            is_dense = builder.icmp_signed("==", step, _number(number))
            with builder.if_then(builder.and_(is_few, is_dense)):
                emit(number)
                builder.ret_void()
        with builder.if_else(
            builder.and_(
                builder.icmp_signed(">=", self.rows, _number(self.piece)),
                builder.icmp_signed(">=", self.columns, _number(self.piece)),
            )
        ) as (large, small):
            with large:
                self._tiles()
            with small:
                self._elements(_number(0), _number(0))
        builder.ret_void()

    # --- tiles -----------------------------------------------------------------------------

    def _tiles(self) -> None:
        """Columns of tiles; the last one may overlap the one before."""
        builder, piece = self.builder, self.piece
        group = _TILES * piece
        groups = builder.sdiv(self.columns, _number(group))
        for_each(builder, groups, lambda k: self._column(builder.mul(k, _number(group)), _TILES))
        first = builder.mul(groups, _number(group))
        left = builder.sub(self.columns, first)
        has_group = builder.icmp_signed(">=", self.columns, _number(group))
        is_wide = builder.icmp_signed(">", left, _number(piece))
        with builder.if_else(builder.and_(has_group, is_wide)) as (wide, narrow):
            with wide:
                self._column(builder.sub(self.columns, _number(group)), _TILES)
            with narrow:
                rest = builder.sdiv(builder.add(left, _number(piece - 1)), _number(piece))
                last = builder.sub(self.columns, _number(piece))

                def single(number: ir.Value) -> None:
                    column = builder.add(first, builder.mul(number, _number(piece)))
                    self._column(self._smaller(column, last), 1)

                for_each(builder, rest, single)

    def _column(self, column: ir.Value, tiles: int) -> None:
        """All rows of some tiles side by side."""
        builder, piece = self.builder, self.piece
        height = self.parts * piece
        whole = builder.sdiv(self.rows, _number(height))
        for_each(
            builder,
            whole,
            lambda k: self._tile(builder.mul(k, _number(height)), column, self.parts, tiles),
        )
        first = builder.mul(whole, _number(height))
        left = builder.sub(self.rows, first)
        rest = builder.sdiv(builder.add(left, _number(piece - 1)), _number(piece))
        last = builder.sub(self.rows, _number(piece))

        def low(number: ir.Value) -> None:
            row = builder.add(first, builder.mul(number, _number(piece)))
            self._tile(self._smaller(row, last), column, 1, tiles)

        for_each(builder, rest, low)

    def _tile(self, row: ir.Value, column: ir.Value, parts: int, tiles: int) -> None:
        """``parts`` times ``tiles`` squares of as many elements a side as a piece has."""
        builder, piece = self.builder, self.piece
        source = self._at(self.source, builder.add(builder.mul(row, self.source_step), column))
        target = self._at(self.target, builder.add(builder.mul(column, self.target_step), row))
        pointers = [
            self._at(source, builder.mul(self.source_step, _number(number)))
            for number in range(parts * piece)
        ]
        results: list[ir.Value] = []
        if self.whole_lines and parts > 1 and tiles % parts == 0:
            # Lines of rows that are a power of two apart share places in the cache, so each is
            # read once, whole.
            for tile in range(0, tiles, parts):
                results += self._square(pointers, tile * piece)
        else:
            for tile in range(tiles):
                results += self._narrow(pointers, tile * piece)
        for number, value in enumerate(results):
            offset = builder.mul(self.target_step, _number(number))
            builder.store(value, self._at(target, offset), align=self.align)

    def _narrow(self, pointers: list[ir.Value], column: int) -> list[ir.Value]:
        """A piece of each row."""
        piece = self.piece
        registers = []
        for number in range(piece):
            loaded = [
                self._load(self._at(pointer, _number(column)), piece)
                for pointer in pointers[number::piece]
            ]
            registers.append(self._joined(loaded))
        return self._transposed(registers)

    def _square(self, pointers: list[ir.Value], column: int) -> list[ir.Value]:
        """A vector of each of as many rows."""
        piece, lanes = self.piece, len(pointers)
        rows = [self._load(self._at(pointer, _number(column)), lanes) for pointer in pointers]
        groups = [self._transposed(rows[first : first + piece]) for first in range(0, lanes, piece)]
        columns = [self._parts_transposed(list(vectors)) for vectors in zip(*groups, strict=True)]
        return [vector for vectors in zip(*columns, strict=True) for vector in vectors]

    def _parts_transposed(self, vectors: list[ir.Value]) -> list[ir.Value]:
        """A square matrix of parts, transposed by separating even and odd ones."""
        piece, total = self.piece, vectors[0].type.count
        for _ in range(len(vectors).bit_length() - 1):
            even, odd = (
                [
                    _shuffle(
                        self.builder,
                        left,
                        right,
                        [
                            part + lane
                            for part in range(begin, 2 * total, 2 * piece)
                            for lane in range(piece)
                        ],
                    )
                    for left, right in zip(vectors[::2], vectors[1::2], strict=True)
                ]
                for begin in (0, piece)
            )
            vectors = even + odd
        return vectors

    def _joined(self, vectors: list[ir.Value]) -> ir.Value:
        while len(vectors) > 1:
            lanes = range(2 * vectors[0].type.count)
            vectors = [
                _shuffle(self.builder, left, right, lanes)
                for left, right in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        return vectors[0]

    def _transposed(self, vectors: list[ir.Value]) -> list[ir.Value]:
        """Square matrices, one in each part, transposed by zipping halves of the rows."""
        piece, half = self.piece, self.piece // 2
        total = vectors[0].type.count
        for _ in range(piece.bit_length() - 1):
            zipped = []
            for low, high in zip(vectors[:half], vectors[half:], strict=True):
                for begin in (0, half):
                    lanes = [
                        lane
                        for part in range(0, total, piece)
                        for k in range(part + begin, part + begin + half)
                        for lane in (k, total + k)
                    ]
                    zipped.append(_shuffle(self.builder, low, high, lanes))
            vectors = zipped
        return vectors

    # --- few rows or columns ---------------------------------------------------------------

    def _interleave(self, count: int) -> None:
        """``count`` rows become one run of columns of as many elements."""
        builder, lanes = self.builder, self.parts * self.piece

        def round_(number: ir.Value) -> None:
            column = builder.mul(number, _number(lanes))
            vectors = [
                self._load(self._at(self.source, builder.add(column, self._row(row))), lanes)
                for row in range(count)
            ]
            target = self._at(self.target, builder.mul(column, _number(count)))
            for k in range(count):
                places = [divmod(k * lanes + lane, count) for lane in range(lanes)]
                mixed = self._mixed(vectors, [(row, column) for column, row in places])
                builder.store(mixed, self._at(target, _number(k * lanes)), align=self.align)

        whole = builder.sdiv(self.columns, _number(lanes))
        for_each(builder, whole, round_)
        self._elements(_number(0), builder.mul(whole, _number(lanes)))

    def _take_apart(self, count: int) -> None:
        """One run of rows of ``count`` elements becomes as many columns."""
        builder, lanes = self.builder, self.parts * self.piece

        def round_(number: ir.Value) -> None:
            row = builder.mul(number, _number(lanes))
            source = self._at(self.source, builder.mul(row, _number(count)))
            vectors = [
                self._load(self._at(source, _number(k * lanes)), lanes) for k in range(count)
            ]
            for column in range(count):
                places = [divmod(lane * count + column, lanes) for lane in range(lanes)]
                offset = builder.add(row, builder.mul(self.target_step, _number(column)))
                mixed = self._mixed(vectors, places)
                builder.store(mixed, self._at(self.target, offset), align=self.align)

        whole = builder.sdiv(self.rows, _number(lanes))
        for_each(builder, whole, round_)
        self._elements(builder.mul(whole, _number(lanes)), _number(0))

    def _mixed(self, vectors: list[ir.Value], places: list[tuple[int, int]]) -> ir.Value:
        """A vector of lanes of several: (vector, lane)."""
        lanes = len(places)
        own = [lane if source == 0 else 0 for source, lane in places]
        result = _shuffle(self.builder, vectors[0], vectors[0], own)
        for number, vector in enumerate(vectors[1:], 1):
            chosen = [
                lanes + lane if source == number else place
                for place, (source, lane) in enumerate(places)
            ]
            result = _shuffle(self.builder, result, vector, chosen)
        return result

    # --- elements --------------------------------------------------------------------------

    def _elements(self, first_row: ir.Value, first_column: ir.Value) -> None:
        """What is left from a row and a column on, one by one."""
        builder = self.builder

        def column(number: ir.Value) -> None:
            place = builder.add(first_column, number)

            def row(number: ir.Value) -> None:
                here = builder.add(first_row, number)
                source = builder.add(builder.mul(here, self.source_step), place)
                target = builder.add(builder.mul(place, self.target_step), here)
                value = builder.load(
                    self._at(self.source, source), typ=self.element, align=self.align
                )
                builder.store(value, self._at(self.target, target), align=self.align)

            for_each(builder, builder.sub(self.rows, first_row), row)

        for_each(builder, builder.sub(self.columns, first_column), column)

    def _row(self, row: int) -> ir.Value:
        return self.builder.mul(self.source_step, _number(row))

    def _load(self, place: ir.Value, lanes: int) -> ir.Value:
        vector = ir.VectorType(self.element, lanes)
        return self.builder.load(place, typ=vector, align=self.align)

    def _at(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        return self.builder.gep(base, [offset], source_etype=self.element)

    def _smaller(self, left: ir.Value, right: ir.Value) -> ir.Value:
        is_less = self.builder.icmp_signed("<", left, right)
        return self.builder.select(is_less, left, right)


def _number(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def _shuffle(
    builder: ir.IRBuilder, left: ir.Value, right: ir.Value, lanes: Iterable[int]
) -> ir.Value:
    chosen = list(lanes)
    mask = ir.Constant(ir.VectorType(I32, len(chosen)), chosen)
    return builder.shuffle_vector(left, right, mask)
