"""Choosing from a ranked list: each entry is kept unless a better kept one excludes it."""

from __future__ import annotations

import numpy as np

from ..ir import Array, Call, Cost, ModelError, Operand, TensorType, unify
from .define import operator
from .samples import sample, tensor, values


@operator
def greedy_selection(excludes: Array) -> Array:
    """Which of n ranked entries are kept: ``excludes[i, j]`` says that entry i, if it is kept,
    removes the later entry j. Values on and below the diagonal do not matter.

    This is the sequential part of non-maximum suppression.
    """
    count = excludes.shape[0]
    kept = np.ones(count, bool)
    for position in range(count):
        if kept[position]:
            kept[position + 1 :] &= ~excludes[position, position + 1 :]
    return kept


@greedy_selection.infer
def _(excludes: TensorType) -> TensorType:
    if excludes.dtype != "bool" or excludes.rank != 2:
        raise ModelError(f"greedy_selection takes a square matrix of booleans, not {excludes}")
    extent = unify(excludes.shape[0], excludes.shape[1], "greedy_selection")
    return TensorType("bool", (extent,))


@greedy_selection.cost
def _(excludes: TensorType) -> Cost:
    return Cost(excludes.size, excludes.nbytes)


def _select(item, excludes, out):  # type: ignore[no-untyped-def]
    count = out.shape[0]
    for position in range(count):
        out[position] = True
    for position in range(count):
        if out[position]:
            for later in range(position + 1, count):
                out[later] = out[later] and not excludes[position, later]
    return 0


@greedy_selection.kernel
def _(excludes: Operand, out: Operand) -> Call:
    return Call(_select, (excludes.view(*excludes.shape), out.flat()), items=1)


greedy_selection.samples += [
    sample(tensor((7, 7), "bool")),
    sample(tensor((33, 33), "bool", seed=3)),
    sample(values(np.triu(np.ones((5, 5)), 1), "bool")),
    sample(values(np.zeros((4, 4)), "bool")),
    sample(values([[True]], "bool")),
    sample(values(np.zeros((0, 0)), "bool")),
]
