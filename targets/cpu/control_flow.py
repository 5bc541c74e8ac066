"""Choices and loops as native code: bodies are functions of the same form as the entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from ...ir import Extent, Graph, Node
from ...ir.dim import maximum
from .extents import I64
from .kernels import POINTER
from .placement import Scratch

if TYPE_CHECKING:
    from .graph_emitter import GraphEmitter

I8 = ir.IntType(8)
I32 = ir.IntType(32)


def prepare_control_flow(emitter: GraphEmitter, node: Node) -> list[Scratch]:
    """Plan the bodies of a node; returns the memory it needs while it runs."""
    from .graph_emitter import GraphEmitter

    bodies = [value for value in node.attrs.values() if isinstance(value, Graph)]
    emitter.bodies[node.name] = [
        GraphEmitter(emitter.program, body, emitter.program.function("body"), emitter)
        for body in bodies
    ]
    arena: Extent = 0
    for body in emitter.bodies[node.name]:
        arena = maximum(arena, body.placement.plan.nbytes)
    scratch = [Scratch(node.name, "arena", arena)]
    if node.op.name == "loop":
        scratch += _loop_scratch(node)
    return scratch


def _loop_scratch(node: Node) -> list[Scratch]:
    """Two copies of the condition and of every carried value, and the iteration number."""
    body: Graph = node.attrs["body"]
    carried: int = node.attrs["carried"]
    found = [Scratch(node.name, "iteration", 8)]
    for side in "ab":
        found.append(Scratch(node.name, f"condition {side}", 1))
        for number in range(carried):
            nbytes = body.type(body.inputs[2 + number]).nbytes
            found.append(Scratch(node.name, f"carried {number} {side}", nbytes))
    return found


def emit_control_flow(emitter: GraphEmitter, node: Node) -> None:
    """Emit the code of a choice or a loop."""
    for body in emitter.bodies[node.name]:
        body.emit()
    if node.op.name == "if":
        _emit_if(emitter, node)
    else:
        _LoopEmitter(emitter, node).emit()


def _emit_if(emitter: GraphEmitter, node: Node) -> None:
    builder, function = emitter.block, emitter.function
    condition, captures = node.operands[0], node.operands[1:]
    pointers = [emitter.address(value) for value in (*captures, *node.outputs)]
    table = table_of(emitter, pointers)
    arena = emitter.address_of(emitter.placement.scratch[node.name, "arena"])
    flag = builder.load(emitter.address(condition), typ=I8)
    chosen = builder.icmp_unsigned("!=", flag, ir.Constant(I8, 0))
    after = function.append_basic_block("chosen")
    blocks = [function.append_basic_block(name) for name in ("then", "else")]
    builder.cbranch(chosen, *blocks)
    for block, body in zip(blocks, emitter.bodies[node.name], strict=True):
        builder.position_at_end(block)
        call_body(emitter, body, table, arena)
        builder.branch(after)
    builder.position_at_end(after)


def table_of(emitter: GraphEmitter, pointers: list[ir.Value]) -> ir.Value:
    """A table of pointers on the stack, in the entry block so that loops do not grow it."""
    with emitter.block.goto_entry_block():
        table = emitter.block.alloca(POINTER, size=max(len(pointers), 1))
    for number, pointer in enumerate(pointers):
        store_entry(emitter, table, number, pointer)
    return table


def store_entry(emitter: GraphEmitter, table: ir.Value, number: int, pointer: ir.Value) -> None:
    """Write one pointer of a table."""
    builder = emitter.block
    builder.store(pointer, builder.gep(table, [ir.Constant(I64, number)], source_etype=POINTER))


def call_body(emitter: GraphEmitter, body: GraphEmitter, table: ir.Value, arena: ir.Value) -> None:
    """Run a body; when it fails, so does the function (the failure is recorded already)."""
    builder = emitter.block
    status = builder.call(body.function, [table, arena, emitter.context])
    failed = emitter.function.append_basic_block("body_failed")
    ok = emitter.function.append_basic_block("body_ok")
    builder.cbranch(builder.icmp_signed("==", status, ir.Constant(I32, 0)), ok, failed)
    builder.position_at_end(failed)
    emitter.leave()
    builder.position_at_end(ok)


class _LoopEmitter:
    """A loop: the body reads one copy of the carried values and writes the other."""

    def __init__(self, emitter: GraphEmitter, node: Node) -> None:
        self.emitter, self.node = emitter, node
        self.body: Graph = node.attrs["body"]
        self.carried: int = node.attrs["carried"]
        self.scans = len(self.body.outputs) - 1 - self.carried

    def _scratch(self, key: str) -> ir.Value:
        return self.emitter.address_of(self.emitter.placement.scratch[self.node.name, key])

    def _states(self, side: str) -> list[ir.Value]:
        keys = [f"condition {side}", *(f"carried {k} {side}" for k in range(self.carried))]
        return [self._scratch(key) for key in keys]

    def _sizes(self) -> list[ir.Value]:
        values = self.body.inputs[1 : 2 + self.carried]
        return [
            self.emitter.extents.emit(self.emitter.block, self.body.type(value).nbytes)
            for value in values
        ]

    def emit(self) -> None:
        """The whole loop."""
        emitter, builder = self.emitter, self.emitter.block
        trip_count, condition = self.node.inputs[:2]
        values = self.node.inputs[2:]
        first, second = self._states("a"), self._states("b")
        sizes = self._sizes()
        if condition is None:
            builder.store(ir.Constant(I8, 1), first[0])
        else:
            emitter.copy(first[0], emitter.address(condition), sizes[0])
        for number in range(self.carried):
            value = values[number]
            assert value is not None, "carried values are always there"
            emitter.copy(first[1 + number], emitter.address(value), sizes[1 + number])
        stacks, rows = self._stacks()
        limit = None
        if trip_count is not None:
            limit = builder.load(emitter.address(trip_count), typ=I64)
        captures = [emitter.address(v) for v in values[self.carried :] if v is not None]
        iteration = self._scratch("iteration")
        null = ir.Constant(POINTER, None)
        table = table_of(emitter, [iteration, *first, *captures, *second, *([null] * self.scans)])
        count = self._iterate(table, iteration, limit, stacks, rows, first, second, sizes)
        for number in range(self.carried):
            target = emitter.address(self.node.outputs[number])
            emitter.copy(target, first[1 + number], sizes[1 + number])
        builder.store(count, emitter.address(self.node.outputs[-1]))

    def _stacks(self) -> tuple[list[ir.Value], list[ir.Value]]:
        """Scanned outputs, zeroed, and the bytes of one row of each."""
        emitter, builder = self.emitter, self.emitter.block
        memset = emitter.external(
            "llvm.memset.p0.i64",
            ir.FunctionType(ir.VoidType(), [POINTER, I8, I64, ir.IntType(1)]),
        )
        stacks, rows = [], []
        for number in range(self.scans):
            value = self.node.outputs[self.carried + number]
            stacks.append(emitter.address(value))
            size = emitter.extents.emit(builder, emitter.graph.type(value).nbytes)
            builder.call(
                memset, [stacks[-1], ir.Constant(I8, 0), size, ir.Constant(ir.IntType(1), 0)]
            )
            row = self.body.type(self.body.outputs[1 + self.carried + number])
            rows.append(emitter.extents.emit(builder, row.nbytes))
        return stacks, rows

    def _iterate(
        self,
        table: ir.Value,
        iteration: ir.Value,
        limit: ir.Value | None,
        stacks: list[ir.Value],
        rows: list[ir.Value],
        first: list[ir.Value],
        second: list[ir.Value],
        sizes: list[ir.Value],
    ) -> ir.Value:
        emitter, builder, function = self.emitter, self.emitter.block, self.emitter.function
        before = builder.block
        head = function.append_basic_block("loop")
        run = function.append_basic_block("iteration")
        done = function.append_basic_block("loop_done")
        builder.branch(head)
        builder.position_at_end(head)
        count = builder.phi(I64, "count")
        count.add_incoming(ir.Constant(I64, 0), before)
        flag = builder.load(first[0], typ=I8)
        going = builder.icmp_unsigned("!=", flag, ir.Constant(I8, 0))
        if limit is not None:
            going = builder.and_(going, builder.icmp_signed("<", count, limit))
        if self.scans:
            room = emitter.extents.emit(builder, self.node.attrs["trip_limit"])
            going = builder.and_(going, builder.icmp_signed("<", count, room))
        builder.cbranch(going, run, done)
        builder.position_at_end(run)
        builder.store(count, iteration)
        scans_at = len(self.body.inputs) + 1 + self.carried
        for number, (stack, row) in enumerate(zip(stacks, rows, strict=True)):
            place = builder.gep(stack, [builder.mul(count, row)], source_etype=I8)
            store_entry(emitter, table, scans_at + number, place)
        call_body(emitter, emitter.bodies[self.node.name][0], table, self._scratch("arena"))
        for old, new, size in zip(first, second, sizes, strict=True):
            emitter.copy(old, new, size)
        count.add_incoming(builder.add(count, ir.Constant(I64, 1)), builder.block)
        builder.branch(head)
        builder.position_at_end(done)
        return count
