"""What tests of packages and of libraries share: a model with late sizes, inputs, equal bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import opweave as ow
from opweave.cli.data import inputs_for
from opweave.ops.movement import expand
from opweave.ops.nonzero import nonzero


def late() -> ow.Graph:
    """An output whose size depends on values, another whose size depends on another input's."""
    graph = ow.Graph("late")
    rows = ow.symbol("rows")
    x = graph.input("x", ow.TensorType("float32", (rows, 3)))
    count = graph.input("count", ow.TensorType("int64", (1,)))
    places, number = graph.add_node(nonzero, (x,), {}).outputs
    extent = graph.measure(count, 0)
    graph.output(places, "places")
    graph.output(graph.add(expand, number, shape=(extent, 1)), "numbers")
    return graph


def assert_same_bits(found: Sequence[Any], expected: Sequence[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def feed_for(session: Any) -> dict[str, Any]:
    return dict(inputs_for({spec.name: spec.type for spec in session.inputs}))
