"""Running the items of a kernel on several threads: the native side, as LLVM instructions.

The thread that runs a program publishes a job (a function, its arguments, a number of items)
in a *pool* and takes part in it; workers that are awake help. The items are cut in chunks, and
each thread has a *ticket* for a range of them. It takes the range's chunks one by one from the
front, and when there are none left, those of other threads from the back. So the same thread
computes the same part of every tensor, which then is in its caches, and one that comes late or
is preempted delays little.

One atomic word holds a ticket's number of chunks and how many of them were taken at either end,
so a claim is one addition, and a thread that comes late finds nothing to do, whatever job is
there by then. The caller waits only for chunks that were claimed, never for a thread that
sleeps. Workers spin for a while, then sleep on a futex. Items are independent, so results do not
depend on who did what.

What happens when another program takes one of the processors is in :mod:`.stalls`.
"""

from __future__ import annotations

from llvmlite import ir

from .calling import STOP, TICKET_FIELDS, WORKER, Pool
from .extents import I64
from .stalls import note_stall, pool_field
from .waiting import clock_function, give_way, pause, sleep_while, wake_all

POINTER = ir.PointerType()
I32, BOOLEAN = ir.IntType(32), ir.IntType(1)
JOB_TYPE = ir.FunctionType(I64, [POINTER, I64, I64])

PARALLEL = "opweave_parallel"
PARALLEL_TYPE = ir.FunctionType(I64, [POINTER, POINTER, POINTER, I64])
PAUSE = "ow_pause"
PAUSE_TYPE = ir.FunctionType(ir.VoidType(), [])
WORKER_TYPE = ir.FunctionType(ir.VoidType(), [POINTER])


# ticket = chunks << 32 | taken at the back << 16 | taken at the front; claims that came too late
# are counted too, and there are no more of these than threads.
_FIELD_BITS = 16
_FIELD_MASK = (1 << _FIELD_BITS) - 1
# Chunks of each thread's range: enough to be shared when it is late.
_CHUNKS_A_THREAD = 4
# Rounds of waiting, each a pause instruction: about half a millisecond before a worker sleeps.
_SPINS_BEFORE_SLEEP = 20_000
_SPINS_BEFORE_CLOCK = 2_000
# Nanoseconds of waiting before the caller gives its processor away.
_PATIENCE = 500_000


