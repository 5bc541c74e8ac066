"""Broken and hostile ONNX files end in opweave's own errors, quickly, and touch nothing else."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from opweave.formats.limits import Limits
from opweave.formats.onnx.read import read
from opweave.formats.wire_scan import scan
from opweave.ir import Error, FormatError, LimitError, ModelError, UnsupportedError

SECONDS = 5.0


def small_model() -> onnx.ModelProto:
    """A few operators, an initializer of each storage, a subgraph and a function."""
    f = TensorProto.FLOAT
    weight = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(3, 4), "w")
    bias = helper.make_tensor("b", f, [4], [1.0, 2.0, 3.0, 4.0])
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 2])
    value = helper.make_tensor_value_info
    then_branch = helper.make_graph(
        [helper.make_node("Relu", ["sum"], ["then_out"])], "then", [], [value("then_out", f, None)]
    )
    else_branch = helper.make_graph(
        [helper.make_node("Neg", ["sum"], ["else_out"])], "else", [], [value("else_out", f, None)]
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], name="matmul"),
        helper.make_node("Add", ["product", "b"], ["sum"], name="add"),
        helper.make_node("Softmax", ["sum"], ["probability"], axis=-1),
        helper.make_node(
            "If", ["flag"], ["chosen"], then_branch=then_branch, else_branch=else_branch
        ),
        helper.make_node("Twice", ["chosen"], ["doubled"], domain="local"),
        helper.make_node("Reshape", ["doubled", "shape"], ["y"]),
        helper.make_node("Slice", ["y", "zero", "one"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [value("x", f, ["n", 3]), value("flag", TensorProto.BOOL, [])],
        [value("probability", f, ["n", 4]), value("z", f, None)],
        [
            weight,
            bias,
            shape,
            helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        ],
    )
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["c"],
        [helper.make_node("Add", ["a", "a"], ["c"])],
        [helper.make_opsetid("", 21)],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("local", 1)],
        functions=[function],
        ir_version=10,
    )


def reads_or_refuses(source: Any, **options: Any) -> str:
    """Read ``source``; returns the error's name or "". Anything but opweave.Error fails."""
    started = time.monotonic()
    result = ""
    try:
        read(source, **options)
    except Error as error:
        result = type(error).__name__
    assert time.monotonic() - started < SECONDS
    return result


# --- mutations -----------------------------------------------------------------------------


def byte_mutations() -> Iterator[bytes]:
    """Truncated, flipped, spliced and stretched files."""
    data = small_model().SerializeToString()
    chance = random.Random(7)
    for _ in range(60):
        yield data[: chance.randrange(len(data))]
    for _ in range(120):
        broken = bytearray(data)
        for _ in range(chance.randrange(1, 5)):
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        yield bytes(broken)
    for _ in range(40):
        first, second = chance.randrange(len(data)), chance.randrange(len(data))
        yield data[:first] + data[second:]
    for _ in range(30):
        place = chance.randrange(len(data))
        yield data[:place] + bytes([0xFF] * chance.randrange(1, 12)) + data[place:]


def test_mutated_bytes() -> None:
    found: dict[str, int] = {}
    for data in byte_mutations():
        name = reads_or_refuses(data)
        found[name] = found.get(name, 0) + 1
    assert found.get("FormatError", 0) > 50


def _walk_strings(model: onnx.ModelProto) -> list[tuple[Any, int | None, str]]:
    places: list[tuple[Any, int | None, str]] = []
    for node in model.graph.node:
        places += [(node.input, k, name) for k, name in enumerate(node.input)]
        places += [(node.output, k, name) for k, name in enumerate(node.output)]
    return places


