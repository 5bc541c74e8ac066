"""The operator that computes attention in one pass, and what its kernel depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir import Array, Call, Cost, Extent, ModelError, Operand, TensorType, unify
from ....ir.dim import ceil_divide, product
from ....ops.define import operator
from ..emitted import EmittedBody
from .tiles import QUERY_VECTORS, Sizes
from .writer import AttentionWriter

Axes = tuple[int, int, int, int]
BATCH, HEAD, ROW, ELEMENT = range(4)


@dataclass(frozen=True, slots=True)
class Heads:
    """Where an operand has its heads: ``axes`` bring it to [batch, heads, rows, elements].

    The heads that are meant begin with number ``first``.
    """

    axes: Axes
    first: int = 0

    def of(self, array: Array, heads: int) -> Array:
        """The heads as [batch, heads, rows, elements]."""
        return array.transpose(self.axes)[:, self.first : self.first + heads]

    def extent(self, shape: Sequence[Extent], axis: int) -> Extent:
        """The operand's extent along one of these four axes."""
        return shape[self.axes[axis]]

    def stride(self, shape: Sequence[Extent], axis: int) -> Extent:
        """Elements between neighbours along one of these four axes."""
        return product(shape[self.axes[axis] + 1 :])


@operator(name="cpu_attention", traits=("attention",))
def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    *,
    heads: int,
    q_heads: tuple[Axes, int],
    k_heads: tuple[Axes, int],
    v_heads: tuple[Axes, int],
    out_axes: Axes,
    scale: float,
    width: int,
) -> Array:
    """``softmax(scale * q k^T + mask) v`` for each of ``heads`` heads.

    ``q_heads`` and so on are the arguments of :class:`Heads`; ``out_axes`` bring the result to
    [batch, heads, rows of q, elements of v]. The mask broadcasts to [batch, heads, rows of q,
    rows of k]. Rows whose scores are all minus infinity are NaN; without keys, rows are zero.
    """
    query, key, value = (
        Heads(*place).of(array.astype(np.float64), heads)
        for array, place in ((q, q_heads), (k, k_heads), (v, v_heads))
    )
    scores = query @ key.swapaxes(-1, -2) * scale
    if mask is not None:
        scores = scores + mask
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True, initial=-np.inf))
        total = weights.sum(axis=-1, keepdims=True)
        result = weights @ value / (total if key.shape[ROW] else 1.0)
    return np.ascontiguousarray(result.transpose(np.argsort(out_axes))).astype(q.dtype)


@attention.infer
def _(
    q: TensorType,
    k: TensorType,
    v: TensorType,
    mask: TensorType | None = None,
    *,
    heads: int,
    q_heads: tuple[Axes, int],
    k_heads: tuple[Axes, int],
    v_heads: tuple[Axes, int],
    out_axes: Axes,
    scale: float,
    width: int,
) -> TensorType:
    what = f"attention of {q}, {k} and {v}"
    if {q.rank, k.rank, v.rank} != {4} or {q.dtype, k.dtype, v.dtype} != {"float32"}:
        raise ModelError(what)
    query, key, value = Heads(*q_heads), Heads(*k_heads), Heads(*v_heads)
    for type_, place in ((q, query), (k, key), (v, value)):
        have = place.extent(type_.shape, HEAD)
        if not isinstance(have, int) or place.first + heads > have:
            raise ModelError(f"{what} has no {heads} heads")
    batch = query.extent(q.shape, BATCH)
    unify(batch, key.extent(k.shape, BATCH), what)
    unify(batch, value.extent(v.shape, BATCH), what)
    unify(query.extent(q.shape, ELEMENT), key.extent(k.shape, ELEMENT), what)
    keys = unify(key.extent(k.shape, ROW), value.extent(v.shape, ROW), what)
    rows = query.extent(q.shape, ROW)
    if mask is not None:
        wanted = (batch, heads, rows, keys)
        if mask.rank != 4 or any(
            extent not in (1, full) for extent, full in zip(mask.shape, wanted, strict=True)
        ):
            raise ModelError(f"{what} with a mask {mask}")
    result = (batch, heads, rows, value.extent(v.shape, ELEMENT))
    return q.with_shape(tuple(result[axis] for axis in np.argsort(out_axes)))


@attention.cost
def _(
    q: TensorType,
    k: TensorType,
    v: TensorType,
    mask: TensorType | None = None,
    **attributes: Any,
) -> Cost:
    (out,) = attention.infer_types([q, k, v, mask], attributes)
    query, key, value = (Heads(*attributes[name]) for name in ("q_heads", "k_heads", "v_heads"))
    rows = query.extent(q.shape, BATCH) * query.extent(q.shape, ROW) * attributes["heads"]
    scores = rows * key.extent(k.shape, ROW)
    elements = query.extent(q.shape, ELEMENT) + value.extent(v.shape, ELEMENT)
    read = rows * query.extent(q.shape, ELEMENT)
    read = read + key.extent(k.shape, BATCH) * key.extent(k.shape, ROW) * attributes["heads"] * (
        elements
    )
    nbytes = 4 * read + out.nbytes + (mask.nbytes if mask is not None else 0)
    return Cost(scores * (2 * elements + 5), nbytes)


@attention.kernel
def _(
    q: Operand,
    k: Operand,
    v: Operand,
    mask: Operand | None,
    out: Operand,
    *,
    heads: int,
    q_heads: tuple[Axes, int],
    k_heads: tuple[Axes, int],
    v_heads: tuple[Axes, int],
    out_axes: Axes,
    scale: float,
    width: int,
) -> Call | None:
    query, key, value, result = Heads(*q_heads), Heads(*k_heads), Heads(*v_heads), Heads(out_axes)
    places = ((query, q), (key, k), (value, v), (result, out))
    rows, keys = query.extent(q.shape, ROW), key.extent(k.shape, ROW)
    depth, elements = query.extent(q.shape, ELEMENT), value.extent(v.shape, ELEMENT)
    pitches = [place.stride(operand.shape, ROW) for place, operand in places]
    known = [extent for extent in (*pitches, depth, elements) if isinstance(extent, int)]
    if len(known) < 6 or any(place.axes[ELEMENT] != ELEMENT for place, _ in places):
        return None
    q_pitch, k_pitch, v_pitch, out_pitch, depth, elements = known
    blocks = ceil_divide(rows, QUERY_VECTORS * width)
    numbers: dict[str, Extent] = {"rows": rows, "keys": keys, "blocks": blocks}
    for name, (place, operand) in zip("qkvo", places, strict=True):
        numbers[f"{name}_batch"] = place.stride(operand.shape, BATCH)
        numbers[f"{name}_head"] = place.stride(operand.shape, HEAD)
        numbers[f"{name}_start"] = place.first * place.stride(operand.shape, HEAD)
    if mask is not None:
        for axis, name in enumerate(("batch", "head", "row", "key")):
            repeats = mask.shape[axis] == 1
            numbers[f"mask_{name}"] = 0 if repeats else product(mask.shape[axis + 1 :])
    distances = (q_pitch, k_pitch, v_pitch, out_pitch)
    sizes = Sizes(heads, depth, elements, distances, scale, width, tuple(numbers.items()))
    writer = AttentionWriter(sizes, mask is not None)
    operands = [operand.flat() for operand in (q, k, v, out, mask) if operand is not None]
    return Call(
        EmittedBody("attention", writer.key, len(operands), elements, writer.write),
        tuple(operands),
        items=query.extent(q.shape, BATCH) * heads * blocks,
        scalars=writer.scalars,
    )
