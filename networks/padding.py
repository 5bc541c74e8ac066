"""Padding as cells.

Numbers come in pairs (before, after), those of the last axis first: (left, right, top, bottom,
front, back). One number stands for all.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import ModelError, UnsupportedError
from . import functional
from .cell import Cell
from .functional_spatial import Numbers
from .tensor import Expression, Tensor


class _Padded(Cell):
    """Padding along the last ``_count`` axes."""

    _count: int
    _mode: str

    def __init__(self, padding: Numbers) -> None:
        super().__init__()
        given = (padding,) * (2 * self._count) if isinstance(padding, int) else tuple(padding)
        if len(given) % 2 or len(given) > 2 * self._count:
            raise ModelError(
                f"{type(self).__name__}: padding {padding!r} is not up to {self._count} pairs"
            )
        self.padding = given

    def construct(self, x: Expression) -> Tensor:
        """``x`` with its padding."""
        return functional.pad(x, self.padding, self._mode)


class _Constant(_Padded):
    """Padding by one value; negative numbers take elements away."""

    _mode = "constant"

    def __init__(self, padding: Numbers, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def construct(self, x: Expression) -> Tensor:
        """``x`` with its padding."""
        return functional.pad(x, self.padding, self._mode, self.value)


class ConstantPad1d(_Constant):
    """``value`` put around the last axis; negative numbers take elements away."""

    _count = 1


class ConstantPad2d(_Constant):
    """``value`` put around the last two axes; negative numbers take elements away."""

    _count = 2


class ConstantPad3d(_Constant):
    """``value`` put around the last three axes; negative numbers take elements away."""

    _count = 3


class ZeroPad2d(ConstantPad2d):
    """Zeros put around the last two axes; negative numbers take elements away."""

    def __init__(self, padding: Numbers) -> None:
        super().__init__(padding, 0)


class ReflectionPad1d(_Padded):
    """Rows continued by their mirror image, without repeating the edge."""

    _count, _mode = 1, "reflect"


class ReflectionPad2d(_Padded):
    """Images continued by their mirror image, without repeating the edge."""

    _count, _mode = 2, "reflect"


class ReflectionPad3d(_Padded):
    """Volumes continued by their mirror image, without repeating the edge."""

    _count, _mode = 3, "reflect"


class ReplicationPad1d(_Padded):
    """Rows continued by the element at the edge."""

    _count, _mode = 1, "replicate"


class ReplicationPad2d(_Padded):
    """Images continued by the elements at the edge."""

    _count, _mode = 2, "replicate"


class ReplicationPad3d(_Padded):
    """Volumes continued by the elements at the edge."""

    _count, _mode = 3, "replicate"


class Pad(Cell):
    """``paddings[k]`` = (before, after) elements put around axis ``k``.

    ``mode`` is "CONSTANT" (zeros), "REFLECT" (a mirror image without the edge) or "SYMMETRIC"
    (one that repeats it).
    """

    def __init__(self, paddings: Sequence[Sequence[int]], mode: str = "CONSTANT") -> None:
        super().__init__()
        if mode not in ("CONSTANT", "REFLECT", "SYMMETRIC"):
            raise UnsupportedError(f"Pad: mode {mode!r}; there are CONSTANT, REFLECT, SYMMETRIC")
        self.paddings, self.mode = tuple(tuple(item) for item in paddings), mode

    def construct(self, x: Expression) -> Tensor:
        """``x`` with its padding."""
        if self.mode != "SYMMETRIC":
            return functional.pad(x, self.paddings, self.mode.lower())
        if len(self.paddings) != x.ndim:
            raise ModelError(f"Pad: {self.paddings} does not fit {x.type}")
        for axis, (before, after) in enumerate(self.paddings):
            x = _mirrored(x, axis, before, after)
        return x if isinstance(x, Tensor) else x.reshape(x.shape)


def _mirrored(x: Expression, axis: int, before: int, after: int) -> Expression:
    """``x`` continued along ``axis`` by its mirror image with the edge."""
    extent = x.shape[axis]
    if not before and not after:
        return x
    if not isinstance(extent, int) or max(before, after) > extent or min(before, after) < 0:
        raise ModelError(f"Pad: ({before}, {after}) elements of the mirror image of {extent}")
    places = [
        *range(before - 1, -1, -1),
        *range(extent),
        *range(extent - 1, extent - 1 - after, -1),
    ]
    return functional.gather(x, functional.index_constant(places), axis)
