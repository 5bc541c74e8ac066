"""How a transposed convolution is cut into ordinary ones.

With a stride ``s``, output positions that leave the same rest when divided by ``s`` meet the same
kernel positions: each such phase is a convolution of stride 1 with a part of the kernel, whose
outputs lie ``s`` apart.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from ....ir import Array
from .geometry import Geometry, pack_kernels, unpack_kernels

# Packed weights of one work item; with some lines of input they stay in a second-level cache.
_GROUP_BYTES = 256 * 1024
# There should be some work items for every thread, worth a few microseconds each.
_LEAST_ITEMS = 16
_ITEM_FLOPS = 1_000_000


@dataclass(frozen=True, slots=True)
class AxisPhase:
    """One phase along one axis: output positions ``first``, ``first + stride``, ...

    ``taps`` are the kernel positions that it meets, in the order of the source positions, which
    lie ``dilation`` apart; the first one is ``pad`` positions before the source (negative:
    inside it). ``count`` is the number of outputs, None if it is open.
    """

    first: int
    count: int | None
    taps: tuple[int, ...]
    dilation: int
    pad: int


def axis_phase(
    first: int, output: int | None, kernel: int, stride: int, dilation: int, pad: int
) -> AxisPhase:
    """The phase that begins with output position ``first``."""
    # Output o and source i meet at kernel position k where o + pad == i * stride + k * dilation.
    begin, rest = divmod(first + pad, stride)
    taps = [k for k in range(kernel) if (k * dilation - rest) % stride == 0]
    behind = [(k * dilation - rest) // stride for k in taps]
    apart = behind[1] - behind[0] if len(taps) > 1 else 1
    count = None if output is None else max(0, -(-(output - first) // stride))
    return AxisPhase(first, count, tuple(reversed(taps)), apart, behind[-1] - begin if taps else 0)


@dataclass(frozen=True)
class PhaseGeometry(Geometry):
    """The convolution of one phase; all phases have panels of ``columns`` maps."""

    panel_vectors: int = 1
    kernel_positions: tuple[tuple[int, ...], ...] = ()

    @functools.cached_property
    def vectors(self) -> int:
        """Vectors of output channels of a register tile."""
        return self.panel_vectors

    @property
    def item_panels(self) -> int:
        """Panels are gone through by the plan of all phases."""
        return 1

    @property
    def size(self) -> int:
        """Floats of the packed weights."""
        return self.groups * self.panels * self.panel_size


@dataclass(frozen=True)
class TransposedPlan:
    """One transposed convolution; sizes along spatial axes that are open are None."""

    channels: int  # of one group
    maps: int  # output channels of one group
    groups: int
    source: tuple[int | None, ...]
    output: tuple[int | None, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    width: int  # lanes of a vector

    def axis_phases(self, axis: int) -> list[AxisPhase]:
        """The phases along one axis, by their first output."""
        return [
            axis_phase(
                first,
                self.output[axis],
                self.kernel[axis],
                self.strides[axis],
                self.dilations[axis],
                self.pads[axis],
            )
            for first in range(self.strides[axis])
        ]

    @functools.cached_property
    def phases(self) -> list[tuple[AxisPhase, ...]]:
        """All phases, those along the last axis next to each other."""
        axes = (self.axis_phases(axis) for axis in range(len(self.kernel)))
        return list(itertools.product(*axes))

    def geometry(self, phase: tuple[AxisPhase, ...]) -> PhaseGeometry:
        """The convolution of one phase."""
        return PhaseGeometry(
            self.channels,
            self.maps,
            self.groups,
            self.source,
            tuple(part.count for part in phase),
            tuple(len(part.taps) for part in phase),
            (1,) * len(phase),
            tuple(part.dilation for part in phase),
            tuple(part.pad for part in phase),
            False,
            self.width,
            self.vectors,
            tuple(part.taps for part in phase),
        )

    @functools.cached_property
    def vectors(self) -> int:
        """Vectors of output channels of a register tile."""
        ones = (1,) * len(self.kernel)
        counts = tuple(part.count for part in self.phases[0])
        plain = Geometry(
            self.channels, self.maps, self.groups, self.source, counts, ones, ones, ones,
            (0,) * len(ones), False, self.width,
        )  # fmt: skip
        return plain.vectors

    @functools.cached_property
    def geometries(self) -> list[PhaseGeometry]:
        """The convolutions of all phases."""
        return [self.geometry(phase) for phase in self.phases]

    @property
    def size(self) -> int:
        """Floats of the packed weights."""
        return sum(geometry.size for geometry in self.geometries)

    @property
    def flat_panels(self) -> int:
        """Panels of weights of all groups."""
        return self.geometries[0].panels * self.groups

    @property
    def item_panels(self) -> int:
        """Panels (of all groups, counted through) that one work item multiplies with."""
        side = self.strides[-1]
        lines = [self.geometries[k : k + side] for k in range(0, len(self.geometries), side)]
        most = max(sum(geometry.panel_size for geometry in line) for line in lines)
        total = self.flat_panels
        count = max(1, min(total, _GROUP_BYTES // (4 * max(1, most))))
        items = int(np.prod([extent or 16 for extent in self.output[:-1]]))
        flops = 2 * (self.phases[0][-1].count or 16) * most
        while count > 1 and items * -(-total // count) < _LEAST_ITEMS:
            if count * flops < 2 * _ITEM_FLOPS:
                break
            count = -(-count // 2)
        return count

    def pack(self, weights: Array) -> Array:
        """``weights`` [C, M / groups, kernel...] phase by phase, as one row of floats."""
        pieces = []
        for geometry in self.geometries:
            part = weights[np.ix_(*(range(n) for n in weights.shape[:2]), *_taps(geometry))]
            split = part.reshape(self.groups, self.channels, *part.shape[1:]).swapaxes(1, 2)
            ordered = split.reshape(self.groups * self.maps, self.channels, *part.shape[2:])
            pieces.append(pack_kernels(ordered, self.groups, geometry.columns).ravel())
        return np.concatenate(pieces)

    def unpack(self, packed: Array) -> Array:
        """The weights that :meth:`pack` packed."""
        maps = self.groups * self.maps
        weights = np.zeros((self.groups * self.channels, self.maps, *self.kernel), packed.dtype)
        start = 0
        for geometry in self.geometries:
            shape = (self.groups * geometry.panels, geometry.taps, self.channels, geometry.columns)
            piece = packed[start : start + geometry.size].reshape(shape)
            start += geometry.size
            if 0 in geometry.kernel:
                continue
            ordered = unpack_kernels(piece, self.groups, maps, geometry.kernel)
            split = ordered.reshape(self.groups, self.maps, self.channels, *geometry.kernel)
            part = split.swapaxes(1, 2).reshape(-1, self.maps, *geometry.kernel)
            weights[np.ix_(*(range(n) for n in weights.shape[:2]), *_taps(geometry))] = part
        return weights


def _taps(geometry: PhaseGeometry) -> tuple[list[int], ...]:
    return tuple(list(positions) for positions in geometry.kernel_positions)
