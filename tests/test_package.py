"""Packages: what is loaded computes the same bits as what was saved, and needs no compiler."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import opweave as ow
from opweave.ops.elementwise_arithmetic import add
from opweave.targets.cpu import processors
from opweave.targets.cpu.package.container import MAGIC, PackageFile, is_package
from opweave.targets.cpu.package.metadata import read_variant

from .saved_models import assert_same_bits, feed_for, late


@pytest.mark.parametrize("name", ["lenet", "mobilenet_v2", "wide_deep", "bilstm"])
def test_networks_run_as_before(name: str, tmp_path: Path) -> None:
    session = ow.compile(name, threads=2)
    path = ow.save(session, tmp_path / name)
    assert path.name == f"{name}.owx"
    feed = feed_for(session)
    expected = session.run(None, feed)
    for threads in (1, 2, 3):
        loaded = ow.load_session(path, threads=threads, verify=True)
        assert loaded.inputs == session.inputs
        assert loaded.outputs == session.outputs
        for _ in range(4):
            assert_same_bits(loaded.run(None, feed), expected)


def test_sizes_that_only_a_run_knows(tmp_path: Path) -> None:
    session = ow.compile(late())
    loaded = ow.load_session(ow.save(session, tmp_path / "late"))
    for rows in (0, 1, 7):
        x = np.random.default_rng(rows).integers(0, 2, (rows, 3)).astype(np.float32)
        feed = {"x": x, "count": np.array([rows + 2])}
        assert_same_bits(loaded.run(None, feed), session.run(None, feed))
    with pytest.raises(ow.ModelError):
        loaded(np.zeros((2, 4), np.float32), np.array([1]))
    with pytest.raises((ow.ModelError, ow.LimitError)):
        loaded(np.zeros((2, 3), np.float32), np.array([-5]))


def test_a_saved_model_says_what_it_cannot(tmp_path: Path) -> None:
    loaded = ow.load_session(ow.save(ow.compile("lenet"), tmp_path / "lenet"))
    with pytest.raises(ow.UnsupportedError, match="not its graph"):
        _ = loaded.graph
    with pytest.raises(ow.UnsupportedError, match="time of operators"):
        loaded.profile(np.zeros((1, 1, 32, 32), np.float32))
    with pytest.raises(ow.ModelError, match="at least one thread"):
        ow.load_session(tmp_path / "lenet.owx", threads=0)


def test_a_loaded_model_saved_again_needs_the_same_processor(tmp_path: Path) -> None:
    first = ow.save(ow.compile("lenet"), tmp_path / "first")
    again = ow.save(ow.load_session(first), tmp_path / "again")
    one, other = (PackageFile(path).metadata["variants"][0] for path in (first, again))
    for key in ("processor", "triple", "architecture", "features", "vector_bits"):
        assert other[key] == one[key]


def test_weights_move_to_large_pages_while_others_run(tmp_path: Path) -> None:
    session = ow.compile("bilstm", threads=1)
    path = ow.save(session, tmp_path / "net")
    loaded = ow.load_session(path, threads=1)
    feed = feed_for(session)
    expected = session.run(None, feed)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(loaded.run, None, feed) for _ in range(16)]
        for run in runs:
            assert_same_bits(run.result(), expected)
    for thread in threading.enumerate():
        if thread.name == "opweave-weights":
            thread.join()
    assert getattr(loaded.executable, "_copy", None) is not None
    assert_same_bits(loaded.run(None, feed), expected)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells of its memory")
def test_weights_are_in_memory_once(tmp_path: Path) -> None:
    path = ow.save(ow.compile("bilstm", threads=1), tmp_path / "net")
    script = (
        "import sys, threading, numpy as np, opweave\n"
        "def peak():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(line.split()[1]) << 10 for line in lines if line[:6] == 'VmHWM:')\n"
        "before = peak()\n"
        "session = opweave.load_session(sys.argv[1], threads=1)\n"
        "feed = [np.zeros(spec.type.static_shape, spec.numpy) for spec in session.inputs]\n"
        "for _ in range(4): session(*feed)\n"
        "for thread in threading.enumerate():\n"
        "    if thread.name == 'opweave-weights': thread.join()\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1.6 * path.stat().st_size


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package for several kinds of processors."""
    path = tmp_path_factory.mktemp("several") / "lenet.owx"
    ow.build("lenet", path, cpus=("x86-64-v2", "native", "x86-64-v3"))
    return path


