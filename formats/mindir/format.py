"""MindIR as a Format."""

from __future__ import annotations

from ..adapter import Format
from .read import read_model, sniff
from .write import write

FORMAT = Format("MINDIR", (".mindir",), sniff, read_model, write)
