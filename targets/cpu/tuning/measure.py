"""Measuring the candidates of one question side by side, as they would run in their network.

The fragment is repeated with weights of its own each time, so that weights come from where they
come from in the network: from memory if the network's do not stay in the caches. What counts is
the time of the kernels, not the reordering of inputs and outputs that stands around a fragment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ....compiler.driver import prepared_graph
from ....compiler.options import CompileOptions
from ....compiler.roofline import parameter_bytes
from ....compiler.target import Target
from ....ir import Graph
from ....ops.movement import transpose
from ..choices import Choices
from ..target import TARGET, passes_for
from ..timed import lower_timed
from .choose import fragment_of, made_up
from .records import Collected, Question

# Estimates leave out what they say takes so many times longer.
_WORTH_MEASURING = 1.7
_MOST_CANDIDATES = 7
# Bytes of weights beyond which none are in the caches when they are needed again.
_OUT_OF_CACHE = 24 << 20
_MOST_COPIES = 8
_TURNS = 7
_TURN_SECONDS = 0.008
# Smaller gains are not told from noise.
LEAST_GAIN = 1.03


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of one run by candidate, and the one to take from now on."""

    seconds: Mapping[str, float]
    chosen: str


def worth_measuring(question: Question) -> list[str]:
    """The candidates that may be faster than what estimates choose, which comes first."""
    least = question.names[question.estimated]
    others = sorted(question.names.items(), key=lambda item: item[1])
    near = [
        name
        for name, seconds in others
        if name != question.estimated and seconds <= _WORTH_MEASURING * least
    ]
    return [question.estimated, *near][:_MOST_CANDIDATES]


def measure(
    question: Question,
    choices: Choices,
    options: CompileOptions,
    network_bytes: int,
    deadline: float,
) -> Measured | None:
    """Time the candidates in turns; None if there was no time for two of them."""
    fragment = question.fragment
    graph = _repeated(fragment, network_bytes)
    feed = [made_up(graph.type(value)) for value in graph.inputs]
    runs: dict[str, Callable[[], float]] = {}
    for name in worth_measuring(question):
        if len(runs) > 1 and time.monotonic() > deadline:
            break
        forced = replace(choices, tuning=Collected({question.text: name}))
        prepared = prepared_graph(graph, _target(forced, question.prepared), None, options)
        executable = lower_timed(prepared, options)
        counted = [
            number
            for number, node in enumerate(executable.nodes)
            if prepared.node(node).op is not transpose
        ]

        def run(executable=executable, counted=counted) -> float:  # type: ignore[no-untyped-def]
            executable(feed, {})
            seconds = executable.seconds()
            return float(sum(seconds[number] for number in counted))

        run()
        runs[name] = run
    if len(runs) < 2:
        return None
    turns = _turns(runs)
    usual = np.array(turns[question.estimated])
    gains = {name: float(np.median(usual / np.array(taken))) for name, taken in turns.items()}
    best = max(gains, key=lambda name: gains[name])
    copies = len(graph.outputs) // len(fragment.outputs)
    seconds = {name: float(np.median(taken)) / copies for name, taken in turns.items()}
    return Measured(seconds, best if gains[best] >= LEAST_GAIN else question.estimated)


def _target(choices: Choices, prepared: bool) -> Target:
    """The target, choosing as ``choices`` say."""
    passes = passes_for(choices)
    return replace(TARGET, passes=lambda _: passes[-1:] if prepared else passes)


def _turns(runs: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """The median of each turn's runs, by candidate; who begins changes."""
    names = list(runs)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(_TURNS):
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            runs[name]()
            taken: list[float] = []
            end = time.perf_counter() + _TURN_SECONDS
            while len(taken) < 3 or time.perf_counter() < end:
                taken.append(runs[name]())
            found[name].append(float(np.median(taken)))
    return found


def _repeated(fragment: Graph, network_bytes: int) -> Graph:
    """So many copies that their weights go through the caches as the network's do."""
    own = parameter_bytes(fragment)
    wanted = min(network_bytes, _OUT_OF_CACHE)
    copies = max(1, min(_MOST_COPIES, -(-wanted // max(own, 1))))
    return fragment_of(fragment, fragment.operators(), copies)
