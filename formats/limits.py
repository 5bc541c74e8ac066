"""What a model file may ask for; checked before memory or time is spent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds for reading one model. Raise single ones for unusual models.

    ``messages`` counts the file's structured objects (nodes, tensors, attributes, ...),
    ``elements`` single fields of any kind; both bound what a parser would allocate for them.
    """

    file_bytes: int = 8 << 30
    messages: int = 1_000_000
    elements: int = 4_000_000
    message_depth: int = 96
    name_bytes: int = 1 << 20
    subgraph_depth: int = 24
    nodes: int = 500_000
    # Nodes that calls of the file's own functions may add to those that the file has.
    called_nodes: int = 20_000
    # Parts of tuples that nodes may hand on, all together.
    tuple_parts: int = 400_000
    tensor_bytes: int = 16 << 30
    # Tensors that the file only describes (sparse ones, filled ones) and reading must build.
    built_bytes: int = 1 << 30
    # Entries of a checkpoint, slices of large tensors counted each.
    records: int = 200_000
    # Checkpoints are mapped, not read: their size costs no memory.
    checkpoint_bytes: int = 1 << 42


DEFAULT_LIMITS = Limits()
