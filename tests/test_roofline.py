"""The roofline, and the peaks that it is drawn from."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

import opweave as ow
from opweave.compiler import roofline
from opweave.compiler.cache import Cache
from opweave.compiler.roofline import MachinePeaks, Work, least_seconds, work_of
from opweave.ops.elementwise_activation import relu
from opweave.ops.matmul import matmul
from opweave.targets.cpu import machine_peaks
from opweave.targets.cpu.object_code import host_cpu

PEAKS = MachinePeaks(2, 256, 1e9, 8e9, 4e9, 2e9, 1e9, 1 << 10, 1 << 14, 1 << 20)


def test_bandwidth_is_that_of_the_smallest_level_that_holds_the_data():
    sizes = (1, 2 << 10, (2 << 10) + 1, 2 << 14, 1 << 20, (1 << 20) + 1)
    assert [PEAKS.bandwidth(size) for size in sizes] == [8e9, 8e9, 4e9, 4e9, 2e9, 1e9]


def test_the_least_time_is_that_of_what_takes_longer():
    assert Work(10**9, 0, 0).least_seconds(PEAKS, 0) == 1.0
    assert Work(10**9, 1000, 1000).least_seconds(PEAKS, 1000) == 1.0
    # Weights come from where all of them fit, whatever their own size.
    assert Work(0, 1000, 0).least_seconds(PEAKS, 1000) == pytest.approx(1000 / 8e9)
    assert Work(0, 1000, 0).least_seconds(PEAKS, 1 << 30) == pytest.approx(1000 / 1e9)


def test_work_of_a_graph():
    graph = ow.Graph("small")
    x = graph.input("x", ow.TensorType("float32", (ow.symbol("rows"), 4)))
    w = graph.param(np.zeros((4, 3), np.float32), "w")
    y = graph.add(matmul, x, w)
    graph.output(graph.add(relu, y), "y")
    product, rectified = graph.operators()
    found = work_of(graph, product, {"rows": 5})
    assert found == Work(2 * 5 * 4 * 3, 48, 4 * 5 * (4 + 3))
    assert work_of(graph, rectified, {"rows": 5}) == Work(15, 0, 2 * 4 * 15)
    assert work_of(graph, product, {}) is None
    total = least_seconds(graph, PEAKS, {"rows": 5})
    assert total == pytest.approx(120 / 1e9 + max(15 / 1e9, 120 / 8e9))
    assert roofline.parameter_bytes(graph) == 48


def test_picking_rows_does_not_read_the_table():
    graph = ow.Graph("lookup")
    table = graph.param(np.zeros((1000, 8), np.float32), "table")
    ids = graph.input("ids", ow.TensorType("int32", (3,)))
    from opweave.ops.gather import gather

    graph.output(graph.add(gather, table, ids), "rows")
    (node,) = graph.operators()
    found = work_of(graph, node, {})
    assert found is not None
    assert found.nbytes == 3 * 4 + 2 * 3 * 8 * 4


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_peaks_are_plausible(bits):
    cpu = host_cpu(bits)
    peaks = machine_peaks.measure(1, cpu)
    assert peaks.vector_bits == min(bits, host_cpu().vector_bits)
    assert 1e8 < peaks.flops_per_second < 1e13
    rates = [peaks.l1_bytes_per_second, peaks.memory_bytes_per_second]
    assert all(1e8 < rate < 1e14 for rate in rates)
    assert 0 < peaks.l1_bytes <= peaks.l2_bytes <= peaks.l3_bytes


def test_peaks_are_measured_once(tmp_path, monkeypatch):
    calls = []

    def measure(threads, cpu):
        calls.append(threads)
        return replace(PEAKS, threads=threads)

    monkeypatch.setattr(machine_peaks, "default_cache", lambda: Cache(tmp_path))
    monkeypatch.setattr(machine_peaks, "measure", measure)
    for _ in range(2):
        machine_peaks._known.cache_clear()  # as in another process
        assert machine_peaks.machine_peaks(2) == PEAKS
        assert machine_peaks.machine_peaks(1).threads == 1
    machine_peaks._known.cache_clear()
    assert calls == [2, 1]
    assert MachinePeaks(**json.loads(json.dumps(asdict(PEAKS)))) == PEAKS


@pytest.mark.parametrize(
    ("text", "number"), [("48K", 49152), ("32768K", 33554432), ("2M", 2 << 20), ("512", 512)]
)
def test_sizes_of_caches(text, number):
    assert machine_peaks._bytes(text) == number
