"""The graph IR: types, operators, graphs. Needs NumPy (with ml_dtypes) and networkx alone.

The names below are looked up on first use: saved models run on types and errors alone.
"""

if __name__ == "ir":
    raise ImportError("import opweave.ir, not ir: the repository root is on sys.path")

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data_type import Array
    from .dim import Dim, Extent, symbol
    from .errors import (
        DeviceError,
        Error,
        FormatError,
        LimitError,
        ModelError,
        NoKernelError,
        UnsupportedError,
    )
    from .graph import Graph
    from .kernel import Call, Operand, View, Workspace, workspace
    from .node import INPUT, PARAMETER, Equality, LazyArray, Node, Value
    from .op import REQUIRED, Cost, Op, Sample
    from .tensor_type import TensorType, broadcast, recorded_equalities, unify
    from .verify import check

__all__ = [
    "INPUT",
    "PARAMETER",
    "REQUIRED",
    "Array",
    "Call",
    "Cost",
    "DeviceError",
    "Dim",
    "Equality",
    "Error",
    "Extent",
    "FormatError",
    "Graph",
    "LazyArray",
    "LimitError",
    "ModelError",
    "NoKernelError",
    "Node",
    "Op",
    "Operand",
    "Sample",
    "TensorType",
    "UnsupportedError",
    "Value",
    "View",
    "Workspace",
    "broadcast",
    "check",
    "recorded_equalities",
    "symbol",
    "unify",
    "workspace",
]

# Public name -> the module that defines it; none may be called like a module.
_PUBLIC = {
    "INPUT": "node",
    "PARAMETER": "node",
    "REQUIRED": "op",
    "Array": "data_type",
    "Call": "kernel",
    "Cost": "op",
    "DeviceError": "errors",
    "Dim": "dim",
    "Equality": "node",
    "Error": "errors",
    "Extent": "dim",
    "FormatError": "errors",
    "Graph": "graph",
    "LazyArray": "node",
    "LimitError": "errors",
    "ModelError": "errors",
    "NoKernelError": "errors",
    "Node": "node",
    "Op": "op",
    "Operand": "kernel",
    "Sample": "op",
    "TensorType": "tensor_type",
    "UnsupportedError": "errors",
    "Value": "node",
    "View": "kernel",
    "Workspace": "kernel",
    "broadcast": "tensor_type",
    "check": "verify",
    "recorded_equalities": "tensor_type",
    "symbol": "dim",
    "unify": "tensor_type",
    "workspace": "kernel",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
