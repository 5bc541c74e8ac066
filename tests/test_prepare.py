"""Sizes that native code computes against those that Python computes from the same extents."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from opweave.compiler.interface import LARGEST_EXTENT, Interface
from opweave.compiler.options import CompileOptions
from opweave.ir import Graph, LimitError, ModelError, TensorType, check, symbol
from opweave.ir.binding import bind_symbols
from opweave.ir.dim import evaluate, floor_divide
from opweave.ops.elementwise_arithmetic import add
from opweave.ops.movement import concat, expand, slice_
from opweave.ops.reshape import reshape
from opweave.targets.cpu.build import executable_of
from opweave.targets.cpu.calling import OUTPUT_EXTENTS, PREPARE
from opweave.targets.cpu.entry import build_program
from opweave.targets.cpu.executable import CpuExecutable
from opweave.targets.cpu.program import Program


def joined() -> Graph:
    """Two inputs one below the other plus a third; and parts of the result."""
    n, p, m, q = (symbol(name) for name in "npmq")
    graph = Graph("joined")
    x = graph.input("x", TensorType("float32", (n, m, 3)))
    y = graph.input("y", TensorType("float32", (p, m, 3)))
    z = graph.input("z", TensorType("float32", (q, m, 3)))
    total = graph.add(add, graph.add(concat, x, y, axis=0), z)
    graph.output(graph.add(reshape, total, shape=((n + p) * m * 3,)), "all")
    starts, steps = (2, 0, 0), (1, 1, 1)
    graph.output(graph.add(slice_, x, starts=starts, sizes=(n - 2, m, 3), steps=steps), "tail")
    half = floor_divide(n + p, 2)
    sizes = (half, m, 3)
    graph.output(graph.add(slice_, total, starts=(0, 0, 0), sizes=sizes, steps=steps), "half")
    return graph


@functools.cache
def prepared() -> tuple[Program, CpuExecutable, Interface]:
    """The graph's program, compiled, and its interface."""
    graph = joined()
    check(graph)
    program = build_program(graph)
    return program, executable_of(program, graph, CompileOptions(1)), Interface.of(graph)


def native(extents: Sequence[int]) -> tuple[str | None, list[int], list[int]]:
    """What fails, the symbols and the sizes that native code gives for the inputs' extents."""
    program, executable, _ = prepared()
    given_extents = (ctypes.c_int64 * len(extents))(*extents)
    symbols = (ctypes.c_int64 * len(program.symbols))()
    sizes = (ctypes.c_int64 * 8)()
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 3)
    failed = prototype(executable.address(PREPARE))(given_extents, symbols, sizes)
    return program.checks[failed - 1] if failed else None, list(symbols), list(sizes)


EXTENTS = st.one_of(
    st.integers(0, 6),
    st.sampled_from([0, 1, 2**15, 2**20, LARGEST_EXTENT - 1, LARGEST_EXTENT, LARGEST_EXTENT + 1]),
)


@settings(deadline=None)
@given(n=EXTENTS, p=EXTENTS, m=EXTENTS, q=st.none() | EXTENTS, three=st.sampled_from([3, 3, 3, 2]))
@example(n=LARGEST_EXTENT, p=LARGEST_EXTENT, m=LARGEST_EXTENT, q=None, three=3)
@example(n=1, p=2, m=2, q=None, three=3)
def test_native_sizes_are_those_of_python(
    n: int, p: int, m: int, q: int | None, three: int
) -> None:
    q = n + p if q is None else q
    program, executable, interface = prepared()
    shapes = [(n, m, 3), (p, m, 3), (q, m, three)]
    failed, table, sizes = native([extent for shape in shapes for extent in shape])
    try:  # NumPy itself refuses shapes whose bytes do not fit 64 bits
        arrays = [np.broadcast_to(np.float32(0), shape) for shape in shapes]
        symbols = bind_symbols([spec.type for spec in interface.inputs], arrays)
        if max(symbols.values()) > LARGEST_EXTENT:
            raise LimitError("a symbol is too large")
        interface.check(symbols)
    except (LimitError, ModelError, ValueError):
        assert failed is not None
        return
    assert failed is None
    assert table == [symbols[name] for name in program.symbols]
    extents = [evaluate(extent, symbols) for spec in interface.outputs for extent in spec.shape]
    assert sizes == [executable.arena_bytes(symbols), *extents]


def test_what_fails_is_said() -> None:
    assert native([4, 2, 3, 1, 2, 3, 5, 2, 3])[0] is None
    for extents, message in (
        ([4, 2, 3, 1, 2, 3, 6, 2, 3], "needs the extents"),
        ([4, 2, 4, 1, 2, 3, 5, 2, 3], "extent 2 of input 'x' is not 3"),
        ([4, 2, 3, 1, 5, 3, 5, 2, 3], "extent 1 of input 'y' is not m"),
        ([-1, 2, 3, 1, 2, 3, 5, 2, 3], "'n' is negative"),
        ([1, 2, 3, 1, 2, 3, 2, 2, 3], "negative extent"),
    ):
        failed = native(extents)[0]
        assert failed is not None
        assert message in failed


def test_extents_of_outputs_that_only_a_run_knows() -> None:
    graph = Graph("late")
    count = graph.input("count", TensorType("int64", (1,)))
    x = graph.input("x", TensorType("float32", (symbol("n"), 1)))
    extent = graph.measure(count, 0, name="measured")
    graph.output(graph.add(expand, x, shape=(symbol("n"), extent + 1)))
    program = build_program(graph)
    executable = executable_of(program, graph, CompileOptions(1))
    assert program.late_outputs == {0}
    values = {"n": 5, "measured": 7}
    symbols = (ctypes.c_int64 * 2)(*(values[name] for name in program.symbols))
    extents = (ctypes.c_int64 * 2)()
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    prototype(executable.address(OUTPUT_EXTENTS))(symbols, extents)
    assert list(extents) == [5, 8]
