"""What a reader function is given: the node being read and ways to add to the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir import Dim, Extent, ModelError, UnsupportedError, Value
from ...ir.data_type import is_float
from ..builder import Builder, ops
from . import convert
from .element_types import NAMES
from .items import Constant, Item, Reference, Shape, Tensor
from .region import Region, type_of_array

if TYPE_CHECKING:
    from .machine import Frame, Machine

__all__ = ["Context", "ops"]


class Context(Builder):
    """One MindIR node and the region it is read into."""

    def __init__(
        self, machine: Machine, frame: Frame, region: Region, proto: Any, origin: str
    ) -> None:
        super().__init__(region, origin, _stem(proto))
        self.machine, self.frame, self.region, self.proto = machine, frame, region, proto

    @property
    def primitive(self) -> str:
        """The name of the primitive that is being read."""
        return self.machine.model.resolve(self.proto)[1]

    def declared(self, position: int, otherwise: str) -> str:
        """The element type that the file declares for one of the node's results."""
        found = declared_types(self.proto)
        return found[position] if position < len(found) and found[position] else otherwise

    def value(self, item: Item, dtype: str | None = None) -> Value:
        """An item as a tensor of this region; scalars become 0-d, tuples of them 1-d tensors.

        Without ``dtype`` whole numbers become int64 and others float32, as in MindSpore.
        """
        if isinstance(item, Value):
            return item if dtype is None else self.cast(item, dtype)
        if isinstance(item, Reference):
            item = self.machine.read_parameter(item.name)
        if isinstance(item, (Tensor, Constant)):
            if isinstance(item, Tensor):
                value = self.region.local(item)
            else:
                value = self.region.constant(item)
            return value if dtype is None else self.cast(value, dtype)
        if isinstance(item, (bool, int, float)):
            return self.region.scalar(item, dtype or scalar_type(item))
        if isinstance(item, Dim):
            value = self.reshape(self.symbolic([item]), ())
            return value if dtype is None else self.cast(value, dtype)
        if isinstance(item, tuple):
            return self._stacked(item, dtype)
        raise ModelError(f"{type(item).__name__} stands where a tensor is needed")

    def _stacked(self, items: tuple[Item, ...], dtype: str | None) -> Value:
        if all(isinstance(item, (bool, int, float)) for item in items):
            kind = dtype or ("int64" if not items else scalar_type(items[0]))
            if any(isinstance(item, float) for item in items):
                kind = dtype or "float32"
            return self.constant(np.array(items), kind)
        if all(isinstance(item, (int, Dim)) for item in items):
            value = self.symbolic(items)
            return value if dtype is None else self.cast(value, dtype)
        values = [self.value(item, dtype) for item in items]
        rows = [self.unsqueeze(value, 0) for value in values]
        return self.add(ops.concat, *rows, axis=0)

    def like(self, item: Item, other: Value) -> Value:
        """A scalar item as a tensor of the element type of ``other``; tensors as they are."""
        if isinstance(item, (bool, int, float, Dim)):
            return self.value(item, self.dtype(other))
        return self.value(item)

    def pair(self, left: Item, right: Item) -> tuple[Value, Value]:
        """The operands of arithmetic, in one element type.

        A Python number takes the tensor's type; a fraction beside an integer tensor makes both
        float32, a whole number beside a boolean one int64.
        """
        numbers = (bool, int, float, Dim)
        if isinstance(right, numbers) and not isinstance(left, numbers):
            x = self.value(left)
            dtype = joint_type(self.dtype(x), right)
            return self.cast(x, dtype), self.value(right, dtype)
        if isinstance(left, numbers) and not isinstance(right, numbers):
            y = self.value(right)
            dtype = joint_type(self.dtype(y), left)
            return self.value(left, dtype), self.cast(y, dtype)
        x, y = self.value(left), self.value(right)
        if self.dtype(x) != self.dtype(y):
            dtype = promoted(self.dtype(x), self.dtype(y))
            return self.cast(x, dtype), self.cast(y, dtype)
        return x, y

    def item(self, result: Any) -> Item:
        """A reader's result as an item: values become Tensors of the region."""
        if isinstance(result, Value):
            return Tensor(self.region, result)
        if isinstance(result, Shape):
            return result
        if isinstance(result, (tuple, list)):
            self.machine.count_parts(len(result))
            return tuple(self.item(part) for part in result)
        return result

    def index_number(self, item: Item) -> int:
        """An index that must be known now."""
        if isinstance(item, (Tensor, Constant, Reference)):
            return int(self.number(self.value(item), "an index"))
        if not isinstance(item, int):
            raise UnsupportedError("an index that only a run tells")
        return int(item)

    def extent(self, item: Item, what: str) -> Extent:
        """An extent: known, in terms of the inputs' shapes, or measured while running."""
        return convert.CONVERTERS["Extent"](self, item, what)  # type: ignore[no-any-return]

    def whole_numbers(self, item: Item, what: str) -> tuple[int, ...]:
        """Whole numbers that must be known now."""
        return convert.CONVERTERS["Ints"](self, item, what)  # type: ignore[no-any-return]

    def whole(self, extent: Extent) -> Value:
        """An extent as a 0-d int64 tensor."""
        if isinstance(extent, int):
            return self.region.scalar(extent, "int64")
        return self.reshape(self.symbolic([extent]), ())

    def element(self, x: Value, position: int) -> Value:
        """The part of ``x`` at ``position`` of the first axis."""
        part = self.slice_axis(x, 0, position, 1)
        return self.reshape(part, self.shape(part)[1:])

    def reshape(self, x: Value, shape: Sequence[Extent]) -> Value:
        """``x`` with another shape, without a way there and back."""
        node = self.graph.node(x.node)
        source = node.inputs[0] if node.op.name == "reshape" else None
        if source is not None and self.shape(source) == tuple(shape):
            return source
        return super().reshape(x, shape)

    def expand(self, x: Value, shape: Sequence[Extent]) -> Value:
        """``x`` repeated along axes of extent 1."""
        if self.shape(x) == tuple(shape):
            return x
        return self.add(ops.expand, x, shape=tuple(shape))

    def slice_axis(self, x: Value, axis: int, start: Extent, size: Extent) -> Value:
        """``size`` elements from ``start`` along one axis; ``x`` where those are all."""
        if start == 0 and size == self.shape(x)[axis]:
            return x
        return super().slice_axis(x, axis, start, size)

    def joined(self, parts: Sequence[Value], axis: int) -> Value:
        """The parts one after the other along ``axis``."""
        return parts[0] if len(parts) == 1 else self.add(ops.concat, *parts, axis=axis)

    def broadcast_rank(self, x: Value, rank: int) -> Value:
        """``x`` with extents 1 put in front, up to ``rank``."""
        shape = self.shape(x)
        return self.reshape(x, (*(1 for _ in range(rank - len(shape))), *shape))

    def sizes(self, item: Item) -> tuple[Any, ...]:
        """The shape of a tensor item."""
        if isinstance(item, Constant):
            return type_of_array(item.array).shape
        return self.shape(self.value(item))


