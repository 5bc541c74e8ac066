"""A session bound to arrays: what is left to do in a call is to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..ir import Array, ModelError
from .spec import Spec

# What NumPy's flags of an array must hold: contiguous in row-major order, and aligned.
PLAIN = 0x0101


class BoundSession:
    """A session that reads the same arrays in every call and writes the same arrays.

    Calls check nothing and allocate nothing: write to ``inputs``, call, read what the call
    gives, which is ``outputs`` (one array, or a tuple of several) with new contents. Calls from
    several threads take turns; the arrays are theirs to guard.
    """

    def __init__(
        self, inputs: Sequence[Array], outputs: Sequence[Array], run: Callable[[], None]
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._result: Any = self.outputs[0] if len(self.outputs) == 1 else self.outputs
        self._run = run

    def __call__(self) -> Any:
        """Run once."""
        self._run()
        return self._result


def ordered_outputs(
    arrays: Sequence[Array] | Mapping[str, Array], specs: Sequence[Spec]
) -> list[Array]:
    """Arrays for all outputs, given in order or by name; raises ModelError for others."""
    names = [spec.name for spec in specs]
    if isinstance(arrays, Mapping):
        if set(arrays) == set(names):
            return [arrays[name] for name in names]
    elif not isinstance(arrays, np.ndarray) and len(arrays) == len(names):
        return list(arrays)
    raise ModelError(f"outputs are a list or mapping of one array for each: {', '.join(names)}")


def check_plain(array: Array, spec: Spec, what: str) -> None:
    """Raise ModelError unless native code can use the array as it is."""
    if not isinstance(array, np.ndarray):
        raise ModelError(f"{what} {spec.name!r} is no NumPy array; only these can be bound")
    if array.dtype != spec.numpy:
        raise ModelError(f"{what} {spec.name!r} is {array.dtype}, the model has {spec.dtype}")
    if array.flags.num & PLAIN != PLAIN:
        raise ModelError(f"{what} {spec.name!r} is not contiguous and aligned")


def check_apart(inputs: Sequence[Array], outputs: Sequence[Array], specs: Sequence[Spec]) -> None:
    """Raise ModelError where an output is read-only or shares memory with another array."""
    for number, (array, spec) in enumerate(zip(outputs, specs, strict=True)):
        if not array.flags.writeable:
            raise ModelError(f"output {spec.name!r} is read-only")
        others = (*inputs, *outputs[:number])
        if any(np.may_share_memory(array, other) for other in others):
            raise ModelError(f"output {spec.name!r} overlaps an input or another output")
