"""``opweave compile``: a model to a package, a shared library or an executable."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    Compilation,
    Sizes,
    Verb,
    common_options,
    model_argument,
    shape_options,
    target_options,
    threads_option,
)
from .output import Output, shown_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

_KINDS = ("package", "shared", "executable")
_HERE = "cpu"


def _cpus(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    """``native,x86-64-v3`` as names."""
    return tuple(dict.fromkeys(text.lower().replace(",", " ").split()))


@click.command(cls=Verb, name="compile")
@model_argument
@click.option(
    "-o",
    "--output",
    "path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What to write: FILE.owx a package, FILE.so a library (and FILE.h), others an "
    "executable. Default: a package named after the model.",
)
@click.option("--kind", type=click.Choice(_KINDS), help="What to write, whatever FILE's suffix is.")
@click.option(
    "--cpu",
    "cpus",
    metavar="KIND[,KIND]",
    default="native",
    show_default=True,
    callback=_cpus,
    help="Processors to compile for: native, x86-64-v2, x86-64-v3, x86-64-v4. A package may be "
    "for several; the best is taken when it is loaded.",
)
@click.option(
    "--weights",
    type=click.Choice(["embedded", "separate"]),
    default="embedded",
    show_default=True,
    help="separate: in FILE.weights, beside the library or executable.",
)
@click.option("--static", is_flag=True, help="An executable that needs no libraries.")
@shape_options
@threads_option
@target_options
@common_options
def verb(
    model: str,
    path: Path | None,
    kind: str | None,
    cpus: tuple[str, ...],
    weights: str,
    static: bool,
    sizes: Sizes,
    threads: int | None,
    compilation: Compilation,
    output: Output,
) -> None:
    """Compile MODEL to files that run without opweave's compiler.

    --target names a system to cross-compile for: x86_64-linux-gnu, x86_64-linux-musl,
    aarch64-linux-gnu, aarch64-linux-musl. Libraries and executables are linked by the system's C
    compiler, or by the one of the extra "native". --threads is what choices are made for;
    what is compiled runs on any number of threads.
    """
    from ..api import PRODUCER
    from ..compiler.options import CompileOptions
    from ..targets.cpu.artefacts import (
        EXECUTABLE,
        PACKAGE,
        build_artefact,
        check_artefact,
        kind_of_path,
        programs_for,
    )
    from ..targets.cpu.native.link import compiler_for
    from .subject import subject_of

    path = path or Path(f"{Path(model).stem}.owx")
    system = None if compilation.target == _HERE else compilation.target
    wanted = kind or kind_of_path(path)
    separate = weights == "separate"
    if kind is None and wanted == EXECUTABLE and compiler_for(system) is None:
        wanted, path = PACKAGE, path.with_name(f"{path.name}.owx")
        separate = static = False
        output.note(
            f"there is no C compiler to link an executable with: a package is written instead, "
            f"{path}. Install one, or pip install 'opweave[native]'"
        )
    check_artefact(wanted, path, cpus, system=system, separate_weights=separate, static=static)
    subject = subject_of(model, output, sizes)
    options = CompileOptions(threads, compilation.accuracy, compilation.vector_bits, system=system)
    with output.progress(f"compiling {model} for {', '.join(cpus)}"):
        start = time.perf_counter()
        programs = programs_for(subject.graph, None, options, cpus)
        compiled = time.perf_counter()
        files = build_artefact(
            wanted,
            path,
            programs,
            PRODUCER,
            system=system,
            separate_weights=separate,
            static=static,
        )
        written = time.perf_counter()
    _report(model, wanted, files, output, cpus, (compiled - start, written - compiled))


def _report(
    model: str,
    kind: str,
    files: Sequence[Path],
    output: Output,
    cpus: Sequence[str],
    seconds: tuple[float, float],
) -> None:
    result: dict[str, Any] = {
        "model": model,
        "kind": kind,
        "cpus": list(cpus),
        "compile_s": seconds[0],
        "write_s": seconds[1],
        "files": [{"path": str(file), "bytes": file.stat().st_size} for file in files],
    }
    output.table(
        [
            ["Model", model],
            ["Kind", kind],
            ["Processors", ", ".join(cpus)],
            ["Compile time", f"{seconds[0]:.2f} s"],
            *(["File", f"{file} ({shown_bytes(file.stat().st_size)})"] for file in files),
        ]
    )
    output.json("compile/1", result)
