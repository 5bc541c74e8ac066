"""Adding up the blocks of an image, the inverse of taking them apart for a convolution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import Array, Call, Extent, ModelError, Operand, TensorType, UnsupportedError, unify
from ..ir.dim import floor_divide, product
from .correlation import triple
from .define import operator
from .half import widened
from .samples import sample, tensor
from .spatial import MAXIMUM_SPATIAL_RANK, Window, make_window, output_extents


@operator
def column_image(
    x: Array,
    *,
    image: Sequence[Extent],
    block: Sequence[int],
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    pads_begin: Sequence[Extent] = (),
    pads_end: Sequence[Extent] = (),
) -> Array:
    """Sums of overlapping blocks: ``x`` [N, C * block elements, places] (ONNX Col2Im-18).

    Place after place, ``x`` has a block's elements as columns; the result [N, C, image...] has
    their sums where blocks overlap, without the padding.
    """
    window = make_window("column_image", block, strides, dilations, pads_begin, pads_end)
    counts = [int(n) for n in output_extents("column_image", image, window)]  # type: ignore[arg-type]
    size = [int(n) for n in image]  # type: ignore[arg-type]
    begin = [int(n) for n in window.begin]  # type: ignore[arg-type]
    end = [int(n) for n in window.end]  # type: ignore[arg-type]
    channels = x.shape[1] // int(np.prod(block))
    columns = widened(x).reshape(x.shape[0], channels, *block, *counts)
    full = [a + b + c for a, b, c in zip(size, begin, end, strict=True)]
    result = np.zeros((x.shape[0], channels, *full), columns.dtype)
    for offsets in np.ndindex(*block):
        places = tuple(
            slice(offset * d, offset * d + (count - 1) * s + 1, s)
            for offset, d, s, count in zip(
                offsets, window.dilations, window.strides, counts, strict=True
            )
        )
        result[(slice(None), slice(None), *places)] += columns[(slice(None), slice(None), *offsets)]
    kept = tuple(slice(a, a + n) for a, n in zip(begin, size, strict=True))
    return result[(slice(None), slice(None), *kept)].astype(x.dtype)


def _geometry(
    image: Sequence[Extent],
    block: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
) -> tuple[Window, tuple[Extent, ...]]:
    if not 1 <= len(image) <= MAXIMUM_SPATIAL_RANK:
        raise UnsupportedError(f"column_image: images with {len(image)} dimensions")
    if len(block) != len(image) or not all(isinstance(extent, int) for extent in block):
        raise ModelError(f"column_image: blocks {tuple(block)} of an image {tuple(image)}")
    window = make_window("column_image", block, strides, dilations, pads_begin, pads_end)
    return window, output_extents("column_image", image, window)


@column_image.infer
def _(
    x: TensorType,
    *,
    image: Sequence[Extent],
    block: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
) -> TensorType:
    if x.rank != 3 or x.dtype == "bool":
        raise ModelError(f"column_image: the blocks are {x}")
    _, counts = _geometry(image, block, strides, dilations, pads_begin, pads_end)
    unify(x.shape[2], product(counts), f"column_image: places of blocks in {tuple(image)}")
    elements = product(block)
    channels = floor_divide(x.shape[1], elements)
    unify(x.shape[1], channels * elements, f"column_image: {x} for blocks {tuple(block)}")
    return x.with_shape((x.shape[0], channels, *image))


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _add_blocks(  # type: ignore[no-untyped-def]
    item, x, out, d, h, w, kd, kh, kw, sd, sh, sw, dd, dh, dw, bd, bh, bw, cd, ch, cw
):  # fmt: skip
    # item is one channel of one image; c counts the places of blocks
    into = item * d * h * w
    for k in range(d * h * w):
        out[into + k] = out.dtype.type(0)
    source = item * (kd * kh * kw * cd * ch * cw)
    for kz in range(kd):
        for ky in range(kh):
            for kx in range(kw):
                shift = kx * dw - bw
                low = max((sw - 1 - shift) // sw, 0)
                high = min((w - 1 - shift) // sw + 1, cw)
                for pz in range(cd):
                    z = pz * sd + kz * dd - bd
                    for py in range(ch):
                        y = py * sh + ky * dh - bh
                        if z >= 0 and z < d and y >= 0 and y < h:
                            row = into + (z * h + y) * w + shift
                            for q in range(low, high):
                                out[row + q * sw] += x[source + q]
                        source += cw


@column_image.kernel
def _(
    x: Operand,
    out: Operand,
    *,
    image: Sequence[Extent],
    block: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_begin: Sequence[Extent],
    pads_end: Sequence[Extent],
) -> Call:
    window, counts = _geometry(image, block, strides, dilations, pads_begin, pads_end)
    return Call(
        _add_blocks,
        (x.flat(), out.flat()),
        items=out.shape[0] * out.shape[1],
        scalars=(*triple(image), *window.moves, *triple(counts)),
        chunk=product(image),
    )


column_image.samples = [
    sample(tensor((1, 8, 12)), image=(4, 5), block=(2, 2)),
    sample(
        tensor((2, 9, 4)),
        image=(3, 4),
        block=(3, 3),
        strides=(2, 3),
        pads_begin=(1, 1),
        pads_end=(1, 1),
    ),
    sample(tensor((1, 6, 5)), image=(9,), block=(3,), dilations=(2,)),
    sample(tensor((1, 8, 18)), image=(3, 4, 4), block=(2, 2, 2)),
    sample(tensor((0, 8, 12)), image=(4, 5), block=(2, 2)),
    sample(tensor((1, 4, 12), "float64"), image=(4, 5), block=(2, 2)),
    sample(tensor((1, 4, 12), "float16"), image=(4, 5), block=(2, 2)),
    sample(tensor((1, 4, 12), "int32", -9, 9), image=(4, 5), block=(2, 2)),
]
