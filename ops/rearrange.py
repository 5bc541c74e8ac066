"""Rearranging elements inside a tensor: blocks of pixels, reversed sequences, triangles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import Array, Call, Extent, ModelError, Operand, TensorType, dim, unify
from ..ir.dim import product
from .define import operator
from .samples import sample, tensor, values
from .strided_copy import row_major_strides, strided_copy

# --- blocks of space and depth -----------------------------------------------------------


def _blocks(what: str, block_size: int, mode: str, x: TensorType) -> None:
    if x.rank != 4 or block_size < 1 or mode not in ("DCR", "CRD"):
        raise ModelError(f"{what}: {x} with block_size {block_size} and mode {mode!r}")


def _divided(extent: Extent, divisor: int, what: str) -> Extent:
    """``extent / divisor``, which must come out even."""
    quotient = dim.floor_divide(extent, divisor)
    unify(quotient * divisor, extent, f"{what}: a multiple of {divisor} is needed")
    return quotient


def _permuted(x: Operand, out: Operand, seen: Sequence[Extent], permutation: Sequence[int]) -> Call:
    """The Call that transposes ``x`` seen with another shape."""
    strides = row_major_strides(seen)
    extents = [seen[axis] for axis in permutation]
    sources = [strides[axis] for axis in permutation]
    return strided_copy(x.flat(), out.flat(), extents, sources, row_major_strides(extents))


@operator(traits=("movement",))
def depth_to_space(x: Array, *, block_size: int, mode: str = "DCR") -> Array:
    """Channels of NCHW moved into blocks of ``block_size`` squared pixels (ONNX DepthToSpace-13).

    ``mode`` says how channels are ordered: "DCR" (row, column, channel) or "CRD".
    """
    n, c, h, w = x.shape
    b, rest = block_size, c // (block_size * block_size)
    if mode == "DCR":
        blocks = x.reshape(n, b, b, rest, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        blocks = x.reshape(n, rest, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, rest, h * b, w * b)


@depth_to_space.infer
def _(x: TensorType, *, block_size: int, mode: str) -> TensorType:
    _blocks("depth_to_space", block_size, mode, x)
    n, c, h, w = x.shape
    rest = _divided(c, block_size * block_size, "depth_to_space: channels")
    return x.with_shape((n, rest, h * block_size, w * block_size))


@depth_to_space.kernel
def _(x: Operand, out: Operand, *, block_size: int, mode: str) -> Call:
    n, _, h, w = x.shape
    b, rest = block_size, out.shape[1]
    if mode == "DCR":
        return _permuted(x, out, (n, b, b, rest, h, w), (0, 3, 4, 1, 5, 2))
    return _permuted(x, out, (n, rest, b, b, h, w), (0, 1, 4, 2, 5, 3))


@operator(traits=("movement",))
def space_to_depth(x: Array, *, block_size: int, mode: str = "DCR") -> Array:
    """Blocks of pixels of NCHW moved into channels (ONNX SpaceToDepth-13; "CRD" is the inverse
    of depth_to_space in that mode).
    """
    n, c, height, width = x.shape
    b = block_size
    h, w = height // b, width // b
    blocks = x.reshape(n, c, h, b, w, b)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return blocks.transpose(order).reshape(n, c * b * b, h, w)


@space_to_depth.infer
def _(x: TensorType, *, block_size: int, mode: str) -> TensorType:
    _blocks("space_to_depth", block_size, mode, x)
    n, c, height, width = x.shape
    h = _divided(height, block_size, "space_to_depth: rows")
    w = _divided(width, block_size, "space_to_depth: columns")
    return x.with_shape((n, c * block_size * block_size, h, w))


@space_to_depth.kernel
def _(x: Operand, out: Operand, *, block_size: int, mode: str) -> Call:
    n, c, _, _ = x.shape
    b, (h, w) = block_size, out.shape[2:]
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return _permuted(x, out, (n, c, h, b, w, b), order)


for _mode in ("DCR", "CRD"):
    depth_to_space.samples += [
        sample(tensor((2, 8, 2, 3)), block_size=2, mode=_mode),
        sample(tensor((1, 9, 1, 2), "float16"), block_size=3, mode=_mode),
        sample(tensor((0, 4, 1, 2)), block_size=2, mode=_mode),
    ]
    space_to_depth.samples += [
        sample(tensor((2, 3, 4, 6)), block_size=2, mode=_mode),
        sample(tensor((1, 2, 3, 6), "bfloat16"), block_size=3, mode=_mode),
        sample(tensor((2, 3, 0, 6)), block_size=2, mode=_mode),
    ]


# --- reverse_sequence and trilu ----------------------------------------------------------


@operator(traits=("movement",))
def reverse_sequence(x: Array, lengths: Array, *, batch_axis: int = 1, time_axis: int = 0) -> Array:
    """The first ``lengths[b]`` steps of each batch entry backwards (ONNX ReverseSequence-10).

    ``lengths`` is int64, each from 0 to the number of steps; another one is an error.
    """
    moved = np.moveaxis(x, (batch_axis, time_axis), (0, 1))
    result = moved.copy()
    for entry, length in enumerate(lengths.tolist()):
        if not 0 <= length <= moved.shape[1]:
            raise ModelError(f"reverse_sequence: length {length} of {moved.shape[1]} steps")
        result[entry, :length] = moved[entry, :length][::-1]
    return np.ascontiguousarray(np.moveaxis(result, (0, 1), (batch_axis, time_axis)))


@reverse_sequence.infer
def _(x: TensorType, lengths: TensorType, *, batch_axis: int, time_axis: int) -> TensorType:
    axes = {x.axis(batch_axis), x.axis(time_axis)}
    if axes != {0, 1} or lengths.dtype != "int64" or lengths.rank != 1:
        raise ModelError(
            f"reverse_sequence: {x}, {lengths} with batch axis {batch_axis}, time axis {time_axis}"
        )
    unify(x.shape[batch_axis], lengths.shape[0], "reverse_sequence: one length a batch entry")
    return x


def _reverse_rows(item, x, lengths, out, time_first):  # type: ignore[no-untyped-def]
    batch = x.shape[1] if time_first else x.shape[0]
    steps = x.shape[0] if time_first else x.shape[1]
    step = item // batch if time_first else item % steps
    entry = item % batch if time_first else item // steps
    length = np.int64(lengths[entry])
    if length < 0 or length > steps:
        return 1 + entry
    source = length - 1 - step if step < length else step
    if time_first:
        for j in range(x.shape[2]):
            out[step, entry, j] = x[source, entry, j]
    else:
        for j in range(x.shape[2]):
            out[entry, step, j] = x[entry, source, j]
    return 0


@reverse_sequence.kernel
def _(x: Operand, lengths: Operand, out: Operand, *, batch_axis: int, time_axis: int) -> Call:
    row = product(x.shape[2:])
    seen = (x.shape[0], x.shape[1], row)
    return Call(
        _reverse_rows,
        (x.view(*seen), lengths.whole(), out.view(*seen)),
        items=x.shape[0] * x.shape[1],
        scalars=(int(x.type.axis(time_axis) == 0),),
        chunk=row,
        error="reverse_sequence: a length is negative or larger than the number of steps",
    )


reverse_sequence.samples = [
    sample(tensor((4, 3)), values([1, 4, 2], "int64")),
    sample(tensor((3, 4, 2), "float16"), values([0, 4, 2], "int64"), batch_axis=0, time_axis=1),
    sample(tensor((4, 0)), values([], "int64")),
    sample(tensor((4, 2, 3), "bool"), values([3, 1], "int64")),
]


@operator(traits=("movement",))
def trilu(x: Array, *, diagonal: Extent = 0, upper: bool = True) -> Array:
    """The upper (or lower) triangle of the last two axes, 0 elsewhere (ONNX Trilu-14).

    ``diagonal`` 0 is the main one; positive ones are above it.
    """
    rows, columns = np.arange(x.shape[-2]).reshape(-1, 1), np.arange(x.shape[-1])
    kept = columns - rows >= diagonal if upper else columns - rows <= diagonal
    return np.where(kept, x, np.zeros((), x.dtype))


@trilu.infer
def _(x: TensorType, *, diagonal: Extent, upper: bool) -> TensorType:
    if x.rank < 2:
        raise ModelError(f"trilu takes matrices, not {x}")
    return x


def _triangle_row(item, x, out, diagonal, upper):  # type: ignore[no-untyped-def]
    columns = x.shape[2]
    batch, row = item // x.shape[1], item % x.shape[1]
    nothing = x.dtype.type(0)
    edge = row + diagonal if upper else row + diagonal + 1
    edge = max(0, min(edge, columns))
    if upper:
        for j in range(edge):
            out[batch, row, j] = nothing
        for j in range(edge, columns):
            out[batch, row, j] = x[batch, row, j]
    else:
        for j in range(edge):
            out[batch, row, j] = x[batch, row, j]
        for j in range(edge, columns):
            out[batch, row, j] = nothing


@trilu.kernel
def _(x: Operand, out: Operand, *, diagonal: Extent, upper: bool) -> Call:
    seen = (product(x.shape[:-2]), x.shape[-2], x.shape[-1])
    return Call(
        _triangle_row,
        (x.view(*seen), out.view(*seen)),
        items=seen[0] * seen[1],
        scalars=(diagonal, int(upper)),
        chunk=seen[2],
    )


trilu.samples = [
    *(
        sample(tensor((2, 4, 5)), diagonal=diagonal, upper=upper)
        for diagonal in (-9, -1, 0, 2, 9)
        for upper in (False, True)
    ),
    sample(tensor((3, 3), "float16")),
    sample(tensor((3, 3), "bool"), upper=False),
    sample(tensor((2, 0, 3), "int64")),
]
