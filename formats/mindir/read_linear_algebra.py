"""Readers of linear algebra: inverses, factors and solutions, as loops over columns."""

from __future__ import annotations

import numpy as np

from ...ir import Extent, Graph, ModelError, TensorType, UnsupportedError, Value
from ...ops.control import loop
from ..builder import Builder, Place
from ..shape_values import ShapeValues
from .context import Context, ops
from .items import Item
from .registry import reads


def _square(g: Context, x: Value) -> Extent:
    shape = g.shape(x)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ModelError(f"{g.primitive} of {g.type(x)}, which are no square matrices")
    return shape[-1]


def _batches(g: Context, x: Value) -> Value:
    """Matrices with one axis in front."""
    shape = g.shape(x)
    count: Extent = 1
    for extent in shape[:-2]:
        count = count * extent
    return g.reshape(x, (count, *shape[-2:]))


def identity(g: Builder, like: Value, extent: Extent) -> Value:
    """The identity matrix of ``extent`` rows, in the element type of ``like``."""
    rows = counted(g, extent)
    same = g.add(ops.equal, g.unsqueeze(rows, 1), g.unsqueeze(rows, 0))
    return g.cast(same, g.dtype(like))


def counted(g: Builder, extent: Extent) -> Value:
    """0, 1, ... up to ``extent``."""
    if isinstance(extent, int):
        return g.constant(np.arange(extent, dtype=np.int64))
    ones = g.add(ops.expand, g.constant(1, "int64"), shape=(extent,))
    return g.add(ops.cum_sum, ones, axis=0, exclusive=True)


class _Steps:
    """A loop over the columns of matrices; the body is built by calls of ``inside``.

    The number of the column is one of the values that the loop carries, as in the loops of
    MindIR files.
    """

    def __init__(self, g: Context, extent: Extent, carried: list[Value]) -> None:
        self._g, self._extent = g, extent
        self.graph = Graph("columns")
        self.graph.input("iteration", TensorType("int64"))
        self.graph.input("going", TensorType("bool"))
        self._first = [*carried, g.constant(0, "int64")]
        self.inputs = [
            self.graph.input(f"carried{k}", g.type(value)) for k, value in enumerate(self._first)
        ]
        self.step = self.inputs.pop()
        self.captured: list[Value] = []
        place = Place(self.graph, ShapeValues(self.graph, "b.", lambda value: None))
        self.inside = Builder(place, g.origin, "column")
        self.places = self._capture(counted(g, extent))

    def _capture(self, value: Value) -> Value:
        """A value from outside the loop: a copied parameter or an input of the body."""
        if self._g.graph.is_param(value):
            return self.graph.param(self._g.graph.params[value.node], value.node)
        self.captured.append(value)
        return self.graph.input(f"captured{len(self.captured)}", self._g.type(value))

    def run(self, results: list[Value]) -> list[Value]:
        """Let the loop carry ``results``; returns the last ones."""
        g, b = self._g, self.inside
        if isinstance(self._extent, int):
            limit = b.constant(self._extent, "int64")
            going = g.constant(self._extent > 0, "bool")
        else:
            outside = g.whole(self._extent)
            limit = self._capture(outside)
            going = g.add(ops.less, self._first[-1], outside)
        following = b.add(ops.add, self.step, b.constant(1, "int64"))
        self.graph.output(b.add(ops.less, following, limit), "again")
        for k, value in enumerate([*results, following]):
            self.graph.output(value, f"next{k}")
        operands = [None, going, *self._first, *self.captured]
        attributes = {"body": self.graph, "carried": len(self._first), "trip_limit": 0}
        return list(g.add_node(loop, operands, attributes).outputs[: len(results)])


def _column(b: Builder, x: Value, here: Value) -> Value:
    """The column of matrices (batch, rows, columns) that ``here`` (columns) is 1 for."""
    return b.add(ops.reduce_sum, b.add(ops.mul, x, here), axes=(2,), keepdims=True)


def _row(b: Builder, x: Value, here: Value) -> Value:
    """The row of matrices that ``here`` (batch or 1, rows, 1) is 1 for."""
    return b.add(ops.reduce_sum, b.add(ops.mul, x, here), axes=(1,), keepdims=True)


