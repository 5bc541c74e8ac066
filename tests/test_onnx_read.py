"""Reading ONNX: each construct against ONNX Runtime, through the operators' references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from opweave.compiler.interpret import run_reference
from opweave.formats.adapter import load
from opweave.formats.onnx.read import read, read_model
from opweave.formats.onnx.registry import reads, register_operator
from opweave.ir import Array, Dim, ModelError, UnsupportedError, check
from opweave.ops.define import elementwise

GENERATOR = np.random.default_rng(5)


def floats(*shape: int) -> Array:
    """Random float32 numbers."""
    return GENERATOR.standard_normal(shape).astype(np.float32)


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, tuple[str, Sequence[Any]]],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 21,
    **options: Any,
) -> onnx.ModelProto:
    """A ModelProto; ``inputs`` maps names to (element type, shape)."""
    types = {name: helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in _DTYPES}
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, types[t], list(s)) for n, (t, s) in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *options.pop("imports", [])]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **options)


_DTYPES = ("float32", "float64", "float16", "int64", "int32", "int8", "uint8", "bool")


def agrees(
    proto: onnx.ModelProto, given: Mapping[str, Array], tolerance: float = 1e-5
) -> list[Array]:
    """Read, check, run by reference; compare with ONNX Runtime."""
    graph = read(proto.SerializeToString())
    check(graph)
    found = run_reference(graph, [given[value.node] for value in graph.inputs])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    wanted = session.run(list(graph.output_names), dict(given))
    for mine, other in zip(found, wanted, strict=True):
        assert mine.dtype == other.dtype
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)
    return found


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """A node from space-separated names; "-" leaves one out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op_type, names, outputs.split(), **attributes)


# --- versions ------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [7, 11, 12, 13, 21])
@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax_before_13_sees_a_matrix(op_type: str, opset: int, axis: int) -> None:
    proto = model(
        [node(op_type, "x", "y", axis=axis)], {"x": ("float32", (2, 3, 4))}, ["y"], opset=opset
    )
    agrees(proto, {"x": floats(2, 3, 4)})


def test_clip_bounds_were_attributes() -> None:
    x = {"x": floats(3, 4)}
    inputs = {"x": ("float32", (3, 4))}
    agrees(model([node("Clip", "x", "y", min=-0.5, max=0.5)], inputs, ["y"], opset=9), x)
    constants = {"low": np.float32(-0.25).reshape(()), "high": np.float32(0.5).reshape(())}
    for opset in (11, 12, 13):
        proto = model([node("Clip", "x low high", "y")], inputs, ["y"], constants, opset)
        agrees(proto, x)
        agrees(model([node("Clip", "x - high", "y")], inputs, ["y"], constants, opset), x)


def test_axes_as_attribute_and_as_input() -> None:
    x = {"x": floats(2, 1, 3)}
    inputs = {"x": ("float32", (2, 1, 3))}
    axes = {"axes": np.array([1], np.int64)}
    for op_type, old in (("Squeeze", 11), ("Unsqueeze", 11), ("ReduceSum", 11), ("ReduceMax", 13)):
        agrees(model([node(op_type, "x", "y", axes=[1])], inputs, ["y"], opset=old), x)
        new = 18 if op_type == "ReduceMax" else 13
        agrees(model([node(op_type, "x axes", "y")], inputs, ["y"], axes, opset=new), x)


def test_unknown_version_names_those_that_exist() -> None:
    proto = model([node("Upsample", "x", "y")], {"x": ("float32", (1,))}, ["y"], opset=10)
    with pytest.raises(UnsupportedError, match=r"Upsample \(ai.onnx, since 10; model has opset 10"):
        read(proto)


def test_registry_refuses_a_second_reader() -> None:
    with pytest.raises(ModelError, match="already is a reader"):
        reads("Softmax", since=13)(lambda g, x: x)


def test_old_batch_normalization_and_dropout() -> None:
    constants = {name: np.abs(floats(3)) for name in ("s", "b", "m", "v")}
    for opset in (7, 9, 15):
        nodes = [
            node("BatchNormalization", "x s b m v", "t", epsilon=1e-3),
            node("Dropout", "t", "y"),
        ]
        proto = model(nodes, {"x": ("float32", (2, 3, 4))}, ["y"], constants, opset)
        agrees(proto, {"x": floats(2, 3, 4)})


# --- shapes --------------------------------------------------------------------------------


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


