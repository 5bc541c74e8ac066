"""``opweave bench``: latency, throughput, memory, compile time; the ratio to other engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .exits import Exit
from .options import (
    Compilation,
    InputOptions,
    Sizes,
    Verb,
    common_options,
    input_options,
    model_argument,
    shape_options,
    target_options,
    thread_counts_option,
)
from .output import Output, shown_bytes

if TYPE_CHECKING:
    from ..ir import Array
    from .measurement import Plan
    from .subject import Subject

_ENGINES = ("onnxruntime", "openvino")
# Processors that others keep busy before it is worth a word.
_NOTED_LOAD = 0.2


def _engines(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    """``onnxruntime,openvino`` as names."""
    names = tuple(dict.fromkeys(text.replace(",", " ").split()))
    unknown = [name for name in names if name not in _ENGINES]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(_ENGINES)}")
    return names


@click.command(cls=Verb, name="bench")
@model_argument
@click.option(
    "-n", "--iterations", type=click.IntRange(1), help="Runs to measure, instead of a duration."
)
@click.option(
    "-t",
    "--duration",
    type=click.FloatRange(0, min_open=True),
    help="Seconds to measure each engine for (5; 5 runs or 4 turns at the least).",
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
    metavar="ENGINE[,ENGINE]",
    default="",
    callback=_engines,
    help="Measure onnxruntime, openvino or both too, taking turns, and print the ratios.",
)
@click.option(
    "--fail-below",
    type=click.FloatRange(0),
    metavar="RATIO",
    help="With --against: exit status 1 when a ratio to the faster peer is lower.",
)
@input_options
@shape_options
@thread_counts_option
@target_options
@common_options
def verb(
    model: str,
    iterations: int | None,
    duration: float | None,
    warmup: int,
    against: tuple[str, ...],
    fail_below: float | None,
    inputs: InputOptions,
    sizes: Sizes,
    threads: tuple[int, ...],
    compilation: Compilation,
    output: Output,
) -> int:
    """Measure MODEL: latency, throughput, share of the roofline, memory, compile time.

    --against runs all engines on the same inputs with the same number of threads, in float32,
    each in its own process, in turns of a quarter of a second, and prints for each the median
    of the ratios turn by turn (above 1: opweave is faster).
    """
    from .data import inputs_for
    from .measurement import Plan, alone, in_turns
    from .packaged import is_package
    from .peers import check_installed
    from .subject import subject_of

    if fail_below is not None and not against:
        raise click.UsageError("--fail-below needs --against")
    check_installed(against)
    plan = Plan(duration, iterations, warmup)
    if is_package(model):
        if against:
            raise click.UsageError("a package holds no graph for others: bench the model itself")
        result = _packaged(model, sizes, threads, compilation, inputs, plan, output)
        _print(result, output)
        output.json("bench/2", result)
        return Exit.OK
    subject = subject_of(model, output, sizes)
    if subject.open_symbols:
        open_symbols = ", ".join(subject.open_symbols)
        output.note(f"symbolic extents without a size: {open_symbols}; see --shape and --dim")
    feed = inputs_for(subject.input_types, inputs)
    found = []
    for count in threads or (None,):
        if against or len(threads) > 1:
            measured = in_turns(subject, feed, compilation, count, plan, output, against, sizes)
        else:
            measured = alone(subject, feed, compilation, count, plan, output)
        found.append(measured)
    result = {**head(subject, feed, compilation), "measurements": found}
    _print(result, output)
    output.json("bench/2", result)
    if fail_below is not None and min(m["ratio_to_faster"] for m in found) < fail_below:
        output.note(f"the ratio is below {fail_below:g}")
        return Exit.NEGATIVE
    return Exit.OK


def _packaged(
    name: str,
    sizes: Sizes,
    threads: tuple[int, ...],
    compilation: Compilation,
    inputs: InputOptions,
    plan: Plan,
    output: Output,
) -> dict[str, Any]:
    """The measurements of a saved model."""
    from ..compiler.processor import processor_name
    from .data import inputs_for
    from .measurement import packaged
    from .packaged import packaged_model

    found = []
    for count in threads or (None,):
        model = packaged_model(name, sizes, count, compilation)
        feed = inputs_for(model.input_types, inputs)
        found.append(packaged(model, feed, plan, output))
    return {
        "model": name,
        "format": "package",
        "target": model.session.target,
        "accuracy": None,
        "processor": processor_name(),
        "inputs": _facts(feed),
        "weight_bytes": None,
        "measurements": found,
    }


def _facts(feed: dict[str, Array]) -> list[dict[str, Any]]:
    return [
        {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
        for name, array in feed.items()
    ]


def head(subject: Subject, feed: dict[str, Array], how: Compilation) -> dict[str, Any]:
    """What was measured, on what."""
    from ..compiler.processor import processor_name
    from ..compiler.roofline import parameter_bytes

    return {
        "model": subject.name,
        "format": subject.format,
        "target": how.target,
        "accuracy": how.accuracy,
        "processor": processor_name(),
        "inputs": _facts(feed),
        "weight_bytes": parameter_bytes(subject.graph),
    }


def _print(result: dict[str, Any], output: Output) -> None:
    shown = [
        f"{item['name']} {item['dtype']}[{', '.join(map(str, item['shape']))}]"
        for item in result["inputs"]
    ]
    rows = [
        ["Model", f"{result['model']} ({result['format']})"],
        ["Inputs", "; ".join(shown) or "none"],
        ["Target", f"{result['target']} ({result['processor']})"],
    ]
    if result["weight_bytes"] is not None:
        rows.append(["Weights", shown_bytes(result["weight_bytes"])])
    output.table(rows)
    for measured in result["measurements"]:
        output.text()
        _print_measurement(measured, output)


def _print_measurement(measured: dict[str, Any], output: Output) -> None:
    columns = list(measured["engines"].values())

    def row(title: str, shown: Any) -> list[str]:
        return [title, *(shown(column) for column in columns)]

    rows = [
        row("Count", lambda c: f"{c['count']} runs"),
        row("Duration", lambda c: f"{c['duration_s']:.2f} s"),
    ]
    for key in columns[0]["latency_ms"]:
        rows.append(row(f"Latency {key}", lambda c, key=key: f"{c['latency_ms'][key]:.3f} ms"))
    rows.append(row("Throughput", lambda c: f"{c['throughput_per_s']:.2f} runs/s"))
    if measured["limit_ms"] is not None:
        rows.append(row("Share of the roofline", lambda c: f"{c['roofline_share']:.0%}"))
    rows.append(row("Peak memory", lambda c: shown_bytes(c["peak_memory_bytes"])))
    if columns[0]["arena_bytes"] is not None:
        arena = shown_bytes(columns[0]["arena_bytes"])
        rows.append(["Intermediate tensors", arena, *("-" for _ in columns[1:])])
    rows += [
        row("Load time", lambda c: f"{c['load_s']:.2f} s"),
        row("Compile time", lambda c: f"{c['compile_s']:.2f} s"),
        row("First inference", lambda c: f"{c['first_inference_ms']:.2f} ms"),
    ]
    if len(columns) > 1:
        rows.append(row("Called by", lambda c: c["way"]))
        rows.append(["Largest difference", "-", *(f"{c['difference']:.1e}" for c in columns[1:])])
        rows.append(["Ratio", "1", *(f"{c['ratio']['median']:.3f}" for c in columns[1:])])
    count = measured["threads"]
    title = "" if count is None else f"{count} thread{'s' * (count > 1)}"
    names = [" ".join((name, c.get("version", ""))) for name, c in measured["engines"].items()]
    output.table(rows, (title, *names), right=tuple(range(1, len(columns) + 1)))
    load = measured["foreign_load"]
    if load is not None and load > _NOTED_LOAD:
        output.text(f"Others kept {load:.1f} processors busy meanwhile: the figures are unsure.")
    faster = measured["faster_peer"]
    if faster is not None:
        ratio = measured["engines"][faster]["ratio"]
        output.text(
            f"Ratio: {ratio['median']:.3f} (time of {faster}, the faster peer, over opweave's, "
            f"median of {ratio['turns']} turns; quartiles {ratio['quartile_low']:.3f} to "
            f"{ratio['quartile_high']:.3f})"
        )
