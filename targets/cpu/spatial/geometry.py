"""Sizes of a direct convolution and how its output is cut into register tiles."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....ir import Array
from ..dense.tile import largest_rows

# Packed weights of one work item; with some lines of input they stay in a second-level cache.
_GROUP_BYTES = 256 * 1024
# A work item should be worth a few microseconds, and there should be some for every thread.
_ITEM_FLOPS = 1_000_000
_LEAST_ITEMS = 16


@dataclass(frozen=True, slots=True)
class TileRun:
    """``count`` register tiles of ``rows`` pixels one after the other in a line.

    ``taps`` lists, for each position of the kernel along the line, the pixels of the tile for
    which that position is inside the source.
    """

    start: int
    rows: int
    count: int
    taps: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Geometry:
    """One convolution; sizes along spatial axes that are open are None.

    ``pads`` are those at the beginning of each axis, negative where the first window begins
    inside; what is read behind the end follows from the output's size.
    """

    channels: int  # of one group
    maps: int  # output channels of one group
    groups: int
    source: tuple[int | None, ...]
    output: tuple[int | None, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    channels_first: bool
    width: int  # lanes of a vector

    @property
    def taps(self) -> int:
        """Positions of the kernel."""
        return int(np.prod(self.kernel))

    @property
    def pixel_step(self) -> int:
        """Floats between the source elements of neighbouring output pixels of a line."""
        return self.strides[-1] * self.column_step

    @property
    def column_step(self) -> int:
        """Floats between neighbouring source pixels of a line."""
        return 1 if self.channels_first else self.channels * self.groups

    @functools.cached_property
    def vectors(self) -> int:
        """Vectors of output channels of a register tile: those with the least cost."""
        line = self.output[-1]
        rows = line if isinstance(line, int) else 1 << 10
        total = -(-self.maps // self.width)

        def cost(vectors: int) -> tuple[int, int]:
            full, rest = divmod(total, vectors)
            most = min(largest_rows(self.width, vectors), rows)
            heights = runs(rows, most)
            panels = [(vectors, full), (rest, int(rest > 0))]
            # Half cycles of one step: multiply-adds, loads, or the latency of a chain.
            steps = sum(
                max(h * v, h + v, 8) * times * each for h, times in heights for v, each in panels
            )
            return steps, abs(vectors - 2)

        possible = [v for v in range(1, min(total, 10) + 1) if largest_rows(self.width, v) >= 1]
        return min(possible, key=cost)

    @property
    def columns(self) -> int:
        """Output channels of a panel of packed weights."""
        return self.vectors * self.width

    @property
    def panels(self) -> int:
        """Panels of packed weights of one group."""
        return -(-self.maps // self.columns)

    @property
    def panel_size(self) -> int:
        """Floats of a panel."""
        return self.taps * self.channels * self.columns

    @property
    def item_panels(self) -> int:
        """Panels (of all groups, counted through) that one work item multiplies with."""
        total = self.groups * self.panels
        count = max(1, min(total, _GROUP_BYTES // (4 * self.panel_size)))
        lines = int(np.prod([extent or 16 for extent in self.output[:-1]]))
        flops = 2 * (self.output[-1] or 16) * self.panel_size
        while count > 1 and lines * -(-total // count) < _LEAST_ITEMS:
            if count * flops < 2 * _ITEM_FLOPS:
                break
            count = -(-count // 2)
        return count

    def clipped(self, axis: int) -> bool:
        """True when some kernel positions along ``axis`` may lie outside the source."""
        size, out = self.source[axis], self.output[axis]
        if self.pads[axis] > 0 or size is None or out is None:
            return True
        reach = (self.kernel[axis] - 1) * self.dilations[axis] - self.pads[axis]
        return (out - 1) * self.strides[axis] + reach >= size

    @property
    def most_rows(self) -> int:
        """The most pixels of a register tile."""
        return largest_rows(self.width, self.vectors)

    @functools.cached_property
    def line_tiles(self) -> tuple[TileRun, ...]:
        """The tiles of an output line of known length."""
        line, size = self.output[-1], self.source[-1]
        assert line is not None, "the line's length is known"
        assert size is not None, "the line's length is known"
        runs: list[TileRun] = []
        start = 0
        for rows in balanced(line, min(self.most_rows, line)):
            first = start * self.strides[-1] - self.pads[-1]
            taps = tuple(
                tuple(
                    pixel
                    for pixel in range(rows)
                    if 0 <= first + pixel * self.strides[-1] + tap * self.dilations[-1] < size
                )
                for tap in range(self.kernel[-1])
            )
            if runs and (runs[-1].rows, runs[-1].taps) == (rows, taps):
                last = runs.pop()
                runs.append(TileRun(last.start, rows, last.count + 1, taps))
            else:
                runs.append(TileRun(start, rows, 1, taps))
            start += rows
        return tuple(runs)

    def inside(self, rows: int) -> tuple[tuple[int, ...], ...]:
        """The taps of a tile that lies inside the source."""
        return (tuple(range(rows)),) * self.kernel[-1]


def balanced(total: int, most: int) -> list[int]:
    """``total`` in as few parts of at most ``most`` as possible, of about equal size."""
    return [size for size, times in runs(total, most) for _ in range(times)]


def runs(total: int, most: int) -> list[tuple[int, int]]:
    """The sizes of :func:`balanced` parts and how often each comes."""
    parts = -(-total // most)
    base, rest = divmod(total, parts)
    return [(base + 1, rest), (base, parts - rest)]


def pack_kernels(weights: Array, groups: int, columns: int) -> Array:
    """``weights`` [M, C / groups, kernel...] as [groups * panels, taps, C / groups, columns].

    Where all panels are full that is the same memory, which whoever needs it in order copies.
    """
    total = weights.shape[0] // groups
    panels = -(-total // columns)
    channels = weights.shape[1]
    flat = weights.reshape(groups, total, channels, -1)
    if total % columns:
        padded = np.zeros((groups, panels * columns, *flat.shape[2:]), weights.dtype)
        padded[:, :total] = flat
        flat = padded
    return flat.reshape(groups * panels, columns, channels, -1).transpose(0, 3, 2, 1)


def unpack_kernels(packed: Array, groups: int, maps: int, kernel: Sequence[int]) -> Array:
    """The weights [maps, C / groups, kernel...] that :func:`pack_kernels` packed."""
    channels = packed.shape[2]
    flat = packed.transpose(0, 3, 2, 1).reshape(groups, -1, channels, packed.shape[1])
    return np.asarray(flat[:, : maps // groups].reshape(maps, channels, *kernel))