def _eliminated(g: Context, matrix: Value, right: Value) -> tuple[Value, Value]:
    """Gauss and Jordan's elimination with the largest pivots of each column.

    Takes (batch, n, n) and (batch, n, m). Returns the solutions and the pivots with their
    rows' signs, (batch, n).
    """
    dtype = g.dtype(matrix)
    extent = g.shape(matrix)[-1]
    batch = g.shape(matrix)[0]
    pivots = g.expand(g.scalar_like(matrix, 0), (batch, extent))
    steps = _Steps(g, extent, [matrix, right, pivots])
    b, order = steps.inside, steps.places
    a, y, found = steps.inputs
    # Sums of products with ones and zeros pick rows and columns: all in one element type.
    here = b.add(ops.equal, order, steps.step)
    here_row = b.reshape(b.cast(here, dtype), (1, 1, extent))
    size = b.reshape(b.add(ops.abs, _column(b, a, here_row)), (batch, extent))
    above = b.add(ops.less, order, steps.step)
    size = b.add(ops.where, above, b.scalar_like(size, -1), size)
    place = b.add(ops.arg_max, size, axis=1, keepdims=True)
    chosen = b.add(ops.equal, b.reshape(order, (1, extent)), place)
    other = b.unsqueeze(b.cast(chosen, dtype), 2)
    current = b.reshape(b.cast(here, dtype), (1, extent, 1))
    pivot_row = [_row(b, x, other) for x in (a, y)]
    old_row = [_row(b, x, current) for x in (a, y)]
    pivot = _column(b, pivot_row[0], here_row)
    same = b.cast(b.add(ops.equal, place, steps.step), dtype)
    sign = b.add(ops.sub, b.add(ops.mul, same, b.scalar_like(same, 2)), b.scalar_like(same, 1))
    signed = b.add(ops.mul, b.reshape(pivot, (batch, 1)), sign)
    result = []
    swapped = []
    at_chosen = b.unsqueeze(chosen, 2)
    at_current = b.reshape(here, (1, extent, 1))
    for x, old in zip((a, y), old_row, strict=True):
        swapped.append(b.add(ops.where, at_chosen, old, x))
    factor = _column(b, swapped[0], here_row)
    for x, row in zip(swapped, pivot_row, strict=True):
        scaled = b.add(ops.div, row, pivot)
        less = b.add(ops.sub, x, b.add(ops.mul, factor, scaled))
        result.append(b.add(ops.where, at_current, scaled, less))
    marks = b.reshape(here, (1, extent))
    result.append(b.add(ops.where, marks, signed, found))
    _, solution, pivots = steps.run(result)
    return solution, pivots


def _solved(g: Context, matrix: Value, right: Value) -> Value:
    shape = (*g.shape(matrix)[:-2], *g.shape(right)[-2:])
    if g.shape(matrix)[:-2] != g.shape(right)[:-2]:
        raise UnsupportedError(f"{g.primitive} of {g.type(matrix)} and {g.type(right)}")
    return g.reshape(_eliminated(g, _batches(g, matrix), _batches(g, right))[0], shape)


def _flipped(g: Context, x: Value) -> Value:
    rank = g.rank(x)
    return g.transpose(x, (*range(rank - 2), rank - 1, rank - 2))


@reads("MatrixInverse", "MatrixInverseExt")
def _inverse(g: Context, x: Value, adjoint: bool = False) -> Value:
    extent = _square(g, x)
    unit = g.expand(identity(g, x, extent), g.shape(x))
    return _solved(g, _flipped(g, x) if adjoint else x, unit)


@reads("MatrixSolve")
def _solve(g: Context, matrix: Value, rhs: Value, adjoint: bool = False) -> Value:
    _square(g, matrix)
    return _solved(g, _flipped(g, matrix) if adjoint else matrix, rhs)


def _half(g: Context, x: Value, upper: bool) -> Value:
    """The triangle of ``x``; the other elements are 0."""
    order = counted(g, _square(g, x))
    op = ops.less_equal if upper else ops.greater_equal
    kept = g.add(op, g.unsqueeze(order, 1), g.unsqueeze(order, 0))
    return g.add(ops.where, kept, x, g.scalar_like(x, 0))


@reads("MatrixTriangularSolve")
def _triangular_solve(
    g: Context, matrix: Value, rhs: Value, lower: bool = True, adjoint: bool = False
) -> Value:
    half = _half(g, matrix, not lower)
    return _solved(g, _flipped(g, half) if adjoint else half, rhs)


