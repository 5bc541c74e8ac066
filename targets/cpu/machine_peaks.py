"""What this machine does at best: multiply-adds a second, and bytes a second of each memory.

Measured by small generated kernels in about a quarter of a second for a number of threads, once:
the result is kept in the object cache. Each figure is the best of several measurements, because
whatever else runs on the machine only makes it slower.
"""

from __future__ import annotations

import ctypes
import functools
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...compiler.cache import default_cache, key_of
from ...compiler.options import CompileOptions
from ...compiler.processor import processor_name
from ...compiler.roofline import MachinePeaks
from ...ir import Array
from .loader import LoadedObject, load_object
from .object_code import emit_object, host_cpu, parse
from .pages import address_of, block
from .pool import available_threads
from .processors import CpuDescription

__all__ = ["MachinePeaks", "machine_peaks", "peaks_of"]

_FORMAT = "1"
# How long one measurement takes, and how many of them are made.
_SECONDS = 0.002
_REPEATS = 8
# Bytes that are read in one round of the loop: independent loads hide each other's latency.
_LOADS = 8
_MEMORY_BYTES = 64 << 20, 256 << 20  # least and most to read from main memory


def machine_peaks(threads: int, vector_bits: int | None = None) -> MachinePeaks:
    """The peaks of this machine on so many threads, from the cache or measured now.

    ``vector_bits`` is that of CompileOptions. Measuring keeps ``threads`` processors busy.
    """
    cpu = host_cpu(vector_bits)
    return _known(threads, cpu)


def peaks_of(options: CompileOptions) -> MachinePeaks:
    """The peaks for programs compiled with these options."""
    return machine_peaks(options.threads or available_threads(), options.vector_bits)


@functools.cache
def _known(threads: int, cpu: CpuDescription) -> MachinePeaks:
    cache = default_cache()
    parts = (_FORMAT, processor_name(), cpu.name, cpu.features, str(cpu.vector_bits), str(threads))
    key = key_of("machine peaks", *parts)
    held = cache.get(key)
    if held is not None:
        return MachinePeaks(**json.loads(held))
    peaks = measure(threads, cpu)
    cache.put(key, json.dumps(asdict(peaks)).encode())
    return peaks


