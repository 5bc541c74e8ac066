"""What is written as MindIR reads back equal; ``tests/interop`` has MindSpore run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opweave.formats.mindir.read import read
from opweave.formats.mindir.schema import message
from opweave.formats.mindir.write import write
from opweave.ir import Graph, TensorType, UnsupportedError
from opweave.ir.evaluate import evaluate
from opweave.ir.same import same
from opweave.ops.registry import operator_named

from .test_mindir_read import DATA, PLAIN, cases, check

# One iteration of these is a tree of decisions; written as ifs, its captures lie differently.
REARRANGED = {"break", "breakouter", "continue", "retloop"}
# Written as compositions: the layers of one node as nodes of one layer; places of maxima counted
# anew.
COMPOSED = {"lstm_two_layers", "pool_places"}
DIRECTIONS = ("forward", "bidirectional")


@pytest.mark.parametrize("name", PLAIN)
def test_reads_back_equal(name: str) -> None:
    graph = read(DATA / f"{name}.mindir")
    again = read(write(graph))
    network = name.partition("/")[2]
    if network not in REARRANGED | COMPOSED:
        assert same(again, graph)
    assert again.output_names == graph.output_names
    for inputs, _ in cases(network):
        check(evaluate(again, inputs), evaluate(graph, inputs))


def small_graph() -> Graph:
    graph = Graph("small")
    x = graph.input("x", TensorType("float32", (2, 3)))
    w = graph.param(np.arange(12, dtype=np.float32).reshape(3, 4), "weight")
    b = graph.param(np.ones(4, np.float32), "bias")
    product = graph.add(operator_named("matmul"), x, w)
    graph.output(graph.add(operator_named("add"), product, b), "y")
    return graph


@pytest.mark.parametrize("mode", [None, "AES-GCM", "AES-CBC", "SM4-CBC"])
@pytest.mark.parametrize("external", [False, True])
def test_data_files_and_encryption(tmp_path: Path, external: bool, mode: str | None) -> None:
    options: dict[str, Any] = {}
    if mode is not None:
        pytest.importorskip("cryptography")
        options = {"enc_key": b"0123456789ABCDEF", "enc_mode": mode}
    graph = small_graph()
    write(graph, tmp_path / "net.mindir", external=external, **options)
    assert (tmp_path / "net_variables" / "data_0").exists() == external
    opened = {key.replace("enc", "dec"): value for key, value in options.items()}
    again = read(tmp_path / "net.mindir", **opened)
    assert same(again, graph)


def test_what_cannot_be_written_is_listed_together() -> None:
    graph = Graph("refused")
    x = graph.input("x", TensorType("float32", (1, 1, 4, 4)))
    for k in range(2):
        attributes = {"kernel": (2, 2), "dilations": (2, 2)}
        node = graph.add_node(operator_named("lp_pool"), (x,), attributes, name=f"pool{k}")
        graph.output(node.outputs[0], f"y{k}")
    with pytest.raises(UnsupportedError) as caught:
        write(graph)
    assert len(caught.value.items) == 2
    assert "pool0" in caught.value.items[0]


@pytest.mark.parametrize("name", ["hardmax", "lp_pool", "max_unpool", "column_image"])
def test_operators_of_several_primitives(name: str) -> None:
    """What is written computes the same when read; some settings MindIR cannot say."""
    written = 0
    for sample in operator_named(name).samples:
        if any(array.dtype != np.float32 or not array.size for array in sample.inputs[:1]):
            continue
        if any(np.isnan(array).any() for array in sample.inputs[:1]):
            continue  # MindSpore's greatest elements are numbers
        graph = Graph(name)
        inputs = [
            graph.input(f"x{k}", TensorType.of(array)) for k, array in enumerate(sample.inputs)
        ]
        graph.output(graph.add(operator_named(name), *inputs, **sample.attributes), "y")
        try:
            again = read(write(graph))
        except UnsupportedError:
            continue
        written += 1
        (wanted,), (found,) = evaluate(graph, sample.inputs), evaluate(again, sample.inputs)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert written


def test_names_of_inputs_and_outputs_stay() -> None:
    graph = Graph("names")
    a = graph.input("a:0", TensorType("float32", (2,)))
    b = graph.input("b:0", TensorType("float32", (2,)))
    total = graph.add(operator_named("add"), a, b)
    for value, name in ((total, "sum"), (a, "same: a"), (total, "sum again"), (b, "b")):
        graph.output(value, name)
    assert same(read(write(graph)), graph)


@pytest.mark.parametrize(
    "text", ["", "[", "3", '["one", 2]', '["one"]', '["one", "one"]', "[" * 100_000]
)
def test_other_lists_of_names_are_left_alone(text: str) -> None:
    """What does not name each output once says nothing."""
    graph = small_graph()
    graph.output(graph.outputs[0], "again")
    proto = message("ModelProto").FromString(write(graph))
    proto.user_info[0].value = text
    assert read(proto.SerializeToString()).output_names == ("add", "add_2")


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        (name, direction)
        for name in ("gru", "rnn", "lstm")
        for direction in (*DIRECTIONS, "reverse")
    ],
)
def test_recurrent_layers(name: str, direction: str) -> None:
    rng = np.random.default_rng(0)
    count, gates = 1 + (direction == "bidirectional"), {"gru": 3, "rnn": 1, "lstm": 4}[name]
    graph = Graph(name)
    x = graph.input("x", TensorType("float32", (4, 3, 6)))
    shapes = ((count, gates * 5, 6), (count, gates * 5, 5), (count, 2 * gates * 5))
    held = [graph.param(rng.uniform(-1, 1, shape).astype(np.float32)) for shape in shapes]
    attributes = {"hidden_size": 5, "direction": direction}
    for value in graph.add_node(operator_named(name), [x, *held], attributes).outputs:
        graph.output(value)
    data = [rng.uniform(-1, 1, (4, 3, 6)).astype(np.float32)]
    for again, wanted in zip(
        evaluate(read(write(graph)), data), evaluate(graph, data), strict=True
    ):
        np.testing.assert_allclose(again, wanted, rtol=0, atol=1e-6)


def counting_loop(limited: bool, conditional: bool, counted: bool) -> Graph:
    """``acc = acc * 2 + place``, at most ``limit`` times, while it is below 100."""
    body = Graph("body")
    scalar = TensorType("int64")
    place, going = body.input("place", scalar), body.input("going", TensorType("bool"))
    acc, step = body.input("acc", TensorType("int64", (3,))), body.input("step", scalar)
    more = body.add(operator_named("add"), body.add(operator_named("mul"), acc, step), place)
    if conditional:
        total = body.add(operator_named("reduce_sum"), more, axes=(0,), keepdims=False)
        going = body.add(operator_named("less"), total, body.param(np.array(100)))
    body.output(going, "going_on")
    body.output(more, "acc_out")
    graph = Graph("counting")
    x = graph.input("x", TensorType("int64", (3,)))
    limit = graph.input("limit", scalar) if limited else None
    two = graph.param(np.array(2), "two")
    attributes = {"body": body, "carried": 1, "trip_limit": 50}
    node = graph.add_node(operator_named("loop"), (limit, None, x, two), attributes)
    graph.output(node.outputs[0], "y")
    if counted:
        graph.output(node.outputs[1], "count")
    return graph


LOOPS = [
    (limited, conditional, counted)
    for limited in (True, False)
    for conditional in (True, False)
    for counted in (True, False)
    if limited or conditional
]


@pytest.mark.parametrize(("limited", "conditional", "counted"), LOOPS)
def test_loops_that_count(limited: bool, conditional: bool, counted: bool) -> None:
    graph = counting_loop(limited, conditional, counted)
    again = read(write(graph))
    for limit in (0, 1, 4, 20):
        inputs = [np.array([1, -1, 2]), *([np.array(limit)] if limited else [])]
        wanted = evaluate(graph, inputs)
        check(evaluate(again, inputs), wanted)
