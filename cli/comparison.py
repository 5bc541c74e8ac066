"""Several engines on one model, each in a process of its own, taking turns.

What is compared is measured side by side: a machine's speed changes within seconds, and
threads of an engine that has just run keep spinning for a while, so that engines in one process,
or one after the other, do not see the same machine. A ratio is the median of the ratios of
single turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from ..ir import Array
from .exits import EngineError, Exit

TURN_SECONDS = 0.25
# Between turns, for the other engine's threads to go to sleep.
PAUSE_SECONDS = 0.05
FEWEST_TURNS = 4


class EngineProcess:
    """An engine (see ``engine.py``) in a child process."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.name = str(request["engine"])
        command = [sys.executable, "-m", f"{__package__}.engine"]
        # -m puts the working folder first on the path, where the child must not look.
        environment = {**os.environ, "PYTHONSAFEPATH": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._request = request

    @property
    def process_id(self) -> int:
        """The child's number."""
        return self._process.pid

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def prepare(self, **changes: Any) -> dict[str, Any]:
        """Load, compile and warm up; returns the engine's facts."""
        return self.ask({**self._request, **changes})

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and wait for the answer; raises EngineError."""
        try:
            _stream(self._process.stdin).write(json.dumps(request) + "\n")
            _stream(self._process.stdin).flush()
            line = _stream(self._process.stdout).readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._process.wait()
            raise EngineError(f"the process of {self.name} ended with status {status}", Exit.BUG)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineError(f"{self.name}: {answer['error']}", int(answer["status"]))
        return answer


def _stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@dataclass
class Measured:
    """What came out for one engine; a list of seconds for each turn."""

    facts: dict[str, Any]
    turns: list[list[float]] = field(default_factory=list)
    peak_memory: int = 0

    def take_turn(self, engine: EngineProcess, seconds: float, count: int | None = None) -> None:
        """Let the engine run once more and note the times."""
        answer = engine.ask({"do": "turn", "seconds": seconds, "count": count})
        self.turns.append(answer["latencies"])
        self.peak_memory = int(answer["peak_memory"])

    @property
    def latencies(self) -> list[float]:
        """Seconds of all runs."""
        return [latency for turn in self.turns for latency in turn]

    @property
    def typical(self) -> float:
        """The median of the turns' medians, in seconds."""
        return float(np.median([np.median(turn) for turn in self.turns]))


def take_turns(
    engines: Sequence[EngineProcess],
    found: Sequence[Measured],
    seconds: float,
    count: int | None = None,
    turn_seconds: float = TURN_SECONDS,
) -> None:
    """Measure the engines for ``seconds`` in all, or until each has run ``count`` times."""
    end = time.perf_counter() + seconds
    number = 0
    while True:
        # Who begins changes, so that a drift of the machine's speed favours nobody.
        for place in range(len(engines)):
            index = (number + place) % len(engines)
            time.sleep(PAUSE_SECONDS)
            left = None if count is None else count - len(found[index].latencies)
            if left is None or left > 0:
                found[index].take_turn(engines[index], turn_seconds, left)
        number += 1
        if count is not None:
            if all(len(measured.latencies) >= count for measured in found):
                return
        elif number >= FEWEST_TURNS and time.perf_counter() >= end:
            return


def ratio_of(ours: Measured, peer: Measured) -> dict[str, float]:
    """The peer's time over ours, turn by turn: above 1, we are faster."""
    ratios = [
        float(np.median(theirs) / np.median(own))
        for own, theirs in zip(ours.turns, peer.turns, strict=False)
    ]
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return {
        "median": float(middle),
        "quartile_low": float(low),
        "quartile_high": float(high),
        "turns": len(ratios),
    }


def difference(ours: EngineProcess, peer: EngineProcess, folder: Path) -> float:
    """Largest difference of the outputs, relative to the largest magnitude of each output."""
    pairs = zip(_outputs(ours, folder), _outputs(peer, folder), strict=True)
    return max((relative_difference(found, expected) for found, expected in pairs), default=0.0)


def _outputs(engine: EngineProcess, folder: Path) -> list[Array]:
    path = folder / f"{engine.name}.outputs.npz"
    if not path.exists():
        engine.ask({"do": "save", "path": str(path)})
    with np.load(path, allow_pickle=False) as archive:
        return [archive[str(number)] for number in range(len(archive.files))]


def relative_difference(found: Array, expected: Array) -> float:
    """Largest difference relative to the largest magnitude of ``expected``.

    Infinite for other shapes, and where only one of the two is NaN or infinite.
    """
    if found.shape != expected.shape:
        return float("inf")
    if not expected.size:
        return 0.0
    left, right = found.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(right)
    if not np.array_equal(left[~finite], right[~finite], equal_nan=True):
        return float("inf")
    left, right = left[finite], right[finite]
    if not np.isfinite(left).all():
        return float("inf")
    if not right.size:
        return 0.0
    worst, scale = float(np.abs(left - right).max()), float(np.abs(right).max())
    return worst / scale if scale else worst
