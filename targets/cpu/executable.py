"""Running a compiled program: parameters, arena, symbols, the native call, failures."""

from __future__ import annotations

import ctypes
import math
import os
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


class _Frame:
    """Memory of one run at a time: what the native function is given, and its arena.

    ``fields`` has eight-byte fields: addresses of inputs and outputs, context, failure,
    symbols. ``sizes`` is what the arena and the symbols are set for.
    """

    __slots__ = ("arena", "arguments", "fields", "sizes")

    def __init__(self, fields: ctypes.Array[ctypes.c_int64], arena: Array) -> None:
        self.fields, self.arena = fields, arena
        self.arguments: tuple[int, int, int] = (0, 0, 0)
        self.sizes: _Sizes | None = None


_REMEMBERED_SIZES = 64
# Where larger tensors start matters: vectors of a shifted one straddle cache lines.
_LEAST_ALIGNED = 4096


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
        # Neither the arena nor a tensor whose size the run itself decides may be larger.
        self._memory_limit = _physical_memory()
        self._outputs_at = len(info.inputs)
        self._context_at = self._outputs_at + len(info.outputs)
        self._failure_at = self._context_at + len(Context)
        # Frames and arenas are kept between runs: a run allocates only its outputs once shapes
        # have been seen. Taking from a list and giving back to it need no lock.
        self._idle: list[_Frame] = []
        self._known_sizes: dict[tuple[int, ...], _Sizes] = {}
        self._free = _c_free()

    def address(self, symbol: str) -> int:
        """The address of something that the program exports."""
        return self._code.address(symbol)

    def arena_bytes(self, symbols: Mapping[str, int]) -> int:
        """Bytes of memory for intermediate tensors in one run with these symbols."""
        return evaluate(self.info.arena, symbols)

    def __call__(self, inputs: Sequence[Array], symbols: Mapping[str, int]) -> list[Array]:
        """Outputs for contiguous inputs of the right types; ``symbols`` from their shapes."""
        sizes = self._sizes(symbols)
        frame = self._take_frame(sizes)
        fields = frame.fields
        try:
            for number, array in enumerate(inputs):
                fields[number] = address_of(array)
            outputs: list[Array | None] = []
            place = self._outputs_at
            for shape, dtype in sizes.outputs:
                if shape is None:
                    outputs.append(None)
                    fields[place] = 0
                else:
                    output = empty(shape, dtype)
                    outputs.append(output)
                    fields[place] = address_of(output)
                place += 1
            if self.threads == 1:
                failed = self._function(*frame.arguments)
            else:
                with borrowed_pool(self.threads) as pool:
                    fields[self._context_at + Context.POOL] = pool
                    failed = self._function(*frame.arguments)
            if failed:
                step, code = fields[self._failure_at : self._failure_at + 2]
                raise self._error(step, code)
            if not self.info.late_outputs:
                return outputs  # type: ignore[return-value]
            values = list(fields)[self._failure_at + 2 :]
            measured = dict(zip(self.info.symbols, values, strict=False))
            return self._collect(outputs, list(fields), {**measured, **symbols})
        finally:
            self._idle.append(frame)

    def _take_frame(self, sizes: _Sizes) -> _Frame:
        """A frame with an arena that is large enough; none but this run has it."""
        try:
            frame = self._idle.pop()
        except IndexError:
            frame = self._new_frame(len(sizes.symbols))
        if frame.sizes is not sizes:
            if len(frame.arena) < sizes.arena:
                frame.arena = self._new_arena(sizes.arena)
            first = ctypes.addressof(frame.fields)
            context = first + 8 * self._context_at
            frame.arguments = (first, address_of(frame.arena), context)
            frame.fields[self._failure_at + 2 :] = list(sizes.symbols)
            frame.sizes = sizes
        elif self.info.late_outputs:
            frame.fields[self._failure_at + 2 :] = list(
                sizes.symbols
            )  # the last run measured others
        return frame

    def _new_frame(self, symbols: int) -> _Frame:
        fields = (ctypes.c_int64 * (self._failure_at + 2 + symbols))()
        first = ctypes.addressof(fields)
        context = {
            Context.PARAMS: address_of(self._param_table),
            Context.SYMBOLS: first + 8 * (self._failure_at + 2),
            Context.FAILURE: first + 8 * self._failure_at,
            Context.MEMORY_LIMIT: self._memory_limit,
            Context.POOL: 0,
        }
        for name, value in context.items():
            fields[self._context_at + name] = value
        return _Frame(fields, np.empty(0, np.uint8))

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
        fields: Sequence[int],
        symbols: Mapping[str, int],
    ) -> list[Array]:
        """Late outputs are copied out of native memory, which is freed then."""
        results: list[Array] = []
        native: set[int] = set()
        for number, array in enumerate(outputs):
            if array is None:
                type_ = self.info.outputs[number]
                shape = tuple(evaluate(extent, symbols) for extent in type_.shape)
                array = empty(shape, type_.numpy)
                address = fields[self._outputs_at + number]
                if array.nbytes:
                    ctypes.memmove(address_of(array), address, array.nbytes)
                native.add(address)
            results.append(array)
        for address in native:
            self._free(address)
        return results

    def _new_arena(self, nbytes: int) -> Array:
        if nbytes <= self._memory_limit:
            try:
                return block(nbytes)
            except MemoryError:
                pass
        raise LimitError(
            f"a run needs {nbytes} bytes for intermediate tensors; "
            f"this machine has {self._memory_limit}"
        )

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
    """An uninitialised array; a large one starts on a cache line."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < _LEAST_ALIGNED:
        return np.empty(shape, dtype)
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -address_of(memory) % ALIGNMENT
    return memory[start : start + nbytes].view(dtype).reshape(shape)


def _c_free() -> Any:
    function = ctypes.CDLL(None).free
    function.argtypes = [ctypes.c_void_p]
    function.restype = None
    return function
