"""Functions that move elements, for ``construct``: parts, joints, shapes, padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import Array, Extent, ModelError
from ..ir.data_type import numpy_type
from ..ops.create import one_hot as _one_hot
from ..ops.elementwise_arithmetic import where as _where
from ..ops.elementwise_logic import less as _less
from ..ops.gather import gather as _gather
from ..ops.gather import gather_elements as _gather_elements
from ..ops.gather import gather_nd as _gather_nd
from ..ops.movement import concat as _concat
from ..ops.movement import expand as _expand
from ..ops.movement import slice_
from ..ops.movement import tile as _tile
from ..ops.pad import pad as _pad
from ..ops.rearrange import trilu as _trilu
from .initializers import element_type
from .tensor import Expression, Tensor, apply
from .tracing import current_trace


def gather(table: Expression, indices: Expression, axis: int = 0) -> Tensor:
    """The parts of ``table`` along ``axis`` that whole-number ``indices`` name."""
    return apply(_gather, table, indices, axis=axis)


def concat(tensors: Sequence[Expression], axis: int = 0) -> Tensor:
    """Tensors put one behind the other along ``axis``."""
    if not tensors:
        raise ModelError("concat of no tensors")
    return apply(_concat, *tensors, axis=axis)


def split(x: Expression, sizes: int | Sequence[Extent], axis: int = 0) -> tuple[Tensor, ...]:
    """Parts along ``axis``: of these sizes, or all of one size (the last may be smaller)."""
    place = x.type.axis(axis)
    extent = x.shape[place]
    if isinstance(sizes, int):
        if not isinstance(extent, int) or sizes < 1:
            raise ModelError(f"split: parts of {sizes} along an axis of {extent}")
        parts: list[Extent] = [min(sizes, extent - start) for start in range(0, extent, sizes)]
    else:
        parts = list(sizes)
        if (
            isinstance(extent, int)
            and sum(part for part in parts if isinstance(part, int)) > extent
        ):
            raise ModelError(f"split: parts {parts} of an axis of {extent}")
    found = []
    start: Extent = 0
    for part in parts:
        starts = tuple(start if k == place else 0 for k in range(x.ndim))
        shape = tuple(part if k == place else e for k, e in enumerate(x.shape))
        found.append(apply(slice_, x, starts=starts, sizes=shape, steps=(1,) * x.ndim))
        start = start + part
    return tuple(found)


def chunk(x: Expression, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` parts of one size along ``axis``; the last may be smaller."""
    extent = x.shape[x.type.axis(axis)]
    if not isinstance(extent, int) or chunks < 1:
        raise ModelError(f"chunk: {chunks} parts of an axis of {extent}")
    return split(x, max(-(-extent // chunks), 1), axis)


def stack(tensors: Sequence[Expression], axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    return concat([tensor.expand_dims(axis) for tensor in tensors], axis)


def pad(
    x: Expression,
    paddings: Sequence[int] | Sequence[Sequence[int]],
    mode: str = "constant",
    value: float = 0.0,
) -> Tensor:
    """``x`` with elements put around it.

    ``paddings[k]`` = (before, after) of each axis; or one number after the other, for the last
    axis first, as in MindSpore's ``ops.pad``. ``mode`` is "constant", "reflect", "replicate"
    ("edge") or "circular"; negative numbers take elements away.
    """
    pairs = _pairs(x, paddings)
    before, after = zip(*pairs, strict=True) if pairs else ((), ())
    filler = None if value == 0 else constant_like(x, value)
    names = {"replicate": "edge", "circular": "wrap"}
    return apply(_pad, x, filler, before=before, after=after, mode=names.get(mode, mode))


def _pairs(
    x: Expression, paddings: Sequence[int] | Sequence[Sequence[int]]
) -> list[tuple[int, int]]:
    if all(isinstance(item, int) for item in paddings):
        numbers: list[int] = list(paddings)  # type: ignore[arg-type]
        pairs = list(zip(numbers[::2], numbers[1::2], strict=False))[::-1]
        fits = len(numbers) % 2 == 0 and len(pairs) <= x.ndim
        pairs = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    else:
        pairs = [tuple(item) for item in paddings]  # type: ignore[misc, arg-type]
        fits = len(pairs) == x.ndim and all(len(item) == 2 for item in pairs)
    if not fits:
        raise ModelError(f"pad: {tuple(paddings)} does not fit {x.type}")
    return pairs


def constant_like(x: Expression, value: float) -> Array:
    """A 0-d array of the element type of ``x``."""
    return np.asarray(value, x.type.numpy)


def index_constant(places: Sequence[int]) -> Tensor:
    """Places as :func:`gather` takes them, which are known now."""
    trace = current_trace()
    return Tensor(trace, trace.constant(np.asarray(places, np.int64)))


def flatten(x: Expression, start_dim: int = 1, end_dim: int = -1) -> Tensor:
    """The axes from ``start_dim`` to ``end_dim`` made into one."""
    return x.flatten(start_dim, end_dim)


def reshape(x: Expression, shape: Sequence[Extent]) -> Tensor:
    """The same elements with other extents; one of them may be -1."""
    return x.reshape(tuple(shape))


def transpose(x: Expression, axes: Sequence[int]) -> Tensor:
    """The axes in another order."""
    return x.transpose(tuple(axes))


def expand_dims(x: Expression, axis: int) -> Tensor:
    """An axis of one element put in front of ``axis``; -1 puts it last."""
    return x.expand_dims(axis)


def squeeze(x: Expression, axis: int | Sequence[int] | None = None) -> Tensor:
    """Without these axes of one element; without all of them if ``axis`` is None."""
    return x.squeeze(axis)


def unsqueeze(x: Expression, dim: int) -> Tensor:
    """An axis of one element put in front of ``dim``; -1 puts it last."""
    return x.expand_dims(dim)


def broadcast_to(x: Expression, shape: Sequence[Extent]) -> Tensor:
    """``x`` repeated along axes of one element; -1 keeps an axis as it is."""
    wanted = tuple(shape)
    own = (None,) * (len(wanted) - x.ndim) + x.shape
    extents = [
        old if new == -1 and old is not None else new for old, new in zip(own, wanted, strict=True)
    ]
    return apply(_expand, x, shape=tuple(extents))


def tile(x: Expression, reps: Sequence[int]) -> Tensor:
    """``x`` repeated ``reps[k]`` times along axis ``k``; axes are put in front as needed."""
    count = max(len(reps), x.ndim)
    wide = x.reshape((1,) * (count - x.ndim) + x.shape)
    return apply(_tile, wide, repeats=(1,) * (count - len(reps)) + tuple(reps))


def gather_elements(x: Expression, dim: int, index: Expression) -> Tensor:
    """The elements of ``x`` whose place along ``dim`` is in ``index``."""
    return apply(_gather_elements, x, index, axis=dim)


def gather_nd(x: Expression, indices: Expression) -> Tensor:
    """The parts of ``x`` at the tuples in the last axis of ``indices``."""
    return apply(_gather_nd, x, indices)


def one_hot(
    indices: Expression,
    depth: int,
    on_value: float = 1.0,
    off_value: float = 0.0,
    axis: int = -1,
    dtype: object = "float32",
) -> Tensor:
    """``on_value`` where a new axis of ``depth`` is at the index, ``off_value`` elsewhere."""
    values = np.asarray([off_value, on_value], numpy_type(element_type(dtype)))
    # Indices that are negative name nothing in MindSpore; ONNX would count them from the end.
    inside = apply(
        _where,
        apply(_less, indices, constant_like(indices, 0)),
        constant_like(indices, depth),
        indices,
    )
    return apply(_one_hot, inside, values, depth=depth, axis=axis)


def tril(x: Expression, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two axes, zeros elsewhere."""
    return apply(_trilu, x, diagonal=diagonal, upper=False)


def triu(x: Expression, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two axes, zeros elsewhere."""
    return apply(_trilu, x, diagonal=diagonal, upper=True)


def zeros_like(x: Expression) -> Tensor:
    """Zeros of the type and shape of ``x``."""
    return full_like(x, 0)


def ones_like(x: Expression) -> Tensor:
    """Ones of the type and shape of ``x``."""
    return full_like(x, 1)


def full_like(x: Expression, value: float) -> Tensor:
    """One number everywhere, in the type and shape of ``x``."""
    return apply(_expand, constant_like(x, value), shape=x.shape)


def zeros(shape: Sequence[Extent], dtype: object = "float32") -> Tensor:
    """Zeros of this shape."""
    return full(shape, 0, dtype)


def ones(shape: Sequence[Extent], dtype: object = "float32") -> Tensor:
    """Ones of this shape."""
    return full(shape, 1, dtype)


def full(shape: Sequence[Extent], value: float, dtype: object = "float32") -> Tensor:
    """One number everywhere, in this shape."""
    number = np.asarray(value, numpy_type(element_type(dtype)))
    return apply(_expand, number, shape=tuple(shape))


cat = concat
permute = transpose
