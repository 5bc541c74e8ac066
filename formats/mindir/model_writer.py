"""What the graphs of a MindIR model that is written share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ir import Array, LazyArray
from .encode import fill_value
from .schema import message


class Name(str):
    """The name of a node's result, a parameter, an input or a function."""

    __slots__ = ()


class ModelWriter:
    """What the graphs of one model share: constants, parameters, primitives, functions."""

    def __init__(self, graph_name: str) -> None:
        self.graph_name = graph_name
        self.constants: list[Any] = []
        self.primitives: list[Any] = []
        self.functions: list[Any] = []
        # Arrays that become parameters: name, the array.
        self.parameters: list[tuple[str, Array | LazyArray]] = []
        self.items: list[str] = []
        self.taken: set[str] = {graph_name}
        self._constants: dict[tuple[int | None, bytes], Name] = {}
        self._parameters: dict[int, Name] = {}
        self._primitives: dict[bytes, str] = {}

    def fresh(self, stem: str) -> Name:
        """A name that is not in use in the model."""
        name, number = stem, 1
        while name in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name)
        return Name(name)

    def constant(self, item: Any, identity: int | None = None, stem: str = "") -> Name:
        """A Constant node for a Python value or array.

        Equal ones are shared, but those of different ``identity`` are kept apart.
        """
        proto = message("AttributeProto")(name="value")
        fill_value(proto, item)
        key = (identity, proto.SerializeToString(deterministic=True))
        if key not in self._constants:
            name = self.fresh(stem or f"constant_{len(self.constants)}")
            node = message("NodeProto")(op_type="Constant", name=name, output=[name])
            node.attribute.append(proto)
            self.constants.append(node)
            self._constants[key] = name
        return self._constants[key]

    def parameter(self, name: str, held: Array | LazyArray) -> Name:
        """A parameter of the model; an array that several graphs hold is stored once."""
        key = id(held)
        if key not in self._parameters:
            own = self.fresh(name)
            self.parameters.append((own, held))
            self._parameters[key] = self.fresh(f"{self.graph_name}:{own}")
        return self._parameters[key]

    def primitive(self, op_type: str, kind: int, attributes: Mapping[str, Any]) -> str:
        """The key of a primitive in the table of primitives."""
        proto = message("PrimitiveProto")(op_type=op_type, prim_type=kind)
        for name, item in attributes.items():
            fill_value(proto.attribute.add(name=name), item)
        key = proto.SerializeToString(deterministic=True)
        if key not in self._primitives:
            proto.name = f"{op_type}:{len(self.primitives) + 1}"
            self.primitives.append(proto)
            self._primitives[key] = proto.name
        return self._primitives[key]
