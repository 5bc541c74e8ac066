"""Shared libraries: called from C, C++ and ctypes, they compute the bits of a session."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import opweave as ow
from opweave.ops.movement import expand
from opweave.targets.cpu.native.link import compiler_for

from .saved_models import assert_same_bits, feed_for, late

PROGRAMS = Path(__file__).parent / "native"
LARGEST_RANK = 16
TYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64"),
]
# Valgrind does not know AVX-512.
CPU = "x86-64-v3" if platform.machine() == "x86_64" else "native"

pytestmark = pytest.mark.skipif(compiler_for(None) is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Libraries "net" (LeNet) and "late"."""
    place = tmp_path_factory.mktemp("libraries")
    batch = ow.TensorType("float32", (ow.symbol("batch"), 1, 32, 32))
    net = ow.networks.lenet(num_classes=10)
    ow.build(net, place / "net.so", input_types=[batch], cpus=[CPU], threads=2)
    ow.build(late(), place / "late.so", cpus=[CPU])
    return place


def linked(folder: Path, name: str) -> Path:
    """The test program ``name``, linked with the libraries."""
    source, program = PROGRAMS / name, folder / Path(name).stem
    is_c = source.suffix == ".c"
    command = shutil.which("cc" if is_c else "c++")
    if command is None:
        pytest.skip("there is no C compiler" if is_c else "there is no C++ compiler")
    flags = ["-std=c11" if is_c else "-std=c++17", "-O1", "-g", "-pthread", "-Wall", "-Wextra"]
    libraries = [str(folder / "net.so"), *([] if is_c else [str(folder / "late.so")])]
    arguments = [*flags, "-Werror", "-I", str(folder), str(source), *libraries]
    subprocess.run([command, *arguments, "-o", str(program)], check=True)
    return program


def run_without_environment(command: Sequence[str | Path]) -> str:
    done = subprocess.run(
        ["env", "-i", *map(str, command)],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("threads.c", ["40"], "the same bits"),
        ("errors.c", [], "refused"),
        ("forks.c", [], "the children"),
        ("models.cpp", [], "both models"),
    ],
)
def test_programs_in_an_empty_environment(
    folder: Path, name: str, arguments: list[str], said: str
) -> None:
    assert said in run_without_environment([linked(folder, name), *arguments])


@pytest.mark.parametrize(
    ("name", "arguments"), [("threads.c", ["3"]), ("errors.c", []), ("models.cpp", [])]
)
def test_programs_make_no_memory_errors(folder: Path, name: str, arguments: list[str]) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("there is no valgrind")
    options = ["--quiet", "--error-exitcode=9", "--leak-check=full", "--fair-sched=try"]
    run_without_environment([valgrind, *options, linked(folder, name), *arguments])


# --- ctypes -----------------------------------------------------------------------------------


class Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("type", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("extents", ctypes.c_int64 * LARGEST_RANK),
    )


class Options(ctypes.Structure):
    _fields_ = (
        ("threads", ctypes.c_int32),
        ("weights_in_place", ctypes.c_int32),
        ("weights_file", ctypes.c_char_p),
    )


class Library:
    """A library called as its header says."""

    def __init__(self, path: Path, threads: int, weights: Path | None = None) -> None:
        self._library = ctypes.CDLL(str(path))
        self._prefix = path.stem
        self._call("last_error").restype = ctypes.c_char_p
        self._call("create").restype = ctypes.c_void_p
        options = Options(threads, 0, None if weights is None else str(weights).encode())
        status = ctypes.c_int()
        self._model = self._call("create")(ctypes.byref(options), ctypes.byref(status))
        if self._model is None:
            raise RuntimeError(status.value, self.error())

    def _call(self, name: str) -> Any:
        return getattr(self._library, f"{self._prefix}_{name}")

    def error(self) -> str:
        text: bytes = self._call("last_error")(None)
        return text.decode()

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        count = self._call("output_count")()
        inputs, outputs = (Tensor * len(arrays))(), (Tensor * count)()
        for tensor, array in zip(inputs, arrays, strict=True):
            tensor.data, tensor.bytes = array.ctypes.data, array.nbytes
            tensor.type, tensor.rank = 1 + TYPES.index(array.dtype.name), array.ndim
            tensor.extents[: array.ndim] = array.shape
        status = self._call("run")(ctypes.c_void_p(self._model), inputs, outputs)
        if status:
            raise RuntimeError(status, self.error())
        results = []
        for tensor in outputs:
            content = ctypes.string_at(tensor.data, tensor.bytes)
            flat = np.frombuffer(content, np.dtype(TYPES[tensor.type - 1]))
            results.append(flat.reshape(tensor.extents[: tensor.rank]))
            self._call("free")(ctypes.c_void_p(tensor.data))
        return results

    def close(self) -> None:
        self._call("destroy")(ctypes.c_void_p(self._model))