def structured_mutations() -> Iterator[onnx.ModelProto]:
    """Well-formed files that say wrong things."""
    chance = random.Random(11)
    for _ in range(60):  # names: dangling, duplicate, cyclic
        model = small_model()
        places = _walk_strings(model)
        held, position, _ = chance.choice(places)
        held[position] = chance.choice([*(name for _, _, name in places), "", "nowhere", "\0"])
        yield model
    for _ in range(60):  # dimensions and element types
        model = small_model()
        tensor = chance.choice(model.graph.initializer)
        if chance.random() < 0.5 and tensor.dims:
            tensor.dims[0] = chance.choice([0, -1, 2**31, 2**62, 2**63 - 1, 7])
        else:
            tensor.data_type = chance.choice([0, 8, 11, 14, 17, 22, 99, -3])
        yield model
    for _ in range(60):  # attributes
        model = small_model()
        node = chance.choice(model.graph.node)
        attribute = chance.choice(
            [
                helper.make_attribute("axis", chance.choice([-9, 7, 2**62])),
                helper.make_attribute("axis", "text"),
                helper.make_attribute("unknown", [1.0, 2.0]),
                helper.make_attribute("allowzero", 1),
                onnx.AttributeProto(name="axis"),
                onnx.AttributeProto(name="axis", type=onnx.AttributeProto.GRAPH),
            ]
        )
        node.attribute.append(attribute)
        yield model
    for _ in range(40):  # nodes: removed, repeated, shuffled, renamed
        model = small_model()
        nodes = list(model.graph.node)
        action = chance.randrange(4)
        if action == 0:
            del nodes[chance.randrange(len(nodes))]
        elif action == 1:
            nodes.append(chance.choice(nodes))
        elif action == 2:
            chance.shuffle(nodes)
        else:
            chance.choice(nodes).op_type = chance.choice(["Relu", "Loop", "Nonsense", "", "Scan"])
        copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copied)
        yield model
    for extent in (0, -1, -7, 2**31, 2**62):  # inputs
        model = small_model()
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = extent
        yield model
    for version in (0, -1, 1, 6, 22, 99):
        model = small_model()
        model.opset_import[0].version = version
        yield model


def test_mutated_models() -> None:
    found: dict[str, int] = {}
    for model in structured_mutations():
        name = reads_or_refuses(model.SerializeToString())
        found[name] = found.get(name, 0) + 1
    assert found.get("FormatError", 0) > 50
    assert found.get("UnsupportedError", 0) > 10


# --- single cases --------------------------------------------------------------------------


