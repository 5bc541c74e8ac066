"""What a run needs to know before it starts, as native code: sizes that follow from the inputs.

A caller that is not Python gives the extents of its inputs and learns whether they fit together,
the values of the symbols, how much memory to bring, and the extents of the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from llvmlite import ir

from ...compiler.interface import LARGEST_EXTENT, LARGEST_TENSOR, Interface
from ...ir import Extent, Graph
from ...ir.data_type import item_size
from ...ir.dim import Atom, Dim, Symbol, symbol_name, symbols_of
from .calling import OUTPUT_EXTENTS, PREPARE
from .extents import I64, ExtentEmitter
from .kernels import POINTER
from .program import Program

_DOUBLE = ir.DoubleType()
_BIT = ir.IntType(1)
# Sizes that are no larger than this as floating-point numbers are exact as 64-bit integers.
_EXACT = float(2**62)
_LATE = -1


def emit_prepare(program: Program, graph: Graph) -> None:
    """Emit ``ow_prepare`` and ``ow_output_extents`` (see native/description.h).

    To be called last: both know the program's table of symbols.
    """
    interface = Interface.of(graph)
    late = program.late_outputs
    for number in sorted(late):
        for symbol in symbols_of(interface.outputs[number].shape):
            program.symbol_number(symbol.name)
    _Preparation(program, interface, late).emit()
    _emit_output_extents(program, interface)


def _slot(builder: ir.IRBuilder, table: ir.Value, number: int) -> ir.Value:
    return builder.gep(table, [ir.Constant(I64, number)], source_etype=I64)


class _Preparation:
    """Emits ``ow_prepare``: straight-line code, whose result is the first check that fails."""

    def __init__(self, program: Program, interface: Interface, late: frozenset[int]) -> None:
        self.program, self.interface, self.late = program, interface, late
        type_ = ir.FunctionType(I64, [POINTER, POINTER, POINTER])
        function = ir.Function(program.module, type_, PREPARE)
        self.given, self.symbol_table, self.sizes = function.args
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.symbols: dict[str, ir.Value] = {}
        self.extents = ExtentEmitter(lambda _, name: self.symbols[name])
        self.reals: dict[Extent | Atom, ir.Value] = {}
        self.failures: list[tuple[ir.Value, str]] = []  # what is true when a check fails

    def emit(self) -> None:
        """Fill the function."""
        builder = self.builder
        self._bind()
        for node, left, right in self.interface.equalities:
            if self._is_known(left) and self._is_known(right):
                text = f"node {node!r} needs the extents {left} and {right} to be equal"
                self._same(left, self.extents.emit(builder, right), text)
        for node, type_ in self.interface.types:
            self._check_type(node, type_.shape, item_size(type_.dtype))
        wanted = [self.program.arena, *self._output_extents()]
        for extent in wanted:
            self._check_exact(extent, "the sizes of intermediate tensors are too large")
        for number, extent in enumerate(wanted):
            value = self.extents.emit(builder, extent)
            builder.store(value, _slot(builder, self.sizes, number))
        for number, name in enumerate(self.program.symbols):
            value = self.symbols.get(name, ir.Constant(I64, 0))
            builder.store(value, _slot(builder, self.symbol_table, number))
        result: ir.Value = ir.Constant(I64, 0)
        for number, (failed, _) in reversed([*enumerate(self.failures, 1)]):
            result = builder.select(failed, ir.Constant(I64, number), result)
        builder.ret(result)
        self.program.checks = [text for _, text in self.failures]

    def _is_known(self, extent: Extent) -> bool:
        """False for an extent that only the run knows."""
        return all(symbol.name in self.symbols for symbol in symbols_of(extent))

    def _output_extents(self) -> Iterator[Extent]:
        for number, spec in enumerate(self.interface.outputs):
            for extent in spec.shape:
                yield _LATE if number in self.late else extent

    def _bind(self) -> None:
        """Symbols from the extents that they are alone; all other extents are checked."""
        builder = self.builder
        given: list[tuple[Extent, ir.Value, str]] = []
        for spec in self.interface.inputs:
            for axis, extent in enumerate(spec.shape):
                value = builder.load(_slot(builder, self.given, len(given)), typ=I64)
                text = f"extent {axis} of input {spec.name!r} is not {extent}"
                given.append((extent, value, text))
                name = symbol_name(extent)
                if name is not None and name not in self.symbols:
                    self.symbols[name] = value
                    most = ir.Constant(I64, LARGEST_EXTENT)
                    failed = builder.icmp_unsigned(">", value, most)
                    too_large = f"extent {name!r} is negative or larger than {LARGEST_EXTENT}"
                    self.failures.append((failed, too_large))
        for extent, value, text in given:
            self._same(extent, value, text)

    def _same(self, extent: Extent, value: ir.Value, text: str) -> None:
        wanted = self.extents.emit(self.builder, extent)
        if wanted is value:
            return
        self._check_exact(extent, text)
        self.failures.append((self.builder.icmp_signed("!=", wanted, value), text))

    def _check_type(self, node: str, shape: Sequence[Extent], size: int) -> None:
        """The extents of a tensor are extents, and its bytes can be counted."""
        builder = self.builder
        known = [extent for extent in shape if self._is_known(extent)]
        shown = ", ".join(map(str, shape))
        for extent in known:
            if isinstance(extent, Dim) and symbol_name(extent) is None:
                text = f"{node} would have the shape ({shown}), with a negative extent"
                self._check_exact(extent, text)
                value = self.extents.emit(builder, extent)
                negative = builder.icmp_signed("<", value, ir.Constant(I64, 0))
                self.failures.append((negative, text))
        if len(known) == len(shape):
            nbytes: ir.Value = ir.Constant(_DOUBLE, float(size))
            for extent in shape:
                nbytes = builder.fmul(nbytes, self._real(extent))
            most = ir.Constant(_DOUBLE, float(LARGEST_TENSOR))
            failed = builder.fcmp_unordered(">", nbytes, most)
            text = f"{node} would have the shape ({shown}): more than {LARGEST_TENSOR} bytes"
            self.failures.append((failed, text))

    # --- as floating-point numbers, which do not overflow ---------------------------------

    def _check_exact(self, extent: Extent, text: str) -> None:
        """Integer arithmetic gives the value of ``extent``, and of what is inside it."""
        for part in _parts(extent):
            if symbol_name(part) is not None:
                continue
            value = self._real(part)
            low, high = ir.Constant(_DOUBLE, -_EXACT), ir.Constant(_DOUBLE, _EXACT)
            outside = self.builder.or_(
                self.builder.fcmp_unordered("<", value, low),
                self.builder.fcmp_unordered(">", value, high),
            )
            self.failures.append((outside, text))

    def _real(self, extent: Extent) -> ir.Value:
        if not isinstance(extent, Dim):
            return ir.Constant(_DOUBLE, float(extent))
        return self._kept(extent, lambda: self._sum(extent))

    def _kept(self, key: Extent | Atom, emit: Callable[[], ir.Value]) -> ir.Value:
        if key not in self.reals:
            self.reals[key] = emit()
        return self.reals[key]

    def _sum(self, extent: Dim) -> ir.Value:
        total: ir.Value = ir.Constant(_DOUBLE, 0.0)
        for monomial, factor in extent.terms:
            term: ir.Value = ir.Constant(_DOUBLE, float(factor))
            for atom, power in monomial:
                for _ in range(power):
                    term = self.builder.fmul(term, self._atom(atom))
            total = self.builder.fadd(total, term)
        return total

    def _atom(self, atom: Atom) -> ir.Value:
        builder = self.builder
        if isinstance(atom, Symbol):
            symbol = self.symbols[atom.name]
            return self._kept(atom, lambda: builder.sitofp(symbol, _DOUBLE))
        left, right = (self._real(extent) for extent in atom.operands)
        if atom.function == "floordiv":
            zero, one = ir.Constant(_DOUBLE, 0.0), ir.Constant(_DOUBLE, 1.0)
            is_zero = builder.fcmp_ordered("==", right, zero)
            quotient = builder.fdiv(left, builder.select(is_zero, one, right))
            return builder.select(is_zero, zero, quotient)
        predicate = ">=" if atom.function == "max" else "<="
        return builder.select(builder.fcmp_ordered(predicate, left, right), left, right)


def _parts(extent: Extent) -> Iterator[Dim]:
    """``extent`` and the extents that functions in it are of."""
    if not isinstance(extent, Dim):
        return
    for monomial, _ in extent.terms:
        for atom, _ in monomial:
            if not isinstance(atom, Symbol):
                for operand in atom.operands:
                    yield from _parts(operand)
    yield extent


def _emit_output_extents(program: Program, interface: Interface) -> None:
    type_ = ir.FunctionType(ir.VoidType(), [POINTER, POINTER])
    function = ir.Function(program.module, type_, OUTPUT_EXTENTS)
    symbols, target = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def load(builder: ir.IRBuilder, name: str) -> ir.Value:
        return builder.load(_slot(builder, symbols, program.symbol_number(name)), typ=I64)

    emitter = ExtentEmitter(load)
    extents = [extent for spec in interface.outputs for extent in spec.shape]
    for number, extent in enumerate(extents):
        builder.store(emitter.emit(builder, extent), _slot(builder, target, number))
    builder.ret_void()
