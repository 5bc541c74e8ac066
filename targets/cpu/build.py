"""A prepared graph to an executable for this machine's processor."""

from __future__ import annotations

from ...compiler.options import CompileOptions
from ...ir import Graph
from .entry import build_program
from .executable import CompiledProgram, CpuExecutable, ProgramInfo
from .machine_code import machine_code
from .object_code import cpu_for
from .pages import join_pages, together
from .pool import available_threads
from .prepare import emit_prepare
from .program import Program

_DEFAULT = CompileOptions()


def lower(graph: Graph, options: CompileOptions = _DEFAULT) -> CpuExecutable:
    """Compile ``graph`` to one native function for this machine's processor."""
    return executable_of(build_program(graph), graph, options)


def executable_of(program: Program, graph: Graph, options: CompileOptions) -> CpuExecutable:
    """The program of ``graph``, compiled and loaded."""
    compiled = compiled_program(program, graph, options)
    join_pages(compiled.params)
    return CpuExecutable(compiled, options.threads or available_threads())


def compiled_program(program: Program, graph: Graph, options: CompileOptions) -> CompiledProgram:
    """The program of ``graph`` as machine code, with its parameters; not loaded."""
    emit_prepare(program, graph)
    info = ProgramInfo(
        inputs=tuple(graph.type(value) for value in graph.inputs),
        outputs=tuple(graph.type(value) for value in graph.outputs),
        late_outputs=program.late_outputs,
        symbols=tuple(program.symbols),
        steps=tuple(program.steps),
        checks=tuple(program.checks),
        arena=program.arena,
        shares=program.shares,
    )
    sizes = [held.type(value).nbytes for held, value in program.params]
    arrays = (held.array(value) for held, value in program.params)
    params = together(arrays, [int(size) for size in sizes])  # type: ignore[arg-type]
    cpu = cpu_for(options)
    return CompiledProgram(info, machine_code(program, cpu), params, cpu)
