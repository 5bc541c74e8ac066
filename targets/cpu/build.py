"""A prepared graph to an executable for this machine's processor."""

from __future__ import annotations

from ...compiler.options import CompileOptions
from ...ir import Graph
from .executable import CpuExecutable, ProgramInfo
from .machine_code import machine_code
from .object_code import host_cpu
from .pages import together
from .pool import available_threads
from .prepare import emit_prepare
from .program import Program, build_program

_DEFAULT = CompileOptions()


def lower(graph: Graph, options: CompileOptions = _DEFAULT) -> CpuExecutable:
    """Compile ``graph`` to one native function for this machine's processor."""
    return executable_of(build_program(graph), graph, options)


def executable_of(program: Program, graph: Graph, options: CompileOptions) -> CpuExecutable:
    """The program of ``graph`` as machine code, with its parameters."""
    emit_prepare(program, graph)
    info = ProgramInfo(
        inputs=tuple(graph.type(value) for value in graph.inputs),
        outputs=tuple(graph.type(value) for value in graph.outputs),
        late_outputs=program.late_outputs,
        symbols=tuple(program.symbols),
        steps=tuple(program.steps),
        arena=program.arena,
        shares=program.shares,
    )
    sizes = [held.type(value).nbytes for held, value in program.params]
    arrays = (held.array(value) for held, value in program.params)
    params = together(arrays, [int(size) for size in sizes])  # type: ignore[arg-type]
    code = machine_code(program, host_cpu(options.vector_bits))
    return CpuExecutable(code, info, params, options.threads or available_threads())
