"""``opweave profile``: each operator's time within a run, against the roofline."""

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
    from ..compiler.profile import Profile


@click.command(cls=Verb, name="profile")
@model_argument
@click.option(
    "-t",
    "--duration",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Seconds to run for (5 runs at the least).",
)
@click.option("--top", type=click.IntRange(1), help="Show only so many operators.")
@click.option("--in-order", is_flag=True, help="In the order they run, not the slowest first.")
@input_options
@shape_options
@threads_option
@target_options
@common_options
def verb(
    model: str,
    duration: float,
    top: int | None,
    in_order: bool,
    inputs: InputOptions,
    sizes: Sizes,
    threads: int | None,
    compilation: Compilation,
    output: Output,
) -> None:
    """Show what the time of MODEL goes to, operator by operator.

    Operators are timed within the native program, as they run one after the other. "Of limit"
    is the least time that their arithmetic and memory traffic allow on this machine over the
    time they take; an algorithm that saves arithmetic (Winograd) may be above 100%.
    """
    from .data import inputs_for
    from .running import compiled
    from .subject import subject_of

    subject = subject_of(model, output, sizes)
    feed = inputs_for(subject.input_types, inputs)
    session, _ = compiled(subject, compilation, threads, output)
    with output.progress(f"profiling {subject.name}"):
        found = session.profile(*(feed[spec.name] for spec in session.inputs), seconds=duration)
    _print(found, top, in_order, output)
    facts: dict[str, Any] = {"model": subject.name, "target": session.target}
    output.json("profile/1", facts | found.as_dict())


def _print(found: Profile, top: int | None, in_order: bool, output: Output) -> None:
    from ..compiler.profile import HEAD, NUMBERS

    shown = found.slowest(top)
    if in_order:
        shown = [item for item in found.operators if item in shown]
    output.table(found.rows(shown), HEAD, right=tuple(range(NUMBERS)))
    output.text()
    rows = [
        [
            name,
            str(count),
            f"{seconds * 1e3:.4f}",
            f"{seconds / found.seconds:.1%}",
            f"{least / seconds:.0%}" if seconds else "-",
        ]
        for name, (count, seconds, least) in found.by_kernel().items()
    ]
    output.table(rows, ("Kernel", "Number", "ms", "Share", "Of limit"), right=(1, 2, 3, 4))
    output.text()
    output.text(found.summary())
