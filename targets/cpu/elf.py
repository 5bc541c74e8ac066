"""What a 64-bit little-endian ELF object file asks of others: its undefined symbols.

LLVM's loader ends the process when an object file is damaged or a symbol is missing, so both
are looked for before it gets the file. Layout: "System V Application Binary Interface", chapter
4, edition of 2013.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

MAGIC: Final = b"\x7fELF\x02\x01"
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELOCATABLE: Final = 1
_NO_CONTENTS: Final = 8
_SYMBOL_TABLE: Final = 2


class _Section(NamedTuple):
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


def undefined_symbols(data: bytes) -> tuple[str, ...]:
    """Names that an object file uses and does not define.

    Raises ValueError when the bytes are not such a file or it is cut off.
    """
    if len(data) < _HEADER.size or not data.startswith(MAGIC):
        raise ValueError("not a 64-bit ELF file")
    header = _HEADER.unpack_from(data)
    kind, offset, entry_size, count = header[1], header[6], header[11], header[12]
    if kind != _RELOCATABLE or entry_size != _SECTION.size:
        raise ValueError("not an object file")
    if offset + count * entry_size > len(data):
        raise ValueError("the file is cut off")
    sections = [
        _Section(*_SECTION.unpack_from(data, offset + number * entry_size))
        for number in range(count)
    ]
    for section in sections:
        if section.kind != _NO_CONTENTS and section.offset + section.size > len(data):
            raise ValueError("the file is cut off")
    names: list[str] = []
    for section in sections:
        if section.kind == _SYMBOL_TABLE:
            if section.link >= count:
                raise ValueError("the symbol table has no names")
            names += _undefined(data, section, sections[section.link])
    return tuple(names)


def _undefined(data: bytes, symbols: _Section, strings: _Section) -> list[str]:
    names = []
    for place in range(symbols.offset, symbols.offset + symbols.size, _SYMBOL.size):
        name, _, _, section, _, _ = _SYMBOL.unpack_from(data, place)
        if section == 0 and name != 0:
            start = strings.offset + name
            end = data.index(b"\0", start)
            names.append(data[start:end].decode())
    return names
