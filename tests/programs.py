"""Programs that were built: how tests run them, and what they read and write."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opweave.targets.cpu.native.link import compiler_for

OK, USAGE, INVALID, LIMIT, FILES = 0, 2, 3, 5, 6

NEEDS_COMPILER = [
    pytest.mark.skipif(compiler_for(None) is None, reason="there is no C compiler"),
    pytest.mark.skipif(sys.platform != "linux", reason="programs are for Linux"),
]


@dataclass(frozen=True)
class Program:
    """A program that was built, and what it should compute."""

    path: Path
    session: Any

    def __call__(
        self, *arguments: str | Path, stdin: bytes = b"", environment: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [str(self.path), *map(str, arguments)],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
            cwd=self.path.parent,
            env=None if environment else {},
        )

    def refuses(self, status: int, said: str, *arguments: str | Path, stdin: bytes = b"") -> None:
        done = self(*arguments, stdin=stdin)
        message = done.stderr.decode()
        assert (done.returncode, done.stdout) == (status, b""), message
        assert said in message
        assert message.startswith(f"{self.path.name}: ")
        assert message.count("\n") == 1


def images(batch: int = 2, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((batch, 1, 32, 32), np.float32)


def npy(array: Any, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def npz(*, compressed: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def loaded(content: bytes) -> Any:
    return np.load(io.BytesIO(content))
