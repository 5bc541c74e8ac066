"""Readers of triangles and diagonals."""

from __future__ import annotations

import numpy as np

from ...ir import Array, Extent, LimitError, ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops
from .convert import ElementType, Ints
from .items import Item
from .registry import reads


@reads("Tril", "TrilExt")
def _tril(g: Context, x: Value, diagonal: int = 0) -> Value:
    return g.add(ops.trilu, x, diagonal=diagonal, upper=False)


@reads("Triu")
def _triu(g: Context, x: Value, diagonal: int = 0) -> Value:
    return g.add(ops.trilu, x, diagonal=diagonal, upper=True)


@reads("Diag")
def _diag(g: Context, x: Value) -> Value:
    if g.rank(x) != 1:
        raise UnsupportedError(f"Diag of {g.type(x)}")
    (size,) = g.shape(x)
    unit = g.add(ops.eye_like, rows=size, columns=size, dtype="bool")
    return g.add(ops.where, unit, x, g.scalar_like(x, 0))


@reads("DiagPart")
def _diag_part(g: Context, x: Value) -> Value:
    rows, columns = g.shape(x)
    if rows != columns:
        raise ModelError(f"DiagPart of {g.type(x)}")
    return _diagonal(g, x)


@reads("Diagonal")
def _diagonal(g: Context, x: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    """The diagonal of two axes, as the last axis."""
    first, second = g.axis(x, dim1), g.axis(x, dim2)
    if first == second:
        raise ModelError(f"Diagonal of one axis, {first}, of {g.type(x)}")
    others = [k for k in range(g.rank(x)) if k not in (first, second)]
    x = g.transpose(x, [*others, first, second])
    *lead, rows, columns = g.shape(x)
    start: Extent = offset if offset >= 0 else -offset * columns
    length = dims.minimum(rows + min(offset, 0), columns - max(offset, 0))
    length = dims.maximum(length, 0)
    flat = g.reshape(x, (*lead, rows * columns))
    if not isinstance(columns, int):
        raise UnsupportedError(f"the diagonal of {g.type(x)}, whose rows vary in length")
    starts: tuple[Extent, ...] = (*(0 for _ in lead), start if length != 0 else 0)
    sizes, steps = (*lead, length), (*(1 for _ in lead), columns + 1)
    return g.add(ops.slice, flat, starts=starts, sizes=sizes, steps=steps)


@reads("Trace")
def _trace(g: Context, x: Value) -> Value:
    if g.rank(x) != 2:
        raise ModelError(f"Trace of {g.type(x)}")
    return g.add(ops.reduce_sum, _diagonal(g, x), axes=(0,), keepdims=False)


@reads("TraceV2")
def _trace_of_axes(
    g: Context,
    x: Value,
    offset: int = 0,
    axis1: int = 1,
    axis2: int = 0,
    dtype: ElementType | None = None,
) -> Value:
    first, second = g.axis(x, axis1), g.axis(x, axis2)
    if g.rank(x) != 2 or {first, second} != {0, 1} or offset:
        raise UnsupportedError(f"TraceV2 of {g.type(x)} aside the main diagonal")
    x = x if dtype is None else g.cast(x, dtype)
    return g.add(ops.reduce_sum, _diagonal(g, x), axes=(0,), keepdims=False)


# --- bands of diagonals ----------------------------------------------------------------------


# Tables of places are built for the matrices.
_MOST_ELEMENTS = 1 << 22


class _Band:
    """The diagonals ``low`` to ``high`` of matrices, stored as rows, the highest first.

    Rows are as long as the longest diagonal; ``align`` says on which side diagonals above and
    below the main one lie in them.
    """

    def __init__(self, rows: int, columns: int, low: int, high: int, align: str) -> None:
        if align not in ("LEFT_RIGHT", "RIGHT_LEFT", "LEFT_LEFT", "RIGHT_RIGHT"):
            raise UnsupportedError(f"diagonals with align {align!r}")
        if not -rows < low <= high < columns:
            raise ModelError(f"diagonals {low} to {high} of {rows} x {columns} matrices")
        if rows * columns > _MOST_ELEMENTS:
            raise LimitError(f"diagonals of matrices of more than {_MOST_ELEMENTS} elements")
        self.count = high - low + 1
        lengths = {d: min(rows + min(d, 0), columns - max(d, 0)) for d in range(low, high + 1)}
        self.length = max(lengths.values())
        above, below = align.split("_")
        # Of each element: its place in the rows; of each place in the rows: its element.
        self.places = np.zeros((rows, columns), np.int64)
        self.inside = np.zeros((rows, columns), bool)
        self.elements = np.zeros((self.count, self.length), np.int64)
        self.filled = np.zeros((self.count, self.length), bool)
        for diagonal, length in lengths.items():
            right = (above if diagonal >= 0 else below) == "RIGHT"
            shift = self.length - length if right else 0
            along = np.arange(length)
            row, column = along - min(diagonal, 0), along + max(diagonal, 0)
            self.places[row, column] = (high - diagonal) * self.length + shift + along
            self.inside[row, column] = True
            self.elements[high - diagonal, shift + along] = row * columns + column
            self.filled[high - diagonal, shift + along] = True


def _known(extents: tuple[Extent, ...], what: str) -> list[int]:
    if not all(isinstance(extent, int) for extent in extents):
        raise UnsupportedError(f"{what} of matrices whose sizes vary")
    return [int(extent) for extent in extents if isinstance(extent, int)]


def _low_high(k: Ints) -> tuple[int, int]:
    if len(k) not in (1, 2):
        raise ModelError(f"{len(k)} numbers of diagonals; one or two say which")
    return k[0], k[-1]


def _spread(g: Context, rows: Value, indices: Array) -> Value:
    """Elements of the two last axes of ``rows``, taken as one, in the places of ``indices``."""
    *lead, count, length = g.shape(rows)
    flat = g.reshape(rows, (*lead, count * length))
    return g.add(ops.gather, flat, g.constant(indices), axis=len(lead))


def _rows(g: Context, diagonals: Value, band: _Band) -> Value:
    """The diagonals as [..., count, length]; a single one lacks the axis of their count."""
    rows = g.unsqueeze(diagonals, g.rank(diagonals) - 1) if band.count == 1 else diagonals
    if g.shape(rows)[-2:] != (band.count, band.length):
        wanted = f"{band.count} of {band.length} elements"
        raise ModelError(f"the diagonals are {g.type(diagonals)}; {wanted} are needed")
    return rows


@reads("MatrixSetDiagV3")
def _matrix_set_diag(
    g: Context, x: Value, diagonal: Value, k: Ints = (0,), align: str = "RIGHT_LEFT"
) -> Value:
    rows, columns = _known(g.shape(x)[-2:], "diagonals")
    band = _Band(rows, columns, *_low_high(k), align)
    values = _spread(g, _rows(g, diagonal, band), band.places)
    return g.add(ops.where, g.constant(band.inside), values, x)


@reads("MatrixDiagV3")
def _matrix_diag(
    g: Context,
    x: Value,
    k: Ints = (0,),
    num_rows: Ints = (-1,),
    num_cols: Ints = (-1,),
    padding_value: Item = 0.0,
    align: str = "RIGHT_LEFT",
) -> Value:
    low, high = _low_high(k)
    (length,) = _known(g.shape(x)[-1:], "diagonals")
    rows, columns = num_rows[0], num_cols[0]
    # The smallest matrix that has them, square if nothing is said.
    fewest = length - min(high, 0), length + max(low, 0)
    if rows == columns == -1:
        rows = columns = max(fewest)
    rows, columns = (
        least if said == -1 else said for said, least in zip((rows, columns), fewest, strict=True)
    )
    band = _Band(rows, columns, low, high, align)
    values = _spread(g, _rows(g, x, band), band.places)
    padding = g.reshape(g.value(padding_value, g.dtype(x)), ())
    return g.add(ops.where, g.constant(band.inside), values, padding)


@reads("MatrixDiagPartV3")
def _matrix_diag_part(
    g: Context,
    x: Value,
    k: Ints = (0,),
    padding_value: Item = 0.0,
    align: str = "RIGHT_LEFT",
) -> Value:
    rows, columns = _known(g.shape(x)[-2:], "diagonals")
    band = _Band(rows, columns, *_low_high(k), align)
    values = _spread(g, x, band.elements)
    if not band.filled.all():
        padding = g.reshape(g.value(padding_value, g.dtype(x)), ())
        values = g.add(ops.where, g.constant(band.filled), values, padding)
    *lead, _, length = g.shape(values)
    return values if band.count > 1 else g.reshape(values, (*lead, length))
