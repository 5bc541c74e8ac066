"""Reading ONNX: shape arithmetic, extents that a run finds, sequences."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from opweave.compiler.interpret import run_reference
from opweave.formats.onnx.read import read
from opweave.ir import Dim, UnsupportedError

from .onnx_models import agrees, floats, model, node


def test_shape_arithmetic_stays_symbolic() -> None:
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "batch", axis=0),
        node("Gather", "shape one", "length", axis=0),
        node("Mul", "batch length", "both"),
        node("Unsqueeze", "both axes", "both1"),
        node("Concat", "both1 minus", "wanted", axis=0),
        node("Reshape", "x wanted", "y"),
    ]
    constants = {
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "axes": np.array([0], np.int64),
        "minus": np.array([-1], np.int64),
    }
    proto = model(nodes, {"x": ("float32", ("batch", "length", 4))}, ["y"], constants)
    graph = read(proto)
    assert str(graph.type(graph.outputs[0])) == "float32[batch*length, 4]"
    assert not graph.symbols
    agrees(proto, {"x": floats(2, 3, 4)})
    agrees(proto, {"x": floats(5, 1, 4)})


def test_reshape_by_a_run_time_shape() -> None:
    proto = model(
        [node("Reshape", "x s", "y")],
        {"x": ("float32", (2, 6)), "s": ("int64", (3,))},
        ["y"],
    )
    for shape in ([3, 2, 2], [0, -1, 3], [-1, 1, 12]):
        agrees(proto, {"x": floats(2, 6), "s": np.array(shape, np.int64)})


SLICES = [
    ([1], [3], [0], [1]),
    ([-2], [100], [1], [1]),
    ([3], [0], [0], [-1]),
    ([-1], [-100], [1], [-2]),
    ([0, 1], [-1, 4], [1, 0], [2, 1]),
    ([2], [1], [0], [1]),
]


@pytest.mark.parametrize("case", SLICES, ids=str)
def test_slices_known_and_by_the_run(case: tuple[list[int], ...]) -> None:
    arrays = dict(zip("seap", (np.array(numbers, np.int64) for numbers in case), strict=True))
    x = floats(5, 4)
    known = model([node("Slice", "x s e a p", "y")], {"x": ("float32", ("n", 4))}, ["y"], arrays)
    agrees(known, {"x": x})
    count = len(case[0])
    fixed = {name: arrays[name] for name in "ap"}
    inputs = {"x": ("float32", (5, "m")), "s": ("int64", (count,)), "e": ("int64", (count,))}
    late = model([node("Slice", "x s e a p", "y")], inputs, ["y"], fixed)
    agrees(late, {"x": x, "s": arrays["s"], "e": arrays["e"]})


def test_nameless_extents_get_a_name() -> None:
    proto = model([node("Relu", "x", "y")], {"x": ("float32", (None, "batch size", 3))}, ["y"])
    (value,) = read(proto).inputs
    shape = read(proto).type(value).shape
    assert [str(extent) for extent in shape] == ["x_0", "batch_size", "3"]
    assert isinstance(shape[0], Dim)


def test_range_known_symbolic_and_by_the_run() -> None:
    nodes = [node("Range", "a b c", "y")]
    inputs = {name: ("int64", ()) for name in "abc"}
    newer = read(model(nodes, inputs, ["y"], opset=27))  # newer than ONNX Runtime
    for limits in ((0, 7, 2), (5, 0, -2), (3, 3, 1)):
        given = [np.array(limit, np.int64) for limit in limits]
        agrees(model(nodes, inputs, ["y"], opset=11), dict(zip("abc", given, strict=True)))
        np.testing.assert_array_equal(run_reference(newer, given)[0], np.arange(*limits))


def test_nonzero_has_an_extent_that_is_measured() -> None:
    nodes = [node("NonZero", "x", "i"), node("Transpose", "i", "t", perm=[1, 0])]
    proto = model([*nodes, node("GatherND", "x t", "y")], {"x": ("float32", (3, "n"))}, ["y", "t"])
    agrees(proto, {"x": np.array([[0, 1, 2], [0, 0, 3], [4, 0, 0]], np.float32)})
    agrees(proto, {"x": np.zeros((3, 2), np.float32)})


def test_expand_pattern_of_pytorch() -> None:
    nodes = [
        node("Shape", "x", "shape"),
        node("ConstantOfShape", "two", "ones", value=helper.make_tensor("v", 7, [1], [1])),
        node("Equal", "shape minus", "same"),
        node("Where", "same ones shape", "wanted"),
        node("Expand", "b wanted", "y"),
    ]
    constants = {
        "two": np.array([2], np.int64),
        "minus": np.array([-1, -1], np.int64),
        "b": floats(1, 3),
    }
    proto = model(nodes, {"x": ("float32", ("n", 3))}, ["y"], constants)
    assert not read(proto).symbols
    agrees(proto, {"x": floats(4, 3)})


def test_sequences_are_resolved_while_reading() -> None:
    nodes = [
        node("SplitToSequence", "x sizes", "parts", axis=1),
        node("SequenceAt", "parts one", "second"),
        node("Neg", "second", "negated"),
        node("SequenceInsert", "parts negated", "longer"),
        node("SequenceErase", "longer zero", "shorter"),
        node("ConcatFromSequence", "shorter", "y", axis=1),
        node("SequenceLength", "shorter", "count"),
    ]
    constants = {
        "sizes": np.array([1, 3], np.int64),
        "one": np.array(1, np.int64),
        "zero": np.array(0, np.int64),
    }
    proto = model(nodes, {"x": ("float32", ("n", 4))}, ["y", "count"], constants)
    agrees(proto, {"x": floats(2, 4)})


def test_a_sequence_as_output_is_refused_by_name() -> None:
    proto = model([node("SequenceConstruct", "x x", "pair")], {"x": ("float32", (2,))}, ["pair"])
    with pytest.raises(UnsupportedError, match="sequence 'pair'"):
        read(proto)
