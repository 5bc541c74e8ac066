"""Batch normalisation with constant statistics, folded into the weights before it.

``scale * (x - mean) / sqrt(variance + epsilon) + bias`` is one factor and one offset a channel.
After a convolution they go into its weights and bias; elsewhere they stay a multiplication and
an addition. The factor is computed in float64 and rounded once.
"""

from __future__ import annotations

import numpy as np

from ...ir import Array, Graph, Value
from ...ops.convolution import convolution
from ...ops.convolution_transpose import convolution_transpose
from ...ops.elementwise_arithmetic import add, mul
from ...ops.normalization import batch_normalization
from ..rewrite import Match, apply_rules, pattern, rule
from .absorb import Scaled
from .bodies import everywhere

_STATISTICS = ("scale", "shift", "mean", "variance")


def _factor_and_offset(graph: Graph, match: Match) -> tuple[Array, Array] | None:
    """Per-channel factor and offset in float64; None when the statistics are not constant."""
    reason = ""
    if not all(graph.is_param(match[name]) for name in _STATISTICS):
        reason = "the statistics are not constant"
    elif match.root.types[0].dtype not in ("float32", "float64"):
        reason = "16-bit statistics would be rounded twice"
    if reason:
        match.decline(reason)
        return None
    scale, shift, mean, variance = (
        graph.array(match[name]).astype(np.float64) for name in _STATISTICS
    )
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + match.attribute("epsilon"))
        offset = shift - mean * factor
    if not np.isfinite(factor).all() or not np.isfinite(offset).all():
        match.decline("a channel has no finite factor")
        return None
    return factor, offset


@rule(
    pattern(
        batch_normalization,
        pattern((convolution, convolution_transpose), "x", "w", name="convolution"),
        *_STATISTICS,
    )
)
def normalisation_after_convolution(graph: Graph, match: Match) -> Value | None:
    """batch_normalization(convolution(x, w, b)) -> convolution(x, w', b')"""
    found = _factor_and_offset(graph, match)
    return None if found is None else Scaled(match.nodes["convolution"], *found).build(graph)


@rule(pattern(batch_normalization, "x", *_STATISTICS))
def normalisation_alone(graph: Graph, match: Match) -> Value | None:
    """batch_normalization(x) -> x * factor + offset"""
    found = _factor_and_offset(graph, match)
    if found is None:
        return None
    type_ = match.root.types[0]
    shape = (-1, *(1,) * (type_.rank - 2))
    factor, offset = (array.astype(type_.numpy).reshape(shape) for array in found)
    scaled = graph.add(mul, match["x"], graph.param(factor, "factor"), origin=match.root.origin)
    return graph.add(add, scaled, graph.param(offset, "offset"), origin=match.root.origin)


def fold_batch_norm(graph: Graph) -> int:
    """Fold constant batch normalisations."""
    changes = apply_rules(graph, (normalisation_after_convolution,))
    return changes + apply_rules(graph, (normalisation_alone,))


FOLD_BATCH_NORM = everywhere("fold_batch_norm", fold_batch_norm)
