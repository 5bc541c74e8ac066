"""``opweave convert``: a model in another format, verified."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .exits import Exit
from .options import Sizes, Verb, common_options, model_argument, shape_options
from .output import Output, shown_bytes

if TYPE_CHECKING:
    from ..formats.adapter import Format
    from ..ir import Array, Graph
    from .subject import Subject


@click.command(cls=Verb, name="convert")
@model_argument
@click.option(
    "-o",
    "--output",
    "output_file",
    required=True,
    metavar="OUT",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write.",
)
@click.option("--to", "format_name", help="The format; by default the one OUT's suffix names.")
@click.option("--opset", type=int, help="ONNX: the opset to write.")
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Read the result and compare its outputs with the original's on random inputs.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of these inputs (0).")
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=1e-5,
    show_default=True,
    help="Largest difference, relative to each output's largest magnitude.",
)
@shape_options
@common_options
def verb(
    model: str,
    output_file: Path,
    format_name: str | None,
    opset: int | None,
    verify: bool,
    seed: int,
    tolerance: float,
    sizes: Sizes,
    output: Output,
) -> int:
    """Write MODEL (a file or a built-in network) to OUT in another format.

    A model that is too large for one file gets others beside it, for its tensors.
    Nothing is left at OUT when writing or verifying fails. Exit status 1: the outputs of
    the result differ from those of the original.
    """
    from .subject import subject_of

    format_ = _format_for(output_file, format_name)
    if opset is not None and format_.name != "ONNX":
        raise click.UsageError(f"--opset is for ONNX files, not for {format_.name}")
    if not output_file.parent.is_dir():
        raise FileNotFoundError(2, "there is no such folder", str(output_file.parent))
    subject = subject_of(model, output, sizes)
    options: dict[str, Any] = {} if opset is None else {"opset": opset}
    difference: float | None = None
    sizes_written: dict[str, int] = {}
    # Written beside OUT, so that nothing unverified ever has its name.
    with tempfile.TemporaryDirectory(prefix=".opweave-", dir=output_file.parent) as name:
        written = Path(name) / output_file.name
        with output.progress(f"writing {output_file} as {format_.name}"):
            format_.write(subject.graph, written, **options)
        if verify:
            difference = _difference(subject, written, format_, seed, output)
        agrees = difference is None or difference <= tolerance
        if agrees:
            sizes_written = _move(written, output_file.parent)
    result = {
        "model": model,
        "output": str(output_file) if agrees else None,
        "format": format_.name,
        "verified": verify,
        "difference": difference,
        "bytes": sum(sizes_written.values()) if agrees else None,
        "files": list(sizes_written),
    }
    if agrees:
        size = shown_bytes(sum(sizes_written.values()))
        more = f" in {len(sizes_written)} files" if len(sizes_written) > 1 else ""
        output.text(f"{output_file}: {format_.name}, {size}{more}")
    if difference is not None:
        verdict = "agrees" if agrees else "DIFFERS; nothing was written"
        output.text(f"verified on random inputs: {verdict} (largest difference {difference:.2e})")
    output.json("convert/1", result)
    return Exit.OK if agrees else Exit.NEGATIVE


def _format_for(path: Path, name: str | None) -> Format:
    """The format to write; raises UsageError when neither name nor suffix says one."""
    from ..formats.adapter import formats

    known = formats()
    if name is not None:
        if name.upper() not in known:
            raise click.UsageError(f"there is no format {name!r}; there is {', '.join(known)}")
        return known[name.upper()]
    for format_ in known.values():
        if path.suffix.lower() in format_.suffixes:
            return format_
    shown = ", ".join(f"{item.name} ({' '.join(item.suffixes)})" for item in known.values())
    raise click.UsageError(f"the suffix of {path.name!r} names no format: {shown}; or use --to")


def _move(written: Path, folder: Path) -> dict[str, int]:
    """Put a model and the files with its tensors into a folder; their paths and sizes.

    The tensors come first: the model never points at what is not there.
    """
    from ..compiler.atomic import move_atomically

    files = [path for path in sorted(written.parent.rglob("*")) if path.is_file()]
    found = {}
    for file in sorted(files, key=lambda path: path == written):
        target = folder / file.relative_to(written.parent)
        target.parent.mkdir(exist_ok=True)
        found[str(target)] = file.stat().st_size
        move_atomically(file, target)
    return found


def _difference(
    subject: Subject, written: Path, format_: Format, seed: int, output: Output
) -> float:
    """Largest relative difference between the outputs of the original and the written model."""
    from ..api import load
    from .comparison import relative_difference
    from .data import inputs_for
    from .options import InputOptions

    feed = list(inputs_for(subject.input_types, InputOptions(seed=seed)).values())
    with output.progress("comparing the outputs"):
        expected = _outputs(subject.graph, feed)
        found = _outputs(load(written, format=format_.name).graph, feed)
    pairs = zip(found, expected, strict=True)
    return max((relative_difference(a, b) for a, b in pairs), default=0.0)


def _outputs(graph: Graph, feed: list[Array]) -> list[Array]:
    """What a graph gives for inputs in order; nothing of the compiled model stays behind.

    Its weights may take most of the memory there is, and another model is to come.
    """
    from .running import compiled_graph

    names = [value.node for value in graph.inputs]
    results = compiled_graph(graph).run(None, dict(zip(names, feed, strict=True)))
    gc.collect()
    return results
