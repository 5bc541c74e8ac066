"""Winograd's minimal filtering F(m, r): matrices, packed kernels, emitted transforms.

``m`` outputs of a filter of ``r`` taps take ``m + r - 1`` multiplications: the polynomials of
inputs and taps are evaluated at ``m + r - 2`` points and at infinity, multiplied point by point,
and interpolated (Winograd, "Arithmetic complexity of computations", 1980; Lavin and Gray, "Fast
algorithms for convolutional neural networks", 2015). The points are pairs of a number and its
negative, so that the even and odd parts of each pair are computed once, and 0 for three taps.

Three taps of stride 2 are two on the inputs with even numbers and one on those with odd
numbers. Both are filtered as F(m, 2), so that their products are summed like those of different
channels; the second tap of the odd ones is zero, and with it their product at infinity.

The pairs decide how much is lost to rounding. Those used here were found by trying eighths:
in float32 the root mean square error is 3e-7 for F(2, 3), 8e-7 for F(4, 3) and 3e-6 for
F(6, 3) in two dimensions over 64 channels, relative to the outputs' root mean square. (F(4, 3)
with the customary 1 and 2 has 1.7e-6.) All factors of inputs and outputs are exact in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from llvmlite import ir
from numpy.polynomial import polynomial

from ....ir import Array
from ..constants import floats, uniform, zeros
from ..dense.tile import intrinsic

_PAIRS = {
    (2, 3): (1.0,), (4, 3): (0.75, 1.5), (6, 3): (0.5, 1.0, 2.0),
    (2, 2): (1.0,), (4, 2): (0.5, 1.25),
}  # fmt: skip
_STRIDE_TAPS = {1: 3, 2: 2}
# Outputs of a tile along one axis, by stride.
TILES = {
    stride: tuple(outputs for outputs, taps in _PAIRS if taps == count)
    for stride, count in _STRIDE_TAPS.items()
}

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
    """F(outputs, taps). Points are 0 if there are three taps, each pair's positive and
    negative number, infinity."""

    outputs: int
    taps: int = 3

    @property
    def roots(self) -> tuple[float, ...]:
        """The positive number of each pair of points."""
        return _PAIRS[self.outputs, self.taps]

    @property
    def inputs(self) -> int:
        """Inputs of a tile along one axis, and points."""
        return self.outputs + self.taps - 1

    @property
    def zeros(self) -> int:
        """One if 0 is a point."""
        return self.inputs - 1 - 2 * len(self.roots)

    @functools.cached_property
    def parts(self) -> tuple[Part, ...]:
        """How inputs are transformed: products of ``x**2 - root**2`` over the other points."""
        everything = _even_polynomial(self.roots)
        last, zeros = self.inputs - 1, self.zeros
        found = []
        if zeros:
            found.append(Part((0,), 0.0, tuple((2 * k, c) for k, c in enumerate(everything)), ()))
        for number, root in enumerate(self.roots):
            others = _even_polynomial(tuple(r for r in self.roots if r != root))
            found.append(
                Part(
                    (2 * number + zeros, 2 * number + zeros + 1),
                    root,
                    tuple((2 * k + zeros + 1, c) for k, c in enumerate(others)),
                    tuple((2 * k + zeros, c) for k, c in enumerate(others)),
                )
            )
        found.append(
            Part((last,), 0.0, tuple((2 * k + zeros, c) for k, c in enumerate(everything)), ())
        )
        return tuple(found)

    @functools.cached_property
    def kernel_matrix(self) -> Array:
        """What taps are multiplied with: [points, taps], in float64."""
        points = [signed for root in self.roots for signed in (root, -root)]
        points = [0.0] * self.zeros + points
        rows = []
        for point in points:
            scale = np.prod([point - other for other in points if other != point])
            rows.append(point ** np.arange(self.taps) / scale)
        return np.array([*rows, np.eye(self.taps)[-1]])


def filtering_of(tile: int, stride: int) -> Filtering:
    """What filters each phase of a convolution's inputs: even and odd ones for stride 2."""
    return Filtering(tile, _STRIDE_TAPS[stride])


