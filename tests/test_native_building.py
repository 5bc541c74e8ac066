"""Ways of linking programs, and what cannot be built."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import opweave as ow
from opweave.targets.cpu.native import link
from opweave.targets.cpu.native.link import compiler_for

from .programs import FILES, NEEDS_COMPILER, Program, images, loaded, npy

pytestmark = NEEDS_COMPILER


def test_weights_beside_a_static_program(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    path, weights = ow.build(
        "lenet", tmp_path / "place" / "net", separate_weights=True, static=True
    )
    assert weights.name == "net.weights"
    other = tmp_path / "link"
    other.symlink_to(path)
    x = images(1)
    expected = ow.compile("lenet")(x)
    for command in (path, other):
        np.testing.assert_array_equal(loaded(Program(command, None)(stdin=npy(x)).stdout), expected)
    weights.rename(tmp_path / "elsewhere")
    done = Program(path, None)(stdin=npy(x))
    assert done.returncode == FILES
    assert b"net.weights: No such file" in done.stderr


@pytest.mark.parametrize("static", [False, True])
def test_weights_beyond_the_reach_of_code(
    static: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: all weights are as far away as those of 2 GiB are."""
    from opweave.targets.cpu.native import describe

    monkeypatch.setattr(describe, "_LARGEST_NEAR", 0)
    (path,) = ow.build("lenet", tmp_path / "net", static=static)
    x = images(1)
    found = loaded(Program(path, None)(stdin=npy(x)).stdout)
    np.testing.assert_array_equal(found, ow.compile("lenet")(x))


def test_another_processor_is_told(tmp_path: Path) -> None:
    """Simulated: a bit that no processor sets is asked for."""
    if platform.machine() != "x86_64":
        pytest.skip("extensions are looked up on x86-64 only")
    from opweave.targets.cpu.native import describe
    from opweave.targets.cpu.processors import Feature

    def needed(cpu: Any) -> tuple[Feature, ...]:
        return (Feature("imaginary", "imaginary", 7, 0, 3, 1),)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(describe, "needed_features", needed)
        (path,) = ow.build("lenet", tmp_path / "net")
    done = Program(path, None)(stdin=npy(images(1)))
    assert done.returncode == 7
    assert b"needs imaginary, which this processor" in done.stderr


@pytest.mark.skipif(compiler_for("x86_64-linux-musl") is None, reason="ziglang is not installed")
def test_other_systems(tmp_path: Path) -> None:
    x = images(1)
    cpu = "x86-64-v3"
    expected = ow.compile("lenet")(x)
    (path,) = ow.build("lenet", tmp_path / "musl", system="x86_64-linux-musl", cpus=[cpu])
    if platform.machine() == "x86_64":
        found = loaded(Program(path, None)(stdin=npy(x)).stdout)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    (path,) = ow.build("lenet", tmp_path / "arm", system="aarch64-linux-gnu")
    assert path.read_bytes()[18:20] == b"\xb7\x00"  # EM_AARCH64
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator:
        (path,) = ow.build("lenet", tmp_path / "fixed", system="aarch64-linux-gnu", static=True)
        done = subprocess.run([emulator, str(path)], input=npy(x), capture_output=True, check=True)
        np.testing.assert_allclose(loaded(done.stdout), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(compiler_for("x86_64-linux-musl") is None, reason="ziglang is not installed")
def test_a_static_program_without_the_systems_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_COMPILERS", ())
    monkeypatch.delenv("CC", raising=False)
    (path,) = ow.build("lenet", tmp_path / "net", static=True)
    x = images(1)
    found = loaded(Program(path, None)(stdin=npy(x)).stdout)
    np.testing.assert_array_equal(found, ow.compile("lenet")(x))


def test_a_compiler_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(link.LinkError, match=r"false failed.*CC names another"):
        ow.build("lenet", tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options", "error", "said"),
    [
        ("net", {}, ow.UnsupportedError, "no C compiler for this system"),
        ("net.so", {"system": "aarch64-linux-gnu"}, ow.UnsupportedError, "for aarch64-linux-gnu"),
        ("net", {"cpus": ("native", "x86-64-v3")}, ow.UnsupportedError, "one kind of processor"),
        ("net.owx", {"static": True}, ow.UnsupportedError, "links nothing"),
        ("net.so", {"static": True}, ow.UnsupportedError, "cannot be linked statically"),
        ("net", {"kind": "program"}, ow.UnsupportedError, "there is no kind 'program'"),
        ("none/net.owx", {}, FileNotFoundError, "no such folder"),
        ("", {"kind": "package"}, IsADirectoryError, "this is a folder"),
    ],
)
def test_what_cannot_be_built_is_told_before_the_model_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    monkeypatch.setattr(link, "compiler_for", lambda system, static=False: None)
    with pytest.raises(error, match=said):
        ow.build("no such model", tmp_path / name, **options)
