"""The CPU target: its passes and how a graph becomes machine code."""

from __future__ import annotations

from ...compiler.passes import CANONICALISE, FUSE, LEGALISE_HALF
from ...compiler.target import Target
from ...ir import Graph
from .executable import CpuExecutable, ProgramInfo
from .machine_code import machine_code
from .program import build_program


def lower(graph: Graph) -> CpuExecutable:
    """Compile ``graph`` to one native function for this machine's processor."""
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
    return CpuExecutable(machine_code(program), info, params)


TARGET = Target("cpu", (*CANONICALISE, LEGALISE_HALF, FUSE), lower)
