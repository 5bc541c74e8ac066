"""Moving elements by a rule that the shapes fix: transpose, expand, tile, concat, slice."""

from __future__ import annotations

import numpy as np

from ..ir import Array, Call, Extent, ModelError, Operand, TensorType, broadcast, dim, unify
from ..ir.dim import product
from .define import numbers, operator, same_type
from .samples import sample, tensor
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
    return np.array(np.broadcast_to(x, numbers(shape)))


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
    return np.tile(x, numbers(repeats))


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
        first, count, stride = numbers((start, size, step))
        places.append(first + stride * np.arange(count, dtype=np.int64))
    return x[np.ix_(*places)] if places else x.copy()


def _check_interval(extent: Extent, start: Extent, size: Extent, step: Extent) -> bool:
    """Raise ModelError for elements that are outside; True when they are known to be inside."""
    if (isinstance(size, int) and size < 0) or (isinstance(step, int) and step == 0):
        raise ModelError(f"slice: size {size} and step {step} are not possible")
    if isinstance(size, int) and size == 0:
        return True
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
    """1 where an element is outside; nothing is multiplied, for that could wrap around."""
    if size <= 0:
        return 0
    if start < 0 or start >= extent or step == 0:
        return 1
    if size == 1:
        return 0
    if step <= -extent or step >= extent:
        return 1
    room = (extent - 1 - start) // step if step > 0 else start // -step
    return 1 if size - 1 > room else 0


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
