"""Graph -> ONNX model."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...compiler.atomic import write_atomically
from ...ir import Array, Graph, LimitError, ModelError, UnsupportedError, Value
from ...ir.data_type import name_of
from .element_types import NUMBERS
from .writer import Writer, value_info

# The opset written, and the IR version that came with it.
OPSET = 23
_IR_VERSION = 11
OLDEST_OPSET = 21

# Protobuf ends at 2 GiB; some room is left for everything that is no tensor.
_INLINE_BYTES = (1 << 31) - (64 << 20)
_SMALL = 1024


# Operators that ONNX Runtime only has in older opsets.
_OLDER = {"roi_align"}


def _needs_oldest(graph: Graph) -> bool:
    return any(
        node.op.name in _OLDER
        or any(isinstance(body, Graph) and _needs_oldest(body) for body in node.attrs.values())
        for node in graph.nodes()
    )


def write(
    graph: Graph,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int | None = None,
    external: bool | None = None,
) -> bytes:
    """``graph`` as an ONNX model; returns the file's bytes and writes them to ``path``.

    ``opset`` is the newest that ONNX Runtime has all the graph's operators of, where not given.
    ``external`` puts the tensors into a data file beside ``path`` (None: only where the
    model would be larger than protobuf allows). Files appear complete or not at all.
    Raises UnsupportedError with all ``items`` that ONNX cannot say.
    """
    try:
        from onnx import helper
    except ImportError as error:
        raise UnsupportedError(
            "writing ONNX files needs the package onnx: pip install opweave[onnx]"
        ) from error
    if opset is None:
        opset = OLDEST_OPSET if _needs_oldest(graph) else OPSET
    if not OLDEST_OPSET <= opset <= OPSET:
        raise UnsupportedError(f"opset {opset} cannot be written; {OLDEST_OPSET} to {OPSET} can")
    writer = Writer(graph, opset)
    input_infos = []
    for value in graph.inputs:
        writer.names[value] = writer.fresh(value.node)
        input_infos.append(value_info(writer.names[value], graph.type(value)))
    output_names = _output_names(graph, writer)
    writer.write_nodes()
    if writer.items:
        lines = "".join(f"\n  - {item}" for item in writer.items)
        raise UnsupportedError(f"the graph cannot be written as ONNX:{lines}", writer.items)
    output_infos = writer.outputs(output_names)
    nbytes = sum(_nbytes(graph, held) for _, held in writer.initializers)
    if external is None:
        external = nbytes > _INLINE_BYTES and path is not None
    if not external and nbytes > _INLINE_BYTES:
        raise LimitError(f"{nbytes} bytes of tensors need external data; give a path")
    store = _Store(Path(path)) if external and path is not None else None
    if external and store is None:
        raise ModelError("external data needs a path to lie beside")
    initializers = [_tensor(name, held, graph, store) for name, held in writer.initializers]
    body = helper.make_graph(writer.nodes, graph.name, input_infos, output_infos, initializers)
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=_IR_VERSION if opset == OPSET else 10,
        producer_name="opweave",
    )
    if store is not None:
        store.write(graph, {tensor.name: tensor for tensor in model.graph.initializer})
    data = bytes(model.SerializeToString(deterministic=True))
    if path is not None:
        write_atomically(Path(path), [data])
    return data


def _array(graph: Graph, held: Value | Array) -> Array:
    return graph.array(held) if isinstance(held, Value) else held


def _nbytes(graph: Graph, held: Value | Array) -> int:
    if isinstance(held, Value):
        nbytes = graph.type(held).nbytes
        return nbytes if isinstance(nbytes, int) else 0
    return held.nbytes


def _bytes(array: Array) -> bytes:
    if sys.byteorder == "big":
        array = array.byteswap()
    return array.tobytes()


def _output_names(graph: Graph, writer: Writer) -> list[str]:
    """The outputs' names; one that an input has, which other formats allow, gets an ending."""
    inputs = set(writer.taken)
    writer.taken.update(graph.output_names)
    return [
        writer.fresh(f"{name}_output") if name in inputs else name for name in graph.output_names
    ]


class _Store:
    """The data file of one model: tensors one after the other, each 64-byte aligned.

    Its name holds a digest of its content, so that an older model keeps its own data.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: list[tuple[str, Value | Array, int, int]] = []
        self._size = 0

    def add(self, name: str, held: Value | Array, nbytes: int) -> None:
        """Place one tensor."""
        self._size += -self._size % 64
        self._held.append((name, held, self._size, nbytes))
        self._size += nbytes

    def write(self, graph: Graph, protos: Mapping[str, Any]) -> None:
        """Write the data file and let the tensors point to it; the model is written later."""
        digest = hashlib.blake2b(digest_size=8)
        for piece in self._pieces(graph):
            digest.update(piece)
        location = f"{self._path.name}.{digest.hexdigest()}.data"
        for name, _, offset, nbytes in self._held:
            proto = protos[name]
            proto.data_location = 1
            for key, value in (("location", location), ("offset", offset), ("length", nbytes)):
                proto.external_data.add(key=key, value=str(value))
        write_atomically(self._path.with_name(location), self._pieces(graph))

    def _pieces(self, graph: Graph) -> Iterator[bytes]:
        position = 0
        for _, held, offset, _ in self._held:
            yield b"\0" * (offset - position)
            data = _bytes(_array(graph, held))
            yield data
            position = offset + len(data)


def _tensor(name: str, held: Value | Array, graph: Graph, store: _Store | None) -> Any:
    import onnx

    nbytes = _nbytes(graph, held)
    proto = onnx.TensorProto(name=name)
    if store is not None and nbytes >= _SMALL:
        type_ = graph.type(held) if isinstance(held, Value) else None
        shape = held.shape if type_ is None and not isinstance(held, Value) else None
        dtype = name_of(held.dtype) if not isinstance(held, Value) else graph.type(held).dtype
        proto.data_type = NUMBERS[dtype]
        proto.dims.extend(shape if shape is not None else graph.type(held).static_shape)  # type: ignore[arg-type]
        store.add(name, held, nbytes)
        return proto
    array = _array(graph, held)
    proto.data_type = NUMBERS[name_of(array.dtype)]
    proto.dims.extend(array.shape)
    proto.raw_data = _bytes(np.ascontiguousarray(array))
    return proto
