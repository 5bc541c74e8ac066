"""Running a compiled program: parameters, arena, symbols, the native call, failures."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...compiler.memory import ALIGNMENT
from ...ir import Array, Error, Extent, LimitError, ModelError, TensorType, UnsupportedError
from ...ir.dim import evaluate
from .calling import ENTRY, Context, Failure, StepInfo
from .loader import load_object
from .pages import ADDRESS_IN_ARRAY, address_of, block
from .pool import give_back, take_pool
from .processors import CpuDescription

_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)
_Fields = ctypes.Array[ctypes.c_int64]
_Allocate = Callable[[tuple[int, ...], np.dtype[Any]], Array]


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What the host must know of a program, apart from its machine code.

    ``checks`` are texts of what its own preparation may find wrong with sizes. ``shares`` is
    False for a program too short for several threads.
    """

    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    late_outputs: frozenset[int]
    symbols: tuple[str, ...]
    steps: tuple[StepInfo, ...]
    checks: tuple[str, ...]
    arena: Extent
    shares: bool


@dataclass(frozen=True, slots=True)
class CompiledProgram:
    """A program for one kind of processor: what runs, and what can be saved.

    ``code`` is an object file; ``params`` are contiguous, aligned and native.
    """

    info: ProgramInfo
    code: bytes
    params: Sequence[Array]
    cpu: CpuDescription


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What follows from the shapes of the inputs.

    ``outputs`` says how to allocate each output, and its shape and type; None where the shape is
    known after the run. ``values`` are the symbols that the inputs give, ``symbols`` all of the
    program's, in its order, ``arena`` the bytes for intermediate tensors.
    """

    outputs: tuple[tuple[_Allocate, tuple[int, ...], np.dtype[Any]] | None, ...]
    values: Mapping[str, int]
    symbols: list[int]
    arena: int


class Frame:
    """Memory of one run at a time: what the native function is given, and its arena.

    ``fields`` has eight-byte fields: the context; pointers to the addresses of inputs and
    outputs; cells for these addresses, where arrays do not show theirs; failure; symbols.
    ``address`` is where. ``sizes`` is what the arena and the symbols are set for.
    """

    __slots__ = ("address", "arena", "fields", "sizes")

    def __init__(self, fields: _Fields, arena: Array) -> None:
        self.fields, self.arena = fields, arena
        self.address = ctypes.addressof(fields)
        self.sizes: _Sizes | None = None


_INPUTS_AT = len(Context)
_REMEMBERED_SIZES = 64
# Where larger tensors start matters: vectors of a shifted one straddle cache lines.
_LEAST_ALIGNED = 4096


class CpuExecutable:
    """A compiled program in memory; safe to call from several threads at once."""

    def __init__(self, program: CompiledProgram, threads: int = 1) -> None:
        self.program = program
        self.info = info = program.info
        self.threads = threads
        self._alone = threads == 1 or not info.shares
        self._code = load_object(program.code)  # keeps the machine code loaded
        self._function = _FUNCTION(self._code.address(ENTRY))
        self._param_table = np.array([address_of(array) for array in program.params], np.int64)
        # Neither the arena nor a tensor whose size the run itself decides may be larger.
        self._memory_limit = _physical_memory()
        self._outputs_at = _INPUTS_AT + len(info.inputs)
        self._cells_at = self._outputs_at + len(info.outputs)
        self._failure_at = 2 * self._cells_at - _INPUTS_AT
        self._symbols_at = self._failure_at + 2
        # Frames and arenas are kept between runs: a run allocates only its outputs once shapes
        # have been seen. Taking from a list and giving back to it need no lock.
        self._idle: list[Frame] = []
        self._known_sizes: dict[tuple[int, ...], _Sizes] = {}
        self._free = _c_free()

    def address(self, name: str) -> int:
        """The address of a symbol that the program exports beside its entry."""
        return self._code.address(name)

    def arena_bytes(self, symbols: Mapping[str, int]) -> int:
        """Bytes of memory for intermediate tensors in one run with these symbols."""
        return evaluate(self.info.arena, symbols)

    def __call__(self, inputs: Sequence[Array], symbols: Mapping[str, int]) -> list[Array]:
        """Outputs for contiguous inputs of the right types; ``symbols`` from their shapes."""
        return self._run(self._sizes(symbols), inputs)

    def prepare(self, symbols: Mapping[str, int]) -> Callable[[Sequence[Array]], list[Array]]:
        """``self`` for inputs whose shapes give these symbols."""
        return functools.partial(self._run, self._sizes(symbols))

    def bind(
        self, inputs: Sequence[Array], outputs: Sequence[Array], symbols: Mapping[str, int]
    ) -> Callable[[], None]:
        """A run that always reads these inputs and writes these outputs, and allocates nothing.

        Raises UnsupportedError where the run itself decides the shape of an output.
        """
        if self.info.late_outputs:
            raise UnsupportedError("outputs whose shapes only a run decides cannot be bound")
        return _BoundRun(self, self._new_frame(self._sizes(symbols)), (*inputs, *outputs))

    def _run(self, sizes: _Sizes, inputs: Sequence[Array]) -> list[Array]:
        try:
            frame = self._idle.pop()
        except IndexError:
            frame = self._new_frame(sizes)
        try:
            if frame.sizes is not sizes:
                self._fit(frame, sizes)
            fields = frame.fields
            place = _INPUTS_AT
            for array in inputs:
                if ADDRESS_IN_ARRAY:
                    fields[place] = id(array) + ADDRESS_IN_ARRAY
                else:
                    self.set_address(fields, place, array)
                place += 1
            if self.info.late_outputs:
                return self._run_late(frame, sizes)
            outputs = []
            for allocate, shape, dtype in sizes.outputs:  # type: ignore[misc]  # none is late
                output = allocate(shape, dtype)
                outputs.append(output)
                if ADDRESS_IN_ARRAY:
                    fields[place] = id(output) + ADDRESS_IN_ARRAY
                else:
                    self.set_address(fields, place, output)
                place += 1
            self.launch(frame)
            return outputs
        finally:
            self._idle.append(frame)

    def _run_late(self, frame: Frame, sizes: _Sizes) -> list[Array]:
        """The rest of a run some of whose outputs the program allocates."""
        fields = frame.fields
        outputs: list[Array | None] = []
        for place, how in enumerate(sizes.outputs, self._outputs_at):
            output = None if how is None else how[0](how[1], how[2])
            outputs.append(output)
            self.set_address(fields, place, output)
        try:
            self.launch(frame)
            measured = dict(zip(self.info.symbols, fields[self._symbols_at :], strict=True))
            return self._collect(outputs, fields, {**measured, **sizes.values})
        finally:
            fields[self._symbols_at :] = [*sizes.symbols]  # the run stored what it measured

    def set_address(self, fields: _Fields, place: int, array: Array | None) -> None:
        """Let the entry find an address by way of its cell."""
        cell = place - _INPUTS_AT + self._cells_at
        fields[cell] = 0 if array is None else address_of(array)
        fields[place] = ctypes.addressof(fields) + 8 * cell

    def _new_frame(self, sizes: _Sizes) -> Frame:
        """A frame with an arena."""
        fields = (ctypes.c_int64 * (self._symbols_at + len(sizes.symbols)))()
        first = ctypes.addressof(fields)
        context = {
            Context.PARAMS: address_of(self._param_table),
            Context.SYMBOLS: first + 8 * self._symbols_at,
            Context.FAILURE: first + 8 * self._failure_at,
            Context.MEMORY_LIMIT: self._memory_limit,
        }
        for name, value in context.items():
            fields[name] = value
        frame = Frame(fields, np.empty(0, np.uint8))
        self._fit(frame, sizes)
        return frame

    def _fit(self, frame: Frame, sizes: _Sizes) -> None:
        """Make a frame ready for a run of these sizes, whatever it was used for before."""
        if len(frame.arena) < sizes.arena:
            frame.arena = self._new_arena(sizes.arena)
        frame.fields[Context.ARENA] = address_of(frame.arena)
        frame.fields[self._symbols_at :] = [*sizes.symbols]
        frame.sizes = sizes

    def launch(self, frame: Frame) -> None:
        """Run the native function on a frame whose addresses are set; raises what went wrong."""
        if self._alone:
            failed = self._function(frame.address)
        else:
            pool = take_pool(self.threads, self._code)
            frame.fields[Context.POOL] = pool.address if pool else 0
            try:
                failed = self._function(frame.address)
            finally:
                if pool is not None:
                    give_back(pool)
        if failed:
            raise self._error(*frame.fields[self._failure_at : self._failure_at + 2])

    def _sizes(self, symbols: Mapping[str, int]) -> _Sizes:
        """What follows from the symbols, remembered for the last of them."""
        key = tuple(symbols.values())
        found = self._known_sizes.get(key)
        if found is None:
            outputs: list[tuple[_Allocate, tuple[int, ...], np.dtype[Any]] | None] = []
            for number, type_ in enumerate(self.info.outputs):
                if number in self.info.late_outputs:
                    outputs.append(None)
                    continue
                shape = tuple(evaluate(extent, symbols) for extent in type_.shape)
                small = math.prod(shape) * type_.numpy.itemsize < _LEAST_ALIGNED
                outputs.append((np.empty if small else empty, shape, type_.numpy))
            table = [symbols.get(name, 0) for name in self.info.symbols]
            found = _Sizes(tuple(outputs), dict(symbols), table, self.arena_bytes(symbols))
            if len(self._known_sizes) >= _REMEMBERED_SIZES:
                self._known_sizes.clear()
            self._known_sizes[key] = found
        return found

    def _collect(
        self,
        outputs: Sequence[Array | None],
        fields: _Fields,
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
                address = fields[self._cells_at + self._outputs_at - _INPUTS_AT + number]
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
        """What to raise when step ``number`` failed with ``code``."""
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


class _BoundRun:
    """Runs on one frame, whose arrays stay the same. Callers take turns."""

    __slots__ = ("_arrays", "_executable", "_frame", "_lock")

    def __init__(self, executable: CpuExecutable, frame: Frame, arrays: Sequence[Array]) -> None:
        self._executable, self._frame = executable, frame
        self._arrays = arrays  # kept because their addresses are
        self._lock = threading.Lock()
        for place, array in enumerate(arrays, _INPUTS_AT):
            executable.set_address(frame.fields, place, array)

    def __call__(self) -> None:
        """Run once."""
        with self._lock:
            self._executable.launch(self._frame)


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
