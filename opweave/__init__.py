"""Compile trained neural networks for inference.

The public names below are looked up on first use, so that ``import opweave`` loads no library
and starts no thread: a process pays for NumPy, Numba or ONNX when it asks for what needs them.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opweave import networks as networks
    from opweave.api import ModelNotFoundError, build, compile, export, load, save, tune
    from opweave.compiler.session import Session
    from opweave.compiler.spec import Spec
    from opweave.formats.adapter import LoadedModel
    from opweave.formats.limits import Limits
    from opweave.formats.onnx.registry import register_operator
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
        symbol,
    )
    from opweave.model import Model
    from opweave.networks.checkpoint import (
        load_checkpoint,
        load_param_into_net,
        save_checkpoint,
    )
    from opweave.ops.define import elementwise, operator
    from opweave.targets.cpu.package.load import load_session

__all__ = [
    "DeviceError",
    "Dim",
    "Error",
    "FormatError",
    "Graph",
    "LimitError",
    "Limits",
    "LoadedModel",
    "Model",
    "ModelError",
    "ModelNotFoundError",
    "NoKernelError",
    "Node",
    "Session",
    "Spec",
    "TensorType",
    "UnsupportedError",
    "Value",
    "__version__",
    "build",
    "compile",
    "elementwise",
    "export",
    "load",
    "load_checkpoint",
    "load_param_into_net",
    "load_session",
    "operator",
    "register_operator",
    "save",
    "save_checkpoint",
    "symbol",
    "tune",
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
    "Limits": "opweave.formats.limits:Limits",
    "LoadedModel": "opweave.formats.adapter:LoadedModel",
    "Model": "opweave.model:Model",
    "ModelError": "opweave.ir:ModelError",
    "ModelNotFoundError": "opweave.api:ModelNotFoundError",
    "NoKernelError": "opweave.ir:NoKernelError",
    "Node": "opweave.ir:Node",
    "Session": "opweave.compiler.session:Session",
    "Spec": "opweave.compiler.spec:Spec",
    "TensorType": "opweave.ir:TensorType",
    "UnsupportedError": "opweave.ir:UnsupportedError",
    "Value": "opweave.ir:Value",
    "build": "opweave.api:build",
    "compile": "opweave.api:compile",
    "elementwise": "opweave.ops.define:elementwise",
    "export": "opweave.api:export",
    "load": "opweave.api:load",
    "load_checkpoint": "opweave.networks.checkpoint:load_checkpoint",
    "load_param_into_net": "opweave.networks.checkpoint:load_param_into_net",
    "load_session": "opweave.targets.cpu.package.load:load_session",
    "operator": "opweave.ops.define:operator",
    "register_operator": "opweave.formats.onnx.registry:register_operator",
    "save": "opweave.api:save",
    "save_checkpoint": "opweave.networks.checkpoint:save_checkpoint",
    "symbol": "opweave.ir:symbol",
    "tune": "opweave.api:tune",
}

# Sub-packages that can be used as attributes without importing them first.
_FOLDERS = ("networks",)

# With the repository's root on sys.path (python -m opweave there), this folder hides an installed
# opweave, and the sub-packages are the folders beside it.
_FOLDER = os.path.dirname(os.path.abspath(__file__))
if not os.path.isdir(os.path.join(_FOLDER, "ir")):
    __path__.append(os.path.dirname(_FOLDER))


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return importlib.import_module(f"{__name__}.{name}")
    try:
        module, attribute = _PUBLIC[name].split(":")
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC, *_FOLDERS})
