"""Winograd's minimal filtering F(m, 3): matrices, packed kernels, emitted transforms.

``m`` outputs of a filter of three taps take ``m + 2`` multiplications: the polynomials of
inputs and taps are evaluated at ``m + 1`` points and at infinity, multiplied point by point,
and interpolated (Winograd, "Arithmetic complexity of computations", 1980; Lavin and Gray, "Fast
algorithms for convolutional neural networks", 2015). The points are 0 and pairs of a number
and its negative, so that the even and odd parts of each pair are computed once.

The pairs decide how much is lost to rounding. Those used here were found by trying eighths:
in float32 the root mean square error is 3e-7 for F(2, 3), 8e-7 for F(4, 3) and 3e-6 for
F(6, 3) in two dimensions over 64 channels, relative to the outputs' root mean square. (F(4, 3)
with the customary 1 and 2 has 1.7e-6.) All factors of inputs and outputs are exact in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from llvmlite import ir
from numpy.polynomial import polynomial

from ....ir import Array
from ..constants import floats, uniform, zeros
from ..dense.tile import intrinsic

_PAIRS = {2: (1.0,), 4: (0.75, 1.5), 6: (0.5, 1.0, 2.0)}
TILES = tuple(_PAIRS)  # outputs of a tile along one axis

Terms = tuple[tuple[int, float], ...]  # input numbers with their factors
MaybeZero: TypeAlias = ir.Value | None  # None is a zero that is known when code is emitted


@dataclass(frozen=True, slots=True)
class Part:
    """Points whose transformed inputs are computed together: one alone, or a pair.

    A pair's are ``even + root * odd`` and ``even - root * odd``; a single point's is ``even``.
    """

    points: tuple[int, ...]
    root: float
    even: Terms
    odd: Terms


@dataclass(frozen=True)
class Filtering:
    """F(outputs, 3). Points are 0, each pair's positive and negative number, infinity."""

    outputs: int

    @property
    def roots(self) -> tuple[float, ...]:
        """The positive number of each pair of points."""
        return _PAIRS[self.outputs]

    @property
    def inputs(self) -> int:
        """Inputs of a tile along one axis, and points."""
        return self.outputs + 2

    @functools.cached_property
    def parts(self) -> tuple[Part, ...]:
        """How inputs are transformed: products of ``x**2 - root**2`` over the other points."""
        everything = _even_polynomial(self.roots)
        last = self.inputs - 1
        found = [Part((0,), 0.0, tuple((2 * k, c) for k, c in enumerate(everything)), ())]
        for number, root in enumerate(self.roots):
            others = _even_polynomial(tuple(r for r in self.roots if r != root))
            found.append(
                Part(
                    (2 * number + 1, 2 * number + 2),
                    root,
                    tuple((2 * k + 2, c) for k, c in enumerate(others)),
                    tuple((2 * k + 1, c) for k, c in enumerate(others)),
                )
            )
        found.append(
            Part((last,), 0.0, tuple((2 * k + 1, c) for k, c in enumerate(everything)), ())
        )
        return tuple(found)

    @functools.cached_property
    def kernel_matrix(self) -> Array:
        """What taps are multiplied with: [points, 3], in float64."""
        points = [0.0, *(signed for root in self.roots for signed in (root, -root))]
        rows = []
        for point in points:
            scale = np.prod([point - other for other in points if other != point])
            rows.append(np.array([1.0, point, point * point]) / scale)
        return np.array([*rows, [0.0, 0.0, 1.0]])


def _even_polynomial(roots: Sequence[float]) -> list[float]:
    """Coefficients of the product of ``x - root**2``, lowest first."""
    if not roots:
        return [1.0]
    return [float(c) for c in polynomial.polyfromroots([root * root for root in roots])]


# --- kernels -------------------------------------------------------------------------------


