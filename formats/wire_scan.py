"""A look over a protobuf file before it is parsed: counts its parts, allocates nothing.

A parser makes an object of a hundred bytes or more of every two-byte empty message, so that
a small file can fill the memory. The scan walks the wire format along the message types and
raises LimitError or FormatError before the parser sees the file.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ..ir import FormatError, LimitError
from .limits import Limits

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)

# Text fields that name things; others hold documentation and may be long.
_NAMING = {"name", "op_type", "domain", "overload", "input", "output", "dim_param", "key"}
_TYPE_STRING = 9


@cache
def fields_of(descriptor: Any) -> dict[int, Any]:
    """Field number -> descriptor of a message-typed field, or True (a name), False (text)."""
    found: dict[int, Any] = {}
    for field in descriptor.fields:
        if field.message_type:
            found[field.number] = field.message_type
        elif field.type == _TYPE_STRING:
            found[field.number] = field.name in _NAMING
    return found


def _check_text(data: bytes | memoryview, is_name: bool, position: int, limits: Limits) -> None:
    if is_name and len(data) > limits.name_bytes:
        raise LimitError(f"a name in the file has {len(data)} bytes")
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"a text at byte {position} of the file is not UTF-8") from None


def read_varint(data: bytes | memoryview, position: int, end: int) -> tuple[int, int]:
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


def scan(data: bytes | memoryview, descriptor: Any, limits: Limits) -> None:
    """Check that ``data`` is a well-formed message of type ``descriptor`` within ``limits``."""
    messages = elements = 0
    maximum_elements = limits.elements
    # Open messages: where each ends and its message-typed fields.
    stack: list[tuple[int, dict[int, Any]]] = [(len(data), fields_of(descriptor))]
    position = 0
    while stack:
        end, fields = stack[-1]
        while position < end:
            tag = data[position]
            if tag < 0x80:
                position += 1
            else:
                tag, position = read_varint(data, position, end)
            elements += 1
            if elements > maximum_elements:
                raise LimitError(f"the file has more than {maximum_elements} fields; raise limits")
            number, kind = tag >> 3, tag & 7
            if number == 0:
                raise FormatError(f"not a valid protobuf file: field 0 at byte {position}")
            if kind == _VARINT:
                if position < end and data[position] < 0x80:
                    position += 1
                else:
                    _, position = read_varint(data, position, end)
            elif kind == _BYTES:
                length = data[position] if position < end else 0x80
                if length < 0x80:
                    position += 1
                else:
                    length, position = read_varint(data, position, end)
                stop = position + length
                if stop > end:
                    raise FormatError(
                        f"the file is cut off or broken: a field at byte {position} says it has "
                        f"{length} bytes, {end - position} are there"
                    )
                inner = fields.get(number)
                if inner is None:
                    position = stop
                    continue
                if inner is True or inner is False:
                    _check_text(data[position:stop], inner, position, limits)
                    position = stop
                    continue
                messages += 1
                if messages > limits.messages:
                    raise LimitError(f"the file has more than {limits.messages} parts")
                if len(stack) >= limits.message_depth:
                    raise LimitError(f"the file nests deeper than {limits.message_depth} messages")
                stack.append((stop, fields_of(inner)))
                break
            elif kind in (_FIXED32, _FIXED64):
                position += 4 if kind == _FIXED32 else 8
                if position > end:
                    raise FormatError("the file is cut off: a number at its end is incomplete")
            else:
                # Groups: no format read here has them.
                raise FormatError(f"not a valid protobuf file: wire type {kind} at byte {position}")
        else:
            stack.pop()
