"""The command line, run in the process of the tests to save time."""

from __future__ import annotations

import json
from typing import Any

from opweave.cli import command
from opweave.cli.exits import run_command


def opweave_command(*arguments: object) -> int:
    """The exit status of a command line, run in this process."""
    return run_command(command, [str(item) for item in arguments])


def json_of(capsys, *arguments: object, status: int = 0) -> dict[str, Any]:
    """What a verb prints with --json; nothing else may be on stdout."""
    assert opweave_command(*arguments, "--json") == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found