def pack_kernels(weights: Array, tile: int, columns: int) -> Array:
    """``weights`` [maps, C, 3, 3] as [points, panels, C, columns], transformed in float64.

    The last panel is filled up with zeros.
    """
    maps, channels = weights.shape[:2]
    matrix = Filtering(tile).kernel_matrix
    both = np.kron(matrix, matrix).T
    panels = -(-maps // columns)
    packed = np.zeros((both.shape[1], panels, channels, columns), np.float32)
    for panel in range(panels):  # one by one: all of them in float64 would take much memory
        some = weights[panel * columns : (panel + 1) * columns].reshape(-1, channels, 9)
        transformed = some.astype(np.float64) @ both
        packed[:, panel, :, : len(some)] = transformed.transpose(2, 1, 0)
    return packed


def unpack_kernels(packed: Array, maps: int, tile: int) -> Array:
    """The weights [maps, C, 3, 3] that :func:`pack_kernels` packed, up to rounding; float64."""
    matrix = Filtering(tile).kernel_matrix
    inverse = np.linalg.pinv(np.kron(matrix, matrix))
    points, panels, channels, columns = packed.shape
    flat = packed.transpose(1, 3, 2, 0).reshape(panels * columns, channels, points)[:maps]
    return np.asarray((flat.astype(np.float64) @ inverse.T).reshape(maps, channels, 3, 3))


# --- emitted code --------------------------------------------------------------------------


class Combiner:
    """Emits sums of vectors times constants, knowing which vectors are zero."""

    def __init__(self, builder: ir.IRBuilder, width: int) -> None:
        self.builder = builder
        self.vector = floats(width)
        type_ = ir.FunctionType(self.vector, [self.vector] * 3)
        self._fma = intrinsic(builder.module, f"llvm.fma.v{width}f32", type_)

    def sum(self, terms: Sequence[tuple[float, MaybeZero]]) -> MaybeZero:
        """The sum of factors times values."""
        # Plain terms first, so that the others are fused multiply-adds.
        found = [(c, v) for c, v in terms if v is not None and c]
        found.sort(key=lambda term: (abs(term[0]) != 1, term[0] < 0))
        total: MaybeZero = None
        for factor, value in found:
            total = self.add(total, factor, value)
        return total

    def add(self, total: MaybeZero, factor: float, value: MaybeZero) -> MaybeZero:
        """``total + factor * value``."""
        builder = self.builder
        if value is None:
            return total
        if total is None:
            return value if factor == 1 else builder.fmul(self._splat(factor), value)
        if factor == 1:
            return builder.fadd(total, value)
        if factor == -1:
            return builder.fsub(total, value)
        return builder.call(self._fma, [self._splat(factor), value, total])

    def inputs(self, part: Part, values: Sequence[MaybeZero]) -> list[MaybeZero]:
        """The transformed inputs at a part's points."""
        even = self.sum([(factor, values[number]) for number, factor in part.even])
        if len(part.points) == 1:
            return [even]
        odd = self.sum([(factor, values[number]) for number, factor in part.odd])
        return [self.add(even, part.root, odd), self.add(even, -part.root, odd)]

    def outputs(
        self, filtering: Filtering, values: Sequence[ir.Value], count: int
    ) -> list[ir.Value]:
        """The first ``count`` outputs from the products at all points."""
        builder = self.builder
        sums, differences = [], []
        for number in range(len(filtering.roots)):
            positive, negative = values[2 * number + 1 : 2 * number + 3]
            sums.append(builder.fadd(positive, negative))
            differences.append(builder.fsub(positive, negative))
        results = []
        for power in range(count):
            halves = differences if power % 2 else sums
            terms = [(r**power, v) for r, v in zip(filtering.roots, halves, strict=True)]
            if power == 0:
                terms.append((1.0, values[0]))
            if power == filtering.outputs - 1:
                terms.append((1.0, values[-1]))
            results.append(self.sum(terms))
        return results

    def zero(self) -> ir.Constant:
        """A vector of zeros."""
        return zeros(self.vector.count)

    def _splat(self, value: float) -> ir.Constant:
        return uniform(self.vector.count, value)
