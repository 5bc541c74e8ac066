"""How much of the machine others used while something was measured (Linux)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence


class ForeignLoad:
    """Counts processor time from now on that neither this process nor ``processes`` take."""

    def __init__(self, processes: Sequence[int] = ()) -> None:
        self._processes = (os.getpid(), *processes)
        self._start = self._now()

    def cores(self) -> float | None:
        """Processors that others kept busy on average, with what a hypervisor took away.

        None where the system does not say.
        """
        start, end = self._start, self._now()
        if start is None or end is None:
            return None
        elapsed, busy, own = (after - before for before, after in zip(start, end, strict=True))
        return max(0.0, (busy - own) / elapsed) if elapsed > 0 else None

    def _now(self) -> tuple[float, float, float] | None:
        """Seconds: on the clock, of all processors being busy, of the processes' own."""
        try:
            ticks = os.sysconf("SC_CLK_TCK")
            with open("/proc/stat", encoding="ascii") as file:
                numbers = [int(field) for field in file.readline().split()[1:9]]
            busy = sum(numbers) - numbers[3] - numbers[4]  # neither idle nor waiting for a disk
            own = sum(_ticks_of(process) for process in self._processes)
        except (OSError, ValueError, IndexError):
            return None
        return time.monotonic(), busy / ticks, own / ticks


def _ticks_of(process: int) -> int:
    """User and system time of a process."""
    with open(f"/proc/{process}/stat", encoding="utf-8") as file:
        # The name, in parentheses, may hold blanks.
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
