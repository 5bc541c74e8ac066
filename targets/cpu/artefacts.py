"""What a model is built into to run without opweave's compiler: kinds, and how each is made."""

from __future__ import annotations

import errno
import os
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
from .entry import build_program as program_of
from .executable import CpuExecutable
from .native.link import Build, build_library, build_program, needed_compiler
from .package.save import NamedProgram, save_package
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
        compiled = compiled_program(program_of(prepared), prepared, chosen)
        programs.append(NamedProgram(cpu, Interface.of(prepared), compiled))
    return programs


def save_session(session: Session, path: Path, producer: str) -> None:
    """Write a compiled session as a package; raises UnsupportedError for other targets' ones."""
    executable = session.executable
    if not isinstance(executable, CpuExecutable):
        raise UnsupportedError(f"sessions of the target {session.target!r} cannot be saved")
    program = NamedProgram(executable.program.cpu.name, session.interface, executable.program)
    save_package(path, path.stem, producer, [program])


def kind_of_path(path: Path) -> str:
    """The kind that a file's name says: ``.owx``, ``.so``, anything else an executable."""
    return {".owx": PACKAGE, ".so": SHARED}.get(path.suffix.lower(), EXECUTABLE)


def check_artefact(
    kind: str,
    path: Path,
    cpus: Sequence[str],
    *,
    system: str | None = None,
    separate_weights: bool = False,
    static: bool = False,
) -> None:
    """Raise, before anything is compiled for it, what `build_artefact` would refuse.

    Raises UnsupportedError for what the kind does not have or without a C compiler;
    FileNotFoundError, IsADirectoryError or PermissionError where ``path`` cannot be written.
    """
    if kind not in KINDS:
        raise UnsupportedError(f"there is no kind {kind!r}; there is: {', '.join(KINDS)}")
    if kind == PACKAGE and (separate_weights or static):
        raise UnsupportedError("a package has its weights inside and links nothing")
    if kind != PACKAGE and len(dict.fromkeys(cpus)) != 1:
        raise UnsupportedError(
            f"{path.name} is for one kind of processor; a package (.owx) can be for several"
        )
    if kind == SHARED and static:
        raise UnsupportedError("a shared library cannot be linked statically")
    _check_place(path)
    if kind != PACKAGE:
        needed_compiler(system)


def _check_place(path: Path) -> None:
    """Raise where a file of this name cannot be written."""
    path = path.resolve() if path.is_symlink() else path
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path.parent))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "this is a folder", str(path))
    is_device = path.exists() and not path.is_file()
    if not os.access(path if is_device else path.parent, os.W_OK):
        said = "no file can be written into this folder"
        raise PermissionError(errno.EACCES, said, str(path.parent))


def build_artefact(
    kind: str,
    path: Path,
    programs: Sequence[NamedProgram],
    producer: str,
    *,
    system: str | None = None,
    separate_weights: bool = False,
    static: bool = False,
) -> list[Path]:
    """Write the programs of one model as a package, library or executable; the files written.

    Raises what `check_artefact` does, LinkError when the C compiler fails, OSError.
    """
    kinds = [item.kind for item in programs]
    check_artefact(
        kind, path, kinds, system=system, separate_weights=separate_weights, static=static
    )
    if kind == PACKAGE:
        save_package(path, path.stem, producer, programs)
        return [path]
    build = Build(programs[0], path.stem, producer, system, separate_weights, static)
    return build_library(build, path) if kind == SHARED else build_program(build, path)
