"""Encrypted MindSpore files: records of AES-GCM, AES-CBC or SM4-CBC, read and written.

The plaintext is cut into blocks; each becomes a record: a magic number, for GCM a tag, the
record's size, the initialisation vector and the ciphertext (little-endian int32 lengths).
Files of 1.3 to 1.6 have no tag and one magic number for all modes. Checkpoints, MindIR files
and their data files share the scheme.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

from ..ir import FormatError, ModelError, UnsupportedError

MODES = ("AES-GCM", "AES-CBC", "SM4-CBC")
_MAGIC = {"AES-GCM": 0x7F3A5ED8, "AES-CBC": 0x7F3A5ED9, "SM4-CBC": 0x7F3A5EDA}
_IV_BYTES = 16
_TAG_BYTES = 16
# The writer's block; readers take records of up to half a gigabyte, as 1.3 to 1.6 wrote them.
BLOCK_BYTES = 64 << 20
_MAXIMUM_BLOCK = (512 << 20) + 64
_WRONG_KEY = "the file cannot be decrypted: the key is wrong or it was changed"


def is_encrypted(head: bytes | memoryview) -> bool:
    """True when the first four bytes are one of the magic numbers."""
    return len(head) >= 4 and struct.unpack_from("<I", head)[0] in _MAGIC.values()


def checked_key(key: bytes | bytearray | str | None, mode: str) -> bytes:
    """The key as bytes; raises ModelError when it is missing or of a wrong length."""
    if mode not in MODES:
        raise ModelError(f"there is no encryption {mode!r}; there are {', '.join(MODES)}")
    if key is None:
        raise ModelError("the file is encrypted: give its key as dec_key")
    raw = key.encode() if isinstance(key, str) else bytes(key)
    allowed = (16,) if mode == "SM4-CBC" else (16, 24, 32)
    if len(raw) not in allowed:
        lengths = " or ".join(map(str, allowed))
        raise ModelError(f"a key for {mode} has {lengths} bytes, not {len(raw)}")
    return raw


def _opening_key(key: bytes | bytearray | str | None, mode: str) -> bytes:
    """The key that opens a file; one that cannot is an error of the pair of both."""
    try:
        return checked_key(key, mode)
    except ModelError as error:
        raise FormatError(str(error)) from None


def decrypt(
    data: bytes | memoryview, key: bytes | bytearray | str | None, mode: str = "AES-GCM"
) -> bytes:
    """The plaintext of all records.

    Raises FormatError for broken records and for a key that is missing or wrong,
    UnsupportedError without the package cryptography.
    """
    return b"".join(_pieces(memoryview(data), _opening_key(key, mode), mode))


def _pieces(data: memoryview, key: bytes, mode: str) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        plain, position = _record(data, position, key, mode)
        yield plain


def _number(data: memoryview, position: int) -> int:
    if position + 4 > len(data):
        raise FormatError("the encrypted file is cut off")
    return int(struct.unpack_from("<i", data, position)[0])


def _record(data: memoryview, position: int, key: bytes, mode: str) -> tuple[bytes, int]:
    magic = _number(data, position)
    if magic not in _MAGIC.values():
        raise FormatError("the encrypted file is broken: a record does not start as one")
    # The old layout has the length of the vector where the new one for GCM has the tag.
    old = _number(data, position + 8) == _IV_BYTES
    if magic != _MAGIC[mode] and not (old and magic == _MAGIC["AES-GCM"]):
        found = next(name for name, number in _MAGIC.items() if number == magic)
        raise FormatError(
            f"the file is encrypted with {found}, not {mode}: give dec_mode={found!r}"
        )
    position += 4
    tag: bytes | None = None
    if magic == _MAGIC["AES-GCM"] and not (old and _fits(data, position)):
        tag = bytes(data[position : position + _TAG_BYTES])
        position += _TAG_BYTES
    size, vector_size = _number(data, position), _number(data, position + 4)
    if vector_size != _IV_BYTES:
        raise FormatError(f"the encrypted file is broken: a vector of {vector_size} bytes")
    position += 8
    vector = bytes(data[position : position + _IV_BYTES])
    position += _IV_BYTES
    length = _number(data, position)
    position += 4
    if not 0 <= length <= _MAXIMUM_BLOCK or size != 8 + _IV_BYTES + length:
        raise FormatError("the encrypted file is broken: a record's lengths do not agree")
    if position + length > len(data):
        raise FormatError("the encrypted file is cut off")
    text = data[position : position + length]
    return _plain(text, key, mode, vector, tag), position + length


def _fits(data: memoryview, position: int) -> bool:
    """True when the lengths of an old record (without a tag) agree at ``position``."""
    if position + 28 > len(data):
        return False
    return _number(data, position) == 8 + _IV_BYTES + _number(data, position + 24)


def _ciphers() -> tuple[Any, Any, Any]:
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError as error:
        raise UnsupportedError(
            "encrypted files need the package cryptography: pip install opweave[crypto]"
        ) from error
    return Cipher, algorithms, modes


def _plain(text: memoryview, key: bytes, mode: str, vector: bytes, tag: bytes | None) -> bytes:
    cipher, algorithms, modes = _ciphers()
    if mode == "AES-GCM":
        from cryptography.exceptions import InvalidTag

        # Of the 16 stored bytes MindSpore uses the first 12.
        if tag is None:
            # Without a tag GCM is counter mode that starts at 2.
            counter = vector[:12] + struct.pack(">I", 2)
            decryptor = cipher(algorithms.AES(key), modes.CTR(counter)).decryptor()
            return bytes(decryptor.update(text) + decryptor.finalize())
        try:
            settings = modes.GCM(vector[:12], tag)
            decryptor = cipher(algorithms.AES(key), settings).decryptor()
            return bytes(decryptor.update(text) + decryptor.finalize())
        except InvalidTag:
            raise FormatError(_WRONG_KEY) from None
    algorithm = (algorithms.AES if mode == "AES-CBC" else algorithms.SM4)(key)
    if len(text) % 16 or not len(text):
        raise FormatError("the encrypted file is broken: a block has an odd length")
    decryptor = cipher(algorithm, modes.CBC(vector)).decryptor()
    padded = decryptor.update(text) + decryptor.finalize()
    count = padded[-1]
    if not 1 <= count <= 16 or padded[-count:] != bytes([count]) * count:
        raise FormatError(_WRONG_KEY)
    return bytes(padded[:-count])


def encrypt(
    data: bytes | memoryview, key: bytes | bytearray | str | None, mode: str = "AES-GCM"
) -> bytes:
    """``data`` as records that MindSpore 1.7 and later read."""
    raw = checked_key(key, mode)
    cipher, algorithms, modes = _ciphers()
    view, records = memoryview(data), []
    for start in range(0, max(len(view), 1), BLOCK_BYTES):
        block = view[start : start + BLOCK_BYTES]
        vector, tag = os.urandom(_IV_BYTES), b""
        if mode == "AES-GCM":
            settings = modes.GCM(vector[:12])
            encryptor = cipher(algorithms.AES(raw), settings).encryptor()
            text = encryptor.update(block) + encryptor.finalize()
            tag = encryptor.tag
        else:
            algorithm = (algorithms.AES if mode == "AES-CBC" else algorithms.SM4)(raw)
            count = 16 - len(block) % 16
            encryptor = cipher(algorithm, modes.CBC(vector)).encryptor()
            text = encryptor.update(bytes(block) + bytes([count]) * count) + encryptor.finalize()
        size = struct.pack("<ii", 8 + _IV_BYTES + len(text), _IV_BYTES)
        head = struct.pack("<I", _MAGIC[mode]) + tag + size
        records.append(head + vector + struct.pack("<i", len(text)) + text)
    return b"".join(records)
