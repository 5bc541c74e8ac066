"""What stands for numbers and operands while a body is recorded: see :mod:`.recorded`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from .constants import F32, I64, constant

if TYPE_CHECKING:
    from .recorder import Recorder

POINTER = ir.PointerType()
# Element types, and how memory is aligned. Whole numbers below 64 bits can only be moved.
_ELEMENTS: dict[str, ir.Type] = {
    "float32": F32,
    "int64": I64,
    "uint64": ir.IntType(64),
    "uint32": ir.IntType(32),
    "uint16": ir.IntType(16),
    "uint8": ir.IntType(8),
}
_COMPUTED = frozenset({"float32", "int64"})


class NotRecordableError(BaseException):
    """A body does what only Numba can compile; no ``except`` of the body's own catches it."""


class _Computed:
    """What the compiled body computes; used inside the loops that compute it, nowhere else."""

    __slots__ = ("_loops", "_value", "recorder")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, recorder: Recorder, value: ir.Value) -> None:
        self.recorder, self._value = recorder, value
        self._loops = list(recorder.loops)

    def used(self) -> ir.Value:
        """Its value, for an instruction that is written now."""
        if self.recorder.loops[: len(self._loops)] != self._loops:
            raise NotRecordableError("a value leaves the loop that computes it")
        return self._value


class Number(_Computed):
    """A 64-bit integer or a float32."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy's numbers leave arithmetic to this class
    __hash__ = None

    @property
    def is_float(self) -> bool:
        """Whether it is a float32."""
        return bool(self._value.type == F32)

    def __bool__(self) -> bool:
        raise NotRecordableError("a number as a condition")

    def __add__(self, other: Any) -> Number:
        return self.recorder.arithmetic("add", self, other)

    def __radd__(self, other: Any) -> Number:
        return self.recorder.arithmetic("add", other, self)

    def __sub__(self, other: Any) -> Number:
        return self.recorder.arithmetic("sub", self, other)

    def __rsub__(self, other: Any) -> Number:
        return self.recorder.arithmetic("sub", other, self)

    def __mul__(self, other: Any) -> Number:
        return self.recorder.arithmetic("mul", self, other)

    def __rmul__(self, other: Any) -> Number:
        return self.recorder.arithmetic("mul", other, self)

    def __truediv__(self, other: Any) -> Number:
        return self.recorder.arithmetic("div", self, other)

    def __rtruediv__(self, other: Any) -> Number:
        return self.recorder.arithmetic("div", other, self)

    def __floordiv__(self, other: Any) -> Number:
        return self.recorder.divided(self, other)[0]

    def __mod__(self, other: Any) -> Number:
        return self.recorder.divided(self, other)[1]

    def __neg__(self) -> Number:
        return self.recorder.negated(self)

    def __lt__(self, other: Any) -> Condition:
        return self.recorder.compared("<", self, other)

    def __le__(self, other: Any) -> Condition:
        return self.recorder.compared("<=", self, other)

    def __gt__(self, other: Any) -> Condition:
        return self.recorder.compared(">", self, other)

    def __ge__(self, other: Any) -> Condition:
        return self.recorder.compared(">=", self, other)

    def __eq__(self, other: object) -> Any:
        return self.recorder.compared("==", self, other)

    def __ne__(self, other: object) -> Any:
        return self.recorder.compared("!=", self, other)


class Condition(_Computed):
    """A comparison's result; a scalar function that asks for it is run for both answers."""

    __slots__ = ()
    __hash__ = None

    def __bool__(self) -> bool:
        return self.recorder.decided(self)

    def __eq__(self, other: object) -> Any:
        raise NotRecordableError("conditions are compared")


class ElementType:
    """``x.dtype`` of an operand."""

    def __init__(self, name: str) -> None:
        if name not in _COMPUTED:
            raise NotRecordableError(f"numbers of the type {name}")
        self.type: Callable[[Any], Any] = np.float32 if name == "float32" else int


class Buffer:
    """An operand of the body: contiguous memory with known element type and rank."""

    def __init__(
        self, recorder: Recorder, element: str, pointer: ir.Value, extents: Sequence[ir.Value]
    ) -> None:
        if element not in _ELEMENTS:
            raise NotRecordableError(f"elements of the type {element}")
        self._recorder, self._element, self._pointer = recorder, element, pointer
        self._type = _ELEMENTS[element]
        self.shape = tuple(Number(recorder, extent) for extent in extents)

    @property
    def dtype(self) -> ElementType:
        """Makes scalars of the element type."""
        return ElementType(self._element)

    def __len__(self) -> int:
        raise NotRecordableError("len() of an operand")

    def __iter__(self) -> Iterator[Any]:
        raise NotRecordableError("a loop over an operand")

    def __getitem__(self, index: Any) -> Any:
        place = self._place(index)
        value = self._recorder.builder.load(place, typ=self._type, align=self._bytes)
        if self._element in _COMPUTED:
            return Number(self._recorder, value)
        return _Moved(self._recorder, value, self._element)

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, _Moved):
            if value.element != self._element:
                raise NotRecordableError("an element is converted")
            held = value.used()
        elif self._element not in _COMPUTED:
            raise NotRecordableError(f"numbers of the type {self._element}")
        else:
            held = self._recorder.value(value, self._type)
        self._recorder.builder.store(held, self._place(index), align=self._bytes)

    @property
    def _bytes(self) -> int:
        return 4 if self._type == F32 else int(self._type.width) // 8

    def _place(self, index: Any) -> ir.Value:
        recorder, builder = self._recorder, self._recorder.builder
        recorder.only_in_bodies()
        indices = index if isinstance(index, tuple) else (index,)
        if len(indices) != len(self.shape):
            raise NotRecordableError("an index for another rank")
        offset: ir.Value = constant(0)
        for number, (one, extent) in enumerate(zip(indices, self.shape, strict=True)):
            value = recorder.value(one, I64)
            if number:
                offset = builder.mul(offset, extent.used(), flags=["nsw"])
                value = builder.add(offset, value, flags=["nsw"])
            offset = value
        return builder.gep(self._pointer, [offset], inbounds=True, source_etype=self._type)


class _Moved(_Computed):
    """An element that can only be stored."""

    __slots__ = ("element",)

    def __init__(self, recorder: Recorder, value: ir.Value, element: str) -> None:
        super().__init__(recorder, value)
        self.element = element
