"""Which function writes which operator: one registry a format."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from ..ir import ModelError

# A writer takes the format's Writer, the node and its operands' names (None: left out), and
# returns the name of its result, or one for each output.
NodeWriter = Callable[..., Any]


class Writers:
    """The writers of one format; their ``modules`` of ``package`` are imported when one is asked.

    Messages call it ``kind`` ("an ONNX writer").
    """

    def __init__(self, kind: str, package: str, modules: Sequence[str]) -> None:
        self._kind = kind
        self._places = [f"{package}.{module}" for module in modules]
        self._functions: dict[str, NodeWriter] = {}

    def writes(self, *names: str) -> Callable[[NodeWriter], NodeWriter]:
        """Decorator: the function writes the operators with these opweave names."""

        def register(function: NodeWriter) -> NodeWriter:
            for name in names:
                if name in self._functions:
                    raise ModelError(f"there already is {self._kind} for {name}")
                self._functions[name] = function
            return function

        return register

    def find(self, name: str) -> NodeWriter | None:
        """The writer of an operator, or None."""
        self._load()
        return self._functions.get(name)

    @functools.cache  # noqa: B019  (there is one for each format, as long as the process)
    def _load(self) -> None:
        for place in self._places:
            importlib.import_module(place)
