"""What a format of model files is, and ``load``: content first, suffix second."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from ..compiler.interface import check_extents
from ..compiler.opened import open_plain
from ..compiler.spec import Spec
from ..ir import FormatError, Graph, LimitError, ModelError
from .limits import DEFAULT_LIMITS, Limits


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file says about itself: who made it, format and opset versions, free entries."""

    producer: str = ""
    versions: Mapping[str, int] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A graph with the name of the format it came in."""

    graph: Graph
    format: str
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def inputs(self) -> tuple[Spec, ...]:
        """Names, element types and shapes of the inputs."""
        graph = self.graph
        types = [(value.node, graph.type(value)) for value in graph.inputs]
        return tuple(Spec(name, type_.dtype, type_.shape) for name, type_ in types)

    @property
    def outputs(self) -> tuple[Spec, ...]:
        """Names, element types and shapes of the outputs."""
        graph = self.graph
        types = zip(graph.output_names, map(graph.type, graph.outputs), strict=True)
        return tuple(Spec(name, type_.dtype, type_.shape) for name, type_ in types)


@dataclass(frozen=True, slots=True)
class Format:
    """One format of model files.

    ``sniff`` looks at a file's first bytes (up to 4096); ``read`` takes a path or bytes and
    ``limits=``; ``write`` takes a graph, a path (None: only return the bytes) and options.
    """

    name: str
    suffixes: tuple[str, ...]
    sniff: Callable[[bytes], bool]
    read: Callable[..., LoadedModel]
    write: Callable[..., bytes]


_PIECE = 1 << 24

# Format name -> module that defines FORMAT; imported when a file asks for it.
_MODULES: dict[str, str] = {
    "ONNX": ".onnx.format",
    "MINDIR": ".mindir.format",
}
_ADDED: dict[str, Format] = {}


def formats() -> Mapping[str, Format]:
    """All formats by name."""
    found = {
        name: importlib.import_module(module, __package__).FORMAT
        for name, module in _MODULES.items()
    }
    return MappingProxyType({**found, **_ADDED})


def register_format(format_: Format) -> None:
    """Add a format; raises ModelError when the name is taken."""
    if format_.name in _MODULES or format_.name in _ADDED:
        raise ModelError(f"there already is a format {format_.name!r}")
    _ADDED[format_.name] = format_


def load(
    source: bytes | str | os.PathLike[str] | IO[bytes],
    *,
    format: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    **options: Any,
) -> LoadedModel:
    """Read a model file: a path, bytes or an open file.

    The format is the one named, else the one whose mark the content bears (the suffix
    decides between several). Raises FormatError saying what was tried.
    """
    known = formats()
    if format is not None:
        if format.upper() not in known:
            raise ModelError(f"there is no format {format!r}; there are {', '.join(known)}")
        return known[format.upper()].read(source, limits=limits, **options)
    head, suffix = _head(source)
    by_content = [f for f in known.values() if f.sniff(head)]
    by_suffix = [f for f in known.values() if suffix in f.suffixes]
    both = [f for f in by_content if f in by_suffix]
    chosen = both or by_content or by_suffix
    if not chosen:
        shown = ", ".join(f"{f.name} ({' '.join(f.suffixes)})" for f in known.values())
        raise FormatError(
            f"the content is none of the known formats and the suffix {suffix!r} names none; "
            f"tried {shown}"
        )
    errors = []
    for candidate in chosen:
        try:
            return candidate.read(source, limits=limits, **options)
        except FormatError as error:
            if len(chosen) == 1:
                raise
            errors.append(f"{candidate.name}: {error}")
    raise FormatError("the file is none of the formats it looks like: " + "; ".join(errors))


def _head(source: Any) -> tuple[bytes, str]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source[:4096]), ""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        with open_plain(path) as file:
            return file.read(4096), path.suffix.lower()
    if hasattr(source, "read") and hasattr(source, "seek"):
        head = source.read(4096)
        source.seek(-len(head), os.SEEK_CUR)
        return bytes(head), Path(str(getattr(source, "name", ""))).suffix.lower()
    raise ModelError(f"a model is a path, bytes or an open file, not {type(source).__name__}")


@contextlib.contextmanager
def of_a_file() -> Iterator[None]:
    """While a file's content is read: what does not fit together in it is the file's error.

    A ModelError of a graph that is built becomes a FormatError, and what Python cannot nest or
    has no memory for a LimitError.
    """
    try:
        yield
    except LimitError:
        raise
    except ModelError as error:
        if type(error) is not ModelError:
            raise
        raise FormatError(str(error)) from error
    except RecursionError:
        raise LimitError("the model nests too deeply") from None
    except MemoryError as error:
        raise LimitError(f"the model asks for more memory than there is: {error}") from None


def check_sizes(graph: Graph) -> None:
    """Raise LimitError or ModelError where a shape, in bodies too, is too large or impossible."""
    pending = [graph]
    while pending:
        current = pending.pop()
        check_extents(current)
        for node in current.operators():
            pending += [held for held in node.attrs.values() if isinstance(held, Graph)]


def read_source(source: Any, limits: Limits) -> tuple[bytes, Path | None]:
    """The bytes of a path, an open file or bytes, and the folder of a path."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _within(bytes(source), limits), None
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        with open_plain(path) as file:
            return _read_all(file, limits, os.fstat(file.fileno()).st_size), path.parent
    if hasattr(source, "read"):
        return _read_all(source, limits), None
    raise ModelError(f"a model is a path, bytes or an open file, not {type(source).__name__}")


def _read_all(file: Any, limits: Limits, expected: int = 0) -> bytes:
    """All of a file, in pieces: it may be a pipe, or longer than it says."""
    pieces: list[bytes] = []
    size = 0
    # One piece need not be joined, which would take as long as reading it.
    at_once = min(expected, limits.file_bytes) + 1 if expected else _PIECE
    while piece := file.read(at_once - size if size < at_once else _PIECE):
        if not isinstance(piece, bytes):
            raise ModelError("an open file must give bytes; open it in binary mode")
        pieces.append(piece)
        size += len(piece)
        if size > limits.file_bytes:
            break
    return _within(pieces[0] if len(pieces) == 1 else b"".join(pieces), limits)


def _within(data: bytes, limits: Limits) -> bytes:
    if len(data) > limits.file_bytes:
        raise LimitError(f"the file has more than {limits.file_bytes} bytes; raise limits")
    return data
