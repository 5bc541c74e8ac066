"""What a reader function is given: the node being read and ways to add to the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..builder import Builder, ops

if TYPE_CHECKING:
    from .scope import Scope

__all__ = ["Context", "ops"]


class Context(Builder):
    """One ONNX node and the graph it is read into."""

    def __init__(self, scope: Scope, proto: Any, origin: str, opset: int) -> None:
        stem = proto.name or next(iter(n for n in proto.output if n), "") or proto.op_type
        super().__init__(scope.place, origin, stem)
        self.scope = scope
        self.proto = proto
        self.opset = opset

    @property
    def output_count(self) -> int:
        """Number of outputs the node lists."""
        return len(self.proto.output)

    def wants(self, index: int) -> bool:
        """True when output ``index`` is there and named."""
        return index < len(self.proto.output) and bool(self.proto.output[index])
