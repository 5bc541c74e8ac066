"""Normalisation as cells: of batches (by moving statistics), layers, groups and instances."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Extent, ModelError, UnsupportedError
from . import functional
from .cell import Cell
from .convolution import check_layout
from .initializers import Start, initializer
from .parameter import Parameter
from .tensor import Expression, Tensor


class _BatchNorm(Cell):
    """Normalisation of each channel (axis 1) by moving statistics, then ``gamma`` and ``beta``."""

    _ranks: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.9,
        affine: bool = True,
        gamma_init: Start = "ones",
        beta_init: Start = "zeros",
        moving_mean_init: Start = "zeros",
        moving_var_init: Start = "ones",
        use_batch_statistics: bool | None = None,
        data_format: str = "NCHW",
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        check_layout(type(self).__name__, data_format, "NCHW")
        if use_batch_statistics:
            raise UnsupportedError(
                f"{type(self).__name__}: use_batch_statistics=True is training; opweave only infers"
            )
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        shape = (num_features,)
        mean = initializer(moving_mean_init, shape, dtype)
        variance = initializer(moving_var_init, shape, dtype)
        self.moving_mean = Parameter(mean, "mean", requires_grad=False)
        self.moving_variance = Parameter(variance, "variance", requires_grad=False)
        self.gamma = Parameter(initializer(gamma_init, shape, dtype), requires_grad=affine)
        self.beta = Parameter(initializer(beta_init, shape, dtype), requires_grad=affine)

    def construct(self, x: Expression) -> Tensor:
        """``x`` normalised."""
        check_rank(type(self).__name__, x, self._ranks)
        check_channels(type(self).__name__, x, self.num_features)
        return functional.batch_norm(
            x, self.moving_mean, self.moving_variance, self.gamma, self.beta, self.eps
        )


class BatchNorm1d(_BatchNorm):
    """Normalisation of channels of [batch, channels] and [batch, channels, width].

    By moving statistics (``moving_mean``, ``moving_variance``), then ``gamma`` and ``beta``.
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """:class:`BatchNorm1d` for images [batch, channels, height, width]."""

    _ranks = (4,)


class SyncBatchNorm(_BatchNorm):
    """:class:`BatchNorm2d`; what ``process_groups`` synchronise is training's concern."""

    _ranks = (2, 4)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.9,
        affine: bool = True,
        gamma_init: Start = "ones",
        beta_init: Start = "zeros",
        moving_mean_init: Start = "zeros",
        moving_var_init: Start = "ones",
        use_batch_statistics: bool | None = None,
        process_groups: object = None,
        dtype: object = "float32",
    ) -> None:
        super().__init__(
            num_features,
            eps,
            momentum,
            affine,
            gamma_init,
            beta_init,
            moving_mean_init,
            moving_var_init,
            use_batch_statistics,
            dtype=dtype,
        )
        self.process_groups = process_groups


