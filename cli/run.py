"""``opweave run``: one inference."""

from __future__ import annotations

from pathlib import Path
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
    from ..compiler.session import Session
    from ..ir import TensorType


@click.command(cls=Verb, name="run")
@model_argument
@input_options
@click.option(
    "-o",
    "--save-outputs",
    metavar="FILE.npz",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save all outputs by name (a single one also as .npy).",
)
@shape_options
@threads_option
@target_options
@common_options
def verb(
    model: str,
    inputs: InputOptions,
    save_outputs: Path | None,
    sizes: Sizes,
    threads: int | None,
    compilation: Compilation,
    output: Output,
) -> None:
    """Run MODEL once and show or save its outputs.

    Inputs that no file gives are random, from --seed and --range.
    """
    from . import data

    if save_outputs is not None and not save_outputs.parent.is_dir():
        raise FileNotFoundError(2, "there is no such folder", str(save_outputs.parent))
    session, types = _session(model, sizes, threads, compilation, output)
    feed = data.inputs_for(types, inputs)
    names = [spec.name for spec in session.outputs]
    outputs = dict(zip(names, session.run(None, feed), strict=True))
    if save_outputs is not None:
        data.save_outputs(save_outputs, outputs)
    inputs_facts = {name: data.summary(array) for name, array in feed.items()}
    outputs_facts = {name: data.summary(array) for name, array in outputs.items()}
    result: dict[str, Any] = {"model": model, "target": session.target, "seed": inputs.seed}
    result |= {"inputs": inputs_facts, "outputs": outputs_facts}
    result["saved"] = str(save_outputs) if save_outputs is not None else None
    rows = [["in", *data.summary_row(name, facts)] for name, facts in inputs_facts.items()]
    rows += [["out", *data.summary_row(name, facts)] for name, facts in outputs_facts.items()]
    output.table(rows, ("", *data.SUMMARY_HEAD), right=(4, 5, 6))
    if save_outputs is not None:
        output.text(f"outputs saved to {save_outputs}")
    output.json("run/1", result)


def _session(
    model: str, sizes: Sizes, threads: int | None, compilation: Compilation, output: Output
) -> tuple[Session, dict[str, TensorType]]:
    """The model compiled, or loaded where it is saved, and the types of its inputs."""
    from .packaged import is_package, packaged_model

    if is_package(model):
        packaged = packaged_model(model, sizes, threads, compilation)
        return packaged.session, packaged.input_types
    from .running import compiled
    from .subject import subject_of

    subject = subject_of(model, output, sizes)
    session, _ = compiled(subject, compilation, threads, output)
    return session, subject.input_types
