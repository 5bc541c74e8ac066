"""The public functions: load, compile, export, custom operators."""

from __future__ import annotations

import io
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import opweave
from opweave.cli import command
from opweave.cli.command import VERBS
from opweave.formats import adapter
from opweave.formats.adapter import Format, LoadedModel
from opweave.ops.elementwise_activation import relu
from opweave.ops.elementwise_arithmetic import add

ROOT = Path(__file__).parent.parent
# The files that the README quotes.
QUOTED = ("ops/elementwise_activation.py", "formats/onnx/elementwise_names.py")

WEIGHT = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
X = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
EXPECTED = X @ WEIGHT


def proto() -> onnx.ModelProto:
    """``y = x @ w`` with a symbolic number of rows."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "small",
        [value("x", TensorProto.FLOAT, ["rows", 4])],
        [value("y", TensorProto.FLOAT, ["rows", 3])],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    onnx.save(proto(), path)
    return path


def small_graph() -> opweave.Graph:
    graph = opweave.Graph("sum")
    type_ = opweave.TensorType("float32", (opweave.symbol("rows"), 4))
    x, y = graph.input("x", type_), graph.input("y", type_)
    graph.output(graph.add(relu, graph.add(add, x, y)), "z")
    return graph


def test_load_takes_paths_bytes_files_and_protos(model_file, tmp_path):
    nameless = tmp_path / "model.of.no.suffix"
    nameless.write_bytes(model_file.read_bytes())
    sources = [
        model_file,
        str(model_file),
        model_file.read_bytes(),
        io.BytesIO(model_file.read_bytes()),
        onnx.load(model_file),
        nameless,
    ]
    for source in sources:
        model = opweave.load(source)
        assert model.format == "ONNX"
        assert [str(model.graph.type(value)) for value in model.graph.inputs] == [
            "float32[rows, 4]"
        ]


def test_load_of_what_is_not_there():
    with pytest.raises(opweave.ModelNotFoundError, match=r"absent\.onnx"):
        opweave.load("absent.onnx")
    assert issubclass(opweave.ModelNotFoundError, FileNotFoundError)
    with pytest.raises(opweave.ModelNotFoundError, match="resnet50"):
        opweave.compile("resnet5")
    with pytest.raises(opweave.FormatError, match="ONNX"):
        opweave.load(b"no model at all")
    with pytest.raises(opweave.ModelError, match="not int"):
        opweave.compile(3)  # type: ignore[arg-type]
    with pytest.raises(opweave.ModelError, match="not int"):
        opweave.load(3)  # type: ignore[arg-type]


def test_a_format_of_ones_own_is_read_by_its_mark(monkeypatch):
    def read(source, *, limits):
        return LoadedModel(small_graph(), "SUM")

    def write(graph, path):
        raise AssertionError("nothing is written")

    monkeypatch.setattr(adapter, "_ADDED", {})
    own = Format("SUM", (".sum",), lambda head: head.startswith(b"sum"), read, write)
    adapter.register_format(own)
    assert opweave.load(b"sum of two").format == "SUM"
    for taken in (own, replace(own, name="ONNX")):
        with pytest.raises(opweave.ModelError, match=f"already is a format '{taken.name}'"):
            adapter.register_format(taken)


def test_compile_and_the_forms_of_calling(model_file):
    session = opweave.compile(model_file)
    assert session.inputs[0].name == "x"
    assert session.outputs == (opweave.Spec("y", "float32", (opweave.symbol("rows"), 3)),)
    for result in (
        session(X),
        session(x=X),
        session.predict(X),
        session.run(None, {"x": X})[0],
        session.run(["y"], {"x": X})[0],
    ):
        np.testing.assert_allclose(result, EXPECTED, rtol=1e-5, atol=1e-6)
    assert session.executable.arena_bytes({"rows": 5}) >= 0
    # One compiled session serves all sizes of a symbolic extent, none included.
    for rows in (0, 1, 17):
        assert session(np.zeros((rows, 4), np.float32)).shape == (rows, 3)
    with pytest.raises(opweave.ModelError, match="float64"):
        session(X.astype(np.float64))
    with pytest.raises(opweave.ModelError, match="shape"):
        session(X.T)


def test_compile_with_fixed_shapes(model_file):
    session = opweave.compile(opweave.load(model_file), shapes={"x": (5, 4)}, threads=1)
    assert session.inputs[0].shape == (5, 4)
    np.testing.assert_allclose(session(X), EXPECTED, rtol=1e-5, atol=1e-6)
    with pytest.raises(opweave.ModelError):
        session(X[:4])
    with pytest.raises(opweave.ModelError, match="cannot have the shape"):
        opweave.compile(model_file, shapes={"x": (5, 7)})
    same = opweave.compile(model_file, input_types=[X])
    assert same.inputs[0].shape == (5, 4)
    with pytest.raises(opweave.ModelError, match="there is no target"):
        opweave.compile(model_file, target="abacus")


def test_compile_a_graph():
    session = opweave.compile(small_graph())
    x, y = X, -2 * X
    np.testing.assert_allclose(session(x, y), np.maximum(x + y, 0))


def test_export(tmp_path):
    path = opweave.export(small_graph(), file_name=tmp_path / "sum")
    assert path == tmp_path / "sum.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    back = opweave.load(path).graph
    assert [value.node for value in back.inputs] == ["x", "y"]
    assert back.output_names == ("z",)
    type_ = opweave.TensorType("float32", (2, 4))
    fixed = opweave.export(small_graph(), type_, type_, file_name=str(tmp_path / "fixed.onnx"))
    assert opweave.load(fixed).graph.type(opweave.Value("x")) == type_
    with pytest.raises(opweave.UnsupportedError, match="there is: ONNX"):
        opweave.export(small_graph(), file_name=tmp_path / "x", file_format="CAFFE")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["fixed.onnx", "sum.onnx"]


def test_custom_operator_in_an_onnx_file():
    @opweave.elementwise
    def bent_swish(x, *, beta: float = 1.0):
        """``x`` times the logistic function of ``beta * x``."""
        return x / (1.0 + math.exp(-beta * x))

    opweave.register_operator("tests.custom", "BentSwish", bent_swish)
    model = proto()
    model.graph.node[0].output[0] = "product"
    node = helper.make_node("BentSwish", ["product"], ["y"], domain="tests.custom", beta=1.5)
    model.graph.node.append(node)
    model.opset_import.append(helper.make_opsetid("tests.custom", 1))
    expected = EXPECTED / (1 + np.exp(-1.5 * EXPECTED))
    np.testing.assert_allclose(opweave.compile(model)(X), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(opweave.ModelError, match="already"):
        opweave.register_operator("tests.custom", "BentSwish", bent_swish)


def test_custom_operator_in_a_graph():
    @opweave.elementwise(kinds=("float",))
    def cubed(x):
        """``x`` to the third power."""
        return x * x * x

    graph = opweave.Graph("cube")
    x = graph.input("x", opweave.TensorType("float32", (5, 4)))
    graph.output(graph.add(relu, graph.add(cubed, graph.add(add, x, x))), "y")
    session = opweave.compile(graph)
    np.testing.assert_allclose(session(X), np.maximum((2 * X) ** 3, 0), rtol=1e-5)
    # Three elementwise operators are one loop.
    assert len(session.graph.operators()) == 1


def test_networks(tmp_path):
    network = opweave.networks.lenet()
    x = np.random.default_rng(0).random((2, 1, 32, 32), np.float32)
    session = opweave.compile(network, input_types=[x])
    assert session.inputs[0].shape == x.shape
    path = opweave.export(network, x, file_name=tmp_path / "lenet.onnx")
    peer = pytest.importorskip("onnxruntime").InferenceSession(path)
    (expected,) = peer.run(None, {"x": x})
    np.testing.assert_allclose(session(x), expected, rtol=1e-4, atol=1e-5)
    assert opweave.compile(network).inputs[0].shape == (1, 1, 32, 32)


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        if block.startswith("#"):  # lines of several source files, which must be there
            for line in (line.strip() for line in block.splitlines() if line.startswith("    ")):
                assert any(line in (ROOT / file).read_text() for file in QUOTED), line
        else:
            exec(compile(block, "README.md", "exec"), names)
    assert isinstance(names["session"], opweave.Session)


def test_commands_of_the_readme_are_understood():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [part for block in blocks for line in block.splitlines() for part in line.split("&&")]
    commands = [shlex.split(line, comments=True) for line in lines if "opweave " in line]
    for _, name, *arguments in [words for words in commands if words[:1] == ["opweave"]]:
        verb = command.get_command(None, name)
        assert verb is not None, name
        verb.make_context(name, arguments)  # raises UsageError
    assert {words[1] for words in commands if words[:1] == ["opweave"]} == set(VERBS)
