"""Short ways to write the test cases that stand beside an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.data_type import Array, kind_of, numpy_type
from ..ir.op import Sample


def tensor(
    shape: Sequence[int],
    dtype: str = "float32",
    low: float = -2.0,
    high: float = 2.0,
    seed: int = 0,
) -> Array:
    """Seeded uniform values between ``low`` and ``high`` (integers: both included)."""
    random = np.random.default_rng([seed, *shape])
    kind = kind_of(dtype)
    if kind == "bool":
        return np.asarray(random.random(shape) < 0.5)
    if kind == "float":
        return np.asarray(random.uniform(low, high, shape), numpy_type(dtype))
    first = max(int(low), 0) if kind == "unsigned" else int(low)
    return np.asarray(random.integers(first, int(high), shape, endpoint=True), numpy_type(dtype))


def values(items: Any, dtype: str = "float32") -> Array:
    """An array of the given values."""
    return np.array(items, dtype=numpy_type(dtype))


def sample(*inputs: Array | None, tolerance: float | None = None, **attributes: Any) -> Sample:
    """One test case."""
    return Sample(tuple(inputs), attributes, tolerance)
