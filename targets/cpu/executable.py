"""Running a compiled program: parameters, arena, symbols, the native call, failures."""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...compiler.memory import ALIGNMENT
from ...ir import Array, Error, Extent, LimitError, ModelError, TensorType
from ...ir.dim import evaluate
from .object_code import LoadedObject
from .pages import address_of, block
from .pool import borrowed_pool
from .program import ENTRY, Context, Failure, StepInfo

_Pointer = ctypes.c_void_p
_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int32, _Pointer, _Pointer, _Pointer)


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What the host must know of a program, apart from its machine code."""

    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    late_outputs: frozenset[int]
    symbols: tuple[str, ...]
    steps: tuple[StepInfo, ...]
    arena: Extent


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Shapes and types of the outputs (None: known after the run), symbols, bytes of the arena."""

    outputs: tuple[tuple[tuple[int, ...] | None, np.dtype[Any]], ...]
    symbols: tuple[int, ...]
    arena: int


_REMEMBERED_SIZES = 64


class CpuExecutable:
    """Machine code with its parameters (contiguous, aligned, native); safe to call from several
    threads at once."""

    def __init__(
        self,
        code: LoadedObject,
        info: ProgramInfo,
        params: Sequence[Array],
        threads: int = 1,
    ) -> None:
        self.info = info
        self.threads = threads
        self._code = code  # keeps the machine code loaded
        self._function = _FUNCTION(code.address(ENTRY))
        self._params = params
        self._param_table = np.array([address_of(array) for array in params], np.int64)
        self._params_at = address_of(self._param_table)
        # Neither the arena nor a tensor whose size the run itself decides may be larger.
        self._memory_limit = _physical_memory()
        # Arenas are kept between runs: a run allocates nothing once shapes have been seen.
        self._arenas: list[Array] = []
        self._known_sizes: dict[tuple[int, ...], _Sizes] = {}
        self._lock = threading.Lock()
        self._free = _c_free()

    def arena_bytes(self, symbols: Mapping[str, int]) -> int:
        """Bytes of memory for intermediate tensors in one run with these symbols."""
        return evaluate(self.info.arena, symbols)

    def __call__(self, inputs: Sequence[Array], symbols: Mapping[str, int]) -> list[Array]:
        """Outputs for contiguous inputs of the right types; ``symbols`` from their shapes."""
        sizes = self._sizes(symbols)
        outputs = [None if shape is None else empty(shape, dtype) for shape, dtype in sizes.outputs]
        # One block of eight-byte fields: values, context, failure, symbols. Building it is much
        # of what a small network's run costs.
        count = len(inputs) + len(outputs)
        failure = count + len(Context)
        frame = np.empty(failure + 2 + len(sizes.symbols), np.int64)
        place = address_of(frame)
        arena = self._take_arena(sizes.arena)
        try:
            with borrowed_pool(self.threads) as pool:
                frame[:] = [
                    *map(address_of, inputs),
                    *(0 if array is None else address_of(array) for array in outputs),
                    *(self._params_at, place + 8 * (failure + 2), place + 8 * failure),
                    *(self._memory_limit, pool),
                    *(0, 0),
                    *sizes.symbols,
                ]
                failed = self._function(place, address_of(arena), place + 8 * count)
        finally:
            self._give_arena(arena)
        if failed:
            raise self._error(int(frame[failure]), int(frame[failure + 1]))
        if not self.info.late_outputs:
            return [array for array in outputs if array is not None]
        measured = dict(zip(self.info.symbols, frame[failure + 2 :].tolist(), strict=False))
        return self._collect(outputs, frame, {**measured, **symbols}, len(inputs))

    def _sizes(self, symbols: Mapping[str, int]) -> _Sizes:
        """What follows from the symbols, remembered for the last of them."""
        key = tuple(symbols.values())
        found = self._known_sizes.get(key)
        if found is None:
            shapes: list[tuple[tuple[int, ...] | None, np.dtype[Any]]] = []
            for number, type_ in enumerate(self.info.outputs):
                late = number in self.info.late_outputs
                shape = None if late else tuple(evaluate(e, symbols) for e in type_.shape)
                shapes.append((shape, type_.numpy))
            table = [symbols.get(name, 0) for name in self.info.symbols] or [0]
            found = _Sizes(tuple(shapes), tuple(table), self.arena_bytes(symbols))
            if len(self._known_sizes) >= _REMEMBERED_SIZES:
                self._known_sizes.clear()
            self._known_sizes[key] = found
        return found

    def _collect(
        self,
        outputs: Sequence[Array | None],
        values: Array,
        symbols: Mapping[str, int],
        first: int,
    ) -> list[Array]:
        """Late outputs are copied out of native memory, which is freed then."""
        results: list[Array] = []
        native: set[int] = set()
        for number, array in enumerate(outputs):
            if array is None:
                type_ = self.info.outputs[number]
                shape = tuple(evaluate(extent, symbols) for extent in type_.shape)
                array = empty(shape, type_.numpy)
                address = int(values[first + number])
                if array.nbytes:
                    ctypes.memmove(array.ctypes.data, address, array.nbytes)
                native.add(address)
            results.append(array)
        for address in native:
            self._free(address)
        return results

    def _take_arena(self, nbytes: int) -> Array:
        with self._lock:
            for number, arena in enumerate(self._arenas):
                if arena.nbytes >= nbytes:
                    return self._arenas.pop(number)
        if nbytes <= self._memory_limit:
            try:
                return block(max(nbytes, 1))
            except MemoryError:
                pass
        raise LimitError(
            f"a run needs {nbytes} bytes for intermediate tensors; "
            f"this machine has {self._memory_limit}"
        )

    def _give_arena(self, arena: Array) -> None:
        with self._lock:
            self._arenas.append(arena)

    def _error(self, number: int, code: int) -> Error:
        step = self.info.steps[number]
        if code == Failure.OUT_OF_MEMORY:
            return LimitError(f"{step.node}: no memory for a tensor whose size came up in the run")
        if code == Failure.BAD_EXTENT:
            return ModelError(f"{step.node} is negative or too large in this run")
        if code == Failure.UNEQUAL_EXTENTS:
            return ModelError(f"{step.node} differ in this run")
        if code == Failure.RAISED or not step.errors:
            return Error(f"{step.node}: the kernel failed with status {code}")
        return ModelError(f"{step.node}: {'; or '.join(step.errors)} (status {code})")


def _physical_memory() -> int:
    """Bytes of main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An uninitialised array that starts on a cache line."""
    nbytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -address_of(memory) % ALIGNMENT
    return memory[start : start + nbytes].view(dtype).reshape(shape)


def _c_free() -> Any:
    function = ctypes.CDLL(None).free
    function.argtypes = [ctypes.c_void_p]
    function.restype = None
    return function
