"""What a user calls first: ``load`` a file, ``compile`` a model, ``export`` a network."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from . import __version__
from .compiler.collector import young_collections
from .compiler.driver import compile_graph, fixed_symbols
from .compiler.options import CompileOptions
from .compiler.session import Session
from .compiler.target import Target
from .formats import adapter
from .formats.adapter import LoadedModel, Metadata
from .formats.limits import DEFAULT_LIMITS, Limits
from .ir import Array, FormatError, Graph, ModelError, TensorType, UnsupportedError
from .targets.cpu.package.container import is_package

if TYPE_CHECKING:
    from .networks.cell import Cell
    from .targets.cpu.tuning.tune import TuningReport


@runtime_checkable
class _Message(Protocol):
    """A protobuf message, such as an ``onnx.ModelProto``."""

    def SerializeToString(self) -> bytes: ...


File: TypeAlias = bytes | str | os.PathLike[str] | IO[bytes] | _Message
Source: TypeAlias = "File | LoadedModel | Graph | Cell"

# How much of a wrong name must agree with one that is suggested.
_CLOSE = 0.75
# What a model from a built-in network has in place of a file's format.
NETWORK = "network"
# What files say made them.
PRODUCER = f"opweave {__version__}"


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is neither a file nor a built-in network of this name."""


def load(
    source: File,
    *,
    format: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    **options: Any,
) -> LoadedModel:
    """Read a model: a path, the file's bytes, an open binary file or an ``onnx.ModelProto``.

    The content decides which format it is, the suffix only between formats that it fits
    both; ``format`` names one. ``options`` are those of the format's reader. Raises
    ModelNotFoundError, FormatError for a broken file, an inconsistent model and what is no plain
    file, UnsupportedError whose ``items`` are all that opweave does not have, LimitError for what
    is beyond ``limits``.
    """
    if isinstance(source, (str, os.PathLike)) and is_package(source):
        raise FormatError(
            f"{os.fspath(source)!r} is a package: compiled already, without its graph; "
            "load_session loads it, and the verbs run, bench and inspect take it"
        )
    if isinstance(source, _Message):
        return adapter.formats()[format or "ONNX"].read(source, limits=limits, **options)
    try:
        return adapter.load(source, format=format, limits=limits, **options)
    except FileNotFoundError as error:
        if isinstance(source, (str, os.PathLike)) and error.filename in (source, str(source)):
            raise ModelNotFoundError(f"there is no file {os.fspath(source)!r}") from None
        raise


@young_collections()
def compile(
    model: Source,
    target: str | Target = "cpu",
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    input_types: Sequence[TensorType | Any] = (),
    threads: int | None = None,
    accuracy: str = "default",
    vector_bits: int | None = None,
    tuned: bool = True,
) -> Session:
    """Compile a model for a target; the result is called with arrays.

    ``model`` is what :func:`load` takes or gave, a graph, a network definition, or the name
    of a built-in network. ``shapes`` fixes symbolic shapes of inputs by name; extents that
    stay symbolic are open, and the one compiled session serves all sizes. ``input_types``
    (types, or arrays to take them from) are the inputs of a network definition, by default
    those it was given with ``set_inputs``; for other models they fix symbolic shapes in
    order. ``threads`` bounds the threads of one run; ``accuracy`` "exact" leaves out algorithms
    that round more than need be (Winograd convolution; "default" stays within 1e-4 of the
    output's largest magnitude); ``vector_bits`` (128, 256, 512) leaves wider registers unused;
    ``tuned=False`` (or OPWEAVE_TUNE=off in the environment) ignores what :func:`tune` has measured.

    Raises what :func:`load` raises, and UnsupportedError naming all nodes that the target
    has no kernel for.
    """
    graph = model_of(model, input_types).graph
    return compile_graph(
        graph,
        target,
        shapes,
        threads,
        accuracy=accuracy,
        vector_bits=vector_bits,
        tuned=tuned,
    )


def tune(
    model: Source,
    *,
    budget: float = 60.0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    input_types: Sequence[TensorType | Any] = (),
    inputs: Mapping[str, Array] | None = None,
    threads: int | None = None,
    accuracy: str = "default",
    vector_bits: int | None = None,
    again: bool = False,
) -> TuningReport:
    """Measure which kernels are fastest for a model on this machine, and remember them.

    For about ``budget`` seconds the kernels, tiles and schedules that :func:`compile` chooses by
    estimates are timed for the model's operators, those first that compute most; what gains more
    than 3 % is recorded in the cache folder, unless whole runs of the model are slower with it.
    From then on :func:`compile` takes what is recorded for this processor, number of threads and
    version of opweave; operators of the same shape gain in other models too. ``again`` measures
    what is recorded already once more; ``inputs`` are those of whole runs, by name, made up by
    default. The other options are those of :func:`compile`, as are the errors.
    """
    from .targets.cpu.tuning.tune import tune_graph

    return tune_graph(
        model_of(model, input_types).graph,
        CompileOptions(threads, accuracy, vector_bits),
        shapes=shapes,
        budget=budget,
        inputs=inputs,
        again=again,
    )


def export(
    model: Source,
    *input_types: TensorType | Any,
    file_name: str | os.PathLike[str],
    file_format: str = "ONNX",
    **options: Any,
) -> Path:
    """Write a network definition, a model or a graph as a file, and return its path.

    ``input_types`` are the inputs of a network definition; for other models they fix
    symbolic shapes of the inputs, in order. Arrays stand for their types. The format's
    suffix is added to ``file_name`` where it is missing; ``options`` are those of the
    format's writer. The file appears complete or not at all. Raises UnsupportedError for a
    format that cannot be written, and for all that the format cannot say at once.
    """
    known = adapter.formats()
    if file_format.upper() not in known:
        there = ", ".join(known)
        raise UnsupportedError(
            f"files of the format {file_format!r} cannot be written; there is: {there}"
        )
    format_ = known[file_format.upper()]
    graph = model_of(model, input_types).graph
    path = Path(file_name)
    if path.suffix.lower() not in format_.suffixes:
        path = path.with_name(path.name + format_.suffixes[0])
    format_.write(graph, path, **options)
    return path


