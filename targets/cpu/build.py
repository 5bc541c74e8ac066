"""A prepared graph to an executable for this machine's processor."""

from __future__ import annotations

from ...ir import Graph
from .executable import CpuExecutable, ProgramInfo
from .machine_code import machine_code
from .pool import available_threads
from .program import build_program


def lower(graph: Graph, threads: int | None = None) -> CpuExecutable:
    """Compile ``graph`` to one native function for this machine's processor.

    ``threads`` is how many threads a run may use, by default all that the process may.
    """
    program = build_program(graph)
    info = ProgramInfo(
        inputs=tuple(graph.type(value) for value in graph.inputs),
        outputs=tuple(graph.type(value) for value in graph.outputs),
        late_outputs=program.late_outputs,
        symbols=tuple(program.symbols),
        steps=tuple(program.steps),
        arena=program.arena,
    )
    params = [held.array(value) for held, value in program.params]
    return CpuExecutable(machine_code(program), info, params, threads or available_threads())
