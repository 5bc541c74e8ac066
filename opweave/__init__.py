"""Compile trained neural networks for inference.

The public names below are looked up on first use, so that ``import opweave`` loads no library
and starts no thread: a process pays for NumPy, Numba or ONNX when it asks for what needs them.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opweave.ir import (
        DeviceError,
        Dim,
        Error,
        FormatError,
        Graph,
        LimitError,
        ModelError,
        Node,
        NoKernelError,
        TensorType,
        UnsupportedError,
        Value,
    )

__all__ = [
    "DeviceError",
    "Dim",
    "Error",
    "FormatError",
    "Graph",
    "LimitError",
    "ModelError",
    "NoKernelError",
    "Node",
    "TensorType",
    "UnsupportedError",
    "Value",
    "__version__",
]

__version__ = "0.1.0"

# Public name -> "module:attribute". A name stands here, in __all__ and in the imports above.
_PUBLIC = {
    "DeviceError": "opweave.ir:DeviceError",
    "Dim": "opweave.ir:Dim",
    "Error": "opweave.ir:Error",
    "FormatError": "opweave.ir:FormatError",
    "Graph": "opweave.ir:Graph",
    "LimitError": "opweave.ir:LimitError",
    "ModelError": "opweave.ir:ModelError",
    "NoKernelError": "opweave.ir:NoKernelError",
    "Node": "opweave.ir:Node",
    "TensorType": "opweave.ir:TensorType",
    "UnsupportedError": "opweave.ir:UnsupportedError",
    "Value": "opweave.ir:Value",
}

# With the repository's root on sys.path (python -m opweave there), this folder hides an installed
# opweave, and the sub-packages are the folders beside it.
_FOLDER = os.path.dirname(os.path.abspath(__file__))
if not os.path.isdir(os.path.join(_FOLDER, "ir")):
    __path__.append(os.path.dirname(_FOLDER))


def __getattr__(name: str) -> Any:
    try:
        module, attribute = _PUBLIC[name].split(":")
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
