"""Convolution over one to three spatial dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir import Array, Call, Cost, Extent, ModelError, Operand, TensorType, unify
from ..ir.dim import product
from .correlation import correlation_calls
from .define import operator, same_type
from .half import widened
from .samples import sample, tensor
from .spatial import Window, make_window, output_extents, padded, spatial_extents, tap


@operator(traits=("dot",))
def convolution(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    pads_begin: Sequence[Extent] = (),
    pads_end: Sequence[Extent] = (),
    groups: int = 1,
) -> Array:
    """Cross-correlation of ``x`` [N, C, spatial...] with ``w`` [M, C / groups, kernel...].

    ONNX Conv-22 with explicit padding (``spatial.resolve_auto_pad`` resolves ``auto_pad``);
    ``bias`` is [M]. An empty tuple stands for strides and dilations of 1 and no padding.
    """
    wide, weights = widened(x), widened(w)
    window = make_window("convolution", w.shape[2:], strides, dilations, pads_begin, pads_end)
    outputs = output_extents("convolution", x.shape[2:], window)
    counts = [int(count) for count in outputs]  # type: ignore[arg-type]
    batch, maps = x.shape[0], w.shape[0]
    source = padded(wide, window, counts, 0)
    places = math.prod(counts)
    result = np.zeros((batch, groups, maps // groups, places), wide.dtype)
    for offsets in np.ndindex(*w.shape[2:]):
        piece = tap(source, window, counts, offsets).reshape(batch, groups, w.shape[1], places)
        matrix = weights[(slice(None), slice(None), *offsets)]
        result += matrix.reshape(groups, maps // groups, w.shape[1]) @ piece
    found = result.reshape(batch, maps, *counts)
    if bias is not None:
        found = found + widened(bias).reshape(-1, *(1,) * len(counts))
    return found.astype(x.dtype, copy=False)


def _checked(
    x: TensorType,
    w: TensorType,
    bias: TensorType | None,
    window: Window,
    groups: int,
) -> None:
    same_type("convolution", x, w, bias)
    if x.dtype == "bool":
        raise ModelError("convolution does not take bool tensors")
    if w.rank != x.rank:
        raise ModelError(f"convolution: weights {w} for an input {x}")
    check_groups("convolution", groups, w.shape[0])
    unify(x.shape[1], w.shape[1] * groups, f"convolution: channels of {x} and {w}, {groups} groups")
    check_bias("convolution", bias, w.shape[0])


def check_groups(what: str, groups: int, channels: Extent) -> None:
    """Raise ModelError unless ``channels`` can be divided into ``groups``."""
    if not isinstance(groups, int) or groups < 1:
        raise ModelError(f"{what}: {groups} groups")
    if isinstance(channels, int) and channels % groups:
        raise ModelError(f"{what}: {channels} channels do not divide into {groups} groups")


def check_bias(what: str, bias: TensorType | None, channels: Extent) -> None:
    """Raise ModelError unless ``bias`` is a vector of one number a channel."""
    if bias is None:
        return
    if bias.rank != 1:
        raise ModelError(f"{what}: the bias is {bias}, not a vector")
    unify(bias.shape[0], channels, f"{what}: the bias {bias} and {channels} channels")


@convolution.infer
def _(
    x: TensorType,
    w: TensorType,
    bias: TensorType | None = None,
    *,
    groups: int,
    **sliding: Any,
) -> TensorType:
    spatial = spatial_extents("convolution", x)
    window = make_window("convolution", w.shape[2:], **sliding)
    _checked(x, w, bias, window, groups)
    outputs = output_extents("convolution", spatial, window)
    return x.with_shape((x.shape[0], w.shape[0], *outputs))


@convolution.cost
def _(
    x: TensorType,
    w: TensorType,
    bias: TensorType | None = None,
    *,
    groups: int,
    **sliding: Any,
) -> Cost:
    window = make_window("convolution", w.shape[2:], **sliding)
    outputs = output_extents("convolution", x.shape[2:], window)
    out = x.with_shape((x.shape[0], w.shape[0], *outputs))
    taps = product(w.shape[1:])
    return Cost(2 * out.size * taps, x.nbytes + w.nbytes + out.nbytes)


@convolution.kernel
def _(
    x: Operand,
    w: Operand,
    bias: Operand | None,
    out: Operand,
    *,
    groups: int,
    **sliding: Any,
) -> list[Call]:
    window = make_window("convolution", w.shape[2:], **sliding)
    return correlation_calls(x, w, bias, out, window, groups)


convolution.samples = [
    sample(
        tensor((1, 3, 6, 7)), tensor((5, 3, 3, 3)), tensor((5,)), pads_begin=(1, 1), pads_end=(1, 1)
    ),
    sample(tensor((2, 4, 5, 5)), tensor((8, 4, 1, 1))),
    sample(tensor((2, 4, 5, 5)), tensor((6, 4, 1, 1)), tensor((6,)), strides=(2, 2)),
    sample(
        tensor((1, 4, 7, 8)), tensor((4, 1, 3, 3)), groups=4, pads_begin=(1, 1), pads_end=(1, 1)
    ),
    sample(tensor((1, 4, 7, 8)), tensor((8, 1, 3, 3)), tensor((8,)), groups=4, strides=(2, 2)),
    sample(
        tensor((1, 6, 7, 8)), tensor((4, 3, 2, 3)), groups=2, pads_begin=(0, 2), pads_end=(1, 0)
    ),
    sample(
        tensor((1, 3, 11, 9)),
        tensor((4, 3, 7, 7)),
        strides=(2, 2),
        pads_begin=(3, 3),
        pads_end=(3, 3),
    ),
    sample(tensor((1, 2, 9, 9)), tensor((3, 2, 3, 3)), dilations=(2, 3)),
    sample(tensor((1, 2, 9, 12)), tensor((3, 2, 3, 2)), dilations=(2, 3), strides=(3, 2)),
    sample(
        tensor((2, 3, 10)),
        tensor((4, 3, 4)),
        tensor((4,)),
        strides=(3,),
        pads_begin=(2,),
        pads_end=(1,),
    ),
    sample(
        tensor((1, 2, 4, 5, 4)), tensor((3, 2, 2, 3, 2)), pads_begin=(1, 1, 0), pads_end=(0, 1, 1)
    ),
    sample(tensor((1, 2, 5, 5, 6)), tensor((4, 1, 3, 3, 3)), strides=(2, 1, 2), groups=2),
    sample(tensor((1, 5, 4, 4)), tensor((13, 5, 4, 4))),
    sample(tensor((1, 1, 3, 3)), tensor((1, 1, 3, 3)), pads_begin=(9, 0), pads_end=(9, 0)),
    sample(tensor((0, 3, 5, 5)), tensor((2, 3, 3, 3))),
    sample(tensor((2, 0, 5, 5)), tensor((2, 0, 3, 3)), tensor((2,))),
    sample(tensor((1, 3, 5, 5), "float64"), tensor((2, 3, 3, 3), "float64")),
    sample(tensor((1, 3, 5, 5), "float16"), tensor((2, 3, 3, 3), "float16")),
    sample(tensor((1, 3, 5, 5), "bfloat16"), tensor((2, 3, 3, 3), "bfloat16")),
    sample(tensor((1, 3, 5, 5), "int32", -9, 9), tensor((2, 3, 3, 3), "int32", -9, 9)),
]
