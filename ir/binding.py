"""From the shapes of arrays to the values of the symbols in the types they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import dim
from .data_type import Array
from .errors import ModelError
from .tensor_type import TensorType


def bind_symbols(types: Sequence[TensorType], inputs: Sequence[Array]) -> dict[str, int]:
    """Values of the symbols that stand alone as extents of inputs; checks all other extents."""
    symbols: dict[str, int] = {}
    for type_, array in zip(types, inputs, strict=True):
        shape = np.shape(array)
        if len(shape) != type_.rank:
            raise ModelError(f"an input of shape {shape} was given where {type_} is declared")
        for extent, size in zip(type_.shape, shape, strict=True):
            if isinstance(extent, dim.Dim) and (name := dim.symbol_name(extent)) is not None:
                symbols.setdefault(name, size)
    for type_, array in zip(types, inputs, strict=True):
        shape = np.shape(array)
        found = type_.substitute(symbols)
        if found.shape != shape:
            raise ModelError(f"an input of shape {shape} was given where {found} is needed")
    return symbols