def save(session: Session, file_name: str | os.PathLike[str]) -> Path:
    """Write a compiled session as a package for this machine's processor; its path.

    The suffix ``.owx`` is added where it is missing. ``ow.load_session`` reads it in
    milliseconds. The file appears complete or not at all.
    """
    from .targets.cpu.artefacts import save_session

    path = Path(file_name)
    if path.suffix.lower() != ".owx":
        path = path.with_name(f"{path.name}.owx")
    save_session(session, path, PRODUCER)
    return path


@young_collections()
def build(
    model: Source,
    file_name: str | os.PathLike[str],
    *,
    kind: str | None = None,
    cpus: Sequence[str] = ("native",),
    system: str | None = None,
    separate_weights: bool = False,
    static: bool = False,
    shapes: Mapping[str, Sequence[int]] | None = None,
    input_types: Sequence[TensorType | Any] = (),
    threads: int | None = None,
    accuracy: str = "default",
    vector_bits: int | None = None,
) -> list[Path]:
    """Compile a model to files that run without opweave's compiler; the files written.

    ``kind`` is "package" (one file for ``load_session``), "shared" (a library with a C header
    beside it) or "executable"; by default what the suffix of ``file_name`` says: ``.owx``,
    ``.so``, others. ``cpus`` are kinds of processors: "native", "x86-64-v2", "x86-64-v3",
    "x86-64-v4"; a package may be for several, and the best is taken when it is loaded.
    ``system`` cross-compiles (such as "aarch64-linux-gnu"). ``separate_weights`` puts them into
    a file beside a library or executable; ``static`` links an executable with all it needs.
    ``threads`` is the number that choices are made for; when it runs, any number may be used.
    The other options are those of :func:`compile`, as are the errors; UnsupportedError also
    where linking needs a C compiler and there is none.
    """
    from .targets.cpu.artefacts import (
        build_artefact,
        check_artefact,
        kind_of_path,
        programs_for,
    )

    path = Path(file_name)
    kind = kind or kind_of_path(path)
    check_artefact(
        kind, path, cpus, system=system, separate_weights=separate_weights, static=static
    )
    graph = model_of(model, input_types).graph
    options = CompileOptions(threads, accuracy, vector_bits, system=system)
    programs = programs_for(graph, shapes, options, cpus)
    return build_artefact(
        kind,
        path,
        programs,
        PRODUCER,
        system=system,
        separate_weights=separate_weights,
        static=static,
    )


def model_of(source: Source, input_types: Sequence[TensorType | Any] = ()) -> LoadedModel:
    """The model that ``source``, anything :func:`compile` takes, stands for.

    A string is a path if there is such a file, else the name of a built-in network.
    """
    types = [item if isinstance(item, TensorType) else TensorType.of(item) for item in input_types]
    if isinstance(source, str) and not os.path.exists(source):
        return _network(source, types)
    if isinstance(source, Graph):
        return _fixed(LoadedModel(source, "graph"), types)
    if isinstance(source, LoadedModel):
        return _fixed(source, types)
    if isinstance(source, (bytes, bytearray, memoryview, str, os.PathLike)):
        return _fixed(load(source), types)
    if hasattr(source, "read") or isinstance(source, _Message):
        return _fixed(load(source), types)
    from .networks.cell import Cell, trace

    if not isinstance(source, Cell):
        raise ModelError(
            "a model is a path, bytes, an open file, what load gave, a Graph, a network or "
            f"the name of a built-in network, not {type(source).__name__}"
        )
    return LoadedModel(trace(source, *types), NETWORK)


def _network(name: str, types: Sequence[TensorType]) -> LoadedModel:
    """A built-in network with seeded parameters; raises ModelNotFoundError."""
    from .networks.cell import trace
    from .networks.registry import network_named, network_names

    names = network_names()
    if name not in names:
        raise ModelNotFoundError(_not_found(name, names))
    network, default_types = network_named(name)
    graph = trace(network, *(types or default_types))
    return LoadedModel(graph, NETWORK, Metadata(producer="opweave"))


def _not_found(name: str, networks: Sequence[str]) -> str:
    folder, stem = os.path.split(name)
    try:
        files = os.listdir(folder or ".")
    except OSError:
        files = []
    near = difflib.get_close_matches
    close = near(stem.lower(), networks, 3, _CLOSE) if not folder else []
    close += [os.path.join(folder, file) for file in near(stem, files, 3, _CLOSE)]
    hint = f"; is it {' or '.join(close)}?" if close else f": {', '.join(networks)}"
    return f"there is no file {name!r} and no built-in network of that name{hint}"


def _fixed(model: LoadedModel, types: Sequence[TensorType]) -> LoadedModel:
    """The model with its inputs' shapes fixed to those of ``types``, in order."""
    if not types:
        return model
    graph = model.graph
    if len(types) != len(graph.inputs):
        raise ModelError(f"{len(types)} input types for a model with {len(graph.inputs)} inputs")
    for value, type_ in zip(graph.inputs, types, strict=True):
        if type_.dtype != graph.type(value).dtype:
            raise ModelError(f"input {value} is {graph.type(value)}, not {type_}")
    shapes = {
        value.node: type_.static_shape for value, type_ in zip(graph.inputs, types, strict=True)
    }
    fixed = graph.substitute(fixed_symbols(graph, shapes))
    return LoadedModel(fixed, model.format, model.metadata)
