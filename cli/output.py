"""What verbs print: JSON or tables to stdout, progress to stderr."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from .. import __version__

# Wide enough that a table in a pipe or a file is never folded.
_PIPE_WIDTH = 400


@dataclass(frozen=True)
class Output:
    """Where one verb's result and progress go."""

    json_file: str | None = None
    quiet: bool = False
    no_progress: bool = False

    @property
    def tables(self) -> bool:
        """True when stdout is for a human reader: only JSON goes there otherwise."""
        return self.json_file != "-"

    @contextlib.contextmanager
    def progress(self, text: str) -> Iterator[None]:
        """Say on stderr what takes a while: a spinner on a terminal, else one line."""
        if self.quiet:
            yield
        elif sys.stderr.isatty() and not self.no_progress:
            from rich.console import Console

            with Console(stderr=True).status(text):
                yield
        else:
            print(f"{text} ...", file=sys.stderr, flush=True)
            yield

    def note(self, text: str) -> None:
        """A line on stderr."""
        if not self.quiet:
            print(f"opweave: {text}", file=sys.stderr, flush=True)

    def json(self, schema: str, content: Mapping[str, Any]) -> None:
        """The result as JSON, if that was asked for. ``schema`` is the verb and a version."""
        if self.json_file is None:
            return
        head = {"schema": f"opweave.{schema}", "opweave": __version__}
        text = json.dumps(_plain({**head, **content}), indent=2, allow_nan=False) + "\n"
        if self.json_file == "-":
            click.echo(text, nl=False)
        else:
            write_file(Path(self.json_file), text.encode())

    def table(
        self, rows: Sequence[Sequence[object]], head: Sequence[str] = (), right: Sequence[int] = ()
    ) -> None:
        """Rows of cells to stdout, unless that is for JSON; ``right``: columns of numbers."""
        if not self.tables:
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console(file=sys.stdout, highlight=False)
        if not console.is_terminal:
            console.width = _PIPE_WIDTH
        table = Table(box=None, show_header=bool(head), pad_edge=False, header_style="bold")
        for number in range(max(len(head), *(len(row) for row in rows or [()]))):
            title = head[number] if number < len(head) else ""
            table.add_column(title, justify="right" if number in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        with console.capture() as capture:
            console.print(table)
        self.text("\n".join(line.rstrip() for line in capture.get().splitlines()))

    def text(self, text: str = "") -> None:
        """A line to stdout, unless that is for JSON."""
        if self.tables:
            click.echo(text)


def write_file(path: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all."""
    from ..compiler.atomic import write_atomically

    write_atomically(path, [content])


def shown_bytes(number: int) -> str:
    """A number of bytes with a unit."""
    size, unit = float(number), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{number} B" if unit == "B" else f"{size:.1f} {unit}"


def shown_count(number: int) -> str:
    """A large number with a prefix: 8.2 G."""
    size = float(number)
    for prefix in ("", "k", "M", "G", "T"):
        if size < 1000 or prefix == "T":
            return f"{number}" if not prefix else f"{size:.2f} {prefix}"
        size /= 1000
    return str(number)


def _plain(value: Any) -> Any:
    """Python's own numbers and text; JSON has no NaN and no infinities."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    return str(value)
