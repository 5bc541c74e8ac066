"""Symbolic tensors: what a network's ``construct`` computes with while its graph is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ..ir import Array, Dim, Extent, LazyArray, ModelError, Op, TensorType, Value
from ..ir.data_type import is_float, item_size
from ..ir.dim import ceil_divide, floor_divide, product
from ..ops.cast import cast
from ..ops.elementwise_arithmetic import add, div, mul, neg, pow_, sub
from ..ops.elementwise_logic import greater, greater_equal, less, less_equal
from ..ops.matmul import matmul
from ..ops.movement import slice_, transpose
from ..ops.reduce import reduce_mean, reduce_sum
from ..ops.reshape import reshape
from .tracing import Trace, current_trace

Number = bool | int | float


class Expression:
    """What operators can be applied to: symbolic tensors and parameters."""

    # An array on the left of an operator must leave the operator to this class.
    __array_ufunc__ = None

    @property
    def type(self) -> TensorType:
        """Element type and shape."""
        raise NotImplementedError

    def value_in(self, trace: Trace) -> Value:
        """The value of a trace's graph that stands for this."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[Extent, ...]:
        """The extents: ints, and symbols where an input's shape is left open."""
        return self.type.shape

    @property
    def dtype(self) -> str:
        """The element type's name."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.type.rank

    def __add__(self, other: Operand) -> Tensor:
        return binary(add, self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return binary(add, other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return binary(sub, self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return binary(sub, other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return binary(mul, self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return binary(mul, other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        # Whole numbers are divided as floating-point numbers, as in Python and MindSpore.
        left = self if is_float(self.dtype) else self.astype("float32")
        if isinstance(other, Expression) and not is_float(other.dtype):
            other = other.astype("float32")
        return binary(div, left, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return binary(div, other, self if is_float(self.dtype) else self.astype("float32"))

    def __matmul__(self, other: Operand) -> Tensor:
        return apply(matmul, self, other)

    def __neg__(self) -> Tensor:
        return apply(neg, self)

    def __pow__(self, other: Operand) -> Tensor:
        return binary(pow_, self, other)

    def __lt__(self, other: Operand) -> Tensor:
        return binary(less, self, other)

    def __le__(self, other: Operand) -> Tensor:
        return binary(less_equal, self, other)

    def __gt__(self, other: Operand) -> Tensor:
        return binary(greater, self, other)

    def __ge__(self, other: Operand) -> Tensor:
        return binary(greater_equal, self, other)

    def astype(self, dtype: str) -> Tensor:
        """The elements converted to another type."""
        return apply(cast, self, to=dtype)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements with other extents; one of them may be -1."""
        wanted = tuple(shape[0]) if len(shape) == 1 and not _is_extent(shape[0]) else shape
        return apply(reshape, self, shape=_completed(self.type, wanted))

    view = reshape

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order; reversed without ``axes``."""
        order = tuple(axes[0]) if len(axes) == 1 and not isinstance(axes[0], int) else axes
        order = order or tuple(reversed(range(self.ndim)))
        return apply(transpose, self, permutation=tuple(self.type.axis(axis) for axis in order))

    permute = transpose

    def swapaxes(self, first: int, second: int) -> Tensor:
        """The two axes exchanged."""
        order = list(range(self.ndim))
        one, other = self.type.axis(first), self.type.axis(second)
        order[one], order[other] = order[other], order[one]
        return self.transpose(order)

    def expand_dims(self, axis: int) -> Tensor:
        """An axis of one element put in front of ``axis``; -1 puts it last."""
        if not -self.ndim - 1 <= axis <= self.ndim:
            raise ModelError(f"expand_dims: axis {axis} is out of range for {self.type}")
        place = axis % (self.ndim + 1)
        return self.reshape(*self.shape[:place], 1, *self.shape[place:])

    unsqueeze = expand_dims

    def squeeze(self, axis: int | Sequence[int] | None = None) -> Tensor:
        """Without these axes of one element; without all of them if ``axis`` is None."""
        if axis is None:
            gone = {place for place, extent in enumerate(self.shape) if extent == 1}
        else:
            axes = (axis,) if isinstance(axis, int) else axis
            gone = {self.type.axis(place) for place in axes}
        for place in gone:
            if isinstance(self.shape[place], int) and self.shape[place] != 1:
                raise ModelError(f"squeeze: axis {place} of {self.type} is not 1")
        return self.reshape([e for place, e in enumerate(self.shape) if place not in gone])

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The axes from ``start_dim`` to ``end_dim`` made into one."""
        first, last = self.type.axis(start_dim), self.type.axis(end_dim)
        if last < first:
            raise ModelError(f"flatten: axis {last} is in front of axis {first}")
        merged = product(self.shape[first : last + 1])
        return self.reshape(*self.shape[:first], merged, *self.shape[last + 1 :])

    def mean(self, axis: int | Sequence[int] | None = None, keep_dims: bool = False) -> Tensor:
        """The mean over ``axis``, or over everything."""
        axes = axes_of(self.type, axis)
        return apply(reduce_mean, self, axes=axes, keepdims=keep_dims)

    def sum(self, axis: int | Sequence[int] | None = None, keep_dims: bool = False) -> Tensor:
        """The sum over ``axis``, or over everything."""
        axes = axes_of(self.type, axis)
        return apply(reduce_sum, self, axes=axes, keepdims=keep_dims)

    def __getitem__(self, index: Any) -> Tensor:
        return _indexed(self, index if isinstance(index, tuple) else (index,))

    def __bool__(self) -> NoReturn:
        raise ModelError(
            "a tensor of a network definition has no value yet: conditions and loops in "
            "construct are Python's and may only depend on shapes and settings"
        )

    def __iter__(self) -> NoReturn:
        raise ModelError("a tensor cannot be iterated over; take its parts by index")


