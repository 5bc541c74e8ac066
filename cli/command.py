"""The command and its verbs; a verb's module is imported when the verb is used."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import click

from .. import __version__

# Verb -> its module and what it does; the module has the click command as ``verb``.
VERBS = {
    "compile": ("compile", "Compile a model to a package, library or executable."),
    "run": ("run", "Run a model once and show or save its outputs."),
    "bench": ("bench", "Measure latency, throughput, memory and compile time."),
    "profile": ("profile", "Show what the time goes to, operator by operator."),
    "tune": ("tune", "Measure which kernels are fastest here, and remember them."),
    "bench-ops": ("bench_operators", "Measure single operators of usual shapes."),
    "inspect": ("inspect_model", "Show what a model is made of."),
    "check": ("check", "Tell whether a model is valid and supported."),
    "convert": ("convert", "Write a model in another format."),
    "cache": ("cache", "Look after the cache of compiled code."),
    "ops": ("operator_table", "List the operators and where they are supported."),
}


class Verbs(click.Group):
    """A group whose help needs none of its verbs' modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, imported now."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f".{VERBS[cmd_name][0]}", __package__)
        verb: click.Command = module.verb
        return verb

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does, with the verbs that an unknown one is close to."""
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            close = difflib.get_close_matches(name, VERBS, 2)
            hint = f"; is it {' or '.join(close)}?" if close else f": {', '.join(VERBS)}"
            raise click.UsageError(f"there is no verb {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs' lines of the help text."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="opweave")
def command() -> None:
    """Compile trained neural networks for inference.

    MODEL is a model file, or the name of a built-in network with seeded weights such as
    resnet50.

    Exit status: 0 done, 1 negative verdict, 2 wrong usage, 3 invalid model, 4 unsupported,
    5 limit reached, 6 file system, 7 device, 70 bug in opweave, 130 and 143 interrupted.
    """
