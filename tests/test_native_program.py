"""Executables: what they read and write, what they refuse and how they say so."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import opweave as ow
from opweave.ops.movement import expand

from .programs import (
    FILES,
    INVALID,
    LIMIT,
    NEEDS_COMPILER,
    OK,
    USAGE,
    Program,
    images,
    loaded,
    npy,
    npz,
)

DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64"),
]
HEADER_BYTES = 128

pytestmark = NEEDS_COMPILER


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Program:
    place = tmp_path_factory.mktemp("programs")
    batch = ow.TensorType("float32", (ow.symbol("batch"), 1, 32, 32))
    net = ow.networks.lenet(num_classes=10)
    (path,) = ow.build(net, place / "lenet", input_types=[batch], threads=2)
    return Program(path, ow.compile(net, input_types=[batch], threads=2))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Each element type, doubled along a new first axis: as many outputs as inputs."""
    graph = ow.Graph("pairs")
    for dtype in DTYPES:
        x = graph.input(dtype, ow.TensorType(dtype, (1, ow.symbol("n"), 3)))
        graph.output(graph.add(expand, x, shape=(2, ow.symbol("n"), 3)), f"two/{dtype}")
    (path,) = ow.build(graph, tmp_path_factory.mktemp("programs") / "pairs")
    return Program(path, ow.compile(graph))


# --- inputs and outputs -----------------------------------------------------------------------


def test_forms_of_inputs(lenet: Program, tmp_path: Path) -> None:
    x = images()
    expected = lenet.session(x)
    forms: list[tuple[bytes, list[str]]] = [
        *((npy(x, (version, 0)), []) for version in (1, 2, 3)),
        (npy(np.asfortranarray(x)), []),
        (npy(x.astype(">f4")), []),
        (npy(np.asfortranarray(x.astype(">f4"))), []),
        (npz(x=x), []),
        (npz(arr_0=x), []),
        (npz(x=x, compressed=True), []),
        (x.tobytes(), ["--raw"]),
        (x.tobytes(), ["--raw", "--dim", "batch=2"]),
        (x.tobytes(), ["--raw", "--shape", "x=2,1,32,32"]),
    ]
    for number, (content, options) in enumerate(forms):
        file = tmp_path / str(number)
        file.write_bytes(content)
        for threads in ("1", "2"):
            done = lenet(file, *options, "--threads", threads)
            assert done.returncode == OK, (number, done.stderr)
            if "--raw" in options:
                assert done.stdout == expected.tobytes()
            else:
                np.testing.assert_array_equal(loaded(done.stdout), expected)
        for dash in ([], ["-"]):
            assert lenet(*dash, *options, stdin=content).stdout == done.stdout


