"""Emits a recurrence: all steps of a sequence in one call, gates computed panel by panel.

A step multiplies the hidden states of a few rows of the batch with the recurrence weights. The
weights are what a step has to read, and for one row all that takes time: they are swept back
and forth, so that what the last step read last is still in a near cache.
"""

from __future__ import annotations

from llvmlite import ir

from ..dense.tile import F32, I32, I64, address, constant, intrinsic, masked_load_function, splat
from ..emitted import Finish
from ..spatial.loops import Values, for_each, repeat
from .cells import gate, gru_mix, lstm_cell
from .lanes import Lanes
from .panel_product import panel_product
from .plan import Phase, Plan
from .team import Team

POINTER = ir.PointerType()
_BIT = ir.IntType(1)
# Floats of a cache line.
_LINE = 16

# Operands of the body, each flat; those that a layer does not have are any others.
OPERANDS = (
    "gates", "packed", "y", "hidden", "states", "sync", "lengths", "peepholes", "reset_bias",
)  # fmt: skip
_ARGUMENTS = ("step", "direction", "row", "rows", "panel", "panels", "time", "batch")


def write_recurrence(plan: Plan, function: ir.Function, finish: Finish) -> None:
    """The body: some rows of the batch in one direction, or a member's share of them."""
    RecurrenceWriter(plan).write(function)


class RecurrenceWriter:
    """Emits one recurrence."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def write(self, function: ir.Function) -> None:
        """The body; its scalars are the sequence's length and the batch."""
        plan = self.plan
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        item = function.args[0]
        pointers = dict(zip(OPERANDS, function.args[1::2], strict=False))
        time, batch = function.args[-2:]
        if plan.batch is not None:
            batch = constant(plan.batch)
        member = builder.srem(item, constant(plan.members))
        chain = builder.sdiv(item, constant(plan.members))
        direction = builder.srem(chain, constant(plan.directions))
        block = builder.sdiv(chain, constant(plan.directions))
        row = builder.mul(block, constant(plan.rows))
        left = builder.sub(batch, row)
        few = builder.icmp_signed("<", left, constant(plan.rows))
        rows = builder.select(few, left, constant(plan.rows))
        slices = [_SliceWriter(plan, phase, function) for phase in plan.phases]

        def run(phase: int, step: ir.Value, first: ir.Value, count: ir.Value) -> None:
            values = [step, direction, row, rows, first, count, time, batch]
            builder.call(slices[phase].function, [*pointers.values(), *values])

        if plan.members == 1:

            def step(number: ir.Value) -> None:
                for phase in plan.phases:
                    run(phase.number, number, constant(0), constant(phase.panels))

            for_each(builder, time, step)
        else:
            team = Team(builder, pointers["sync"], plan, chain, member)
            team.emit(time, run)
        builder.ret(constant(0))