@pytest.mark.parametrize("name", ["lenet", "mobilenet_v2", "wide_deep", "bilstm"])
def test_networks_run_as_in_process(name: str, tmp_path: Path) -> None:
    session = ow.compile(name, threads=2)
    feed = feed_for(session)
    expected = session.run(None, feed)
    written = ow.build(name, tmp_path / f"{name}.so", threads=2, separate_weights=True)
    assert [path.name for path in written] == [f"{name}.so", f"{name}.weights", f"{name}.h"]
    for threads in (1, 2):
        library = Library(written[0], threads)
        for _ in range(5):  # weights move to other memory on the way
            assert_same_bits(library.run([*feed.values()]), expected)
        library.close()


def test_sizes_that_only_a_run_knows(folder: Path) -> None:
    session, library = ow.compile(late()), Library(folder / "late.so", 1)
    for rows in (0, 1, 7):
        x = np.random.default_rng(rows).integers(0, 2, (rows, 3)).astype(np.float32)
        count = np.array([rows + 2])
        expected = session.run(None, {"x": x, "count": count})
        assert_same_bits(library.run([x, count]), expected)
    library.close()


def test_one_late_tensor_as_two_outputs_and_a_scalar(tmp_path: Path) -> None:
    graph = ow.Graph("twice")
    x = graph.input("x", ow.TensorType("bool", (ow.symbol("n"),)))
    scalar = graph.input("scalar", ow.TensorType("float32", ()))
    count = graph.input("count", ow.TensorType("int64", (1,)))
    wide = graph.add(expand, scalar, shape=(graph.measure(count, 0),))
    graph.output(wide, "first")
    graph.output(wide, "second")
    graph.output(x, "x as it is")
    graph.output(scalar, "scalar as it is")
    session = ow.compile(graph)
    (path, _) = ow.build(graph, tmp_path / "twice.so")
    library = Library(path, 2)
    for size in (0, 1, 300):
        arrays = [np.arange(size) % 3 == 0, np.array(size, np.float32), np.array([size])]
        names = [spec.name for spec in session.inputs]
        expected = session.run(None, dict(zip(names, arrays, strict=True)))
        assert_same_bits(library.run(arrays), expected)
    library.close()


def test_weights_beside_the_library(tmp_path: Path) -> None:
    path, weights, _ = ow.build("lenet", tmp_path / "net.so", separate_weights=True)
    moved = weights.rename(tmp_path / "moved")
    with pytest.raises(RuntimeError, match=r"6.*net\.weights.*No such file"):
        Library(path, 1)
    Library(path, 1, moved).close()
    content = moved.read_bytes()
    for damaged, said in ((content[:-1], "bytes long"), (b"x" + content[1:], "another model")):
        weights.write_bytes(damaged)
        with pytest.raises(RuntimeError, match=said):
            Library(path, 1)


def test_headers_are_c_and_cpp(folder: Path, tmp_path: Path) -> None:
    for name, command, standard in (("a.c", "cc", "c99"), ("a.cpp", "c++", "c++11")):
        if shutil.which(command) is None:
            continue
        source = tmp_path / name
        source.write_text('#include "net.h"\n#include "late.h"\n#include "net.h"\nint unused;\n')
        flags = [f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
        subprocess.run([command, *flags, "-I", str(folder), str(source)], check=True)


def test_tensors_of_too_many_dimensions_are_refused(tmp_path: Path) -> None:
    graph = ow.Graph("deep")
    x = graph.input("x", ow.TensorType("float32", (1,) * (LARGEST_RANK + 1)))
    graph.output(graph.add(expand, x, shape=(2,) + (1,) * LARGEST_RANK), "y")
    with pytest.raises(ow.UnsupportedError, match="17 dimensions"):
        ow.build(graph, tmp_path / "deep.so")
    assert not list(tmp_path.iterdir())


def test_a_library_is_alone(folder: Path) -> None:
    """Nothing but its own functions is visible, and nothing but the system is needed."""
    if sys.platform != "linux" or shutil.which("nm") is None:
        pytest.skip("there is no nm")
    said = subprocess.run(
        ["nm", "-D", "--defined-only", str(folder / "net.so")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert {line.split()[-1].split("_")[0] for line in said.stdout.splitlines()} == {"net"}
