"""3x3 convolutions of stride 1 or 2 by Winograd's minimal filtering, channels last.

A tile of ``m`` x ``m`` outputs takes ``(m + 2)**2`` multiplications a channel and map instead
of ``9 * m**2``, and with stride 2 ``(2 * m + 1)**2``. The inputs of tiles are transformed,
multiplied point by point with transformed kernels (matrix products of tiles times maps, summed
over channels), and transformed back.
See :mod:`.winograd_transforms` for the arithmetic, :mod:`.winograd_plan` for the schedules.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....ir import Array, Call, Cost, ModelError, Operand, TensorType, workspace
from ....ops.convolution import convolution
from ....ops.define import operator
from ..dense.epilogue import Epilogue, applied
from ..emitted import EmittedBody
from .scratch import Scratch
from .winograd_blocks import BlockWriter
from .winograd_cost import lines_ahead, plan_for
from .winograd_plan import LINE
from .winograd_points import PointWriter
from .winograd_transforms import TILES, unpack_kernels

Pads = tuple[int, int, int, int]


@operator(name="cpu_spatial_winograd", traits=("dot",))
def spatial_winograd(
    x: Array,
    kernels: Array,
    bias: Array | None = None,
    ahead: Array | None = None,
    *,
    maps: int,
    pads: Pads,
    tile: int,
    width: int,
    schedule: str = "",
    stride: int = 1,
    low: float = -math.inf,
    high: float = math.inf,
) -> Array:
    """3x3 ``convolution`` of ``x`` [N, H, W, C] to [N, H', W', maps].

    The kernels are packed by :func:`~.winograd_transforms.pack_kernels`. ``pads`` are those
    above, left, below and right; ``tile`` is the number of outputs of a tile along an axis,
    ``schedule`` one that :func:`.winograd_cost.plan_for` is to use. ``stride`` is 1, or 2 where
    the channels are whole vectors. ``bias``, ``low`` and ``high`` are the epilogue (see
    :mod:`..dense.epilogue`), ``ahead`` weights that are needed next (see
    :mod:`..dense.read_ahead`).
    """
    result = convolution.reference(
        np.moveaxis(x.astype(np.float64), -1, 1),
        unpack_kernels(kernels, maps, tile, stride),
        strides=(stride, stride),
        pads_begin=pads[:2],
        pads_end=pads[2:],
    )
    finished = applied(np.moveaxis(result, 1, -1), bias, low, high)
    return np.ascontiguousarray(finished.astype(x.dtype))


@spatial_winograd.infer
def _(
    x: TensorType,
    kernels: TensorType,
    bias: TensorType | None = None,
    ahead: TensorType | None = None,
    *,
    maps: int,
    pads: Pads,
    tile: int,
    width: int,
    schedule: str = "",
    stride: int = 1,
    low: float,
    high: float,
) -> TensorType:
    if x.rank != 4 or kernels.rank != 4 or tile not in TILES.get(stride, ()):
        raise ModelError(f"winograd of {x} and {kernels} with tiles of {tile}, stride {stride}")
    slabs, panels, channels, columns = kernels.static_shape
    if x.shape[3] != channels or slabs != (stride * (tile - 1) + 3) ** 2 or columns % width:
        raise ModelError(f"winograd of {x} and {kernels} with tiles of {tile}")
    if stride != 1 and channels % width:
        raise ModelError(f"winograd of stride {stride}: {channels} channels, vectors of {width}")
    if bias is not None and bias.shape != (maps,):
        raise ModelError(f"winograd to {maps} maps with a bias {bias}")
    if panels != -(-maps // columns):
        raise ModelError(f"winograd: {kernels} for {maps} maps")
    rows, columns_ = ((x.shape[1 + k] + pads[k] + pads[k + 2] - 3) // stride + 1 for k in range(2))
    return x.with_shape((x.shape[0], rows, columns_, maps))


@spatial_winograd.cost
def _(
    x: TensorType,
    kernels: TensorType,
    bias: TensorType | None = None,
    ahead: TensorType | None = None,
    **attributes: Any,
) -> Cost:
    out = spatial_winograd.infer_types([x, kernels], attributes)[0]
    return Cost(2 * 9 * out.size * x.shape[3], x.nbytes + kernels.nbytes + out.nbytes)


@spatial_winograd.kernel
def _(
    x: Operand,
    kernels: Operand,
    bias: Operand | None,
    ahead: Operand | None,
    out: Operand,
    *,
    maps: int,
    pads: Pads,
    tile: int,
    width: int,
    schedule: str,
    stride: int,
    low: float,
    high: float,
) -> list[Call]:
    rows, columns, channels = (int(extent) for extent in x.shape[1:])  # type: ignore[arg-type]
    output = (int(out.shape[1]), int(out.shape[2]))  # type: ignore[arg-type]
    panel = kernels.type.static_shape[3]
    plan = plan_for(
        channels, maps, (rows, columns), output, pads[:2], tile, width, panel, schedule, stride
    )
    images = x.shape[0]
    epilogue, lines = Epilogue(bias is not None, low, high), 0
    if ahead is not None:
        lines = min(lines_ahead(plan), -(-int(ahead.size) // LINE))  # type: ignore[arg-type]
    added = () if bias is None else (bias.flat(),)
    others = () if ahead is None or not lines else (ahead.flat(),)
    if not plan.by_points:
        scratch = Scratch(plan.input_size + plan.product_size, images * plan.blocks)
        operands = (x.whole(), kernels.flat(), out.flat(), *added, *others, *scratch.views)
        key = (plan, epilogue, lines, scratch.slots)
        write = BlockWriter(plan, epilogue, lines, scratch).write
        body = EmittedBody("winograd", key, len(operands), maps, write)
        return [scratch.clear(), Call(body, operands, items=images * plan.blocks)]
    writer = PointWriter(plan, epilogue, lines)
    transformed = workspace("inputs", x.dtype, (images, plan.input_size))
    products = workspace("products", x.dtype, (images, plan.product_size))
    prepare = EmittedBody("winograd_inputs", (plan,), 2, maps, writer.write_inputs)
    multiply = EmittedBody(
        "winograd_products", (plan, lines), 3 + len(others), maps, writer.write_products
    )
    read = EmittedBody(
        "winograd_outputs", (plan, epilogue), 2 + len(added), maps, writer.write_outputs
    )
    factors = (transformed, kernels.flat(), products, *others)
    tile_rows = images * plan.tiles[0]
    return [
        Call(prepare, (x.whole(), transformed), items=tile_rows),
        Call(multiply, factors, items=plan.points * plan.groups),
        Call(read, (products, out.flat(), *added), items=tile_rows),
    ]
