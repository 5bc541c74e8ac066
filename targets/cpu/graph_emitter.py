"""From the nodes of a graph to the code that runs their kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llvmlite import ir

from ...ir import Extent, Graph, Node, NoKernelError, TensorType, Value, View, Workspace
from ...ir.data_type import item_size
from .calling import Context, Failure, StepInfo
from .extents import I64
from .graph_function import I32, GraphFunction
from .kernels import POINTER, Kernel
from .lowering import Step, is_elementwise, reusable_operands, scratch_of, steps_of
from .parallel import declare_parallel
from .placement import Kind, Place, Scratch, place
from .program import Program

# No measured symbol may be larger: sizes computed from a few of them then stay within 64 bits.
_LARGEST_MEASURED = 2**40
# Kernels that take less than this on one thread are not worth handing out; the rates are
# what one core does at least, so that the estimate is an upper one.
_SHARED_SECONDS = 4e-6
_FLOPS_A_SECOND = 5e10
_BYTES_A_SECOND = 2e10
_DOUBLE = ir.DoubleType()


class GraphEmitter(GraphFunction):
    """Emits the function of one graph: the main one or a body of control flow."""

    def __init__(
        self,
        program: Program,
        graph: Graph,
        function: ir.Function,
        parent: GraphEmitter | None = None,
    ) -> None:
        super().__init__(program, graph, function, parent)
        self.nodes = graph.operators()
        self.bodies: dict[str, list[GraphEmitter]] = {}
        self.steps: dict[str, list[Step]] = {}
        self._scratch_items = {node.name: self._scratch(node) for node in self.nodes}
        reusable = {node.name: reusable_operands(graph, node) for node in self.nodes}
        self.placement = place(graph, self._scratch_items, self.late, reusable)

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
            size: ir.Value = ir.Constant(_DOUBLE, float(item_size(type_.dtype)))
            for extent in type_.shape:
                value = self.extents.emit(self.block, extent)
                size = self.block.fmul(size, self.block.sitofp(value, _DOUBLE))
            limit = self.block.ptrtoint(self.context_field(Context.MEMORY_LIMIT), I64)
            fits = self.block.fcmp_ordered("<=", size, self.block.sitofp(limit, _DOUBLE))
            number = self.program.step(StepInfo(str(node), ()))
            self.fail_unless(fits, number, ir.Constant(I64, int(Failure.OUT_OF_MEMORY)))

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
