"""A look over a protobuf file before it is parsed: counts its parts, allocates nothing for them.

A parser makes an object of a hundred bytes or more of every two-byte empty message, so that
a small file can fill the memory. The scan walks the wire format along the message types and
raises LimitError or FormatError before the parser sees the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from ..ir import FormatError, LimitError
from .limits import Limits
from .payloads import LEAST, Payloads
from .varints import read_varint

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)

# Text fields that name things; others hold documentation and may be long.
_NAMING = {"name", "op_type", "domain", "overload", "input", "output", "dim_param", "key"}
_TYPE_STRING = 9
# The bytes of a tensor.
_PAYLOAD = "raw_data"


@cache
def fields_of(descriptor: Any) -> dict[int, Any]:
    """Field number -> what a field is.

    The descriptor of a message, True (a name), False (another text) or the name of a payload.
    """
    found: dict[int, Any] = {}
    for field in descriptor.fields:
        if field.message_type:
            found[field.number] = field.message_type
        elif field.type == _TYPE_STRING:
            found[field.number] = field.name in _NAMING
        elif field.name == _PAYLOAD:
            found[field.number] = _PAYLOAD
    return found


def _check_text(data: bytes | memoryview, is_name: bool, position: int, limits: Limits) -> None:
    if is_name and len(data) > limits.name_bytes:
        raise LimitError(f"a name in the file has {len(data)} bytes")
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"a text at byte {position} of the file is not UTF-8") from None


@dataclass(slots=True)
class _Open:
    """A message that the scan is in: what holds it, where it ends and its fields."""

    length_place: int
    start: int
    stop: int
    fields: dict[int, Any]
    taken: int = 0


def scan(data: bytes, descriptor: Any, limits: Limits) -> Payloads:
    """Check that ``data`` is a well-formed message of type ``descriptor`` within ``limits``.

    Returns what need not be parsed.
    """
    messages = elements = 0
    maximum_elements = limits.elements
    payloads = Payloads(data)
    stack = [_Open(0, 0, len(data), fields_of(descriptor))]
    position = 0
    while stack:
        end, fields = stack[-1].stop, stack[-1].fields
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
                length_place = position
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
                if inner is _PAYLOAD and length >= LEAST:
                    stack[-1].taken += payloads.take(length_place, position, stop)
                if inner is None or inner is _PAYLOAD:
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
                stack.append(_Open(length_place, position, stop, fields_of(inner)))
                break
            elif kind in (_FIXED32, _FIXED64):
                position += 4 if kind == _FIXED32 else 8
                if position > end:
                    raise FormatError("the file is cut off: a number at its end is incomplete")
            else:
                # Groups: no format read here has them.
                raise FormatError(f"not a valid protobuf file: wire type {kind} at byte {position}")
        else:
            done = stack.pop()
            if done.taken and stack:
                length = done.stop - done.start - done.taken
                shorter = payloads.shorten(done.length_place, done.start, length)
                stack[-1].taken += done.taken + shorter
    return payloads
