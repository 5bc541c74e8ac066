"""``opweave cache``: the folder of compiled code."""

from __future__ import annotations

import time
from typing import Any

import click

from .exits import Exit
from .options import Verb, common_options
from .output import Output, shown_bytes

_ACTIONS = ("info", "verify", "prune", "clear")
_DAY = 86400


@click.command(cls=Verb, name="cache")
@click.argument("action", type=click.Choice(_ACTIONS), default="info")
@click.option(
    "--limit",
    metavar="SIZE",
    help="prune: the size to keep below (500M, 2G); default OPWEAVE_CACHE_LIMIT, else 2G.",
)
@common_options
def verb(action: str, limit: str | None, output: Output) -> int:
    """Look after the cache of compiled code.

    info shows where it is and how large; verify reads all entries and removes damaged ones (exit
    status 1 if there were any); prune removes the entries that were not used for longest, down
    to the limit; clear removes all entries. The cache only saves time: whatever is missing is
    made again.
    """
    import os

    from ..compiler import cache_folder
    from ..compiler.cache import default_folder, is_intact

    folder = default_folder()
    most = cache_folder.shown_limit(limit or os.environ.get("OPWEAVE_CACHE_LIMIT"))
    result: dict[str, Any] = {"action": action, "folder": folder and str(folder), "limit": most}
    status = Exit.OK
    if folder is None:
        output.text("The cache is turned off: OPWEAVE_CACHE_DIR is empty.")
    else:
        found = cache_folder.entries(folder)
        result |= {"entries": len(found), "bytes": sum(entry.nbytes for entry in found)}
        rows = [["Folder", str(folder)], ["Entries", str(len(found))]]
        rows += [["Size", f"{shown_bytes(result['bytes'])} of {shown_bytes(most)}"]]
        if found:
            age = time.time() - min(entry.used for entry in found)
            rows.append(["Oldest use", f"{age / _DAY:.1f} days ago"])
        if action != "info":
            if action == "verify":
                damaged = []
                for entry in found:
                    try:
                        is_damaged = not is_intact(entry.path)
                    except FileNotFoundError:
                        continue  # another process has just removed it
                    except OSError:
                        is_damaged = True
                    if is_damaged:
                        damaged.append(entry)
                removed = cache_folder.remove(damaged)
                status = Exit.NEGATIVE if damaged else Exit.OK
                rows.append(["Damaged", str(len(damaged))])
                result["damaged"] = [str(entry.path) for entry in damaged]
            elif action == "prune":
                removed = cache_folder.prune(folder, most)
            else:
                removed = cache_folder.clear(folder)
            result["removed"] = {"files": removed.files, "bytes": removed.nbytes}
            rows.append(["Removed", f"{removed.files} files, {shown_bytes(removed.nbytes)}"])
        output.table(rows)
    output.json("cache/1", result)
    return status
