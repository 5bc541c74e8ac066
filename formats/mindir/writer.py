"""Graph -> MindIR nodes: names, constants, symbolic extents, and the registry of writers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...ir import (
    Array,
    Dim,
    Extent,
    Graph,
    LazyArray,
    ModelError,
    Node,
    TensorType,
    UnsupportedError,
    Value,
)
from ...ir import dim as dims
from ..writers import Writers
from .element_types import IDS
from .encode import fill_function_result, fill_result
from .model_writer import ModelWriter, Name
from .schema import message

__all__ = ["Name", "Writer", "find_writer", "writes"]

# Numbers of mind_ir.PrimitiveProto.PrimType.
_PRIMITIVE, _FUNCTION = 1, 2


_WRITERS = Writers(
    "a MindIR writer",
    __package__,
    (
        "write_elementwise",
        "write_movement",
        "write_neural",
        "write_pooling",
        "write_recurrent",
        "write_resizing",
        "write_detection",
        "write_selection",
        "write_control",
    ),
)
writes, find_writer = _WRITERS.writes, _WRITERS.find


class Writer:
    """Writes one Graph: the model's, or the body of a branch or loop as a function."""

    def __init__(
        self, graph: Graph, model: ModelWriter, name: str, parent: Writer | None = None
    ) -> None:
        self.graph, self.model, self.graph_name, self.parent = graph, model, name, parent
        self.nodes: list[Any] = []
        self.names: dict[Value, Name] = {}
        # Inputs of a function beside its graph's: the parent's names they stand for.
        self.extra: dict[Name, Name] = {}
        self._raw: dict[Value, tuple[Name, str]] = {}
        self._given: dict[Value, Name] = {}
        self._shaped: dict[Value, tuple[Name, tuple[Extent, ...]]] = {}
        self._refused: set[Value] = set()
        # The elements of vectors of whole numbers that extents are measured by.
        self._scalars: dict[Value, list[Name]] = {}
        self._extents: dict[Extent, Any] = {}
        # Places within the planes of a pool beside those within the whole tensor.
        self.planes: dict[Value, tuple[Name, int]] = {}
        self._scope = ""
        self._symbols = list(graph.symbols)

    # --- names ---------------------------------------------------------------------------

    def name(self, value: Value) -> Name:
        """The name of a value, of its own element type."""
        if value not in self.names and value in self._raw:
            raw, _ = self._raw[value]
            self.names[value] = self.cast(raw, self.type(value))
        if value not in self.names and value in self._shaped:
            flat, _ = self._shaped[value]
            self.names[value] = self.reshape(flat, self.type(value).shape, self.type(value).dtype)
        return self.names[value]

    def shaped(self, value: Value, shape: Sequence[Extent]) -> Name | None:
        """The value as MindSpore computes it, where that is of this shape."""
        found = self._shaped.get(value)
        return found[0] if found is not None and found[1] == tuple(shape) else None

    def give_shaped(self, value: Value, name: Name, shape: Sequence[Extent]) -> None:
        """Say that MindSpore's result for ``value`` has another shape."""
        self._shaped[value] = (name, tuple(shape))

    def give(self, value: Value, name: Name) -> None:
        """Say what the result of a node that comes later is called."""
        self._given[value] = name

    def given(self, value: Value) -> Name | None:
        """The name given beforehand."""
        return self._given.get(value)

    def raw(self, value: Value, dtype: str) -> Name | None:
        """The value as MindSpore computes it, where that is of element type ``dtype``."""
        found = self._raw.get(value)
        return found[0] if found is not None and found[1] == dtype else None

    def give_raw(self, value: Value, name: Name, dtype: str) -> None:
        """Say that MindSpore's result for ``value`` has another element type."""
        self._raw[value] = (name, dtype)

    def give_scalars(self, value: Value, names: Sequence[Name]) -> None:
        """Say which scalars the elements of a vector of whole numbers are."""
        self._scalars[value] = list(names)
        array = self.function("TupleToTensor", self.tuple_of(names), IDS["int64"])
        self.names[value] = array

    def type(self, value: Value | None) -> TensorType:
        """The type of a value that is there."""
        if value is None:
            raise ModelError("an operand is missing")
        return self.graph.type(value)

    def producer(self, value: Value | None) -> Node | None:
        """The node that computes a value."""
        return None if value is None else self.graph.node(value.node)

    def held(self, value: Value | None) -> Array | None:
        """The array of a value that is a parameter."""
        return self.graph.array(value) if value is not None and self.graph.is_param(value) else None

    # --- nodes ---------------------------------------------------------------------------

    def function(self, op_type: str, *inputs: Any, type: Any = None) -> Name:
        """A primitive whose settings are inputs: Names, or Python values and arrays."""
        return self._node(op_type, _FUNCTION, inputs, {}, type)

    def primitive(self, op_type: str, *inputs: Any, type: Any = None, **attributes: Any) -> Name:
        """A primitive with attributes."""
        return self._node(op_type, _PRIMITIVE, inputs, attributes, type)

    def _node(
        self,
        op_type: str,
        kind: int,
        inputs: Sequence[Any],
        attributes: Mapping[str, Any],
        type: Any,
    ) -> Name:
        key = self.model.primitive(op_type, kind, attributes)
        return self.call(f"REF::{key}", inputs, type, op_type)

    def call(self, op_type: str, inputs: Sequence[Any], type: Any, stem: str) -> Name:
        """A node; ``type`` is its result's TensorType, a list of them, or "function"."""
        name = self.model.fresh(f"{self.graph_name}:{stem}_{len(self.nodes)}")
        node = message("NodeProto")(op_type=op_type, name=name, output=[name])
        node.input.extend(self._input(item) for item in inputs)
        node.domain = self._scope or f"Default/{stem}-op{len(self.nodes)}"
        if isinstance(type, TensorType):
            fill_result(node.attribute.add(), [type], True)
        elif isinstance(type, list):
            fill_result(node.attribute.add(), type, False)
        elif type == "function":
            fill_function_result(node.attribute.add())
        self.nodes.append(node)
        return name

    def _input(self, item: Any) -> str:
        return item if isinstance(item, Name) else self.model.constant(item)

    def tuple_of(self, names: Sequence[Any], types: Sequence[TensorType] | None = None) -> Name:
        """A tuple."""
        return self.primitive("MakeTuple", *names, type=list(types) if types else None)

    def item(self, whole: Name, index: int, type: TensorType | None = None) -> Name:
        """One element of a tuple."""
        return self.primitive("TupleGetItem", whole, index, type=type)

    def cast(self, x: Name, type: TensorType) -> Name:
        """A Cast to the element type of ``type``, which is the result's type."""
        return self.function("Cast", x, IDS[type.dtype], type=type)

    def scalar(self, number: Any, dtype: str) -> Name:
        """A 0-d tensor constant."""
        return self.model.constant(np.array(number).astype(TensorType(dtype).numpy))

    def reshape(self, x: Name, shape: Sequence[Extent], dtype: str) -> Name:
        """A Reshape."""
        type_ = TensorType(dtype, tuple(shape))
        unknown = [k for k, extent in enumerate(shape) if isinstance(extent, Dim)]
        known = [extent for extent in shape if isinstance(extent, int)]
        if len(unknown) == 1 and 0 not in known:
            wanted: Any = tuple(e if isinstance(e, int) else -1 for e in shape)
        else:
            wanted = self.extents(shape)
        return self.function("Reshape", x, wanted, type=type_)

    # --- extents -------------------------------------------------------------------------

    def extents(self, values: Sequence[Extent]) -> Any:
        """A tuple of extents: a constant, or one the model makes of its inputs' shapes."""
        if all(isinstance(value, int) for value in values):
            return tuple(int(value) for value in values if isinstance(value, int))
        return self.tuple_of([self.extent(value) for value in values])

    def extent(self, value: Extent) -> Any:
        """An extent: a number, or the name of a scalar that the model computes."""
        if isinstance(value, int):
            return value
        if value not in self._extents:
            self._extents[value] = self._computed(value)
        return self._extents[value]

    def _computed(self, value: Dim) -> Any:
        total: Any = None
        for monomial, factor in value.terms:
            product: Any = None if factor == 1 and monomial else factor
            for atom, power in monomial:
                base = self._atom(atom)
                for _ in range(power):
                    product = base if product is None else self._combined("Mul", product, base)
            total = product if total is None else self._combined("Add", total, product)
        return total

    def _combined(self, word: str, left: Any, right: Any) -> Name:
        return self.primitive(f"Scalar{word}", left, right)

    def _atom(self, atom: Any) -> Any:
        if isinstance(atom, dims.Symbol):
            return self.symbol(atom.name)
        left, right = (self.extent(operand) for operand in atom.operands)
        word = {"floordiv": "FloorDiv", "max": "Max", "min": "Min"}[atom.function]
        return self._combined(word, left, right)

    def symbol(self, name: str) -> Name:
        """The scalar that a symbol stands for."""
        if name in self.graph.symbols:
            value, position = self.graph.symbols[name]
            if value not in self._scalars:
                if value in self._refused:
                    raise UnsupportedError(f"the extent {name!r} is found by the run")
                whole = self.function("TensorToTuple", self.name(value))
                count = self.type(value).static_shape[0]
                self._scalars[value] = [self.item(whole, k) for k in range(count)]
            return self._scalars[value][position]
        for value in self.graph.inputs if self.parent is None else ():
            for axis, extent in enumerate(self.graph.type(value).shape):
                if dims.symbol_name(extent) == name:
                    shape = self.function("Shape", self.names[value])
                    return self.item(shape, axis)
        if self.parent is None:
            raise UnsupportedError(f"the symbol {name!r} is not the extent of an input")
        outer = self.parent.extent(dims.symbol(name))
        inner = self.model.fresh(f"{self.graph_name}:{name}")
        self.extra[inner] = outer
        return inner

    # --- the graph -----------------------------------------------------------------------

    def write_nodes(self) -> None:
        """Write all nodes; what MindIR cannot say is collected in the model's ``items``."""
        for node in self.graph.nodes():
            if node.name in self.graph.params:
                self._write_parameter(node)
            elif node.outputs and node.outputs[0] not in self.names:
                self._write_node(node)

    def _write_parameter(self, node: Node) -> None:
        held = self.graph.params[node.name]
        type_ = node.types[0]
        # Small whole numbers and single ones are constants; the rest are weights.
        small = not type_.rank or (type_.dtype[0] in "iub" and type_.static_shape < (65,))
        if small and isinstance(type_.size, int) and type_.size <= 64:
            array = held.load() if isinstance(held, LazyArray) else held
            self.names[node.outputs[0]] = self.model.constant(
                np.asarray(array), id(held), node.name
            )
        else:
            self.names[node.outputs[0]] = self.model.parameter(node.name, held)

    def _write_node(self, node: Node) -> None:
        function = find_writer(node.op.name)
        if function is None:
            self._refuse(node, "MindIR has no primitive for it")
            return
        if any(value in self._refused for value in node.operands):
            self._refused.update(node.outputs)
            return
        self._scope = self._stem(node.name)
        try:
            inputs = [None if value is None else self.name(value) for value in node.inputs]
            results = function(self, node, *inputs)
        except UnsupportedError as error:
            self._refuse(node, str(error))
            return
        finally:
            self._scope = ""
        names: list[Name | None] = (
            [results] if isinstance(results, Name) or results is None else list(results)
        )
        for value, name in zip(node.outputs, names, strict=True):
            if name is not None:
                self.names[value] = name

    def _stem(self, name: str) -> str:
        """The name without the number that graphs append to tell nodes of one origin apart.

        A reader numbers them anew.
        """
        stem, _, number = name.rpartition("_")
        # The first one may be gone; extents that were measured at it have its name.
        measured = stem.replace(" ", "_") + "."
        taken = stem in self.graph or any(symbol.startswith(measured) for symbol in self._symbols)
        return stem if number.isdecimal() and taken else name

    def _refuse(self, node: Node, reason: str) -> None:
        self.model.items.append(f"{node}: {reason}")
        # Going on finds everything that cannot be written at once.
        self._refused.update(node.outputs)

    def used_nodes(self, results: Sequence[str]) -> list[Any]:
        """The nodes that the results need, in order."""
        needed = set(results)
        kept = []
        for node in reversed(self.nodes):
            if node.output[0] in needed:
                kept.append(node)
                needed.update(node.input)
                if node.op_type.startswith("REF::"):
                    needed.add(node.op_type[5:])
        return kept[::-1]
