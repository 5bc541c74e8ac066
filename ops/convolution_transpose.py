"""Transposed convolution over one to three spatial dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir import Array, Call, Cost, Extent, ModelError, Operand, TensorType, unify
from ..ir.dim import maximum, product
from .convolution import check_bias, check_groups
from .correlation import transposed_calls
from .define import operator, same_type
from .half import widened
from .samples import sample, tensor
from .spatial import Window, make_window, spatial_extents, split_padding

_WHAT = "convolution_transpose"


@operator(traits=("dot",))
def convolution_transpose(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    pads_begin: Sequence[Extent] = (),
    pads_end: Sequence[Extent] = (),
    output_padding: Sequence[Extent] = (),
    groups: int = 1,
) -> Array:
    """The gradient of a convolution: ``x`` [N, C, spatial...], ``w`` [C, M / groups, kernel...].

    ONNX ConvTranspose-22 with explicit padding, which is cut off the result
    (:func:`resolve_transposed_padding` resolves ``auto_pad`` and ``output_shape``). A negative
    ``pads_end`` and ``output_padding`` both append positions.
    """
    wide, weights = widened(x), widened(w)
    window = make_window(_WHAT, w.shape[2:], strides, dilations, pads_begin, pads_end, True)
    outputs = _outputs(x.shape[2:], window, output_padding)
    counts = [int(count) for count in outputs]  # type: ignore[arg-type]
    begin = [int(extent) for extent in window.begin]  # type: ignore[arg-type]
    batch, maps, per_group = x.shape[0], groups * w.shape[1], x.shape[1] // groups
    reach = [int(window.reach(axis)) for axis in range(window.rank)]  # type: ignore[arg-type]
    full = [
        max((extent - 1) * stride + span, start + count, 0)
        for extent, stride, span, start, count in zip(
            x.shape[2:], window.strides, reach, begin, counts, strict=True
        )
    ]
    result = np.zeros((batch, maps, *full), wide.dtype)
    columns = wide.reshape(batch, groups, per_group, math.prod(x.shape[2:]))
    for offsets in np.ndindex(*w.shape[2:]) if x.size else ():
        matrix = weights[(slice(None), slice(None), *offsets)].reshape(
            groups, per_group, w.shape[1]
        )
        piece = (matrix.swapaxes(1, 2) @ columns).reshape(batch, maps, *x.shape[2:])
        slices = [
            slice(offset * dilation, offset * dilation + (extent - 1) * stride + 1, stride)
            for offset, dilation, extent, stride in zip(
                offsets, window.dilations, x.shape[2:], window.strides, strict=True
            )
        ]
        result[(slice(None), slice(None), *slices)] += piece
    kept = [slice(start, start + count) for start, count in zip(begin, counts, strict=True)]
    found = result[(slice(None), slice(None), *kept)]
    if bias is not None:
        found = found + widened(bias).reshape(-1, *(1,) * len(counts))
    return found.astype(x.dtype)


def _outputs(
    spatial: Sequence[Extent], window: Window, output_padding: Sequence[Extent]
) -> tuple[Extent, ...]:
    extra = tuple(output_padding) or (0,) * window.rank
    if len(extra) != window.rank:
        raise ModelError(f"{_WHAT}: output_padding {extra} for {window.rank} spatial dimensions")
    result = []
    for axis, extent in enumerate(spatial):
        if isinstance(extra[axis], int) and extra[axis] < 0:  # type: ignore[operator]
            raise ModelError(f"{_WHAT}: negative output_padding {extra}")
        count = (
            (extent - 1) * window.strides[axis]
            + window.reach(axis)
            + extra[axis]
            - window.begin[axis]
            - window.end[axis]
        )
        if isinstance(count, int) and count < 0:
            raise ModelError(
                f"{_WHAT}: padding {window.begin} and {window.end} leaves nothing of the result"
            )
        result.append(count)
    return tuple(result)


def resolve_transposed_padding(
    auto_pad: str,
    output_shape: Sequence[Extent],
    spatial: Sequence[Extent],
    kernel: Sequence[Extent],
    strides: Sequence[int],
    dilations: Sequence[int],
    output_padding: Sequence[Extent],
) -> tuple[tuple[Extent, ...], tuple[Extent, ...]]:
    """``(pads_begin, pads_end)`` for ONNX ConvTranspose's ``auto_pad`` and ``output_shape``.

    ``output_shape`` (spatial extents only, empty if not given) decides the padding;
    ``SAME_UPPER`` and ``SAME_LOWER`` without it ask for ``extent * stride``; the odd element
    goes to the end for ``SAME_UPPER`` and to the beginning otherwise. Where an output larger
    than the result is asked for, ``pads_end`` is negative.
    """
    window = make_window(_WHAT, kernel, strides, dilations, (), ())
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", ""):
        raise ModelError(f"auto_pad {auto_pad!r} is none of SAME_UPPER, SAME_LOWER, VALID, NOTSET")
    whole = _outputs(spatial, window, output_padding)
    wanted = tuple(output_shape)
    if not wanted:
        if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
            return (0,) * window.rank, (0,) * window.rank
        wanted = tuple(e * stride for e, stride in zip(spatial, window.strides, strict=True))
    if len(wanted) != window.rank:
        raise ModelError(f"{_WHAT}: output_shape {wanted} for {window.rank} spatial dimensions")
    totals = [have - want for have, want in zip(whole, wanted, strict=True)]
    begin, _ = split_padding(
        [maximum(total, 0) for total in totals], odd_at_end=auto_pad == "SAME_UPPER"
    )
    return begin, tuple(total - first for total, first in zip(totals, begin, strict=True))


@convolution_transpose.infer
def _(
    x: TensorType,
    w: TensorType,
    bias: TensorType | None = None,
    *,
    output_padding: Sequence[Extent],
    groups: int,
    **sliding: Any,
) -> TensorType:
    spatial = spatial_extents(_WHAT, x)
    same_type(_WHAT, x, w, bias)
    if x.dtype == "bool":
        raise ModelError(f"{_WHAT} does not take bool tensors")
    if w.rank != x.rank:
        raise ModelError(f"{_WHAT}: weights {w} for an input {x}")
    window = make_window(_WHAT, w.shape[2:], negative_end=True, **sliding)
    check_groups(_WHAT, groups, w.shape[0])
    unify(x.shape[1], w.shape[0], f"{_WHAT}: channels of {x} and {w}")
    maps = w.shape[1] * groups
    check_bias(_WHAT, bias, maps)
    return x.with_shape((x.shape[0], maps, *_outputs(spatial, window, output_padding)))


@convolution_transpose.cost
def _(
    x: TensorType,
    w: TensorType,
    bias: TensorType | None = None,
    *,
    output_padding: Sequence[Extent],
    groups: int,
    **sliding: Any,
) -> Cost:
    window = make_window(_WHAT, w.shape[2:], negative_end=True, **sliding)
    maps = w.shape[1] * groups
    out = x.with_shape((x.shape[0], maps, *_outputs(x.shape[2:], window, output_padding)))
    return Cost(2 * x.size * product(w.shape[1:]), x.nbytes + w.nbytes + out.nbytes)


@convolution_transpose.kernel
def _(
    x: Operand,
    w: Operand,
    bias: Operand | None,
    out: Operand,
    *,
    output_padding: Sequence[Extent],
    groups: int,
    **sliding: Any,
) -> list[Call]:
    window = make_window(_WHAT, w.shape[2:], negative_end=True, **sliding)
    return transposed_calls(x, w, bias, out, window, groups)


convolution_transpose.samples = [
    sample(tensor((1, 3, 4, 5)), tensor((3, 2, 3, 3)), tensor((2,))),
    sample(tensor((2, 4, 4, 5)), tensor((4, 6, 2, 2)), strides=(2, 2)),
    sample(
        tensor((1, 3, 4, 5)),
        tensor((3, 5, 4, 4)),
        tensor((5,)),
        strides=(2, 2),
        pads_begin=(1, 1),
        pads_end=(1, 1),
    ),
    sample(
        tensor((1, 3, 4, 5)),
        tensor((3, 4, 3, 3)),
        strides=(2, 3),
        pads_begin=(1, 0),
        pads_end=(1, 1),
        output_padding=(1, 2),
    ),
    sample(
        tensor((1, 4, 4, 5)),
        tensor((4, 3, 3, 2)),
        tensor((6,)),
        groups=2,
        dilations=(2, 3),
        strides=(3, 2),
    ),
    sample(tensor((1, 4, 5, 5)), tensor((4, 1, 3, 3)), groups=4, strides=(2, 2)),
    sample(
        tensor((1, 2, 3, 3)), tensor((2, 3, 1, 1)), tensor((3,)), strides=(2, 3), pads_end=(-2, -3)
    ),
    sample(tensor((2, 3, 7)), tensor((3, 4, 4)), strides=(3,), pads_begin=(2,), pads_end=(1,)),
    sample(
        tensor((1, 2, 3, 3, 2)),
        tensor((2, 3, 2, 3, 2)),
        strides=(2, 1, 2),
        pads_begin=(1, 1, 0),
        pads_end=(0, 1, 0),
    ),
    sample(tensor((0, 3, 4, 5)), tensor((3, 2, 3, 3))),
    sample(tensor((1, 0, 4, 5)), tensor((0, 2, 3, 3)), tensor((2,))),
    sample(tensor((1, 3, 4, 5), "float64"), tensor((3, 2, 3, 3), "float64"), strides=(2, 2)),
    sample(tensor((1, 3, 4, 5), "float16"), tensor((3, 2, 3, 3), "float16"), strides=(2, 2)),
]
