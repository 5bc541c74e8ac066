"""64-bit little-endian ELF object files: sections, symbols, relocations, all bounds checked.

Layout: "System V Application Binary Interface", chapter 4, edition of 2013.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

MAGIC: Final = b"\x7fELF\x02\x01"
X86_64: Final = 62
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELOCATION: Final = struct.Struct("<QQq")
_RELOCATABLE: Final = 1
_SYMBOL_TABLE: Final = 2
_RELOCATIONS: Final = 4
_NO_CONTENTS: Final = 8
_IN_MEMORY: Final = 2  # SHF_ALLOC
_WRITABLE: Final = 1  # SHF_WRITE
_COMMON: Final = 0xFFF2


class Section(NamedTuple):
    """A section's header, as the file has it."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    information: int
    alignment: int
    entry_size: int

    @property
    def is_loaded(self) -> bool:
        """True for what takes memory at run time."""
        return bool(self.flags & _IN_MEMORY)

    @property
    def is_writable(self) -> bool:
        """True for data that code may write."""
        return bool(self.flags & _WRITABLE)

    @property
    def has_contents(self) -> bool:
        """False for memory that starts as zeros."""
        return self.kind != _NO_CONTENTS


class Symbol(NamedTuple):
    """A symbol: in section number ``section`` at byte ``place``; section 0 is elsewhere."""

    name: str
    section: int
    place: int


class Relocation(NamedTuple):
    """What to fill in at byte ``place`` of section number ``section``."""

    section: int
    place: int
    kind: int
    symbol: int
    addend: int


@dataclass(frozen=True)
class ObjectFile:
    """An object file taken apart."""

    data: bytes
    machine: int
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]

    def contents(self, section: Section) -> bytes:
        """The bytes of a section that has contents."""
        return self.data[section.offset : section.offset + section.size]


def read_object(data: bytes) -> ObjectFile:
    """Take an object file apart.

    Raises ValueError when the bytes are not such a file, it is cut off, or parts of it point
    outside others.
    """
    if len(data) < _HEADER.size or not data.startswith(MAGIC):
        raise ValueError("not a 64-bit ELF file")
    header = _HEADER.unpack_from(data)
    kind, machine, offset = header[1], header[2], header[6]
    entry_size, count = header[11:13]
    if kind != _RELOCATABLE or entry_size != _SECTION.size:
        raise ValueError("not an object file")
    if offset + count * entry_size > len(data):
        raise ValueError("the file is cut off")
    sections = tuple(
        Section(*_SECTION.unpack_from(data, offset + number * entry_size))
        for number in range(count)
    )
    for section in sections:
        if section.has_contents and section.offset + section.size > len(data):
            raise ValueError("the file is cut off")
    symbols: list[Symbol] = []
    for section in sections:
        if section.kind == _SYMBOL_TABLE:
            if symbols or section.link >= count:
                raise ValueError("the symbol table has no names, or there are several")
            symbols = _symbols(data, section, sections)
    relocations = [
        relocation
        for section in sections
        if section.kind == _RELOCATIONS
        for relocation in _relocations(data, section, sections, len(symbols))
    ]
    return ObjectFile(data, machine, sections, tuple(symbols), tuple(relocations))


def undefined_symbols(data: bytes) -> tuple[str, ...]:
    """Names that an object file uses and does not define; raises ValueError as read_object."""
    return tuple(
        symbol.name for symbol in read_object(data).symbols if symbol.section == 0 and symbol.name
    )


def _symbols(data: bytes, table: Section, sections: tuple[Section, ...]) -> list[Symbol]:
    strings = sections[table.link]
    symbols = []
    for place in range(table.offset, table.offset + table.size - _SYMBOL.size + 1, _SYMBOL.size):
        name, _, _, section, value, _ = _SYMBOL.unpack_from(data, place)
        if section == _COMMON:
            raise ValueError("the file has common symbols")
        if 0 < section < len(sections) and value > sections[section].size:
            raise ValueError("a symbol lies outside its section")
        symbols.append(Symbol(_name(data, strings, name), section, value))
    return symbols


def _name(data: bytes, strings: Section, place: int) -> str:
    end = data.find(b"\0", strings.offset + place, strings.offset + strings.size)
    if end < 0:
        raise ValueError("a name has no end")
    return data[strings.offset + place : end].decode(errors="replace")


def _relocations(
    data: bytes, table: Section, sections: tuple[Section, ...], symbols: int
) -> list[Relocation]:
    if table.information >= len(sections):
        raise ValueError("relocations belong to no section")
    target = sections[table.information]
    found = []
    last = table.offset + table.size - _RELOCATION.size
    for place in range(table.offset, last + 1, _RELOCATION.size):
        where, information, addend = _RELOCATION.unpack_from(data, place)
        number = information >> 32
        if number >= symbols or where + 4 > target.size:
            raise ValueError("a relocation points outside")
        kind = information & 0xFFFFFFFF
        found.append(Relocation(table.information, where, kind, number, addend))
    return found