@pytest.mark.parametrize("opset", [11, 27])
def test_range_known_symbolic_and_by_the_run(opset: int) -> None:
    if opset > 24:
        pytest.skip("newer than ONNX Runtime")
    nodes = [node("Range", "a b c", "y")]
    inputs = {name: ("int64", ()) for name in "abc"}
    proto = model(nodes, inputs, ["y"], opset=opset)
    for a, b, c in ((0, 7, 2), (5, 0, -2), (3, 3, 1)):
        agrees(proto, {n: np.array(v, np.int64) for n, v in zip("abc", (a, b, c), strict=True)})


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


# --- control flow --------------------------------------------------------------------------


def branch(nodes: Sequence[Any], output: str) -> Any:
    """A subgraph with one output and no inputs."""
    return helper.make_graph(list(nodes), output, [], [onnx.ValueInfoProto(name=output)])


@pytest.mark.parametrize("flag", [True, False])
def test_if_by_the_run(flag: bool) -> None:
    then_branch = branch([node("Add", "x x", "t"), node("Mul", "t w", "a")], "a")
    else_branch = branch([node("Sub", "w x", "b")], "b")
    nodes = [node("If", "flag", "y", then_branch=then_branch, else_branch=else_branch)]
    inputs = {"flag": ("bool", ()), "x": ("float32", ("n", 3))}
    proto = model(nodes, inputs, ["y"], {"w": floats(3)})
    agrees(proto, {"flag": np.array(flag), "x": floats(2, 3)})


@pytest.mark.parametrize("flag", [True, False])
def test_if_with_branches_of_different_sizes(flag: bool) -> None:
    then_branch = branch([node("Concat", "x x", "a", axis=0)], "a")
    else_branch = branch([node("Neg", "x", "b")], "b")
    nodes = [
        node("If", "flag", "y", then_branch=then_branch, else_branch=else_branch),
        node("Relu", "y", "z"),
    ]
    proto = model(nodes, {"flag": ("bool", ()), "x": ("float32", ("n", 3))}, ["z"])
    agrees(proto, {"flag": np.array(flag), "x": floats(2, 3)})


def test_if_with_a_known_condition_is_its_branch() -> None:
    branches = {
        "then_branch": branch([node("Relu", "x", "a")], "a"),
        "else_branch": branch([node("Nonsense", "x", "b")], "b"),
    }
    proto = model(
        [node("If", "flag", "y", **branches)],
        {"x": ("float32", (3,))},
        ["y"],
        {"flag": np.array(True)},
    )
    graph = read(proto)
    assert [n.op.name for n in graph.operators()] == ["relu"]


def loop_body(nodes: Sequence[Any], carried: str, results: str) -> Any:
    """A loop body over float32[2] values."""
    info = helper.make_tensor_value_info
    inputs = [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, [])]
    inputs += [info(name, TensorProto.FLOAT, [2]) for name in carried.split()]
    return helper.make_graph(
        list(nodes), "body", inputs, [onnx.ValueInfoProto(name=n) for n in results.split()]
    )


def test_loop_with_a_trip_count_and_scanned_outputs() -> None:
    body = loop_body(
        [node("Identity", "go", "go_on"), node("Add", "s x", "s2"), node("Mul", "s2 s2", "row")],
        "s",
        "go_on s2 row",
    )
    inputs = {"count": ("int64", ()), "x": ("float32", (2,)), "start": ("float32", (2,))}
    proto = model(
        [node("Loop", "count - start", "final rows", body=body)], inputs, ["final", "rows"]
    )
    for count in (0, 1, 4):
        given = {"count": np.array(count, np.int64), "x": floats(2), "start": floats(2)}
        agrees(proto, given)


def test_loop_that_ends_itself() -> None:
    body = loop_body(
        [
            node("Add", "s x", "s2"),
            node("ReduceSum", "s2", "total", keepdims=0),
            node("Less", "total limit", "go_on"),
        ],
        "s",
        "go_on s2 s2",
    )
    constants = {"limit": np.array(6.0, np.float32), "count": np.array(100, np.int64)}
    nodes = [node("Loop", "count start_flag start", "final rows", body=body)]
    inputs = {"start_flag": ("bool", ()), "x": ("float32", (2,)), "start": ("float32", (2,))}
    proto = model(nodes, inputs, ["final", "rows"], constants)
    given = {"x": np.ones(2, np.float32), "start": np.zeros(2, np.float32)}
    agrees(proto, {**given, "start_flag": np.array(True)})
    agrees(proto, {**given, "start_flag": np.array(False)})


