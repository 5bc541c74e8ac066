"""What a model is built into to run without opweave's compiler: kinds, and how each is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ...compiler.driver import prepared_graph
from ...compiler.interface import Interface
from ...compiler.options import CompileOptions
from ...compiler.session import Session
from ...ir import Graph, UnsupportedError
from .build import compiled_program
from .executable import CpuExecutable
from .package.save import NamedProgram, save_package
from .program import build_program
from .target import TARGET

PACKAGE: Final = "package"
SHARED: Final = "shared"
EXECUTABLE: Final = "executable"
KINDS: Final = (PACKAGE, SHARED, EXECUTABLE)


def programs_for(
    graph: Graph,
    shapes: Mapping[str, Sequence[int]] | None,
    options: CompileOptions,
    cpus: Sequence[str],
) -> list[NamedProgram]:
    """The graph compiled for each kind of processor; nothing is loaded."""
    programs = []
    for cpu in dict.fromkeys(cpus):
        chosen = replace(options, cpu=cpu)
        prepared = prepared_graph(graph, TARGET, shapes, chosen)
        compiled = compiled_program(build_program(prepared), prepared, chosen)
        programs.append(NamedProgram(cpu, Interface.of(prepared), compiled))
    return programs


def save_session(session: Session, path: Path) -> None:
    """Write a compiled session as a package; raises UnsupportedError for other targets' ones."""
    executable = session.executable
    if not isinstance(executable, CpuExecutable):
        raise UnsupportedError(f"sessions of the target {session.target!r} cannot be saved")
    program = NamedProgram(executable.program.cpu.name, session.interface, executable.program)
    save_package(path, path.stem, [program])


def kind_of_path(path: Path) -> str:
    """The kind that a file's name says: ``.owx``, ``.so``, anything else an executable."""
    return {".owx": PACKAGE, ".so": SHARED}.get(path.suffix.lower(), EXECUTABLE)
