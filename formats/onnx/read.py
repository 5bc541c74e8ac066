"""ONNX model -> Graph."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ...ir import Array, FormatError, Graph, ModelError, UnsupportedError
from ..adapter import LoadedModel, Metadata, check_sizes, of_a_file, read_source
from ..builder import Place
from ..external import ExternalData
from ..limits import DEFAULT_LIMITS, Limits
from ..payloads import Payloads
from ..shape_values import ShapeValues
from ..wire_scan import scan
from .functions import newest_opset, opsets_of
from .reading import Reading
from .scope import Scope
from .tensors import TensorReader

OLDEST_IR = 3


def read(
    source: bytes | str | os.PathLike[str] | IO[bytes] | Any,
    *,
    folder: str | os.PathLike[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    constants: Mapping[str, Array] | None = None,
) -> Graph:
    """The graph of an ONNX model: a path, the file's bytes, an open file or a ModelProto.

    ``folder`` is where external data lies, by default the folder of the path. ``constants``
    fixes inputs of the model: they become parameters, for models whose shapes or axes depend
    on an input's value.
    Raises FormatError for a broken file or an inconsistent model, UnsupportedError with all
    ``items`` that opweave does not have, LimitError for what is beyond ``limits``.
    """
    return read_model(source, folder=folder, limits=limits, constants=constants).graph


def read_model(
    source: bytes | str | os.PathLike[str] | IO[bytes] | Any,
    *,
    folder: str | os.PathLike[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    constants: Mapping[str, Array] | None = None,
) -> LoadedModel:
    """As :func:`read`, with what the file says about itself."""
    proto, payloads, place = _parsed(source, limits)
    where = Path(folder) if folder is not None else place
    with of_a_file():
        tensors = TensorReader(limits, ExternalData(where), payloads)
        return _loaded(proto, tensors, limits, constants)


def _loaded(
    proto: Any, tensors: TensorReader, limits: Limits, constants: Mapping[str, Array] | None
) -> LoadedModel:
    if not proto.HasField("graph"):
        raise FormatError("the ONNX file has no graph")
    if not OLDEST_IR <= proto.ir_version:
        raise UnsupportedError(
            f"the file has ONNX IR version {proto.ir_version}; opweave reads {OLDEST_IR} and later"
        )
    functions: dict[tuple[str, str, str], Any] = {}
    for function in proto.functions:
        domain = "" if function.domain == "ai.onnx" else function.domain
        key = (domain, function.name, function.overload)
        if key in functions:
            raise ModelError(f"the function {function.name!r} is defined twice")
        functions[key] = function
    opsets = opsets_of(proto.opset_import, {})
    # Bodies of other domains' operators may need the standard ones.
    opsets.setdefault("", newest_opset())
    graph = Graph(proto.graph.name or "graph")
    there = sum(len(part.node) for part in (proto.graph, *proto.functions))
    session = Reading(limits, tensors, functions, there=there)
    scope = Scope(session, Place(graph, ShapeValues(graph)), opsets)
    scope.read_graph(proto.graph, constants or {})
    if session.items:
        raise UnsupportedError(_listed(session.items), session.items)
    graph.prune()
    check_sizes(graph)
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    metadata = Metadata(
        producer=" ".join(filter(None, (proto.producer_name, proto.producer_version))),
        versions={"IR": proto.ir_version, **{d or "ai.onnx": v for d, v in opsets.items()}},
        properties=properties,
    )
    return LoadedModel(graph, "ONNX", metadata)


def _listed(items: list[str]) -> str:
    if len(items) == 1:
        return f"the model needs what opweave does not have: {items[0]}"
    lines = "".join(f"\n  - {item}" for item in items[:50])
    more = f"\n  and {len(items) - 50} more" if len(items) > 50 else ""
    return f"the model needs {len(items)} things that opweave does not have:{lines}{more}"


def _parsed(source: Any, limits: Limits) -> tuple[Any, Payloads, Path | None]:
    """The ModelProto, what was taken out of it, and the folder it came from."""
    try:
        import onnx
    except ImportError as error:
        raise UnsupportedError(
            "reading ONNX files needs the package onnx: pip install opweave[onnx]"
        ) from error
    from google.protobuf.message import DecodeError

    if isinstance(source, onnx.ModelProto):
        return source, Payloads(), None
    data, folder = read_source(source, limits)
    payloads = scan(data, onnx.ModelProto.DESCRIPTOR, limits)
    try:
        return onnx.ModelProto.FromString(payloads.rest()), payloads, folder
    except DecodeError as error:
        raise FormatError(f"not an ONNX file, or it is cut off: {error}") from None


def sniff(data: bytes) -> bool:
    """True when the first bytes look like a ModelProto: ir_version, then a known field."""
    return len(data) > 2 and data[0] == 0x08 and data[1] < 0x40 and (data[2] & 7) in (0, 2)