@reads("LogMatrixDeterminant")
def _log_determinant(g: Context, x: Value) -> Item:
    extent = _square(g, x)
    shape = g.shape(x)
    nothing = g.expand(g.scalar_like(x, 0), (*shape[:-2], extent, 1))
    _, pivots = _eliminated(g, _batches(g, x), _batches(g, nothing))
    signs = g.add(ops.reduce_prod, g.add(ops.sign, pivots), axes=(1,), keepdims=False)
    logs = g.add(ops.log, g.add(ops.abs, pivots))
    total = g.add(ops.reduce_sum, logs, axes=(1,), keepdims=False)
    return g.reshape(signs, shape[:-2]), g.reshape(total, shape[:-2])


@reads("Cholesky")
def _cholesky(g: Context, x: Value, upper: bool = False) -> Value:
    extent = _square(g, x)
    matrix = _batches(g, _flipped(g, x) if upper else x)
    factor = g.expand(g.scalar_like(matrix, 0), g.shape(matrix))
    steps = _Steps(g, extent, [matrix, factor])
    b, order = steps.inside, steps.places
    rest, found = steps.inputs
    dtype = g.dtype(x)
    here = b.add(ops.equal, order, steps.step)
    here_row = b.reshape(b.cast(here, dtype), (1, 1, extent))
    column = _column(b, rest, here_row)
    pivot = _row(b, column, b.reshape(b.cast(here, dtype), (1, extent, 1)))
    column = b.add(ops.div, column, b.add(ops.sqrt, pivot))
    above = b.reshape(b.add(ops.less, order, steps.step), (1, extent, 1))
    column = b.add(ops.where, above, b.scalar_like(column, 0), column)
    product = b.add(ops.matmul, column, b.transpose(column, (0, 2, 1)))
    marks = b.reshape(here, (1, 1, extent))
    _, factor = steps.run([b.add(ops.sub, rest, product), b.add(ops.where, marks, column, found)])
    factor = g.reshape(factor, g.shape(x))
    return _flipped(g, factor) if upper else factor


@reads("CholeskySolve")
def _cholesky_solve(g: Context, x1: Value, x2: Value, upper: bool = False) -> Value:
    """The solutions for matrices that ``x2`` are Cholesky's factors of."""
    half = _half(g, x2, upper)
    other = _flipped(g, half)
    first, second = (other, half) if upper else (half, other)
    return _solved(g, second, _solved(g, first, x1))


@reads("CholeskyInverse")
def _cholesky_inverse(g: Context, x: Value, upper: bool = False) -> Value:
    unit = g.expand(identity(g, x, _square(g, x)), g.shape(x))
    return _cholesky_solve(g, unit, x, upper)


@reads("MatrixPower")
def _matrix_power(g: Context, x: Value, n: int = 1) -> Value:
    if abs(n) > 1 << 20:
        raise UnsupportedError(f"MatrixPower of the order {n}")
    if n < 0:
        x, n = _inverse(g, x), -n
    result: Value | None = None
    while n:
        if n & 1:
            result = x if result is None else g.add(ops.matmul, result, x)
        n >>= 1
        x = g.add(ops.matmul, x, x) if n else x
    if result is None:
        return g.expand(identity(g, x, _square(g, x)), g.shape(x))
    return result


@reads("MatrixBandPart")
def _band(g: Context, x: Value, lower: int, upper: int) -> Value:
    """``x`` up to so many diagonals below and above the main one; all where negative."""
    rows, columns = (counted(g, extent) for extent in g.shape(x)[-2:])
    down = g.add(ops.sub, g.unsqueeze(rows, 1), g.unsqueeze(columns, 0))
    for bound, op in ((lower, ops.less_equal), (-upper, ops.greater_equal)):
        if (bound if op is ops.less_equal else upper) >= 0:
            kept = g.add(op, down, g.constant(np.array(bound), "int64"))
            x = g.add(ops.where, kept, x, g.scalar_like(x, 0))
    return x


@reads("FillDiagonal")
def _fill_diagonal(g: Context, x: Value, fill_value: float = 0.0, wrap: bool = False) -> Value:
    shape = g.shape(x)
    if wrap and len(shape) == 2:
        raise UnsupportedError("FillDiagonal that goes on below a square")
    places = [
        g.reshape(counted(g, extent), tuple(extent if k == axis else 1 for k in range(len(shape))))
        for axis, extent in enumerate(shape)
    ]
    marks = g.add(ops.equal, places[0], places[1])
    for place in places[2:]:
        marks = g.add(ops.logical_and, marks, g.add(ops.equal, places[0], place))
    return g.add(ops.where, marks, g.scalar_like(x, fill_value), x)
