"""A bidirectional LSTM that classifies sequences of tokens, as MindSpore's model zoo has it.

Parameters are called as in the zoo's official/nlp/lstm: ``embedding.embedding_table``,
``encoder.weight_ih_l0``, ``encoder.weight_ih_l0_reverse``, ..., ``decoder.weight``,
``decoder.bias``.
"""

from __future__ import annotations

from ..ir import TensorType
from . import functional
from . import layers as nn
from .tensor import Expression, Tensor


class SentimentNet(nn.Cell):
    """Ids [batch, length] to logits [batch, num_classes], from the first and the last state."""

    def __init__(
        self,
        vocab_size: int,
        embed_size: int,
        num_hiddens: int,
        num_layers: int,
        bidirectional: bool = True,
        num_classes: int = 2,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.encoder = nn.LSTM(embed_size, num_hiddens, num_layers, bidirectional=bidirectional)
        self.decoder = nn.Dense(num_hiddens * (4 if bidirectional else 2), num_classes)

    def construct(self, inputs: Expression) -> Tensor:
        """The logits."""
        output, _ = self.encoder(self.embedding(inputs).transpose(1, 0, 2))
        encoding = functional.concat((output[0], output[-1]), 1)
        return self.decoder(encoding)  # type: ignore[no-any-return]


def bilstm(
    num_classes: int = 2,
    *,
    vocab_size: int = 20_000,
    embed_size: int = 300,
    hidden_size: int = 256,
    num_layers: int = 2,
    seed: int = 0,
) -> SentimentNet:
    """Two layers of 256 in both directions with parameters drawn from ``seed``.

    Inputs are int32 ids [batch, length]. The zoo's configuration for IMDB has ``hidden_size=100``
    and the vocabulary of GloVe (252,193 words of 300 numbers).
    """
    network = SentimentNet(vocab_size, embed_size, hidden_size, num_layers, True, num_classes)
    network.init_parameters_data(seed)
    network.set_inputs(TensorType("int32", (1, 128)))
    return network
