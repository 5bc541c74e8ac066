"""Choices among kernels: by estimates, as was measured, and what may go wrong with records."""

from __future__ import annotations

import json
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import opweave as ow
from opweave.cli.command import command
from opweave.compiler.cache import Cache, CacheWarning
from opweave.compiler.driver import compile_graph
from opweave.compiler.options import CompileOptions
from opweave.ir import Array, Graph, ModelError, TensorType
from opweave.ops.convolution import convolution
from opweave.ops.elementwise_activation import relu
from opweave.ops.matmul import matmul
from opweave.targets.cpu import choices as choices_module
from opweave.targets.cpu.choices import Choices, records_for
from opweave.targets.cpu.object_code import host_cpu
from opweave.targets.cpu.target import TARGET, passes_for
from opweave.targets.cpu.tuning import tune as tune_module
from opweave.targets.cpu.tuning.choose import Candidate, choose, fragment_of
from opweave.targets.cpu.tuning.measure import Measured, measure, worth_measuring
from opweave.targets.cpu.tuning.records import Collected, Question, Records
from opweave.targets.cpu.tuning.whole import Whole

_OPTIONS = CompileOptions(threads=1)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """A cache for records alone, in a folder of its own."""
    found = Cache(tmp_path / "records")
    monkeypatch.setattr(choices_module, "default_cache", lambda: found)
    monkeypatch.delenv("OPWEAVE_TUNE", raising=False)
    return found


def _image(taps: int, extent: int | ow.Dim = 12) -> Graph:
    random = np.random.default_rng(taps)
    graph = Graph()
    x = graph.input("x", TensorType("float32", (1, 32, extent, 14)))
    w = graph.param(random.standard_normal((48, 32, taps, taps), np.float32) / (6 * taps), "w")
    pads = (taps // 2, taps // 2)
    y = graph.add(convolution, x, w, pads_begin=pads, pads_end=pads)
    graph.output(graph.add(relu, y), "y")
    return graph


def _product(rows: int) -> Graph:
    random = np.random.default_rng(rows)
    graph = Graph()
    x = graph.input("x", TensorType("float32", (rows, 256)))
    w = graph.param(random.standard_normal((256, 128), np.float32) / 16, "w")
    graph.output(graph.add(matmul, x, w), "y")
    return graph


def _questions(graph: Graph, exact: bool = False) -> list[Question]:
    collected = Collected()
    options = replace(_OPTIONS, accuracy="exact" if exact else "default", tuned=False)
    chosen = replace(Choices.of(options), tuning=collected)
    compile_graph(graph, replace(TARGET, passes=lambda _: passes_for(chosen)), threads=1)
    return collected.questions


def _forced(graph: Graph, text: str, name: str) -> ow.Session:
    chosen = replace(
        Choices.of(replace(_OPTIONS, tuned=False)), tuning=Collected({text: name})
    )  # fmt: skip
    return compile_graph(graph, replace(TARGET, passes=lambda _: passes_for(chosen)), threads=1)


def _expected(graph: Graph, x: Array) -> Array:
    from opweave.ir.evaluate import evaluate

    return evaluate(graph, [x])[0]


def _notes(session: ow.Session) -> str:
    inner = [
        member
        for node in session.graph.operators()
        for member in (node, *_members(node.attrs.get("group")))
    ]
    return "; ".join(node.note for node in inner)


def _members(group: object) -> list[ow.Node]:
    return group.operators() if isinstance(group, Graph) else []


def test_the_least_estimate_is_taken_unless_a_record_names_another() -> None:
    graph = _product(4)
    (node,) = graph.operators()
    found = [Candidate(name, seconds, lambda: 0) for name, seconds in (("a", 2.0), ("b", 1.0))]
    chosen = Choices(16, False, 1)
    assert choose(graph, [node], found, chosen).name == "b"
    asked = Collected()
    choose(graph, [node], found, replace(chosen, tuning=asked))
    (question,) = asked.questions
    assert question.names == {"a": 2.0, "b": 1.0}
    assert question.estimated == "b"
    for answer, name in (("a", "a"), ("b", "b"), ("what older versions had", "b")):
        tuning = Collected({question.text: answer})
        taken = choose(graph, [node], found, replace(chosen, tuning=tuning))
        assert taken.name == name
        assert ("tuned" in taken.note) == (answer == name)


def test_open_extents_are_not_asked_about() -> None:
    assert [q.title for q in _questions(_image(3))] == ["convolution"]
    assert not _questions(_image(3, ow.symbol("height")))


def test_exact_sums_leave_one_way() -> None:
    assert not _questions(_image(3), exact=True)
    (question,) = _questions(_image(1), exact=True)
    assert "strassen" not in question.names


@pytest.mark.parametrize("name", ["direct", "winograd F(2x2) points", "winograd F(4x4) blocks"])
def test_ways_to_convolve(name: str) -> None:
    graph = _image(3)
    (question,) = _questions(graph)
    assert name in question.names
    x = np.random.default_rng(0).standard_normal((1, 32, 12, 14), np.float32)
    found, expected = _forced(graph, question.text, name)(x), _expected(graph, x)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["packed 1", "packed 3", "direct", "strassen"])
