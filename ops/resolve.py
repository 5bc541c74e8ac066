"""Shape operands that only a run knows, made into extents: what Reshape and Slice mean by them.

A reader measures the results, and gives the extents to ``reshape`` and ``slice``.
"""

from __future__ import annotations

import math

import numpy as np

from ..ir import Array, Call, Extent, ModelError, Operand, TensorType
from .create import extents_calls
from .define import numbers, operator
from .samples import sample, values

# Products of extents beyond this are refused before they could wrap around.
_MOST = 2**62


@operator
def resolve_reshape(
    shape: Array, *, input_shape: tuple[Extent, ...], allow_zero: bool = False
) -> Array:
    """The extents that Reshape's operand means for a tensor of ``input_shape``, int64.

    0 copies an extent (unless ``allow_zero``), one -1 is what is left over (ONNX Reshape-14).
    An operand that does not fit the tensor is an error.
    """
    result = shape.astype(np.int64)
    given = numbers(input_shape)
    size = math.prod(given)
    known, unknown = 1, -1
    for k, extent in enumerate(shape.tolist()):
        if extent == 0 and not allow_zero:
            if k >= len(input_shape):
                raise ModelError(f"reshape copies extent {k} of the shape {input_shape}")
            extent = given[k]
        elif extent == -1 and unknown < 0:
            unknown, extent = k, 1
        if extent < 0:
            raise ModelError(f"reshape to {shape.tolist()}")
        result[k] = extent
        known *= extent
    if unknown >= 0:
        result[unknown] = size // max(known, 1)
        known = known * (size // known) if known else -1
    if known != size:
        raise ModelError(f"reshape: the shape {input_shape} does not fit {shape.tolist()}")
    return result


@resolve_reshape.infer
def _(shape: TensorType, *, input_shape: tuple[Extent, ...], allow_zero: bool) -> TensorType:
    if shape.dtype != "int64" or shape.rank != 1:
        raise ModelError(f"resolve_reshape: the shape is {shape}")
    return shape


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _resolve_shape(item, shape, extents, out, rank, allow_zero):  # type: ignore[no-untyped-def]
    size = 1
    for k in range(rank):
        size = size * extents[k]
    known = 1
    unknown = -1
    for k in range(shape.shape[0]):
        extent = shape[k]
        if extent == 0 and not allow_zero:
            if k >= rank:
                return 1
            extent = extents[k]
        elif extent == -1 and unknown < 0:
            unknown = k
            extent = shape[k] + 2
        if extent < 0:
            return 2
        if extent > 0 and known > _MOST // extent:
            return 3
        out[k] = extent
        known = known * extent
    if unknown >= 0:
        if known == 0:
            return 4
        out[unknown] = size // known
        known = known * (size // known)
    return 0 if known == size else 5


@resolve_reshape.kernel
def _(
    shape: Operand, out: Operand, *, input_shape: tuple[Extent, ...], allow_zero: bool
) -> list[Call]:
    calls, held = extents_calls(input_shape)
    call = Call(
        _resolve_shape,
        (shape.flat(), held, out.flat()),
        scalars=(len(input_shape), int(allow_zero)),
        error=f"reshape: the shape operand does not fit a tensor of the shape {input_shape}",
    )
    return [*calls, call]


resolve_reshape.samples = [
    sample(values([6, 4], "int64"), input_shape=(2, 3, 4)),
    sample(values([0, -1], "int64"), input_shape=(2, 3, 4)),
    sample(values([-1, 2, 2], "int64"), input_shape=(2, 6)),
    sample(values([], "int64"), input_shape=(1, 1)),
    sample(values([1, -1], "int64"), input_shape=()),
    sample(values([0, 0, 5], "int64"), input_shape=(0, 2, 5)),
    sample(values([3, 0], "int64"), input_shape=(2, 0), allow_zero=True),
    sample(values([-1, 5], "int64"), input_shape=(2, 0)),
]


# --- slices ------------------------------------------------------------------------------


@operator
def resolve_slice(
    starts: Array, ends: Array, steps: Array | None = None, *, extents: tuple[Extent, ...]
) -> Array:
    """Start, size and step of a slice of axes with the given extents: int64 of shape [3, axes].

    As ONNX Slice-13 reads its operands: negative positions count from the end, and what is
    beyond an end is moved there. A start is inside its axis (0 where the size is 0); a size of
    at most 1 comes with the step 1. The step 0 is an error.
    """
    rows = []
    strides = [1] * len(extents) if steps is None else steps.tolist()
    for extent, start, end, step in zip(
        numbers(extents), starts.tolist(), ends.tolist(), strides, strict=True
    ):
        if step == 0:
            raise ModelError("slice: the step is 0")
        least, most = (0, extent) if step > 0 else (-1, extent - 1)
        first = min(max(start + extent if start < 0 else start, 0), most)
        last = min(max(end + extent if end < 0 else end, least), most)
        size = len(range(first, last, step))
        rows.append((first if size else 0, size, step if size > 1 else 1))
    return np.array(rows, np.int64).reshape(len(extents), 3).T.copy()


@resolve_slice.infer
def _(
    starts: TensorType,
    ends: TensorType,
    steps: TensorType | None = None,
    *,
    extents: tuple[Extent, ...],
) -> TensorType:
    wanted = TensorType("int64", (len(extents),))
    if starts != wanted or ends != wanted or steps not in (None, wanted):
        raise ModelError(f"resolve_slice of {len(extents)} axes: {starts}, {ends}, {steps}")
    return TensorType("int64", (3, len(extents)))


def _resolve_interval(item, starts, ends, steps, extents, out):  # type: ignore[no-untyped-def]
    extent, start, end, step = extents[item], starts[item], ends[item], steps[item]
    if step == 0:
        return 1
    # Far longer than any axis, and safe to negate.
    step = min(max(step, -_MOST), _MOST)
    start = start + extent if start < 0 else start
    end = end + extent if end < 0 else end
    if step > 0:
        start = min(max(start, 0), extent)
        end = min(max(end, 0), extent)
        span, stride = end - start, step
    else:
        start = min(max(start, 0), extent - 1)
        end = min(max(end, -1), extent - 1)
        span, stride = start - end, -step
    size = (span - 1) // stride + 1 if span > 0 else 0
    out[0, item] = start if size > 0 else 0
    out[1, item] = size
    out[2, item] = step if size > 1 else 1
    return 0


@resolve_slice.kernel
def _(
    starts: Operand,
    ends: Operand,
    steps: Operand | None,
    out: Operand,
    *,
    extents: tuple[Extent, ...],
) -> list[Call]:
    calls, held = extents_calls(extents)
    if steps is None:
        more, strides = extents_calls((1,) * len(extents), "steps")
        calls += more
    else:
        strides = steps.flat()
    call = Call(
        _resolve_interval,
        (starts.flat(), ends.flat(), strides, held, out.whole()),
        items=len(extents),
        error="slice: the step is 0",
    )
    return [*calls, call]


_LEAST, _GREATEST = -(2**63), 2**63 - 1
_cases = [
    (start, end, step)
    for start in (_LEAST, -6, -5, -2, 0, 2, 4, 5, 9, _GREATEST)
    for end in (_LEAST, -6, -5, -1, 0, 3, 5, 9, _GREATEST)
    for step in (_LEAST, -2, -1, 1, 2, _GREATEST)
]
resolve_slice.samples = [
    *(
        sample(
            *(values([case[k] for case in _cases], "int64") for k in range(3)),
            extents=(extent,) * len(_cases),
        )
        for extent in (0, 1, 5)
    ),
    sample(values([1, -3], "int64"), values([9, -1], "int64"), extents=(4, 7)),
    sample(values([], "int64"), values([], "int64"), extents=()),
]