class _SliceWriter:
    """Emits the function of one phase of a step: some panels, for some rows of the batch."""

    def __init__(self, plan: Plan, phase: Phase, body: ir.Function) -> None:
        self.plan, self.phase = plan, phase
        self.name = f"{body.name}.phase{phase.number}"
        types = [POINTER] * len(OPERANDS) + [I64] * len(_ARGUMENTS)
        self.function = ir.Function(
            body.module, ir.FunctionType(ir.VoidType(), types), f"{self.name}.slice"
        )
        self.function.linkage = "internal"
        self.function.attributes.add("noinline")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.at = dict(zip((*OPERANDS, *_ARGUMENTS), self.function.args, strict=True))
        if plan.batch is not None:
            self.at["batch"] = constant(plan.batch)
        self.vector = ir.VectorType(F32, phase.width)
        self._emit()

    # --- the loops -------------------------------------------------------------------------

    def _emit(self) -> None:
        builder, at, plan, phase = self.builder, self.at, self.plan, self.phase
        heights = self._heights()
        self.sums = builder.alloca(F32, size=max(heights) * phase.columns, name="sums")
        self.sums.align = 64
        self.sums.type = POINTER
        is_odd = builder.and_(at["step"], constant(1))
        self.old = self._state("hidden", is_odd)
        self.new = self._state("hidden", builder.sub(constant(1), is_odd))
        self.states = [self._state("states", constant(k)) for k in range(plan.states)]
        source = self.states[1] if phase.number == 1 else self.old
        weights = builder.mul(at["direction"], constant(plan.direction_size))
        weights = address(builder, at["packed"], builder.add(weights, constant(phase.offset)))
        backwards = builder.icmp_signed("!=", is_odd, constant(0))
        last = builder.sub(at["panels"], constant(1))

        def panel(number: ir.Value) -> None:
            mirrored = builder.select(backwards, builder.sub(last, number), number)
            flat = builder.add(at["panel"], mirrored)
            b = address(builder, weights, builder.mul(flat, constant(phase.panel_size)))
            self._rows(source, b, builder.mul(flat, constant(phase.units)), heights)

        for_each(builder, at["panels"], panel)
        builder.ret_void()

    def _heights(self) -> list[int]:
        """Heights of register tiles that may be met."""
        most = self.phase.most_rows
        if self.plan.batch is None:
            counts = set(range(1, self.plan.rows + 1))
        else:
            rest = self.plan.batch % self.plan.rows
            counts = {self.plan.rows, rest} if rest else {self.plan.rows}
        tiles = {(count, -(-count // most)) for count in counts}
        found = {c // t for c, t in tiles} | {-(-c // t) for c, t in tiles}
        return sorted(found)

    def _rows(self, source: ir.Value, b: ir.Value, unit: ir.Value, heights: list[int]) -> None:
        """All rows of the batch, in tiles of about equal height, for one panel."""
        builder, at = self.builder, self.at
        most = constant(self.phase.most_rows)
        tiles = builder.sdiv(builder.add(at["rows"], builder.sub(most, constant(1))), most)

        def tile(number: ir.Value, carried: Values) -> Values:
            (row,) = carried
            left = builder.sub(builder.add(at["row"], at["rows"]), row)
            share = builder.sub(tiles, number)
            height: ir.Value = constant(heights[0])
            if len(heights) > 1:
                rounded = builder.sub(builder.add(left, share), constant(1))
                height = builder.sdiv(rounded, share)
            for_each(builder, height, lambda k: self._prefetch(builder.add(row, k), unit))
            a = address(builder, source, builder.mul(row, constant(self.plan.padded)))
            self._product(a, b, height, heights)

            def one(k: ir.Value) -> None:
                place = builder.mul(k, constant(self.phase.columns))
                self._cell(builder.add(row, k), unit, address(builder, self.sums, place))

            for_each(builder, height, one)
            return [builder.add(row, height)]

        repeat(builder, tiles, [at["row"]], tile)

    def _product(self, a: ir.Value, b: ir.Value, height: ir.Value, heights: list[int]) -> None:
        builder = self.builder
        if len(heights) == 1:
            builder.call(self._tile(heights[0]), [a, b, self.sums])
            return
        after = builder.append_basic_block("multiplied")
        cases = [builder.append_basic_block(f"rows{rows}") for rows in heights]
        switch = builder.switch(height, cases[0])
        for rows, block in zip(heights, cases, strict=True):
            if block is not cases[0]:
                switch.add_case(constant(rows), block)
            builder.position_at_end(block)
            builder.call(self._tile(rows), [a, b, self.sums])
            builder.branch(after)
        builder.position_at_end(after)

    def _tile(self, rows: int) -> ir.Function:
        name = f"{self.name}.tile{rows}"
        return panel_product(self.builder.module, name, self.phase, self.plan.padded, rows)

    # --- the units -------------------------------------------------------------------------

    def _state(self, operand: str, number: ir.Value) -> ir.Value:
        """Working memory [number][direction][row][unit], at this direction's first row."""
        builder, at, plan = self.builder, self.at, self.plan
        chain = builder.mul(number, constant(plan.directions))
        chain = builder.mul(builder.add(chain, at["direction"]), at["batch"])
        return address(builder, at[operand], builder.mul(chain, constant(plan.padded)))

    def _position(self, row: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Where in its sequence a row of the batch is, and whether that is before its end."""
        builder, at, plan = self.builder, self.at, self.plan
        step, length = at["step"], at["time"]
        if plan.lengths:
            place = builder.gep(at["lengths"], [row], source_etype=I32)
            length = builder.sext(builder.load(place, typ=I32, align=4), I64)
        is_active = builder.icmp_signed("<", step, length)
        mirrored = builder.sub(builder.sub(length, constant(1)), step)
        if plan.directions == 2:
            second = builder.icmp_signed("==", at["direction"], constant(1))
            now = builder.select(second, mirrored, step)
        else:
            now = mirrored if plan.reverse else step
        return now, is_active

    def _gates(self, row: ir.Value, now: ir.Value) -> ir.Value:
        """The input's share of the gates."""
        builder, at, plan = self.builder, self.at, self.plan
        size = plan.gates * plan.hidden
        if plan.batch_first:
            place = builder.add(builder.mul(row, at["time"]), now)
        else:
            place = builder.add(builder.mul(now, at["batch"]), row)
        place = builder.add(builder.mul(place, constant(plan.directions)), at["direction"])
        return address(builder, at["gates"], builder.mul(place, constant(size)))

    def _output(self, row: ir.Value, now: ir.Value) -> ir.Value:
        """Where the hidden state goes."""
        builder, at, plan = self.builder, self.at, self.plan
        if plan.batch_first:
            place = builder.add(builder.mul(row, at["time"]), now)
            place = builder.add(builder.mul(place, constant(plan.directions)), at["direction"])
        else:
            place = builder.add(builder.mul(now, constant(plan.directions)), at["direction"])
            place = builder.add(builder.mul(place, at["batch"]), row)
        return address(builder, at["y"], builder.mul(place, constant(plan.hidden)))

    def _prefetch(self, row: ir.Value, unit: ir.Value) -> None:
        """Fetch the input's share of the gates, which is needed after the product."""
        builder, plan, phase = self.builder, self.plan, self.phase
        type_ = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
        prefetch = intrinsic(builder.module, "llvm.prefetch.p0", type_)
        base = address(builder, self._gates(row, self._position(row)[0]), unit)
        lines = list(range(0, phase.units, _LINE))
        if plan.hidden % _LINE:
            # They begin anywhere in a line, and end in another one.
            lines.append(phase.units - 1)
        for number in range(phase.gates):
            for line in lines:
                place = address(builder, base, (phase.first + number) * plan.hidden + line)
                flags = [ir.Constant(I32, value) for value in (0, 3, 1)]  # read, near, data
                builder.call(prefetch, [place, *flags])

    def _cell(self, row: ir.Value, unit: ir.Value, sums: ir.Value) -> None:
        """The states of one row's units of a panel, from their sums."""
        builder, plan = self.builder, self.plan
        now, is_active = self._position(row)
        states = builder.add(builder.mul(row, constant(plan.padded)), unit)
        if not plan.lengths:
            self._units(row, now, unit, states, sums)
            return
        with builder.if_else(is_active) as (active, done):
            with active:
                self._units(row, now, unit, states, sums)
            with done:
                if self.phase.number == len(plan.phases) - 1:
                    self._keep(row, unit, states)

    def _keep(self, row: ir.Value, unit: ir.Value, states: ir.Value) -> None:
        """After a sequence's end the hidden state stays and the output is zero."""
        builder, phase = self.builder, self.phase
        target = address(builder, self._output(row, self.at["step"]), unit)
        for vector in range(phase.vectors):
            place = builder.add(states, constant(vector * phase.width))
            self._store(self._load(self.old, place), self.new, place)
            zero = Lanes(builder, ir.Constant(self.vector, None))
            self._store(zero, target, constant(vector * phase.width), self._mask(unit, vector))

    def _units(
        self, row: ir.Value, now: ir.Value, unit: ir.Value, states: ir.Value, sums: ir.Value
    ) -> None:
        builder, phase = self.builder, self.phase
        given = address(builder, self._gates(row, now), unit)
        target = address(builder, self._output(row, now), unit)
        for vector in range(phase.vectors):
            offset = vector * phase.width
            mask = self._mask(unit, vector)
            products = [
                self._load(sums, constant((k * phase.vectors + vector) * phase.width))
                for k in range(phase.gates)
            ]
            inputs = [
                self._load(given, constant((phase.first + k) * self.plan.hidden + offset), mask)
                for k in range(phase.gates)
            ]
            place = builder.add(states, constant(offset))
            hidden = self._unit(products, inputs, place, builder.add(unit, constant(offset)), mask)
            if hidden is not None:
                self._store(hidden, self.new, place)
                self._store(hidden, target, constant(offset), mask)

    def _unit(
        self,
        products: list[Lanes],
        inputs: list[Lanes],
        place: ir.Value,
        unit: ir.Value,
        mask: ir.Value | None,
    ) -> Lanes | None:
        """The hidden state of a vector of units; None where another phase computes it."""
        plan, functions, clip = self.plan, self.plan.functions, self.plan.clip
        sums = [product + given for product, given in zip(products, inputs, strict=True)]
        if plan.kind == "lstm":
            peepholes = self._parameters("peepholes", 3, unit, mask) if plan.peepholes else None
            cell = self._load(self.states[0], place)
            hidden, cell = lstm_cell(sums, cell, peepholes, functions, clip, plan.input_forget)
            self._store(cell, self.states[0], place)
            return hidden
        if plan.kind == "rnn":
            return gate(sums[0], functions[0], clip)
        old = self._load(self.old, place)
        if plan.kind == "gru_late_reset":
            (bias,) = self._parameters("reset_bias", 1, unit, mask)
            update = gate(sums[0], functions[0], clip)
            reset = gate(sums[1], functions[0], clip)
            new = gate(inputs[2] + reset * (products[2] + bias), functions[1], clip)
            return gru_mix(update, new, old)
        if self.phase.number == 0:
            self._store(gate(sums[0], functions[0], clip), self.states[0], place)
            self._store(gate(sums[1], functions[0], clip) * old, self.states[1], place)
            return None
        new = gate(sums[0], functions[1], clip)
        return gru_mix(self._load(self.states[0], place), new, old)

    def _parameters(
        self, operand: str, count: int, unit: ir.Value, mask: ir.Value | None
    ) -> list[Lanes]:
        """Vectors of an operand [direction, count, hidden]."""
        builder, hidden = self.builder, self.plan.hidden
        first = builder.mul(self.at["direction"], constant(count * hidden))
        place = builder.add(first, unit)
        base = self.at[operand]
        return [
            self._load(base, builder.add(place, constant(k * hidden)), mask) for k in range(count)
        ]

    # --- vectors ---------------------------------------------------------------------------

    def _mask(self, unit: ir.Value, vector: int) -> ir.Value | None:
        """Which lanes are units of the layer; None where all are."""
        phase, builder = self.phase, self.builder
        if phase.hidden % phase.units == 0:
            return None
        lanes = [ir.Constant(I64, vector * phase.width + k) for k in range(phase.width)]
        steps = ir.Constant(ir.VectorType(I64, phase.width), lanes)
        left = builder.sub(constant(phase.hidden), unit)
        return builder.icmp_signed("<", steps, splat(builder, left, phase.width))

    def _load(self, base: ir.Value, offset: ir.Value, mask: ir.Value | None = None) -> Lanes:
        builder = self.builder
        place = address(builder, base, offset)
        if mask is None:
            return Lanes(builder, builder.load(place, typ=self.vector, align=4))
        load = masked_load_function(builder.module, self.phase.width)
        zero = ir.Constant(self.vector, None)
        return Lanes(builder, builder.call(load, [place, ir.Constant(I32, 4), mask, zero]))

    def _store(
        self, value: Lanes, base: ir.Value, offset: ir.Value, mask: ir.Value | None = None
    ) -> None:
        builder = self.builder
        place = address(builder, base, offset)
        if mask is None:
            builder.store(value.value, place, align=4)
            return
        mask_type = ir.VectorType(_BIT, self.phase.width)
        type_ = ir.FunctionType(ir.VoidType(), [self.vector, POINTER, I32, mask_type])
        name = f"llvm.masked.store.v{self.phase.width}f32.p0"
        store = intrinsic(builder.module, name, type_)
        builder.call(store, [value.value, place, ir.Constant(I32, 4), mask])
