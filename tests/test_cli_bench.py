"""``opweave bench`` and what it measures with."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from opweave.cli.comparison import Measured, ratio_of, relative_difference, take_turns
from opweave.cli.exits import Exit
from opweave.cli.foreign_load import ForeignLoad
from opweave.cli.operator_cases import CASES, KINDS, case_of
from opweave.cli.timing import statistics
from opweave.ir import UnsupportedError, check

from .command_line import json_of, opweave_command

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)


def test_bench(capsys, model_file, tmp_path):
    report = tmp_path / "report.json"
    arguments = ["-n", "20", "--warmup", "1", "--dim", "rows=8", "--json", report]
    assert opweave_command("bench", model_file, *arguments) == 0
    shown = capsys.readouterr().out
    wanted = "Count,Duration,Latency median,Latency avg,Latency min,Latency max,Latency p90"
    wanted += ",Latency p95,Latency p99,Throughput,Share of the roofline,Peak memory"
    wanted += ",Load time,Compile time,First inference"
    places = [shown.index(word) for word in wanted.split(",")]
    assert places == sorted(places)
    found = json.loads(report.read_text())
    assert found["schema"] == "opweave.bench/2"
    assert found["inputs"] == [{"name": "x", "dtype": "float32", "shape": [8, 4]}]
    (measured,) = found["measurements"]
    assert list(measured["engines"]) == ["opweave"]
    assert measured["ratio_to_faster"] is None
    ours = measured["engines"]["opweave"]
    assert ours["count"] == 20
    latency = ours["latency_ms"]
    assert 0 < latency["min"] <= latency["median"] <= latency["p90"] <= latency["max"]
    assert 0 < ours["roofline_share"] < 1
    assert measured["peaks"]["threads"] == measured["threads"]


def test_bench_by_duration(capsys, model_file):
    found = json_of(capsys, "bench", model_file, "-t", "0.05", "-q")
    ours = found["measurements"][0]["engines"]["opweave"]
    assert 0.04 < ours["duration_s"] < 5
    assert ours["count"] >= 5


def test_bench_against_onnxruntime(capsys, model_file):
    arguments = ["--against", "onnxruntime", "-t", "0.3", "--threads", 1, "--dim", "rows=64"]
    arguments += ["--fail-below", 1e9]
    found = json_of(capsys, "bench", model_file, *arguments, status=Exit.NEGATIVE)
    (measured,) = found["measurements"]
    ours, peer = measured["engines"]["opweave"], measured["engines"]["onnxruntime"]
    assert measured["threads"] == ours["threads"] == peer["threads"] == 1
    assert measured["faster_peer"] == "onnxruntime"
    assert measured["ratio_to_faster"] == peer["ratio"]["median"]
    assert peer["difference"] < 1e-5
    assert peer["way"] in ("run", "io_binding")
    assert 0 < peer["ratio"]["quartile_low"] <= peer["ratio"]["median"]
    assert peer["ratio"]["turns"] >= 4


@needs_openvino
def test_bench_against_two_engines_on_several_threads(capsys, model_file, tmp_path):
    report = tmp_path / "report.json"
    arguments = ["--against", "onnxruntime,openvino", "-n", "5", "--threads", "1,2"]
    arguments += ["--dim", "rows=64", "--json", report]
    assert opweave_command("bench", model_file, *arguments) == 0
    found = json.loads(report.read_text())
    assert [measured["threads"] for measured in found["measurements"]] == [1, 2]
    for measured in found["measurements"]:
        assert list(measured["engines"]) == ["opweave", "onnxruntime", "openvino"]
        for name in ("onnxruntime", "openvino"):
            assert measured["engines"][name]["difference"] < 1e-5
            assert measured["engines"][name]["peak_memory_bytes"] > 1 << 20
        assert measured["faster_peer"] in ("onnxruntime", "openvino")
    shown = capsys.readouterr().out
    assert "2 threads" in shown
    assert "the faster peer" in shown


def test_bench_on_several_threads_alone(capsys, model_file):
    found = json_of(capsys, "bench", model_file, "-n", "3", "--threads", "2,1")
    assert [measured["threads"] for measured in found["measurements"]] == [2, 1]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--against", "tensorrt"], "none of onnxruntime, openvino"),
        (["--threads", "0"], "not like 1,2"),
        (["--threads", "two"], "not like 1,2"),
        (["--fail-below", "1"], "needs --against"),
    ],
)
def test_wrong_options(capsys, model_file, arguments, word):
    assert opweave_command("bench", model_file, *arguments) == Exit.USAGE
    assert word in capsys.readouterr().err


def test_a_peer_that_is_not_installed(capsys, model_file, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "openvino" else find(name)
    )
    arguments = ["--against", "onnxruntime,openvino"]
    assert opweave_command("bench", model_file, *arguments) == Exit.UNSUPPORTED
    assert "pip install openvino, or pip install 'opweave[bench]'" in capsys.readouterr().err


def test_a_failure_of_the_other_engine(capsys, model_file, tmp_path, monkeypatch):
    monkeypatch.setattr("opweave.cli.measurement._onnx_file", lambda *_: tmp_path / "absent.onnx")
    arguments = ["--against", "onnxruntime", "-t", "0.1"]
    assert opweave_command("bench", model_file, *arguments) == Exit.UNSUPPORTED
    assert "onnxruntime: NoSuchFile" in capsys.readouterr().err


@needs_openvino
def test_the_benchmark_of_networks(model_file, tmp_path):
    script = Path(__file__).parent / "benchmarks" / "networks.py"
    results = tmp_path / "results.jsonl"
    words = [sys.executable, str(script), str(model_file), "absent", "-t", "0.1", "--threads", "1"]
    words += ["--results", str(results)]
    run = subprocess.run(words, capture_output=True, text=True)
    assert run.returncode == Exit.USAGE
    assert "no built-in network" in run.stderr
    assert "small.onnx" in run.stdout
    assert "geometric mean of 1 ratios" in run.stdout
    first = results.read_text()
    again = subprocess.run([*words, "--time-limit", "1e-9"], capture_output=True, text=True)
    assert again.returncode == 0
    assert again.stdout == run.stdout
    assert results.read_text() == first


# --- profile -------------------------------------------------------------------------------


def test_profile(capsys, model_file, tmp_path):
    report = tmp_path / "report.json"
    arguments = ["-t", "0.01", "--threads", 1, "--dim", "rows=64", "--json", report]
    assert opweave_command("profile", model_file, *arguments) == 0
    shown = capsys.readouterr().out
    assert "GFLOP/s" in shown
    assert "Of limit" in shown
    assert "ms a run" in shown
    found = json.loads(report.read_text())
    assert found["schema"] == "opweave.profile/1"
    assert found["threads"] == 1
    assert found["runs"] >= 5
    (item,) = found["operators"]
    assert item["work"]["flops"] >= 2 * 64 * 4 * 3
    assert item["origin"]
    assert set(found["kernels"]) == {item["kernel"]}
    assert found["peaks"]["flops_per_second"] > 1e8


def test_profile_in_order(capsys):
    arguments = ["lenet", "-t", "0.01", "--threads", 1, "-q"]
    assert opweave_command("profile", *arguments, "--in-order") == 0
    lines = capsys.readouterr().out.splitlines()
    layers = [line for line in lines if "convolution" in line and "float32[1, " in line]
    assert "28, 28" in layers[0]
    assert "10, 10" in layers[1]
    assert opweave_command("profile", *arguments, "--top", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.index("") == 3  # the title, and two operators


# --- bench-ops -----------------------------------------------------------------------------


def test_bench_ops(capsys):
    arguments = ["--op", "softmax", "--shape", "16x32", "--shape", "3,5", "-t", "0.01", "-q"]
    found = json_of(capsys, "bench-ops", *arguments, "--threads", 1)
    assert found["schema"] == "opweave.bench-ops/1"
    assert [case["sizes"] for case in found["cases"]] == [[16, 32], [3, 5]]
    for case in found["cases"]:
        assert case["threads"] == 1
        assert case["kernel"] == "softmax"
        assert 0 < case["kernel_s"] <= case["call_s"]
        assert case["limit_share"] > 0


def test_bench_ops_against_onnxruntime(capsys):
    arguments = ["--op", "matmul", "--shape", "4x8x16", "--shape", "1x8x8", "-t", "0.01"]
    arguments += ["--against", "onnxruntime", "--threads", 1]
    found = json_of(capsys, "bench-ops", *arguments)
    for case in found["cases"]:
        peer = case["against"]
        assert peer["engine"] == "onnxruntime"
        assert peer["difference"] < 1e-5
        assert peer["ratio"]["median"] > 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--op", "fft"], "none of matmul, batched_matmul"),
        (["--shape", "3x4"], "needs one --op"),
        (["--op", "softmax", "--shape", "3"], "the sizes of softmax are ROWSxCOLUMNS"),
        (["--op", "conv", "--shape", "3x8x4x3x1x1"], "MAPSx[KERNEL=3]x[STRIDE=1]"),
        (["--op", "softmax", "--shape", "0x4"], "the sizes of softmax"),
    ],
)
def test_impossible_operators(capsys, arguments, word):
    assert opweave_command("bench-ops", *arguments) == Exit.USAGE
    assert word in capsys.readouterr().err


def test_usual_operators_are_valid_graphs():
    assert {case.kind for case in CASES} == set(KINDS)
    for case in CASES:
        graph = case.graph()
        check(graph)
        assert len(graph.operators()) == 1
        assert all(type_.is_static for node in graph.nodes() for type_ in node.types)
        assert case_of(case.kind, "x".join(map(str, case.values))).values == case.values


# --- measuring -----------------------------------------------------------------------------


def test_turns_rotate(monkeypatch):
    class Engine:
        def __init__(self, name):
            self.name = name

        def ask(self, request):
            order.append(self.name)
            return {"latencies": [1.0], "peak_memory": 1}

    order: list[str] = []
    monkeypatch.setattr("opweave.cli.comparison.PAUSE_SECONDS", 0.0)
    engines = [Engine(name) for name in "abc"]
    take_turns(engines, [Measured({}) for _ in engines], 0.0)
    assert "".join(order) == "abcbcacababc"


def test_the_load_of_others():
    load = ForeignLoad()
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        pass
    alone = load.cores()
    if alone is None:
        pytest.skip("the system does not say what its processors do")
    assert 0 <= alone <= (os.cpu_count() or 1) + 0.5
    assert ForeignLoad([2**30]).cores() is None  # there is no such process


def test_check_installed():
    from opweave.cli.peers import check_installed

    check_installed([])
    with pytest.raises(UnsupportedError) as caught:
        check_installed(["no_such_engine"])
    assert list(caught.value.items) == ["no_such_engine"]


def test_ratio_is_the_median_of_the_turns():
    ours, peer = Measured({}), Measured({})
    ours.turns = [[1.0, 1.0, 9.0], [2.0], [1.0]]
    peer.turns = [[2.0], [2.0], [9.0]]
    assert ratio_of(ours, peer)["median"] == 2.0


def test_relative_difference():
    one = np.array([1.0, 2.0])
    assert relative_difference(one + 0.5, one) == 0.25
    assert relative_difference(one, np.array([1.0, np.nan])) == np.inf
    assert relative_difference(np.array([1.0, np.nan]), np.array([1.0, np.nan])) == 0
    assert relative_difference(np.array([1.0, np.inf]), one) == np.inf
    assert relative_difference(one[:1], one) == np.inf


def test_statistics():
    found = statistics([0.001 * n for n in range(1, 102)])
    assert found["median"] == pytest.approx(51)
    assert found["p90"] == pytest.approx(91)
    assert (found["min"], found["max"]) == pytest.approx((1, 101))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(model_file, number, status):
    words = [sys.executable, "-m", "opweave", "bench", str(model_file), "-t", "60"]
    process = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background may have it ignored, which is inherited.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    assert process.stderr is not None
    while "measuring" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(0.1)
    start = time.monotonic()
    os.kill(process.pid, number)
    process.communicate()
    assert process.returncode == status
    assert time.monotonic() - start < 2
