"""Broken, cut-off and hostile MindIR files: an error, soon and without much memory."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opweave.formats.limits import Limits
from opweave.formats.mindir.read import read
from opweave.formats.mindir.schema import message
from opweave.ir import Error, FormatError, LimitError, ModelError, UnsupportedError

from .test_mindir_read import DATA

SAMPLE = DATA / "2.10" / "22_conv_transpose.mindir"
LOOP = DATA / "2.10" / "06_while_if.mindir"


def parsed(path: Path = SAMPLE) -> Any:
    return message("ModelProto").FromString(path.read_bytes())


def model(*nodes: tuple[str, list[str], str]) -> Any:
    """A model of one input "g:x" and nodes (op_type, inputs, output); the last is the result."""
    proto = message("ModelProto")(producer_name="test", model_version="2.10.0")
    proto.graph.name = "g"
    value = proto.graph.input.add(name="g:x")
    value.tensor.add(name="g:x", data_type=1).dims.extend([2, 3])
    for op_type, inputs, output in nodes:
        proto.graph.node.add(op_type=op_type, input=inputs, output=[output], name=output)
    proto.graph.output.add(name=nodes[-1][2])
    return proto


def failing(data: bytes, **options: Any) -> Error:
    """The error that reading raises; it must come soon and take little memory."""
    start = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(Error) as caught:
            read(data, **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 10.0  # traced: several times slower than otherwise
    assert peak < (200 << 20) + 4 * len(data)
    return caught.value


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_cut_off(share: float) -> None:
    data = SAMPLE.read_bytes()
    assert isinstance(failing(data[: int(share * len(data))]), ModelError)


def test_mutated_bytes_end_in_an_error_or_a_graph() -> None:
    source = random.Random(7)
    for path in (SAMPLE, LOOP):
        data = path.read_bytes()
        for _ in range(150):
            changed = bytearray(data)
            for _ in range(source.randrange(1, 4)):
                changed[source.randrange(len(changed))] = source.randrange(256)
            try:
                read(bytes(changed))
            except Error:
                continue


def test_unknown_primitives_are_listed_together() -> None:
    proto = model(
        ("Wondrous", ["g:x"], "g:a"), ("Relu9000", ["g:a"], "g:b"), ("ReLU", ["g:b"], "g:c")
    )
    error = failing(proto.SerializeToString())
    assert isinstance(error, UnsupportedError)
    assert len(error.items) == 2
    assert "Wondrous" in error.items[0]
    assert "g:a" in error.items[0]


def _shape(proto: Any, dims: list[int]) -> None:
    tensor = proto.graph.parameter[0]
    del tensor.dims[:]
    tensor.dims.extend(dims)


def _twice(proto: Any) -> None:
    proto.graph.parameter.add().CopyFrom(proto.graph.parameter[0])


def _external(proto: Any, location: str) -> None:
    tensor = proto.graph.parameter[0]
    tensor.ClearField("raw_data")
    tensor.external_data.location = location


CHANGES: dict[str, Callable[[Any], None]] = {
    "absurd extents": lambda proto: _shape(proto, [1 << 40, 1 << 40]),
    "negative extents": lambda proto: _shape(proto, [-4, 3, 3, 3]),
    "other size": lambda proto: _shape(proto, [1, 2, 3]),
    "many dimensions": lambda proto: _shape(proto, [1] * 100),
    "no type": lambda proto: setattr(proto.graph.parameter[0], "data_type", 99),
    "complex numbers": lambda proto: setattr(proto.graph.parameter[0], "data_type", 14),
    "twice": _twice,
    "no output": lambda proto: proto.graph.ClearField("output"),
    "no name": lambda proto: proto.graph.ClearField("name"),
    "unknown output": lambda proto: setattr(proto.graph.output[0], "name", "nothing"),
    "unknown input": lambda proto: proto.graph.node[3].input.append("nothing"),
    "future version": lambda proto: setattr(proto, "mind_ir_version", 4),
    "big-endian": lambda proto: setattr(proto, "little_endian", False),
    "absolute path": lambda proto: _external(proto, "/etc/passwd"),
    "path above": lambda proto: _external(proto, "../../etc/passwd"),
    "missing data": lambda proto: _external(proto, "nothing/data_0"),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_changed_files(change: str, tmp_path: Path) -> None:
    proto = parsed()
    CHANGES[change](proto)
    failing(proto.SerializeToString(), folder=tmp_path)


def test_data_files_are_not_reached_through_links(tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_bytes(bytes(4096))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "data_0").symlink_to(outside)
    proto = parsed()
    _external(proto, "data_0")
    assert "link" in str(failing(proto.SerializeToString(), folder=folder))


def test_cycles() -> None:
    proto = model(("Add", ["g:x", "g:b"], "g:a"), ("ReLU", ["g:a"], "g:b"))
    assert "cycle" in str(failing(proto.SerializeToString()))


def test_nodes_may_come_in_any_order() -> None:
    proto = model(("ReLU", ["g:a"], "g:b"), ("Neg", ["g:x"], "g:a"))
    proto.graph.output[0].name = "g:b"
    assert [node.op.name for node in read(proto.SerializeToString()).operators()] == ["neg", "relu"]


def test_a_function_that_only_calls_itself() -> None:
    proto = model(("REF::f", ["g:x"], "g:y"))
    inner = proto.functions.add(name="f")
    inner.input.add(name="f:x")
    inner.node.add(op_type="REF::f", input=["f:x"], output=["f:y"], name="f:y")
    inner.output.add(name="f:y")
    failing(proto.SerializeToString())


def test_functions_that_multiply() -> None:
    proto = model(("REF::f0", ["g:x"], "g:y"))
    for level in range(40):
        inner = proto.functions.add(name=f"f{level}")
        inner.input.add(name=f"f{level}:x")
        callee = f"REF::f{level + 1}" if level < 39 else "Neg"
        for k in range(2):
            name = f"f{level}:{k}"
            inner.node.add(op_type=callee, input=[f"f{level}:x"], output=[name], name=name)
        inner.node.add(op_type="Add", input=[f"f{level}:0", f"f{level}:1"], output=[f"f{level}:s"])
        inner.output.add(name=f"f{level}:s")
    error = failing(proto.SerializeToString(), limits=Limits(nodes=5000))
    assert isinstance(error, LimitError)


def test_deep_values() -> None:
    proto = model(("ReLU", ["g:x"], "g:y"))
    node = proto.graph.node.add(op_type="Constant", output=["deep"], name="deep")
    value = node.attribute.add(name="value", type=20)
    for _ in range(200):
        value = value.values.add(type=20)
    proto.graph.node.add(op_type="Reshape", input=["g:y", "deep"], output=["g:z"], name="g:z")
    proto.graph.output[0].name = "g:z"
    assert isinstance(failing(proto.SerializeToString()), (FormatError, LimitError))


def test_many_empty_parts() -> None:
    # Two bytes a part in the file, a hundred or more in a parser.
    bomb = b"\x3a\x84\x80\x80\x04" + b"\x0a\x00" * (2 << 20)
    assert isinstance(failing(b"\x12\x01x" + bomb), (FormatError, LimitError))


def test_unbounded_reshape() -> None:
    proto = model(("Reshape", ["g:x", "shape"], "g:y"))
    node = proto.graph.node.add(op_type="Constant", output=["shape"], name="shape")
    value = node.attribute.add(name="value", type=20)
    value.values.add(type=7).ints.append(1 << 60)
    failing(proto.SerializeToString())


def test_typed_fields_are_not_silently_zero() -> None:
    proto = parsed()
    tensor = proto.graph.parameter[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend([1.0] * int(np.prod(tensor.dims)))
    assert "raw_data" in str(failing(proto.SerializeToString()))


def test_absurd_sizes_of_matrices_with_diagonals() -> None:
    proto = message("ModelProto").FromString((DATA / "2.10/diagonal_bands.mindir").read_bytes())
    sizes = [n for n in proto.graph.node if n.op_type == "Constant" and _number(n) in (4, 5)]
    assert sizes
    for node in sizes:
        node.attribute[0].tensors[0].raw_data = (1 << 30).to_bytes(4, "little")
    assert isinstance(failing(proto.SerializeToString()), LimitError)


def _number(node: Any) -> int | None:
    tensors = node.attribute[0].tensors
    if len(tensors) == 1 and tensors[0].data_type == 6 and not len(tensors[0].dims):
        return int.from_bytes(tensors[0].raw_data, "little")
    return None
