"""The Numba type of a kernel operand: a contiguous row-major block of memory.

In plain Python an operand is a NumPy array; compiled, it is a value of `BufferType`, which
is far smaller than Numba's own array type: the data pointer and one extent a dimension. There
is no reference count, no strides and no item size, so that extents which the caller knows fold
into addresses and loop bounds. Type inference and lowering are written against Numba's
low-level extension interface, because Numba compiles each ``@overload`` like a function.

What bodies may use, with the meaning it has for NumPy arrays: ``x[i, j]``, ``x[i]`` and
``x[()]`` to read and write one element, ``x.shape``, ``x.ndim``, ``x.size``, ``x.dtype``
(so ``x.dtype.type(0)`` is a typed scalar) and ``len(x)``. There is one difference: an index is
used as it is. It is never checked against the extent and negative ones do not count from the
end, so a body that can meet such an index must test for it itself.

float16 and bfloat16 elements are stored as 16 bits and computed as float32: reading widens
exactly, writing rounds to nearest, ties to even.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Final

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin, lower_getattr
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    Signature,
    infer_getattr,
    infer_global,
    signature,
)
from numba.extending import register_model

from .half_precision import emit_narrow, emit_widen

HALF_STORAGE: Final = ("float16", "bfloat16")


class BufferType(types.Type):
    """A contiguous row-major block of ``rank`` dimensions.

    ``element`` is the Numba type of what reading yields and writing takes. ``storage`` is None
    when memory holds just that (booleans as one byte, 0 or 1), or "float16" or "bfloat16" when
    memory holds 16-bit floats and ``element`` is float32. Writing to a ``readonly`` buffer is a
    type error. Written values are converted as an assignment to a NumPy array converts them
    (float to integer truncates towards zero; what does not fit is undefined, as in C).
    """

    def __init__(
        self,
        element: types.Type,
        rank: int,
        readonly: bool = False,
        storage: str | None = None,
    ) -> None:
        if rank < 0:
            raise ValueError(f"a buffer cannot have {rank} dimensions")
        if storage is not None and (storage not in HALF_STORAGE or element != types.float32):
            raise ValueError(f"{storage} storage of {element} elements is not supported")
        self.element = element
        self.rank = rank
        self.readonly = readonly
        self.storage = storage
        held = f"{element}" if storage is None else f"{element} as {storage}"
        super().__init__(f"buffer({held}, {rank}{', readonly' if readonly else ''})")

    @property
    def key(self) -> tuple[types.Type, int, bool, str | None]:
        """What makes two buffer types equal."""
        return self.element, self.rank, self.readonly, self.storage

    @property
    def stored(self) -> types.Type:
        """The Numba type of one element in memory."""
        return types.uint16 if self.storage else self.element


@register_model(BufferType)
class BufferModel(models.StructModel):
    """A buffer's value: the data pointer, then ``rank`` extents of 64 bits."""

    def __init__(self, manager: Any, buffer: BufferType) -> None:
        members = [
            ("data", types.CPointer(buffer.stored)),
            ("shape", types.UniTuple(types.int64, buffer.rank)),
        ]
        super().__init__(manager, buffer, members)


# Type inference


@infer_getattr
class BufferAttributes(AttributeTemplate):
    """Types of the attributes that a buffer shares with NumPy's arrays."""

    key = BufferType

    def resolve_shape(self, buffer: BufferType) -> types.Type:
        """One int64 a dimension."""
        return types.UniTuple(types.int64, buffer.rank)

    def resolve_ndim(self, buffer: BufferType) -> types.Type:
        """The rank, a constant."""
        return types.int64

    def resolve_size(self, buffer: BufferType) -> types.Type:
        """The number of elements."""
        return types.int64

    def resolve_dtype(self, buffer: BufferType) -> types.Type:
        """The element type as an object; ``.type`` of it converts scalars."""
        return types.DType(buffer.element)


def _index_type(buffer: BufferType, index: types.Type) -> types.Type | None:
    """The type to which an index is cast before use; None if it cannot index the buffer."""
    if isinstance(index, types.Integer):
        return types.int64 if buffer.rank == 1 else None
    if isinstance(index, types.BaseTuple) and len(index) == buffer.rank:
        if all(isinstance(part, types.Integer) for part in index):
            return types.UniTuple(types.int64, buffer.rank)
    return None


@infer_global(operator.getitem)
class BufferGetItem(AbstractTemplate):
    """``x[i, j]`` with one integer a dimension yields an element."""

    def generic(self, args: Sequence[types.Type], kws: object) -> Signature | None:
        """The call's signature, None when it is not the indexing of a buffer."""
        buffer, index = args
        if not isinstance(buffer, BufferType):
            return None
        wanted = _index_type(buffer, index)
        return None if wanted is None else signature(buffer.element, buffer, wanted)