def scalar_type(number: bool | int | float) -> str:
    """The element type that MindSpore gives a Python number."""
    if isinstance(number, bool):
        return "bool"
    return "int64" if isinstance(number, int) else "float32"


def joint_type(dtype: str, number: Any) -> str:
    """The element type of arithmetic between a tensor and a Python number."""
    if isinstance(number, bool) or is_float(dtype):
        return dtype
    if isinstance(number, float):
        return "float32"
    return "int64" if dtype == "bool" else dtype


_ORDER = (
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "bfloat16",
    "float16",
    "float32",
    "float64",
)


def promoted(left: str, right: str) -> str:
    """The element type of arithmetic between two tensors (MindSpore writes casts; mostly equal)."""
    if {left, right} == {"float16", "bfloat16"}:
        return "float32"
    unsigned = {left, right} & {"uint8", "uint16", "uint32", "uint64"}
    if unsigned and any(name.startswith("int") for name in (left, right)):
        bits = max(int(name.lstrip("uint")) for name in (left, right))
        wide = max(bits, 2 * min(int(name.lstrip("uint")) for name in unsigned))
        if wide > 64:
            raise UnsupportedError(f"arithmetic between {left} and {right}")
        return f"int{wide}"
    return max(left, right, key=_ORDER.index)


def declared_types(proto: Any) -> list[str]:
    """The element types of a node's results as far as the file tells them, "" otherwise."""
    for attribute in proto.attribute:
        if attribute.name == "shape" or attribute.ref_attr_name.startswith("shape:"):
            protos = [
                tensor
                for part in (attribute.values or [attribute])
                for tensor in ([part.t] if part.HasField("t") else part.tensors)
            ]
            return [NAMES.get(tensor.data_type, "") for tensor in protos]
    return []


def _stem(proto: Any) -> str:
    """A short name for the nodes made of a MindIR node: its scope or its output's last part."""
    name = str(proto.domain or "")
    if not name or name.isdigit():
        name = str(proto.output[0] if len(proto.output) else proto.op_type).rsplit(":", 2)[-1]
    return name.removeprefix("Default/") or str(proto.op_type)
