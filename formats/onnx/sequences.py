"""Sequences of tensors, which exist while a file is read but not in graphs."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import Value


@dataclass(frozen=True, slots=True)
class TensorSequence:
    """A sequence whose length and members are known: each member is a value of the graph."""

    items: tuple[Value, ...]
