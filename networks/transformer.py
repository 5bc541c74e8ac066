"""The transformer's encoder and decoder as cells (Vaswani 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir import ModelError
from . import functional
from .activations import GELU, ReLU
from .attention import MultiheadAttention
from .basic import Dropout
from .cell import Cell
from .containers import CellList
from .dense import Dense
from .normalization import LayerNorm
from .tensor import Expression, Tensor

Activation = str | Cell | Callable[..., Tensor]
_ACTIVATIONS: dict[str, Callable[..., Tensor]] = {"relu": functional.relu, "gelu": functional.gelu}


class _Layer(Cell):
    """What layers of the encoder and the decoder share: the settings and the dense part."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        if isinstance(activation, str) and activation not in _ACTIVATIONS:
            raise ModelError(
                f"{type(self).__name__}: activation {activation!r} is not relu or gelu"
            )
        if isinstance(activation, Cell) and not isinstance(activation, (ReLU, GELU)):
            raise ModelError(f"{type(self).__name__}: activation {activation} is not ReLU or GELU")
        self.settings: dict[str, Any] = {
            "d_model": d_model,
            "nhead": nhead,
            "dim_feedforward": dim_feedforward,
            "dropout": dropout,
            "activation": activation,
            "layer_norm_eps": layer_norm_eps,
            "batch_first": batch_first,
            "norm_first": norm_first,
            "dtype": dtype,
        }
        self.norm_first = norm_first
        self._register(**self.settings)
        self.activation = _ACTIVATIONS[activation] if isinstance(activation, str) else activation

    def _register(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float,
        activation: Activation,
        layer_norm_eps: float,
        batch_first: bool,
        norm_first: bool,
        dtype: object,
    ) -> None:
        """Set the parts in MindSpore's order, which is that of checkpoints."""
        decodes = isinstance(self, TransformerDecoderLayer)
        options: dict[str, Any] = {"dropout": dropout, "batch_first": batch_first, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, **options)
        if decodes:
            self.multihead_attn = MultiheadAttention(d_model, nhead, **options)
        self.dense1 = Dense(d_model, dim_feedforward, dtype=dtype)
        self.dropout = Dropout(p=dropout)
        self.dense2 = Dense(dim_feedforward, d_model, dtype=dtype)
        for number in range(1, 4 if decodes else 3):
            norm = LayerNorm((d_model,), epsilon=layer_norm_eps, dtype=dtype)
            setattr(self, f"norm{number}", norm)

    def _attended(
        self,
        attention: Cell,
        x: Expression,
        memory: Expression,
        mask: Expression | None,
        padding: Expression | None,
    ) -> Tensor:
        options = {"attn_mask": mask, "key_padding_mask": padding, "need_weights": False}
        found: Tensor = attention(x, memory, memory, **options)[0]
        return found

    def _fed_forward(self, x: Expression) -> Tensor:
        found: Tensor = self.dense2(self.activation(self.dense1(x)))
        return found