class Tensor(Expression):
    """A value of the graph that is being traced."""

    __slots__ = ("_trace", "value")

    def __init__(self, trace: Trace, value: Value) -> None:
        self._trace = trace
        self.value = value

    @property
    def type(self) -> TensorType:
        """Element type and shape."""
        return self._trace.graph.type(self.value)

    def value_in(self, trace: Trace) -> Value:
        """The value itself; raises ModelError in another trace."""
        if trace is not self._trace:
            raise ModelError("a tensor was kept from another call of the network")
        return self.value

    def __repr__(self) -> str:
        return f"Tensor({self.value}: {self.type})"


Operand = Expression | Array | LazyArray | bool | int | float | np.generic


def value_of(trace: Trace, operand: Operand, dtype: str = "float32") -> Value:
    """The value for an operand; a number takes the element type ``dtype``."""
    if isinstance(operand, Expression):
        return operand.value_in(trace)
    if isinstance(operand, LazyArray):
        return trace.graph.param(operand, "constant")
    if isinstance(operand, (np.ndarray, np.generic)):
        return trace.constant(np.asarray(operand))
    if isinstance(operand, (bool, int, float)):
        return trace.constant(np.asarray(operand, TensorType(dtype).numpy))
    raise ModelError(f"{type(operand).__name__} is not an operand: take a tensor or a number")


def apply_all(op: Op, *operands: Operand | None, **attributes: Any) -> tuple[Tensor, ...]:
    """A node of the graph under construction: ``op`` applied to operands; its outputs."""
    trace = current_trace()
    values = [None if item is None else value_of(trace, item) for item in operands]
    where = trace.scope[-1] if trace.scope else ""
    name = f"{where}.{op.name}" if where else op.name
    node = trace.graph.add_node(op, values, attributes, name=name, origin=where)
    return tuple(Tensor(trace, value) for value in node.outputs)


def apply(op: Op, *operands: Operand | None, **attributes: Any) -> Tensor:
    """A node of the graph under construction that has one output."""
    (output,) = apply_all(op, *operands, **attributes)
    return output


def binary(op: Op, left: Operand, right: Operand) -> Tensor:
    """``op`` of two operands, of which one may be a Python number; types as :func:`in_common`."""
    return apply(op, *in_common(left, right))


def in_common(left: Operand, right: Operand) -> tuple[Tensor, Tensor]:
    """Two operands as tensors of one element type, MindSpore's way.

    A Python number takes the type of the other operand, a fraction beside whole numbers makes
    them float32. Of two types the floating, then the wider one is taken; what neither holds
    goes to the next that holds both.
    """
    left, right = _with_number(left, right), _with_number(right, left)
    trace = current_trace()
    dtype = next((item.dtype for item in (left, right) if isinstance(item, Expression)), "float32")
    one, other = (Tensor(trace, value_of(trace, item, dtype)) for item in (left, right))
    if one.dtype == other.dtype:
        return one, other
    common = _common_type(one.dtype, other.dtype)
    return tuple(t if t.dtype == common else t.astype(common) for t in (one, other))  # type: ignore[return-value]


