"""The command line, one module a verb.

``main`` is what the ``opweave`` command calls: it reads ``sys.argv``, and it leaves through
``SystemExit`` whose status says whether the verb did its work (see ``exits.py``).
"""

if __name__ == "cli":
    raise ImportError("import opweave.cli, not cli: the repository root is on sys.path")

import sys

from .command import command
from .exits import run_command

__all__ = ["command", "main"]


def main() -> None:
    """Run the command line with ``sys.argv``."""
    sys.exit(run_command(command, sys.argv[1:]))
