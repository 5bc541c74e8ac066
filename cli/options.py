"""What verbs share: the MODEL argument, common options, and other tools' names for them."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from .output import Output

# What users of other tools have in their fingers -> the option here. A name counts only where
# the verb has the option.
_ALIASES = {
    **dict.fromkeys(("--load-inputs", "--loadInputs"), "--inputs"),
    **dict.fromkeys(("-d", "--device"), "--target"),
    **dict.fromkeys(("--shapes", "--input-shapes", "--inputShape", "--input_shape"), "--shape"),
    "-shape": "--shape",
    **dict.fromkeys(("-niter", "--loopCount"), "--iterations"),
    **dict.fromkeys(("--warm-up", "--warmUpLoopCount"), "--warmup"),
    **dict.fromkeys(("-nthreads", "--numThreads", "--num-threads"), "--threads"),
    **dict.fromkeys(("--saveOutputs", "--save_outputs"), "--save-outputs"),
    **dict.fromkeys(("--outputFile", "--save-onnx", "--output_model"), "--output"),
    "--val-range": "--range",
}
_MODEL_ALIASES = ("-m", "--model", "--modelFile", "--onnx")

_DIMS = re.compile(r"\[?((?:\d+(?:[x,]\d+)*)?)\]?")
_NAMED_DIMS = re.compile(r"(?P<name>.+?)(?::|=|(?=\[))(?P<dims>\[?(?:\d+(?:[x,]\d+)*)?\]?)")


class Verb(click.Command):
    """A command that knows other tools' option names, and ``--json`` with an optional file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite the arguments to our own spelling and parse them."""
        return super().parse_args(ctx, self._spelled(args))

    def _spelled(self, args: Sequence[str]) -> list[str]:
        known = {name for option in self.params for name in (*option.opts, *option.secondary_opts)}
        result: list[str] = []
        models: list[str] = []
        rest = list(args)
        while rest:
            word = rest.pop(0)
            if word == "--":
                result += [word, *rest]
                break
            name, equals, value = word.partition("=")
            if name in _MODEL_ALIASES and "model" in known and name not in known:
                models += [value] if equals else rest[:1]
                rest = rest if equals else rest[1:]
            elif word == "--json" and word in known:
                # A file only where it cannot be the model.
                file = rest and (rest[0] == "-" or rest[0].lower().endswith(".json"))
                result.append(f"--json={rest.pop(0) if file else '-'}")
            else:
                ours = _ALIASES.get(name, name)
                result.append(
                    ours + equals + value if name not in known and ours in known else word
                )
        return [*models, *result]


def model_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """The positional argument MODEL."""
    return click.argument("model", metavar="MODEL")(function)


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``, ``--quiet`` and ``--no-progress``, which every verb has, as ``output``."""
    options = (
        click.option("--no-progress", is_flag=True, help="No spinner on a terminal."),
        click.option("-q", "--quiet", is_flag=True, help="Nothing but errors on stderr."),
        click.option(
            "--json",
            "json_file",
            metavar="[FILE.json]",
            help="The result as JSON, to standard output or to a file.",
        ),
    )
    return _packed(function, options, "output", Output)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What ``--shape`` and ``--dim`` say."""

    shapes: tuple[str, ...] = ()
    dims: tuple[str, ...] = ()


def shape_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--shape`` and ``--dim``, which fix symbolic extents, as ``sizes``."""
    options = (
        click.option(
            "--dim",
            "dims",
            multiple=True,
            metavar="SYMBOL=SIZE",
            help="Fix a symbolic extent by its name: batch=8.",
        ),
        click.option(
            "--shape",
            "shapes",
            multiple=True,
            metavar="[NAME:]SHAPE",
            help="Fix an input's shape: x:1x3x224x224. Others run with symbols set to 1.",
        ),
    )
    return _packed(function, options, "sizes", Sizes)


@dataclass(frozen=True, slots=True)
class Compilation:
    """What a model is compiled for, and how."""

    target: str = "cpu"
    accuracy: str = "default"
    vector_bits: int | None = None


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--target``, ``--accuracy`` and ``--vector-bits``, as ``compilation``."""
    options = (
        click.option(
            "--vector-bits",
            type=click.Choice(["128", "256", "512"]),
            callback=lambda _, __, value: value and int(value),
            help="Code for narrower vector registers than the processor has.",
        ),
        click.option(
            "--accuracy",
            type=click.Choice(["default", "exact"]),
            default="default",
            show_default=True,
            help="exact: no algorithm that rounds more than need be (Winograd convolution).",
        ),
        click.option(
            "--target",
            default="cpu",
            show_default=True,
            callback=lambda _, __, value: value.lower(),
            help="What to compile for.",
        ),
    )
    return _packed(function, options, "compilation", Compilation)


