"""Which function reads which MindIR primitive, and how a node's inputs reach its parameters.

Up to 2.2 a primitive's settings are attributes, later most of them are constant inputs behind
the tensors; the order and the names are the same. A reader therefore has one parameter for
each: inputs fill them in order, attributes the rest by name. The annotation tells what the
reader wants: see ``convert.CONVERTERS``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ...ir import REQUIRED, ModelError, Op

# A reader takes the node's Context, then its parameters; it returns an item (see items.py): a
# Value of the graph, a tuple for several results, ...
Reader = Callable[..., Any]
_Function = TypeVar("_Function", bound=Reader)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a reader."""

    name: str
    kind: str
    default: Any
    other_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A reader with what its signature says.

    ``plumbing`` readers take all inputs as they are, also results of calls that are not known
    yet and values that are not supported.
    """

    function: Reader
    parameters: tuple[Parameter, ...]
    variadic: bool
    plumbing: bool


_READERS: dict[str, Entry] = {}

_MODULES = (
    "plumbing",
    "scalars",
    "elementwise",
    "functions",
    "activations",
    "shapes",
    "creation",
    "padding",
    "slicing",
    "indexing",
    "unique",
    "diagonals",
    "reduction",
    "matrix",
    "recurrent",
    "convolution",
    "columns",
    "pooling",
    "normalization",
    "resizing",
    "detection",
    "losses",
    "mathematics",
    "linear_algebra",
    "cumulative",
    "unpooling",
    "gradients",
    "window_gradients",
    "optimizers",
    "special",
)


def reads(
    *names: str, other_names: Mapping[str, str] | None = None, plumbing: bool = False
) -> Callable[[_Function], _Function]:
    """Decorator: the function reads the primitives ``names``.

    ``other_names`` gives further names, parted by spaces, of attributes.
    """

    def register(function: _Function) -> _Function:
        entry = _entry(function, other_names or {}, plumbing)
        for name in names:
            _insert(name, entry)
        return function

    return register


def register_operator(name: str, op: Op) -> None:
    """Let the primitive ``name`` in MindIR files mean ``op``; attributes go by their names.

    Raises ModelError when the name is taken.
    """
    parameters = []
    for parameter in op.parameters:
        if parameter.variadic:
            raise ModelError(f"{op.name} takes any number of operands; a primitive cannot")
        kind = "Value | None" if parameter.optional else "Value"
        default = None if parameter.optional else REQUIRED
        parameters.append(Parameter(parameter.name, kind, default, ()))
    count = len(parameters)
    for attribute, default in op.attributes.items():
        parameters.append(Parameter(attribute, "Item", default, ()))

    def read(g: Any, *values: Any) -> Any:
        attributes = dict(zip(op.attributes, values[count:], strict=True))
        outputs = g.add_node(op, values[:count], attributes).outputs
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    _insert(name, Entry(read, tuple(parameters), False, False))


def _insert(name: str, entry: Entry) -> None:
    if name in _READERS:
        raise ModelError(f"there already is a reader for the primitive {name}")
    _READERS[name] = entry


def _entry(function: Reader, other_names: Mapping[str, str], plumbing: bool) -> Entry:
    parameters = []
    variadic = False
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            variadic = True
            continue
        missing = parameter.default is parameter.empty
        parameters.append(
            Parameter(
                parameter.name,
                str(parameter.annotation),
                REQUIRED if missing else parameter.default,
                tuple(other_names.get(parameter.name, "").split()),
            )
        )
    return Entry(function, tuple(parameters), variadic, plumbing)


@functools.cache
def load_readers() -> None:
    """Import the modules that register the readers."""
    for module in _MODULES:
        importlib.import_module(f".read_{module}", __package__)


# Names of primitives up to 1.2, and a few later ones that differ in spelling only.
_RENAMED = {
    "TensorAdd": "Add",
    "GatherV2": "Gather",
    "SparseGatherV2": "Gather",
    "Pack": "Stack",
    "Unpack": "Unstack",
    "Gelu": "GeLU",
    "FastGelu": "FastGeLU",
    "ScatterElements": "TensorScatterElements",
    "ReLUV2": "ReLU",
}


def plain_name(name: str) -> str:
    """A primitive's name without the prefix of signature-wrapped ones, in today's spelling."""
    name = name.removeprefix("S-Prim-")
    return _RENAMED.get(name, name)


def find(name: str) -> Entry | None:
    """The reader of a primitive, or None."""
    load_readers()
    return _READERS.get(name) or _READERS.get(plain_name(name))


def table() -> list[str]:
    """All primitives with readers."""
    load_readers()
    return sorted(_READERS)
