"""Sizes of a Winograd convolution and how its tiles are cut into blocks."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from .geometry import balanced
from .winograd_transforms import Filtering, filtering_of

LINE = 16  # floats of a cache line


@dataclass(frozen=True, slots=True)
class InputRun:
    """Tiles ``start`` up to ``stop`` along one axis that see the same part of the source.

    Of a tile's inputs those from ``low`` up to ``high`` are inside.
    """

    start: int
    stop: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class OutputRun:
    """Tiles ``start`` up to ``stop`` along one axis of which ``count`` outputs exist."""

    start: int
    stop: int
    count: int


@dataclass(frozen=True)
class Plan:
    """One Winograd convolution of an image [rows, columns, channels] and how it is computed.

    Blocks of ``block`` rows and columns of tiles are computed from the source to the output,
    one after the other; ``by_points`` does each step for whole images instead, so that packed
    kernels are read only once. ``vectors`` are those of a panel of packed kernels. ``group`` is
    how many panels are multiplied with before outputs are transformed, or in one work item.
    """

    channels: int
    maps: int
    source: tuple[int, int]
    output: tuple[int, int]
    pads: tuple[int, int]  # above and left
    tile: int  # outputs of a tile along one axis
    width: int  # lanes of a vector
    vectors: int
    rows: int  # of a register tile, at most
    group: int
    block: tuple[int, int]
    by_points: bool
    stride: int = 1

    @functools.cached_property
    def filtering(self) -> Filtering:
        """The transforms."""
        return filtering_of(self.tile, self.stride)

    @property
    def advance(self) -> int:
        """Inputs from one tile to the next along an axis."""
        return self.tile * self.stride

    @property
    def span(self) -> int:
        """Inputs of a tile along an axis."""
        return self.advance - self.stride + 3

    @property
    def depth(self) -> int:
        """Channels of all phases of the inputs: those of even and of odd numbers for stride 2."""
        return self.channels * self.stride**2

    @property
    def points(self) -> int:
        """Products for each tile and map, each summed over the channels of all phases."""
        return self.filtering.inputs**2

    @property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles of an image."""
        return -(-self.output[0] // self.tile), -(-self.output[1] // self.tile)

    @property
    def columns(self) -> int:
        """Maps of a panel."""
        return self.vectors * self.width

    @property
    def panels(self) -> int:
        """Panels of packed kernels."""
        return -(-self.maps // self.columns)

    @property
    def groups(self) -> int:
        """Groups of panels."""
        return -(-self.panels // self.group)

    @property
    def slab_size(self) -> int:
        """Floats of one panel of one point that meet one phase of the inputs."""
        return self.channels * self.columns

    @property
    def kernel_size(self) -> int:
        """Floats of all packed kernels; at infinity there are no phases of odd numbers."""
        return self.span**2 * self.panels * self.slab_size

    # --- blocks --------------------------------------------------------------------------

    def cuts(self, axis: int) -> list[int]:
        """Tiles of each block along an axis."""
        return balanced(self.tiles[axis], self.block[axis])

    @property
    def blocks(self) -> int:
        """Blocks of an image."""
        return len(self.cuts(0)) * len(self.cuts(1))

    @property
    def block_tiles(self) -> int:
        """Tiles of the largest block; of an image when it is not cut."""
        if self.by_points:
            return self.tiles[0] * self.tiles[1]
        return max(self.cuts(0)) * max(self.cuts(1))

    # --- transformed inputs and products: [point][tile][phase and channel or map] -----------

    @property
    def input_pitch(self) -> int:
        """Floats between tiles: an odd number of lines, so that a register tile's rows do not
        meet in the same sets of a cache."""
        return _odd_lines(self.depth)

    @property
    def input_step(self) -> int:
        """Floats between points."""
        return _odd_lines(self.block_tiles * self.input_pitch)

    @property
    def product_pitch(self) -> int:
        """Floats between tiles."""
        panels = self.panels if self.by_points else min(self.group, self.panels)
        lines = -(-panels * self.columns // LINE)
        return lines * LINE

    @property
    def product_step(self) -> int:
        """Floats between points."""
        return _odd_lines(self.block_tiles * self.product_pitch)

    @property
    def input_size(self) -> int:
        """Floats of the transformed inputs of a block, or an image."""
        return self.points * self.input_step

    @property
    def product_size(self) -> int:
        """Floats of the products of a block, or an image."""
        return self.points * self.product_step

    # --- borders -------------------------------------------------------------------------

    def input_runs(self, axis: int) -> list[InputRun]:
        """All tiles along an axis."""
        runs: list[InputRun] = []
        size = self.source[axis]
        for number in range(self.tiles[axis]):
            first = number * self.advance - self.pads[axis]
            low = max(0, -first)
            high = min(self.span, size - first)
            if low >= high:
                low = high = 0
            if runs and (runs[-1].low, runs[-1].high) == (low, high):
                runs.append(InputRun(runs.pop().start, number + 1, low, high))
            else:
                runs.append(InputRun(number, number + 1, low, high))
        return runs

    def output_runs(self, axis: int) -> list[OutputRun]:
        """All tiles along an axis."""
        whole, rest = divmod(self.output[axis], self.tile)
        runs = [OutputRun(0, whole, self.tile)] if whole else []
        return [*runs, OutputRun(whole, whole + 1, rest)] if rest else runs


def _odd_lines(floats: int) -> int:
    return (-(-floats // LINE) | 1) * LINE
