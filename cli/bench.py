"""``opweave bench``: latency, throughput, memory, compile time; the ratio to another engine."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .exits import Exit
from .options import (
    Verb,
    common_options,
    input_options,
    model_argument,
    shape_options,
    target_options,
)
from .output import Output, shown_bytes

if TYPE_CHECKING:
    from ..ir import Array
    from .subject import Subject

DEFAULT_SECONDS = 5.0
_FEWEST_RUNS = 5


@click.command(cls=Verb, name="bench")
@model_argument
@click.option(
    "-n", "--iterations", type=click.IntRange(1), help="Runs to measure, instead of a duration."
)
@click.option(
    "-t",
    "--duration",
    type=click.FloatRange(0, min_open=True),
    help=f"Seconds to measure for ({DEFAULT_SECONDS:g}; {_FEWEST_RUNS} runs or more).",
)
@click.option(
    "--warmup",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Runs after the first one that are not counted.",
)
@click.option(
    "--against",
    type=click.Choice(["onnxruntime"]),
    help="Measure another engine too, taking turns, and print the ratio.",
)
@click.option(
    "--fail-below",
    type=click.FloatRange(0),
    metavar="RATIO",
    help="With --against: exit status 1 when the ratio is lower.",
)
@input_options
@shape_options
@target_options
@common_options
def verb(
    model: str,
    iterations: int | None,
    duration: float | None,
    warmup: int,
    against: str | None,
    fail_below: float | None,
    inputs_file: str | None,
    input_files: tuple[str, ...],
    seed: int,
    ranges: tuple[str, ...],
    shapes: tuple[str, ...],
    dims: tuple[str, ...],
    target: str,
    threads: int | None,
    json_file: str | None,
    quiet: bool,
    no_progress: bool,
) -> int:
    """Measure MODEL: latency, throughput, memory, compile time.

    --against onnxruntime runs both engines on the same inputs with the same number of
    threads, each in its own process, in turns of a quarter of a second, and prints the
    median of the ratios turn by turn (above 1: opweave is faster).
    """
    from .data import inputs_for
    from .subject import subject_of

    if fail_below is not None and against is None:
        raise click.UsageError("--fail-below needs --against")
    output = Output(json_file, quiet, no_progress)
    subject = subject_of(model, output, shapes, dims)
    if subject.open_symbols:
        open_symbols = ", ".join(subject.open_symbols)
        output.note(f"symbolic extents without a size: {open_symbols}; see --shape and --dim")
    feed = inputs_for(subject.input_types, inputs_file, input_files, seed, ranges)
    seconds = duration or (None if iterations else DEFAULT_SECONDS)
    plan = {"seconds": seconds, "count": iterations, "warmup": warmup}
    if against is None:
        result = _measured_here(subject, feed, target, threads, plan, output)
    else:
        result = compared(subject, feed, target, threads, plan, output, shapes, dims)
    _print(result, output)
    output.json("bench/1", result)
    if fail_below is not None and result["against"]["ratio"]["median"] < fail_below:
        output.note(f"the ratio is below {fail_below:g}")
        return Exit.NEGATIVE
    return Exit.OK


def _measured_here(
    subject: Subject,
    feed: dict[str, Array],
    target: str,
    threads: int | None,
    plan: dict[str, Any],
    output: Output,
) -> dict[str, Any]:
    """The result of measuring opweave alone, in this process."""
    from .engine import memory
    from .running import compiled
    from .timing import peak_memory, timed_runs

    session, compile_seconds = compiled(subject, target, threads, output)
    start = time.perf_counter()
    session.run(None, feed)
    first = time.perf_counter() - start
    facts = {"load_s": subject.load_seconds, "compile_s": compile_seconds}
    facts |= {"first_inference_s": first, **memory(session, feed)}
    with output.progress(f"measuring {subject.name}"):
        for _ in range(plan["warmup"]):
            session.run(None, feed)
        latencies = timed_runs(
            lambda: session.run(None, feed), plan["seconds"], plan["count"], _FEWEST_RUNS
        )
    head = _head(subject, feed, target)
    return head | _figures(facts, latencies, peak_memory())


def compared(
    subject: Subject,
    feed: dict[str, Array],
    target: str,
    threads: int | None,
    plan: dict[str, Any],
    output: Output,
    shapes: tuple[str, ...] = (),
    dims: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The result of measuring opweave and ONNX Runtime in turns."""
    from . import comparison
    from .data import save_outputs

    with tempfile.TemporaryDirectory(prefix="opweave-bench-") as name:
        folder = Path(name)
        save_outputs(folder / "inputs.npz", feed)
        request = {
            "model": subject.name,
            "shapes": list(shapes),
            "dims": list(dims),
            "symbols": dict(subject.symbols),
            "target": target,
            "threads": threads,
            "inputs": str(folder / "inputs.npz"),
            "onnx_file": str(_onnx_file(subject, folder, output)),
            "warmup": plan["warmup"],
        }
        with (
            output.progress(f"measuring {subject.name} with opweave and onnxruntime in turns"),
            comparison.EngineProcess({**request, "engine": "opweave"}) as ours,
            comparison.EngineProcess({**request, "engine": "onnxruntime"}) as peer,
        ):
            mine = comparison.Measured(ours.prepare())
            # Both get the same number of threads: the one opweave chose.
            theirs = comparison.Measured(peer.prepare(threads=mine.facts["threads"]))
            seconds = plan["seconds"] or DEFAULT_SECONDS
            comparison.take_turns((ours, peer), (mine, theirs), 2 * seconds, plan["count"])
            difference = comparison.difference(ours, peer, folder)
    result = _head(subject, feed, target)
    result |= _figures(mine.facts, mine.latencies, mine.peak_memory)
    result["against"] = {
        "engine": "onnxruntime",
        "version": theirs.facts["version"],
        **_figures(theirs.facts, theirs.latencies, theirs.peak_memory),
        "ratio": comparison.ratio_of(mine, theirs),
        "difference": difference,
    }
    return result


