"""The command line, one module a verb.

``main`` is what the ``opweave`` command calls: it reads ``sys.argv``, and it leaves through
``SystemExit`` whose status says whether the verb did its work.
"""

if __name__ == "cli":
    raise ImportError("import opweave.cli, not cli: the repository root is on sys.path")

import click

from .. import __version__


@click.group()
@click.version_option(__version__, prog_name="opweave")
def command() -> None:
    """Compile trained neural networks for inference."""


def main() -> None:
    """Run the command line with ``sys.argv``."""
    command(prog_name="opweave")
