"""Direct convolution of one to three spatial axes, channels last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir import Array, Call, Cost, Extent, ModelError, Operand, TensorType, View, workspace
from ....ir.dim import product
from ....ops.convolution import convolution
from ....ops.define import operator
from ..dense.epilogue import Epilogue, applied
from ..emitted import EmittedBody
from .direct import DirectWriter
from .geometry import Geometry, unpack_kernels


@operator(name="cpu_spatial_convolution", traits=("dot",))
def spatial_convolution(
    x: Array,
    packed: Array,
    bias: Array | None = None,
    ahead: Array | None = None,
    *,
    maps: int,
    groups: int,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads_begin: tuple[int, ...],
    pads_end: tuple[int, ...],
    channels_first: bool,
    width: int,
    low: float = -math.inf,
    high: float = math.inf,
) -> Array:
    """``convolution`` of ``x`` [N, spatial..., C] to [N, spatial..., maps].

    The weights are packed by :func:`~.geometry.pack_kernels`. With ``channels_first`` the
    input alone is [N, C, spatial...]: what a network's first layer meets. ``bias``,
    ``low`` and ``high`` are the epilogue (see :mod:`..dense.epilogue`), ``ahead`` weights that
    are needed next (see :mod:`..dense.read_ahead`).
    """
    weights = unpack_kernels(packed, groups, maps, kernel)
    first = x if channels_first else np.moveaxis(x, -1, 1)
    result = convolution.reference(
        first,
        weights,
        strides=strides,
        dilations=dilations,
        pads_begin=pads_begin,
        pads_end=pads_end,
        groups=groups,
    )
    return np.ascontiguousarray(applied(np.moveaxis(result, 1, -1), bias, low, high))


@spatial_convolution.infer
def _(
    x: TensorType,
    packed: TensorType,
    bias: TensorType | None = None,
    ahead: TensorType | None = None,
    *,
    maps: int,
    groups: int,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads_begin: tuple[int, ...],
    pads_end: tuple[int, ...],
    channels_first: bool,
    width: int,
    low: float,
    high: float,
) -> TensorType:
    rank = len(kernel)
    if x.rank != rank + 2 or packed.rank != 4:
        raise ModelError(f"direct convolution of {x} and {packed}")
    channels = x.shape[1] if channels_first else x.shape[-1]
    if channels != packed.shape[2] * groups or packed.shape[1] != int(np.prod(kernel)):
        raise ModelError(f"direct convolution of {x} in {groups} groups and {packed}")
    if bias is not None and bias.shape != (maps,):
        raise ModelError(f"direct convolution to {maps} maps with a bias {bias}")
    sizes = spatial_sizes(x, channels_first)
    output = [
        (sizes[a] + pads_begin[a] + pads_end[a] - dilations[a] * (kernel[a] - 1) - 1) // strides[a]
        + 1
        for a in range(rank)
    ]
    return x.with_shape((x.shape[0], *output, maps))


@spatial_convolution.cost
def _(
    x: TensorType,
    packed: TensorType,
    bias: TensorType | None = None,
    ahead: TensorType | None = None,
    **attributes: Any,
) -> Cost:
    out = spatial_convolution.infer_types([x, packed], attributes)[0]
    taps = packed.shape[1] * packed.shape[2]
    return Cost(2 * out.size * taps, x.nbytes + packed.nbytes + out.nbytes)


@spatial_convolution.kernel
def _(
    x: Operand,
    packed: Operand,
    bias: Operand | None,
    ahead: Operand | None,
    out: Operand,
    *,
    maps: int,
    groups: int,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads_begin: tuple[int, ...],
    pads_end: tuple[int, ...],
    channels_first: bool,
    width: int,
    low: float,
    high: float,
) -> list[Call]:
    known = known_source(x, out, pads_begin, pads_end, channels_first)
    channels = int(packed.type.static_shape[2])
    geometry = Geometry(
        channels,
        maps // groups,
        groups,
        known.sizes,
        known.output,
        kernel,
        strides,
        dilations,
        known.pads,
        channels_first,
        width,
    )
    epilogue = Epilogue(bias is not None, low, high)
    writer = DirectWriter(geometry, epilogue, ahead is not None)
    more = tuple(operand.flat() for operand in (bias, ahead) if operand is not None)
    key = (geometry, epilogue, ahead is not None)
    body = EmittedBody("spatial_convolution", key, 3 + len(more), maps, writer.write)
    lines = product(out.shape[:-2])
    operands = (known.source, packed.flat(), out.whole(), *more)
    return [*known.calls, Call(body, operands, items=lines * writer.parts)]


@dataclass(frozen=True, slots=True)
class KnownSource:
    """What a kernel reads: the input or a padded copy of it; sizes that are open are None."""

    source: View
    sizes: tuple[int | None, ...]
    output: tuple[int | None, ...]
    pads: tuple[int, ...]
    calls: tuple[Call, ...]


def known_source(
    x: Operand,
    out: Operand,
    pads_begin: tuple[int, ...],
    pads_end: tuple[int, ...],
    channels_first: bool = False,
) -> KnownSource:
    """The source of a convolution; lines of open length get their padding in a copy.

    Tiles of such a line cannot know which pixels lie at its ends.
    """
    sizes, output = list(spatial_sizes(x.type, channels_first)), out.shape[1:-1]
    pads, source = list(pads_begin), x.whole()
    calls: tuple[Call, ...] = ()
    is_known = isinstance(sizes[-1], int) and isinstance(output[-1], int)
    if not is_known and (pads_begin[-1] or pads_end[-1]):
        sizes[-1] = sizes[-1] + pads_begin[-1] + pads_end[-1]
        lines = product((x.shape[0], *sizes[:-1]))
        source = workspace("padded", x.dtype, (x.shape[0], *sizes, x.shape[-1]))
        flat = workspace("padded", x.dtype, (lines, sizes[-1], x.shape[-1]))
        operands = (x.view(lines, x.shape[-2], x.shape[-1]), flat)
        calls = (Call(_pad_line, operands, items=lines, scalars=(pads_begin[-1],)),)
        pads[-1] = 0
    return KnownSource(
        source,
        (*map(_known, sizes[:-1]), _known(sizes[-1]) if is_known else None),
        (*map(_known, output[:-1]), _known(output[-1]) if is_known else None),
        tuple(pads),
        calls,
    )


def _known(extent: Extent) -> int | None:
    return extent if isinstance(extent, int) else None


def spatial_sizes(x: TensorType, channels_first: bool) -> Sequence[Extent]:
    """The extents of the spatial axes."""
    return x.shape[2:] if channels_first else x.shape[1:-1]


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _pad_line(item, x, padded, left):  # type: ignore[no-untyped-def]
    for j in range(padded.shape[1]):
        inside = left <= j < left + x.shape[1]
        for c in range(x.shape[2]):
            padded[item, j, c] = x[item, j - left, c] if inside else 0.0
