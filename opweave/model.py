"""``Model``: prediction in MindSpore's manner."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from .api import Source, compile
from .compiler.session import Session
from .ir import TensorType
from .networks.cell import Cell

# Sessions for different inputs that are kept; a server with free shapes should use symbols.
_SESSIONS = 8


class Model:
    """``Model(network).predict(x)``: compiles when it is first asked, then runs.

    ``network`` is a network definition or anything else that ``ow.compile`` takes, as are
    ``target``, ``threads`` and ``accuracy``. A definition is compiled for the types and shapes
    of each call's inputs (the last eight are kept), or once if the types given by ``set_inputs``
    have symbolic extents, which then are free; and again when its parameters get other numbers.
    What MindSpore's class has for training is not there.
    """

    def __init__(
        self,
        network: Source,
        *,
        target: str = "cpu",
        threads: int | None = None,
        accuracy: str = "default",
    ) -> None:
        self._network = network
        self._options: dict[str, Any] = {
            "target": target,
            "threads": threads,
            "accuracy": accuracy,
        }
        self._sessions: OrderedDict[tuple[object, ...], Session] = OrderedDict()

    @property
    def predict_network(self) -> Source:
        """The network that is asked."""
        return self._network

    def predict(self, *predict_data: Any) -> Any:
        """The outputs for these inputs, in order: one array, or a tuple of them.

        Raises what ``ow.compile`` and its sessions raise.
        """
        return self.session_for(*predict_data)(*predict_data)

    def session_for(self, *predict_data: Any) -> Session:
        """The compiled session that such inputs are run by."""
        types: tuple[TensorType, ...] = ()
        versions: tuple[int, ...] = ()
        if isinstance(self._network, Cell):
            if all(type_.is_static for type_ in self._network.get_inputs()):
                types = tuple(TensorType.of(np.asarray(item)) for item in predict_data)
            versions = tuple(item.version for item in self._network.get_parameters())
        key = (types, versions)
        session = self._sessions.get(key)
        if session is None:
            session = compile(self._network, input_types=types, **self._options)
            stale = [other for other in self._sessions if other[1] != versions]
            for other in stale:
                del self._sessions[other]
            # Tracing draws numbers that were not asked for before, which counts as a change.
            if isinstance(self._network, Cell):
                versions = tuple(item.version for item in self._network.get_parameters())
            self._sessions[(types, versions)] = session
            while len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        return session
