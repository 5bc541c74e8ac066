"""The CPU target: its passes, and how a graph becomes machine code."""

from __future__ import annotations

from ...compiler.passes import CANONICALISE, FUSE, LEGALISE_HALF
from ...compiler.target import Target
from .build import lower
from .dense.select import SELECT_DENSE

TARGET = Target("cpu", (*CANONICALISE, LEGALISE_HALF, SELECT_DENSE, FUSE), lower)
