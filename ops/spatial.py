"""Sliding windows over up to three spatial dimensions: checks and extents that operators share.

Tensors are [batch, channels, spatial...]; paddings, strides and dilations have one entry for
each spatial dimension. An empty tuple stands for strides and dilations of 1 and paddings of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ir import Array, Extent, ModelError, TensorType, UnsupportedError
from ..ir.dim import ceil_divide, floor_divide, maximum, minimum

MAXIMUM_SPATIAL_RANK = 3


@dataclass(frozen=True, slots=True)
class Window:
    """A window's extents and how it moves, one entry for each spatial dimension."""

    kernel: tuple[Extent, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[Extent, ...]
    end: tuple[Extent, ...]

    @property
    def rank(self) -> int:
        """Number of spatial dimensions."""
        return len(self.kernel)

    def reach(self, axis: int) -> Extent:
        """How many elements the dilated window spans along ``axis``."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def lifted(self) -> Window:
        """The same window with three spatial dimensions, ones in front."""
        missing = MAXIMUM_SPATIAL_RANK - self.rank
        return Window(
            (1,) * missing + self.kernel,
            (1,) * missing + self.strides,
            (1,) * missing + self.dilations,
            (0,) * missing + self.begin,
            (0,) * missing + self.end,
        )

    @property
    def moves(self) -> tuple[Extent, ...]:
        """Extents, strides, dilations and first paddings along three dimensions, for kernels."""
        lifted = self.lifted()
        return (*lifted.kernel, *lifted.strides, *lifted.dilations, *lifted.begin)


def make_window(
    what: str,
    kernel: Sequence[Extent],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
    negative_end: bool = False,
) -> Window:
    """The checked window; raises ModelError for wrong lengths and senseless numbers."""
    rank = len(kernel)

    def filled(name: str, given: Sequence[Extent], default: int, least: int) -> tuple[Extent, ...]:
        if given and len(given) != rank:
            raise ModelError(f"{what}: {name} {tuple(given)} for {rank} spatial dimensions")
        for extent in given:
            if isinstance(extent, int) and extent < least:
                raise ModelError(f"{what}: {name} {tuple(given)} has an entry below {least}")
        return tuple(given) if given else (default,) * rank

    def numbers(name: str, given: Sequence[int]) -> tuple[int, ...]:
        result = filled(name, given, 1, 1)
        if not all(isinstance(number, int) for number in result):
            raise UnsupportedError(f"{what}: symbolic {name} {tuple(given)}")
        return tuple(number for number in result if isinstance(number, int))

    return Window(
        filled("kernel", kernel, 1, 1),
        numbers("strides", strides),
        numbers("dilations", dilations),
        filled("pads_begin", pads_begin, 0, 0),
        filled("pads_end", pads_end, 0, -(2**62) if negative_end else 0),
    )


def spatial_extents(what: str, x: TensorType) -> tuple[Extent, ...]:
    """The extents after batch and channels; raises where there are none or too many."""
    if x.rank < 3:
        raise ModelError(f"{what}: {x} has no spatial dimensions after batch and channels")
    if x.rank > 2 + MAXIMUM_SPATIAL_RANK:
        raise UnsupportedError(
            f"{what}: {x} has more than {MAXIMUM_SPATIAL_RANK} spatial dimensions"
        )
    return x.shape[2:]


def output_extents(
    what: str, spatial: Sequence[Extent], window: Window, ceil_mode: bool = False
) -> tuple[Extent, ...]:
    """How many places the window has along each dimension (ONNX opset 22).

    With ``ceil_mode`` a last window may reach over the end, if it starts inside the input or
    the padding before it. Raises ModelError where a window does not fit even once.
    """
    result: list[Extent] = []
    for axis, extent in enumerate(spatial):
        stride, begin = window.strides[axis], window.begin[axis]
        room = extent + begin + window.end[axis] - window.reach(axis)
        if isinstance(room, int) and room < 0 and not (ceil_mode and room > -stride):
            raise ModelError(
                f"{what}: a window of {window.reach(axis)} does not fit into dimension {axis} "
                f"of {tuple(spatial)} with padding {window.begin} and {window.end}"
            )
        if ceil_mode:
            count = ceil_divide(room, stride) + 1
            result.append(minimum(count, ceil_divide(extent + begin, stride)))
        else:
            result.append(floor_divide(room, stride) + 1)
    return tuple(result)


def resolve_auto_pad(
    auto_pad: str,
    spatial: Sequence[Extent],
    kernel: Sequence[Extent],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[tuple[Extent, ...], tuple[Extent, ...]]:
    """``(pads_begin, pads_end)`` that ONNX's ``auto_pad`` stands for.

    ``SAME_UPPER`` and ``SAME_LOWER`` give ``ceil(extent / stride)`` outputs, with the odd
    element of padding at the end or the beginning; ``VALID`` (and ``NOTSET``) give none.
    Raises ModelError for another word.
    """
    zeros = (0,) * len(spatial)
    if auto_pad in ("VALID", "NOTSET", ""):
        return zeros, zeros
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise ModelError(f"auto_pad {auto_pad!r} is none of SAME_UPPER, SAME_LOWER, VALID, NOTSET")
    window = make_window("auto_pad", kernel, strides, dilations, (), ())
    if len(spatial) != window.rank:
        raise ModelError(f"auto_pad: a kernel {tuple(kernel)} for extents {tuple(spatial)}")
    totals = [
        maximum((ceil_divide(extent, stride) - 1) * stride + window.reach(axis) - extent, 0)
        for axis, (extent, stride) in enumerate(zip(spatial, window.strides, strict=True))
    ]
    return split_padding(totals, odd_at_end=auto_pad == "SAME_UPPER")


def split_padding(
    totals: Sequence[Extent], odd_at_end: bool
) -> tuple[tuple[Extent, ...], tuple[Extent, ...]]:
    """Halves of ``totals``; the odd element goes to the end or the beginning."""
    smaller = tuple(floor_divide(total, 2) for total in totals)
    larger = tuple(total - half for total, half in zip(totals, smaller, strict=True))
    return (smaller, larger) if odd_at_end else (larger, smaller)


def padded(x: Array, window: Window, outputs: Sequence[int], fill: float) -> Array:
    """``x`` with padding, and as much more at the end as the last windows need."""
    margins = [(0, 0), (0, 0)]
    for axis, count in enumerate(outputs):
        begin = int(window.begin[axis])  # type: ignore[arg-type]
        needed = (count - 1) * window.strides[axis] + int(window.reach(axis))  # type: ignore[arg-type]
        margins.append((begin, max(needed - begin - x.shape[2 + axis], 0)))
    return np.pad(x, margins, constant_values=np.asarray(fill, x.dtype))


def tap(x: Array, window: Window, outputs: Sequence[int], offsets: Sequence[int]) -> Array:
    """The element ``offsets`` of every window over a padded array."""
    slices = [slice(None), slice(None)]
    for axis, (count, offset) in enumerate(zip(outputs, offsets, strict=True)):
        first = offset * window.dilations[axis]
        step = window.strides[axis]
        slices.append(slice(first, first + (count - 1) * step + 1, step))
    return x[tuple(slices)]
