"""BERT (Devlin 2018) and TinyBERT (Jiao 2019), as MindSpore's model zoo has them.

Parameters are called as in the zoo's official/nlp/bert and official/nlp/tinybert:
``bert.bert_embedding_lookup.embedding_table``,
``bert.bert_embedding_postprocessor.token_type_embedding.embedding_table`` and
``...full_position_embedding.embedding_table`` (``embedding_table`` and
``full_position_embeddings`` in checkpoints of MindSpore 1.0 and 1.1),
``bert.bert_encoder.layers.0.attention.attention.query_layer.weight``,
``bert.bert_encoder.layers.0.attention.output.dense.weight``,
``bert.bert_encoder.layers.0.intermediate.weight``, ``bert.dense.weight``, ``dense_1.weight``.
Checkpoints of a training network have another ``bert.`` in front.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..ir import ModelError, TensorType
from . import functional
from . import layers as nn
from .initializers import TruncatedNormal
from .tensor import Expression, Tensor

# What is added to the scores of a masked position.
MASKED = -10000.0


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The sizes of a BERT; the defaults are the zoo's for BERT-base."""

    vocab_size: int = 21128
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ModelError(
                f"a hidden size of {self.hidden_size} does not divide into "
                f"{self.num_attention_heads} attention heads"
            )


class EmbeddingPostprocessor(nn.Cell):
    """Word embeddings with those of token types and positions added, normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.token_type_embedding = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.full_position_embedding = nn.Embedding(
            config.max_position_embeddings, config.hidden_size
        )
        self.layernorm = nn.LayerNorm((config.hidden_size,))
        self.dropout = nn.Dropout()

    def construct(self, token_type_ids: Expression, word_embeddings: Expression) -> Tensor:
        """[batch, length, hidden] for ids [batch, length] and their word embeddings."""
        table: Expression = self.full_position_embedding.embedding_table
        length = word_embeddings.shape[1]
        if isinstance(length, int) and isinstance(limit := table.shape[0], int) and length > limit:
            raise ModelError(f"BERT: a sequence of {length} tokens; positions end at {limit}")
        # The positions are 0, 1, ...: their rows are the table's first, and fit all batches.
        positions = table[:length].expand_dims(0)
        output = word_embeddings + self.token_type_embedding(token_type_ids) + positions
        return self.dropout(self.layernorm(output))  # type: ignore[no-any-return]


class BertOutput(nn.Cell):
    """A dense layer, added to what went before, and normalised."""

    def __init__(self, in_channels: int, out_channels: int, initializer_range: float) -> None:
        super().__init__()
        start = TruncatedNormal(initializer_range)
        self.dense = nn.Dense(in_channels, out_channels, start, "zeros")
        self.dropout = nn.Dropout()
        self.layernorm = nn.LayerNorm((out_channels,))

    def construct(self, hidden_status: Expression, input_tensor: Expression) -> Tensor:
        """[tokens, out_channels]."""
        output = self.dropout(self.dense(hidden_status))
        return self.layernorm(input_tensor + output)  # type: ignore[no-any-return]


class BertAttention(nn.Cell):
    """Attention of each token to all tokens of its sequence, by several heads."""

    def __init__(self, width: int, num_attention_heads: int, initializer_range: float) -> None:
        super().__init__()
        self.width, self.heads = width, num_attention_heads
        self.size_per_head = width // num_attention_heads
        self.scores_mul = 1.0 / math.sqrt(self.size_per_head)
        start = TruncatedNormal(initializer_range)
        self.query_layer = nn.Dense(width, width, start, "zeros")
        self.key_layer = nn.Dense(width, width, start, "zeros")
        self.value_layer = nn.Dense(width, width, start, "zeros")
        self.softmax = nn.Softmax()
        self.dropout = nn.Dropout()

    def construct(self, from_tensor: Expression, to_tensor: Expression, mask: Expression) -> Tensor:
        """[tokens, width] for tokens [tokens, width] and a mask [batch, 1, 1, length] to add."""
        shape = (mask.shape[0], mask.shape[3], self.heads, self.size_per_head)
        query, key, value = (
            layer(source).reshape(shape).transpose(0, 2, 1, 3)
            for layer, source in (
                (self.query_layer, from_tensor),
                (self.key_layer, to_tensor),
                (self.value_layer, to_tensor),
            )
        )
        scores = functional.matmul(query, key, transpose_b=True) * self.scores_mul + mask
        context = functional.matmul(self.dropout(self.softmax(scores)), value)
        return context.transpose(0, 2, 1, 3).reshape(-1, self.width)


class BertSelfAttention(nn.Cell):
    """Attention and the dense layer after it."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        hidden, spread = config.hidden_size, config.initializer_range
        self.attention = BertAttention(hidden, config.num_attention_heads, spread)
        self.output = BertOutput(hidden, hidden, spread)

    def construct(self, input_tensor: Expression, mask: Expression) -> Tensor:
        """[tokens, hidden]."""
        found = self.attention(input_tensor, input_tensor, mask)
        return self.output(found, input_tensor)  # type: ignore[no-any-return]


