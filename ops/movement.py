"""Moving elements by a rule that the shapes fix: transpose, expand, tile, concat, slice, blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import Array, Call, Extent, ModelError, Operand, TensorType, broadcast, dim, unify
from ..ir.dim import product
from .define import operator, same_type
from .samples import sample, tensor, values
from .strided_copy import row_major_strides, strided_copy

# --- transpose ---------------------------------------------------------------------------


@operator(traits=("movement", "shape"))
def transpose(x: Array, *, permutation: tuple[int, ...]) -> Array:
    """``x`` with axis ``k`` of the result being axis ``permutation[k]`` (ONNX Transpose)."""
    return np.ascontiguousarray(np.transpose(x, permutation)).reshape(
        [x.shape[axis] for axis in permutation]
    )


@transpose.infer
def _(x: TensorType, *, permutation: tuple[int, ...]) -> TensorType:
    if sorted(permutation) != list(range(x.rank)):
        raise ModelError(f"transpose: {permutation} does not order the axes of {x}")
    return x.with_shape([x.shape[axis] for axis in permutation])


@transpose.kernel
def _(x: Operand, out: Operand, *, permutation: tuple[int, ...]) -> Call:
    strides = row_major_strides(x.shape)
    return strided_copy(
        x.flat(),
        out.flat(),
        out.shape,
        [strides[axis] for axis in permutation],
        row_major_strides(out.shape),
    )


transpose.samples = [
    sample(tensor((2, 3, 4)), permutation=(2, 0, 1)),
    sample(tensor((5, 7), "float16"), permutation=(1, 0)),
    sample(tensor((40, 37)), permutation=(1, 0)),
    sample(tensor((2, 35, 3, 33), "bfloat16"), permutation=(0, 2, 1, 3)),
    sample(tensor((2, 3, 9, 8)), permutation=(0, 2, 3, 1)),
    sample(tensor((2, 3, 2, 3, 2), "int8", -9, 9), permutation=(4, 2, 0, 3, 1)),
    sample(tensor((1, 3, 1), "float64"), permutation=(2, 1, 0)),
    sample(tensor((0, 3)), permutation=(1, 0)),
    sample(tensor((), "bool"), permutation=()),
]


# --- expand and tile ---------------------------------------------------------------------


@operator(traits=("movement", "shape"))
def expand(x: Array, *, shape: tuple[Extent, ...]) -> Array:
    """``x`` broadcast to ``shape`` (ONNX Expand-13 with the final shape)."""
    return np.array(np.broadcast_to(x, shape))


@expand.infer
def _(x: TensorType, *, shape: tuple[Extent, ...]) -> TensorType:
    result = x.with_shape(shape)
    if x.rank > result.rank:
        raise ModelError(f"expand: {x} has more dimensions than {shape}")
    found = broadcast(x.shape, result.shape, what="expand")
    for mine, wanted in zip(found, result.shape, strict=True):
        unify(mine, wanted, f"expand of {x} to {shape}")
    return result


@expand.kernel
def _(x: Operand, out: Operand, *, shape: tuple[Extent, ...]) -> Call:
    missing = out.rank - x.rank
    strides: list[Extent] = [0] * missing
    for extent, stride in zip(x.shape, row_major_strides(x.shape), strict=True):
        strides.append(0 if extent == 1 else stride)
    return strided_copy(x.flat(), out.flat(), out.shape, strides, row_major_strides(out.shape))


expand.samples = [
    sample(tensor((3, 1)), shape=(2, 3, 4)),
    sample(tensor((), "float16"), shape=(5,)),
    sample(tensor((), "bool"), shape=()),
    sample(tensor((4,), "int64", -9, 9), shape=(3, 4)),
    sample(tensor((2, 1, 3), "bfloat16"), shape=(2, 5, 3)),
    sample(tensor((1, 3)), shape=(0, 3)),
    sample(tensor((2, 3)), shape=(2, 3)),
]


@operator(traits=("movement", "shape"))
def tile(x: Array, *, repeats: tuple[Extent, ...]) -> Array:
    """``x`` repeated ``repeats[k]`` times along each axis ``k`` (ONNX Tile-13)."""
    return np.tile(x, repeats).reshape([e * r for e, r in zip(x.shape, repeats, strict=True)])


@tile.infer
def _(x: TensorType, *, repeats: tuple[Extent, ...]) -> TensorType:
    if len(repeats) != x.rank or any(isinstance(r, int) and r < 0 for r in repeats):
        raise ModelError(f"tile: the repeats {repeats} do not fit {x}")
    return x.with_shape([e * r for e, r in zip(x.shape, repeats, strict=True)])


@tile.kernel
def _(x: Operand, out: Operand, *, repeats: tuple[Extent, ...]) -> Call:
    extents: list[Extent] = []
    sources: list[Extent] = []
    targets: list[Extent] = []
    inner = zip(row_major_strides(x.shape), row_major_strides(out.shape), strict=True)
    for extent, repeat, (source, target) in zip(x.shape, repeats, inner, strict=True):
        extents += [repeat, extent]
        sources += [0, source]
        targets += [extent * target, target]
    return strided_copy(x.flat(), out.flat(), extents, sources, targets)


tile.samples = [
    sample(tensor((2, 3)), repeats=(2, 2)),
    sample(tensor((2, 3, 4), "float16"), repeats=(1, 3, 1)),
    sample(tensor((2, 1, 3, 2), "int8"), repeats=(2, 3, 1, 2)),
    sample(tensor((), "bool"), repeats=()),
    sample(tensor((2, 3)), repeats=(0, 2)),
    sample(tensor((0, 3)), repeats=(2, 2)),
]


# --- concat ------------------------------------------------------------------------------


@operator(traits=("movement", "shape"))
def concat(*xs: Array, axis: int) -> Array:
    """The operands one after the other along ``axis`` (ONNX Concat-13)."""
    return np.concatenate(xs, axis)


@concat.infer
def _(*xs: TensorType, axis: int) -> TensorType:
    if not xs:
        raise ModelError("concat has no operands")
    dtype = same_type("concat", *xs)
    axis = xs[0].axis(axis)
    if xs[0].rank == 0 or any(x.rank != xs[0].rank for x in xs):
        raise ModelError(f"concat: the ranks of {', '.join(map(str, xs))} do not fit")
    shape = list(xs[0].shape)
    for x in xs[1:]:
        for place, extent in enumerate(x.shape):
            if place == axis:
                shape[place] = shape[place] + extent
            else:
                shape[place] = unify(shape[place], extent, f"concat along axis {axis}")
    return TensorType(dtype, tuple(shape))


@concat.kernel
def _(xs: tuple[Operand, ...], out: Operand, *, axis: int) -> list[Call]:
    axis = out.type.axis(axis)
    outer, inner = product(out.shape[:axis]), product(out.shape[axis + 1 :])
    row = out.shape[axis] * inner
    calls = []
    place: Extent = 0
    for x in xs:
        width = x.shape[axis] * inner
        calls.append(
            strided_copy(
                x.flat(), out.flat(), (outer, width), (width, 1), (row, 1), target_offset=place
            )
        )
        place = place + width
    return calls


concat.samples = [
    sample(tensor((2, 3)), tensor((2, 1)), axis=1),
    sample(tensor((2, 3)), tensor((1, 3)), tensor((2, 3)), axis=0),
    sample(tensor((2, 3, 4), "float16"), tensor((2, 5, 4), "float16"), axis=-2),
    sample(tensor((2, 3), "int64"), axis=0),
    sample(tensor((2, 0)), tensor((2, 3)), axis=1),
    sample(tensor((0, 2)), tensor((0, 3)), axis=1),
    sample(tensor((3,), "bool"), tensor((4,), "bool"), axis=0),
]


# --- slice -------------------------------------------------------------------------------


@operator(name="slice", traits=("movement", "shape"))
def slice_(
    x: Array,
    *,
    starts: tuple[Extent, ...],
    sizes: tuple[Extent, ...],
    steps: tuple[Extent, ...],
) -> Array:
    """``sizes[k]`` elements along each axis from ``starts[k]`` on, ``steps[k]`` apart.

    A step may be negative. All elements must be inside ``x`` (ONNX Slice, normalised).
    """
    places = []
    for extent, start, size, step in zip(x.shape, starts, sizes, steps, strict=True):
        _check_interval(extent, start, size, step)
        place = start + step * np.arange(size, dtype=np.int64)
        places.append(place)
    return x[np.ix_(*places)] if places else x.copy()


def _check_interval(extent: Extent, start: Extent, size: Extent, step: Extent) -> bool:
    """Raise ModelError for elements that are outside; True when they are known to be inside."""
    if isinstance(size, int) and size < 0 or isinstance(step, int) and step == 0:
        raise ModelError(f"slice: size {size} and step {step} are not possible")
    if isinstance(size, int) and size == 0:
        return True
    low, _ = dim.bounds(start)
    _, negative = dim.bounds(step)
    last = start + (size - 1) * step
    ends = (start, last) if not (negative is not None and negative < 0) else (last, start)
    least, _ = dim.bounds(ends[0])
    room, most = dim.bounds(extent - 1 - ends[1])
    _, highest = dim.bounds(ends[0])
    smallest, _ = dim.bounds(size)
    certainly = smallest is not None and smallest > 0
    if certainly and ((highest is not None and highest < 0) or (most is not None and most < 0)):
        raise ModelError(f"slice: {size} elements from {start} by {step} are not in {extent}")
    signed = isinstance(step, int) or (dim.bounds(step)[0] or 0) > 0
    return signed and least is not None and least >= 0 and room is not None and room >= 0


@slice_.infer
def _(
    x: TensorType,
    *,
    starts: tuple[Extent, ...],
    sizes: tuple[Extent, ...],
    steps: tuple[Extent, ...],
) -> TensorType:
    if not len(starts) == len(sizes) == len(steps) == x.rank:
        raise ModelError(f"slice: {starts}, {sizes} and {steps} do not fit {x}")
    for extent, start, size, step in zip(x.shape, starts, sizes, steps, strict=True):
        _check_interval(extent, start, size, step)
    return x.with_shape(sizes)


def _inside(item, extent, start, size, step):  # type: ignore[no-untyped-def]
    last = start + (size - 1) * step
    return 1 if size > 0 and (start < 0 or start >= extent or last < 0 or last >= extent) else 0


@slice_.kernel
def _(
    x: Operand,
    out: Operand,
    *,
    starts: tuple[Extent, ...],
    sizes: tuple[Extent, ...],
    steps: tuple[Extent, ...],
) -> list[Call]:
    calls: list[Call] = []
    offset: Extent = 0
    strides: list[Extent] = []
    for axis, stride in enumerate(row_major_strides(x.shape)):
        interval = (x.shape[axis], starts[axis], sizes[axis], steps[axis])
        if not _check_interval(*interval):
            message = f"slice: elements of axis {axis} are outside {x.type}"
            calls.append(Call(_inside, (), scalars=interval, error=message))
        offset = offset + starts[axis] * stride
        strides.append(steps[axis] * stride)
    copy = strided_copy(
        x.flat(), out.flat(), out.shape, strides, row_major_strides(out.shape), offset
    )
    return [*calls, copy]


slice_.samples = [
    sample(tensor((5, 6)), starts=(1, 0), sizes=(2, 6), steps=(2, 1)),
    sample(tensor((5, 6), "float16"), starts=(4, 5), sizes=(5, 3), steps=(-1, -2)),
    sample(tensor((2, 5, 3), "int64"), starts=(0, 4, 1), sizes=(2, 1, 2), steps=(1, 1, 1)),
    sample(tensor((5, 6)), starts=(0, 0), sizes=(0, 3), steps=(1, 1)),
    sample(tensor((), "bool"), starts=(), sizes=(), steps=()),
    sample(tensor((0, 2)), starts=(0, 0), sizes=(0, 2), steps=(1, 1)),
]


# --- blocks of space and depth -----------------------------------------------------------


def _blocks(what: str, block_size: int, mode: str, x: TensorType) -> None:
    if x.rank != 4 or block_size < 1 or mode not in ("DCR", "CRD"):
        raise ModelError(f"{what}: {x} with block_size {block_size} and mode {mode!r}")


def _divided(extent: Extent, divisor: int, what: str) -> Extent:
    """``extent / divisor``, which must come out even."""
    quotient = dim.floor_divide(extent, divisor)
    unify(quotient * divisor, extent, f"{what}: a multiple of {divisor} is needed")
    return quotient


def _permuted(
    x: Operand, out: Operand, seen: Sequence[Extent], permutation: Sequence[int]
) -> Call:
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
def reverse_sequence(
    x: Array, lengths: Array, *, batch_axis: int = 1, time_axis: int = 0
) -> Array:
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