def test_ways_to_multiply(name: str) -> None:
    graph = _image(1) if name == "direct" else _product(128)
    (question,) = _questions(graph)
    if host_cpu().vector_bits != 512 and name not in question.names:
        pytest.skip("narrow vectors have other panels")
    shape = graph.type(graph.inputs[0]).static_shape
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    found, expected = _forced(graph, question.text, name)(x), _expected(graph, x)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_fragments_repeat_what_they_are_of() -> None:
    graph = _image(3)
    fragment = fragment_of(graph, graph.operators()[:1], 3)
    assert len(fragment.inputs) == len(fragment.outputs) == len(fragment.params) == 3


def test_measuring_names_a_candidate() -> None:
    (question,) = _questions(_product(4))
    chosen = Choices.of(replace(_OPTIONS, tuned=False))
    found = measure(question, chosen, _OPTIONS, 1 << 18, float("inf"))
    assert found is not None
    assert set(found.seconds) == set(worth_measuring(question))
    assert found.chosen in found.seconds
    assert all(seconds > 0 for seconds in found.seconds.values())


def _winner(question: Question, *_: object) -> Measured:
    name = "direct" if "direct" in question.names else question.estimated
    return Measured({question.estimated: 2e-3, name: 1e-3}, name)


def test_what_is_recorded_is_compiled(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_module, "measure", _winner)
    monkeypatch.setattr(Whole, "compared", lambda *_: (2e-3, 1e-3, 2.0))
    monkeypatch.setattr(Whole, "gains_inside", lambda _, before, after: dict.fromkeys(after, 2.0))
    graph = _image(3)
    before = ow.compile(graph, threads=1)
    report = ow.tune(graph, budget=5, threads=1)
    (item,) = report.operators
    assert report.kept
    assert item.before.startswith("winograd")
    assert item.after == "direct"
    after = ow.compile(graph, threads=1)
    assert "tuned: direct" in _notes(after)
    assert "tuned" not in _notes(before)
    assert after.executable.program.code != before.executable.program.code  # type: ignore[attr-defined]
    assert "tuned" not in _notes(ow.compile(graph, threads=1, tuned=False))
    assert "tuned" not in _notes(ow.compile(graph, threads=2))  # measured for one
    monkeypatch.setenv("OPWEAVE_TUNE", "off")
    assert "tuned" not in _notes(ow.compile(graph, threads=1))
    monkeypatch.delenv("OPWEAVE_TUNE")
    assert ow.tune(graph, budget=5, threads=1).operators[0].recorded
    assert not ow.tune(graph, budget=5, threads=1, again=True).operators[0].recorded


def test_nothing_is_recorded_that_makes_a_model_slower(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune_module, "measure", _winner)
    monkeypatch.setattr(Whole, "compared", lambda *_: (1e-3, 2e-3, 0.5))
    monkeypatch.setattr(Whole, "gains_inside", lambda _, before, after: dict.fromkeys(after, 2.0))
    assert not ow.tune(_image(3), budget=5, threads=1).kept
    assert "tuned" not in _notes(ow.compile(_image(3), threads=1))