def _common_type(left: str, right: str) -> str:
    floats = [name for name in (left, right) if is_float(name)]
    if len(floats) == 1:
        return floats[0]
    if {left, right} == {"float16", "bfloat16"}:
        return "float32"
    if floats:
        return max(floats, key=item_size)
    return np.promote_types(left, right).name


def _with_number(operand: Operand, other: Operand) -> Operand:
    """``operand``, as float32 where it is whole and ``other`` a fraction."""
    fraction = isinstance(other, float) and not isinstance(other, np.generic)
    if fraction and isinstance(operand, Expression) and not is_float(operand.dtype):
        return operand.astype("float32")
    return operand


def _is_extent(item: Any) -> bool:
    return isinstance(item, (int, Dim)) or hasattr(item, "__index__")


def _completed(type_: TensorType, shape: Sequence[Any]) -> tuple[Extent, ...]:
    """``shape`` with the extent that -1 stands for."""
    extents = tuple(item if isinstance(item, Dim) else int(item) for item in shape)
    unknown = [place for place, extent in enumerate(extents) if extent == -1]
    if not unknown:
        return extents
    if len(unknown) > 1:
        raise ModelError(f"reshape: {extents} leaves more than one extent open")
    known = product(extent for place, extent in enumerate(extents) if place != unknown[0])
    if known == 0:
        raise ModelError(f"reshape: the open extent of {extents} could be anything")
    size = type_.size
    if isinstance(size, int) and isinstance(known, int) and size % known:
        raise ModelError(f"reshape: {type_} of {size} elements cannot have the shape {extents}")
    place = unknown[0]
    return (*extents[:place], floor_divide(size, known), *extents[place + 1 :])


def axes_of(type_: TensorType, axis: int | Sequence[int] | None) -> tuple[int, ...]:
    """Axes as non-negative numbers; None and () are all of them."""
    if axis is None or (not isinstance(axis, int) and len(axis) == 0):
        return tuple(range(type_.rank))
    return tuple(type_.axis(item) for item in ((axis,) if isinstance(axis, int) else axis))


def _indexed(x: Expression, index: tuple[Any, ...]) -> Tensor:
    """``x[index]`` for ints, slices with positive steps, None and Ellipsis."""
    if any(
        not (i is None or i is Ellipsis or isinstance(i, slice) or _is_extent(i)) for i in index
    ):
        raise ModelError("a tensor is indexed by ints, slices, None and ...; use gather for more")
    used = sum(item is not None and item is not Ellipsis for item in index)
    if used > x.ndim or sum(item is Ellipsis for item in index) > 1:
        raise ModelError(f"{len(index)} indices for {x.type}")
    where = next((place for place, item in enumerate(index) if item is Ellipsis), len(index))
    rest = (slice(None),) * (x.ndim - used)
    items = (*index[:where], *rest, *index[where + 1 :])
    starts: list[Extent] = []
    sizes: list[Extent] = []
    steps: list[int] = []
    shape: list[Extent] = []
    for item in items:
        if item is None:
            shape.append(1)
            continue
        extent = x.shape[len(starts)]
        start, size, step = _interval(item, extent)
        starts.append(start)
        sizes.append(size)
        steps.append(step)
        if isinstance(item, slice):
            shape.append(size)
    whole = tuple(sizes) == x.shape and not any(starts) and all(step == 1 for step in steps)
    part: Expression = x if whole else apply(slice_, x, starts=starts, sizes=sizes, steps=steps)
    return part.reshape(shape)


def _interval(item: Any, extent: Extent) -> tuple[Extent, Extent, int]:
    """Start, size and step of one index along an axis."""
    if not isinstance(item, slice):
        start = item if isinstance(item, Dim) else int(item)
        if isinstance(start, int) and start < 0:
            start = extent + start
        if isinstance(extent, int) and isinstance(start, int) and not 0 <= start < extent:
            raise ModelError(f"index {item} is outside an axis of {extent}")
        return start, 1, 1
    step = 1 if item.step is None else item.step
    if not isinstance(step, int) or step < 1:
        raise ModelError(f"a tensor is sliced by positive steps, not {item.step}")
    first = _bound(item.start, 0, extent)
    last = _bound(item.stop, extent, extent)
    size = ceil_divide(last - first, step)
    return first, max(size, 0) if isinstance(size, int) else size, step


def _bound(given: Any, default: Extent, extent: Extent) -> Extent:
    if given is None:
        return default
    bound: Extent = given if isinstance(given, Dim) else int(given)
    if isinstance(bound, int) and bound < 0:
        bound = extent + bound
    if isinstance(extent, int) and isinstance(bound, int):
        return min(max(bound, 0), extent)
    return bound
