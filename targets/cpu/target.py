"""The CPU target: its passes, and how a graph becomes machine code."""

from __future__ import annotations

from ...compiler.passes import CANONICALISE, CLEAN_UP, FUSE, LEGALISE_HALF
from ...compiler.target import Target
from .build import lower
from .dense.select import SELECT_DENSE
from .layout.channels_last import STORE_CHANNELS_LAST

TARGET = Target(
    "cpu",
    (*CANONICALISE, LEGALISE_HALF, STORE_CHANNELS_LAST, CLEAN_UP, SELECT_DENSE, FUSE),
    lower,
)
