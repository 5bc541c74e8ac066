"""MindIR files that MindSpore wrote, against the outputs that MindSpore computed.

``tests/data/mindir`` has a folder for each generation (2.10 and 2.0 exported by those versions,
1.6 re-encoded as 1.6 writes) and one .npz for each network: inputs and outputs of its cases.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from opweave.compiler.driver import compile_graph
from opweave.formats.adapter import load
from opweave.formats.mindir.read import read
from opweave.ir import FormatError, Graph, ModelError
from opweave.ir.evaluate import evaluate

DATA = Path(__file__).parent / "data" / "mindir"
Arrays = list[np.ndarray[Any, Any]]
PLAIN = sorted(
    str(path.relative_to(DATA).with_suffix(""))
    for path in DATA.glob("*/*.mindir")
    if not path.name.startswith("dense_")
)
KEY = "0123456789ABCDEF"
DENSE: dict[str, dict[str, Any]] = {
    "dense_aes_gcm": {"dec_key": KEY},
    "dense_aes_cbc": {"dec_key": KEY + "01234567", "dec_mode": "AES-CBC"},
    "dense_sm4_cbc": {"dec_key": KEY.encode(), "dec_mode": "SM4-CBC"},
    "dense_split_graph": {},
    "dense_split_gcm_graph": {"dec_key": KEY},
}


def cases(name: str) -> Iterator[tuple[Arrays, Arrays]]:
    """Inputs and outputs of each case of a network."""
    held = np.load(DATA / f"{name}.npz")
    for number, case in enumerate(json.loads(str(held["meta"]))["cases"]):
        found: tuple[Arrays, Arrays] = ([], [])
        for arrays, word, key in zip(found, ("in", "out"), ("inputs", "outputs"), strict=True):
            for position, dtype in enumerate(case[key]):
                # Python numbers were folded into the graph.
                if not dtype.startswith("py:"):
                    array = held[f"c{number}_{word}{position}"]
                    arrays.append(array.view(ml_dtypes.bfloat16) if dtype == "bfloat16" else array)
        yield found


def check(got: Arrays, wanted: Arrays, half: bool = False, types: bool = True) -> None:
    """Equal whole numbers; floats close to the largest magnitude."""
    assert len(got) == len(wanted)
    for position, (left, right) in enumerate(zip(got, wanted, strict=True)):
        left = np.asarray(left)
        assert left.shape == right.shape, position
        if types:
            assert left.dtype == right.dtype, position
        if right.dtype.kind in "biu":
            np.testing.assert_array_equal(left, right)
            continue
        tolerance = 1e-2 if half or right.dtype.itemsize == 2 else 1e-4
        wide = right.astype(np.float64)
        bound = tolerance * max(np.max(np.abs(wide), initial=0.0), 1e-30)
        np.testing.assert_allclose(left.astype(np.float64), wide, rtol=0, atol=bound)


def network(name: str) -> str:
    return name.partition("/")[2]


@pytest.mark.parametrize("name", PLAIN)
def test_agrees_with_mindspore(name: str) -> None:
    graph = read(DATA / f"{name}.mindir")
    for inputs, wanted in cases(network(name)):
        # Some counts and indices are int32 up to 2.2 and int64 later; a file says which.
        newest = name.startswith("2.10")
        check(evaluate(graph, inputs), wanted, "float16" in name, types=newest)


@pytest.mark.parametrize("name", [name for name in PLAIN if name.startswith("2.10")])
def test_compiled_agrees_with_mindspore(name: str) -> None:
    graph = read(DATA / f"{name}.mindir")
    session = compile_graph(graph)
    names = [value.node for value in graph.inputs]
    for inputs, wanted in cases(network(name)):
        got = session.run(None, dict(zip(names, inputs, strict=True)))
        check(list(got), wanted, "float16" in name)


def test_a_loop_is_a_loop_and_a_choice_an_if() -> None:
    def names(graph: Graph) -> list[str]:
        return [node.op.name for node in graph.operators()]

    assert "loop" in names(read(DATA / "2.10/06_while_if.mindir"))
    assert names(read(DATA / "2.10/07_switch_layer.mindir")).count("if") == 1


@pytest.mark.parametrize("name", sorted(DENSE))
def test_encrypted_and_split(name: str) -> None:
    if "dec_key" in DENSE[name]:
        pytest.importorskip("cryptography")
    graph = read(DATA / f"2.10/{name}.mindir", **DENSE[name])
    for inputs, wanted in cases("dense"):
        check(evaluate(graph, inputs), wanted)


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("dense_aes_gcm", {}, ModelError, "dec_key"),
        ("dense_aes_gcm", {"dec_key": "X" + KEY[1:]}, FormatError, "key is wrong"),
        ("dense_aes_gcm", {"dec_key": "short"}, ModelError, "16 or 24 or 32 bytes"),
        ("dense_aes_cbc", {"dec_key": KEY}, FormatError, "dec_mode='AES-CBC'"),
        (
            "dense_sm4_cbc",
            {"dec_key": KEY[::-1], "dec_mode": "SM4-CBC"},
            FormatError,
            "key is wrong",
        ),
    ],
)
def test_wrong_keys(name: str, options: dict[str, str], error: type[Exception], words: str) -> None:
    pytest.importorskip("cryptography")
    with pytest.raises(error, match=words):
        read(DATA / f"2.10/{name}.mindir", **options)


def test_parameters_keep_their_names_and_wait() -> None:
    graph = read(DATA / "2.10/22_conv_transpose.mindir")
    assert {"a.weight", "b.weight", "b.bias", "c.weight"} <= set(graph.params)


def test_found_by_content() -> None:
    path = DATA / "2.10/18_multi_io.mindir"
    model = load(path.read_bytes())
    assert model.format == "MINDIR"
    assert model.metadata.producer == "MindSpore 2.10.0"
    assert [value.node for value in model.graph.inputs] == ["a", "b", "t.0", "t.1"]
