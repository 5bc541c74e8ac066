"""What a pool's code depends on, and the tiles that it is computed in."""

from __future__ import annotations

from dataclasses import dataclass

from .geometry import Geometry

# Registers that hold what is combined in a tile, of 32 and of 16 registers.
_REGISTERS, _FEW_REGISTERS = 24, 12


@dataclass(frozen=True)
class PoolGeometry(Geometry):
    """A pool, as a convolution with one channel and map for each group.

    ``mean`` tells an average from a maximum, ``pads_end`` and ``include`` say whether paddings
    count as elements of an average.
    """

    mean: bool = False
    pads_end: tuple[int, ...] = ()
    include: bool = False

    @property
    def reach(self) -> int:
        """Columns of the source that a window spans."""
        return (self.kernel[-1] - 1) * self.dilations[-1] + 1

    @property
    def apart(self) -> bool:
        """True when windows next to each other share nothing."""
        return self.reach <= self.strides[-1] or self.output[-1] == 1

    @property
    def tile_vectors(self) -> int:
        """Vectors of channels of a tile: many where windows share nothing."""
        return min(-(-self.groups // self.width), self._registers // 2 if self.apart else 2)

    @property
    def most_rows(self) -> int:
        """The most pixels of a tile."""
        if self.apart:
            return max(1, self._registers // (2 * self.tile_vectors))
        columns = self._registers // self.tile_vectors
        return max(1, (columns - self.reach) // self.strides[-1] + 1)

    @property
    def _registers(self) -> int:
        """Registers that hold what is combined in a tile."""
        return _REGISTERS if self.width >= 16 else _FEW_REGISTERS

    def may_miss(self, axis: int) -> bool:
        """True when a window may have no element of the source along ``axis``."""
        if not self.clipped(axis):
            return False
        largest = max(self.pads[axis], self.pads_end[axis])
        return self.dilations[axis] > 1 or largest >= self.kernel[axis]
