"""Graph -> ONNX nodes: names, constants, symbolic extents, and the registry of writers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...ir import Array, Dim, Extent, Graph, ModelError, Node, TensorType, UnsupportedError, Value
from ...ir import dim as dims
from ...ops.registry import operators
from ..writers import Writers
from .element_types import NUMBERS

# Extents that stand for "to the end" in Slice.
_FAR = 2**62


_WRITERS = Writers(
    "an ONNX writer",
    __package__,
    ("write_basic", "write_movement", "write_neural", "write_detection", "write_control"),
)
writes, find_writer = _WRITERS.writes, _WRITERS.find


_TO_FLOAT = {"float16": "float32", "bfloat16": "float32"}
_TO_INT32 = {"int8": "int32", "uint8": "int32", "int16": "int32", "uint16": "int32"}
_TO_FLOAT64 = {"int8": "float64", "uint8": "float64", "int16": "float64", "uint16": "float64"}

# Operator -> element types that the ONNX operator does not take, and those used instead.
# Sums and products of small integers are exact in the wider type, up to the low bits.
_WIDER: dict[str, dict[str, str]] = {
    "celu": _TO_FLOAT,
    "shrink": {"bfloat16": "float32"},
    "einsum": {"bfloat16": "float32", **_TO_INT32},
    "matmul": _TO_INT32,
    "pow": {**_TO_INT32, "uint32": "int64", "uint64": "int64"},
    "cum_sum": _TO_INT32,
    "overlap_suppression": _TO_FLOAT,
    "where": {"bool": "uint8"},
    "convolution": _TO_FLOAT64,
    "convolution_transpose": _TO_FLOAT64,
}


class Writer:
    """Writes one Graph (or one body of control flow) as ONNX nodes."""

    def __init__(self, graph: Graph, opset: int, parent: Writer | None = None) -> None:
        self.graph = graph
        self.opset = opset
        self.parent = parent
        self.nodes: list[Any] = []
        self.initializers: list[tuple[str, Value | Array]] = []
        self.names: dict[Value, str] = {}
        self.taken: set[str] = set() if parent is None else parent.taken
        self.items: list[str] = [] if parent is None else parent.items
        self._extents: dict[Extent, str] = {}
        self._symbols: dict[str, str] = {}
        self._wider: Mapping[str, str] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    # --- names ---------------------------------------------------------------------------

    def fresh(self, stem: str) -> str:
        """A name that is not in use."""
        name, number = stem, 1
        while name in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name)
        return name

    def name(self, value: Value | None) -> str:
        """The ONNX name of a value; empty for one left out."""
        return "" if value is None else self.names[value]

    def type(self, value: Value | None) -> TensorType:
        """The type of a value that is there, as the node being written sees it."""
        if value is None:
            raise ModelError("an operand is missing")
        type_ = self.graph.type(value)
        return type_.with_dtype(self._wider.get(type_.dtype, type_.dtype))

    # --- nodes ---------------------------------------------------------------------------

    def add(self, op_type: str, *inputs: str | None, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        return self.add_many(op_type, inputs, 1, **attributes)[0]

    def add_many(
        self, op_type: str, inputs: Sequence[str | None], outputs: int, **attributes: Any
    ) -> list[str]:
        """Add a node; attributes that are None are left out."""
        from onnx import helper

        given = ["" if name is None else name for name in inputs]
        while given and not given[-1]:
            given.pop()
        names = [self.fresh(f"{op_type.lower()}_{len(self.taken)}") for _ in range(outputs)]
        kept = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op_type, given, names, **kept))
        return names

    def constant(self, array: Any, dtype: str | None = None) -> str:
        """An initializer; equal ones are shared."""
        held = np.asarray(array)
        if dtype is not None:
            held = held.astype(TensorType(dtype).numpy)
        key = (held.dtype.name, held.shape, held.tobytes())
        if key not in self._constants:
            name = self.fresh(f"constant_{len(self.taken)}")
            self.initializers.append((name, held))
            self._constants[key] = name
        return self._constants[key]

    def scalar_like(self, value: Value | None, number: float) -> str:
        """A 0-d constant of a value's element type."""
        return self.constant(np.array(number), self.type(value).dtype)

    def integers(self, numbers: Sequence[int]) -> str:
        """A 1-d int64 constant."""
        return self.constant(np.array(list(numbers), np.int64))

    def cast(self, name: str, dtype: str) -> str:
        """A Cast node."""
        return self.add("Cast", name, to=NUMBERS[dtype])

    # --- extents -------------------------------------------------------------------------

    def extents(self, values: Sequence[Extent]) -> str:
        """A 1-d int64 tensor of extents, computed by the model where they are symbolic."""
        if all(isinstance(value, int) for value in values):
            return self.integers([int(v) for v in values if isinstance(v, int)])
        parts = [self.extent(value) for value in values]
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=0)

    def extent(self, value: Extent) -> str:
        """An int64 tensor of one element, shape [1]."""
        if isinstance(value, int):
            return self.integers([value])
        if value not in self._extents:
            self._extents[value] = self._computed(value)
        return self._extents[value]

    def _computed(self, value: Dim) -> str:
        total: str | None = None
        for monomial, factor in value.terms:
            product: str | None = None if factor == 1 and monomial else self.integers([factor])
            for atom, power in monomial:
                base = self._atom(atom)
                for _ in range(power):
                    product = base if product is None else self.add("Mul", product, base)
            assert product is not None
            total = product if total is None else self.add("Add", total, product)
        assert total is not None
        return total

    def _atom(self, atom: Any) -> str:
        if isinstance(atom, dims.Symbol):
            return self._symbol(atom.name)
        left, right = (self.extent(operand) for operand in atom.operands)
        if atom.function == "floordiv":
            # ONNX divides integers towards zero; extents divide down.
            rest = self.add("Mod", left, right)
            return self.add("Div", self.add("Sub", left, rest), right)
        return self.add({"max": "Max", "min": "Min"}[atom.function], left, right)

    def _symbol(self, name: str) -> str:
        """The tensor that holds a symbol: measured here, an input's extent, or from around."""
        if name not in self._symbols:
            self._symbols[name] = self._found_symbol(name)
        return self._symbols[name]

    def _found_symbol(self, name: str) -> str:
        if name in self.graph.symbols:
            value, position = self.graph.symbols[name]
            flat = self.add("Reshape", self.name(value), self.integers([-1]))
            return self.add("Gather", flat, self.integers([position]), axis=0)
        if self.parent is not None:
            return self.parent._symbol(name)
        for value in self.graph.inputs:
            for axis, extent in enumerate(self.graph.type(value).shape):
                if dims.symbol_name(extent) == name:
                    return self.add("Shape", self.name(value), start=axis, end=axis + 1)
        raise UnsupportedError(f"the symbol {name!r} is not the extent of an input")

    # --- the graph -----------------------------------------------------------------------

    def write_nodes(self) -> None:
        """Write all nodes; what ONNX cannot say is collected in ``items``."""
        for node in self.graph.nodes():
            if node.name in self.graph.params:
                name = self.fresh(node.name)
                self.names[node.outputs[0]] = name
                self.initializers.append((name, node.outputs[0]))
            elif node.outputs and node.outputs[0] not in self.names:
                self._write_node(node)

    def _write_node(self, node: Node) -> None:
        function = find_writer(node.op.name)
        # A custom operator may have a built-in one's name, but not its meaning.
        if function is None or operators().get(node.op.name) is not node.op:
            self._refuse(node, "ONNX has no such operator")
            return
        if any(value not in self.names for value in node.operands):
            self._poison(node)
            return
        self._wider = _WIDER.get(node.op.name, {})
        try:
            inputs = [None if value is None else self._operand(value) for value in node.inputs]
            if node.op.name == "where" and node.inputs[0] is not None:
                inputs[0] = self.names[node.inputs[0]]  # a condition, whatever it chooses
            results = function(self, node, *inputs)
        except UnsupportedError as error:
            self._refuse(node, str(error))
            return
        finally:
            wider, self._wider = self._wider, {}
        names = [results] if isinstance(results, str) else list(results)
        for value, type_, name in zip(node.outputs, node.types, names, strict=True):
            self.names[value] = self._narrowed(name, type_.dtype) if type_.dtype in wider else name

    def _operand(self, value: Value) -> str:
        """The name of an operand, cast where ONNX does not have the operator for its type."""
        dtype = self.graph.type(value).dtype
        name = self.names[value]
        return self.cast(name, self._wider[dtype]) if dtype in self._wider else name

    def _narrowed(self, name: str, dtype: str) -> str:
        # Small integers keep the low bits, which a cast from a float would not.
        return self.cast(self.cast(name, "int64") if "int" in dtype else name, dtype)

    def _refuse(self, node: Node, reason: str) -> None:
        self.items.append(f"{node}: {reason}")
        self._poison(node)

    def _poison(self, node: Node) -> None:
        """Keep going, so that everything that cannot be written is found at once."""
        for value in node.outputs:
            self.names[value] = ""

    # --- protos --------------------------------------------------------------------------

    def outputs(self, wanted: Sequence[str]) -> list[Any]:
        """ValueInfos of the graph's outputs under the names ``wanted``."""
        infos = []
        for value, name in zip(self.graph.outputs, wanted, strict=True):
            self.identity(self.names[value], name)
            infos.append(value_info(name, self.graph.type(value)))
        return infos

    def identity(self, source: str, target: str) -> None:
        """Name a tensor ``target`` as well."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [source], [target]))


def value_info(name: str, type_: TensorType) -> Any:
    """The ValueInfoProto of a tensor; symbolic extents that are no symbols stay unnamed."""
    from onnx import helper

    shape = [
        extent if isinstance(extent, int) else dims.symbol_name(extent) for extent in type_.shape
    ]
    return helper.make_tensor_value_info(name, NUMBERS[type_.dtype], shape)
