"""Measuring a model on one number of threads: alone in this process, or in turns with peers."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.options import CompileOptions
from ..compiler.roofline import MachinePeaks, Work
from ..compiler.target import target_named
from ..ir.binding import bind_symbols
from . import comparison
from .comparison import EngineProcess, Measured
from .engine import OURS, facts_of
from .foreign_load import ForeignLoad
from .options import Compilation, Sizes
from .output import Output
from .timing import peak_memory, statistics, timed_runs

if TYPE_CHECKING:
    from ..compiler.session import Session
    from ..ir import Array
    from .packaged import PackagedModel
    from .subject import Subject

DEFAULT_SECONDS = 5.0
_FEWEST_RUNS = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure each engine: ``count`` runs, or else ``seconds``."""

    seconds: float | None = None
    count: int | None = None
    warmup: int = 3

    @property
    def duration(self) -> float | None:
        """Seconds, None where runs are counted."""
        return self.seconds or (None if self.count else DEFAULT_SECONDS)


def alone(
    subject: Subject,
    feed: dict[str, Array],
    how: Compilation,
    threads: int | None,
    plan: Plan,
    output: Output,
) -> dict[str, Any]:
    """The measurement of opweave, in this process."""
    from .running import compiled

    session, compile_seconds = compiled(subject, how, threads, output)
    seconds = {"load_s": subject.load_seconds, "compile_s": compile_seconds}
    measured, others_cores = _measured(session, feed, plan, output, seconds)
    measured.facts.update(facts_of(session, feed))
    peaks = peaks_for(how, measured.facts["threads"])
    return _measurement(measured, {}, {}, peaks) | {"foreign_load": others_cores}


def packaged(
    model: PackagedModel, feed: dict[str, Array], plan: Plan, output: Output
) -> dict[str, Any]:
    """The measurement of a saved model, in this process; it has no graph, so no roofline."""
    seconds = {"load_s": model.load_seconds, "compile_s": 0.0}
    measured, others_cores = _measured(model.session, feed, plan, output, seconds)
    executable = model.session.executable
    symbols = bind_symbols([s.type for s in model.session.inputs], list(feed.values()))
    measured.facts["arena_bytes"] = executable.arena_bytes(symbols)
    measured.facts["threads"] = getattr(executable, "threads", None)
    return _measurement(measured, {}, {}, None) | {"foreign_load": others_cores}


def _measured(
    session: Session, feed: dict[str, Array], plan: Plan, output: Output, facts: dict[str, Any]
) -> tuple[Measured, float | None]:
    """What runs in this process take, and how many processors others keep busy meanwhile."""
    start = time.perf_counter()
    session.run(None, feed)
    facts |= {"first_inference_s": time.perf_counter() - start, "way": "run"}
    load = ForeignLoad()
    with output.progress("measuring"):
        for _ in range(plan.warmup):
            session.run(None, feed)
        latencies = timed_runs(
            lambda: session.run(None, feed), plan.duration, plan.count, _FEWEST_RUNS
        )
    others_cores = load.cores()
    return Measured(facts, [latencies], peak_memory()), others_cores


