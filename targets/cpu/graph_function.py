"""The LLVM function of a graph: its memory, the addresses in it, how it fails and ends."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from ...ir import Extent, Graph, Node, Value
from .calling import Context, Failure, StepInfo
from .extents import I64, ExtentEmitter
from .kernels import POINTER
from .placement import Kind, Place, Placement, is_late, is_late_type
from .program import Program

I8, I32 = ir.IntType(8), ir.IntType(32)


class GraphFunction:
    """The function of one graph, the main one or a body of control flow, with nothing in it yet.

    ``placement`` says where values are; it is set before addresses are asked for.
    """

    placement: Placement

    def __init__(
        self,
        program: Program,
        graph: Graph,
        function: ir.Function,
        parent: GraphFunction | None = None,
    ) -> None:
        self.program, self.graph, self.function = program, graph, function
        self.parent = parent
        self.late = frozenset(graph.symbols)
        self.block = ir.IRBuilder(function.append_basic_block("entry"))
        self.exit = function.append_basic_block("exit")
        self.values, self.arena, self.context = function.args
        self.extents = ExtentEmitter(self._load_symbol, self.late)
        self.result = self.block.alloca(I32, name="result")
        self._late_slots: list[ir.Value] = []

    # --- places --------------------------------------------------------------------------

    def address(self, value: Value) -> ir.Value:
        """The address of a value's first element."""
        place_ = self.placement.places[value]
        if place_.kind is Kind.PARAMETER:
            root = value
            while not self.graph.is_param(root):
                root = self.graph.node(root.node).operands[0]  # a view of a parameter
            table = self.context_field(Context.PARAMS)
            return self.entry_of(table, self.program.param_number(self.graph, root))
        return self.address_of(place_)

    def address_of(self, place_: Place) -> ir.Value:
        """The address that a place stands for (parameters aside)."""
        builder = self.block
        if place_.kind is Kind.ARENA:
            offset = self.extents.emit(builder, place_.where)
            return builder.gep(self.arena, [offset], source_etype=I8)
        assert isinstance(place_.where, int), "only arena places are symbolic"
        if place_.kind is Kind.LATE:
            return builder.load(self._late_slots[place_.where], typ=POINTER)
        first = len(self.graph.inputs) if place_.kind is Kind.OUTPUT else 0
        return self.entry_of(self.values, first + place_.where)

    def entry_of(self, table: ir.Value, number: int) -> ir.Value:
        """Pointer ``number`` of a table of pointers."""
        slot = self.block.gep(table, [ir.Constant(I64, number)], source_etype=POINTER)
        return self.block.load(slot, typ=POINTER)

    def context_field(self, name: Context) -> ir.Value:
        """A pointer-sized field of the context."""
        return self.entry_of(self.context, int(name))

    def _load_symbol(self, builder: ir.IRBuilder, name: str) -> ir.Value:
        return builder.load(self._symbol_slot(name), typ=I64)

    def _symbol_slot(self, name: str) -> ir.Value:
        number = ir.Constant(I64, self.program.symbol_number(self._symbol_key(name)))
        table = self.context_field(Context.SYMBOLS)
        return self.block.gep(table, [number], source_etype=I64)

    def _symbol_key(self, name: str) -> str:
        """A name of its own for each symbol; bodies may use one that their surroundings use."""
        if self.parent is None:
            return name
        if name in self.graph.symbols:
            return f"{self.function.name}/{name}"
        return self.parent._symbol_key(name)

    # --- memory whose size only the run knows ----------------------------------------------

    def _is_unchecked(self, extent: Extent) -> bool:
        """True for an extent that the host has not checked: measured ones, all in bodies."""
        if self.parent is not None:
            return not isinstance(extent, int)
        return is_late(extent, self.late)

    def _allocate(self, node: Node, place_: Place, nbytes: Extent) -> None:
        assert isinstance(place_.where, int)
        size = self.extents.emit(self.block, nbytes)
        limit = self.block.ptrtoint(self.context_field(Context.MEMORY_LIMIT), I64)
        fits = self.block.icmp_unsigned("<=", size, limit)
        number = self.program.step(StepInfo(str(node), ()))
        code = ir.Constant(I64, int(Failure.OUT_OF_MEMORY))
        self.fail_unless(fits, number, code)
        malloc = self.external("aligned_alloc", ir.FunctionType(POINTER, [I64, I64]))
        alignment = ir.Constant(I64, 64)
        rounded = self.block.and_(
            self.block.add(size, ir.Constant(I64, 127)), ir.Constant(I64, ~63)
        )
        memory = self.block.call(malloc, [alignment, rounded])
        null = ir.Constant(POINTER, None)
        self.fail_unless(self.block.icmp_unsigned("!=", memory, null), number, code)
        self.block.store(memory, self._late_slots[place_.where])

    def _release(self, slots: Sequence[int]) -> None:
        free = self.external("free", ir.FunctionType(ir.VoidType(), [POINTER]))
        for slot in slots:
            self.block.call(free, [self.block.load(self._late_slots[slot], typ=POINTER)])
            self.block.store(ir.Constant(POINTER, None), self._late_slots[slot])

    def _copy_outputs(self) -> None:
        """Hand out what was not computed in the caller's memory."""
        handed: list[int] = []
        for number, value in enumerate(self.graph.outputs):
            place_ = self.placement.places[value]
            if place_ == Place(Kind.OUTPUT, number):
                continue
            if is_late_type(self.graph.type(value), self.late):
                slot = self._own_memory(value, place_)
                self._hand_over(number, slot)
                handed.append(slot)
                continue
            size = self.extents.emit(self.block, self.graph.type(value).nbytes)
            target = self.entry_of(self.values, len(self.graph.inputs) + number)
            self.copy(target, self.address(value), size)

        for slot in handed:
            self.block.store(ir.Constant(POINTER, None), self._late_slots[slot])

    def _own_memory(self, value: Value, place_: Place) -> int:
        """The late slot that holds a late output; one is made for a view of other memory."""
        if place_.kind is Kind.LATE:
            assert isinstance(place_.where, int)
            return place_.where
        with self.block.goto_entry_block():
            slot = self.block.alloca(POINTER)
            self.block.store(ir.Constant(POINTER, None), slot)
        self._late_slots.append(slot)
        number = len(self._late_slots) - 1
        nbytes = self.graph.type(value).nbytes
        self._allocate(self.graph.node(value.node), Place(Kind.LATE, number), nbytes)
        target = self.block.load(slot, typ=POINTER)
        self.copy(target, self.address(value), self.extents.emit(self.block, nbytes))
        return number

    def _hand_over(self, number: int, slot: int) -> None:
        """Give late memory to the host, which frees it."""
        memory = self.block.load(self._late_slots[slot], typ=POINTER)
        position = ir.Constant(I64, len(self.graph.inputs) + number)
        place_ = self.block.gep(self.values, [position], source_etype=POINTER)
        self.block.store(memory, place_)

    # --- all the rest ----------------------------------------------------------------------

    def copy(self, target: ir.Value, source: ir.Value, nbytes: ir.Value) -> None:
        """Copy bytes between blocks that do not overlap."""
        memcpy = self.external(
            "llvm.memcpy.p0.p0.i64",
            ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64, ir.IntType(1)]),
        )
        self.block.call(memcpy, [target, source, nbytes, ir.Constant(ir.IntType(1), 0)])

    def external(self, name: str, type_: ir.FunctionType) -> ir.Function:
        """The declaration of a function of the C library or of LLVM."""
        if name in self.program.module.globals:
            return self.program.module.globals[name]
        return ir.Function(self.program.module, type_, name)

    def fail_unless(self, condition: ir.Value, number: int, code: ir.Value) -> None:
        """Leave the function with a failure of step ``number`` unless ``condition`` holds."""
        failed = self.function.append_basic_block("failed")
        ok = self.function.append_basic_block("ok")
        self.block.cbranch(condition, ok, failed)
        self.block.position_at_end(failed)
        record = self.context_field(Context.FAILURE)
        self.block.store(ir.Constant(I64, number), record)
        second = self.block.gep(record, [ir.Constant(I64, 1)], source_etype=I64)
        self.block.store(code, second)
        self.leave()
        self.block.position_at_end(ok)

    def leave(self) -> None:
        """Branch to the exit with the result 1; the failure is recorded already."""
        self.block.store(ir.Constant(I32, 1), self.result)
        self.block.branch(self.exit)

    def _finish(self) -> None:
        self._release(range(len(self._late_slots)))
        self.block.ret(self.block.load(self.result, typ=I32))
