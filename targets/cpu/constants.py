"""LLVM constants that generated code repeats, made and spelled out once.

llvmlite writes a vector constant element by element, and each object that stands for one anew.
"""

from __future__ import annotations

import functools

from llvmlite import ir

F32, I1, I32, I64 = ir.FloatType(), ir.IntType(1), ir.IntType(32), ir.IntType(64)


@functools.lru_cache(maxsize=4096)
def constant(value: int) -> ir.Constant:
    """A 64-bit constant."""
    return ir.Constant(I64, value)


@functools.lru_cache(maxsize=256)
def short(value: int) -> ir.Constant:
    """A 32-bit constant."""
    return ir.Constant(I32, value)


@functools.lru_cache(maxsize=16)
def floats(width: int) -> ir.VectorType:
    """The type of vectors of 32-bit floats."""
    return ir.VectorType(F32, width)


@functools.lru_cache(maxsize=16)
def zeros(width: int) -> ir.Constant:
    """A vector of floats that are zero."""
    found = ir.Constant(floats(width), None)
    found.constant = None  # written in one word
    return found


@functools.lru_cache(maxsize=64)
def unset(element: ir.Type, width: int) -> ir.Constant:
    """A vector whose lanes may be anything."""
    return ir.Constant(ir.VectorType(element, width), ir.Undefined)


def uniform(width: int, number: float) -> ir.Constant:
    """A vector with the same float in all lanes."""
    return _uniform(width, float(number).hex())


@functools.lru_cache(maxsize=1024)
def _uniform(width: int, number: str) -> ir.Constant:
    # By its digits, because 0.0 and -0.0 are equal.
    return ir.Constant(floats(width), [ir.Constant(F32, float.fromhex(number))] * width)


@functools.lru_cache(maxsize=256)
def lanes_mask(width: int, lanes: int) -> ir.Constant:
    """The constant mask of the first ``lanes`` of ``width`` lanes."""
    return ir.Constant(ir.VectorType(I1, width), [ir.Constant(I1, k < lanes) for k in range(width)])


@functools.lru_cache(maxsize=16)
def first_lane(width: int) -> ir.Constant:
    """The shuffle that puts the first lane into all lanes."""
    return ir.Constant(ir.VectorType(I32, width), [short(0)] * width)
