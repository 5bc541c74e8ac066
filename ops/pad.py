"""Padding and cropping of every axis: by a constant, the edge, a reflection or repetition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir import Array, Call, Extent, ModelError, Operand, TensorType, UnsupportedError, dim
from ..ir.dim import ceil_divide, product
from .define import numbers, operator
from .samples import sample, tensor, values
from .strided_copy import MAXIMUM_RANK, row_major_strides, strided_copy

_MODES = ("constant", "edge", "reflect", "wrap")
_FILLED = 8192  # elements that one item of the fill writes


@operator(traits=("movement",))
def pad(
    x: Array,
    value: Array | None = None,
    *,
    before: tuple[Extent, ...],
    after: tuple[Extent, ...],
    mode: str = "constant",
) -> Array:
    """``before[k]`` elements put in front of axis ``k``, ``after[k]`` behind (ONNX Pad-25).

    Negative counts cut elements off, before anything is added. "constant" adds the 0-d tensor
    ``value`` (0 without one), "edge" the nearest element, "reflect" mirrors without repeating
    the edge, as often as needed, and "wrap" continues periodically.
    """
    front, behind = numbers(before), numbers(after)
    kept = numbers(_kept(x.shape, before, after))
    first = [max(-count, 0) for count in front]
    x = x[tuple(slice(start, start + size) for start, size in zip(first, kept, strict=True))]
    counts = [(max(b, 0), max(a, 0)) for b, a in zip(front, behind, strict=True)]
    if mode == "constant":
        filler = np.zeros((), x.dtype) if value is None else value
        return np.asarray(_filled(x, counts, filler))
    if any(e == 0 and (b or a) for e, (b, a) in zip(x.shape, counts, strict=True)):
        raise ModelError(f"pad: an empty axis cannot be padded by {mode!r}")
    return np.asarray(np.pad(x, counts, mode))  # type: ignore[call-overload]


def _filled(x: Array, counts: Sequence[tuple[int, int]], filler: Array) -> Array:
    result = np.empty([b + e + a for e, (b, a) in zip(x.shape, counts, strict=True)], x.dtype)
    result[...] = filler
    result[tuple(slice(b, b + e) for e, (b, _) in zip(x.shape, counts, strict=True))] = x
    return result


def _kept(
    shape: Sequence[Extent], before: Sequence[Extent], after: Sequence[Extent]
) -> list[Extent]:
    """Extents after cutting off; raises ModelError where more is cut off than there is."""
    result = []
    for extent, left, right in zip(shape, before, after, strict=True):
        kept = extent + dim.minimum(left, 0) + dim.minimum(right, 0)
        if isinstance(kept, int) and kept < 0:
            raise ModelError(f"pad: {left} and {right} cut more than {extent} elements off")
        result.append(kept)
    return result


@pad.infer
def _(
    x: TensorType,
    value: TensorType | None = None,
    *,
    before: tuple[Extent, ...],
    after: tuple[Extent, ...],
    mode: str,
) -> TensorType:
    if mode not in _MODES:
        raise ModelError(f"pad: there is no mode {mode!r}, only {', '.join(_MODES)}")
    if len(before) != x.rank or len(after) != x.rank:
        raise ModelError(f"pad: the counts {before} and {after} do not fit {x}")
    if value is not None and value != TensorType(x.dtype):
        raise ModelError(f"pad: the value is {value}, not a {x.dtype} scalar")
    kept = _kept(x.shape, before, after)
    shape = [e + b + a for e, b, a in zip(x.shape, before, after, strict=True)]
    if mode != "constant" and any(e == 0 and s != 0 for e, s in zip(kept, shape, strict=True)):
        raise ModelError(f"pad: an empty axis of {x} cannot be padded by {mode!r}")
    return x.with_shape(shape)


# --- kernels; type annotations are left out: Numba infers them ---------------------------


def _fill(item, out, each):  # type: ignore[no-untyped-def]
    nothing = out.dtype.type(0)
    for k in range(item * each, min(item * each + each, out.shape[0])):
        out[k] = nothing


def _fill_with(item, value, out, each):  # type: ignore[no-untyped-def]
    filler = value[0]
    for k in range(item * each, min(item * each + each, out.shape[0])):
        out[k] = filler


def _not_negative(item, kept):  # type: ignore[no-untyped-def]
    return 1 if kept < 0 else 0


def _place(k: Any, first: Any, extent: Any, mode: Any) -> Any:
    """The element of the unpadded axis that stands at ``k``; ``extent`` is not 0."""
    k = k - first
    if mode == 1:
        return min(max(k, 0), extent - 1)
    if mode == 3:
        return k % extent
    period = max(2 * extent - 2, 1)
    k = k % period
    return k if k < extent else period - k


def _pad_row(  # type: ignore[no-untyped-def]
    item, x, out,
    e0, e1, e2, e3, e4, e5, e6, e7,
    n0, n1, n2, n3, n4, n5, n6, n7,
    f0, f1, f2, f3, f4, f5, f6, f7,
    s0, s1, s2, s3, s4, s5, s6, s7,
    offset, mode,
):  # fmt: skip
    if min(n0, n1, n2, n3, n4, n5, n6, n7) <= 0:
        return 1
    rest = item
    source = offset + _place(rest % e6, f6, n6, mode) * s6
    rest = rest // e6
    source = source + _place(rest % e5, f5, n5, mode) * s5
    rest = rest // e5
    source = source + _place(rest % e4, f4, n4, mode) * s4
    rest = rest // e4
    source = source + _place(rest % e3, f3, n3, mode) * s3
    rest = rest // e3
    source = source + _place(rest % e2, f2, n2, mode) * s2
    rest = rest // e2
    source = source + _place(rest % e1, f1, n1, mode) * s1
    source = source + _place(rest // e1, f0, n0, mode) * s0
    into = item * e7
    for k in range(f7):
        out[into + k] = x[source + _place(k, f7, n7, mode) * s7]
    for k in range(n7):
        out[into + f7 + k] = x[source + k * s7]
    for k in range(f7 + n7, e7):
        out[into + k] = x[source + _place(k, f7, n7, mode) * s7]
    return 0


@pad.kernel
def _(
    x: Operand,
    value: Operand | None,
    out: Operand,
    *,
    before: tuple[Extent, ...],
    after: tuple[Extent, ...],
    mode: str,
) -> list[Call]:
    kept = _kept(x.shape, before, after)
    first = [dim.maximum(count, 0) for count in before]
    strides = row_major_strides(x.shape)
    offset: Extent = 0
    for count, stride in zip(before, strides, strict=True):
        offset = offset + dim.maximum(0 - count, 0) * stride
    calls = []
    for extent in kept:
        low, _ = dim.bounds(extent)
        if low is None or low < 0:
            message = f"pad: more elements of {x.type} are cut off than there are"
            calls.append(Call(_not_negative, (), scalars=(extent,), error=message))
    if mode != "constant":
        return [*calls, _mapped(x, out, kept, first, strides, offset, mode)]
    if tuple(kept) != out.shape:
        shared = {"items": ceil_divide(out.size, _FILLED), "chunk": _FILLED}
        if value is None:
            calls.append(Call(_fill, (out.flat(),), scalars=(_FILLED,), **shared))  # type: ignore[arg-type]
        else:
            operands = (value.flat(), out.flat())
            calls.append(Call(_fill_with, operands, scalars=(_FILLED,), **shared))  # type: ignore[arg-type]
    targets = row_major_strides(out.shape)
    into = sum((f * t for f, t in zip(first, targets, strict=True)), start=0)
    return [*calls, strided_copy(x.flat(), out.flat(), kept, strides, targets, offset, into)]


def _mapped(
    x: Operand,
    out: Operand,
    kept: Sequence[Extent],
    first: Sequence[Extent],
    strides: Sequence[Extent],
    offset: Extent,
    mode: str,
) -> Call:
    missing = MAXIMUM_RANK - out.rank
    if missing < 0:
        raise UnsupportedError(
            f"{mode!r} padding of {out.rank} dimensions ({MAXIMUM_RANK} at most)"
        )
    columns = ((out.shape, 1), (kept, 1), (first, 0), (strides, 0))
    return Call(
        _pad_row,
        (x.flat(), out.flat()),
        items=product(out.shape[:-1]),
        scalars=(
            *(e for column, filler in columns for e in (*([filler] * missing), *column)),
            *(offset, _MODES.index(mode)),
        ),
        chunk=out.shape[-1] if out.rank else 1,
        error=f"pad: an empty axis cannot be padded by {mode!r}",
    )


pad.samples = [
    sample(tensor((2, 3)), before=(1, 0), after=(0, 2)),
    sample(tensor((2, 3)), values(7.5), before=(0, 1), after=(1, 0)),
    sample(tensor((2, 3, 4, 5)), values(-1.0), before=(0, 0, 1, 1), after=(0, 0, 1, 2)),
    sample(tensor((4, 6)), values(7.5), before=(-1, 2), after=(1, -3)),
    sample(tensor((4, 6)), before=(-1, -2), after=(0, -3)),
    sample(tensor((4,), "bool"), values(True, "bool"), before=(1,), after=(1,)),
    sample(tensor((4,), "float16"), values(2.0, "float16"), before=(1,), after=(1,)),
    sample(tensor((3,), "bfloat16"), before=(1,), after=(1,)),
    sample(tensor((3,), "int64", -9, 9), values(-5, "int64"), before=(1,), after=(2,)),
    sample(tensor((), "float64"), before=(), after=()),
    sample(tensor((0, 2)), values(3.0), before=(1, 0), after=(1, 0)),
    *(
        case
        for mode in ("edge", "reflect", "wrap")
        for case in (
            sample(tensor((3, 4)), before=(1, 2), after=(2, 1), mode=mode),
            sample(tensor((2, 3, 4, 5)), before=(0, 0, 1, 2), after=(0, 0, 2, 3), mode=mode),
            sample(tensor((5, 6)), before=(-1, 2), after=(1, -2), mode=mode),
            sample(tensor((3,), "float16"), before=(7,), after=(8,), mode=mode),
            sample(tensor((1,), "int8"), before=(2,), after=(2,), mode=mode),
            sample(tensor((0, 3)), before=(0, 1), after=(0, 1), mode=mode),
        )
    ),
]