def _onnx_file(subject: Subject, folder: Path, output: Output) -> Path:
    """The model as an ONNX file: itself, or written for the peer."""
    if subject.format == "ONNX" and subject.path is not None:
        return subject.path.resolve()
    from ..api import export

    with output.progress(f"writing {subject.name} as ONNX"):
        return export(subject.graph, file_name=folder / "model.onnx")


def _head(subject: Subject, feed: dict[str, Array], target: str) -> dict[str, Any]:
    from ..compiler.processor import processor_name
    from ..compiler.roofline import parameter_bytes

    inputs = [
        {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
        for name, array in feed.items()
    ]
    return {
        "model": subject.name,
        "format": subject.format,
        "target": target,
        "processor": processor_name(),
        "inputs": inputs,
        "weight_bytes": parameter_bytes(subject.graph),
    }


def _figures(facts: dict[str, Any], latencies: list[float], peak: int) -> dict[str, Any]:
    from .timing import statistics

    total = sum(latencies)
    return {
        "threads": facts.get("threads"),
        "count": len(latencies),
        "duration_s": total,
        "latency_ms": statistics(latencies),
        "throughput_per_s": len(latencies) / total,
        "peak_memory_bytes": peak,
        "arena_bytes": facts.get("arena_bytes"),
        "load_s": facts["load_s"],
        "compile_s": facts["compile_s"],
        "first_inference_ms": facts["first_inference_s"] * 1e3,
    }


def _print(result: dict[str, Any], output: Output) -> None:
    shown = [
        f"{item['name']} {item['dtype']}[{', '.join(map(str, item['shape']))}]"
        for item in result["inputs"]
    ]
    output.table(
        [
            ["Model", f"{result['model']} ({result['format']})"],
            ["Inputs", "; ".join(shown) or "none"],
            ["Target", f"{result['target']} ({result['processor']})"],
            ["Threads", result["threads"] or "the target's choice"],
            ["Weights", shown_bytes(result["weight_bytes"])],
        ]
    )
    output.text()
    peer = result.get("against")
    columns = [result] if peer is None else [result, peer]
    rows: list[list[str]] = [
        ["Count", *(f"{c['count']} runs" for c in columns)],
        ["Duration", *(f"{c['duration_s']:.2f} s" for c in columns)],
    ]
    for key in result["latency_ms"]:
        rows.append([f"Latency {key}", *(f"{c['latency_ms'][key]:.3f} ms" for c in columns)])
    rows += [
        ["Throughput", *(f"{c['throughput_per_s']:.2f} runs/s" for c in columns)],
        ["Peak memory", *(shown_bytes(c["peak_memory_bytes"]) for c in columns)],
    ]
    if result["arena_bytes"] is not None:
        arena = shown_bytes(result["arena_bytes"])
        rows.append(["Intermediate tensors", arena, *("-" for _ in columns[1:])])
    rows += [
        ["Compile time", *(f"{c['compile_s']:.2f} s" for c in columns)],
        ["First inference", *(f"{c['first_inference_ms']:.2f} ms" for c in columns)],
    ]
    head = ("", "opweave") if peer is None else ("", "opweave", f"onnxruntime {peer['version']}")
    output.table(rows, () if peer is None else head, right=tuple(range(1, len(columns) + 1)))
    if peer is not None:
        ratio = peer["ratio"]
        output.text()
        output.text(
            f"Ratio: {ratio['median']:.3f} (onnxruntime's time over opweave's, median of "
            f"{ratio['turns']} turns; quartiles {ratio['quartile_low']:.3f} to "
            f"{ratio['quartile_high']:.3f})"
        )
        output.text(f"Largest difference of the outputs: {peer['difference']:.2e} (relative)")