def measure(threads: int, cpu: CpuDescription) -> MachinePeaks:
    """The peaks of this machine, measured now."""
    l1, l2, l3 = cache_sizes()
    code = load_object(emit_object(parse(_kernels(cpu)), cpu, 2))
    most = min(max(2 * l3, _MEMORY_BYTES[0]), _MEMORY_BYTES[1])
    blocks = [block(most // threads // _LOADS // 64 * _LOADS * 64) for _ in range(threads)]
    for memory in blocks:
        memory[:] = 0  # pages that were never written are all the same one

    def bandwidth(nbytes: int) -> float:
        return _bandwidth(code, blocks, nbytes, cpu)

    # Half of a cache is surely held by it; the shared one is shared, and holds the others' too.
    return MachinePeaks(
        threads=threads,
        vector_bits=cpu.vector_bits,
        flops_per_second=_flops(code, blocks, cpu),
        l1_bytes_per_second=bandwidth(l1 // 2),
        l2_bytes_per_second=bandwidth(l2 // 2),
        l3_bytes_per_second=bandwidth(max(l3 // 4, l2) // threads),
        memory_bytes_per_second=bandwidth(blocks[0].nbytes),
        l1_bytes=l1,
        l2_bytes=l2,
        l3_bytes=l3,
    )


def cache_sizes() -> tuple[int, int, int]:
    """Bytes of a core's first and second data cache, and of the one that cores share.

    What the system does not say is taken to be usual; a level that is not there has the size
    of the one in front of it.
    """
    found: dict[int, int] = {}
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if (folder / "type").read_text().strip() != "Instruction":
                size = (folder / "size").read_text().strip()
                found[int((folder / "level").read_text())] = _bytes(size)
        except (OSError, ValueError):
            continue
    if not found:
        return 32 << 10, 1 << 20, 8 << 20
    l1 = found.get(1, 32 << 10)
    l2 = found.get(2, l1)
    return l1, l2, found.get(3, l2)


def _bytes(text: str) -> int:
    """``32K`` or ``8M`` as a number."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


# --- measuring ---------------------------------------------------------------------------

_Kernel = Callable[[int, int], Any]  # the thread's number, rounds


def _flops(code: LoadedObject, blocks: Sequence[Array], cpu: CpuDescription) -> float:
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(code.address("multiply"))
    places = [address_of(memory) for memory in blocks]
    each = 2 * (cpu.vector_bits // 32) * _accumulators(cpu)
    return each * _rate(lambda number, rounds: function(places[number], rounds), len(blocks))


def _bandwidth(
    code: LoadedObject, blocks: Sequence[Array], nbytes: int, cpu: CpuDescription
) -> float:
    step = _LOADS * cpu.vector_bits // 8
    size = max(nbytes // step, 1) * step
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    function = kind(code.address("read"))
    places = [address_of(memory) for memory in blocks]
    return size * _rate(lambda number, rounds: function(places[number], size, rounds), len(blocks))


def _rate(run: _Kernel, threads: int) -> float:
    """Rounds a second of all threads together, at best."""
    rounds, best = 1, 0.0
    while True:
        start = time.perf_counter()
        run(0, rounds)
        taken = time.perf_counter() - start
        if taken > _SECONDS / 4:
            break
        rounds *= 2
    rounds = max(1, round(rounds * _SECONDS / taken))
    for _ in range(_REPEATS):
        best = max(best, threads * rounds / _together(run, threads, rounds))
    return best


def _together(run: _Kernel, threads: int, rounds: int) -> float:
    """Seconds from the first thread's start to the last one's end."""
    times = [(0.0, 0.0)] * threads
    ready = threading.Barrier(threads)

    def work(number: int) -> None:
        ready.wait()
        start = time.perf_counter()
        run(number, rounds)
        times[number] = (start, time.perf_counter())

    others = [threading.Thread(target=work, args=(number,)) for number in range(1, threads)]
    for thread in others:
        thread.start()
    work(0)
    for thread in others:
        thread.join()
    return max(end for _, end in times) - min(start for start, _ in times)


# --- kernels -----------------------------------------------------------------------------


def _accumulators(cpu: CpuDescription) -> int:
    """Sums that stay in registers, enough to hide a multiply-add's latency."""
    return 24 if cpu.vector_bits == 512 or not cpu.triple.startswith("x86_64") else 12


def _kernels(cpu: CpuDescription) -> str:
    """LLVM IR of ``multiply(place, rounds)`` and ``read(place, bytes, rounds)``."""
    lanes = cpu.vector_bits // 32
    vector = f"<{lanes} x float>"
    return _multiply(vector, lanes, _accumulators(cpu), _has_multiply_add(cpu)) + _read(vector)


def _has_multiply_add(cpu: CpuDescription) -> bool:
    return not cpu.triple.startswith("x86_64") or "+fma" in cpu.features.split(",")


def _multiply(vector: str, lanes: int, count: int, multiply_add: bool) -> str:
    """Multiply-adds of registers with registers, so many sums at a time."""
    fma = f"@llvm.fma.v{lanes}f32"
    lines = [
        f"declare {vector} {fma}({vector}, {vector}, {vector})",
        "define void @multiply(ptr %place, i64 %rounds) {",
        "entry:",
        f"  %a = load {vector}, ptr %place, align 64",
        "  %next = getelementptr i8, ptr %place, i64 64",
        f"  %b = load {vector}, ptr %next, align 64",
        "  br label %loop",
        "loop:",
        "  %round = phi i64 [ 0, %entry ], [ %following, %loop ]",
    ]
    numbers = range(count)
    lines += [f"  %c{n} = phi {vector} [ %a, %entry ], [ %d{n}, %loop ]" for n in numbers]
    for n in numbers:
        if multiply_add:
            operands = f"{vector} %a, {vector} %b, {vector} %c{n}"
            lines.append(f"  %d{n} = call {vector} {fma}({operands})")
        else:
            lines.append(f"  %p{n} = fmul {vector} %a, %c{n}")
            lines.append(f"  %d{n} = fadd {vector} %p{n}, %b")
    lines += [
        "  %following = add i64 %round, 1",
        "  %more = icmp slt i64 %following, %rounds",
        "  br i1 %more, label %loop, label %done",
        "done:",
        "  %s0 = fadd " + vector + " %d0, %d0",
    ]
    lines += [f"  %s{n} = fadd {vector} %s{n - 1}, %d{n}" for n in numbers if n]
    lines += [f"  store {vector} %s{count - 1}, ptr %place, align 64", "  ret void", "}", ""]
    return "\n".join(lines)


def _read(vector: str) -> str:
    """Reads from one end to the other, again and again."""
    lanes = int(vector[1:].split()[0])
    lines = [
        "define void @read(ptr %place, i64 %bytes, i64 %rounds) {",
        "entry:",
        "  br label %outer",
        "outer:",
        "  %round = phi i64 [ 0, %entry ], [ %next_round, %inner_done ]",
        "  br label %loop",
        "loop:",
        "  %at = phi i64 [ 0, %outer ], [ %following, %loop ]",
    ]
    for n in range(_LOADS):
        lines += [
            f"  %o{n} = add i64 %at, {4 * lanes * n}",
            f"  %p{n} = getelementptr i8, ptr %place, i64 %o{n}",
            f"  %v{n} = load volatile {vector}, ptr %p{n}, align 16",
        ]
    lines += [
        f"  %following = add i64 %at, {4 * lanes * _LOADS}",
        "  %more = icmp slt i64 %following, %bytes",
        "  br i1 %more, label %loop, label %inner_done",
        "inner_done:",
        "  %next_round = add i64 %round, 1",
        "  %again = icmp slt i64 %next_round, %rounds",
        "  br i1 %again, label %outer, label %done",
        "done:",
        "  ret void",
        "}",
        "",
    ]
    return "\n".join(lines)
