"""Functions for ``construct``, as MindSpore's ``ops`` has them: operators applied to tensors.

They take symbolic tensors and parameters; arithmetic is also written with Python's operators.
Images are [batch, channels, height, width].
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Extent, ModelError
from ..ir.dim import product
from ..ops.cast import cast as _cast
from ..ops.convolution import convolution
from ..ops.elementwise_activation import elu as _elu
from ..ops.elementwise_activation import gelu as _gelu
from ..ops.elementwise_activation import hard_sigmoid, hard_swish, swish
from ..ops.elementwise_activation import leaky_relu as _leaky_relu
from ..ops.elementwise_activation import mish as _mish
from ..ops.elementwise_activation import prelu as _prelu
from ..ops.elementwise_activation import relu as _relu
from ..ops.elementwise_activation import sigmoid as _sigmoid
from ..ops.elementwise_arithmetic import clip
from ..ops.elementwise_arithmetic import maximum as _maximum
from ..ops.elementwise_arithmetic import minimum as _minimum
from ..ops.elementwise_functions import erf as _erf
from ..ops.elementwise_functions import exp as _exp
from ..ops.elementwise_functions import sqrt as _sqrt
from ..ops.elementwise_functions import tanh as _tanh
from ..ops.gather import gather as _gather
from ..ops.layer_normalization import layer_normalization
from ..ops.matmul import matmul as _matmul
from ..ops.max_pool import max_pool
from ..ops.movement import concat as _concat
from ..ops.movement import slice_
from ..ops.normalization import batch_normalization
from ..ops.pad import pad as _pad
from ..ops.pool import average_pool
from ..ops.softmax import log_softmax as _log_softmax
from ..ops.softmax import softmax as _softmax
from ..ops.spatial import resolve_auto_pad
from .tensor import Expression, Operand, Tensor, apply, binary

# --- elementwise -------------------------------------------------------------------------


def relu(x: Expression) -> Tensor:
    """The larger of ``x`` and 0."""
    return apply(_relu, x)


def relu6(x: Expression) -> Tensor:
    """``x`` moved into 0 to 6."""
    return apply(clip, x, low=0.0, high=6.0)


def leaky_relu(x: Expression, alpha: float = 0.2) -> Tensor:
    """``x``, or ``alpha * x`` where it is negative."""
    return apply(_leaky_relu, x, alpha=alpha)


def prelu(x: Expression, weight: Expression) -> Tensor:
    """``x``, or ``weight * x`` where it is negative; one weight, or one a channel (axis 1)."""
    slope = weight.reshape(-1, *(1,) * (x.ndim - 2)) if x.ndim > 2 else weight
    return apply(_prelu, x, slope)


def elu(x: Expression, alpha: float = 1.0) -> Tensor:
    """``x``, or ``alpha * (exp(x) - 1)`` where it is negative."""
    return apply(_elu, x, alpha=alpha)


def gelu(x: Expression, approximate: str = "none") -> Tensor:
    """``x * P(X <= x)`` for a standard normal X; "tanh" takes the usual approximation."""
    if approximate not in ("none", "tanh"):
        raise ModelError(f"gelu: approximate {approximate!r} is neither 'none' nor 'tanh'")
    return apply(_gelu, x, approximate=approximate == "tanh")


def silu(x: Expression) -> Tensor:
    """``x * sigmoid(x)``."""
    return apply(swish, x)


def mish(x: Expression) -> Tensor:
    """``x * tanh(log(1 + exp(x)))``."""
    return apply(_mish, x)


def sigmoid(x: Expression) -> Tensor:
    """``1 / (1 + exp(-x))``."""
    return apply(_sigmoid, x)


def hardsigmoid(x: Expression) -> Tensor:
    """``relu6(x + 3) / 6``."""
    return apply(hard_sigmoid, x, alpha=1.0 / 6.0, beta=0.5)


def hardswish(x: Expression) -> Tensor:
    """``x * relu6(x + 3) / 6``."""
    return apply(hard_swish, x)


def tanh(x: Expression) -> Tensor:
    """The hyperbolic tangent."""
    return apply(_tanh, x)


def erf(x: Expression) -> Tensor:
    """The error function."""
    return apply(_erf, x)


def exp(x: Expression) -> Tensor:
    """``e ** x``."""
    return apply(_exp, x)


def sqrt(x: Expression) -> Tensor:
    """The square root."""
    return apply(_sqrt, x)


def maximum(x: Operand, y: Operand) -> Tensor:
    """The larger of two elements."""
    return binary(_maximum, x, y)


def minimum(x: Operand, y: Operand) -> Tensor:
    """The smaller of two elements."""
    return binary(_minimum, x, y)


def cast(x: Expression, dtype: str) -> Tensor:
    """The elements converted to another type."""
    return apply(_cast, x, to=dtype)


# --- products ----------------------------------------------------------------------------


def matmul(
    x: Expression, y: Expression, transpose_a: bool = False, transpose_b: bool = False
) -> Tensor:
    """The matrix product of the last two axes; those in front broadcast."""
    return apply(_matmul, x, y, transpose_a=transpose_a, transpose_b=transpose_b)


def dense(x: Expression, weight: Expression, bias: Expression | None = None) -> Tensor:
    """``x @ weight.T + bias`` along the last axis; ``weight`` is [out, in]."""
    # One product of two matrices, however many axes there are in front.
    flat = x.reshape(-1, x.shape[-1]) if x.ndim > 2 else x
    found = matmul(flat, weight, transpose_b=True)
    if bias is not None:
        found = found + bias
    return found.reshape(*x.shape[:-1], weight.shape[0]) if x.ndim > 2 else found


def conv2d(
    x: Expression,
    weight: Expression,
    bias: Expression | None = None,
    stride: int | Sequence[int] = 1,
    pad_mode: str = "valid",
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation with ``weight`` [out, in / groups, height, width].

    ``pad_mode`` "same" gives ``ceil(extent / stride)`` outputs with the odd element of
    padding at the end, "valid" pads nothing, "pad" pads by ``padding``: one number, or (top,
    bottom, left, right).
    """
    strides, dilations = pair("stride", stride), pair("dilation", dilation)
    begin, end = _padding("conv2d", x, weight.shape[2:], strides, dilations, pad_mode, padding)
    return apply(
        convolution,
        x,
        weight,
        bias,
        strides=strides,
        dilations=dilations,
        pads_begin=begin,
        pads_end=end,
        groups=groups,
    )


