"""A graph as one LLVM module with one entry point.

``ow_run(context)`` computes the whole graph. ``context`` points to the fields of
:class:`Context`; pointers to the addresses of the inputs, then of the outputs, follow them.
Inside, a graph is a function of ``values`` (the addresses), ``arena`` (memory of the planned
size) and ``context``; bodies of control flow are functions of the same form. The result is 0, or 1
when ``context.failure`` says which step failed and how.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from llvmlite import ir

from ...ir import Extent, Graph, Node, NoKernelError, TensorType, Value, View, Workspace
from ...ir.data_type import item_size
from .calling import ENTRY, Context, Failure, StepInfo
from .extents import I64, ExtentEmitter
from .kernels import POINTER, Kernel, KernelSet
from .lowering import Step, is_elementwise, reusable_operands, scratch_of, steps_of
from .parallel import declare_parallel
from .placement import Kind, Place, Placement, Scratch, is_late, is_late_type, place

I8, I32, DOUBLE = ir.IntType(8), ir.IntType(32), ir.DoubleType()
GRAPH_TYPE = ir.FunctionType(I32, [POINTER, POINTER, POINTER])
ENTRY_TYPE = ir.FunctionType(I32, [POINTER])
# No measured symbol may be larger: sizes computed from a few of them then stay within 64 bits.
_LARGEST_MEASURED = 2**40
# Kernels that take less than this on one thread are not worth handing out; the rates are
# what one core does at least, so that the estimate is an upper one.
_SHARED_SECONDS = 4e-6
_FLOPS_A_SECOND = 5e10
_BYTES_A_SECOND = 2e10


@dataclass
class Program:
    """The module of a graph and what the host must know to run it."""

    module: ir.Module
    kernels: KernelSet
    params: list[tuple[Graph, Value]] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    steps: list[StepInfo] = field(default_factory=list)
    arena: Extent = 0
    late_outputs: frozenset[int] = frozenset()
    shares: bool = False  # some kernel may run on several threads
    missing: list[str] = field(default_factory=list)  # what there are no kernels for
    checks: list[str] = field(default_factory=list)  # what PREPARE may find, in its order
    exports: list[str] = field(default_factory=list)  # what the host looks at, beside ENTRY
    _param_numbers: dict[tuple[int, Value], int] = field(default_factory=dict)
    _functions: int = 0

    def param_number(self, graph: Graph, value: Value) -> int:
        """The number of a parameter in the table of addresses."""
        key = (id(graph), value)
        if key not in self._param_numbers:
            self._param_numbers[key] = len(self.params)
            self.params.append((graph, value))
        return self._param_numbers[key]

    def symbol_number(self, name: str) -> int:
        """The number of a symbol in the table of values."""
        if name not in self.symbols:
            self.symbols.append(name)
        return self.symbols.index(name)

    def step(self, info: StepInfo) -> int:
        """The number of a new step."""
        self.steps.append(info)
        return len(self.steps) - 1

    def function(self, stem: str) -> ir.Function:
        """A new internal function that computes a graph."""
        self._functions += 1
        function = ir.Function(self.module, GRAPH_TYPE, f"{stem}_{self._functions}")
        function.linkage = "internal"
        return function


def build_program(graph: Graph, emitter_class: type[GraphEmitter] | None = None) -> Program:
    """The program of ``graph``; raises UnsupportedError (all nodes) where kernels are missing.

    ``emitter_class`` emits the main function, by default :class:`GraphEmitter`.
    """
    module = ir.Module("opweave")
    program = Program(module, KernelSet(module))
    function = program.function("graph")
    emitter = (emitter_class or GraphEmitter)(program, graph, function)
    if program.missing:
        listed = "\n".join(f"- {item}" for item in program.missing)
        raise NoKernelError(
            f"{len(program.missing)} nodes have no kernel:\n{listed}", program.missing
        )
    program.arena = emitter.placement.plan.nbytes
    emitter.emit()
    program.late_outputs = frozenset(
        number
        for number, value in enumerate(graph.outputs)
        if is_late_type(graph.type(value), emitter.late)
    )
    inputs = len(graph.inputs)
    late = [inputs + number for number in sorted(program.late_outputs)]
    _emit_entry(module, function, inputs + len(graph.outputs), late)
    return program


def _emit_entry(module: ir.Module, graph: ir.Function, count: int, late: Iterable[int]) -> None:
    """The function that the host calls, on ``count`` arrays; the program allocates the ``late``.

    It collects the addresses from where arrays keep them: what Python need not do is quicker.
    """
    function = ir.Function(module, ENTRY_TYPE, ENTRY)
    (context,) = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    values = builder.alloca(POINTER, size=max(count, 1))
    values.type = POINTER

    def load(table: ir.Value, number: int) -> ir.Value:
        place_ = builder.gep(table, [ir.Constant(I64, number)], source_etype=POINTER)
        return builder.load(place_, typ=POINTER)

    places = builder.gep(context, [ir.Constant(I64, len(Context))], source_etype=POINTER)
    for number in range(count):
        place_ = builder.gep(values, [ir.Constant(I64, number)], source_etype=POINTER)
        builder.store(load(load(places, number), 0), place_)
    arena = load(context, int(Context.ARENA))
    status = builder.call(graph, [values, arena, context])
    for number in late:
        builder.store(load(values, number), load(places, number))
    builder.ret(status)


class GraphEmitter:
    """Emits the function of one graph: the main one or a body of control flow."""

    def __init__(
        self,
        program: Program,
        graph: Graph,
        function: ir.Function,
        parent: GraphEmitter | None = None,
    ) -> None:
        self.program, self.graph, self.function = program, graph, function
        self.parent = parent
        self.nodes = graph.operators()
        self.late = frozenset(graph.symbols)
        self.bodies: dict[str, list[GraphEmitter]] = {}
        self.steps: dict[str, list[Step]] = {}
        scratch = {node.name: self._scratch(node) for node in self.nodes}
        self._scratch_items = scratch
        reusable = {node.name: reusable_operands(graph, node) for node in self.nodes}
        self.placement: Placement = place(graph, scratch, self.late, reusable)
        self.block = ir.IRBuilder(function.append_basic_block("entry"))
        self.exit = function.append_basic_block("exit")
        self.values, self.arena, self.context = function.args
        self.extents = ExtentEmitter(self._load_symbol, self.late)
        self.result = self.block.alloca(I32, name="result")
        self._late_slots: list[ir.Value] = []

    # --- preparation ---------------------------------------------------------------------

    def _scratch(self, node: Node) -> list[Scratch]:
        from .control_flow import prepare_control_flow

        if "control" in node.op.traits:
            return prepare_control_flow(self, node)
        if "view" in node.op.traits or is_elementwise(node):
            return []
        try:
            self.steps[node.name] = steps_of(self.graph, node, None)
        except NoKernelError as error:
            self.program.missing += error.items
            return []
        return scratch_of(node, self.steps[node.name])

    # --- emission ------------------------------------------------------------------------

    def emit(self) -> None:
        """Fill the function."""
        builder = self.block
        builder.store(ir.Constant(I32, 0), self.result)
        null = ir.Constant(POINTER, None)
        for _ in range(self.placement.late_count):
            slot = builder.alloca(POINTER)
            builder.store(null, slot)
            self._late_slots.append(slot)
        sources: dict[Value, list[str]] = {}
        for name, (source, _) in self.graph.symbols.items():
            sources.setdefault(source, []).append(name)
        for value in (*self.graph.inputs, *map(Value, self.graph.params)):
            self._measure(value, sources)
        for number, node in enumerate(self.nodes):
            self._node(node)
            for value in node.outputs:
                self._measure(value, sources)
            self._release(self.placement.late_end.get(number, ()))
        self._copy_outputs()
        builder.branch(self.exit)
        builder.position_at_end(self.exit)
        self._finish()

    def _node(self, node: Node) -> None:
        from .control_flow import emit_control_flow

        self._check_equalities(node)
        self._check_late_types(node)
        self._allocate_late(node)
        if "view" in node.op.traits:
            return
        if "control" in node.op.traits:
            emit_control_flow(self, node)
            return
        steps = self.steps.get(node.name)
        if steps is None:
            steps = steps_of(self.graph, node, self.placement.in_place.get(node.name))
        errors = tuple(call.error or "" for step in steps for call in step.calls if call.error)
        skip = self._skip_if_empty(node.types)
        number = self.program.step(StepInfo(str(node), errors))
        for step in steps:
            self._kernel(node, step, number)
        if skip is not None:
            self.block.branch(skip)
            self.block.position_at_end(skip)

    def _skip_if_empty(self, types: Sequence[TensorType]) -> ir.Block | None:
        """Start a block that runs only where an output has elements (None: always)."""
        if all(type_.is_static for type_ in types):
            if all(type_.size == 0 for type_ in types):
                after = self.function.append_basic_block("skipped")
                self.block.branch(after)
                self.block.position_at_end(self.function.append_basic_block("never"))
                return after
            return None
        full: ir.Value = ir.Constant(ir.IntType(1), 0)
        zero = ir.Constant(I64, 0)
        for type_ in types:
            size = self.extents.emit(self.block, type_.size)
            full = self.block.or_(full, self.block.icmp_signed("!=", size, zero))
        run = self.function.append_basic_block("run")
        after = self.function.append_basic_block("skipped")
        self.block.cbranch(full, run, after)
        self.block.position_at_end(run)
        return after

    def _kernel(self, node: Node, step: Step, number: int) -> None:
        kernel = self.program.kernels.kernel(step.calls, step.movement)
        arguments = [self._view(node, view) for call in step.calls for view in call.operands]
        arguments += [self.extents.emit(self.block, extent) for extent in kernel.extents]
        items = self.extents.emit(self.block, kernel.items)
        serial = [ir.Constant(I64, 0), items, *arguments]
        if kernel.items == 1 or not self._is_worth_sharing(node):
            status = self.block.call(kernel.function, serial)
        else:
            status = self._shared(kernel, arguments, items, serial)
        ok = self.block.icmp_signed("==", status, ir.Constant(I64, 0))
        self.fail_unless(ok, number, status)

    def _is_worth_sharing(self, node: Node) -> bool:
        """False for a node that one thread finishes before another one has noticed it."""
        types = [None if value is None else self.graph.type(value) for value in node.inputs]
        cost = node.op.cost_of(types, node.attrs)
        if not isinstance(cost.flops, int) or not isinstance(cost.nbytes, int):
            return True
        return cost.flops / _FLOPS_A_SECOND + cost.nbytes / _BYTES_A_SECOND > _SHARED_SECONDS

    def _shared(
        self, kernel: Kernel, arguments: list[ir.Value], items: ir.Value, serial: list[ir.Value]
    ) -> ir.Value:
        """The status of a kernel that the thread pool runs, if there is one."""
        builder = self.block
        self.program.shares = True
        with builder.goto_entry_block():
            table = builder.alloca(I64, size=max(len(arguments), 1))
        pool = self.context_field(Context.POOL)
        alone = self.function.append_basic_block("alone")
        together = self.function.append_basic_block("together")
        after = self.function.append_basic_block("computed")
        null = ir.Constant(POINTER, None)
        builder.cbranch(builder.icmp_unsigned("==", pool, null), alone, together)
        builder.position_at_end(alone)
        own = builder.call(kernel.function, serial)
        builder.branch(after)
        builder.position_at_end(together)
        table.type = POINTER
        for number, argument in enumerate(arguments):
            place_ = builder.gep(table, [ir.Constant(I64, number)], source_etype=I64)
            builder.store(argument, place_)
        parallel = declare_parallel(self.program.module)
        shared = builder.call(parallel, [pool, kernel.job, table, items])
        builder.branch(after)
        builder.position_at_end(after)
        status = builder.phi(I64)
        status.add_incoming(own, alone)
        status.add_incoming(shared, together)
        return status

    def _view(self, node: Node, view: View) -> ir.Value:
        if isinstance(view.source, Workspace):
            return self.address_of(self.placement.scratch[node.name, view.source.key])
        if view.source < len(node.inputs):
            value = node.inputs[view.source]
            assert value is not None, "operands that are left out have no views"
        else:
            value = node.outputs[view.source - len(node.inputs)]
        return self.address(value)

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

    # --- what is known only while running --------------------------------------------------

    def _measure(self, value: Value, sources: Mapping[Value, Sequence[str]]) -> None:
        for name in sources.get(value, ()):
            position = self.graph.symbols[name][1]
            address = self.address(value)
            slot = self.block.gep(address, [ir.Constant(I64, position)], source_etype=I64)
            measured = self.block.load(slot, typ=I64)
            low, high = ir.Constant(I64, -_LARGEST_MEASURED), ir.Constant(I64, _LARGEST_MEASURED)
            fits = self.block.and_(
                self.block.icmp_signed(">=", measured, low),
                self.block.icmp_signed("<=", measured, high),
            )
            number = self.program.step(StepInfo(f"the extent {name!r}", ()))
            self.fail_unless(fits, number, ir.Constant(I64, int(Failure.BAD_EXTENT)))
            self.block.store(measured, self._symbol_slot(name))

    def _check_equalities(self, node: Node) -> None:
        for equality in self.graph.equalities:
            unchecked = self._is_unchecked(equality.left) or self._is_unchecked(equality.right)
            if equality.node != node.name or not unchecked:
                continue
            left = self.extents.emit(self.block, equality.left)
            right = self.extents.emit(self.block, equality.right)
            text = f"{node}: extents {equality.left} and {equality.right}"
            number = self.program.step(StepInfo(text, ()))
            same = self.block.icmp_signed("==", left, right)
            self.fail_unless(same, number, ir.Constant(I64, int(Failure.UNEQUAL_EXTENTS)))

    def _check_late_types(self, node: Node) -> None:
        """Extents that only the run knows must be extents, and their tensors fit into memory."""
        types = [t for t in node.types if any(map(self._is_unchecked, t.shape))]
        extents = {e for type_ in types for e in type_.shape if self._is_unchecked(e)}
        for extent in sorted(extents, key=repr):
            value = self.extents.emit(self.block, extent)
            fits = self.block.icmp_unsigned("<=", value, ir.Constant(I64, _LARGEST_MEASURED))
            number = self.program.step(StepInfo(f"{node}: extent {extent}", ()))
            self.fail_unless(fits, number, ir.Constant(I64, int(Failure.BAD_EXTENT)))
        for type_ in types:
            # In floating point, because the product of large extents may not fit 64 bits.
            size: ir.Value = ir.Constant(DOUBLE, float(item_size(type_.dtype)))
            for extent in type_.shape:
                value = self.extents.emit(self.block, extent)
                size = self.block.fmul(size, self.block.sitofp(value, DOUBLE))
            limit = self.block.ptrtoint(self.context_field(Context.MEMORY_LIMIT), I64)
            fits = self.block.fcmp_ordered("<=", size, self.block.sitofp(limit, DOUBLE))
            number = self.program.step(StepInfo(str(node), ()))
            self.fail_unless(fits, number, ir.Constant(I64, int(Failure.OUT_OF_MEMORY)))

    def _is_unchecked(self, extent: Extent) -> bool:
        """True for an extent that the host has not checked: measured ones, all in bodies."""
        if self.parent is not None:
            return not isinstance(extent, int)
        return is_late(extent, self.late)

    def _allocate_late(self, node: Node) -> None:
        wanted: list[tuple[Place, Extent]] = []
        if "view" not in node.op.traits and node.name not in self.placement.in_place:
            for value in node.outputs:
                wanted.append((self.placement.places[value], self.graph.type(value).nbytes))
        for item in self._scratch_items[node.name]:
            wanted.append((self.placement.scratch[item.node, item.key], item.nbytes))
        for place_, nbytes in wanted:
            if place_.kind is Kind.LATE:
                self._allocate(node, place_, nbytes)

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
