"""Cells that pass on, reshape or rearrange what they get."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import ModelError
from . import functional
from .cell import Cell
from .tensor import Expression, Tensor


class Dropout(Cell):
    """Passes everything on, as dropout does outside training.

    ``keep_prob`` is MindSpore 1's setting, ``p`` MindSpore 2's; neither changes anything.
    """

    def __init__(
        self, keep_prob: float = 0.5, p: float | None = None, dtype: object = "float32"
    ) -> None:
        super().__init__()
        self.keep_prob, self.p = keep_prob, p

    def construct(self, x: Expression) -> Expression:
        """``x`` itself."""
        return x


class _ChannelDropout(Cell):
    """Passes everything on, as dropout of channels does outside training."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def construct(self, x: Expression) -> Expression:
        """``x`` itself."""
        return x


class Dropout1d(_ChannelDropout):
    """Passes rows on, as dropout of channels does outside training."""


class Dropout2d(_ChannelDropout):
    """Passes images on, as dropout of channels does outside training."""


class Dropout3d(_ChannelDropout):
    """Passes volumes on, as dropout of channels does outside training."""


class Identity(Cell):
    """Passes everything on, whatever it was made with."""

    def __init__(self, *_args: object, **_options: object) -> None:
        super().__init__()

    def construct(self, x: Expression) -> Expression:
        """``x`` itself."""
        return x


class Flatten(Cell):
    """The axes from ``start_dim`` to ``end_dim`` made into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def construct(self, x: Expression) -> Tensor:
        """``x`` with fewer axes."""
        # A row of numbers stays one: there is no axis 1.
        first = self.start_dim if x.ndim > 1 else min(self.start_dim, 0)
        return functional.flatten(x, first, self.end_dim)


class Unflatten(Cell):
    """One axis made into several of ``unflattened_size``; one extent may be -1."""

    def __init__(self, axis: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.axis, self.unflattened_size = axis, tuple(unflattened_size)

    def construct(self, x: Expression) -> Tensor:
        """``x`` with more axes."""
        axis = x.type.axis(self.axis)
        return x.reshape(*x.shape[:axis], *self.unflattened_size, *x.shape[axis + 1 :])


class OneHot(Cell):
    """``on_value`` where a new axis of ``depth`` is at the index, ``off_value`` elsewhere."""

    def __init__(
        self,
        axis: int = -1,
        depth: int = 1,
        on_value: float = 1.0,
        off_value: float = 0.0,
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        self.axis, self.depth, self.dtype = axis, depth, dtype
        self.on_value, self.off_value = on_value, off_value

    def construct(self, indices: Expression) -> Tensor:
        """The indices as vectors."""
        values = (self.on_value, self.off_value)
        return functional.one_hot(indices, self.depth, *values, self.axis, self.dtype)


class PixelShuffle(Cell):
    """Channels [.., C r r, H, W] moved into squares of r by r pixels [.., C, H r, W r]."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def construct(self, x: Expression) -> Tensor:
        """Larger images of fewer channels."""
        return functional.pixel_shuffle(x, self.upscale_factor)


class PixelUnshuffle(Cell):
    """The inverse of :class:`PixelShuffle`."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def construct(self, x: Expression) -> Tensor:
        """Smaller images of more channels."""
        return functional.pixel_unshuffle(x, self.downscale_factor)


class ChannelShuffle(Cell):
    """Channels (axis 1) as [groups, rest] turned to [rest, groups] (Zhang 2017)."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        if groups < 1:
            raise ModelError(f"ChannelShuffle: {groups} groups")
        self.groups = groups

    def construct(self, x: Expression) -> Tensor:
        """``x`` with its channels in another order."""
        return functional.channel_shuffle(x, self.groups)


class Upsample(Cell):
    """Rows, images or volumes of another size; modes as ``functional.interpolate`` has them."""

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def construct(self, x: Expression) -> Tensor:
        """``x`` resized."""
        return functional.interpolate(
            x, self.size, self.scale_factor, self.mode, self.align_corners
        )