def threads_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--threads``, as ``threads``: one number."""
    return click.option(
        "--threads",
        type=click.IntRange(1),
        help="Threads of one run; by default all processors the process may use.",
    )(function)


def thread_counts_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--threads``, as ``threads``: several numbers; empty for the default."""
    return click.option(
        "--threads",
        metavar="N[,N]",
        default="",
        callback=lambda _, __, value: parsed_counts(value),
        help="Threads of one run, or several counts to measure one after the other (1,2); by "
        "default all processors the process may use.",
    )(function)


@dataclass(frozen=True, slots=True)
class InputOptions:
    """Where the input data comes from."""

    inputs_file: str | None = None
    input_files: tuple[str, ...] = ()
    seed: int = 0
    ranges: tuple[str, ...] = ()


def input_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--inputs``, ``--input``, ``--seed`` and ``--range``, as ``inputs``."""
    options = (
        click.option(
            "--range",
            "ranges",
            multiple=True,
            metavar="[NAME:]LOW..HIGH",
            help="Range of random inputs; by default 0..1, for integers too.",
        ),
        click.option(
            "--seed", type=click.IntRange(0), default=0, help="Seed of random inputs (0)."
        ),
        click.option(
            "-i",
            "--input",
            "input_files",
            multiple=True,
            metavar="[NAME=]FILE.npy",
            help="One input from a .npy file.",
        ),
        click.option(
            "--inputs",
            "inputs_file",
            metavar="FILE.npz",
            help="Inputs by name from a .npz file; those that are missing are random.",
        ),
    )
    return _packed(function, options, "inputs", InputOptions)


def _packed(
    function: Callable[..., Any],
    options: Sequence[Callable[[Callable[..., Any]], Callable[..., Any]]],
    name: str,
    class_: Callable[..., Any],
) -> Callable[..., Any]:
    """The verb with options whose values it gets as one object, whose fields they are."""
    fields = list(inspect.signature(class_).parameters)

    @functools.wraps(function)
    def verb(**given: Any) -> Any:
        packed = class_(**{field: given.pop(field) for field in fields})
        return function(**given, **{name: packed})

    for option in options:
        option(verb)
    return verb


def parsed_counts(text: str) -> tuple[int, ...]:
    """``1,2`` as numbers. Raises UsageError."""
    parts = text.replace(",", " ").split()
    if not all(part.isdecimal() and int(part) for part in parts):
        raise click.UsageError(f"--threads {text!r} is not like 1,2")
    return tuple(dict.fromkeys(int(part) for part in parts))


def parsed_shapes(texts: Sequence[str], names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """``--shape`` values as shapes by input name.

    ``x:1x3x224x224``, ``x:1,3,224,224`` and ``x[1,3,224,224]`` are the same; several inputs
    are separated by ``;``, blanks, or commas before a name. A model with one input needs no
    name. Raises UsageError.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        for part in re.split(r"[;\s]+|,(?=[^,;\s]*[:\[])", text.strip()):
            if not part:
                continue
            bare, named = _DIMS.fullmatch(part), _NAMED_DIMS.fullmatch(part)
            if bare and len(names) == 1:
                name, dims = names[0], bare[1]
            elif named:
                name, dims = named["name"], named["dims"].strip("[]")
            else:
                raise click.UsageError(f"--shape {part!r} is not like x:1x3x224x224")
            shapes[name] = tuple(int(item) for item in re.split("[x,]", dims) if item)
    return shapes


def parsed_dims(texts: Sequence[str]) -> dict[str, int]:
    """``--dim`` values as sizes by symbol. Raises UsageError."""
    dims: dict[str, int] = {}
    for text in texts:
        for part in text.replace(",", " ").split():
            name, _, size = part.rpartition("=")
            if not name or not size.isdecimal():
                raise click.UsageError(f"--dim {part!r} is not like batch=8")
            dims[name] = int(size)
    return dims