def test_forms_of_outputs(lenet: Program, tmp_path: Path) -> None:
    x = images()
    expected = lenet.session(x)
    for name in ("out.npy", "out", "out.npz", "out.raw"):
        raw = ["--raw"] if name == "out.raw" else []
        target = tmp_path / name
        target.write_bytes(b"old")
        done = lenet(
            *raw, *(["--dim", "batch=2"] if raw else []), "-o", target,
            stdin=x.tobytes() if raw else npy(x),
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (OK, b"", b"")
        content = target.read_bytes()
        if raw:
            assert content == expected.tobytes()
        elif name == "out.npz":
            np.testing.assert_array_equal(loaded(content)["output"], expected)
        else:
            assert content == npy(expected)
        mask = os.umask(0)
        os.umask(mask)
        assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask
    assert len([*tmp_path.iterdir()]) == 4


def array_of(dtype: str, rows: int, seed: int = 0) -> Any:
    bits = np.random.default_rng(seed).integers(0, 256, (1, rows, 3, 8), np.uint8)
    if dtype == "bool":
        return bits[..., 0] > 127
    type_ = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    return np.ascontiguousarray(bits[..., : type_.itemsize]).view(type_)[..., 0]


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_all_types_and_many_outputs(pairs: Program, rows: int, tmp_path: Path) -> None:
    arrays = {dtype: array_of(dtype, rows) for dtype in DTYPES}
    files = []
    for dtype, array in arrays.items():
        files.append(tmp_path / dtype)
        files[-1].write_bytes(npy(array))
    target = tmp_path / "out.npz"
    for inputs, stdin in (
        (files, b""),
        ([], b"".join(map(npy, arrays.values()))),
        ([], npz(**dict(reversed(arrays.items())))),
        ([], npz(**arrays, compressed=True)),
    ):
        done = pairs(*inputs, "-o", target, stdin=stdin)
        assert done.returncode == OK, done.stderr
        found = loaded(target.read_bytes())
        assert found.files == [f"two/{dtype}" for dtype in DTYPES]
        for dtype, array in arrays.items():
            output = found[f"two/{dtype}"]
            assert output.shape == (2, rows, 3)
            assert output.dtype.itemsize == array.dtype.itemsize
            assert output.tobytes() == 2 * array.tobytes()  # all bits, whatever number they are
        assert zipfile.ZipFile(target).testzip() is None
        assert pairs(*inputs, stdin=stdin).stdout == target.read_bytes()


def test_bfloat16_is_what_numpy_reads_as_two_bytes(pairs: Program) -> None:
    done = pairs(stdin=npz(**{dtype: array_of(dtype, 2) for dtype in DTYPES}))
    output = loaded(done.stdout)["two/bfloat16"].view(ml_dtypes.bfloat16)
    assert output[0].tobytes() == array_of("bfloat16", 2).tobytes()


def test_not_a_number_is_computed_with_and_told_of(lenet: Program) -> None:
    x = images()
    x[0] = np.nan
    x[1, 0, :2, 0] = np.inf, -np.inf
    done = lenet(stdin=npy(x))
    said = "lenet: note: input 'x' has 1024 elements that are not a number (NaN)\n"
    assert (done.returncode, done.stderr.decode()) == (OK, said)
    found = loaded(done.stdout)
    np.testing.assert_array_equal(found, lenet.session(x))
    assert np.isnan(found[0]).all()


def test_not_a_number_of_each_type(pairs: Program) -> None:
    arrays = {dtype: array_of(dtype, 2) for dtype in DTYPES}
    kinds = ("float16", "bfloat16", "float32", "float64")
    for dtype in kinds:
        arrays[dtype].flat[0] = -np.nan
    lines = pairs(stdin=npz(**arrays)).stderr.decode().splitlines()
    assert len(lines) == len(kinds)
    for dtype, line in zip(kinds, lines, strict=True):
        assert f"input '{dtype}' has 1 elements" in line


# --- what is refused --------------------------------------------------------------------------


def test_wrong_usage(lenet: Program) -> None:
    for said, arguments in {
        "no option --what": ["--what"],
        "-o needs a value": ["-o"],
        "--threads cannot be 0": ["--threads", "0"],
        "--threads cannot be many": ["--threads=many"],
        "--seconds cannot be nan": ["--seconds", "nan"],
        "--dim batches=3 names no symbolic extent": ["--dim", "batches=3"],
        "input 'x' takes 4 numbers": ["--raw", "--shape", "x=1,2"],
        "2 files are given": ["a.npy", "b.npy"],
    }.items():
        lenet.refuses(USAGE, said, *arguments)


def test_wrong_inputs(lenet: Program) -> None:
    x = images()
    wanted = "float32[batch, 1, 32, 32]"
    structure = np.zeros(3, [("a", "f4")])
    for said, content in (
        (f"float64[2, 1, 32, 32]; lenet takes {wanted}", npy(x.astype("f8"))),
        (f"float32[2, 1, 31, 32]; lenet takes {wanted}", npy(x[:, :, :31])),
        (f"float32[1, 32, 32]; lenet takes {wanted}", npy(x[0])),
        ("NumPy type <c16", npy(x.astype("c16"))),
        ("of a structure", npy(structure)),
        ("<U5", npy(np.array(["hello"]))),
        ("is cut off", npy(x)[:-1]),
        ("header is damaged", npy(x)[:20]),
        ("1 bytes more", npy(x) + b"x"),
        ("neither a .npy nor a .npz", b"nonsense"),
        ("ends before input 'x'", b""),
        ("'y'", npz(y=x)),
        ("has no input 'x'", npz()),
        ("damaged .npz", npz(x=x)[:-30]),
        ("float64[2, 1, 32, 32]", npz(x=x.astype("f8"))),
    ):
        lenet.refuses(INVALID, said, stdin=content)
    lenet.refuses(INVALID, "1 bytes more", "--raw", "--dim", "batch=2", stdin=x.tobytes() + b"x")
    lenet.refuses(INVALID, "too short", "--raw", "--dim", "batch=3", stdin=x.tobytes())
    damaged = bytearray(npz(x=x))
    damaged[1000] ^= 1
    lenet.refuses(INVALID, "damaged", stdin=bytes(damaged))


def test_missing_files_and_full_disks(lenet: Program, tmp_path: Path) -> None:
    x = tmp_path / "x.npy"
    x.write_bytes(npy(images()))
    lenet.refuses(FILES, "nothing.npy cannot be read: No such file", "nothing.npy")
    lenet.refuses(FILES, "cannot be read: Is a directory", tmp_path)
    lenet.refuses(FILES, "cannot be written: No such file", x, "-o", tmp_path / "no" / "out")
    lenet.refuses(FILES, "cannot be written: Is a directory", x, "-o", tmp_path)
    lenet.refuses(FILES, "/dev/full cannot be written: No space", x, "-o", "/dev/full")
    for arguments in ([x], ["--help"], ["--info"], ["--bench", "--seconds=0.01"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [str(lenet.path), *map(str, arguments)], stdout=full, stderr=-1, check=False
            )
        assert done.returncode == FILES
        assert b"standard output cannot be written: No space left" in done.stderr
    assert [*tmp_path.iterdir()] == [x]


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")
def test_closed_streams(lenet: Program, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy(images()))
    out = tmp_path / "out.npy"
    for command, status, said in (
        ("$P <&-", FILES, "standard input cannot be read: Bad file"),
        ("$P x.npy >&-", FILES, "standard output cannot be written: Bad file"),
        ("$P x.npy -o out.npy <&- >&-", OK, ""),
        ("$P x.npy -o out.npy 2>&-", OK, ""),
        ("$P nothing.npy -o out.npy 2>&-", FILES, ""),
        ("{ $P x.npy; echo status $? >&2; } | true", OK, "status 6"),
    ):
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            env={"P": str(lenet.path), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        # The reader may be there until after all is written.
        assert said in done.stderr or "status 0" in done.stderr, command
        assert done.returncode == status, command
    np.testing.assert_array_equal(np.load(out), lenet.session(images()))


def test_output_through_a_link(lenet: Program, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "y.npy", tmp_path / "link.npy"
    target.write_bytes(b"old")
    link.symlink_to(target)
    (tmp_path / "x.npy").write_bytes(npy(images()))
    assert lenet(tmp_path / "x.npy", "-o", link).returncode == OK
    assert link.is_symlink()
    assert np.load(target).shape[0] == 2
    assert list(target.parent.iterdir()) == [target]


def test_output_is_whole_or_old(lenet: Program, tmp_path: Path) -> None:
    """A program that is killed while it writes leaves what was there."""
    target = tmp_path / "out.npy"
    target.write_bytes(b"old")
    with subprocess.Popen([str(lenet.path), "-o", str(target)], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(npy(images())[:1000])
        process.stdin.flush()
        process.send_signal(signal.SIGKILL)
    assert target.read_bytes() == b"old"
    lenet.refuses(INVALID, "float64", "-o", target, stdin=npy(np.zeros(3)))
    assert target.read_bytes() == b"old"


# --- hostile files ----------------------------------------------------------------------------


def header(text: str, version: int = 1) -> bytes:
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode()


@pytest.mark.parametrize(
    "shape",
    [
        "(4611686018427387904, 4, 4, 4)",
        "(18446744073709551617, 1, 32, 32)",
        "(4294967296, 4294967296, 4294967296, 0)",
        "(" + "1," * 40 + ")",
        "(-1, 1, 32, 32)",
        "(1000000000000, 1, 32, 32)",
        "(2, 1, 32, 32",
        "2",
        "(((((((",
    ],
)
def test_absurd_shapes(lenet: Program, shape: str) -> None:
    text = f"{{'descr': '<f4', 'fortran_order': True, 'shape': {shape}, }}\n"
    for version in (1, 2, 3):
        lenet.refuses(INVALID, "lenet: ", stdin=header(text, version) + bytes(4096))


def test_bombs_take_no_memory(lenet: Program, tmp_path: Path) -> None:
    """Sizes that a file claims are not believed: a limit of 300 MB of memory is enough."""
    claimed = b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(1000)
    bomb = bytearray(npz(x=np.zeros((2, 1, 32, 32), np.float32), compressed=True))
    directory = bomb.rindex(b"PK\x01\x02")
    bomb[directory + 24 : directory + 28] = b"\xfe\xff\xff\xff"
    stored = bytearray(npz(x=images()))
    directory = stored.rindex(b"PK\x01\x02")
    stored[directory + 20 : directory + 28] = b"\xfe\xff\xff\xff" * 2
    for content in (claimed, bytes(bomb), bytes(stored)):
        file = tmp_path / "bomb"
        file.write_bytes(content)
        command = f"ulimit -v 300000; exec {lenet.path} {file} --threads 1"
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (INVALID, b""), done.stderr


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(["npy", "stored", "deflated"]))
def test_damaged_files_are_refused_or_read(lenet: Program, data: st.DataObject, kind: str) -> None:
    """Whatever bytes are wrong, the program ends by itself and says so in one line."""
    x = np.zeros((1, 1, 32, 32), np.float32)
    content = bytearray(npy(x) if kind == "npy" else npz(x=x, compressed=kind == "deflated"))
    # Most damage goes where sizes and names are: the beginning and the end.
    places = st.one_of(
        st.integers(0, min(HEADER_BYTES, len(content)) - 1),
        st.integers(max(0, len(content) - HEADER_BYTES), len(content) - 1),
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(places)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    done = lenet("--threads", "1", stdin=bytes(content[:cut]))
    assert done.returncode in (OK, INVALID, LIMIT), done.stderr
    assert done.stderr.count(b"\n") == (done.returncode != OK)


# --- what it tells ----------------------------------------------------------------------------


def test_information_and_help(lenet: Program, pairs: Program) -> None:
    assert "float32[batch, 1, 32, 32]" in lenet("--info").stdout.decode()
    assert "opweave" in lenet("--version").stdout.decode()
    assert "--raw" in lenet("--help").stdout.decode()
    assert len(pairs("--info").stdout.splitlines()) >= 2 * len(DTYPES)


def test_bench(lenet: Program, pairs: Program, tmp_path: Path) -> None:
    said = lenet("--bench", "--seconds", "0.05", "--dim", "batch=3", "--threads", "2").stdout
    for word in (b"min", b"median", b"p99", b"inferences/s", b"threads     2"):
        assert word in said
    x = tmp_path / "x.npy"
    x.write_bytes(npy(images()))
    assert lenet("--bench", "--seconds", "0.01", x).returncode == OK
    assert pairs("--bench", "--seconds", "0.01", "--dim", "n=0").returncode == OK


def test_a_program_without_inputs(tmp_path: Path) -> None:
    graph = ow.Graph("constant")
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    graph.output(graph.add(expand, graph.param(value), shape=(2, 2, 3)), "y")
    (path,) = ow.build(graph, tmp_path / "constant")
    program = Program(path, None)
    np.testing.assert_array_equal(loaded(program(stdin=b"not read").stdout), [value, value])
    (tmp_path / "x.npy").write_bytes(npy(value))
    program.refuses(INVALID, "more than the model takes", "x.npy")
    program.refuses(USAGE, "2 files are given", "x.npy", "x.npy")
