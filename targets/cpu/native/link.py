"""From object code and C sources to libraries and programs, by a C compiler that is there.

The system's compiler is used for this system, ``ziglang`` (extra ``native``) where there is none
and for other systems.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ....compiler.atomic import write_atomically
from ....ir import UnsupportedError
from ..package.container import digest_of
from ..package.save import NamedProgram, weight_pieces
from .describe import WEIGHTS, WEIGHTS_START, description_text

_SOURCES: Final = Path(__file__).parent
_RUNTIME_SOURCES: Final = (
    *("runtime.c", "instance.c", "checks.c", "tensor.c"),
    *("pool.c", "weights.c", "memory.c", "processor.c"),
)
_LIBRARY_SOURCES: Final = (*_RUNTIME_SOURCES, "library.c")
_PROGRAM_SOURCES: Final = (
    *(*_RUNTIME_SOURCES, "program.c", "arguments.c", "inputs.c"),
    *("numpy_file.c", "archive.c", "inflate.c"),
)
_COMPILERS: Final = ("cc", "gcc", "clang")
_FLAGS: Final = ("-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-pthread")
_LINKER_FLAGS: Final = ("-pthread", "-Wl,-z,noexecstack", "-Wl,-z,relro", "-Wl,-z,now", "-s")


class LinkError(UnsupportedError):
    """The C compiler that is there refused; its own message is part of this one's."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """A command that compiles C and links."""

    command: tuple[str, ...]

    def run(self, arguments: Sequence[str], folder: Path) -> None:
        """Run it in ``folder``; raises LinkError with what it said."""
        done = subprocess.run(
            [*self.command, *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = done.stderr.strip() or f"it ended with status {done.returncode}"
            raise LinkError(
                f"{' '.join(self.command)} failed, so nothing was linked (CC names another C "
                f"compiler; a package, -o model.owx, needs none): {said}"
            )


def compiler_for(system: str | None, *, static: bool = False) -> Compiler | None:
    """The C compiler for a system (None: this one); None where there is none.

    ``static`` is for programs that need no libraries. ``ziglang`` brings the GNU C library only
    for dynamic linking; those are linked with musl, on the same kind of processor.
    """
    if system is None:
        named = os.environ.get("CC", "").split()
        for command in [named] if named else [[name] for name in _COMPILERS]:
            if shutil.which(command[0]):
                return Compiler(tuple(command))
    if importlib.util.find_spec("ziglang") is None:
        return None
    if static:
        system = (system or f"{platform.machine()}-linux-gnu").replace("-gnu", "-musl")
    target = () if system is None else ("-target", system)
    return Compiler((sys.executable, "-m", "ziglang", "cc", *target))


def needed_compiler(system: str | None, *, static: bool = False) -> Compiler:
    """The C compiler for a system; raises UnsupportedError saying where to get one."""
    found = compiler_for(system, static=static)
    if found is None:
        where = "this system" if system is None else system
        raise UnsupportedError(
            f"there is no C compiler for {where}: install one, or run "
            "pip install 'opweave[native]'; a package (-o model.owx) needs none"
        )
    return found


@dataclass(frozen=True, slots=True)
class Build:
    """What is built: a program's name, who made it, for which system, weights inside or not."""

    item: NamedProgram
    name: str
    producer: str
    system: str | None = None
    separate_weights: bool = False
    static: bool = False


def build_library(build: Build, path: Path) -> list[Path]:
    """Link a shared library at ``path`` and write its C header beside it; the files written.

    Raises UnsupportedError without a C compiler, LinkError when it fails, OSError.
    """
    header = path.with_suffix(".h")
    prefix = identifier(path.stem)
    text = (_SOURCES / "library.h.in").read_text().replace("@PREFIX@", prefix)
    with _folder() as folder:
        (folder / "library.h").write_text(text)
        defined = [f"-DOW_PREFIX={prefix}"]
        # Object code made by LLVM shows its functions; two models in a process must not meet.
        (folder / "exports").write_text(f"{{ global: {prefix}_*; local: *; }};\n")
        flags = ["-shared", "-Wl,--version-script,exports"]
        files = _link(build, path, folder, _LIBRARY_SOURCES, flags, defined)
    write_atomically(header, [text.encode()])
    return [*files, header]


def build_program(build: Build, path: Path) -> list[Path]:
    """Link a stand-alone program at ``path``; the files written. Raises as build_library."""
    flags = ["-static"] if build.static else []
    with _folder() as folder:
        return _link(build, path, folder, _PROGRAM_SOURCES, flags, ["-DOW_PROGRAM"])


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder to link in; errors of files in it that name none name it."""
    with tempfile.TemporaryDirectory(prefix="opweave-") as place:
        try:
            yield Path(place)
        except OSError as error:
            if error.filename is None:
                error.filename = place
            raise


def identifier(name: str) -> str:
    """``name`` as a C identifier."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return plain if plain and not plain[0].isdigit() else f"model_{plain}"


def _link(
    build: Build,
    path: Path,
    folder: Path,
    sources: Sequence[str],
    flags: Sequence[str],
    defined: Sequence[str],
) -> list[Path]:
    """Compile and link in ``folder``; the result appears at ``path`` whole or not at all."""
    compiler = needed_compiler(build.system, static=build.static)
    compiled = build.item.program
    weights = list(weight_pieces(compiled.params))
    beside = path.with_suffix(".weights") if build.separate_weights else None
    check = 0 if beside is None else int(digest_of(weights)[:16], 16)
    (folder / "model.o").write_bytes(compiled.code)
    text = description_text(build.item, build.name, build.producer, check, beside)
    (folder / "description.c").write_text(text)
    if beside is None:
        with open(folder / WEIGHTS, "wb") as file:
            file.writelines(weights)
    inputs = ["description.c", *(str(_SOURCES / name) for name in sources)]
    arguments = [*_FLAGS, *defined, "-I", str(folder), "-I", str(_SOURCES), *inputs, "model.o"]
    compiler.run([*arguments, *_LINKER_FLAGS, *flags, "-o", "result", "-lm", "-ldl"], folder)
    written = []
    if beside is not None:
        start = check.to_bytes(8, "little").ljust(WEIGHTS_START, b"\0")
        write_atomically(beside, [start, *weights])
        written.append(beside)
    result = folder / "result"
    _install(result, path)
    return [path, *written]


def _install(source: Path, path: Path) -> None:
    """Move a file, which may come from another file system, to ``path`` in one step."""
    mode = source.stat().st_mode & 0o777
    with open(source, "rb") as file:
        write_atomically(path, iter(lambda: file.read(1 << 22), b""), mode=mode)
