"""Programs that take the time of each node while they run.

The clock is read before and after a node's kernels, on the thread that runs the program, in the
same native function as ever; what a node took stands in a table that the host reads afterwards.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from llvmlite import ir

from ...compiler.options import CompileOptions
from ...ir import Array, Graph, Node
from .build import executable_of
from .entry import build_program
from .extents import I64
from .graph_emitter import GraphEmitter
from .graph_function import I32
from .kernels import POINTER

_TABLE = "opweave_times"
_NANOSECONDS = 1_000_000_000


class TimedEmitter(GraphEmitter):
    """Emits a function that stores how long each node of the main graph took, in nanoseconds."""

    def _node(self, node: Node) -> None:
        if self.parent is not None or "view" in node.op.traits:
            super()._node(node)
            return
        start = self._now()
        super()._node(node)
        taken = self.block.sub(self._now(), start)
        place = [ir.Constant(I64, 0), ir.Constant(I64, self._numbers[node.name])]
        self.block.store(taken, self.block.gep(self._table, place))

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(timed_nodes(self.graph))}

    @functools.cached_property
    def _table(self) -> ir.GlobalVariable:
        type_ = ir.ArrayType(I64, len(self._numbers))
        table = ir.GlobalVariable(self.program.module, type_, _TABLE)
        table.initializer = ir.Constant(type_, None)
        self.program.exports.append(_TABLE)
        return table

    def _now(self) -> ir.Value:
        """Nanoseconds of the system's steady clock."""
        builder = self.block
        with builder.goto_entry_block():
            moment = builder.alloca(I64, size=2)
        clock = self.external("clock_gettime", ir.FunctionType(I32, [I32, POINTER]))
        builder.call(clock, [ir.Constant(I32, time.CLOCK_MONOTONIC), moment])
        fraction = builder.gep(moment, [ir.Constant(I64, 1)], source_etype=I64)
        whole = builder.mul(builder.load(moment, typ=I64), ir.Constant(I64, _NANOSECONDS))
        return builder.add(whole, builder.load(fraction, typ=I64))


def timed_nodes(graph: Graph) -> list[str]:
    """The nodes whose time is taken: all that compute something."""
    return [node.name for node in graph.operators() if "view" not in node.op.traits]


class TimedExecutable:
    """A compiled graph with the times of its last run; runs one at a time."""

    def __init__(self, graph: Graph, options: CompileOptions) -> None:
        program = build_program(graph, TimedEmitter)
        self._executable = executable_of(program, graph, options)
        self.nodes: Sequence[str] = timed_nodes(graph)
        self.threads = self._executable.threads
        self._lock = threading.Lock()
        self._taken: list[float] = []
        count = len(self.nodes)
        self._table: Any = []
        if count:
            address = self._executable.address(_TABLE)
            self._table = (ctypes.c_int64 * count).from_address(address)

    def arena_bytes(self, symbols: Mapping[str, int]) -> int:
        """Bytes of memory for intermediate tensors in one run with these symbols."""
        return self._executable.arena_bytes(symbols)

    def __call__(self, inputs: Sequence[Array], symbols: Mapping[str, int]) -> list[Array]:
        """The outputs, as of the program that takes no times."""
        with self._lock:
            outputs = self._executable(inputs, symbols)
            self._taken = [taken / _NANOSECONDS for taken in self._table]
        return outputs

    def seconds(self) -> Sequence[float]:
        """What each of ``nodes`` took in the last run."""
        return self._taken


def lower_timed(graph: Graph, options: CompileOptions) -> TimedExecutable:
    """Compile ``graph`` with the time of each node taken."""
    return TimedExecutable(graph, options)
