"""``opweave tune``: what a model is best computed with on this machine, measured and remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

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
    threads_option,
)
from .output import Output

if TYPE_CHECKING:
    from ..targets.cpu.tuning.tune import TunedOperator, TuningReport


@click.command(cls=Verb, name="tune")
@model_argument
@click.option(
    "--budget",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to measure for, about; what is left is measured the next time.",
)
@click.option("--again", is_flag=True, help="Measure what is recorded already once more.")
@input_options
@shape_options
@threads_option
@target_options
@common_options
def verb(
    model: str,
    budget: float,
    again: bool,
    inputs: InputOptions,
    sizes: Sizes,
    threads: int | None,
    compilation: Compilation,
    output: Output,
) -> None:
    """Measure which kernels are fastest for MODEL on this machine.

    Kernels, tiles and schedules that are chosen by estimates are timed for the model's
    operators. Gains of more than 3% are kept in the cache folder, unless whole runs are slower
    with them; whatever is compiled on this machine with as many threads uses them.
    OPWEAVE_TUNE=off ignores them.
    """
    from ..compiler.options import CompileOptions
    from ..targets.cpu.tuning.tune import tune_graph
    from .data import inputs_for
    from .subject import subject_of

    if compilation.target != "cpu":
        raise click.UsageError(f"--target {compilation.target} is not tuned; cpu is")
    subject = subject_of(model, output, sizes)
    feed = inputs_for(subject.input_types, inputs)
    options = CompileOptions(threads, compilation.accuracy, compilation.vector_bits)
    with output.progress(f"tuning {subject.name}"):
        report = tune_graph(subject.graph, options, budget=budget, inputs=feed, again=again)
    _print(report, output)
    output.json("tune/1", {"model": subject.name, "target": "cpu", **report.as_dict()})


def _print(report: TuningReport, output: Output) -> None:
    rows = [
        [
            item.operator,
            item.shape,
            str(item.count),
            item.before,
            item.after if item.after != item.before else "the same",
            _shown(item, item.before),
            "recorded" if item.recorded else _shown(item, item.after),
        ]
        for item in report.operators
    ]
    titles = ("Operator", "Shape", "Times", "Before", "After", "ms before", "ms after")
    output.table(rows, titles, right=(2, 5, 6))
    output.text()
    if report.before_seconds is not None and report.after_seconds is not None:
        output.text(
            f"whole runs on {report.threads} thread{'s' * (report.threads != 1)}: "
            f"{report.before_seconds * 1e3:.3f} ms before, {report.after_seconds * 1e3:.3f} ms "
            f"after, {report.gain:.3f} times as fast"
        )
    changed = sum(item.after != item.before for item in report.operators)
    verdict = f"{changed} of {len(report.operators)} choices changed"
    if not report.kept:
        verdict = "the model is slower with what changed, which is not recorded"
    left = f"; {report.left} were left for want of time" if report.left else ""
    output.text(f"{verdict}{left}; {report.seconds:.0f} s")


def _shown(item: TunedOperator, name: str) -> str:
    seconds: Any = item.seconds.get(name)
    return "-" if seconds is None else f"{seconds * 1e3:.4f}"