def in_turns(
    subject: Subject,
    feed: dict[str, Array],
    how: Compilation,
    threads: int | None,
    plan: Plan,
    output: Output,
    peers: Sequence[str],
    sizes: Sizes | None = None,
) -> dict[str, Any]:
    """The measurement of opweave and others, each in its process, all on as many threads.

    Raises EngineError where one of them cannot run the model.
    """
    from .data import save_outputs

    sizes = sizes or Sizes()
    with tempfile.TemporaryDirectory(prefix="opweave-bench-") as name:
        folder = Path(name)
        save_outputs(folder / "inputs.npz", feed)
        request = {
            "model": subject.name,
            "shapes": list(sizes.shapes),
            "dims": list(sizes.dims),
            "symbols": dict(subject.symbols),
            "compilation": asdict(how),
            "threads": threads,
            "inputs": str(folder / "inputs.npz"),
            "onnx_file": str(_onnx_file(subject, folder, output)) if peers else "",
            "warmup": plan.warmup,
        }
        shown = " and ".join((OURS, *peers))
        with (
            output.progress(f"measuring {subject.name} with {shown} in turns"),
            contextlib.ExitStack() as stack,
        ):
            ours = stack.enter_context(EngineProcess({**request, "engine": OURS}))
            others = [
                stack.enter_context(EngineProcess({**request, "engine": peer})) for peer in peers
            ]
            # All get the same number of threads: the one opweave chose.
            found = [Measured(ours.prepare())]
            found += [Measured(e.prepare(threads=found[0].facts["threads"])) for e in others]
            engines = [ours, *others]
            seconds = (plan.duration or 0.0) * len(engines)
            load = ForeignLoad([engine.process_id for engine in engines])
            comparison.take_turns(engines, found, seconds, plan.count)
            others_cores = load.cores()
            differences = {
                engine.name: comparison.difference(ours, engine, folder) for engine in others
            }
    named = dict(zip(peers, found[1:], strict=True))
    peaks = peaks_for(how, found[0].facts["threads"])
    return _measurement(found[0], named, differences, peaks) | {"foreign_load": others_cores}


def _measurement(
    ours: Measured,
    peers: dict[str, Measured],
    differences: dict[str, float],
    peaks: MachinePeaks | None,
) -> dict[str, Any]:
    """The report: figures of each engine, ratios (above 1: opweave is faster), the roofline."""
    limit = limit_seconds(ours.facts, peaks)
    engines = {OURS: _figures(ours, limit)}
    for name, measured in peers.items():
        engines[name] = {
            "version": measured.facts["version"],
            **_figures(measured, limit),
            "ratio": comparison.ratio_of(ours, measured),
            "difference": differences[name],
        }
    faster = min(peers, key=lambda name: peers[name].typical, default=None)
    return {
        "threads": ours.facts["threads"],
        "engines": engines,
        "faster_peer": faster,
        "ratio_to_faster": engines[faster]["ratio"]["median"] if faster else None,
        "limit_ms": None if limit is None else limit * 1e3,
        "peaks": None if peaks is None else asdict(peaks),
    }


def _figures(measured: Measured, limit: float | None) -> dict[str, Any]:
    facts, latencies = measured.facts, measured.latencies
    total = sum(latencies)
    return {
        "threads": facts["threads"],
        "count": len(latencies),
        "duration_s": total,
        "latency_ms": statistics(latencies),
        "throughput_per_s": len(latencies) / total,
        "roofline_share": None if limit is None else limit / measured.typical,
        "peak_memory_bytes": measured.peak_memory,
        "arena_bytes": facts.get("arena_bytes"),
        "load_s": facts["load_s"],
        "compile_s": facts["compile_s"],
        "first_inference_ms": facts["first_inference_s"] * 1e3,
        "way": facts["way"],
    }


def peaks_for(how: Compilation, threads: int | None) -> MachinePeaks | None:
    """What the machine does at best on so many threads, where the target can tell."""
    target = target_named(how.target)
    if target.peaks is None or threads is None:
        return None
    return target.peaks(CompileOptions(threads, how.accuracy, how.vector_bits))


def limit_seconds(facts: dict[str, Any], peaks: MachinePeaks | None) -> float | None:
    """The roofline's time of a run (see ``compiler/roofline.py``)."""
    if peaks is None:
        return None
    weights = facts["parameter_bytes"]
    return sum(Work(*work).least_seconds(peaks, weights) for work in facts["work"])


def _onnx_file(subject: Subject, folder: Path, output: Output) -> Path:
    """The model as an ONNX file: itself, or written for the peers."""
    if subject.format == "ONNX" and subject.path is not None:
        return subject.path.resolve()
    from ..api import export

    with output.progress(f"writing {subject.name} as ONNX"):
        return export(subject.graph, file_name=folder / "model.onnx")
