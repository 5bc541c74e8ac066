"""What all scopes of one reading share: limits, functions, what is refused, declared types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...ir import Extent, LimitError, ModelError, TensorType, UnsupportedError, symbol
from ..limits import Limits
from .element_types import element_type
from .tensors import TensorReader

_TENSORS = "tensor_type"
# So many of what was refused last are looked at for repetitions.
_COMPARED = 200
# No dots: measured symbols have one, and must not be mistaken for a file's.
_SYMBOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass
class Reading:
    """What all scopes of one reading share."""

    limits: Limits
    tensors: TensorReader
    functions: Mapping[tuple[str, str, str], Any]
    items: list[str] = field(default_factory=list)
    # Nodes that the file has outside subgraphs; functions may add to them.
    there: int = 0
    nodes: int = 0
    called_nodes: int = 0
    places: int = 0
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    dimensions: dict[str, str] = field(default_factory=dict)

    def refuse(self, error: UnsupportedError, where: str) -> None:
        """Note what is not supported; reading goes on to find the rest."""
        for item in error.items:
            text = item if where in item or not where else f"{where}: {item}"
            if text not in self.items[-_COMPARED:]:
                self.items.append(text)

    def count_node(self) -> None:
        """One more node; functions may multiply a small file."""
        self.nodes += 1
        if self.nodes > self.limits.nodes:
            raise LimitError(f"the model has more than {self.limits.nodes} nodes; raise limits")
        self.called_nodes += bool(self.calls)
        most = self.limits.called_nodes + 8 * self.there
        if self.called_nodes > most:
            raise LimitError(
                f"functions put in place are more than {most} nodes; raise the limit called_nodes"
            )

    def declared_type(self, proto: Any, name: str, what: str) -> TensorType:
        """The TensorType of a TypeProto; unknown extents become symbols."""
        kind = proto.WhichOneof("value")
        if kind != _TENSORS:
            raise UnsupportedError(f"{what}: values of {kind or 'no type'} are not supported")
        dtype = element_type(proto.tensor_type.elem_type, what)
        if not proto.tensor_type.HasField("shape"):
            raise UnsupportedError(f"{what}: its number of dimensions must be declared")
        extents = [
            self._declared_extent(extent, f"{name}_{axis}", what)
            for axis, extent in enumerate(proto.tensor_type.shape.dim)
        ]
        if len(extents) > 64:
            raise ModelError(f"{what}: it has {len(extents)} dimensions; 64 is the most")
        return TensorType(dtype, tuple(extents))

    def _declared_extent(self, proto: Any, nameless: str, what: str) -> Extent:
        kind = proto.WhichOneof("value")
        if kind == "dim_value" and proto.dim_value >= 0:
            return int(proto.dim_value)
        if kind == "dim_value" and proto.dim_value < -1:
            raise ModelError(f"{what}: an extent is {proto.dim_value}")
        # Some tools write -1 for "unknown".
        text = proto.dim_param if kind == "dim_param" and proto.dim_param else nameless
        return symbol(self._symbol_name(text))

    def _symbol_name(self, text: str) -> str:
        """A name for a symbolic extent that reads as one word; different texts stay different."""
        known = self.dimensions
        if text not in known:
            stem = text if _SYMBOL_NAME.match(text) else re.sub(r"\W+", "_", text).strip("_")
            stem = stem if _SYMBOL_NAME.match(stem) else f"dim_{stem}"
            name, number = stem, 1
            while name in known.values():
                number += 1
                name = f"{stem}_{number}"
            known[text] = name
        return known[text]