def _c(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def declare_parallel(module: ir.Module) -> ir.Function:
    """``status = opweave_parallel(pool, job, arguments, items)``; defined by the runtime."""
    return module.globals.get(PARALLEL) or ir.Function(module, PARALLEL_TYPE, PARALLEL)


def declare_pause(module: ir.Module) -> ir.Function:
    """``ow_pause()``; defined by the runtime."""
    return module.globals.get(PAUSE) or ir.Function(module, PAUSE_TYPE, PAUSE)


def runtime_text(machine: str) -> str:
    """A module that defines the runtime's functions for a machine such as "x86_64"."""
    return str(_Runtime(machine).module)


class _Runtime:
    """Emits the runtime."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.module = ir.Module("opweave_parallel")
        self.clock = clock_function(self.module)
        self.claim, self.available = self._emit_claim(), self._emit_available()
        self._emit_parallel()
        self._emit_worker()
        self._emit_stop()
        self._emit_pause()

    # --- small pieces ----------------------------------------------------------------------

    def _load(self, builder: ir.IRBuilder, pool: ir.Value, field: Pool) -> ir.Value:
        """An atomic load that sees what was written before the value was."""
        return builder.load_atomic(pool_field(builder, pool, field), "seq_cst", 8, typ=I64)

    def _store(self, builder: ir.IRBuilder, pool: ir.Value, field: Pool, value: ir.Value) -> None:
        # An exchange, because llvmlite's atomic store does not know opaque pointers.
        builder.atomic_rmw("xchg", pool_field(builder, pool, field), value, "seq_cst")

    def _add(self, builder: ir.IRBuilder, pool: ir.Value, field: Pool, value: int) -> ir.Value:
        place = pool_field(builder, pool, field)
        return builder.atomic_rmw("add", place, _c(value), "seq_cst")

    def _ticket(self, builder: ir.IRBuilder, pool: ir.Value, thread: ir.Value) -> ir.Value:
        """Where a thread's ticket is."""
        offset = builder.mul(thread, _c(TICKET_FIELDS))
        return builder.gep(pool_field(builder, pool, Pool.TICKETS), [offset], source_etype=I64)

    def _taken(
        self, builder: ir.IRBuilder, ticket: ir.Value
    ) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value]:
        """Whether a ticket has a chunk left, its chunks, and those taken at the front and back."""
        chunks = builder.lshr(ticket, _c(2 * _FIELD_BITS))
        front = builder.and_(ticket, _c(_FIELD_MASK))
        back = builder.and_(builder.lshr(ticket, _c(_FIELD_BITS)), _c(_FIELD_MASK))
        left = builder.icmp_unsigned("<", builder.add(front, back), chunks)
        return left, chunks, front, back

    def _first_chunk(
        self, builder: ir.IRBuilder, thread: ir.Value, threads: ir.Value, chunks: ir.Value
    ) -> ir.Value:
        """The first chunk of a thread's range; the caller, thread 0, has the longest."""
        product = builder.add(builder.mul(thread, chunks), builder.sub(threads, _c(1)))
        return builder.udiv(product, threads)

    def _emit_pause(self) -> None:
        """``void ow_pause()``: tell the processor that this is a loop that waits."""
        function = ir.Function(self.module, PAUSE_TYPE, PAUSE)
        function.attributes.add("alwaysinline")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        pause(builder, self.machine)
        builder.ret_void()

    # --- functions -------------------------------------------------------------------------

    def _emit_claim(self) -> ir.Function:
        """``bool claim(pool, thread)``: claim one chunk and run it; false when there is none."""
        function = ir.Function(self.module, ir.FunctionType(BOOLEAN, [POINTER, I64]), "claim")
        function.linkage = "internal"
        pool, thread = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        names = ("own", "others", "look", "steal", "stolen", "next", "none", "run")
        blocks = {name: function.append_basic_block(name) for name in names}
        ir.IRBuilder(blocks["none"]).ret(ir.Constant(BOOLEAN, 0))
        threads = builder.load(pool_field(builder, pool, Pool.THREADS), typ=I64)
        own = builder.atomic_rmw("add", self._ticket(builder, pool, thread), _c(1), "seq_cst")
        left, _, front, _ = self._taken(builder, own)
        builder.cbranch(left, blocks["own"], blocks["others"])
        builder.position_at_end(blocks["own"])
        builder.branch(blocks["run"])

        # The others' tickets, one after the other, beginning with the next thread's.
        others = ir.IRBuilder(blocks["others"])
        has_others = others.icmp_unsigned(">", threads, _c(1))
        others.cbranch(has_others, blocks["look"], blocks["none"])
        look = ir.IRBuilder(blocks["look"])
        distance = look.phi(I64)
        distance.add_incoming(_c(1), blocks["others"])
        victim = look.urem(look.add(thread, distance), threads)
        place = self._ticket(look, pool, victim)
        seen = self._taken(look, look.load_atomic(place, "seq_cst", 8, typ=I64))
        look.cbranch(seen[0], blocks["steal"], blocks["next"])
        steal = ir.IRBuilder(blocks["steal"])
        ticket = steal.atomic_rmw("add", place, _c(1 << _FIELD_BITS), "seq_cst")
        still, size, _, back = self._taken(steal, ticket)
        steal.cbranch(still, blocks["stolen"], blocks["next"])
        stolen = ir.IRBuilder(blocks["stolen"])
        last = stolen.sub(stolen.sub(size, _c(1)), back)
        stolen.branch(blocks["run"])
        after = ir.IRBuilder(blocks["next"])
        following = after.add(distance, _c(1))
        distance.add_incoming(following, blocks["next"])
        more = after.icmp_unsigned("<", following, threads)
        after.cbranch(more, blocks["look"], blocks["none"])

        builder.position_at_end(blocks["run"])
        whose, number = builder.phi(I64), builder.phi(I64)
        for phi, mine, theirs in ((whose, thread, victim), (number, front, last)):
            phi.add_incoming(mine, blocks["own"])
            phi.add_incoming(theirs, blocks["stolen"])
        # The job cannot change before this chunk is done.
        job = builder.load(pool_field(builder, pool, Pool.JOB), typ=POINTER)
        arguments = builder.load(pool_field(builder, pool, Pool.ARGUMENTS), typ=POINTER)
        items = builder.load(pool_field(builder, pool, Pool.ITEMS), typ=I64)
        chunks = builder.load(pool_field(builder, pool, Pool.CHUNKS), typ=I64)
        number = builder.add(number, self._first_chunk(builder, whose, threads, chunks))
        # Chunks of almost the same size: threads with as many of them have as much to do.
        begin, end = (
            builder.udiv(builder.mul(builder.add(number, _c(k)), items), chunks) for k in (0, 1)
        )
        status = builder.call(_typed(job), [arguments, begin, end])
        bad = function.append_basic_block("bad")
        done = function.append_basic_block("done")
        builder.cbranch(builder.icmp_signed("!=", status, _c(0)), bad, done)
        builder.position_at_end(bad)
        self._store(builder, pool, Pool.STATUS, status)
        builder.branch(done)
        builder.position_at_end(done)
        with builder.if_then(builder.icmp_unsigned(">", thread, _c(0))):
            builder.store(builder.call(self.clock, []), pool_field(builder, pool, Pool.HELPED))
        self._add(builder, pool, Pool.DONE, 1)
        builder.ret(ir.Constant(BOOLEAN, 1))
        return function

    def _emit_available(self) -> ir.Function:
        """``bool available(pool)``: whether any ticket has a chunk left."""
        function = ir.Function(self.module, ir.FunctionType(BOOLEAN, [POINTER]), "available")
        function.linkage = "internal"
        (pool,) = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        look, after, found, none = (
            function.append_basic_block(name) for name in ("look", "next", "found", "none")
        )
        ir.IRBuilder(found).ret(ir.Constant(BOOLEAN, 1))
        ir.IRBuilder(none).ret(ir.Constant(BOOLEAN, 0))
        threads = builder.load(pool_field(builder, pool, Pool.THREADS), typ=I64)
        entry = builder.block
        builder.branch(look)
        builder.position_at_end(look)
        thread = builder.phi(I64)
        thread.add_incoming(_c(0), entry)
        place = self._ticket(builder, pool, thread)
        left, *_ = self._taken(builder, builder.load_atomic(place, "seq_cst", 8, typ=I64))
        builder.cbranch(left, found, after)
        builder.position_at_end(after)
        following = builder.add(thread, _c(1))
        thread.add_incoming(following, after)
        builder.cbranch(builder.icmp_unsigned("<", following, threads), look, none)
        return function

    def _emit_parallel(self) -> None:
        function = ir.Function(self.module, PARALLEL_TYPE, PARALLEL)
        pool, job, arguments, items = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        names = ("alone", "together", "wake", "help", "wait", "finished")
        blocks = {name: function.append_basic_block(name) for name in names}
        until = builder.load(pool_field(builder, pool, Pool.ALONE_UNTIL), typ=I64)
        start = builder.call(self.clock, [])
        builder.cbranch(builder.icmp_signed("<", start, until), blocks["alone"], blocks["together"])
        builder.position_at_end(blocks["alone"])
        builder.ret(builder.call(_typed(job), [arguments, _c(0), items]))
        builder.position_at_end(blocks["together"])
        threads = builder.load(pool_field(builder, pool, Pool.THREADS), typ=I64)
        chunks = builder.mul(threads, _c(_CHUNKS_A_THREAD))
        chunks = builder.select(builder.icmp_signed("<", chunks, items), chunks, items)
        for field, value in (
            (Pool.JOB, job),
            (Pool.ARGUMENTS, arguments),
            (Pool.ITEMS, items),
            (Pool.CHUNKS, chunks),
            (Pool.STATUS, _c(0)),
            (Pool.DONE, _c(0)),
        ):
            builder.store(value, pool_field(builder, pool, field))
        self._publish(builder, pool, threads, chunks)
        sleepers = self._load(builder, pool, Pool.SLEEPERS)
        builder.cbranch(builder.icmp_signed(">", sleepers, _c(0)), blocks["wake"], blocks["help"])
        builder.position_at_end(blocks["wake"])
        self._add(builder, pool, Pool.WAKE, 1)
        wake_all(builder, pool_field(builder, pool, Pool.WAKE), self.machine)
        builder.branch(blocks["help"])
        builder.position_at_end(blocks["help"])
        more = builder.call(self.claim, [pool, _c(0)])
        builder.cbranch(more, blocks["help"], blocks["wait"])
        waited_from = self._emit_wait(builder, pool, chunks, blocks)
        builder.position_at_end(blocks["finished"])
        note_stall(builder, self.clock, pool, start, waited_from)
        builder.ret(builder.load(pool_field(builder, pool, Pool.STATUS), typ=I64))

    def _publish(
        self, builder: ir.IRBuilder, pool: ir.Value, threads: ir.Value, chunks: ir.Value
    ) -> None:
        """Give out the tickets, the caller's last."""
        before = builder.block
        each, after = (builder.append_basic_block(name) for name in ("ticket", "given"))
        builder.branch(each)
        builder.position_at_end(each)
        left, end = builder.phi(I64), builder.phi(I64)
        thread = builder.sub(left, _c(1))
        first = self._first_chunk(builder, thread, threads, chunks)
        ticket = builder.shl(builder.sub(end, first), _c(2 * _FIELD_BITS))
        builder.atomic_rmw("xchg", self._ticket(builder, pool, thread), ticket, "seq_cst")
        for phi, start, following in ((left, threads, thread), (end, chunks, first)):
            phi.add_incoming(start, before)
            phi.add_incoming(following, each)
        builder.cbranch(builder.icmp_unsigned(">", thread, _c(0)), each, after)
        builder.position_at_end(after)

    def _emit_wait(
        self, builder: ir.IRBuilder, pool: ir.Value, chunks: ir.Value, blocks: dict[str, ir.Block]
    ) -> ir.Value:
        """Wait until the claimed chunks are done; give the processor away if it takes long.

        Gives the time from which on it took long, 0 where it did not.
        """
        builder.position_at_end(blocks["wait"])
        names = ("spin", "long", "tired", "again")
        spin, long, tired, again = (builder.append_basic_block(name) for name in names)
        spins, since = builder.phi(I64), builder.phi(I64)
        done = self._load(builder, pool, Pool.DONE)
        builder.cbranch(builder.icmp_signed(">=", done, chunks), blocks["finished"], spin)
        builder.position_at_end(spin)
        pause(builder, self.machine)
        following = builder.add(spins, _c(1))
        builder.cbranch(builder.icmp_signed(">", following, _c(_SPINS_BEFORE_CLOCK)), long, again)
        builder.position_at_end(long)
        now = builder.call(self.clock, [])
        marked = builder.select(builder.icmp_signed("==", since, _c(0)), now, since)
        # Another program that waits for this processor would keep it for milliseconds.
        is_patient = builder.icmp_signed("<", builder.sub(now, marked), _c(_PATIENCE))
        builder.cbranch(is_patient, again, tired)
        builder.position_at_end(tired)
        give_way(builder)
        builder.branch(again)
        builder.position_at_end(again)
        mark = builder.phi(I64)
        for block, value in ((spin, since), (long, marked), (tired, marked)):
            mark.add_incoming(value, block)
        for phi, value in ((spins, following), (since, mark)):
            phi.add_incoming(_c(0), blocks["help"])
            phi.add_incoming(value, again)
        builder.branch(blocks["wait"])
        return since

    def _emit_worker(self) -> None:
        """``void ow_worker(pool)``: help until the pool stops."""
        function = ir.Function(self.module, WORKER_TYPE, WORKER)
        (pool,) = function.args
        names = ("look", "work", "idle", "tired", "sleep", "awake", "stop", "next")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        thread = builder.add(self._add(builder, pool, Pool.WORKERS, 1), _c(1))
        blocks = {name: function.append_basic_block(name) for name in names}
        builder.branch(blocks["look"])
        entry = builder.block
        builder.position_at_end(blocks["look"])
        spins = builder.phi(I64)
        spins.add_incoming(_c(0), entry)
        available = builder.call(self.available, [pool])
        builder.cbranch(available, blocks["work"], blocks["idle"])
        builder.position_at_end(blocks["work"])
        builder.call(self.claim, [pool, thread])
        spins.add_incoming(_c(0), builder.block)
        builder.branch(blocks["look"])
        builder.position_at_end(blocks["idle"])
        stop = self._load(builder, pool, Pool.STOP)
        builder.cbranch(builder.icmp_signed("!=", stop, _c(0)), blocks["stop"], blocks["next"])
        ir.IRBuilder(blocks["stop"]).ret_void()
        builder.position_at_end(blocks["next"])
        pause(builder, self.machine)
        following = builder.add(spins, _c(1))
        spins.add_incoming(following, builder.block)
        builder.cbranch(
            builder.icmp_signed("<", following, _c(_SPINS_BEFORE_SLEEP)),
            blocks["look"],
            blocks["tired"],
        )
        builder.position_at_end(blocks["tired"])
        # First say that somebody sleeps, then look once more: the caller does it the other way.
        wake = self._load(builder, pool, Pool.WAKE)
        self._add(builder, pool, Pool.SLEEPERS, 1)
        stop = self._load(builder, pool, Pool.STOP)
        available = builder.call(self.available, [pool])
        stay = builder.or_(available, builder.icmp_signed("!=", stop, _c(0)))
        builder.cbranch(stay, blocks["awake"], blocks["sleep"])
        builder.position_at_end(blocks["sleep"])
        low = builder.and_(wake, _c(2**32 - 1))
        sleep_while(builder, pool_field(builder, pool, Pool.WAKE), low, self.machine)
        builder.branch(blocks["awake"])
        builder.position_at_end(blocks["awake"])
        self._add(builder, pool, Pool.SLEEPERS, -1)
        spins.add_incoming(_c(0), builder.block)
        builder.branch(blocks["look"])

    def _emit_stop(self) -> None:
        """``void ow_stop(pool)``: let the workers come back."""
        function = ir.Function(self.module, WORKER_TYPE, STOP)
        (pool,) = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._store(builder, pool, Pool.STOP, _c(1))
        self._add(builder, pool, Pool.WAKE, 1)
        wake_all(builder, pool_field(builder, pool, Pool.WAKE), self.machine)
        builder.ret_void()


def _typed(job: ir.Value) -> ir.Value:
    """A loaded function pointer, with the type that llvmlite needs for a call."""
    job.type = JOB_TYPE.as_pointer()
    return job
