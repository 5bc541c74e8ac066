"""What is written as MindIR: reads back equal, and MindSpore loads and runs it."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opweave.formats.mindir.read import read
from opweave.formats.mindir.write import write
from opweave.ir import Graph, TensorType, UnsupportedError
from opweave.ir.evaluate import evaluate
from opweave.ops.registry import operator_named

from .test_mindir_read import DATA, PLAIN, cases, check

# One iteration of these is a tree of decisions; written as ifs, its captures lie differently.
REARRANGED = {"break", "breakouter", "continue", "retloop"}
# Written as compositions: norms of vectors; the layers of one node as nodes of one layer;
# places of maxima counted anew.
COMPOSED = {"cdist", "lstm_two_layers", "pool_places"}


def meaning(graph: Graph) -> list[str]:
    """Digests of the outputs and of all nodes: what each is computed of, names left out."""
    found: dict[str, str] = {}
    inputs = {value.node: number for number, value in enumerate(graph.inputs)}
    for node in graph.nodes():
        if node.name in graph.params:
            array = graph.array(node.outputs[0])
            what: Any = (array.dtype.name, array.shape, array.tobytes())
        elif node.name in inputs:
            what = (inputs[node.name], str(node.types))
        else:
            operands = [None if v is None else (found[v.node], v.index) for v in node.inputs]
            attributes = {
                key: meaning(value) if isinstance(value, Graph) else repr(value)
                for key, value in sorted(node.attrs.items())
            }
            what = (node.op.name, operands, attributes, str(node.types))
        found[node.name] = hashlib.sha256(repr(what).encode()).hexdigest()
    outputs = [f"{found[value.node]}:{value.index}" for value in graph.outputs]
    return outputs + sorted(found.values())


@pytest.mark.parametrize("name", PLAIN)
def test_reads_back_equal(name: str) -> None:
    graph = read(DATA / f"{name}.mindir")
    again = read(write(graph))
    network = name.partition("/")[2]
    if network not in REARRANGED | COMPOSED:
        assert meaning(again) == meaning(graph)
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
    assert meaning(again) == meaning(graph)


def test_what_cannot_be_written_is_listed_together() -> None:
    graph = Graph("refused")
    x = graph.input("x", TensorType("float32", (1, 1, 4, 4)))
    for k in range(2):
        node = graph.add_node(operator_named("lp_pool"), (x,), {"kernel": (2, 2)}, name=f"pool{k}")
        graph.output(node.outputs[0], f"y{k}")
    with pytest.raises(UnsupportedError) as caught:
        write(graph)
    assert len(caught.value.items) == 2
    assert "pool0" in caught.value.items[0]


RUNNER = """
import sys
import numpy as np
import mindspore as ms

ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
BF = ms.bfloat16

def flat(item):
    return sum(map(flat, item), []) if isinstance(item, (tuple, list)) else [item]

def tensor(array, dtype):
    if dtype == "bfloat16":
        return ms.Tensor((array.astype(np.uint32) << 16).view(np.float32)).astype(BF)
    return ms.Tensor(array)

def plain(value):
    if value.dtype == BF:
        return (value.astype(ms.float32).asnumpy().view(np.uint32) >> 16).astype(np.uint16)
    return value.asnumpy()

model, source, target = sys.argv[1:]
held = np.load(source)
net = ms.nn.GraphCell(ms.load(model))
found = {}
for case in range(int(held["cases"])):
    count = int(held[f"c{case}_count"])
    inputs = [tensor(held[f"c{case}_{k}"], str(held[f"c{case}_{k}_type"])) for k in range(count)]
    for k, value in enumerate(flat(net(*inputs))):
        found[f"c{case}_{k}"] = plain(value)
np.savez(target, **found)
"""


@pytest.mark.skipif(importlib.util.find_spec("mindspore") is None, reason="needs mindspore")
@pytest.mark.parametrize("name", [name for name in PLAIN if name.startswith("2.10")])
def test_mindspore_runs_it(name: str, tmp_path: Path) -> None:
    graph = read(DATA / f"{name}.mindir")
    write(graph, tmp_path / "net.mindir")
    given: dict[str, Any] = {}
    wanted = []
    for number, (inputs, outputs) in enumerate(cases(name.partition("/")[2])):
        given[f"c{number}_count"] = len(inputs)
        for k, array in enumerate(inputs):
            half = array.dtype.name == "bfloat16"
            given[f"c{number}_{k}"] = array.view(np.uint16) if half else array
            given[f"c{number}_{k}_type"] = array.dtype.name
        wanted.append(outputs)
    np.savez(tmp_path / "given.npz", cases=len(wanted), **given)
    (tmp_path / "run.py").write_text(RUNNER)
    files = [str(tmp_path / part) for part in ("net.mindir", "given.npz", "found.npz")]
    subprocess.run([sys.executable, str(tmp_path / "run.py"), *files], check=True, timeout=300)
    found = np.load(tmp_path / "found.npz")
    for number, outputs in enumerate(wanted):
        got = [found[f"c{number}_{k}"] for k in range(len(outputs))]
        pairs = zip(got, outputs, strict=True)
        halves = [a.view(b.dtype) if b.dtype.name == "bfloat16" else a for a, b in pairs]
        check(halves, outputs, "float16" in name)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("name", ["gru", "rnn", "lstm"])
def test_recurrent_layers(name: str, direction: str) -> None:
    if (name, direction) == ("lstm", "reverse"):
        pytest.skip("MindSpore's LSTM runs forwards or both ways")
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