def test_scan() -> None:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Add", "s x", "s2"), node("Identity", "s2", "row")],
        "body",
        [info("s", TensorProto.FLOAT, [2]), info("x", TensorProto.FLOAT, [2])],
        [info("s2", TensorProto.FLOAT, [2]), info("row", TensorProto.FLOAT, [2])],
    )
    inputs = {"start": ("float32", (2,)), "xs": ("float32", (2, "time"))}
    options = {"scan_input_axes": [1], "scan_output_axes": [1], "scan_input_directions": [1]}
    nodes = [node("Scan", "start xs", "final rows", body=body, num_scan_inputs=1, **options)]
    agrees(model(nodes, inputs, ["final", "rows"]), {"start": floats(2), "xs": floats(2, 5)})


# --- sequences -----------------------------------------------------------------------------


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


# --- functions, custom operators -----------------------------------------------------------


def test_local_functions_with_attributes() -> None:
    scaled = helper.make_node("LeakyRelu", ["a"], ["c"])
    reference = scaled.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT)
    reference.ref_attr_name = "slope"
    function = helper.make_function(
        "local", "Bent", ["a"], ["c"], [scaled], [helper.make_opsetid("", 21)], ["slope"]
    )
    nodes = [
        helper.make_node("Bent", ["x"], ["t"], domain="local", slope=0.3),
        helper.make_node("Bent", ["t"], ["y"], domain="local"),
    ]
    proto = model(
        nodes,
        {"x": ("float32", (4,))},
        ["y"],
        functions=[function],
        imports=[helper.make_opsetid("local", 1)],
    )
    agrees(proto, {"x": floats(4)})


def test_operators_of_the_standard_that_are_functions() -> None:
    nodes = [node("MeanVarianceNormalization", "x", "y")]
    agrees(model(nodes, {"x": ("float32", (2, 3, 4, 5))}, ["y"]), {"x": floats(2, 3, 4, 5)}, 1e-4)


@elementwise
def wave(x: Any, *, gain: float = 1.0) -> Any:
    """A user's own operator."""
    return x * gain + x


def test_custom_operators_by_name() -> None:
    register_operator("test.domain", "Wave", wave)
    nodes = [helper.make_node("Wave", ["x"], ["y"], domain="test.domain", gain=3.0)]
    imports = [helper.make_opsetid("test.domain", 1)]
    graph = read(model(nodes, {"x": ("float32", (3,))}, ["y"], imports=imports))
    (y,) = run_reference(graph, [np.array([1, 2, 3], np.float32)])
    np.testing.assert_array_equal(y, np.array([4, 8, 12], np.float32))


# --- tensors -------------------------------------------------------------------------------


STORED: list[tuple[int, list[Any], str]] = [
    (TensorProto.FLOAT, [1.5, -2.0], "float32"),
    (TensorProto.DOUBLE, [1.5, -2.0], "float64"),
    (TensorProto.INT64, [2**40, -1], "int64"),
    (TensorProto.INT32, [7, -1], "int32"),
    (TensorProto.INT8, [7, -1], "int8"),
    (TensorProto.UINT8, [7, 255], "uint8"),
    (TensorProto.INT16, [7, -300], "int16"),
    (TensorProto.UINT16, [7, 65535], "uint16"),
    (TensorProto.UINT32, [7, 2**32 - 1], "uint32"),
    (TensorProto.UINT64, [7, 2**64 - 1], "uint64"),
    (TensorProto.BOOL, [True, False], "bool"),
    (TensorProto.FLOAT16, [1.5, -2.0], "float16"),
    (TensorProto.BFLOAT16, [1.5, -2.0], "bfloat16"),
]


@pytest.mark.parametrize(("number", "items", "dtype"), STORED, ids=[s[2] for s in STORED])
def test_typed_fields_and_raw_data(number: int, items: list[Any], dtype: str) -> None:
    typed = helper.make_tensor("c", number, [2], items)
    raw = numpy_helper.from_array(numpy_helper.to_array(typed), "c")
    for tensor in (typed, raw):
        proto = model([node("Identity", "c", "y")], {}, ["y"])
        proto.graph.initializer.append(tensor)
        (found,) = run_reference(read(proto), [])
        assert found.dtype.name == dtype
        np.testing.assert_array_equal(found, numpy_helper.to_array(typed))


def test_sparse_initializers() -> None:
    values = numpy_helper.from_array(np.array([1, 2], np.float32), "c")
    for indices in (np.array([1, 5], np.int64), np.array([[0, 1], [1, 2]], np.int64)):
        sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(indices), [2, 3])
        proto = model([node("Identity", "c", "y")], {}, ["y"])
        proto.graph.sparse_initializer.append(sparse)
        (found,) = run_reference(read(proto), [])
        np.testing.assert_array_equal(found, np.array([[0, 1, 0], [0, 0, 2]], np.float32))


