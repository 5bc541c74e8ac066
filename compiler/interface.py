"""What a caller of a compiled graph must know of it; the graph itself is not needed to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir.dim import Extent, substitute
from ..ir.errors import LimitError, ModelError
from ..ir.tensor_type import TensorType
from .spec import Spec

if TYPE_CHECKING:
    from ..ir import Graph

# A symbol cannot be larger, so that sizes computed from several stay within 64 bits.
LARGEST_EXTENT = 2**31
LARGEST_TENSOR = 2**46  # bytes


@dataclass(frozen=True, slots=True)
class Interface:
    """Inputs and outputs, and what must hold of the sizes that the inputs give.

    ``types`` are the symbolic types of intermediate tensors, each with one node that has it;
    ``equalities`` are pairs of extents that a node needs to be equal.
    """

    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    types: tuple[tuple[str, TensorType], ...]
    equalities: tuple[tuple[str, Extent, Extent], ...]

    @classmethod
    def of(cls, graph: Graph) -> Interface:
        """The interface of a graph."""
        types: dict[TensorType, str] = {}
        for node in graph.nodes():
            for type_ in node.types:
                if not type_.is_static:
                    types.setdefault(type_, str(node))
        inputs = [(value.node, graph.type(value)) for value in graph.inputs]
        outputs = zip(graph.output_names, map(graph.type, graph.outputs), strict=True)
        return cls(
            tuple(Spec(name, type_.dtype, type_.shape) for name, type_ in inputs),
            tuple(Spec(name, type_.dtype, type_.shape) for name, type_ in outputs),
            tuple((node, type_) for type_, node in types.items()),
            tuple((item.node, item.left, item.right) for item in graph.equalities),
        )

    def check(self, symbols: Mapping[str, int]) -> None:
        """Raise where the shapes that follow from ``symbols`` are impossible or too large."""
        _check(self.types, self.equalities, symbols)


def check_extents(graph: Graph) -> None:
    """Raise where a shape in ``graph`` is impossible or too large, whatever the inputs are."""
    types = [(str(node), type_) for node in graph.nodes() for type_ in node.types]
    _check(types, [(item.node, item.left, item.right) for item in graph.equalities], {})


def _check(
    types: Iterable[tuple[str, TensorType]],
    equalities: Iterable[tuple[str, Extent, Extent]],
    symbols: Mapping[str, int],
) -> None:
    """Extents whose symbols have no value yet are left out.

    Those measured during a run are checked by the run itself, those of inputs when the inputs
    are there.
    """
    for node, left, right in equalities:
        one, other = substitute(left, symbols), substitute(right, symbols)
        if isinstance(one, int) and isinstance(other, int) and one != other:
            raise ModelError(
                f"node {node!r} needs the extents {left} and {right} to be equal; "
                f"with these inputs they are {one} and {other}"
            )
    for node, type_ in types:
        shape = tuple(substitute(extent, symbols) for extent in type_.shape)
        if any(isinstance(extent, int) and extent < 0 for extent in shape):
            raise ModelError(f"{node} would have the shape {shape} with these inputs")
        nbytes = type_.with_shape(shape).nbytes
        if isinstance(nbytes, int) and nbytes > LARGEST_TENSOR:
            raise LimitError(
                f"{node} would have the shape {shape}: more than {LARGEST_TENSOR} bytes"
            )
