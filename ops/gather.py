"""Picking elements by index.

Negative indices count from the end; an index outside its axis is an error, in a kernel as in a
reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir import Array, Call, Cost, Extent, ModelError, Operand, TensorType, UnsupportedError, unify
from ..ir.dim import ceil_divide, product
from .create import extents_calls
from .define import operator
from .samples import sample, tensor, values
from .strided_copy import row_major_strides

_ITEM_ELEMENTS = 4096  # elements that one work item moves at least
_OTHER_AXES = 8  # beside the one along which the indices of gather_elements count


def check_indices(what: str, indices: TensorType) -> None:
    """Raise ModelError unless the indices are int32 or int64."""
    if indices.dtype not in ("int32", "int64"):
        raise ModelError(f"{what}: the indices are {indices.dtype}, neither int32 nor int64")


def wrapped(what: str, indices: Array, extent: int) -> Array:
    """Indices counted from the front; raises ModelError for one outside the axis."""
    places = np.asarray(indices).astype(np.int64)
    if np.any((places < -extent) | (places >= extent)):
        raise ModelError(f"{what}: an index is outside an axis of {extent} elements")
    return np.where(places < 0, places + extent, places)


def index_bounds(dtype: str) -> tuple[int, int]:
    """The largest index and what to subtract from larger ones.

    Operators that move elements see all operands as unsigned: an int32 -1 is 2**32 - 1.
    """
    return (2**31 - 1, 2**32) if dtype == "int32" else (2**63 - 1, 0)


def place_of(index: Any, extent: Any, limit: Any, modulus: Any) -> Any:
    """The index counted from the front; below 0 where it is outside the axis."""
    place = np.int64(index)
    place = place - modulus if place > limit else place
    place = place + extent if place < 0 else place
    return -1 if place >= extent else place


def rows_each(row: Extent) -> Extent:
    """How many rows of so many elements one work item should move."""
    return max(1, _ITEM_ELEMENTS // max(row, 1)) if isinstance(row, int) else 1


# --- gather ------------------------------------------------------------------------------


@operator(traits=("movement", "shape"))
def gather(x: Array, indices: Array, *, axis: int = 0) -> Array:
    """The slices of ``x`` at ``indices`` of ``axis``, in place of that axis (ONNX Gather-13)."""
    return np.asarray(np.take(x, wrapped("gather", indices, x.shape[axis]), axis))


@gather.infer
def _(x: TensorType, indices: TensorType, *, axis: int) -> TensorType:
    check_indices("gather", indices)
    if x.rank == 0:
        raise ModelError(f"gather has no axis to pick along in {x}")
    axis = x.axis(axis)
    return x.with_shape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@gather.cost
def _(x: TensorType, indices: TensorType, *, axis: int) -> Cost:
    picked = gather.infer_types([x, indices], {"axis": axis})[0]
    return Cost(0, indices.nbytes + 2 * picked.nbytes)  # not the whole table


def _gather_rows(  # type: ignore[no-untyped-def]
    item, x, indices, out, each, total, limit, modulus
):  # fmt: skip
    count = indices.shape[0]
    first = item * each
    outer = first // count
    number = first % count
    for row in range(first, min(first + each, total)):
        place = place_of(indices[number], x.shape[1], limit, modulus)
        if place < 0:
            return 1 + row
        for k in range(x.shape[2]):
            out[row, k] = x[outer, place, k]
        # Counted, not divided: rows may be as short as one element.
        number += 1
        if number == count:
            number = 0
            outer += 1
    return 0


def _gather_numbers(  # type: ignore[no-untyped-def]
    item, x, indices, out, each, total, limit, modulus
):  # fmt: skip
    """As `_gather_rows` where a row is one element."""
    count = indices.shape[0]
    row = item * each
    outer = row // count
    number = row % count
    last = min(row + each, total)
    while row < last:
        some = min(count - number, last - row)
        for k in range(some):
            place = place_of(indices[number + k], x.shape[1], limit, modulus)
            if place < 0:
                return 1 + row + k
            out[row + k, 0] = x[outer, place, 0]
        row += some
        number = 0
        outer += 1
    return 0


@gather.kernel
def _(x: Operand, indices: Operand, out: Operand, *, axis: int) -> Call:
    seen = x.split(axis)
    outer, extent, inner = seen.shape
    rows = outer * indices.size
    each = rows_each(inner)
    return Call(
        _gather_numbers if inner == 1 else _gather_rows,
        (seen, indices.flat(), out.view(rows, inner)),
        items=ceil_divide(rows, each),
        scalars=(each, rows, *index_bounds(indices.dtype)),
        chunk=each * inner,
        error=f"gather: an index is outside the {extent} elements of axis {axis}",
    )


gather.samples = [
    sample(tensor((5, 3)), values([[0, 4], [-1, -5]], "int64"), axis=0),
    sample(tensor((5, 3)), values([2, -1, 0], "int32"), axis=1),
    sample(tensor((2, 5, 3), "float16"), values(1, "int64"), axis=-2),
    sample(tensor((5,), "bool"), values([-5, 4], "int32"), axis=0),
    sample(tensor((5, 3), "bfloat16"), values([], "int64"), axis=0),
    sample(tensor((5, 0)), values([1, 2], "int64"), axis=0),
    sample(tensor((4,), "int64", -9, 9), values([3, 3], "int64")),
    sample(tensor((300, 40)), tensor((200,), "int64", -300, 299)),
    sample(tensor((70, 34)), tensor((3, 32), "int64", -34, 33), axis=1),
    sample(tensor((9, 50, 3)), tensor((41,), "int32", -50, 49), axis=1),
    sample(tensor((4,), "int8", -9, 9), values(2, "int64")),
]


# --- gather_elements ---------------------------------------------------------------------


def check_elements(what: str, x: TensorType, indices: TensorType, axis: int) -> int:
    """The axis from the front; raises ModelError when shapes cannot fit."""
    check_indices(what, indices)
    if x.rank != indices.rank or x.rank == 0:
        raise ModelError(f"{what}: the ranks of {x} and {indices} do not fit")
    axis = x.axis(axis)
    for place, (mine, theirs) in enumerate(zip(x.shape, indices.shape, strict=True)):
        if place != axis and isinstance(mine, int) and isinstance(theirs, int) and theirs > mine:
            raise ModelError(f"{what}: {indices} is larger than {x} beside axis {axis}")
    return axis


def lines(what: str, x: Operand, indices: Operand, axis: int) -> tuple[Extent, tuple[Extent, ...]]:
    """How lines along ``axis`` are found: the number of work items, and scalars.

    The other axes are numbered: seven that items run over, and one that is walked inside an item
    (the last, where ``axis`` is not the last itself). The scalars are, for each of the eight, its
    extent in the indices and in the tensor that is indexed, its stride in that tensor and in the
    indices; then both strides along the axis.
    """
    mine, theirs = row_major_strides(x.shape), row_major_strides(indices.shape)
    rest: list[int | None] = [k for k in range(x.rank) if k != axis]
    if axis == x.rank - 1:
        rest.append(None)
    missing = _OTHER_AXES - len(rest)
    if missing < 0:
        raise UnsupportedError(f"{what} of {x.rank} dimensions ({_OTHER_AXES} at most)")
    rest[:0] = [None] * missing
    scalars: list[Extent] = []
    for table, filler in ((indices.shape, 1), (x.shape, 1), (mine, 0), (theirs, 0)):
        scalars += [filler if k is None else table[k] for k in rest]
    return product(scalars[: _OTHER_AXES - 1]), (*scalars, mine[axis], theirs[axis])


@operator(traits=("movement",))
def gather_elements(x: Array, indices: Array, *, axis: int = 0) -> Array:
    """``out[i, j, k] = x[i, indices[i, j, k], k]`` along ``axis`` 1 (ONNX GatherElements-13)."""
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = wrapped("gather_elements", indices, x.shape[axis])
    return x[tuple(places)]


@gather_elements.infer
def _(x: TensorType, indices: TensorType, *, axis: int) -> TensorType:
    check_elements("gather_elements", x, indices, axis)
    return x.with_shape(indices.shape)


def _gather_line(  # type: ignore[no-untyped-def]
    item, x, indices, out, extent, count, limit, modulus,
    n0, n1, n2, n3, n4, n5, n6, n7,
    e0, e1, e2, e3, e4, e5, e6, e7,
    s0, s1, s2, s3, s4, s5, s6, s7,
    t0, t1, t2, t3, t4, t5, t6, t7,
    step, index_step,
):  # fmt: skip
    rest = item
    i6 = rest % n6
    rest = rest // n6
    i5 = rest % n5
    rest = rest // n5
    i4 = rest % n4
    rest = rest // n4
    i3 = rest % n3
    rest = rest // n3
    i2 = rest % n2
    rest = rest // n2
    i1 = rest % n1
    i0 = rest // n1
    if i0 >= e0 or i1 >= e1 or i2 >= e2 or i3 >= e3 or i4 >= e4 or i5 >= e5 or i6 >= e6 or n7 > e7:
        return 1
    first = i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3 + i4 * s4 + i5 * s5 + i6 * s6
    into = i0 * t0 + i1 * t1 + i2 * t2 + i3 * t3 + i4 * t4 + i5 * t5 + i6 * t6
    for j in range(count):
        for k in range(n7):
            at = into + j * index_step + k * t7
            place = place_of(indices[at], extent, limit, modulus)
            if place < 0:
                return 1
            out[at] = x[first + place * step + k * s7]
    return 0


@gather_elements.kernel
def _(x: Operand, indices: Operand, out: Operand, *, axis: int) -> Call:
    axis = x.type.axis(axis)
    items, located = lines("gather_elements", x, indices, axis)
    bounds = index_bounds(indices.dtype)
    return Call(
        _gather_line,
        (x.flat(), indices.flat(), out.flat()),
        items=items,
        scalars=(x.shape[axis], indices.shape[axis], *bounds, *located),
        error=f"gather_elements: an index is outside the {x.shape[axis]} elements of axis {axis}",
    )


gather_elements.samples = [
    sample(tensor((3, 4)), tensor((3, 4), "int64", -4, 3), axis=1),
    sample(tensor((3, 4)), tensor((5, 4), "int32", -3, 2), axis=0),
    sample(tensor((3, 4, 5), "float16"), tensor((2, 6, 3), "int64", -4, 3), axis=1),
    sample(tensor((3, 4, 2, 5), "bool"), tensor((3, 4, 2, 3), "int64", -5, 4), axis=-1),
    sample(tensor((6,), "bfloat16"), tensor((4,), "int64", -6, 5), axis=0),
    sample(tensor((3, 4)), tensor((0, 4), "int64"), axis=0),
    sample(tensor((3, 4)), tensor((3, 0), "int64"), axis=1),
]


# --- gather_nd ---------------------------------------------------------------------------


def check_tuples(
    what: str, x: TensorType, indices: TensorType, batch_dims: int
) -> tuple[int, tuple[Extent, ...]]:
    """Length of the index tuples and the shape of the slices; raises ModelError."""
    check_indices(what, indices)
    if not 0 <= batch_dims < max(min(x.rank, indices.rank), 1) or indices.rank == 0:
        raise ModelError(f"{what}: {batch_dims} batch axes of {x} and {indices}")
    depth = indices.shape[-1]
    if not isinstance(depth, int) or batch_dims + depth > x.rank:
        raise ModelError(f"{what}: index tuples of {depth} elements do not fit {x}")
    for mine, theirs in zip(x.shape[:batch_dims], indices.shape[:batch_dims], strict=True):
        unify(mine, theirs, f"{what}: the batch axes")
    return depth, x.shape[batch_dims + depth :]


def rows_of(what: str, extents: Sequence[int], indices: Array) -> Array:
    """Row numbers of index tuples, in a tensor with these leading extents."""
    rows = np.zeros(indices.shape[:-1], np.int64)
    for k, extent in enumerate(extents):
        rows = rows * extent + wrapped(what, indices[..., k], extent)
    return rows


@operator(traits=("movement",))
def gather_nd(x: Array, indices: Array, *, batch_dims: int = 0) -> Array:
    """The slices of ``x`` at the tuples in the last axis of ``indices`` (ONNX GatherND-13).

    The first ``batch_dims`` axes of both belong together.
    """
    b, depth = batch_dims, indices.shape[-1]
    extents, inner = x.shape[b : b + depth], x.shape[b + depth :]
    batch = int(np.prod(x.shape[:b], dtype=np.int64))
    rows = x.reshape(batch, int(np.prod(extents, dtype=np.int64)), *inner)
    tuples = indices.reshape(batch, *indices.shape[b:])
    picked = [rows[k][rows_of("gather_nd", extents, tuples[k])] for k in range(batch)]
    shape = (*indices.shape[:-1], *inner)
    return np.array(picked, x.dtype).reshape(shape) if picked else np.empty(shape, x.dtype)


@gather_nd.infer
def _(x: TensorType, indices: TensorType, *, batch_dims: int) -> TensorType:
    _, inner = check_tuples("gather_nd", x, indices, batch_dims)
    return x.with_shape((*indices.shape[:-1], *inner))


def row_of(indices: Any, extents: Any, first: Any, depth: Any, limit: Any, modulus: Any) -> Any:
    """The row that the index tuple at ``first`` names; below 0 where it is outside."""
    row = np.int64(0)
    bad = 0
    for k in range(depth):
        extent = np.int64(extents[k])
        place = place_of(indices[first + k], extent, limit, modulus)
        bad = bad + 1 if place < 0 else bad
        row = row * extent + place
    return -1 if bad > 0 else row


def _gather_slices(  # type: ignore[no-untyped-def]
    item, x, indices, extents, out, each, total, count, depth, limit, modulus
):  # fmt: skip
    for slot in range(item * each, min(item * each + each, total)):
        row = row_of(indices, extents, slot * depth, depth, limit, modulus)
        if row < 0:
            return 1 + slot
        batch = slot // count
        for k in range(x.shape[2]):
            out[slot, k] = x[batch, row, k]
    return 0


@gather_nd.kernel
def _(x: Operand, indices: Operand, out: Operand, *, batch_dims: int) -> list[Call]:
    depth = indices.shape[-1]
    b = batch_dims
    if not isinstance(depth, int):
        raise ModelError("gather_nd: the length of index tuples must be known")
    extents, inner = x.shape[b : b + depth], product(x.shape[b + depth :])
    slots, count = product(indices.shape[:-1]), product(indices.shape[b:-1])
    calls, held = extents_calls(extents)
    each = rows_each(inner)
    call = Call(
        _gather_slices,
        (
            x.view(product(x.shape[:b]), product(extents), inner),
            indices.flat(),
            held,
            out.view(slots, inner),
        ),
        items=ceil_divide(slots, each),
        scalars=(each, slots, count, depth, *index_bounds(indices.dtype)),
        chunk=each * inner,
        error="gather_nd: an index is outside its axis",
    )
    return [*calls, call]


gather_nd.samples = [
    sample(tensor((3, 4)), values([[0, 1], [-1, -4]], "int64")),
    sample(tensor((3, 4)), values([[2], [-3]], "int32")),
    sample(tensor((2, 3, 4), "float16"), values([[[0, 1]], [[1, -1]]], "int64")),
    sample(tensor((2, 3, 4), "bool"), values([[1], [-3]], "int64"), batch_dims=1),
    sample(tensor((2, 3, 4)), tensor((2, 3, 5, 1), "int64", -4, 3), batch_dims=2),
    sample(tensor((3, 4)), tensor((0, 2), "int64")),
    sample(tensor((3, 4)), tensor((2, 0), "int64")),
    sample(tensor((5,), "bfloat16"), values([2], "int64")),
]
