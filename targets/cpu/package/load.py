"""Loading packages: machine code relocated, weights mapped; no compiler."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from pathlib import Path

import numpy as np

from ....compiler.session import Session
from ....ir.data_type import Array
from ....ir.errors import FormatError, ModelError
from ..executable import CompiledProgram, CpuExecutable, Frame
from ..loader import CodeError
from ..pages import LARGE_PAGE, address_of, block
from ..pool import available_threads
from ..processors import CpuDescription, best
from .container import PackageFile
from .metadata import Variant, read_variant

# Runs on mapped weights before they are copied to large pages: who runs once or twice wants the
# first answer, who runs often the shortest runs.
_RUNS_ON_MAPPED = 2
# What may lie in memory twice meanwhile; a multiple of the size of pages.
_COPIED_AT_ONCE = 4 << 20


def load_session(
    path: str | os.PathLike[str], *, threads: int | None = None, verify: bool = False
) -> Session:
    """Load a package that ``save`` or ``build`` wrote; neither Numba nor LLVM is needed.

    The best program for this machine's processor is taken. ``threads`` bounds the threads of one
    run. Weights are read from the file when they are first used; after the second run they are
    copied once to large pages, which later runs are faster on. ``verify`` checks their
    checksum, which reads all of them.

    A package is code that will run: load only what you trust. Raises FileNotFoundError,
    FormatError for a file that is no package, damaged, or written by another version of
    opweave, DeviceError naming what this processor lacks.
    """
    if threads is not None and threads < 1:
        raise ModelError(f"a run needs at least one thread, not {threads}")
    file = PackageFile(Path(path))
    variant = _chosen(file)
    code = file.blob(variant.code, verify=True)
    weights = np.frombuffer(file.blob(variant.weights, verify=verify), np.uint8)
    params = [weights[place : place + nbytes] for place, nbytes in variant.parameters]
    features = ",".join(f"+{name}" for name in variant.features)
    cpu = CpuDescription(variant.processor, features, variant.triple, "", variant.vector_bits)
    program = CompiledProgram(variant.info, bytes(code), params, cpu)
    try:
        executable = PackagedExecutable(
            program, threads or available_threads(), weights, file, variant.weights.offset
        )
    except CodeError as error:
        raise FormatError(f"{file.path}: {error}") from None
    return Session(variant.interface, executable, "cpu")


def _chosen(file: PackageFile) -> Variant:
    try:
        described = file.metadata["variants"]
        kinds = [(str(item["architecture"]), list(item["features"])) for item in described]
        number = best(kinds)
        return read_variant(described[number])
    except (KeyError, TypeError, ValueError, AttributeError, ModelError) as error:
        raise FormatError(f"{file.path} is damaged: its metadata is not right: {error}") from None


class PackagedExecutable(CpuExecutable):
    """A program whose weights lie in a mapped file until it has run a few times."""

    def __init__(
        self,
        program: CompiledProgram,
        threads: int,
        weights: Array,
        file: PackageFile,
        offset: int,
    ) -> None:
        """``weights`` lie at the place ``offset`` in the file."""
        super().__init__(program, threads)
        self._mapped = weights
        self._file, self._offset = file, offset
        self._runs = 0
        self._copy: Array | None = None
        # Small weights cost nothing on small pages.
        self._stays = weights.nbytes < LARGE_PAGE
        self._lock = threading.Lock()

    def launch(self, frame: Frame) -> None:
        """Run once; after some runs the weights are copied, while others go on."""
        super().launch(frame)
        if not self._stays:
            self._runs += 1
            if self._runs >= _RUNS_ON_MAPPED:
                with self._lock:
                    if self._stays:
                        return
                    self._stays = True
                threading.Thread(target=self._move, name="opweave-weights", daemon=True).start()

    def _move(self) -> None:
        """Copy the weights to large pages; runs in progress go on with those they began with.

        Piece by piece, and what is copied is given back to the system: hardly any weights are
        in memory twice.
        """
        total = self._mapped.nbytes
        try:
            copy = self._copy = block(total)
        except MemoryError:
            return  # the mapped ones will do
        start = address_of(self._mapped)
        ends = [address_of(array) + array.nbytes - start for array in self.program.params]
        moved = address_of(copy) - start
        count = len(self._param_table)
        # Word by word: a run that reads an address meanwhile gets the old or the new one.
        table = (ctypes.c_int64 * count).from_address(address_of(self._param_table))
        number = 0
        for place in range(0, total, _COPIED_AT_ONCE):
            done = min(place + _COPIED_AT_ONCE, total)
            copy[place:done] = self._mapped[place:done]
            while number < count and ends[number] <= done:
                table[number] += moved
                number += 1
            if hasattr(mmap, "MADV_DONTNEED"):
                self._file.memory.madvise(mmap.MADV_DONTNEED, self._offset + place, done - place)
        if hasattr(mmap, "MADV_DONTNEED"):
            self._file.memory.madvise(mmap.MADV_DONTNEED)
