"""Network definitions: the building blocks, and one module a family of networks.

A network is a :class:`Cell` in MindSpore's manner: ``layers`` has what MindSpore calls ``nn``,
``functional`` its ``ops``; parameters have the names, shapes and layouts of its checkpoints.
Networks are for inference, and definitions only: ``opweave.compile`` makes them run.

    from opweave.networks import functional as ops, layers as nn

    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def construct(self, x):
            return ops.relu(self.conv(x))

The names below are looked up on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if __name__ == "networks":
    raise ImportError("import opweave.networks, not networks: the repository root is on sys.path")

if TYPE_CHECKING:
    from .bert import bert_base, tinybert
    from .cell import Cell, trace
    from .lenet5 import lenet
    from .mobilenet import mobilenet_v2
    from .parameter import Parameter
    from .registry import network_named, network_names
    from .resnet import resnet18, resnet34, resnet50, resnet101, resnet152
    from .sentiment import bilstm
    from .unet import unet, unet_medical
    from .vgg import vgg16
    from .wide_deep import wide_deep

__all__ = [
    "Cell",
    "Parameter",
    "bert_base",
    "bilstm",
    "lenet",
    "mobilenet_v2",
    "network_named",
    "network_names",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "tinybert",
    "trace",
    "unet",
    "unet_medical",
    "vgg16",
    "wide_deep",
]

# Public name -> module. A name stands here, in __all__ and in the imports above.
_PUBLIC = {
    "Cell": "cell",
    "Parameter": "parameter",
    "bert_base": "bert",
    "bilstm": "sentiment",
    "lenet": "lenet5",
    "mobilenet_v2": "mobilenet",
    "network_named": "registry",
    "network_names": "registry",
    "resnet18": "resnet",
    "resnet34": "resnet",
    "resnet50": "resnet",
    "resnet101": "resnet",
    "resnet152": "resnet",
    "tinybert": "bert",
    "trace": "cell",
    "unet": "unet",
    "unet_medical": "unet",
    "vgg16": "vgg",
    "wide_deep": "wide_deep",
}
# Modules that are used as namespaces.
_MODULES = ("functional", "initializers", "layers")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC, *_MODULES})
