"""Small files that ask for much: calls, tuples, extents, arrays and constants that multiply."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import opweave as ow
from opweave.compiler.passes.fold_constants import fold_constants
from opweave.formats.checkpoint.read import read_checkpoint
from opweave.formats.checkpoint.safetensors import read_safetensors
from opweave.formats.mindir.schema import message
from opweave.formats.onnx.read import read as read_onnx
from opweave.ir import Graph, TensorType, symbol
from opweave.ir.dim import maximum
from opweave.ops.registry import operator_named

REFUSED = (ow.FormatError, ow.LimitError)


def refused(call: Callable[[], object]) -> Exception:
    """What ``call`` raises: soon, without much memory, and one of the two errors of files."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    with pytest.raises(REFUSED) as caught:
        call()
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 10.0  # 2 on a machine with nothing else to do
    assert after.ru_maxrss - before.ru_maxrss < 200 << 10
    return caught.value


# --- MindIR --------------------------------------------------------------------------------------


def _give(attribute: Any, value: Any) -> None:
    if isinstance(value, tuple):
        attribute.type = 20
        for part in value:
            _give(attribute.values.add(), part)
    elif isinstance(value, float):
        attribute.type = 1
        attribute.floats.append(value)
    else:
        attribute.type = 9 if isinstance(value, bool) else 7
        attribute.ints.append(value)


def mindir(
    *nodes: tuple[str, list[str], str], shape: tuple[int, ...] = (2, 3), **constants: Any
) -> Any:
    """A model of the input "x" and nodes (primitive, inputs, output); the last is the result."""
    proto = message("ModelProto")(producer_name="test", model_version="2.10.0")
    proto.graph.name = "g"
    proto.graph.input.add(name="x").tensor.add(name="x", data_type=1).dims.extend(shape)
    for name, value in constants.items():
        node = proto.graph.node.add(op_type="Constant", output=[name], name=name)
        _give(node.attribute.add(name="value"), value)
    for op_type, inputs, output in nodes:
        proto.graph.node.add(op_type=op_type, input=inputs, output=[output], name=output)
    proto.graph.output.add(name=nodes[-1][2])
    return proto


def load_mindir(proto: Any) -> ow.LoadedModel:
    return ow.load(proto.SerializeToString(), format="MINDIR")


def doubled_tuples(levels: int) -> list[tuple[str, list[str], str]]:
    names = ["x", *(f"t{level}" for level in range(levels))]
    return [("MakeTuple", [a, a], b) for a, b in pairwise(names)]