def _even_polynomial(roots: Sequence[float]) -> list[float]:
    """Coefficients of the product of ``x - root**2``, lowest first."""
    if not roots:
        return [1.0]
    return [float(c) for c in polynomial.polyfromroots([root * root for root in roots])]


# --- kernels -------------------------------------------------------------------------------


@functools.cache
def _slabs(tile: int, stride: int) -> tuple[tuple[int, ...], Array]:
    """Slabs of each point, and the matrix [slabs, 9] that makes them of taps; in float64.

    A slab is what one phase of the inputs meets at one point. Phases in order: rows before
    columns, even before odd; those of odd numbers are left out at infinity.
    """
    filtering = filtering_of(tile, stride)
    last = filtering.inputs - 1
    matrices = []
    for phase in range(stride):
        matrix = np.zeros((filtering.inputs, 3))
        matrix[:, phase::stride] = filtering.kernel_matrix[:, : len(range(phase, 3, stride))]
        matrices.append(matrix)
    counts, rows = [], []
    for p in range(filtering.inputs):
        for q in range(filtering.inputs):
            down, across = (matrices[:1] if point == last else matrices for point in (p, q))
            counts.append(len(down) * len(across))
            rows += [np.kron(row[p], column[q]) for row in down for column in across]
    return tuple(counts), np.array(rows)


def pack_kernels(weights: Array, tile: int, columns: int, stride: int = 1) -> Array:
    """``weights`` [maps, C, 3, 3] as [slabs, panels, C, columns], transformed in float64.

    The last panel is filled up with zeros. Slabs are points, and for a larger stride the phases
    of inputs that meet there: these are stored panel by panel for each point, so that a panel of
    a point has them one after the other.
    """
    maps, channels = weights.shape[:2]
    counts, matrix = _slabs(tile, stride)
    panels = -(-maps // columns)
    packed = np.zeros((len(matrix), panels, channels, columns), np.float32)
    for panel in range(panels):  # one by one: all of them in float64 would take much memory
        some = weights[panel * columns : (panel + 1) * columns].reshape(-1, channels, 9)
        taps = some.transpose(2, 1, 0).astype(np.float64).reshape(9, -1)
        transformed = (matrix @ taps).reshape(len(matrix), channels, -1)
        for point, slabs in _by_points(packed, counts):
            point[panel, :, :, : len(some)] = transformed[slabs]
    return packed


def unpack_kernels(packed: Array, maps: int, tile: int, stride: int = 1) -> Array:
    """The weights [maps, C, 3, 3] that :func:`pack_kernels` packed, up to rounding; float64."""
    counts, matrix = _slabs(tile, stride)
    _, panels, channels, columns = packed.shape
    flat = np.concatenate(
        [point.transpose(0, 3, 2, 1) for point, _ in _by_points(packed, counts)], axis=-1
    ).reshape(panels * columns, channels, len(matrix))[:maps]
    inverse = np.linalg.pinv(matrix)
    return np.asarray((flat.astype(np.float64) @ inverse.T).reshape(maps, channels, 3, 3))


def _by_points(packed: Array, counts: Sequence[int]) -> Iterator[tuple[Array, slice]]:
    """Packed kernels of each point, seen as [panels, slabs, C, columns], and its slabs."""
    first = 0
    for count in counts:
        slabs = slice(first, first + count)
        yield packed[slabs].reshape(packed.shape[1], count, *packed.shape[2:]), slabs
        first += count


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
        zeros = filtering.zeros
        for number in range(len(filtering.roots)):
            positive, negative = values[2 * number + zeros : 2 * number + zeros + 2]
            sums.append(builder.fadd(positive, negative))
            differences.append(builder.fsub(positive, negative))
        results = []
        for power in range(count):
            halves = differences if power % 2 else sums
            terms = [(r**power, v) for r, v in zip(filtering.roots, halves, strict=True)]
            if power == 0 and zeros:
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
