"""Embeddings: rows of a table by whole-number ids."""

from __future__ import annotations

from ..ir import ModelError, UnsupportedError
from . import functional
from .cell import Cell
from .initializers import Start, initializer
from .parameter import Parameter
from .tensor import Expression, Tensor


class Embedding(Cell):
    """Rows of ``embedding_table`` [vocab_size, embedding_size] by whole-number ids.

    ``use_one_hot`` multiplies by one-hot rows in MindSpore; here rows are looked up either way.
    ``padding_idx`` only says which row training leaves at 0.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        use_one_hot: bool = False,
        embedding_table: Start = "normal",
        dtype: object = "float32",
        padding_idx: int | None = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not 0 <= padding_idx < vocab_size:
            raise ModelError(f"Embedding: padding_idx {padding_idx} of {vocab_size} rows")
        self.vocab_size, self.embedding_size = vocab_size, embedding_size
        self.use_one_hot, self.padding_idx = use_one_hot, padding_idx
        shape = (vocab_size, embedding_size)
        self.embedding_table = Parameter(initializer(embedding_table, shape, dtype))

    def construct(self, ids: Expression) -> Tensor:
        """The rows for ``ids``, along a new last axis."""
        return functional.gather(self.embedding_table, ids, 0)


class EmbeddingLookup(Cell):
    """:class:`Embedding` with MindSpore's settings for tables that are spread over devices.

    ``target``, ``slice_mode``, ``manual_shapes`` and ``sparse`` change nothing here.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        param_init: Start = "normal",
        target: str = "CPU",
        slice_mode: str = "batch_slice",
        manual_shapes: object = None,
        max_norm: float | None = None,
        sparse: bool = True,
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        if max_norm is not None:
            raise UnsupportedError("EmbeddingLookup: max_norm")
        self.vocab_size, self.embedding_size = vocab_size, embedding_size
        self.target, self.slice_mode, self.manual_shapes = target, slice_mode, manual_shapes
        self.sparse = sparse
        shape = (vocab_size, embedding_size)
        self.embedding_table = Parameter(initializer(param_init, shape, dtype))

    def construct(self, indices: Expression) -> Tensor:
        """The rows for ``indices``, along a new last axis."""
        return functional.gather(self.embedding_table, indices, 0)
