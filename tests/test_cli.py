"""The command line, used as a user does; most verbs run inside this process to save time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import opweave
from opweave.cli.command import VERBS
from opweave.cli.exits import Exit, Terminated, status_of
from opweave.cli.options import parsed_dims, parsed_shapes
from opweave.ir.text import parse_graph
from opweave.ops.registry import operators

from .command_line import json_of, opweave_command


def save(path: Path, graph: onnx.GraphProto, domains: tuple[str, ...] = ()) -> None:
    """Write a model of opset 17."""
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 1) for name in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


def expected(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.maximum(x @ weight, 0)


# --- the command ---------------------------------------------------------------------------


def test_help_lists_the_verbs_without_importing_them():
    code = (
        "import sys; from opweave.cli import main; sys.argv[1:] = ['--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'numpy', 'numba', 'onnx', 'rich', 'networkx'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert all(verb in run.stdout for verb in VERBS)


def test_every_verb_has_json_and_help(capsys):
    for verb in VERBS:
        assert opweave_command(verb, "--help") == 0
        assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rum"], ["no verb 'rum'", "is it run"]),
        (["run"], ["MODEL"]),
        (["bench", "x.onnx", "--iterationz", "3"], ["--iterations"]),
        (["run", "resnet5"], ["no file 'resnet5'", "no built-in network", "resnet50"]),
        (["inspect", "absent/model.onnx"], ["no file 'absent/model.onnx'"]),
        (["bench", "x.onnx", "--fail-below", "1"], ["--against"]),
    ],
)
def test_wrong_usage(capsys, arguments, words):
    assert opweave_command(*arguments) == Exit.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(word in captured.err for word in words), captured.err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (opweave.ModelNotFoundError("x"), 2),
        (opweave.ModelError("x"), 3),
        (opweave.FormatError("x"), 3),
        (opweave.UnsupportedError("x"), 4),
        (opweave.NoKernelError("x"), 4),
        (opweave.LimitError("x"), 5),
        (MemoryError(), 5),
        (OSError(28, "No space left on device", "out.npz"), 6),
        (opweave.DeviceError("x"), 7),
        (ZeroDivisionError("x"), 70),
        (opweave.Error("x"), 70),
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
    ],
)
def test_exit_status(error, status):
    assert status_of(error)[0] == status


def test_a_bug_says_how_to_report_it(capsys, monkeypatch):
    monkeypatch.setattr("opweave.cli.subject.model_of", lambda name: 1 / 0)
    assert opweave_command("inspect", "x.onnx") == Exit.BUG
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "bug in opweave" in error


@pytest.mark.skipif(sys.platform != "linux", reason="streams are closed by a shell")
@pytest.mark.parametrize("closed", [">&-", ">&- <&-", "> /dev/full"])
def test_output_that_cannot_be_written_is_told_once(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m opweave --version {closed}', sys.executable],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    assert done.returncode == Exit.FILES
    assert done.stderr.startswith("opweave: standard output cannot be written: ")
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_is_quiet():
    script = f"{sys.executable} -m opweave ops --table | head -1"
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert run.stdout.startswith("Operator")
    assert run.stderr == ""


# --- options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("x:1x3x224x224", {"x": (1, 3, 224, 224)}),
        ("x:1,3,224,224", {"x": (1, 3, 224, 224)}),
        ("x[1,3,224,224]", {"x": (1, 3, 224, 224)}),
        ("x:[1,3]", {"x": (1, 3)}),
        ("x=1x3", {"x": (1, 3)}),
        ("x:1,3;y:2", {"x": (1, 3), "y": (2,)}),
        ("x:1x3,y:2x4", {"x": (1, 3), "y": (2, 4)}),
        ("x[1,3],y[2,4]", {"x": (1, 3), "y": (2, 4)}),
        ("x:1x3 y:2", {"x": (1, 3), "y": (2,)}),
        ("input:0:1x3", {"input:0": (1, 3)}),
        ("x[]", {"x": ()}),
    ],
)
def test_shapes(text, shapes):
    assert parsed_shapes([text], ["x", "y"]) == shapes


def test_a_shape_without_a_name_is_that_of_the_only_input():
    assert parsed_shapes(["8x4"], ["x"]) == {"x": (8, 4)}
    with pytest.raises(Exception, match="is not like"):
        parsed_shapes(["8x4"], ["x", "y"])


def test_dims():
    assert parsed_dims(["batch=8,length=4", "n=1"]) == {"batch": 8, "length": 4, "n": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shape", "x:5x4"],
        ["--shapes=x:5x4"],
        ["-shape", "x[5,4]"],
        ["--inputShape=x:5,4"],
        ["--dim", "rows=5"],
        ["--target", "CPU", "--shape", "5x4"],
        ["-d", "CPU", "--shape", "5x4"],
        ["--device=cpu", "--shape", "5x4", "--numThreads=1"],
    ],
)
def test_spellings_of_other_tools(capsys, model_file, arguments):
    found = json_of(capsys, "run", "-m", model_file, *arguments)
    assert found["inputs"]["x"]["shape"] == [5, 4]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--shape", "x:5x5"], "cannot have the shape"),
        (["--shape", "z:5x4"], "the inputs are: x"),
        (["--dim", "columns=3"], "there are: rows"),
        (["--dim", "rows"], "batch=8"),
        (["--shape", "5x4", "--dim", "rows=6"], "different sizes"),
        (["--range", "x"], "--range"),
    ],
)
def test_impossible_shapes(capsys, model_file, arguments, word):
    assert opweave_command("run", model_file, *arguments) == Exit.USAGE
    assert word in capsys.readouterr().err


# --- run -----------------------------------------------------------------------------------


def test_run_with_inputs_and_outputs_in_files(capsys, model_file, small_weight, tmp_path):
    x = np.random.default_rng(1).standard_normal((7, 4)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    arguments = ["--inputs", tmp_path / "in.npz", "--save-outputs", tmp_path / "out.npz"]
    assert opweave_command("run", model_file, *arguments) == 0
    shown = capsys.readouterr().out
    assert "float32" in shown
    assert "7x3" in shown
    with np.load(tmp_path / "out.npz") as outputs:
        np.testing.assert_allclose(outputs["y"], expected(x, small_weight), rtol=1e-5, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz", "out.npz"]


def test_run_with_one_array(model_file, small_weight, tmp_path):
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    for text in (f"x={tmp_path / 'x.npy'}", f"x:{tmp_path / 'x.npy'}", tmp_path / "x.npy"):
        out = tmp_path / "out.npy"
        assert opweave_command("run", model_file, "-i", text, "-o", out, "-q") == 0
        np.testing.assert_allclose(np.load(out), expected(x, small_weight), rtol=1e-5, atol=1e-6)


def test_random_inputs_come_from_the_seed(capsys, model_file):
    first, again, other = (json_of(capsys, "run", model_file, "--seed", seed) for seed in (3, 3, 4))
    assert first["schema"] == "opweave.run/1"
    assert first == again
    assert first["inputs"] != other["inputs"]
    wide = json_of(capsys, "run", model_file, "--range", "x:-8..-7")["inputs"]["x"]
    assert -8 <= wide["min"] <= wide["max"] <= -7


def test_json_takes_a_file_only_if_it_looks_like_one(capsys, model_file, tmp_path):
    assert opweave_command("run", "--json", model_file) == 0
    assert json.loads(capsys.readouterr().out)["model"] == str(model_file)
    assert opweave_command("run", "--json", tmp_path / "run.json", model_file) == 0
    assert "float32" in capsys.readouterr().out
    assert json.loads((tmp_path / "run.json").read_text())["schema"] == "opweave.run/1"


def test_wrong_inputs(capsys, model_file, tmp_path):
    np.savez(tmp_path / "double.npz", x=np.zeros((2, 4)))
    np.savez(tmp_path / "columns.npz", x=np.zeros((2, 5), np.float32))
    np.savez(tmp_path / "name.npz", z=np.zeros((2, 4), np.float32))
    np.savez(tmp_path / "objects.npz", x=np.array([None]))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no archive")
    for name, word in [
        ("double", "float64"),
        ("columns", "(2, 5)"),
        ("name", "the inputs are: x"),
        ("objects", "cannot be read"),
        ("broken", "cannot be read"),
    ]:
        path = tmp_path / f"{name}.npz"
        assert opweave_command("run", model_file, "--inputs", path) == Exit.USAGE, name
        assert word in capsys.readouterr().err.replace("[2, 5]", "(2, 5)"), name
    assert opweave_command("run", model_file, "--inputs", tmp_path / "absent.npz") == Exit.FILES


def test_a_folder_that_is_not_there_is_found_before_compiling(capsys, model_file, tmp_path):
    out = tmp_path / "absent" / "out.npz"
    assert opweave_command("run", model_file, "--save-outputs", out) == Exit.FILES
    assert str(out.parent) in capsys.readouterr().err


# --- built-in networks -----------------------------------------------------------------------


def test_a_network_by_name(capsys):
    found = json_of(capsys, "run", "lenet", "-q")
    assert found["inputs"]["x"]["shape"] == [1, 1, 32, 32]
    again = json_of(capsys, "run", "lenet", "-q")
    assert found == again


@pytest.mark.parametrize(
    ("arguments", "shapes"),
    [
        (["lenet", "--shape", "x:3x1x32x32"], [[3, 1, 32, 32]]),
        (["lenet", "--dim", "batch=5"], [[5, 1, 32, 32]]),
        (["tinybert", "--dim", "length=16"], [[1, 16]] * 3),
    ],
)
def test_a_network_with_other_shapes(capsys, arguments, shapes):
    found = json_of(capsys, "inspect", *arguments)
    assert [fact["shape"] for fact in found["inputs"]] == shapes


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--dim", "length=5"], "length"),
        (["--dim", "rows=5"], "batch and length"),
        (["--shape", "z:1x1x32x32"], "the inputs are: x"),
        (["--shape", "x:1x32x32"], ""),
    ],
)
def test_a_network_with_impossible_shapes(capsys, arguments, word):
    assert opweave_command("inspect", "lenet", *arguments) == Exit.USAGE
    assert word in capsys.readouterr().err


def test_parameters_of_a_network(capsys):
    found = json_of(capsys, "inspect", "resnet50")
    assert found["format"] == "network"
    # 25.6 million for 1001 classes, and two moving statistics for each normalised channel.
    assert 25_550_000 < found["parameters"]["elements"] < 25_650_000
    assert found["operators"]["convolution"] == 53
    assert 8.1e9 < found["flops"] < 8.5e9


# --- inspect, check, convert, ops ------------------------------------------------------------


def test_inspect(capsys, model_file):
    found = json_of(capsys, "inspect", model_file)
    assert found["schema"] == "opweave.inspect/1"
    assert found["versions"] == {"IR": 9, "ai.onnx": 17}
    assert found["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["rows", 4]}]
    assert found["parameters"] == {"tensors": 1, "elements": 12, "bytes": 48}
    assert found["operators"] == {"matmul": 1, "relu": 1}
    assert found["flops"] is None
    assert "rows" in found["flops_formula"]
    assert found["digest"].startswith("sha256:")
    fixed = json_of(capsys, "inspect", model_file, "--dim", "rows=2")
    assert fixed["flops"] == 2 * 2 * 4 * 3 + 2 * 3


def test_inspect_prints_the_graph(capsys, model_file):
    text = json_of(capsys, "inspect", model_file, "--graph")["graph"]
    graph = parse_graph(text, operators())
    assert [node.op.name for node in graph.operators()] == ["matmul", "relu"]
    assert opweave_command("inspect", model_file, "--graph") == 0
    assert text.strip() in capsys.readouterr().out


def test_check(capsys, model_file, tmp_path):
    assert json_of(capsys, "check", model_file)["verdict"] == "ok"
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model_file.read_bytes()[:-9])
    assert json_of(capsys, "check", broken, status=Exit.MODEL)["verdict"] == "invalid"
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], name="first", domain="some.domain"),
        helper.make_node("Relu", ["x"], ["b"]),
        helper.make_node("Bar", ["b"], ["c"], name="second", domain="some.domain"),
    ]
    names = [value(name, TensorProto.FLOAT, [2]) for name in "xac"]
    foreign = tmp_path / "foreign.onnx"
    save(foreign, helper.make_graph(nodes, "g", names[:1], names[1:]), ("some.domain",))
    found = json_of(capsys, "check", foreign, status=Exit.UNSUPPORTED)
    assert found["verdict"] == "unsupported"
    assert len(found["problems"]) == 2
    assert "Foo" in found["problems"][0]
    assert "second" in found["problems"][1]
    assert opweave_command("check", foreign) == Exit.UNSUPPORTED
    assert capsys.readouterr().out.count("  - ") == 2


def test_convert(capsys, model_file, tmp_path):
    out = tmp_path / "out.onnx"
    found = json_of(capsys, "convert", model_file, "-o", out, "--opset", 22)
    assert found["verified"]
    assert found["difference"] < 1e-5
    onnx.checker.check_model(str(out))
    assert onnx.load(out).opset_import[0].version == 22
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]


def test_convert_writes_nothing_that_differs(capsys, model_file, tmp_path, monkeypatch):
    monkeypatch.setattr("opweave.cli.comparison.relative_difference", lambda *_: 1.0)
    arguments = ["convert", model_file, "-o", tmp_path / "out.onnx"]
    assert opweave_command(*arguments) == Exit.NEGATIVE
    assert "DIFFERS" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert opweave_command(*arguments, "--no-verify") == 0
    assert (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("arguments", [["-o", "out.xyz"], ["-o", "out.onnx", "--to", "xyz"]])
def test_convert_to_an_unknown_format(capsys, model_file, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert opweave_command("convert", model_file, *arguments) == Exit.USAGE
    assert "ONNX" in capsys.readouterr().err


def test_ops(capsys):
    found = json_of(capsys, "ops", "relu")
    relu = next(row for row in found["operators"] if row["name"] == "relu")
    assert relu["writes"] == ["ONNX", "MINDIR"]
    assert "float32" in relu["kernel_types"]
    assert {"domain": "ai.onnx", "name": "Relu", "since": [6, 13, 14]} in found["onnx"]["reads"]
    assert {"ReLU", "LeakyReLUExt"} <= set(found["mindir"]["reads"])
    assert opweave_command("ops", "--table", "relu") == 0
    assert "leaky_relu" in capsys.readouterr().out
