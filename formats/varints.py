"""Numbers of variable length, as protobuf writes them."""

from __future__ import annotations

from ..ir import FormatError


def varint(number: int) -> bytes:
    """A number that is not negative: seven bits in a byte, the lowest first."""
    text = bytearray()
    while number > 0x7F:
        text.append(number & 0x7F | 0x80)
        number >>= 7
    text.append(number)
    return bytes(text)


def read_varint(data: bytes | memoryview, position: int, end: int) -> tuple[int, int]:
    """The number at a position, and the position behind it; raises FormatError."""
    result = shift = 0
    while position < end:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
        if shift > 63:
            break
    raise FormatError(f"not a valid protobuf file: broken number before byte {position}")