def test_what_gains_nothing_within_the_model_is_not_taken(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune_module, "measure", _winner)
    monkeypatch.setattr(
        Whole, "gains_inside", lambda _, before, after: dict.fromkeys(after, 0.9)
    )  # fmt: skip
    (item,) = ow.tune(_image(3), budget=5, threads=1).operators
    assert item.after == item.before


def test_operators_are_timed_within_the_model() -> None:
    graph = _image(3)
    (question,) = _questions(graph)
    whole = Whole(graph, _OPTIONS, {})
    gains = whole.gains_inside({}, {question.text: "direct"})
    assert gains.keys() == {question.text}
    before, after, gain = whole.compared({}, {question.text: "direct"}, 0.0)
    assert min(before, after, gain, *gains.values()) > 0


def test_tuning_for_real(cache: Cache) -> None:
    report = ow.tune(_product(4), budget=20, threads=1)
    (item,) = report.operators
    assert item.before in item.seconds
    assert report.left == 0
    with pytest.raises(ModelError, match="needs some time"):
        ow.tune(_product(4), budget=0)


def test_the_verb(cache: Cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tune_module, "measure", _winner)
    path = ow.export(_product(4), file_name=tmp_path / "product")
    arguments = ["tune", str(path), "--threads", "1", "--budget", "3", "-q"]
    shown = CliRunner().invoke(command, arguments)
    assert shown.exit_code == 0
    assert "0 of 1 choices changed" in shown.stdout
    as_json = CliRunner().invoke(command, [*arguments, "--json"])
    found = json.loads(as_json.stdout)
    assert found["schema"] == "opweave.tune/1" or found["schema"].endswith("tune/1")
    assert found["operators"][0]["recorded"]


# --- records ------------------------------------------------------------------------------


def _records(cache: Cache, threads: int = 1) -> Records:
    return Records(cache, host_cpu(), threads, False)


def _files(cache: Cache) -> list[Path]:
    assert cache.folder is not None
    return [path for path in cache.folder.rglob("*") if path.is_file()]


def test_records_are_for_one_machine_and_thread_count(cache: Cache) -> None:
    _records(cache).put("a question", "an answer", {"an answer": 1.0})
    assert records_for(_OPTIONS, 1).answer("a question") == "an answer"
    assert _records(cache, 2).answer("a question") is None
    assert _records(cache).answer("another question") is None
    narrow = Records(cache, host_cpu(128), 1, False)
    assert narrow.answer("a question") is None or host_cpu().vector_bits == 128


@pytest.mark.parametrize("content", [b"", b"garbage", b"opweave-cache-1\n"])
def test_damaged_records_are_ignored(cache: Cache, content: bytes) -> None:
    _records(cache).put("q", "a", {})
    for path in _files(cache):
        path.write_bytes(content)
    records = _records(cache)
    with pytest.warns(CacheWarning, match="damaged"):
        assert records.answer("q") is None
    assert records.answer("q") is None  # without a second warning


@pytest.mark.parametrize("content", [b"\xff", b"[]", b'{"chosen": 3}', b"{}"])
def test_foreign_records_are_ignored(cache: Cache, content: bytes) -> None:
    records = _records(cache)
    cache.put(records._key("q"), content)
    with pytest.warns(CacheWarning, match="tuning record"):
        assert records.answer("q") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(cache: Cache) -> None:
    assert cache.folder is not None
    cache.folder.mkdir(mode=0o500)
    with pytest.warns(CacheWarning):
        _records(cache).put("q", "a", {})


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.warns(CacheWarning):
        _records(Cache(tmp_path / "file")).put("q", "a", {})
    _records(Cache(None)).put("q", "a", {})
    assert _records(Cache(None)).answer("q") is None


def test_many_writers(cache: Cache) -> None:
    names = [f"candidate {number}" for number in range(8)]

    def write(name: str) -> str | None:
        for _ in range(5):
            _records(cache).put("q", name, {name: 1.0})
        return _records(cache).answer("q")

    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("error")
        assert set(pool.map(write, names)) <= set(names)
    assert len(_files(cache)) == 1
