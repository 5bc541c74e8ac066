"""ONNX element types and opweave's."""

from __future__ import annotations

from ...ir import ModelError, UnsupportedError

# Numbers of onnx.TensorProto.DataType.
NAMES: dict[int, str] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}

NUMBERS: dict[str, int] = {name: number for number, name in NAMES.items()}

# Types of the standard that opweave does not compute with.
UNSUPPORTED: dict[int, str] = {
    8: "STRING",
    14: "COMPLEX64",
    15: "COMPLEX128",
    17: "FLOAT8E4M3FN",
    18: "FLOAT8E4M3FNUZ",
    19: "FLOAT8E5M2",
    20: "FLOAT8E5M2FNUZ",
    21: "UINT4",
    22: "INT4",
    23: "FLOAT4E2M1",
    24: "FLOAT8E8M0",
    25: "UINT2",
    26: "INT2",
}


def element_type(number: int, what: str) -> str:
    """The name of an ONNX element type; raises UnsupportedError or ModelError."""
    if number in NAMES:
        return NAMES[number]
    if number in UNSUPPORTED:
        raise UnsupportedError(f"{what}: element type {UNSUPPORTED[number]} is not supported")
    raise ModelError(f"{what}: {number} is not an ONNX element type")