BIG = 1 << 40
MODELS: dict[str, Any] = {
    "tuples that double": lambda: mindir(*doubled_tuples(60)),
    "tuples that double, unused": lambda: mindir(
        *doubled_tuples(60), ("TupleGetItem", ["t0", "i"], "y"), i=0
    ),
    "numbers that square": lambda: mindir(
        *[("ScalarMul", [f"n{k}"] * 2, f"n{k + 1}") for k in range(64)],
        ("Add", ["x", "n64"], "y"),
        n0=3,
    ),
    "a tower of powers": lambda: mindir(
        ("ScalarPow", ["n", "n"], "m"), ("ScalarPow", ["m", "m"], "y"), n=99
    ),
    "many places": lambda: mindir(("LinSpace", ["a", "b", "n"], "y"), a=0.0, b=1.0, n=BIG),
    "a large adaptive pool": lambda: mindir(
        ("AdaptiveAvgPool2D", ["x", "n"], "y"), shape=(1, 1, 8, 8), n=(BIG, BIG)
    ),
    "a window of many operators": lambda: mindir(
        ("Im2Col", ["x", "k", "one", "one", "mode", "pads"], "y"),
        shape=(1, 1, 8, 8),
        k=(4096, 4096),
        one=(1, 1),
        mode=0,
        pads=(4096, 4096),
    ),
    "tensors of 2 ** 82 elements": lambda: mindir(("ReLU", ["x"], "y"), shape=(BIG, BIG, 4)),
    "itself": lambda: mindir(("REF::g", ["x"], "y")),
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_models_that_multiply(name: str) -> None:
    refused(lambda: load_mindir(MODELS[name]()))


def _calling(levels: int, calls: int) -> Any:
    proto = mindir(("REF::f0", ["x"], "y"))
    for level in range(levels):
        inner = proto.functions.add(name=f"f{level}")
        inner.input.add(name=f"f{level}:x")
        callee = f"REF::f{level + 1}" if level < levels - 1 else "ReLU"
        names = [f"f{level}:x", *(f"f{level}:{k}" for k in range(calls))]
        for name, result in pairwise(names):
            inner.node.add(op_type=callee, input=[name], output=[result], name=result)
        inner.output.add(name=names[-1])
    return proto


def test_calls_that_multiply() -> None:
    assert "called_nodes" in str(refused(lambda: load_mindir(_calling(7, 10))))


def test_reused_functions_are_no_bomb() -> None:
    assert len(load_mindir(_calling(3, 10)).graph.operators()) == 1000


def test_a_model_may_give_one_value_often() -> None:
    proto = mindir(("ReLU", ["x"], "y"))
    for _ in range(3000):
        proto.graph.output.add(name="y")
    start = time.monotonic()
    assert len(load_mindir(proto).outputs) == 3001
    assert time.monotonic() - start < 10.0


# --- ONNX ----------------------------------------------------------------------------------------


def onnx_model(
    nodes: list[Any], shape: list[Any], initializers: dict[str, Any], **options: Any
) -> bytes:
    output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [output],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in initializers.items()],
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]
    model = helper.make_model(graph, ir_version=10, opset_imports=imports, **options)
    return bytes(model.SerializeToString())


def _of_shape(*steps: Callable[[str, str], Any], times: int) -> list[Any]:
    """Nodes that compute a shape from that of x in ``times`` rounds of ``steps``."""
    nodes, name = [helper.make_node("Shape", ["x"], ["s"])], "s"
    for number in range(times):
        for position, step in enumerate(steps):
            result = f"s{number}_{position}"
            nodes.append(step(name, result))
            name = result
    return [*nodes, helper.make_node("Expand", ["x", name], ["y"])]


def test_extents_that_multiply() -> None:
    square = _of_shape(lambda a, b: helper.make_node("Mul", [a, a], [b]), times=64)
    refused(lambda: read_onnx(onnx_model(square, ["a", "b"], {})))
    refused(lambda: reduce(lambda n, _: maximum(n // 2, n // 3), range(40), symbol("n")))


def test_factors_of_extents_are_bounded() -> None:
    refused(lambda: reduce(lambda n, _: n * 2, range(400), symbol("n")))


def test_empty_tensors_of_impossible_shapes() -> None:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[0, 1 << 62], raw_data=b"")
    model = onnx.ModelProto.FromString(
        onnx_model([helper.make_node("Add", ["x", "w"], ["y"])], [2, 3], {})
    )
    model.graph.initializer.append(tensor)
    refused(lambda: read_onnx(model.SerializeToString()))


def test_long_transforms() -> None:
    node = helper.make_node("DFT", ["x", "n"], ["y"])
    refused(lambda: read_onnx(onnx_model([node], [1, 4, 2], {"n": np.array(1 << 40)})))


def test_constants_that_folding_would_multiply() -> None:
    graph = Graph("bomb")
    total = graph.input("x", TensorType("float32", ()))
    for number in range(12):
        value = graph.param(np.full(1 << 12, number, np.float32), f"c{number}")
        for _ in range(11):
            value = graph.add(operator_named("concat"), value, value, axis=0)
        part = graph.add(operator_named("reduce_sum"), value, axes=(0,), keepdims=False)
        total = graph.add(operator_named("add"), total, part)
    graph.output(total, "y")
    fold_constants(graph)
    fold_constants(graph)
    held = sum(graph.array(v).nbytes for n in graph.params for v in graph.node(n).outputs)
    assert held < 80 << 20


# --- checkpoints ---------------------------------------------------------------------------------


def _header(content: bytes) -> bytes:
    return len(content).to_bytes(8, "little") + content


def _entry(**said: Any) -> bytes:
    given = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0], **said}
    return _header(json.dumps({"a": given}).encode())


