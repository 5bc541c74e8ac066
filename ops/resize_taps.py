"""Which input elements an output element of a resized axis looks at, for the reference."""

from __future__ import annotations

import math

import numpy as np

from ..ir import Array


def coordinates(
    mode: str, count: int, extent: int, scale: float, width: float, ends: tuple[float, float]
) -> Array:
    """Where each output element lies in the input; ``width`` is scale times extent."""
    y = np.arange(count, dtype=np.float64)
    if mode == "align_corners":
        return np.zeros(count) if width == 1 else y * (extent - 1) / (width - 1)
    if mode == "asymmetric":
        return y / scale
    if mode == "tf_half_pixel_for_nn":
        return (y + 0.5) / scale
    if mode == "tf_crop_and_resize":
        start, end = ends
        if width == 1:
            return np.full(count, 0.5 * (start + end) * (extent - 1))
        return start * (extent - 1) + y * (end - start) * (extent - 1) / (width - 1)
    if mode == "pytorch_half_pixel" and width == 1:
        return np.zeros(count)
    half_pixel = (y + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        return extent / 2 * (1 - count / width) + half_pixel
    return half_pixel


def tap_weights(
    mode: str, places: Array, scale: float, nearest_mode: str, a: float, antialias: bool
) -> tuple[Array, Array]:
    """Weights of each output's taps, and the place of the first one."""
    places = np.clip(places, -1e9, 1e9)
    base = np.ceil(places).astype(np.int64) - 1  # left of the place, also of a whole one
    ratio = places - base
    if mode == "nearest":
        right = {
            "round_prefer_floor": ratio > 0.5,
            "round_prefer_ceil": ratio >= 0.5,
            "floor": ratio == 1.0,
            "ceil": ratio > 0.0,
        }[nearest_mode]
        return np.ones((len(places), 1)), base + right
    shrink = min(scale, 1.0) if antialias else 1.0
    radius = 1 if mode == "linear" else 2
    start = math.floor(-radius / shrink) + 1
    distance = np.abs((np.arange(start, 2 - start) - ratio[:, None]) * shrink)
    if mode == "linear":
        weights = np.clip(1 - distance, 0, 1)
    else:
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
    if antialias:
        weights = weights / weights.sum(axis=1, keepdims=True)
    return weights, base + start