def make(nodes: list[Any], initializers: list[Any] = [], **options: Any) -> onnx.ModelProto:  # noqa: B006
    """A model with one float input x[2, 3]; all of the last node's outputs are its outputs."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [2, 3])],
        [value(name, TensorProto.FLOAT, None) for name in nodes[-1].output],
        initializers,
    )
    options.setdefault("opset_imports", [helper.make_opsetid("", 21)])
    return helper.make_model(graph, ir_version=10, **options)


def test_a_bomb_of_empty_messages_is_refused_before_parsing() -> None:
    body = b"\x0a\x00" * 2_000_000  # graph { node {} node {} ... }
    length, varint = len(body), bytearray()
    while length:
        varint.append((length & 0x7F) | (0x80 if length > 0x7F else 0))
        length >>= 7
    started = time.monotonic()
    with pytest.raises(LimitError):
        read(b"\x08\x0a\x3a" + bytes(varint) + body)
    assert time.monotonic() - started < SECONDS


def test_nesting_is_limited() -> None:
    graph = helper.make_graph([], "g", [], [])
    other = onnx.GraphProto()
    for depth in range(28):
        condition = helper.make_tensor("c", TensorProto.BOOL, [], [depth % 2])
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=other)
        graph = helper.make_graph([node], "g", [], [], [condition])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    assert reads_or_refuses(model.SerializeToString()) in (
        "LimitError",
        "FormatError",
        "ModelError",
    )


def test_groups_and_broken_numbers_are_refused() -> None:
    with pytest.raises(FormatError):
        scan(b"\x0b", onnx.ModelProto.DESCRIPTOR, Limits())
    with pytest.raises(FormatError):
        scan(b"\x08" + b"\xff" * 11, onnx.ModelProto.DESCRIPTOR, Limits())
    with pytest.raises(FormatError):
        read(b"")


def test_functions_that_call_themselves_are_refused() -> None:
    loop = helper.make_function(
        "f", "Again", ["a"], ["b"], [helper.make_node("Again", ["a"], ["b"], domain="f")], []
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]
    model = make(
        [helper.make_node("Again", ["x"], ["y"], domain="f")],
        functions=[loop],
        opset_imports=imports,
    )
    with pytest.raises(ModelError, match="themselves"):
        read(model)


def test_functions_that_multiply_are_limited() -> None:
    functions = []
    for level in range(20):
        inner = "Neg" if level == 0 else f"F{level - 1}"
        domain = "" if level == 0 else "f"
        nodes = [
            helper.make_node(inner, ["a"], ["t"], domain=domain),
            helper.make_node(inner, ["t"], ["b"], domain=domain),
        ]
        functions.append(helper.make_function("f", f"F{level}", ["a"], ["b"], nodes, []))
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]
    model = make(
        [helper.make_node("F19", ["x"], ["y"], domain="f")],
        functions=functions,
        opset_imports=imports,
    )
    with pytest.raises(LimitError):
        read(model, limits=Limits(nodes=10_000))


def test_all_unsupported_nodes_are_listed_at_once() -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Swizzle", ["b"], ["c"], name="second", domain="vendor"),
        helper.make_node("StringNormalizer", ["c"], ["y"], name="third"),
    ]
    with pytest.raises(UnsupportedError) as caught:
        read(make(nodes))
    assert len(caught.value.items) == 3
    assert "'first'" in caught.value.items[0]
    assert "vendor" in caught.value.items[1]


def test_huge_shapes_take_no_memory() -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [2**40, 2**20])
    node = helper.make_node("ConstantOfShape", ["shape"], ["y"])
    assert reads_or_refuses(make([node], [shape]).SerializeToString()) in ("", "LimitError")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2**31, 2**31], raw_data=b"\0" * 8)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    assert reads_or_refuses(make([node], [tensor]).SerializeToString()) == "LimitError"


# --- external data -------------------------------------------------------------------------


def external_model(location: str, **entries: str) -> bytes:
    """A model that adds the external tensor w[2, 3] to x."""
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=1)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return make([helper.make_node("Add", ["x", "w"], ["y"])], [tensor]).SerializeToString()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with data.bin in it, and a secret outside."""
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    (model / "data.bin").write_bytes(np.arange(16, dtype=np.float32).tobytes())
    (model / "sub" / "more.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    (tmp_path / "secret").write_bytes(bytes(64))
    return model


def test_external_data_is_read_where_it_lies(folder: Path) -> None:
    path = folder / "m.onnx"
    path.write_bytes(external_model("data.bin", offset="8", length="24"))
    graph = read(path)
    (name,) = graph.params
    np.testing.assert_array_equal(
        graph.array(graph.node(name).outputs[0]), np.arange(2, 8, dtype=np.float32).reshape(2, 3)
    )
    path.write_bytes(external_model("sub/more.bin"))
    read(path)


BAD_LOCATIONS = [
    "../secret",
    "sub/../../secret",
    "/etc/passwd",
    "C:/secret",
    "..\\secret",
    "",
    ".",
    "missing.bin",
    "sub",
    "data.bin\0",
    "link",
    "folder_link/more.bin",
    "hard",
    "pipe",
    "x" * 5000,
]


@pytest.mark.parametrize("location", BAD_LOCATIONS)
def test_external_data_stays_in_its_folder(folder: Path, location: str) -> None:
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "folder_link").symlink_to(folder / "sub")
    os.link(folder.parent / "secret", folder / "hard")
    os.mkfifo(folder / "pipe")
    path = folder / "m.onnx"
    path.write_bytes(external_model(location))
    assert reads_or_refuses(path) in ("ModelError", "FormatError")


BAD_ENTRIES: list[dict[str, str]] = [
    {"offset": "-8"},
    {"offset": "9999"},
    {"offset": "48"},
    {"length": "25"},
    {"length": "99999999999999999999999999"},
    {"offset": "0x8"},
    {"__class__": "x"},
    {"basepath": "/"},
]


@pytest.mark.parametrize("entries", BAD_ENTRIES, ids=str)
def test_external_data_entries_are_checked(folder: Path, entries: dict[str, str]) -> None:
    path = folder / "m.onnx"
    path.write_bytes(external_model("data.bin", **entries))
    assert reads_or_refuses(path) in ("ModelError", "FormatError")


def test_external_data_needs_a_folder() -> None:
    with pytest.raises(ModelError, match="folder"):
        read(external_model("data.bin"))


def test_every_truncation_of_a_small_file() -> None:
    data = make([helper.make_node("Relu", ["x"], ["y"])]).SerializeToString()
    for end in range(len(data)):
        reads_or_refuses(data[:end])