HEADERS: dict[str, bytes] = {
    "lists": _header(b'{"a":[' + b"[]," * 3_000_000 + b"0]}"),
    "nested": _header(b'{"a":' * 100_000),
    "a list as type": _entry(dtype=["F32"]),
    "an impossible shape": _entry(shape=[0, 1 << 47, 1 << 47]),
    "a name twice": _header(b'{"a":{},"a":{}}'),
    "long numbers": _header(b'{"a":{"shape":[' + b"9" * 5000 + b"]}}"),
}


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_headers_of_safetensors(name: str) -> None:
    refused(lambda: read_safetensors(HEADERS[name]))


def test_tables_whose_rows_are_not_there() -> None:
    def part(rows: int, type_: bytes) -> bytes:
        tensor = bytes([8, rows, 0x12, len(type_)]) + type_ + b"\x1a\x08" + bytes(8)
        return bytes([0x0A, len(tensor)]) + tensor

    for rows, accepted in ((2, True), (7, False)):
        table = part(2, b"int32") + part(rows, b"float32") + part(2, b"int32")
        value = b"\x0a\x01m\x1a" + bytes([len(table)]) + table
        data = b"\x0a" + bytes([len(value)]) + value
        if accepted:
            assert list(read_checkpoint(data)) == ["m"]
        else:
            refused(lambda data=data: read_checkpoint(data))


def test_empty_tensors_of_impossible_shapes_in_checkpoints() -> None:
    huge = b"\x08\x80\x80\x80\x80\x80\x04"  # 2 ** 37
    tensor = b"\x08\x00" + huge * 2 + b"\x12\x07Float32\x1a\x00"
    value = b"\x0a\x01a\x12" + bytes([len(tensor)]) + tensor
    refused(lambda: read_checkpoint(b"\x0a" + bytes([len(value)]) + value))


def test_complex_arrays_are_kept(tmp_path: Path) -> None:
    numbers = np.array([1 + 2j, 3], np.complex64)
    path = ow.save_checkpoint({"a": numbers, "b": np.ones(2, np.float32)}, tmp_path / "a.ckpt")
    loaded = ow.load_checkpoint(path)
    np.testing.assert_array_equal(loaded["a"], numbers)
    again = ow.save_checkpoint(loaded, tmp_path / "b.ckpt")
    assert again.read_bytes() == path.read_bytes()


def test_wrong_keys_are_the_files_error(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    key = "0123456789ABCDEF"
    path = ow.save_checkpoint({"a": np.ones(9, np.float32)}, tmp_path / "a.ckpt", enc_key=key)
    for wrong in (None, "x", "X" + key[1:], key + "01234567"):
        with pytest.raises(ow.FormatError):
            ow.load_checkpoint(path, dec_key=wrong)


# --- what is no file -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link to a device"])
def test_only_plain_files_are_read(kind: str, tmp_path: Path) -> None:
    for suffix in (".onnx", ".mindir", ".ckpt", ".safetensors", ".owx"):
        path = tmp_path / f"model{suffix}"
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "device" and suffix == ".onnx":
            path = Path("/dev/zero")
        else:
            path.symlink_to("/dev/zero")
        with pytest.raises(ow.FormatError, match="plain file"):
            _reader(suffix)(path)


def _reader(suffix: str) -> Callable[[Path], object]:
    if suffix == ".owx":
        return ow.load_session
    if suffix in (".ckpt", ".safetensors"):
        return lambda path: ow.load_checkpoint(path, format=suffix[1:])
    return ow.load
