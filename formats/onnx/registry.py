"""Which function reads which ONNX operator: keyed by domain, name and since-version, exactly.

The since-version is the opset in which a meaning of the operator came in; ``onnx.defs``
tells which one a model's opset means. Nothing falls back to a neighbouring version.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...ir import REQUIRED, ModelError, Op, UnsupportedError

# A reader takes the node's context, then its inputs (Values, None for one left out), then the
# node's attributes by keyword; it returns a Value or one for each output.
Reader = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A reader with what its signature says."""

    function: Reader
    minimum: int
    maximum: int | None
    required: tuple[bool, ...]
    attributes: dict[str, Any]
    sequences: bool = False


_READERS: dict[tuple[str, str, int], Entry] = {}

_MODULES = (
    "elementwise",
    "movement",
    "slicing",
    "indexing",
    "reduction",
    "neural",
    "normalization",
    "recurrent",
    "resizing",
    "quantization",
    "control",
    "sequence",
    "images",
    "signal",
    "legacy",
)


def reads(
    *names: str, since: int | Sequence[int], domain: str = "", sequences: bool = False
) -> Callable[[Reader], Reader]:
    """Decorator: the function reads the operators ``names`` of these since-versions.

    With ``sequences`` it takes sequences of tensors as inputs, too.
    """
    versions = (since,) if isinstance(since, int) else tuple(since)

    def register(function: Reader) -> Reader:
        entry = replace(_entry(function), sequences=sequences)
        for name in names:
            for version in versions:
                _insert((domain, name, version), entry)
        return function

    return register


def register_operator(domain: str, name: str, op: Op, since: int = 1) -> None:
    """Let nodes ``domain::name`` in ONNX files mean ``op``; attributes go by their names.

    Raises ModelError when the name is taken.
    """

    def read(g: Any, *inputs: Any, **attributes: Any) -> Any:
        return g.add_node(op, inputs, attributes).outputs

    _insert((domain, name, since), _entry_like(op, read))


def reads_like(
    op: Op, name: str, since: Sequence[int], **defaults: Any
) -> Callable[[Reader], Reader]:
    """Decorator: the function reads ``name`` with the operands and attributes of ``op``.

    ``defaults`` are those of attributes that may be left out in files.
    """

    def register(function: Reader) -> Reader:
        for version in since:
            _insert(("", name, version), _entry_like(op, function, **defaults))
        return function

    return register


def _entry_like(op: Op, read: Reader, **defaults: Any) -> Entry:
    fixed = [parameter for parameter in op.parameters if not parameter.variadic]
    most = len(fixed) if len(fixed) == len(op.parameters) else None
    required = tuple(not parameter.optional for parameter in fixed)
    return Entry(read, sum(required), most, required, {**op.attributes, **defaults})


def _insert(key: tuple[str, str, int], entry: Entry) -> None:
    if key in _READERS:
        domain, name, version = key
        raise ModelError(f"there already is a reader for {name} ({shown(domain)}, since {version})")
    _READERS[key] = entry


def _entry(function: Reader) -> Entry:
    required: list[bool] = []
    attributes: dict[str, Any] = {}
    variadic = False
    parameters = list(inspect.signature(function).parameters.values())[1:]
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY:
            missing = parameter.default is parameter.empty
            attributes[parameter.name] = REQUIRED if missing else parameter.default
        elif parameter.kind is parameter.VAR_POSITIONAL:
            variadic = True
        else:
            required.append(parameter.default is parameter.empty)
    most = None if variadic else len(required)
    return Entry(function, sum(required), most, tuple(required), attributes)


@functools.cache
def load_readers() -> None:
    """Import the modules that register the readers."""
    for module in _MODULES:
        importlib.import_module(f".read_{module}", __package__)


def find(domain: str, name: str, since: int) -> Entry | None:
    """The reader of exactly this version, or None."""
    load_readers()
    return _READERS.get((domain, name, since))


def versions(domain: str, name: str) -> list[int]:
    """Since-versions of an operator that have readers."""
    load_readers()
    return sorted(key[2] for key in _READERS if key[:2] == (domain, name))


def table() -> dict[tuple[str, str], list[int]]:
    """All operators with readers: (domain, name) -> since-versions."""
    load_readers()
    found: dict[tuple[str, str], list[int]] = {}
    for domain, name, since in sorted(_READERS):
        found.setdefault((domain, name), []).append(since)
    return found


def missing(domain: str, name: str, since: int | None, opset: int) -> UnsupportedError:
    """The error for an operator without a reader."""
    known = versions(domain, name)
    have = (
        f"readers exist for since {', '.join(map(str, known))}" if known else "there is no reader"
    )
    at = f"since {since}; " if since is not None else ""
    return UnsupportedError(f"{name} ({shown(domain)}, {at}model has opset {opset}): {have}")


def shown(domain: str) -> str:
    """A domain's name for messages."""
    return domain or "ai.onnx"
