"""opweave as an ``onnx.backend``: what the public ONNX test suite runs engines through.

>>> import onnx, opweave.onnx_backend as backend
>>> outputs = backend.prepare(onnx.load("model.onnx")).run([x])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx.backend.base import Backend, BackendRep

from .compiler.driver import compile_graph
from .compiler.session import Session
from .formats.onnx.read import read
from .ir import Array, ModelError, UnsupportedError

# Inputs up to this size may be axes, scales or counts that a model needs to be known.
_SMALL = 64


class PreparedModel(BackendRep):
    """A model ready to run.

    A model whose shapes or axes depend on the values of small inputs is compiled when these
    are known: at each run with new ones.
    """

    def __init__(self, model: Any, target: str) -> None:
        stored = {tensor.name for tensor in model.graph.initializer}
        self._names = [value.name for value in model.graph.input]
        self._needed = [name for name in self._names if name not in stored]
        self._model, self._target = model, target
        self._session: Session | None = None
        self._refusal: UnsupportedError | None = None
        try:
            self._session = compile_graph(read(model), target)
        except UnsupportedError as error:
            if not self._needed:
                raise
            self._refusal = error

    def run(self, inputs: Any, **options: Any) -> tuple[Array, ...]:
        """Outputs for inputs in order, or by name."""
        if self._refusal is not None and any(isinstance(value, (list, dict)) for value in inputs):
            raise self._refusal  # sequences and the like
        feed = self._feed(inputs)
        session = self._session
        if session is None:
            session = self._specialised(feed)
        wanted = {spec.name: feed[spec.name] for spec in session.inputs if spec.name in feed}
        return tuple(session.run(None, wanted))

    def _feed(self, inputs: Any) -> dict[str, Array]:
        if isinstance(inputs, Mapping):
            return {name: np.asarray(value) for name, value in inputs.items()}
        given = list(inputs) if isinstance(inputs, Sequence) else [inputs]
        names = self._names if len(given) == len(self._names) else self._needed
        if len(given) != len(names):
            raise ModelError(f"the model has {len(names)} inputs, {len(given)} are given")
        return {name: np.asarray(value) for name, value in zip(names, given, strict=True)}

    def _specialised(self, feed: Mapping[str, Array]) -> Session:
        """A session for the very values of the small inputs."""
        assert self._refusal is not None
        small = {n: a for n, a in feed.items() if a.size <= _SMALL and a.dtype != object}
        if not small:
            raise self._refusal
        return compile_graph(read(self._model, constants=small), self._target)


class OpweaveBackend(Backend):
    """The backend protocol of the onnx package."""

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **options: Any) -> PreparedModel:
        """Compile a ModelProto; raises UnsupportedError, a NotImplementedError, if it cannot."""
        if not cls.supports_device(device):
            raise UnsupportedError(f"device {device!r}; there are CPU and CUDA")
        return PreparedModel(model, "cpu" if device == "CPU" else "cuda")

    @classmethod
    def run_model(
        cls, model: Any, inputs: Any, device: str = "CPU", **options: Any
    ) -> tuple[Array, ...]:
        """Compile and run once."""
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """True for the names of devices opweave has a target for."""
        return device in ("CPU", "CUDA")


prepare = OpweaveBackend.prepare
run_model = OpweaveBackend.run_model
supports_device = OpweaveBackend.supports_device
