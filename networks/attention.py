"""Multi-head attention as a cell."""

from __future__ import annotations

import math

from ..ir import ModelError
from ..ir.data_type import is_float
from . import functional
from .cell import Cell
from .dense import Dense
from .initializers import initializer
from .parameter import Parameter
from .tensor import Expression, Tensor


class MultiheadAttention(Cell):
    """Scaled dot-product attention in ``num_heads`` heads (Vaswani 2017).

    ``in_proj_weight`` [3 embed, embed] makes queries, keys and values, ``in_proj_bias`` [3
    embed] stands behind; with another ``kdim`` or ``vdim`` the weights are ``q_proj_weight``,
    ``k_proj_weight`` and ``v_proj_weight``. ``out_proj`` is a dense layer on the heads side by
    side. ``add_bias_kv`` appends ``bias_k`` and ``bias_v`` to the sequences of keys and values,
    ``add_zero_attn`` zeros. ``dropout`` does nothing in inference.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        has_bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: object = "float32",
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ModelError(f"MultiheadAttention: {embed_dim} elements in {num_heads} heads")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        self.is_packed = self.kdim == self.vdim == embed_dim

        def parameter(name: str, start: str, *shape: int) -> Parameter:
            return Parameter(initializer(start, shape, dtype), name)

        if self.is_packed:
            rows = 3 * embed_dim
            self.in_proj_weight = parameter("in_proj_weight", "xavier_uniform", rows, embed_dim)
        else:
            for name, columns in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
                full = f"{name}_proj_weight"
                setattr(self, full, parameter(full, "xavier_uniform", embed_dim, columns))
        self.in_proj_bias = parameter("in_proj_bias", "zeros", 3 * embed_dim) if has_bias else None
        self.out_proj = Dense(embed_dim, embed_dim, has_bias=has_bias, dtype=dtype)
        self.bias_k = self.bias_v = None
        if add_bias_kv:
            self.bias_k = parameter("bias_k", "xavier_normal", 1, 1, embed_dim)
            self.bias_v = parameter("bias_v", "xavier_normal", 1, 1, embed_dim)

    def construct(
        self,
        query: Expression,
        key: Expression,
        value: Expression,
        key_padding_mask: Expression | None = None,
        need_weights: bool = True,
        attn_mask: Expression | None = None,
        average_attn_weights: bool = True,
    ) -> tuple[Tensor, ...]:
        """The attended values [targets, batch, embed], and with ``need_weights`` the weights.

        ``query`` is [targets, batch, embed], ``key`` and ``value`` are [sources, batch, kdim and
        vdim], the first two axes exchanged with ``batch_first``; all may lack the batch.
        ``key_padding_mask`` [batch, sources] and ``attn_mask`` [targets, sources] or [batch *
        heads, targets, sources] leave out where they are true, or are added to the scores. The
        weights are [batch, targets, sources], means over the heads, or [batch, heads, targets,
        sources] without ``average_attn_weights``.
        """
        operands = [query, key, value]
        ranks = {operand.ndim for operand in operands}
        if ranks not in ({2}, {3}):
            raise ModelError(f"MultiheadAttention: {query.type}, {key.type} and {value.type}")
        batched = ranks == {3}
        if not batched:
            operands = [operand.expand_dims(0) for operand in operands]
            if key_padding_mask is not None:
                key_padding_mask = key_padding_mask.expand_dims(0)
        elif not self.batch_first:
            operands = [operand.swapaxes(0, 1) for operand in operands]
        projected = self._projections(operands, query is key and key is value)
        batch, targets, _ = projected[0].shape
        q, k, v = (self._heads(part) for part in self._extended(projected))
        # Both sides take a root of the scale, so that halves do not overflow.
        scale = 1.0 / math.sqrt(math.sqrt(self.head_dim))
        scores = functional.matmul(q * scale, k * scale, transpose_b=True)
        for mask in self._masks(attn_mask, key_padding_mask, k, batch, targets):
            scores = scores + mask
        weights = functional.softmax(scores, -1)
        joined = functional.matmul(weights, v).transpose(0, 2, 1, 3)
        output: Tensor = self.out_proj(joined.reshape(batch, targets, self.embed_dim))
        if not batched:
            output = output.squeeze(0)
        elif not self.batch_first:
            output = output.swapaxes(0, 1)
        if not need_weights:
            return (output,)
        if average_attn_weights:
            weights = weights.mean(1)
        return output, weights if batched else weights.squeeze(0)

    def _projections(self, operands: list[Expression], same: bool) -> list[Tensor]:
        """Queries, keys and values [batch, length, embed]."""
        size, bias = self.embed_dim, self.in_proj_bias
        if self.is_packed and same:
            found = functional.dense(operands[0], self.in_proj_weight, bias)
            return list(functional.split(found, size, -1))
        if self.is_packed:
            weights: list[Expression] = list(functional.split(self.in_proj_weight, size, 0))
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        biases = [None] * 3 if bias is None else functional.split(bias, size, 0)
        return [functional.dense(*parts) for parts in zip(operands, weights, biases, strict=True)]

    def _extended(self, projected: list[Tensor]) -> list[Tensor]:
        """Keys and values with what ``add_bias_kv`` and ``add_zero_attn`` append."""
        q, *others = projected
        for place, bias in enumerate((self.bias_k, self.bias_v)):
            part = others[place]
            shape = (part.shape[0], 1, self.embed_dim)
            more = [functional.broadcast_to(bias, shape)] if bias is not None else []
            more += [functional.zeros(shape, part.dtype)] if self.add_zero_attn else []
            others[place] = functional.concat([part, *more], 1) if more else part
        return [q, *others]

    def _heads(self, x: Tensor) -> Tensor:
        """[batch, length, embed] as [batch, heads, length, embed / heads]."""
        batch, length, _ = x.shape
        return x.reshape(batch, length, self.num_heads, self.head_dim).transpose(0, 2, 1, 3)

    def _masks(
        self,
        attn_mask: Expression | None,
        key_padding_mask: Expression | None,
        keys: Tensor,
        batch: object,
        targets: object,
    ) -> list[Tensor]:
        """What is added to the scores [batch, heads, targets, sources]."""
        found = []
        sources = keys.shape[2]
        appended = (self.bias_k is not None) + self.add_zero_attn
        for mask, ranks in ((attn_mask, (2, 3)), (key_padding_mask, (2,))):
            if mask is None:
                continue
            if mask.ndim not in ranks:
                raise ModelError(f"MultiheadAttention: a mask {mask.type}")
            if appended:
                sides = [(0, 0)] * (mask.ndim - 1) + [(0, int(appended))]
                mask = functional.pad(mask, sides)
            if not is_float(mask.dtype):
                out = functional.constant_like(keys, -math.inf)
                mask = functional.where(mask, out, functional.constant_like(keys, 0))
            if mask is not None and mask.ndim == 3:
                mask = mask.reshape(batch, self.num_heads, targets, sources)
            elif ranks == (2,):
                mask = mask.expand_dims(1).expand_dims(1)
            found.append(mask if mask.dtype == keys.dtype else mask.astype(keys.dtype))
        return found  # type: ignore[return-value]
