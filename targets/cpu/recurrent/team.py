"""Several threads on one direction: each takes slices of a step's panels, then all meet.

A slice of a step is claimed with one atomic maximum on the slice's word, which holds how many
stages have been claimed; a counter says how many slices are done. Every member prefers a slice
of its own, whose weights then stay in its cache, and takes what nobody has claimed. So a member
that never comes costs nothing but its help, a single thread may run the members one after the
other, and nobody waits except for a slice that somebody is computing.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ....ir import Extent
from ..dense.tile import I32, I64, constant, intrinsic
from ..parallel import declare_pause
from ..spatial.loops import for_each
from .plan import Plan

POINTER = ir.PointerType()
_LINE = 8  # words of a cache line, so that members do not contend for one
_SPINS_BEFORE_YIELD = 2_000

# Emits the slice of a phase (number) of a step: first panel, number of panels.
Run = Callable[[int, ir.Value, ir.Value, ir.Value], None]


def sync_words(plan: Plan, blocks: Extent) -> Extent:
    """Words of eight bytes, zero at first, that the members need."""
    return blocks * (plan.directions * (1 + plan.members) * _LINE)


class Team:
    """Emits a member's work on one direction of some rows."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        sync: ir.Value,
        plan: Plan,
        chain: ir.Value,
        member: ir.Value,
    ) -> None:
        self.builder, self.plan, self.member = builder, plan, member
        size = (1 + plan.members) * _LINE
        self.done = builder.gep(sync, [builder.mul(chain, constant(size))], source_etype=I64)

    def emit(self, time: ir.Value, run: Run) -> None:
        """Stages (steps by phases) until all are done, whoever did them."""
        builder, plan = self.builder, self.plan
        phases = len(plan.phases)
        stages = builder.mul(time, constant(phases))
        look = builder.append_basic_block("look")
        stage_block = builder.append_basic_block("stage")
        after = builder.append_basic_block("all_done")
        builder.branch(look)
        builder.position_at_end(look)
        # Others may be ahead, of one that comes late or was away.
        done = builder.load_atomic(self.done, "seq_cst", 8, typ=I64)
        stage = builder.sdiv(done, constant(plan.members))
        builder.cbranch(builder.icmp_signed("<", stage, stages), stage_block, after)
        builder.position_at_end(stage_block)
        following = builder.add(stage, constant(1))
        step = builder.sdiv(stage, constant(phases))
        phase = builder.srem(stage, constant(phases))

        def attempt(number: ir.Value) -> None:
            mine = builder.srem(builder.add(self.member, number), constant(plan.members))
            line = builder.mul(builder.add(mine, constant(1)), constant(_LINE))
            claim = builder.gep(self.done, [line], source_etype=I64)
            before = builder.atomic_rmw("max", claim, following, "seq_cst")
            with builder.if_then(builder.icmp_signed("<", before, following)):
                self._slice(step, phase, mine, run)
                builder.atomic_rmw("add", self.done, constant(1), "seq_cst")

        for_each(builder, constant(plan.members), attempt)
        wanted = builder.mul(following, constant(plan.members))
        builder.call(self._wait(), [self.done, wanted])
        builder.branch(look)
        builder.position_at_end(after)

    def _slice(self, step: ir.Value, phase: ir.Value, mine: ir.Value, run: Run) -> None:
        builder, plan = self.builder, self.plan
        for known in plan.phases:
            is_this = builder.icmp_signed("==", phase, constant(known.number))
            with builder.if_then(is_this):
                first, end = (
                    builder.sdiv(builder.mul(place, constant(known.panels)), constant(plan.members))
                    for place in (mine, builder.add(mine, constant(1)))
                )
                run(known.number, step, first, builder.sub(end, first))

    def _wait(self) -> ir.Function:
        """``wait(word, value)``: until the word has the value or a larger one."""
        module = self.builder.module
        name = f"{self.builder.function.name}.wait"
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, I64]), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        word, value = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        look, spin = (function.append_basic_block(name) for name in ("look", "spin"))
        long, done = (function.append_basic_block(name) for name in ("long", "done"))
        entry = builder.block
        builder.branch(look)
        builder.position_at_end(look)
        spins = builder.phi(I64)
        spins.add_incoming(constant(0), entry)
        found = builder.load_atomic(word, "seq_cst", 8, typ=I64)
        builder.cbranch(builder.icmp_signed(">=", found, value), done, spin)
        builder.position_at_end(spin)
        builder.call(declare_pause(module), [])
        more = builder.add(spins, constant(1))
        spins.add_incoming(more, spin)
        tired = builder.icmp_signed(">", more, constant(_SPINS_BEFORE_YIELD))
        builder.cbranch(tired, long, look)
        builder.position_at_end(long)
        builder.call(intrinsic(module, "sched_yield", ir.FunctionType(I32, [])), [])
        spins.add_incoming(more, long)
        builder.branch(look)
        ir.IRBuilder(done).ret_void()
        return function
