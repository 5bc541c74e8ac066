"""Graph -> MindIR model."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...compiler.atomic import write_atomically
from ...ir import Array, Graph, LazyArray, LimitError, ModelError, TensorType, UnsupportedError
from .. import record_cipher
from .encode import fill_result, fill_type, little_endian
from .model_writer import ModelWriter, Name
from .region import type_of_array
from .schema import OUTPUT_NAMES, message
from .writer import Writer

# Weights beyond this are put into a data file, as MindSpore does.
_INLINE_BYTES = 1 << 30
_HEADER = b"\1" + bytes(63)
_ALIGNMENT = 64
# MindSpore 2.3 and later read this version.
_MINDIR_VERSION = 2
_MODEL_VERSION = "2.10.0"


def write(
    graph: Graph,
    path: str | os.PathLike[str] | None = None,
    *,
    external: bool | None = None,
    enc_key: bytes | str | None = None,
    enc_mode: str = "AES-GCM",
) -> bytes:
    """``graph`` as a MindIR model for MindSpore 2.3 and later; returns the file's bytes and
    writes them to ``path``.

    ``external`` puts the parameters into ``<name>_variables/data_0`` beside ``path`` (None:
    where they exceed 1 GiB). ``enc_key`` encrypts the files. Files appear complete or not at
    all. Raises UnsupportedError with all ``items`` that MindIR cannot say.
    """
    name = re.sub(r"[^\w.]", "_", graph.name) or "graph"
    model = ModelWriter(name)
    proto = message("ModelProto")(
        ir_version="1.1",
        producer_name="MindSpore",
        model_version=_MODEL_VERSION,
        little_endian=True,
        mind_ir_version=_MINDIR_VERSION,
    )
    proto.user_info.add(key=OUTPUT_NAMES, value=json.dumps(graph.output_names))
    body = proto.graph
    body.name = name
    writer = Writer(graph, model, name)
    for value in graph.inputs:
        own = model.fresh(f"{name}:{value.node}")
        writer.names[value] = own
        fill_type(body.input.add(name=own).tensor.add(name=own), graph.type(value))
    writer.write_nodes()
    result = _result(writer, body) if not model.items else Name("")
    if model.items:
        lines = "".join(f"\n  - {item}" for item in model.items)
        raise UnsupportedError(f"the graph cannot be written as MindIR:{lines}", model.items)
    body.node.extend(model.constants)
    body.node.extend(writer.used_nodes([result]))
    proto.functions.extend(model.functions)
    proto.primitives.extend(model.primitives)
    return _stored(proto, model, None if path is None else Path(path), external, enc_key, enc_mode)


def _result(writer: Writer, body: Any) -> Name:
    """The graph's result: one tensor, or a tuple of all outputs."""
    graph = writer.graph
    types = [graph.type(value) for value in graph.outputs]
    if any(value in writer._refused for value in graph.outputs):
        return Name("")
    names = [writer.name(value) for value in graph.outputs]
    output = body.output.add()
    if len(names) == 1:
        output.name = names[0]
        fill_type(output.tensor.add(name=names[0]), types[0])
        return names[0]
    result = writer.tuple_of(names, types)
    output.name = result
    output.denotation = "Tuple"
    fill_result(output.attr_info, types, False)
    return result


# --- parameters ------------------------------------------------------------------------------


def _stored(
    proto: Any,
    model: ModelWriter,
    path: Path | None,
    external: bool | None,
    enc_key: bytes | str | None,
    enc_mode: str,
) -> bytes:
    types = [type_of_array(held) for _, held in model.parameters]
    nbytes = sum(_size(type_) for type_ in types)
    if external is None:
        external = nbytes > _INLINE_BYTES and path is not None
    if not external and nbytes > _INLINE_BYTES:
        raise LimitError(f"{nbytes} bytes of parameters need a data file; give a path")
    if external and path is None:
        raise ModelError("a data file needs a path to lie beside")
    offset = len(_HEADER)
    folder = f"{path.stem.removesuffix('_graph')}_variables" if path is not None else ""
    for (name, held), type_ in zip(model.parameters, types, strict=True):
        tensor = proto.graph.parameter.add(name=f"{model.graph_name}:{name}", ref_key=name)
        fill_type(tensor, type_)
        if external:
            tensor.external_data.location = f"{folder}/data_0"
            tensor.external_data.offset = offset
            tensor.external_data.length = _size(type_)
            offset += _size(type_) + -_size(type_) % _ALIGNMENT
        else:
            tensor.raw_data = little_endian(_array(held))
    data = bytes(proto.SerializeToString(deterministic=True))
    if enc_key is not None:
        data = record_cipher.encrypt(data, enc_key, enc_mode)
    if path is None:
        return data
    if external:
        (path.parent / folder).mkdir(exist_ok=True)
        write_atomically(path.parent / folder / "data_0", _pieces(model, enc_key, enc_mode))
    write_atomically(path, [data])
    return data


def _size(type_: TensorType) -> int:
    nbytes = type_.nbytes
    assert isinstance(nbytes, int)
    return nbytes


def _array(held: Array | LazyArray) -> Array:
    return np.asarray(held.load()) if isinstance(held, LazyArray) else held


def _pieces(model: ModelWriter, key: bytes | str | None, mode: str) -> Iterator[bytes]:
    """The data file: a header, then each parameter padded to 64 bytes; each its own record."""
    for piece in _plain_pieces(model):
        yield piece if key is None else record_cipher.encrypt(piece, key, mode)


def _plain_pieces(model: ModelWriter) -> Iterator[bytes]:
    yield _HEADER
    for _, held in model.parameters:
        data = little_endian(_array(held))
        yield data + bytes(-len(data) % _ALIGNMENT)
