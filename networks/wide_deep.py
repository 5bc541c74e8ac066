"""Wide & Deep (Cheng 2016), as MindSpore's model zoo has it.

Parameters are called as in the zoo's official/recommend/Wide_and_Deep: ``Wide_b``,
``dense_layer_1.weight`` ... ``dense_layer_5.bias``, ``wide_embeddinglookup.embedding_table``,
``deep_embeddinglookup.embedding_table``. The zoo computes the dense layers in float16 on Ascend;
here they are float32, as the parameters are.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import TensorType
from . import functional
from . import layers as nn
from .initializers import Uniform, initializer
from .tensor import Expression, Tensor

_START = Uniform(0.01)
LAYERS = (1024, 512, 256, 128)


class DenseLayer(nn.Cell):
    """``x @ weight + bias``; unlike ``nn.Dense``, ``weight`` is [input_dim, output_dim]."""

    def __init__(self, input_dim: int, output_dim: int, use_activation: bool = True) -> None:
        super().__init__()
        # Wide enough that what comes out depends on what goes in.
        spread = Uniform((3.0 / input_dim) ** 0.5)
        self.weight = nn.Parameter(initializer(spread, (input_dim, output_dim)))
        self.bias = nn.Parameter(initializer(_START, (output_dim,)))
        self.use_activation = use_activation

    def construct(self, x: Expression) -> Tensor:
        """The layer's output, rectified unless it is the last one."""
        found = functional.matmul(x, self.weight) + self.bias
        return functional.relu(found) if self.use_activation else found


class EmbeddingLookup(nn.Cell):
    """Rows of a table by id; the parameter has the name that the zoo's lookup gives it."""

    def __init__(self, vocab_size: int, embedding_size: int) -> None:
        super().__init__()
        self.embedding_table = nn.Parameter(initializer(_START, (vocab_size, embedding_size)))

    def construct(self, ids: Expression) -> Tensor:
        """The rows for ``ids``, along a new last axis."""
        return functional.gather(self.embedding_table, ids, 0)


class WideDeepModel(nn.Cell):
    """Ids and values [batch, fields] to logits and probabilities [batch, 1]."""

    def __init__(
        self,
        vocab_size: int = 200_000,
        field_size: int = 39,
        emb_dim: int = 80,
        deep_layer_dim: Sequence[int] = LAYERS,
    ) -> None:
        super().__init__()
        self.field_size, self.emb_dim = field_size, emb_dim
        self.Wide_b = nn.Parameter(initializer(_START, (1,)))
        dims = (field_size * emb_dim, *deep_layer_dim, 1)
        self.layer_count = len(dims) - 1
        for number in range(self.layer_count):
            last = number == self.layer_count - 1
            layer = DenseLayer(dims[number], dims[number + 1], not last)
            setattr(self, f"dense_layer_{number + 1}", layer)
        self.wide_embeddinglookup = EmbeddingLookup(vocab_size, 1)
        self.deep_embeddinglookup = EmbeddingLookup(vocab_size, emb_dim)

    def construct(self, id_hldr: Expression, wt_hldr: Expression) -> tuple[Tensor, Tensor]:
        """The logits, and their logistic function."""
        mask = wt_hldr.expand_dims(2)
        wide = (self.wide_embeddinglookup(id_hldr) * mask).sum(1) + self.Wide_b
        deep = (self.deep_embeddinglookup(id_hldr) * mask).reshape(
            -1, self.field_size * self.emb_dim
        )
        for number in range(self.layer_count):
            deep = getattr(self, f"dense_layer_{number + 1}")(deep)
        logits = wide + deep
        return logits, functional.sigmoid(logits)


def wide_deep(
    *, vocab_size: int = 200_000, field_size: int = 39, emb_dim: int = 80, seed: int = 0
) -> WideDeepModel:
    """Wide & Deep for click-through rates (Criteo) with parameters drawn from ``seed``.

    Inputs are ids, int32 [batch, field_size], and the values of the fields, float32.
    """
    network = WideDeepModel(vocab_size, field_size, emb_dim)
    network.init_parameters_data(seed)
    network.set_inputs(TensorType("int32", (1, field_size)), TensorType("float32", (1, field_size)))
    return network
