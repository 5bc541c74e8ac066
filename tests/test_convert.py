"""``opweave convert`` between MindIR and ONNX: the files run elsewhere, whatever their size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import opweave as ow
from opweave.cli.exits import Exit
from opweave.compiler.interpret import run_reference
from opweave.networks import layers as nn

from .command_line import json_of, opweave_command

DATA = Path(__file__).parent / "data" / "mindir"


def convert(capsys, *arguments: object, status: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    return json_of(capsys, "convert", *arguments, status=status)


@pytest.mark.parametrize("name", ["03_mobile_se", "13_conv_zoo", "16_activations"])
def test_mindir_to_onnx_and_back(name, capsys, tmp_path):
    source = next(DATA.glob(f"*/{name}.mindir"))
    files = [tmp_path / file for file in ("there.onnx", "back.mindir", "again.onnx")]
    for before, after in zip([source, *files], files, strict=False):
        assert not convert(capsys, before, "-o", after, "--no-verify")["verified"]
    held = np.load(DATA / f"{name}.npz")
    case = json.loads(str(held["meta"]))["cases"][0]
    inputs = [held[f"c0_in{place}"] for place in range(len(case["inputs"]))]
    wanted = [held[f"c0_out{place}"] for place in range(len(case["outputs"]))]
    for file in files:
        if file.suffix == ".onnx":
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            names = [item.name for item in session.get_inputs()]
            found = session.run(None, dict(zip(names, inputs, strict=True)))
        else:
            found = run_reference(ow.load(file).graph, inputs)
        for left, right in zip(found, wanted, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4 * np.abs(right).max())


def test_what_is_written_is_compared_with_the_original(capsys, tmp_path):
    source = next(DATA.glob("*/03_mobile_se.mindir"))
    there, back = tmp_path / "there.onnx", tmp_path / "back.mindir"
    assert convert(capsys, source, "-o", there)["difference"] < 1e-5
    assert convert(capsys, there, "-o", back)["difference"] < 1e-5


@pytest.mark.parametrize("suffix", [".onnx", ".mindir"])
def test_large_models_get_files_for_their_tensors(suffix, capsys, tmp_path, monkeypatch):
    network = nn.SequentialCell(nn.Dense(64, 64), nn.ReLU(), nn.Dense(64, 64))
    network.set_inputs(ow.TensorType("float32", (ow.symbol("rows"), 64)))
    source = ow.export(network, file_name=tmp_path / "source", file_format="ONNX")
    for module in ("onnx", "mindir"):
        monkeypatch.setattr(f"opweave.formats.{module}.write._INLINE_BYTES", 1000)
    out = tmp_path / "out" / f"large{suffix}"
    out.parent.mkdir()
    for _ in range(2):  # the second replaces the files of the first
        result = convert(capsys, source, "-o", out)
        assert result["verified"]
        assert len(result["files"]) == 2
        assert out.stat().st_size < 10_000 < result["bytes"]
        assert sorted(result["files"]) == sorted(
            map(str, filter(Path.is_file, out.parent.rglob("*")))
        )
    if suffix == ".onnx":
        onnx.checker.check_model(str(out))
    x = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    np.testing.assert_array_equal(ow.Model(out).predict(x), ow.Model(source).predict(x))


def test_shapes_are_fixed(capsys, model_file, tmp_path):
    out = tmp_path / "fixed.mindir"
    assert convert(capsys, model_file, "-o", out, "--shape", "x=5,4")["verified"]
    assert ow.load(out).inputs[0].shape == (5, 4)
    assert not convert(capsys, model_file, "-o", out, "--no-verify")["verified"]
    assert convert(capsys, out, "-o", tmp_path / "again.onnx")["verified"]


def test_an_opset_is_onnxs(capsys, model_file, tmp_path):
    out = tmp_path / "out.mindir"
    words = ["convert", str(model_file), "-o", str(out), "--opset", "21"]
    assert opweave_command(*words) == Exit.USAGE
    assert "opset" in capsys.readouterr().err
