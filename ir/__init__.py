"""The graph IR: types, operators, graphs. Needs NumPy (with ml_dtypes) and networkx alone."""

if __name__ == "ir":
    raise ImportError("import opweave.ir, not ir: the repository root is on sys.path")

from .check import check
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
from .graph import INPUT, PARAMETER, Equality, Graph, LazyArray, Node, Value
from .kernel import Call, Operand, View, Workspace, workspace
from .op import REQUIRED, Array, Cost, Op, Sample
from .tensor_type import TensorType, broadcast, recorded_equalities, unify

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