class TransformerEncoderLayer(_Layer):
    """Self-attention (``self_attn``), then ``dense1``, an activation and ``dense2``.

    Each of the two is added to its input; ``norm1`` and ``norm2`` stand behind the sums, or in
    front of the parts with ``norm_first``. ``activation`` is "relu" or "gelu".
    """

    def construct(
        self,
        src: Expression,
        src_mask: Expression | None = None,
        src_key_padding_mask: Expression | None = None,
    ) -> Tensor:
        """``src`` encoded; masks as ``MultiheadAttention`` has them."""
        masks = (src_mask, src_key_padding_mask)
        if self.norm_first:
            normed = self.norm1(src)
            x = src + self._attended(self.self_attn, normed, normed, *masks)
            return x + self._fed_forward(self.norm2(x))
        x = self.norm1(src + self._attended(self.self_attn, src, src, *masks))
        found: Tensor = self.norm2(x + self._fed_forward(x))
        return found


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the encoder's result (``multihead_attn``), dense layers.

    As in :class:`TransformerEncoderLayer`, with ``norm1`` to ``norm3``.
    """

    def construct(
        self,
        tgt: Expression,
        memory: Expression,
        tgt_mask: Expression | None = None,
        memory_mask: Expression | None = None,
        tgt_key_padding_mask: Expression | None = None,
        memory_key_padding_mask: Expression | None = None,
    ) -> Tensor:
        """``tgt`` decoded with ``memory``, what an encoder gave."""
        own, other = (tgt_mask, tgt_key_padding_mask), (memory_mask, memory_key_padding_mask)
        if self.norm_first:
            normed = self.norm1(tgt)
            x = tgt + self._attended(self.self_attn, normed, normed, *own)
            x = x + self._attended(self.multihead_attn, self.norm2(x), memory, *other)
            return x + self._fed_forward(self.norm3(x))
        x = self.norm1(tgt + self._attended(self.self_attn, tgt, tgt, *own))
        x = self.norm2(x + self._attended(self.multihead_attn, x, memory, *other))
        found: Tensor = self.norm3(x + self._fed_forward(x))
        return found


class TransformerEncoder(Cell):
    """``num_layers`` layers like ``encoder_layer``, each with parameters of its own."""

    def __init__(
        self, encoder_layer: TransformerEncoderLayer, num_layers: int, norm: Cell | None = None
    ) -> None:
        super().__init__()
        layers = [TransformerEncoderLayer(**encoder_layer.settings) for _ in range(num_layers)]
        self.layers, self.num_layers, self.norm = CellList(layers), num_layers, norm

    def construct(
        self,
        src: Expression,
        src_mask: Expression | None = None,
        src_key_padding_mask: Expression | None = None,
    ) -> Expression:
        """``src`` through all layers, then ``norm``."""
        found = src
        for layer in self.layers:
            found = layer(found, src_mask, src_key_padding_mask)
        return found if self.norm is None else self.norm(found)


class TransformerDecoder(Cell):
    """``num_layers`` layers like ``decoder_layer``, each with parameters of its own."""

    def __init__(
        self, decoder_layer: TransformerDecoderLayer, num_layers: int, norm: Cell | None = None
    ) -> None:
        super().__init__()
        layers = [TransformerDecoderLayer(**decoder_layer.settings) for _ in range(num_layers)]
        self.layers, self.num_layers, self.norm = CellList(layers), num_layers, norm

    def construct(
        self,
        tgt: Expression,
        memory: Expression,
        tgt_mask: Expression | None = None,
        memory_mask: Expression | None = None,
        tgt_key_padding_mask: Expression | None = None,
        memory_key_padding_mask: Expression | None = None,
    ) -> Expression:
        """``tgt`` through all layers, then ``norm``."""
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        found = tgt
        for layer in self.layers:
            found = layer(found, memory, *masks)
        return found if self.norm is None else self.norm(found)


class Transformer(Cell):
    """An encoder and a decoder, both with a last normalisation, or those that are given."""

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        custom_encoder: Cell | None = None,
        custom_decoder: Cell | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        sizes = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps)
        more = (batch_first, norm_first, dtype)

        def last() -> LayerNorm:
            return LayerNorm((d_model,), epsilon=layer_norm_eps, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*sizes, *more), num_encoder_layers, last()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*sizes, *more), num_decoder_layers, last()
        )

    def construct(
        self,
        src: Expression,
        tgt: Expression,
        src_mask: Expression | None = None,
        tgt_mask: Expression | None = None,
        memory_mask: Expression | None = None,
        src_key_padding_mask: Expression | None = None,
        tgt_key_padding_mask: Expression | None = None,
        memory_key_padding_mask: Expression | None = None,
    ) -> Expression:
        """``tgt`` decoded with ``src`` encoded."""
        memory = self.encoder(src, src_mask, src_key_padding_mask)
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        found: Expression = self.decoder(tgt, memory, *masks)
        return found
