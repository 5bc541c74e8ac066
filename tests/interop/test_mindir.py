"""MindSpore loads and runs what is written as MindIR, of files of all its generations."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import ml_dtypes
import numpy as np
import pytest

from opweave.formats.mindir.read import read
from opweave.formats.mindir.write import write
from opweave.ir.evaluate import evaluate

from ..test_mindir_read import DATA, PLAIN, cases, check, network
from ..test_mindir_write import LOOPS, counting_loop

KEY = b"0123456789ABCDEF"


def tensor(array: np.ndarray[Any, Any]) -> ms.Tensor:
    if array.dtype == ml_dtypes.bfloat16:
        return ms.Tensor(array.astype(np.float32)).astype(ms.bfloat16)
    return ms.Tensor(array)


def arrays(result: Any) -> list[np.ndarray[Any, Any]]:
    """The tensors of a result, which tuples may hold, in order."""
    if isinstance(result, (tuple, list)):
        return [array for part in result for array in arrays(part)]
    if result.dtype == ms.bfloat16:
        return [result.float().asnumpy().astype(ml_dtypes.bfloat16)]
    return [result.asnumpy()]


@pytest.mark.parametrize("name", PLAIN)
def test_mindspore_runs_it(name, tmp_path):
    write(read(DATA / f"{name}.mindir"), tmp_path / "net.mindir")
    net = ms.nn.GraphCell(ms.load(str(tmp_path / "net.mindir")))
    newest = name.startswith("2.10")
    for inputs, wanted in cases(network(name)):
        got = arrays(net(*map(tensor, inputs)))
        above = check(got, wanted, "float16" in name, types=newest)
        # MindSpore keeps another precision where it casts to float16 itself.
        assert not above or "float16" in name


@pytest.mark.parametrize("mode", [None, "AES-GCM", "AES-CBC", "SM4-CBC"])
@pytest.mark.parametrize("external", [False, True])
def test_mindspore_opens_what_is_split_or_encrypted(external, mode, tmp_path):
    path = tmp_path / ("net_graph.mindir" if external else "net.mindir")
    writing = {} if mode is None else {"enc_key": KEY, "enc_mode": mode}
    reading = {name.replace("enc_", "dec_"): value for name, value in writing.items()}
    write(read(DATA / "2.10/22_conv_transpose.mindir"), path, external=external, **writing)
    net = ms.nn.GraphCell(ms.load(str(path), **reading))
    for inputs, wanted in cases("22_conv_transpose"):
        assert not check(arrays(net(*map(tensor, inputs))), wanted)


@pytest.mark.parametrize(("limited", "conditional", "counted"), LOOPS)
def test_mindspore_runs_loops_that_count(limited, conditional, counted, tmp_path):
    graph = counting_loop(limited, conditional, counted)
    write(graph, tmp_path / "net.mindir")
    net = ms.nn.GraphCell(ms.load(str(tmp_path / "net.mindir")))
    for limit in (0, 1, 20):
        inputs = [np.array([1, -1, 2]), *([np.array(limit)] if limited else [])]
        check(arrays(net(*map(tensor, inputs))), evaluate(graph, inputs))
