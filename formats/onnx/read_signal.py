"""Readers of Fourier transforms, composed of products with matrices of sines and cosines."""

from __future__ import annotations

import numpy as np

from ...ir import Array, LimitError, ModelError, TensorType, Value
from ...ir.data_type import is_float
from .context import Context, ops
from .registry import reads

# The matrices take the square of this many elements.
_LONGEST = 4096


@reads("DFT", since=17)
def _dft_17(
    g: Context,
    x: Value,
    length: Value | None = None,
    *,
    axis: int = 1,
    inverse: int = 0,
    onesided: int = 0,
) -> Value:
    count = None if length is None else g.integer(length, "DFT's length")
    return dft(g, x, count, axis, bool(inverse), bool(onesided))


@reads("DFT", since=20)
def _dft(
    g: Context,
    x: Value,
    length: Value | None = None,
    axis: Value | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Value:
    count = None if length is None else g.integer(length, "DFT's length")
    place = -2 if axis is None else g.integer(axis, "DFT's axis")
    return dft(g, x, count, place, bool(inverse), bool(onesided))


def dft(
    g: Context, x: Value, length: int | None, axis: int, inverse: bool, onesided: bool
) -> Value:
    """The transform of ``x`` [..., 1 or 2] (real, imaginary) along ``axis``.

    One-sided: half of a real signal's spectrum, or inversely the real signal of such a half.
    """
    rank = g.rank(x)
    if rank < 2 or g.shape(x)[-1] not in (1, 2) or not is_float(g.dtype(x)):
        raise ModelError(f"a Fourier transform of {g.type(x)}")
    axis = g.axis(x, axis)
    if axis == rank - 1:
        raise ModelError("a Fourier transform along the axis of real and imaginary part")
    present = g.shape(x)[axis]
    if not isinstance(present, int):
        g.unsupported(f"a Fourier transform of {g.type(x)}: the length must be a number")
    real_result = inverse and onesided
    count = length if length is not None else 2 * (present - 1) if real_result else present
    if count < 1:
        raise ModelError(f"a Fourier transform of {count} elements")
    if count > _LONGEST:
        raise LimitError(f"a Fourier transform of {count} elements; the most are {_LONGEST}")
    used = count // 2 + 1 if real_result else count
    if used < present:
        x = g.slice_axis(x, axis, 0, used)
    elif used > present:
        after = tuple(used - present if k == axis else 0 for k in range(rank))
        x = g.add(ops.pad, x, before=(0,) * rank, after=after, mode="constant")
    order = [*(k for k in range(rank - 1) if k != axis), axis]
    parts = [
        g.transpose(g.reshape(g.slice_axis(x, rank - 1, k, 1), g.shape(x)[:-1]), order)
        for k in range(1 if g.shape(x)[-1] == 1 else 2)
    ]
    results = _products(g, parts, count, used, inverse, onesided)
    back = [order.index(k) for k in range(rank - 1)]
    results = [g.unsqueeze(g.transpose(part, back), rank - 1) for part in results]
    return results[0] if len(results) == 1 else g.add(ops.concat, *results, axis=rank - 1)


def _products(
    g: Context, parts: list[Value], count: int, used: int, inverse: bool, onesided: bool
) -> list[Value]:
    """Real and imaginary part of the transform along the last axis."""
    kept = count // 2 + 1 if onesided and not inverse else count
    angle = 2.0 * np.pi * np.arange(count) / count
    scale = np.full((used, 1), 1.0 / count if inverse else 1.0)
    if inverse and onesided:
        # The half that is not there mirrors the one that is.
        scale[1 : (count + 1) // 2] *= 2.0
    dtype = g.dtype(parts[0])
    cosine = g.constant(_turned(np.cos(angle), scale, kept, dtype), dtype)
    sine = g.constant(
        _turned(np.sin(angle), scale * (1.0 if inverse else -1.0), kept, dtype), dtype
    )
    real = g.add(ops.matmul, parts[0], cosine)
    if len(parts) == 2:
        real = g.add(ops.sub, real, g.add(ops.matmul, parts[1], sine))
    if inverse and onesided:
        return [real]
    imaginary = g.add(ops.matmul, parts[0], sine)
    if len(parts) == 2:
        imaginary = g.add(ops.add, imaginary, g.add(ops.matmul, parts[1], cosine))
    return [real, imaginary]


def _turned(circle: Array, scale: Array, kept: int, dtype: str) -> Array:
    """``circle`` at (row times column) of its places, row by row, times each row's scale.

    Whole periods are dropped before a place is looked up, which keeps it exact.
    """
    found = np.empty((len(scale), kept), TensorType(dtype).numpy)
    columns = np.arange(kept)
    for row, factor in enumerate(scale):
        found[row] = circle[row * columns % len(circle)] * factor
    return found


@reads("STFT", since=17)
def _stft(
    g: Context,
    signal: Value,
    frame_step: Value,
    window: Value | None = None,
    frame_length: Value | None = None,
    *,
    onesided: int = 1,
) -> Value:
    if g.rank(signal) != 3:
        raise ModelError(f"STFT of {g.type(signal)}")
    present = g.shape(signal)[1]
    step = g.integer(frame_step, "STFT's frame_step")
    if frame_length is not None:
        length = g.integer(frame_length, "STFT's frame_length")
    elif window is not None and isinstance(g.type(window).size, int):
        length = g.type(window).static_shape[0]
    else:
        raise ModelError("STFT needs a window or a frame_length")
    if not isinstance(present, int):
        g.unsupported(f"STFT of {g.type(signal)}: the length must be a number")
    if step < 1 or not 1 <= length <= present or length > _LONGEST:
        raise ModelError(f"STFT: frames of {length} every {step} of {present} elements")
    g.check_computed((present - length) // step + 1, length)
    starts = np.arange((present - length) // step + 1, dtype=np.int64) * step
    places = starts[:, None] + np.arange(length, dtype=np.int64)
    frames = g.add(ops.gather, signal, g.constant(places), axis=1)
    if window is not None:
        frames = g.add(ops.mul, frames, g.reshape(window, (length, 1)))
    return dft(g, frames, None, 2, False, bool(onesided))