# --- pools -------------------------------------------------------------------------------


def max_pool2d(
    x: Expression,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    pad_mode: str = "valid",
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The maximum of each window; padding (see :func:`conv2d`) never is one."""
    kernel, strides = pair("kernel_size", kernel_size), pair("stride", stride)
    dilations = pair("dilation", dilation)
    begin, end = _padding("max_pool2d", x, kernel, strides, dilations, pad_mode, padding)
    return apply(
        max_pool,
        x,
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads_begin=begin,
        pads_end=end,
        ceil_mode=ceil_mode,
    )


def avg_pool2d(
    x: Expression,
    kernel_size: int | Sequence[int] = 1,
    stride: int | Sequence[int] = 1,
    pad_mode: str = "valid",
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window; the padding of "same" is not counted, that of "pad" if wanted."""
    kernel, strides = pair("kernel_size", kernel_size), pair("stride", stride)
    begin, end = _padding("avg_pool2d", x, kernel, strides, (1, 1), pad_mode, padding)
    return apply(
        average_pool,
        x,
        kernel=kernel,
        strides=strides,
        pads_begin=begin,
        pads_end=end,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad and pad_mode.lower() == "pad",
    )


def pair(what: str, given: int | Sequence[int]) -> tuple[int, int]:
    """One number for height and width, or two."""
    numbers = (given, given) if isinstance(given, int) else tuple(given)
    if len(numbers) != 2 or not all(isinstance(n, int) and n >= 1 for n in numbers):
        raise ModelError(f"{what} {given!r} is neither a number from 1 on nor two of them")
    return numbers[0], numbers[1]


def _padding(
    what: str,
    x: Expression,
    kernel: Sequence[Extent],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pad_mode: str,
    padding: int | Sequence[int],
) -> tuple[tuple[Extent, ...], tuple[Extent, ...]]:
    """Padding in front of and behind height and width."""
    if x.ndim != 4:
        raise ModelError(f"{what} takes [batch, channels, height, width], not {x.type}")
    sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
    if len(sides) != 4 or not all(isinstance(side, int) and side >= 0 for side in sides):
        raise ModelError(f"{what}: padding {padding!r} is neither a number nor four of them")
    mode = pad_mode.lower()
    if mode not in ("same", "valid", "pad"):
        raise ModelError(f"{what}: pad_mode {pad_mode!r} is none of same, valid, pad")
    if mode == "pad":
        return (sides[0], sides[2]), (sides[1], sides[3])
    if any(sides):
        raise ModelError(f"{what}: padding {padding!r} needs pad_mode='pad', not {pad_mode!r}")
    auto = "SAME_UPPER" if mode == "same" else "VALID"
    return resolve_auto_pad(auto, x.shape[2:], kernel, strides, dilations)


# --- normalisation -----------------------------------------------------------------------


def batch_norm(
    x: Expression,
    running_mean: Expression,
    running_var: Expression,
    weight: Expression,
    bias: Expression,
    eps: float = 1e-5,
) -> Tensor:
    """``(x - running_mean) / sqrt(running_var + eps) * weight + bias`` for each channel."""
    return apply(
        batch_normalization, x, weight, bias, running_mean, running_var, epsilon=float(eps)
    )


def layer_norm(
    x: Expression,
    weight: Expression,
    bias: Expression | None = None,
    axis: int = -1,
    eps: float = 1e-5,
) -> Tensor:
    """Zero mean and unit variance over the axes from ``axis`` on, then ``weight`` and ``bias``."""
    return apply(layer_normalization, x, weight, bias, axis=axis, epsilon=float(eps))


def softmax(x: Expression, axis: int = -1) -> Tensor:
    """``exp(x)`` divided by its sum along ``axis``."""
    return apply(_softmax, x, axis=axis)


def log_softmax(x: Expression, axis: int = -1) -> Tensor:
    """The logarithm of :func:`softmax`."""
    return apply(_log_softmax, x, axis=axis)


# --- movement ----------------------------------------------------------------------------


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


def pad(
    x: Expression, paddings: Sequence[Sequence[int]], mode: str = "constant", value: float = 0.0
) -> Tensor:
    """``paddings[k]`` = (before, after) elements put around axis ``k``."""
    if len(paddings) != x.ndim or not all(len(item) == 2 for item in paddings):
        raise ModelError(f"pad: {tuple(paddings)} does not fit {x.type}")
    before, after = zip(*paddings, strict=True) if x.ndim else ((), ())
    filler = None if value == 0 else _constant_like(x, value)
    return apply(_pad, x, filler, before=before, after=after, mode=mode)


def _constant_like(x: Expression, value: float) -> Operand:
    return x.type.numpy.type(value)  # type: ignore[no-any-return]


def flatten(x: Expression) -> Tensor:
    """All axes after the first made into one."""
    return x.reshape(x.shape[0], product(x.shape[1:]))


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


def mean(x: Expression, axis: int | Sequence[int] | None = None, keep_dims: bool = False) -> Tensor:
    """The mean over ``axis``, or over everything."""
    return x.mean(axis, keep_dims)
