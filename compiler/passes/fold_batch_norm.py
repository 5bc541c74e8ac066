"""Batch normalisation with constant statistics, folded into the weights before it.

``scale * (x - mean) / sqrt(variance + epsilon) + bias`` is one factor and one offset a channel.
After a convolution they go into its weights and bias; elsewhere they stay a multiplication and
an addition. The factor is computed in float64 and rounded once.
"""

from __future__ import annotations

import numpy as np

from ...ir import Array, Graph, LazyArray, Value
from ...ir.graph import read_array
from ...ops.convolution import convolution
from ...ops.convolution_transpose import convolution_transpose
from ...ops.elementwise_arithmetic import add, mul
from ...ops.normalization import batch_normalization
from ..rewrite import Match, apply_rules, pattern, rule
from .bodies import everywhere

_STATISTICS = ("scale", "shift", "mean", "variance")


def _factor_and_offset(graph: Graph, match: Match) -> tuple[Array, Array] | None:
    """Per-channel factor and offset in float64; None when the statistics are not constant."""
    if not all(graph.is_param(match[name]) for name in _STATISTICS):
        return None
    if match.root.types[0].dtype not in ("float32", "float64"):
        return None
    scale, shift, mean, variance = (
        graph.array(match[name]).astype(np.float64) for name in _STATISTICS
    )
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + match.attribute("epsilon"))
        offset = shift - mean * factor
    return (factor, offset) if np.isfinite(factor).all() and np.isfinite(offset).all() else None


@rule(
    pattern(
        batch_normalization,
        pattern((convolution, convolution_transpose), "x", "w", name="convolution"),
        *_STATISTICS,
    )
)
def normalisation_after_convolution(graph: Graph, match: Match) -> Value | None:
    """batch_normalization(convolution(x, w, b)) -> convolution(x, w', b')"""
    node = match.nodes["convolution"]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    known = graph.is_param(match["w"]) and (bias is None or graph.is_param(bias))
    found = _factor_and_offset(graph, match) if known else None
    if found is None:
        return None
    factor, offset = found
    dtype = match.root.types[0].dtype
    if bias is not None:
        offset = offset + factor * graph.array(bias).astype(np.float64)
    weights = graph.params[match["w"].node]
    type_ = graph.type(match["w"])
    transposed = node.op is convolution_transpose
    groups = node.attrs["groups"]

    def scaled() -> Array:
        return _scaled(read_array(weights), factor, groups if transposed else 0)

    folded = graph.param(LazyArray(type_, scaled), f"{match['w'].node}.normalised")
    new_bias = graph.param(offset.astype(dtype), f"{node.name}.offset")
    return graph.add(
        node.op, match["x"], folded, new_bias, origin=node.origin or node.name, **node.attrs
    )


def _scaled(weights: Array, factor: Array, transposed_groups: int) -> Array:
    """Weights with output channel ``m`` times ``factor[m]``; channels first, or second by group."""
    wide = weights.astype(np.float64)
    spread = (1,) * (weights.ndim - 2)
    if not transposed_groups:
        return np.asarray(wide * factor.reshape(-1, 1, *spread), weights.dtype)
    inputs, maps = weights.shape[0] // transposed_groups, weights.shape[1]
    by_group = np.repeat(factor.reshape(transposed_groups, maps), inputs, axis=0)
    return np.asarray(wide * by_group.reshape(*by_group.shape, *spread), weights.dtype)


@rule(pattern(batch_normalization, "x", *_STATISTICS))
def normalisation_alone(graph: Graph, match: Match) -> Value | None:
    """batch_normalization(x) -> x * factor + offset"""
    found = _factor_and_offset(graph, match)
    if found is None:
        return None
    type_ = match.root.types[0]
    shape = (-1, *(1,) * max(type_.rank - 2, 0)) if type_.rank > 1 else (-1,)
    factor, offset = (array.astype(type_.numpy).reshape(shape) for array in found)
    scaled = graph.add(mul, match["x"], graph.param(factor, "factor"), origin=match.root.origin)
    return graph.add(add, scaled, graph.param(offset, "offset"), origin=match.root.origin)


def fold_batch_norm(graph: Graph) -> int:
    """Fold constant batch normalisations."""
    changes = apply_rules(graph, (normalisation_after_convolution,))
    return changes + apply_rules(graph, (normalisation_alone,))


FOLD_BATCH_NORM = everywhere("fold_batch_norm", fold_batch_norm)
