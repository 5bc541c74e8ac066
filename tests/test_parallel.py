"""Items on several threads: each is done once, whoever takes part."""

from __future__ import annotations

import ctypes
import platform
import threading
import time

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from opweave.targets.cpu.calling import STOP, WORKER, Pool, pool_bytes
from opweave.targets.cpu.parallel import JOB_TYPE, PARALLEL, runtime_text

I64 = ir.IntType(64)


def counting_job() -> str:
    """``counted(counters, begin, end)`` adds one to each item's counter; item 1000 fails."""
    module = ir.Module("job")
    function = ir.Function(module, JOB_TYPE, "counted")
    counters, begin, end = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    loop, after = function.append_basic_block("loop"), function.append_basic_block("after")
    builder.branch(loop)
    entry = builder.block
    builder.position_at_end(loop)
    item = builder.phi(I64)
    builder.atomic_rmw("add", builder.gep(counters, [item], source_etype=I64), I64(1), "seq_cst")
    following = builder.add(item, I64(1))
    item.add_incoming(begin, entry)
    item.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, end), loop, after)
    builder.position_at_end(after)
    fails = builder.icmp_signed(">", end, I64(1000))
    builder.ret(builder.select(fails, I64(7), I64(0)))
    return str(module)


@pytest.fixture(scope="module")
def runtime() -> llvm.ExecutionEngine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    module = llvm.parse_assembly(runtime_text(platform.machine()))
    module.link_in(llvm.parse_assembly(counting_job()))
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


JOB = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class Workers:
    """A pool and its workers, which start when it is entered."""

    def __init__(self, runtime: llvm.ExecutionEngine, threads: int, missing: int = 0) -> None:
        self.memory = np.zeros(pool_bytes(threads) + 64, np.uint8)
        start = -self.memory.ctypes.data % 64
        self.fields = self.memory[start : start + pool_bytes(threads)].view(np.int64)
        self.fields[Pool.THREADS] = threads
        self.pool = self.fields.ctypes.data
        types = [ctypes.c_void_p] * 3 + [ctypes.c_int64]
        parallel = runtime.get_function_address(PARALLEL)
        self._run = ctypes.CFUNCTYPE(ctypes.c_int64, *types)(parallel)
        one = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        work, self._stop = (one(runtime.get_function_address(name)) for name in (WORKER, STOP))
        count = threads - 1 - missing
        self.threads = [threading.Thread(target=work, args=(self.pool,)) for _ in range(count)]

    def __enter__(self) -> Workers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop(self.pool)
        for thread in self.threads:
            thread.join()

    def run(self, job: int, argument: int, items: int) -> int:
        """The status of a job."""
        return int(self._run(self.pool, job, argument, items))


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_each_item_is_done_once(runtime: llvm.ExecutionEngine, threads: int, missing: int) -> None:
    """Also where workers that should be there never came."""
    job = runtime.get_function_address("counted")
    with Workers(runtime, threads, missing) as workers:
        for items in [1, 2, 3, 5, 7, 8, 9, 10, 31, 32, 33, 100, 999] * 3:
            counters = np.zeros(items, np.int64)
            assert workers.run(job, counters.ctypes.data, items) == 0
            np.testing.assert_array_equal(counters, 1)
            if items == 33:
                time.sleep(0.002)  # some workers go to sleep
        counters = np.zeros(1001, np.int64)
        assert workers.run(job, counters.ctypes.data, 1001) == 7
        assert workers.run(job, counters.ctypes.data, 1000) == 0
        np.testing.assert_array_equal(counters, [2] * 1000 + [1])


@pytest.mark.parametrize("held_up", ["worker", "caller"])
def test_alone_after_a_thread_was_held_up(runtime: llvm.ExecutionEngine, held_up: str) -> None:
    caller = threading.get_ident()
    done: list[tuple[int, int, int]] = []

    def work(_: int, begin: int, end: int) -> int:
        done.append((threading.get_ident(), begin, end))
        is_held_up = (threading.get_ident() == caller) == (held_up == "caller")
        time.sleep(0.05 if is_held_up else 0.002)
        return 0

    job = JOB(work)
    address = ctypes.cast(job, ctypes.c_void_p).value
    assert address is not None
    with Workers(runtime, 2) as workers:
        assert workers.run(address, 0, 8) == 0
        assert {thread for thread, *_ in done} > {caller}
        assert workers.fields[Pool.ALONE_UNTIL] > 0
        workers.fields[Pool.ALONE_UNTIL] = 2**62  # for as long as this test takes
        done.clear()
        assert workers.run(address, 0, 8) == 0
        assert done == [(caller, 0, 8)]
        workers.fields[Pool.ALONE_UNTIL] = 1  # that was long ago
        done.clear()
        assert workers.run(address, 0, 8) == 0
        assert sorted((begin, end) for _, begin, end in done) == [(k, k + 1) for k in range(8)]
        assert len({thread for thread, *_ in done}) == 2
