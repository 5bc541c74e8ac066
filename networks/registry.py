"""The networks by name, for the command line and for reports."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from ..ir import Extent, ModelError, TensorType
from .cell import Cell

# Network name -> module that has the builder of that name.
_BUILDERS = {
    "lenet": "lenet5",
    "resnet18": "resnet",
    "resnet34": "resnet",
    "resnet50": "resnet",
    "resnet101": "resnet",
    "resnet152": "resnet",
    "mobilenet_v2": "mobilenet",
    "vgg16": "vgg",
    "bert_base": "bert",
    "tinybert": "bert",
    "unet": "unet",
    "unet_medical": "unet",
    "wide_deep": "wide_deep",
    "bilstm": "sentiment",
}
# Those whose inputs' second extent is a length.
_SEQUENCES = frozenset({"bert_base", "tinybert", "bilstm"})


def network_names() -> tuple[str, ...]:
    """The names that :func:`network_named` knows."""
    return tuple(_BUILDERS)


def builder_named(name: str) -> Callable[..., Cell]:
    """The function that builds the network ``name``; raises ModelError if there is none."""
    if name not in _BUILDERS:
        raise ModelError(f"there is no network {name!r}; there are: {', '.join(_BUILDERS)}")
    module = importlib.import_module(f"{__package__}.{_BUILDERS[name]}")
    builder: Callable[..., Cell] = getattr(module, name)
    return builder


def network_named(
    name: str, *, batch: Extent = 1, length: Extent | None = None, **options: Any
) -> tuple[Cell, tuple[TensorType, ...]]:
    """The network ``name`` and the types of its inputs, in order.

    ``batch`` is the inputs' first extent, ``length`` the second one of networks on sequences
    of tokens (by default 128); both may be symbols. ``options`` are the builder's
    (``num_classes``, ``seed``, ...). The inputs are called as ``Cell.input_names`` says; the
    network keeps their types as its own default. Raises ModelError for an unknown name or
    option.
    """
    builder = builder_named(name)
    known = inspect.signature(builder).parameters
    if unknown := sorted(set(options) - set(known)):
        raise ModelError(f"{name} has no option {', '.join(unknown)}; it has: {', '.join(known)}")
    network = builder(**options)
    types = []
    for type_ in network.get_inputs():
        shape = (batch, *type_.shape[1:])
        if length is not None:
            if name not in _SEQUENCES:
                raise ModelError(f"{name} does not take sequences: its inputs have no length")
            shape = (batch, length)
        types.append(type_.with_shape(shape))
    network.set_inputs(*types)
    return network, tuple(types)
