"""Machine code into memory: object files laid out, relocated and made executable.

On x86-64 Linux this needs nothing but the C library: all sections of an object lie in one block,
so nothing is ever too far away for a relative address, and a saved model loads without LLVM.
Relocations: "System V ABI, AMD64 Architecture Processor Supplement", version 1.0, section 4.4.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import struct
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Final

from . import elf

_PAGE: Final = mmap.PAGESIZE
_LEAST_ALIGNMENT: Final = 64
# jmp *slot(%rip): how code reaches a function that may be anywhere.
_JUMP: Final = struct.Struct("<2si2x")
_JUMP_OPCODE: Final = b"\xff\x25"
_JUMP_LENGTH: Final = 6
_ADDRESS_64, _RELATIVE_32, _CALL_32, _SLOT_32, _RELATIVE_64 = 1, 2, 4, 9, 24
_SLOT_32_RELAXABLE: Final = (41, 42)
_READ_EXECUTE: Final = 5
_ABSOLUTE: Final = 0xFFF1


class CodeError(Exception):
    """LLVM refused a module, or an object file cannot be loaded: a defect of its maker."""


class LoadedObject:
    """Machine code in this process's memory; addresses are valid until `close`.

    Use it as a context manager, or let it be collected. Nobody may run the code or keep a
    function pointer of it afterwards.
    """

    def address(self, symbol: str) -> int:
        """The address of an external function or variable; raises CodeError if it has none."""
        raise NotImplementedError

    def close(self) -> None:
        """Unload the code and free its memory; a second call does nothing."""
        raise NotImplementedError

    def __enter__(self) -> LoadedObject:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def load_object(data: bytes) -> LoadedObject:
    """Load an object file made by ``emit_object`` and resolve what it needs of libc and libm.

    Raises CodeError when the bytes are no object file of this platform, are cut off, or need a
    symbol that this process lacks. They must come from a trusted place: they are code that
    will run.
    """
    try:
        file = elf.read_object(data) if sys.platform.startswith("linux") else None
    except ValueError as error:
        raise CodeError(f"the object code cannot be loaded: {error}") from None
    if file is not None and file.machine == elf.X86_64 and platform.machine() == "x86_64":
        return _MappedObject(file)
    from .just_in_time import JustInTimeObject

    return JustInTimeObject(data)


@functools.cache
def _libraries() -> tuple[ctypes.CDLL, ...]:
    """Where symbols are looked for: this process, the C library's mathematics, GCC's helpers."""
    found = [ctypes.CDLL(None)]
    for name in ("libm.so.6", "libgcc_s.so.1"):
        try:
            found.append(ctypes.CDLL(name))
        except OSError:  # other C libraries have the functions in one file
            continue
    return tuple(found)


def process_symbol(name: str) -> int:
    """The address of a function or variable of this process; 0 if it has none of that name."""
    for library in _libraries():
        try:
            return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
        except AttributeError:
            continue
    return 0


def missing_symbols(names: Sequence[str]) -> list[str]:
    """Those of ``names`` that this process lacks."""
    return [name for name in names if name != _OFFSET_TABLE and not process_symbol(name)]


# What the loader defines itself.
_OFFSET_TABLE: Final = "_GLOBAL_OFFSET_TABLE_"


class _MappedObject(LoadedObject):
    """An object file in one block of memory: code and constants, then what code may write.

    Behind the code stand, for each symbol that is elsewhere, a slot with its address and a jump
    through that slot.
    """

    def __init__(self, file: elf.ObjectFile) -> None:
        self._file = file
        elsewhere = [symbol.name for symbol in file.symbols if symbol.section == 0 and symbol.name]
        missing = missing_symbols(elsewhere)
        if missing:
            raise CodeError(f"the object code needs {', '.join(missing)}, which this process lacks")
        self._places: dict[int, int] = {}
        end = self._lay_out(writable=False, end=0)
        self._slots = end
        end += len(file.symbols) * (8 + _JUMP.size)
        protected = -(-end // _PAGE) * _PAGE
        end = self._lay_out(writable=True, end=protected)
        self._memory: mmap.mmap | None = mmap.mmap(-1, max(end, _PAGE))
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        image = bytearray(end)
        self._fill(image)
        self._memory[:end] = bytes(image)
        if _protect()(self._base, protected, _READ_EXECUTE) != 0:
            raise CodeError("this system does not let a process run code that it has loaded")

    def _lay_out(self, *, writable: bool, end: int) -> int:
        """Give sections their places from ``end`` on; returns where they end."""
        for number, section in enumerate(self._file.sections):
            if section.is_loaded and section.is_writable == writable:
                alignment = max(section.alignment, _LEAST_ALIGNMENT)
                end = -(-end // alignment) * alignment
                self._places[number] = end
                end += section.size
        return end + -end % 8

    def _fill(self, image: bytearray) -> None:
        file = self._file
        for number, place in self._places.items():
            section = file.sections[number]
            if section.has_contents:
                image[place : place + section.size] = file.contents(section)
        used = {item.symbol for item in file.relocations if item.section in self._places}
        for number in used:
            struct.pack_into("<Q", image, self._slot(number), self._symbol_address(number))
            jump = self._jump(number)
            distance = self._slot(number) - (jump + _JUMP_LENGTH)
            _JUMP.pack_into(image, jump, _JUMP_OPCODE, distance)
        for relocation in file.relocations:
            if relocation.section in self._places:
                self._relocate(image, relocation)

    def _slot(self, symbol: int) -> int:
        return self._slots + 8 * symbol

    def _jump(self, symbol: int) -> int:
        return self._slots + 8 * len(self._file.symbols) + _JUMP.size * symbol

    def _symbol_address(self, number: int) -> int:
        symbol = self._file.symbols[number]
        if symbol.section == 0:
            return (
                self._base + self._slots
                if symbol.name == _OFFSET_TABLE
                else (process_symbol(symbol.name))
            )
        if symbol.section == _ABSOLUTE:
            return symbol.place
        if symbol.section not in self._places:
            raise CodeError("the object code cannot be loaded: a symbol is in no memory")
        return self._base + self._places[symbol.section] + symbol.place

    def _relocate(self, image: bytearray, item: elf.Relocation) -> None:
        place = self._places[item.section] + item.place
        target = self._symbol_address(item.symbol)
        if item.kind == _ADDRESS_64:
            struct.pack_into("<Q", image, place, (target + item.addend) % 2**64)
            return
        if item.kind == _SLOT_32 or item.kind in _SLOT_32_RELAXABLE:
            target = self._base + self._slot(item.symbol)
        elif item.kind == _CALL_32 and self._file.symbols[item.symbol].section == 0:
            target = self._base + self._jump(item.symbol)
        elif item.kind not in (_RELATIVE_32, _CALL_32, _RELATIVE_64):
            raise CodeError(f"the object code has relocations of the kind {item.kind}")
        value = target + item.addend - (self._base + place)
        try:
            struct.pack_into("<q" if item.kind == _RELATIVE_64 else "<i", image, place, value)
        except struct.error:
            name = self._file.symbols[item.symbol].name
            raise CodeError(f"the object code cannot reach {name!r}") from None

    def address(self, symbol: str) -> int:
        """The address of an external function or variable; raises CodeError if it has none."""
        if self._memory is None:
            raise CodeError(f"the code of {symbol} was unloaded")
        for number, found in enumerate(self._file.symbols):
            if found.name == symbol and found.section in self._places:
                return self._symbol_address(number)
        raise CodeError(f"the object code does not define {symbol}")

    def close(self) -> None:
        """Unload the code and free its memory; a second call does nothing."""
        self._memory = None  # goes with the last reference to it


@functools.cache
def _protect() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).mprotect
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    function.restype = ctypes.c_int
    return function
