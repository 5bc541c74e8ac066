"""Element types of MindIR tensors, MindSpore's TypeId numbers, and opweave's names."""

from __future__ import annotations

from ...ir import ModelError, UnsupportedError

# Numbers of mind_ir.TensorProto.DataType (and of the scalar kinds of AttributeProto.type).
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
    17: "float64",
}
NUMBERS: dict[str, int] = {name: number for number, name in NAMES.items() if number != 17}
_OTHERS = {8: "STRING", 14: "COMPLEX64", 15: "COMPLEX128", 18: "QINT4X2"}

# MindSpore's TypeId, which primitives of 2.3 and later take as integers.
TYPE_IDS: dict[int, str] = {
    30: "bool",
    31: "int64",  # Python's int
    32: "int8",
    33: "int16",
    34: "int32",
    35: "int64",
    36: "uint64",
    37: "uint8",
    38: "uint16",
    39: "uint32",
    40: "uint64",
    41: "float32",  # Python's float
    42: "float16",
    43: "float32",
    44: "float64",
    45: "bfloat16",
}
IDS: dict[str, int] = {name: number for number, name in TYPE_IDS.items()} | {"float32": 43}


def element_type(number: int, what: str) -> str:
    """The name of a MindIR tensor's element type; raises UnsupportedError or ModelError."""
    if number in NAMES:
        return NAMES[number]
    if number in _OTHERS:
        raise UnsupportedError(f"{what}: element type {_OTHERS[number]} is not supported")
    raise ModelError(f"{what}: {number} is not an element type of MindIR")


def type_of_id(number: int, what: str) -> str:
    """The name of the element type with a TypeId; raises UnsupportedError."""
    if number not in TYPE_IDS:
        raise UnsupportedError(f"{what}: the data type number {number} is not supported")
    return TYPE_IDS[number]
