"""Answers tried in the whole model: what each operator takes within it, and what a run takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ....compiler.driver import compile_graph, prepared_graph
from ....compiler.options import CompileOptions
from ....ir import Array, Graph
from ....ir.dim import symbols_of
from ..choices import Choices
from ..target import TARGET, passes_for
from ..timed import lower_timed
from .records import Collected

Answers = Mapping[str, str]

_INSIDE_SECONDS, _INSIDE_TURNS = 0.1, 6
_TURN_SECONDS = 0.25
_FEWEST_TURNS, _MOST_TURNS = 6, 12


class Whole:
    """A model compiled with one set of answers or another.

    ``inputs`` are arrays by name; what is missing is made up, symbolic extents are 1.
    """

    def __init__(self, graph: Graph, options: CompileOptions, inputs: Mapping[str, Array]) -> None:
        self._graph, self._options = graph, options
        types = {value.node: graph.type(value) for value in graph.inputs}
        self._symbols = {s.name: 1 for type_ in types.values() for s in symbols_of(type_.shape)}
        self._feed: list[Array] = []
        for name, declared in types.items():
            type_ = declared.substitute(self._symbols)
            random = np.random.default_rng(0).random(type_.static_shape, np.float32)
            made = random if type_.dtype.startswith(("float", "bfloat")) else np.zeros_like(random)
            given = inputs.get(name)
            fits = given is not None and given.shape == type_.static_shape
            chosen = given if given is not None and fits else made.astype(type_.numpy)
            self._feed.append(np.ascontiguousarray(chosen))

    def gains_inside(self, before: Answers, after: Answers) -> dict[str, float]:
        """By question: the seconds of the nodes that it decided, before over after."""
        runs = [self._timed(answers) for answers in (before, after)]
        taken: list[list[Mapping[str, float]]] = [[], []]
        for turn in range(_INSIDE_TURNS):
            for place in (0, 1):
                number = (turn + place) % 2
                runs[number]()
                end = time.perf_counter() + _INSIDE_SECONDS
                found = [runs[number]()]
                while time.perf_counter() < end:
                    found.append(runs[number]())
                taken[number].append(
                    {text: float(np.median([one[text] for one in found])) for text in found[0]}
                )
        common = taken[0][0].keys() & taken[1][0].keys()
        pairs = list(zip(*taken, strict=True))
        return {
            text: float(np.median([old[text] / max(new[text], 1e-12) for old, new in pairs]))
            for text in common
        }

    def _timed(self, answers: Answers) -> Callable[[], dict[str, float]]:
        """A run that gives the seconds of each question's nodes."""
        collected = Collected(answers)
        choices = Choices.of(replace(self._options, tuned=False))
        chosen = replace(choices, tuning=collected)
        target = replace(TARGET, passes=lambda _: passes_for(chosen))
        prepared = prepared_graph(self._graph, target, None, self._options)
        executable = lower_timed(prepared, self._options)
        texts = [
            {question.text for question in collected.marked(prepared.node(name))}
            for name in executable.nodes
        ]

        def run() -> dict[str, float]:
            executable(self._feed, self._symbols)
            found: dict[str, float] = {}
            for seconds, mentioned in zip(executable.seconds(), texts, strict=True):
                for text in mentioned:
                    found[text] = found.get(text, 0.0) + seconds
            return found

        return run

    def compared(
        self, before: Answers, after: Answers, deadline: float
    ) -> tuple[float, float, float]:
        """Seconds of a run with both sets of answers, and the median of the ratios of turns."""
        runs = [self._plain(answers) for answers in (before, after)]
        taken: list[list[float]] = [[], []]
        turns = 0
        while turns < _FEWEST_TURNS or (turns < _MOST_TURNS and time.monotonic() < deadline):
            for place in (0, 1):
                number = (turns + place) % 2
                taken[number].append(_turn(runs[number]))
            turns += 1
        ratios = np.array(taken[0]) / np.array(taken[1])
        return float(np.median(taken[0])), float(np.median(taken[1])), float(np.median(ratios))

    def _plain(self, answers: Answers) -> Callable[[], object]:
        """A run as users have it."""
        options = self._options
        choices = Choices.of(replace(options, tuned=False))
        chosen = replace(choices, tuning=Collected(answers))
        session = compile_graph(
            self._graph,
            replace(TARGET, passes=lambda _: passes_for(chosen)),
            None,
            options.threads,
            accuracy=options.accuracy,
            vector_bits=options.vector_bits,
        )
        feed: Sequence[Array] = self._feed
        return lambda: session(*feed)


def _turn(run: Callable[[], object]) -> float:
    """The median of the runs of one turn, the first of which does not count."""
    run()
    found: list[float] = []
    end = time.perf_counter() + _TURN_SECONDS
    while len(found) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return float(np.median(found))