def test_names_and_order_of_the_file() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"], name="first/MatMul"),
        helper.make_node("Add", ["t", "b"], ["y"], name="first/Add"),
    ]
    inputs = {"x": ("float32", (2, 3)), "b": ("float32", (4,))}
    proto = model(nodes, inputs, ["y", "t"], {"w": floats(3, 4)})
    proto.producer_name = "maker"
    found = read_model(proto)
    assert [value.node for value in found.graph.inputs] == ["x", "b"]
    assert found.graph.output_names == ("y", "t")
    assert {n.name for n in found.graph.operators()} == {"first/MatMul", "first/Add"}
    assert found.metadata.producer == "maker"
    assert found.metadata.versions["ai.onnx"] == 21


def test_load_decides_by_content(tmp_path: Path) -> None:
    proto = model([node("Relu", "x", "y")], {"x": ("float32", (2,))}, ["y"])
    path = tmp_path / "model.anything"
    path.write_bytes(proto.SerializeToString())
    assert load(path).format == "ONNX"
    with path.open("rb") as file:
        assert load(file).format == "ONNX"
    (tmp_path / "text.onnx").write_text("no model at all")
    with pytest.raises(ModelError):
        load(tmp_path / "text.onnx")
    (tmp_path / "text.txt").write_text("no model at all")
    with pytest.raises(ModelError, match="tried"):
        load(tmp_path / "text.txt")


def test_inputs_can_be_fixed() -> None:
    inputs = {"x": ("float32", (2, 3)), "axis": ("int64", ())}
    proto = model([node("CumSum", "x axis", "y")], inputs, ["y"])
    with pytest.raises(UnsupportedError, match="must be known"):
        read(proto)
    graph = read(proto, constants={"axis": np.array(1, np.int64)})
    x = floats(2, 3)
    (y,) = run_reference(graph, [x])
    np.testing.assert_allclose(y, np.cumsum(x, axis=1), rtol=1e-6)


# --- signals, and the public suite ---------------------------------------------------------


@pytest.mark.parametrize("inverse", [0, 1])
@pytest.mark.parametrize("length", [5, 8, 11])
def test_fourier_transforms(length: int, inverse: int) -> None:
    constants = {"length": np.array(length, np.int64), "axis": np.array(1, np.int64)}
    nodes = [node("DFT", "x length axis", "y", inverse=inverse)]
    proto = model(nodes, {"x": ("float32", ("n", 8, 3, 2))}, ["y"], constants)
    agrees(proto, {"x": floats(2, 8, 3, 2)}, 1e-4)


def test_short_time_fourier_transform() -> None:
    constants = {"step": np.array(4, np.int64), "window": np.hanning(10).astype(np.float32)}
    proto = model(
        [node("STFT", "x step window", "y")], {"x": ("float32", ("n", 40, 1))}, ["y"], constants
    )
    agrees(proto, {"x": floats(2, 40, 1)}, 1e-4)


def suite_cases(*kinds: str) -> list[Any]:
    """Cases of the onnx package's own test suite."""
    from onnx.backend.test import loader

    found = [case for kind in kinds for case in loader.load_model_tests(kind=kind)]
    return [pytest.param(case, id=case.name) for case in sorted(found, key=lambda c: str(c.name))]


@pytest.mark.parametrize("case", suite_cases("simple", "pytorch-converted", "pytorch-operator"))
def test_public_suite(case: Any) -> None:
    if case.model_dir is not None:
        path = Path(case.model_dir)
        proto = onnx.load(path / "model.onnx")
        sets = [_stored(folder, proto) for folder in sorted(path.glob("test_data_set*"))]
    else:
        proto, sets = case.model, case.data_sets
    other = any(word in case.name for word in ("strnorm", "gradient"))
    sequences = any(v.type.WhichOneof("value") != "tensor_type" for v in proto.graph.output)
    if other or sequences:
        with pytest.raises(UnsupportedError):
            read(proto)
        return
    graph = read(proto)
    check(graph)
    for inputs, outputs in sets:
        names = [value.name for value in proto.graph.input]
        given = dict(zip(names, inputs, strict=False))
        found = run_reference(graph, [given[value.node] for value in graph.inputs])
        for mine, other in zip(found, outputs, strict=True):
            assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
            np.testing.assert_allclose(mine, other, rtol=case.rtol, atol=case.atol)


def _stored(folder: Path, proto: onnx.ModelProto) -> tuple[list[Array], list[Array]]:
    def arrays(stem: str, count: int) -> list[Array]:
        paths = [folder / f"{stem}_{number}.pb" for number in range(count)]
        return [
            numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))
            for path in paths
            if path.exists()
        ]

    return arrays("input", len(proto.graph.input)), arrays("output", len(proto.graph.output))