class BatchNorm3d(Cell):
    """:class:`BatchNorm1d` for volumes; the parameters are those of ``bn2d``, as in MindSpore."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.9,
        affine: bool = True,
        gamma_init: Start = "ones",
        beta_init: Start = "zeros",
        moving_mean_init: Start = "zeros",
        moving_var_init: Start = "ones",
        use_batch_statistics: bool | None = None,
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        self.bn2d = BatchNorm2d(
            num_features,
            eps,
            momentum,
            affine,
            gamma_init,
            beta_init,
            moving_mean_init,
            moving_var_init,
            use_batch_statistics,
            dtype=dtype,
        )

    def construct(self, x: Expression) -> Tensor:
        """``x`` [batch, channels, depth, height, width] normalised."""
        check_rank("BatchNorm3d", x, (5,))
        found: Tensor = self.bn2d(x.flatten(2, 3))
        return found.reshape(x.shape)


class LayerNorm(Cell):
    """Zero mean and unit variance over the last axes, then ``gamma`` and ``beta``.

    ``normalized_shape`` are the extents of ``gamma`` and ``beta``: those of the axes from
    ``begin_params_axis`` on.
    """

    def __init__(
        self,
        normalized_shape: Sequence[int],
        begin_norm_axis: int = -1,
        begin_params_axis: int = -1,
        gamma_init: Start = "ones",
        beta_init: Start = "zeros",
        epsilon: float = 1e-7,
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        shape = tuple(normalized_shape)
        self.begin_norm_axis, self.begin_params_axis = begin_norm_axis, begin_params_axis
        self.epsilon = epsilon
        self.gamma = Parameter(initializer(gamma_init, shape, dtype))
        self.beta = Parameter(initializer(beta_init, shape, dtype))

    def construct(self, x: Expression) -> Tensor:
        """``x`` normalised."""
        axis = x.type.axis(self.begin_norm_axis)
        if x.type.axis(self.begin_params_axis) == axis:
            return functional.layer_norm(x, self.gamma, self.beta, axis, self.epsilon)
        ones = functional.ones(x.shape[axis:], x.dtype)
        found = functional.layer_norm(x, ones, None, axis, self.epsilon)
        gamma, beta = (parameter.astype(x.dtype) for parameter in (self.gamma, self.beta))
        return found * gamma + beta


class GroupNorm(Cell):
    """Zero mean and unit variance over each of ``num_groups`` groups of channels (axis 1).

    Then ``gamma`` and ``beta``, one a channel.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        gamma_init: Start = "ones",
        beta_init: Start = "zeros",
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ModelError(f"GroupNorm: {num_channels} channels in {num_groups} groups")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        shape = (num_channels,)
        self.gamma = Parameter(initializer(gamma_init, shape, dtype), requires_grad=affine)
        self.beta = Parameter(initializer(beta_init, shape, dtype), requires_grad=affine)

    def construct(self, x: Expression) -> Tensor:
        """``x`` normalised."""
        check_channels("GroupNorm", x, self.num_channels)
        return functional.group_norm(x, self.num_groups, self.gamma, self.beta, self.eps)


class _InstanceNorm(Cell):
    """Zero mean and unit variance over each channel of each item, then ``gamma`` and ``beta``.

    The moving statistics stand in checkpoints and are not used, as in MindSpore.
    """

    _rank: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        gamma_init: Start = "ones",
        beta_init: Start = "zeros",
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        shape = (num_features,)
        mean, variance = (initializer(start, shape, dtype) for start in ("zeros", "ones"))
        self.moving_mean = Parameter(mean, "mean", requires_grad=False)
        self.moving_variance = Parameter(variance, "variance", requires_grad=False)
        self.gamma = Parameter(initializer(gamma_init, shape, dtype), requires_grad=affine)
        self.beta = Parameter(initializer(beta_init, shape, dtype), requires_grad=affine)

    def construct(self, x: Expression) -> Tensor:
        """``x`` normalised."""
        check_rank(type(self).__name__, x, (self._rank,))
        check_channels(type(self).__name__, x, self.num_features)
        return functional.instance_norm(x, self.gamma, self.beta, self.eps)


class InstanceNorm1d(_InstanceNorm):
    """Zero mean and unit variance over each row of [batch, channels, width]."""

    _rank = 3


class InstanceNorm2d(_InstanceNorm):
    """Zero mean and unit variance over each channel of each image."""

    _rank = 4


class InstanceNorm3d(_InstanceNorm):
    """Zero mean and unit variance over each channel of each volume."""

    _rank = 5


def check_rank(what: str, x: Expression, ranks: Sequence[int]) -> None:
    """Raise ModelError when ``x`` has none of these ranks."""
    if x.ndim not in ranks:
        raise ModelError(
            f"{what} takes tensors of rank {' or '.join(map(str, ranks))}, not {x.type}"
        )


def check_channels(what: str, x: Expression, channels: int) -> None:
    """Raise ModelError when the extent of axis 1 is known and is another."""
    found: Extent | None = x.shape[1] if x.ndim > 1 else None
    if found is None or (isinstance(found, int) and found != channels):
        raise ModelError(f"{what} takes {channels} elements along axis 1, not {x.type}")
