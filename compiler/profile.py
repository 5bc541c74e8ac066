"""Where the time of a run goes: each operator's share, and how near it comes to the roofline."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..ir import Array, Graph, Node, UnsupportedError
from ..ops.fused import describe
from .options import CompileOptions
from .roofline import MachinePeaks, Work, parameter_bytes, work_of
from .target import Target, TimedExecutable

_WARM_UP = 3
_FEWEST_RUNS = 5


@dataclass(frozen=True, slots=True)
class OperatorProfile:
    """One operator of a compiled graph: what computes it, and the median of its times.

    ``settings`` are the kernel's attributes, ``note`` says why it was chosen, ``origin`` which
    nodes of the model it computes. ``least_seconds`` is the roofline's time; it and ``work`` are
    None where only the run knows the sizes. An algorithm that does less arithmetic than the
    operator's definition says may be faster than ``least_seconds``.
    """

    node: str
    kernel: str
    output: str
    settings: str
    note: str
    origin: str
    seconds: float
    work: Work | None
    least_seconds: float | None

    @property
    def flops_per_second(self) -> float | None:
        """Arithmetic by the operator's definition."""
        return self._rate(self.work.flops if self.work else None)

    @property
    def bytes_per_second(self) -> float | None:
        """Operands and results."""
        return self._rate(self.work.nbytes if self.work else None)

    @property
    def limit_share(self) -> float | None:
        """The roofline's time over the measured one."""
        return self._rate(self.least_seconds)

    def _rate(self, amount: float | None) -> float | None:
        return None if amount is None or not self.seconds else amount / self.seconds


@dataclass(frozen=True, slots=True)
class Profile:
    """The operators in the order they run; ``seconds`` is the median of whole runs.

    ``seconds`` holds what the operators took, what lies between them, and taking the times.
    """

    threads: int
    runs: int
    seconds: float
    operators: tuple[OperatorProfile, ...]
    peaks: MachinePeaks | None = None

    def slowest(self, count: int | None = None) -> list[OperatorProfile]:
        """The operators that took longest."""
        return sorted(self.operators, key=lambda item: item.seconds, reverse=True)[:count]

    def by_kernel(self) -> dict[str, tuple[int, float, float]]:
        """For each kernel how often it runs, its seconds, and the roofline's; longest first."""
        found: dict[str, tuple[int, float, float]] = {}
        for item in self.operators:
            count, seconds, least = found.get(item.kernel, (0, 0.0, 0.0))
            least += item.least_seconds or 0.0
            found[item.kernel] = (count + 1, seconds + item.seconds, least)
        return dict(sorted(found.items(), key=lambda pair: pair[1][1], reverse=True))

    def rows(self, operators: Sequence[OperatorProfile]) -> list[list[str]]:
        """Cells of a table; see ``HEAD``."""
        return [
            [
                f"{item.seconds * 1e3:.4f}",
                f"{item.seconds / self.seconds:.1%}",
                _shown(item.flops_per_second, 1e9, ".1f"),
                _shown(item.bytes_per_second, 1e9, ".1f"),
                _shown(item.limit_share, 0.01, ".0f", "%"),
                item.kernel,
                item.output,
                "; ".join(part for part in (item.note, item.settings) if part),
                item.origin or item.node,
            ]
            for item in operators
        ]

    def table(self, count: int | None = None) -> str:
        """The slowest operators as text, and the whole run's time."""
        rows = [list(HEAD), *self.rows(self.slowest(count))]
        widths = [max(len(row[k]) for row in rows) for k in range(len(HEAD))]
        lines = [
            "  ".join(
                cell.rjust(width) if k < NUMBERS else cell.ljust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """One line on the whole run."""
        timed = sum(item.seconds for item in self.operators)
        return (
            f"{self.seconds * 1e3:.4f} ms a run (median of {self.runs}, {self.threads} "
            f"thread{'s' * (self.threads != 1)}), {timed * 1e3:.4f} ms of it in "
            f"{len(self.operators)} operators"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, for JSON."""
        operators = [
            {
                **asdict(item),
                "share": item.seconds / self.seconds,
                "flops_per_second": item.flops_per_second,
                "bytes_per_second": item.bytes_per_second,
                "limit_share": item.limit_share,
            }
            for item in self.operators
        ]
        kernels = {
            name: {"count": count, "seconds": seconds, "least_seconds": least}
            for name, (count, seconds, least) in self.by_kernel().items()
        }
        return {**asdict(self), "operators": operators, "kernels": kernels}


HEAD = (
    *("ms", "Share", "GFLOP/s", "GB/s", "Of limit"),
    *("Kernel", "Output", "Why and how", "Computes"),
)
NUMBERS = 5  # columns of HEAD that hold numbers


class Profiler:
    """Profiles a graph that was prepared for a target; compiles it when first asked to."""

    def __init__(self, graph: Graph, target: Target, options: CompileOptions) -> None:
        self._graph, self._target, self._options = graph, target, options
        self._executable: TimedExecutable | None = None

    def profile(
        self, inputs: Sequence[Array], symbols: Mapping[str, int], seconds: float
    ) -> Profile:
        """Run for so many seconds and report the medians."""
        if self._target.lower_timed is None:
            raise UnsupportedError(
                f"target {self._target.name!r} does not take the time of operators"
            )
        if self._executable is None:
            self._executable = self._target.lower_timed(self._graph, self._options)
        executable = self._executable
        for _ in range(_WARM_UP):
            executable(inputs, symbols)
        totals: list[float] = []
        times: list[Sequence[float]] = []
        end = time.perf_counter() + seconds
        while len(totals) < _FEWEST_RUNS or time.perf_counter() < end:
            start = time.perf_counter()
            executable(inputs, symbols)
            totals.append(time.perf_counter() - start)
            times.append(executable.seconds())
        medians = np.median(np.array(times), axis=0).tolist() if executable.nodes else []
        threads = getattr(executable, "threads", 1)
        # Measured after the runs: it sweeps the caches.
        peaks = self._target.peaks(self._options) if self._target.peaks else None
        weights = parameter_bytes(self._graph)
        operators = tuple(
            _profile(self._graph, self._graph.node(name), median, symbols, peaks, weights)
            for name, median in zip(executable.nodes, medians, strict=True)
        )
        return Profile(threads, len(totals), float(np.median(totals)), operators, peaks)


def _profile(
    graph: Graph,
    node: Node,
    seconds: float,
    symbols: Mapping[str, int],
    peaks: MachinePeaks | None,
    weights: int,
) -> OperatorProfile:
    group = node.attrs.get("group")
    members = group.operators() if isinstance(group, Graph) else [node]
    work = work_of(graph, node, symbols)
    return OperatorProfile(
        node.name,
        describe(group) if isinstance(group, Graph) else node.op.name,
        ", ".join(map(str, node.types)),
        "; ".join(filter(None, (settings_of(member) for member in members))),
        "; ".join(dict.fromkeys(member.note for member in members if member.note)),
        node.origin,
        seconds,
        work,
        work.least_seconds(peaks, weights) if work is not None and peaks is not None else None,
    )


def settings_of(node: Node) -> str:
    """A node's attributes as ``name=value``, without graphs and what is as by default."""
    shown = []
    for name, value in node.attrs.items():
        if not isinstance(value, (Graph, np.ndarray)) and value != node.op.attributes[name]:
            text = "x".join(map(str, value)) if isinstance(value, tuple) else f"{value}"
            shown.append(f"{name}={text}")
    return " ".join(shown)


def _shown(value: float | None, unit: float, form: str, suffix: str = "") -> str:
    return "-" if value is None else f"{value / unit:{form}}{suffix}"