@infer_global(operator.setitem)
class BufferSetItem(AbstractTemplate):
    """``x[i, j] = value`` converts the value to the element type."""

    def generic(self, args: Sequence[types.Type], kws: object) -> Signature | None:
        """The call's signature, None when it is not a legal write to a buffer."""
        buffer, index, value = args
        if not isinstance(buffer, BufferType) or buffer.readonly:
            return None
        wanted = _index_type(buffer, index)
        if wanted is None or not self.context.can_convert(value, buffer.element):
            return None
        return signature(types.none, buffer, wanted, buffer.element)


@infer_global(len)
class BufferLen(AbstractTemplate):
    """``len(x)`` is the first extent."""

    def generic(self, args: Sequence[types.Type], kws: object) -> Signature | None:
        """The call's signature, None for what has no length."""
        if len(args) == 1 and isinstance(args[0], BufferType) and args[0].rank > 0:
            return signature(types.intp, args[0])
        return None


# Lowering


def _extents(context: Any, builder: ir.IRBuilder, buffer: BufferType, value: Any) -> list[Any]:
    """The extents of a buffer's value, one LLVM i64 each."""
    held = context.make_helper(builder, buffer, value=value)
    return cgutils.unpack_tuple(builder, held.shape, buffer.rank) if buffer.rank else []


def _element_pointer(
    context: Any, builder: ir.IRBuilder, buffer: BufferType, value: Any, index_type: Any, index: Any
) -> Any:
    """Where an element lies.

    The arithmetic is marked as free of signed overflow, which holds for every index inside the
    buffer and lets LLVM see that successive elements are adjacent.
    """
    held = context.make_helper(builder, buffer, value=value)
    if isinstance(index_type, types.BaseTuple):
        indices = cgutils.unpack_tuple(builder, index, buffer.rank) if buffer.rank else []
    else:
        indices = [index]
    extents = _extents(context, builder, buffer, value)
    offset = ir.Constant(ir.IntType(64), 0)
    for position, one in enumerate(indices):
        if position:
            offset = builder.mul(offset, extents[position], flags=["nsw"])
            offset = builder.add(offset, one, flags=["nsw"])
        else:
            offset = one
    return builder.gep(held.data, [offset], inbounds=True)


@lower_builtin(operator.getitem, BufferType, types.Any)
def _lower_getitem(context: Any, builder: ir.IRBuilder, sig: Signature, args: Any) -> Any:
    buffer, index_type = sig.args
    pointer = _element_pointer(context, builder, buffer, args[0], index_type, args[1])
    if buffer.storage:
        return emit_widen(builder, builder.load(pointer), buffer.storage)
    return context.unpack_value(builder, buffer.element, pointer)


@lower_builtin(operator.setitem, BufferType, types.Any, types.Any)
def _lower_setitem(context: Any, builder: ir.IRBuilder, sig: Signature, args: Any) -> Any:
    buffer, index_type, _ = sig.args
    pointer = _element_pointer(context, builder, buffer, args[0], index_type, args[1])
    if buffer.storage:
        builder.store(emit_narrow(builder, args[2], buffer.storage), pointer)
    else:
        context.pack_value(builder, buffer.element, args[2], pointer)
    return context.get_dummy_value()


@lower_builtin(len, BufferType)
def _lower_len(context: Any, builder: ir.IRBuilder, sig: Signature, args: Any) -> Any:
    return _extents(context, builder, sig.args[0], args[0])[0]


@lower_getattr(BufferType, "shape")
def _lower_shape(context: Any, builder: ir.IRBuilder, buffer: BufferType, value: Any) -> Any:
    return context.make_helper(builder, buffer, value=value).shape


@lower_getattr(BufferType, "ndim")
def _lower_ndim(context: Any, builder: ir.IRBuilder, buffer: BufferType, value: Any) -> Any:
    return ir.Constant(ir.IntType(64), buffer.rank)


@lower_getattr(BufferType, "size")
def _lower_size(context: Any, builder: ir.IRBuilder, buffer: BufferType, value: Any) -> Any:
    size = ir.Constant(ir.IntType(64), 1)
    for extent in _extents(context, builder, buffer, value):
        size = builder.mul(size, extent, flags=["nsw"])
    return size


@lower_getattr(BufferType, "dtype")
def _lower_dtype(context: Any, builder: ir.IRBuilder, buffer: BufferType, value: Any) -> Any:
    return context.get_dummy_value()