def test_the_best_program_for_the_processor_is_taken(
    several: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = PackageFile(several).metadata["variants"]
    assert [item["kind"] for item in described] == ["x86-64-v2", "native", "x86-64-v3"]
    session = ow.compile("lenet")
    feed = feed_for(session)
    expected = session.run(None, feed)[0]
    flags = {feature.name: feature.flag for feature in processors.FEATURES}
    for kind, bits in (("x86-64-v3", 256), ("x86-64-v2", 128)):
        there = frozenset(flags[name] for name in processors.X86_64_LEVELS[kind][0])
        monkeypatch.setattr(processors, "_flags", lambda there=there: there)
        loaded = ow.load_session(several)
        assert loaded.executable.program.cpu.vector_bits == bits  # type: ignore[attr-defined]
        np.testing.assert_allclose(loaded.run(None, feed)[0], expected, atol=1e-6)
    monkeypatch.setattr(processors, "_flags", lambda: frozenset(["sse2"]))
    with pytest.raises(ow.DeviceError, match=r"lacks .*popcnt.*; or .*avx2"):
        ow.load_session(several)


def test_loading_imports_no_compiler(several: Path) -> None:
    code = (
        "import sys, opweave, numpy\n"
        f"session = opweave.load_session({str(several)!r})\n"
        "session(numpy.zeros((1, 1, 32, 32), numpy.float32))\n"
        "heavy = {'numba', 'llvmlite', 'onnx', 'networkx', 'google.protobuf'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ow.UnsupportedError, match=r"x86-64-v9.*x86-64-v3"):
        ow.build("lenet", tmp_path / "net.owx", cpus=("x86-64-v9",))
    with pytest.raises(ow.UnsupportedError, match=r"windows.*aarch64-linux-gnu"):
        ow.build("lenet", tmp_path / "net.owx", system="windows")
    with pytest.raises(ow.UnsupportedError, match="one kind of processor"):
        ow.build("lenet", tmp_path / "net.so", cpus=("native", "x86-64-v3"))
    with pytest.raises(ow.UnsupportedError, match="weights inside"):
        ow.build("lenet", tmp_path / "net.owx", separate_weights=True)
    assert list(tmp_path.iterdir()) == []


def test_code_for_another_system_is_made_but_not_run(tmp_path: Path) -> None:
    path = tmp_path / "net.owx"
    ow.build("lenet", path, system="aarch64-linux-gnu")
    (variant,) = PackageFile(path).metadata["variants"]
    assert (variant["architecture"], variant["vector_bits"]) == ("aarch64", 128)
    if processors.platform.machine() != "aarch64":
        with pytest.raises(ow.DeviceError, match="a processor of the kind aarch64"):
            ow.load_session(path)


def test_files_that_are_no_packages(tmp_path: Path, several: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ow.load_session(tmp_path / "none.owx")
    for content, message in ((b"", "too short"), (bytes(500), "no opweave package")):
        path = tmp_path / "bad.owx"
        path.write_bytes(content)
        with pytest.raises(ow.FormatError, match=message):
            ow.load_session(path)
        assert not is_package(path)
    content = bytearray(several.read_bytes())
    assert is_package(several)
    content[16] ^= 2
    path.write_bytes(content)
    with pytest.raises(ow.FormatError, match="another version"):
        ow.load_session(path)


def test_damaged_weights_are_found_when_asked(tmp_path: Path, several: Path) -> None:
    described = PackageFile(several).metadata["variants"]
    path = tmp_path / "damaged.owx"
    content = bytearray(several.read_bytes())
    for item in described:
        content[item["weights"][0]] ^= 1
    path.write_bytes(content)
    ow.load_session(path)
    with pytest.raises(ow.FormatError, match="checksum"):
        ow.load_session(path, verify=True)


def read_all(path: Path) -> None:
    """Read everything that would be trusted, of all programs."""
    file = PackageFile(path)
    for item in file.metadata["variants"]:
        file.blob(read_variant(item).code, verify=True)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_other_damage_is_always_found(
    data: st.DataObject, several: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = several.read_bytes()
    header, metadata = range(72), range(int.from_bytes(content[24:32], "little"), len(content))
    codes = [item["code"][:2] for item in PackageFile(several).metadata["variants"]]
    parts = [header, metadata, *(range(first, first + size) for first, size in codes)]
    place = data.draw(st.sampled_from(parts).flatmap(st.sampled_from))
    if data.draw(st.booleans()):
        damaged = content[:place]
    else:
        other = content[place] ^ data.draw(st.integers(1, 255))
        damaged = content[:place] + bytes([other]) + content[place + 1 :]
    path = tmp_path_factory.mktemp("damage") / "damaged.owx"
    path.write_bytes(damaged)
    with pytest.raises(ow.FormatError):
        read_all(path)


def run_verb(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "opweave", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_verbs_take_packages(tmp_path: Path) -> None:
    path = tmp_path / "net.owx"
    made = run_verb("compile", "lenet", "-o", str(path), "--cpu", "native,x86-64-v3")
    assert made["kind"] == "package"
    assert made["files"] == [{"path": str(path), "bytes": path.stat().st_size}]
    assert path.read_bytes().startswith(MAGIC)
    before, after = run_verb("run", "lenet"), run_verb("run", str(path))
    assert after["outputs"] == before["outputs"]
    measured = run_verb("bench", str(path), "-n", "5", "--threads", "1,2")
    assert [item["threads"] for item in measured["measurements"]] == [1, 2]
    command = [sys.executable, "-m", "opweave", "run", str(path), "--accuracy", "exact"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "compiled already" in refused.stderr


def test_packages_say_what_they_are(several: Path) -> None:
    facts = run_verb("inspect", str(several))
    assert [item["kind"] for item in facts["programs"]] == ["x86-64-v2", "native", "x86-64-v3"]
    assert facts["inputs"] == [{"name": "x", "type": "float32[1, 1, 32, 32]"}]
    with pytest.raises(ow.FormatError, match=r"is a package.*load_session"):
        ow.load(several)


def test_sizes_are_given_to_packages(tmp_path: Path) -> None:
    graph = ow.Graph("open")
    x = graph.input("x", ow.TensorType("float32", (ow.symbol("batch"), 4)))
    graph.output(graph.add(add, x, x), "y")
    path = ow.save(ow.compile(graph), tmp_path / "open")
    result = run_verb("run", str(path), "--dim", "batch=5")
    assert result["outputs"]["y"]["shape"] == [5, 4]
    result = run_verb("run", str(path), "--shape", "x:3x4")
    assert result["inputs"]["x"]["shape"] == [3, 4]