class BertEncoderCell(nn.Cell):
    """One layer: attention, then two dense layers."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        hidden, wide, spread = (
            config.hidden_size,
            config.intermediate_size,
            config.initializer_range,
        )
        self.attention = BertSelfAttention(config)
        self.intermediate = nn.Dense(
            hidden, wide, TruncatedNormal(spread), "zeros", activation=config.hidden_act
        )
        self.output = BertOutput(wide, hidden, spread)

    def construct(self, hidden_states: Expression, mask: Expression) -> Tensor:
        """[tokens, hidden]."""
        attention = self.attention(hidden_states, mask)
        return self.output(self.intermediate(attention), attention)  # type: ignore[no-any-return]


class BertTransformer(nn.Cell):
    """The layers, one after the other."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layers = nn.CellList(BertEncoderCell(config) for _ in range(config.num_hidden_layers))

    def construct(self, input_tensor: Expression, mask: Expression) -> Tensor:
        """[batch, length, hidden] for the same."""
        # The tokens of all sequences as one matrix; only attention tells them apart.
        found = input_tensor.reshape(-1, input_tensor.shape[2])
        for layer in self.layers:
            found = layer(found, mask)
        return found.reshape(input_tensor.shape)


class BertModel(nn.Cell):
    """Ids, token types and mask [batch, length] to what each token and the first one mean."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        start = TruncatedNormal(config.initializer_range)
        self.bert_embedding_lookup = nn.Embedding(
            config.vocab_size, config.hidden_size, embedding_table=start
        )
        self.bert_embedding_postprocessor = EmbeddingPostprocessor(config)
        self.bert_encoder = BertTransformer(config)
        self.dense = nn.Dense(
            config.hidden_size, config.hidden_size, start, "zeros", activation="tanh"
        )

    def construct(
        self, input_ids: Expression, token_type_ids: Expression, input_mask: Expression
    ) -> tuple[Tensor, Tensor]:
        """[batch, length, hidden] of all tokens, and [batch, hidden] pooled from the first."""
        embedded = self.bert_embedding_postprocessor(
            token_type_ids, self.bert_embedding_lookup(input_ids)
        )
        present = input_mask.astype("float32").expand_dims(1).expand_dims(1)
        sequence = self.bert_encoder(embedded, (1.0 - present) * MASKED)
        return sequence, self.dense(sequence[:, 0])


class BertCLSModel(nn.Cell):
    """Log-probabilities [batch, num_labels] of whole sequences; inputs in the zoo's order."""

    def __init__(self, config: BertConfig, num_labels: int = 2) -> None:
        super().__init__()
        self.bert = BertModel(config)
        start = TruncatedNormal(config.initializer_range)
        self.dense_1 = nn.Dense(config.hidden_size, num_labels, start, "zeros")
        self.dropout = nn.Dropout()

    def construct(
        self, input_ids: Expression, input_mask: Expression, token_type_id: Expression
    ) -> Tensor:
        """The log-probabilities."""
        _, pooled = self.bert(input_ids, token_type_id, input_mask)
        return functional.log_softmax(self.dense_1(self.dropout(pooled)))


class TinyBertCLSModel(nn.Cell):
    """TinyBERT's classifier: :class:`BertCLSModel` with a ReLU and another order of inputs.

    The zoo calls it BertModelCLS.
    """

    def __init__(self, config: BertConfig, num_labels: int = 2) -> None:
        super().__init__()
        self.bert = BertModel(config)
        start = TruncatedNormal(config.initializer_range)
        self.dense_1 = nn.Dense(config.hidden_size, num_labels, start, "zeros")
        self.relu = nn.ReLU()

    def construct(
        self, input_ids: Expression, token_type_id: Expression, input_mask: Expression
    ) -> Tensor:
        """The log-probabilities."""
        _, pooled = self.bert(input_ids, token_type_id, input_mask)
        return functional.log_softmax(self.dense_1(self.relu(pooled)))


_TINY = BertConfig(vocab_size=30522, hidden_size=384, num_hidden_layers=4, intermediate_size=1536)

# Layers and hidden size -> sizes: the zoo's student, and the two of the paper.
TINYBERT_SIZES = {
    "4x384": _TINY,
    "4x312": replace(_TINY, hidden_size=312, intermediate_size=1200),
    "6x768": replace(_TINY, hidden_size=768, intermediate_size=3072, num_hidden_layers=6),
}


def bert_base(
    num_classes: int = 2, *, config: BertConfig | None = None, seed: int = 0
) -> BertCLSModel:
    """BERT-base (Chinese vocabulary) as a classifier, with parameters drawn from ``seed``.

    Inputs are int32 [batch, length]: ids, mask (1: a token, 0: padding), token types. ``config``
    gives other sizes.
    """
    network = BertCLSModel(config or BertConfig(), num_classes)
    network.init_parameters_data(seed)
    network.set_inputs(*[TensorType("int32", (1, 128))] * 3)
    return network


def tinybert(
    num_classes: int = 2,
    *,
    size: str = "4x384",
    config: BertConfig | None = None,
    seed: int = 0,
) -> TinyBertCLSModel:
    """TinyBERT as a classifier, with parameters drawn from ``seed``.

    Inputs are int32 [batch, length]: ids, token types, mask. ``size`` is one of
    ``TINYBERT_SIZES``: "4x384" is the zoo's, "4x312" and "6x768" are the paper's.
    """
    if size not in TINYBERT_SIZES:
        raise ModelError(f"TinyBERT has no size {size!r}; there are {', '.join(TINYBERT_SIZES)}")
    network = TinyBertCLSModel(config or TINYBERT_SIZES[size], num_classes)
    network.init_parameters_data(seed)
    network.set_inputs(*[TensorType("int32", (1, 128))] * 3)
    return network
